"""The phone inventory that every labelled sound in Mien uses, and the names that other programs give to these phones.

The inventory is ARPAbet's 39 phones of English, silence, and eight phones that English lacks and that lips or tongue
show differently. Sounds that a face shows alike share a phone (the French nasal vowels are A, E, O and Y_ROUND; the
palatal nasal is N; the palatal lateral is L): the labels teach a mouth, not a recogniser.
"""

import unicodedata
from dataclasses import dataclass

from talking_face.festival_phones import PHONE_SETS, name_in

SILENCE = "SIL"

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W"),
    *("Y", "Z", "ZH"),
)
FOREIGN_VOWELS = (
    "A",  # open central /a/: opener than AH, less spread than AE
    "E",  # pure close-mid /e/: EY without its glide
    "O",  # pure close-mid /o/: rounder than AO, without OW's glide
    "IX",  # close, not front, not rounded: Polish y, Turkish ı, Korean ㅡ, Japanese u
    "Y_ROUND",  # front rounded: French u and eu, German ü and ö
)
FOREIGN_CONSONANTS = (
    "X",  # velar, uvular and palatal fricatives and the uvular r: the lips keep their neighbours' shape
    "RR",  # tap and trill of the tongue's tip: not rounded, unlike the English R
    "PH",  # bilabial fricatives and approximants (Spanish b between vowels, Japanese f): the lips near each other only
)
PHONES: tuple[str, ...] = (SILENCE, *VOWELS, *CONSONANTS, *FOREIGN_VOWELS, *FOREIGN_CONSONANTS)
INDEX = {name: index for index, name in enumerate(PHONES)}

BILABIALS = frozenset({"P", "B", "M"})
STOPS = frozenset({"P", "B", "T", "D", "K", "G", "CH", "JH"})
ALL_VOWELS = frozenset((*VOWELS, *FOREIGN_VOWELS))


@dataclass(frozen=True)
class Phone:
    """One phone of a sound: `start` and `end` in seconds; `stress` 0 (none), 1 (main) or 2 (secondary), vowels only."""

    name: str
    start: float
    end: float
    stress: int = 0

    def __post_init__(self) -> None:
        if self.name not in INDEX:
            raise ValueError(f"{self.name!r} is not one of the phones {' '.join(PHONES)}.")

    @property
    def duration(self) -> float:
        return self.end - self.start

    def row(self) -> list:
        """[name, start, end, stress] with times rounded to 0.1 ms, as label files hold it."""
        return [self.name, round(self.start, 4), round(self.end, 4), self.stress]


_INSTANT = 1e-6  # seconds: what is shorter is no phone
_PAUSES = frozenset({"SIL", "PAU", "SP", "SSIL", "H#", "BRTH", "+SPN+", "+NSN+", "+BREATH+", "+COUGH+", "(NULL)", "#"})
_ARPABET_VARIANTS = {"AX": "AH", "AXR": "ER", "IX": "IH", "UX": "UW", "DX": "D", "NX": "N", "EL": "L", "EM": "M"}
_ARPABET_VARIANTS |= {"EN": "N", "HV": "HH", "WH": "W", "Q": "SIL"}


def from_arpabet(name: str) -> str:
    """The phone that an ARPAbet symbol of any case means, with or without a stress digit; pauses give SIL."""
    symbol = name.strip().upper().rstrip("0123")
    if symbol in _PAUSES or symbol.startswith("<"):
        return SILENCE
    symbol = _ARPABET_VARIANTS.get(symbol, symbol)
    if symbol not in INDEX:
        raise KeyError(f"{name!r} is not an ARPAbet symbol that Mien knows.")
    return symbol


def from_festival(name: str, language: str = "en") -> str:
    """The phone behind a name in festival's or flite's segments: radio/CMU names for English, else the language's set.

    Raises KeyError for an unknown name.
    """
    if name.strip().upper() in _PAUSES:
        return SILENCE
    return name_in(language, name) if language.split("-")[0] in PHONE_SETS else from_arpabet(name)


_IPA = {
    # vowels
    **{"a": "A", "ä": "A", "ɐ": "AH", "ɑ": "AA", "ɒ": "AO", "æ": "AE", "ɔ": "AO", "o": "O", "ɵ": "Y_ROUND", "ɤ": "AH"},
    **{"e": "E", "ɛ": "EH", "ɘ": "IX", "ə": "AH", "ɜ": "AH", "ɚ": "ER", "ɝ": "ER", "ʌ": "AH", "ɞ": "ER"},
    **{"i": "IY", "ɪ": "IH", "ᵻ": "IH", "ɨ": "IX", "ɯ": "IX", "u": "UW", "ʊ": "UH", "ʉ": "UW", "ᵿ": "UH"},
    **{"y": "Y_ROUND", "ʏ": "Y_ROUND", "ø": "Y_ROUND", "œ": "Y_ROUND", "ɶ": "Y_ROUND"},
    # consonants
    **{"p": "P", "b": "B", "ɓ": "B", "m": "M", "ɱ": "F", "f": "F", "v": "V", "ʋ": "V", "ⱱ": "V", "ɸ": "PH", "β": "PH"},
    **{"t": "T", "ʈ": "T", "d": "D", "ɖ": "D", "ɗ": "D", "n": "N", "ɳ": "N", "ɲ": "N", "ŋ": "NG", "ɴ": "NG"},
    **{"k": "K", "q": "K", "c": "K", "g": "G", "ɡ": "G", "ɟ": "G", "ɢ": "G", "ɠ": "G"},
    **{"s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "ʂ": "SH", "ʐ": "ZH", "ɕ": "SH", "ʑ": "ZH", "θ": "TH", "ð": "DH"},
    **{"h": "HH", "ɦ": "HH", "ħ": "HH", "ʜ": "HH", "ʕ": "HH", "x": "X", "ɣ": "X", "χ": "X", "ʁ": "X", "ʀ": "X"},
    **{"ç": "X", "ʝ": "Y", "ɰ": "X", "ɹ": "R", "ɻ": "R", "ɾ": "RR", "r": "RR", "ɽ": "RR", "ɺ": "RR"},
    **{"l": "L", "ɫ": "L", "ɭ": "L", "ʎ": "L", "ʟ": "L", "ɬ": "L", "ɮ": "L", "w": "W", "ʍ": "W", "ɥ": "Y_ROUND"},
    **{"j": "Y", "ʔ": "SIL"},
}
_IPA_PAIRS = {
    **{"aɪ": "AY", "ai": "AY", "aʊ": "AW", "au": "AW", "eɪ": "EY", "ei": "EY", "oʊ": "OW", "əʊ": "OW", "ou": "OW"},
    **{"ɔɪ": "OY", "ɔi": "OY", "ɔø": "OY", "oɪ": "OY", "oi": "OY", "ɑɪ": "AY", "ɑʊ": "AW", "ɑu": "AW", "ɔʏ": "OY"},
    **{"tʃ": "CH", "dʒ": "JH", "tɕ": "CH", "dʑ": "JH", "tʂ": "CH", "dʐ": "JH", "ts": "S", "dz": "Z", "ʂʐ": "SH"},
    **{"ɜː": "ER", "ɜɹ": "ER", "əɹ": "ER"},
}
_IPA_PAIRS_SPLIT = {"ts": ("T", "S"), "dz": ("D", "Z")}
_IPA_LONG = {"ɜ": "ER", "ɐ": "AH"}
_LETTER_CATEGORIES = ("Ll", "Lu", "Lo")  # modifier letters, diacritics, marks and digits are no sounds of their own


def ipa_phones(symbol: str) -> tuple[str, ...]:
    """The phones of one IPA symbol as speech synthesisers write it: () for a pause or a bare mark, several for
    affricates and diphthongs that the inventory lacks (ts is T S, German pf P F). Stress, tone and length are dropped.

    Raises KeyError where a letter is unknown.
    """
    text = unicodedata.normalize("NFC", symbol)
    letters = [
        (char, text[index + 1 : index + 2] == "ː")
        for index, char in enumerate(text)
        if unicodedata.category(char) in _LETTER_CATEGORIES
    ]
    letters = [(base, long) for char, long in letters for base in _plain_letters(char)]
    phones: list[str] = []
    index = 0
    while index < len(letters):
        pair = "".join(char for char, _ in letters[index : index + 2])
        char, long = letters[index]
        if len(pair) == 2 and pair in _IPA_PAIRS:
            phones.extend(_IPA_PAIRS_SPLIT.get(pair, (_IPA_PAIRS[pair],)))
            index += 2
            continue
        if char not in _IPA:
            raise KeyError(f"{char!r} in {symbol!r} is not an IPA letter that Mien knows.")
        phones.append(_IPA_LONG.get(char, _IPA[char]) if long else _IPA[char])
        index += 1
    return tuple(name for place, name in enumerate(phones) if place == 0 or name != phones[place - 1])


def _plain_letters(char: str) -> str:
    """A letter without its diacritics (ã gives a), kept whole where the inventory knows it with them (ç)."""
    if char in _IPA:
        return char
    return "".join(part for part in unicodedata.normalize("NFD", char) if not unicodedata.combining(part))


def from_ipa(symbol: str) -> str:
    """The one phone that stands best for an IPA symbol: the last of `ipa_phones`, SIL where it has none."""
    phones = ipa_phones(symbol)
    return phones[-1] if phones else SILENCE


def stress_of(symbol: str) -> int:
    """1 or 2 for an IPA symbol with a mark of main or secondary stress or an ARPAbet vowel with that digit, else 0."""
    if "ˈ" in symbol or (symbol[:1].isalpha() and symbol.endswith("1")):
        return 1
    if "ˌ" in symbol or (symbol[:1].isalpha() and symbol.endswith("2")):
        return 2
    return 0


def contiguous(phones: list[Phone], duration: float, shortest_pause: float = 0.04) -> list[Phone]:
    """Phones that cover [0, duration] without gaps or overlaps: gaps become SIL (or, where they are shorter than
    `shortest_pause` seconds, belong to the phone before), neighbouring SIL merge, empty phones vanish.
    """
    filled: list[Phone] = []
    clock = 0.0
    for phone in sorted(phones, key=lambda item: (item.start, item.end)):
        start, end = max(phone.start, clock), min(phone.end, duration)
        if end - start <= _INSTANT:
            continue
        if start - clock >= max(shortest_pause, _INSTANT):
            _append(filled, SILENCE, clock, start, 0)
        elif filled:
            _append(filled, filled[-1].name, clock, start, filled[-1].stress, merge=True)
        else:
            start = 0.0
        _append(filled, phone.name, filled[-1].end if filled else start, end, phone.stress, merge=phone.name == SILENCE)
        clock = end
    if duration - clock > _INSTANT or (duration > 0 and not filled):
        _append(filled, SILENCE, clock, duration, 0)
    elif filled:
        _append(filled, filled[-1].name, clock, duration, filled[-1].stress, merge=True)
    return filled


def _append(phones: list[Phone], name: str, start: float, end: float, stress: int, merge: bool = False) -> None:
    if (merge or name == SILENCE) and phones and phones[-1].name == name:
        phones[-1] = Phone(name, phones[-1].start, end, phones[-1].stress)
    else:
        phones.append(Phone(name, start, end, stress))
