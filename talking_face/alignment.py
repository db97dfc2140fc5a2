"""Which phone is spoken when in recorded English: pocketsphinx recognises the words or takes given ones, and aligns.

pocketsphinx 5 carries its American English models in its wheel and needs no download. A sound is cut at pauses into
pieces of at most 20 s; each is recognised, or gets its words of the given text, and is aligned phone by phone.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from animate.errors import OptionError
from talking_face.phones import SILENCE, Phone, contiguous, from_arpabet

SAMPLE_RATE = 16_000
LONGEST_PIECE = 20.0  # seconds
_FRAME = 0.01  # seconds between two states of the recogniser
_OFFSET = (
    0.008  # a state's 25.6 ms window is centred 12.8 ms after its start, half a state later than the state's middle
)
_WIDE_BEAMS = {"beam": 1e-100, "pbeam": 1e-100, "wbeam": 1e-80}
_PAD = 0.2  # seconds of hush around a piece: the aligner fails where a sound ends within its last word
_HUSH = 1e-4  # root mean square (-80 dBFS) of a piece in which nobody speaks
_SHORTEST_PIECE = 0.25  # seconds; the recogniser says nothing useful about less

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += "seventeen eighteen nineteen".split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()

# Letters of a word that no dictionary knows, longest first: rough, but the times of its consonants come out right.
_LETTERS = {
    **{"tch": "CH", "sch": "SH", "igh": "AY", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K"},
    **{"ng": "NG", "qu": "K W", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "oy": "OY", "oi": "OY"},
    **{"ai": "EY", "ay": "EY", "au": "AO", "aw": "AO", "er": "ER", "ir": "ER", "ur": "ER", "a": "AE", "b": "B"},
    **{"c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L"},
    **{"m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V"},
    **{"w": "W", "x": "K S", "y": "IY", "z": "Z"},
}
_ENDINGS = {"d": "D", "s": "Z", "ll": "AH L", "re": "ER", "ve": "AH V", "m": "M", "t": "T"}
_LETTER_PATTERN = re.compile("|".join(sorted(_LETTERS, key=len, reverse=True)))


# The English phone that sounds nearest to one that English lacks.
_NEAREST = {"A": "AA", "E": "EY", "O": "OW", "IX": "IH", "Y_ROUND": "UW", "X": "HH", "RR": "D", "PH": "V"}
_FOREIGN_WORD = "foreign#"

Piece = tuple[int, int, list[str] | None]  # first and last sample, words


@dataclass(frozen=True)
class Alignment:
    """Phones that cover the sound, and the words that they belong to."""

    phones: list[Phone]
    text: str


def align_speech(
    audio: np.ndarray, text: str | None = None, lexicon: Mapping[str, Sequence[str]] | None = None
) -> list[Phone]:
    """The phones of speech, contiguous over the whole sound, gaps being SIL.

    audio: (N,) float32, mono, 16 kHz. text: what is said, or None to recognise it as English. lexicon: the phones of
    every word of the text where it is of another language; the times come from the nearest English phones. Times come
    in steps of 10 ms; stress is 0 (the dictionary has none). Words that the dictionary lacks are spelled by rough
    rules. Recognising may take as long as the sound lasts; a given text of 12 minutes takes half a minute.
    Raises OptionError where pocketsphinx is not installed.
    """
    if lexicon is None or text is None:
        return align_with_text(audio, text).phones
    engines = _Engines()
    words = normalise(text)
    names = {word: f"{_FOREIGN_WORD}{place}" for place, word in enumerate(dict.fromkeys(words))}
    for word, name in names.items():
        english = " ".join(_NEAREST.get(phone, phone) for phone in lexicon[word])
        engines.aligner.add_word(name, english, True)
    _, found = _align_piece(engines, audio, [names[word] for word in words])
    said = [phone for word in words for phone in lexicon[word]]
    spoken = [item for item in found if item.name != SILENCE]
    if len(spoken) != len(said):
        return contiguous([], len(audio) / SAMPLE_RATE)
    duration, shift = len(audio) / SAMPLE_RATE, _OFFSET - _PAD
    times = [(min(max(p.start + shift, 0.0), duration), min(max(p.end + shift, 0.0), duration)) for p in spoken]
    return contiguous([Phone(name, *at) for name, at in zip(said, times, strict=True)], duration)


def align_with_text(audio: np.ndarray, text: str | None = None) -> Alignment:
    """Like `align_speech`, with the words that were recognised, or that were left of the given text."""
    engines = _Engines()
    audio = np.nan_to_num(np.asarray(audio, dtype=np.float32).reshape(-1))
    duration = len(audio) / SAMPLE_RATE
    words = None if text is None else [word for word in normalise(text) if _known(engines.aligner, word)]
    pieces = _pieces_of_text(engines, audio, words) if words is not None else None
    if pieces is None:
        pieces = [(first, last, None) for first, last in cut_at_pauses(audio)]
    phones: list[Phone] = []
    said: list[str] = []
    for first, last, words in pieces:
        heard, found = _align_piece(engines, audio[first:last], words)
        start, end = first / SAMPLE_RATE, last / SAMPLE_RATE
        shift = start + _OFFSET - _PAD
        for item in found:
            if item.name != SILENCE and item.start + shift < end and item.end + shift > start:
                phones.append(Phone(item.name, max(start, item.start + shift), min(end, item.end + shift)))
        said += heard
    return Alignment(contiguous(phones, duration), " ".join(said))


def cut_at_pauses(audio: np.ndarray, longest: float = LONGEST_PIECE) -> list[tuple[int, int]]:
    """(first, last) samples of pieces of at most `longest` seconds that cover the sound, cut at the quietest 0.2 s of
    the second half of each piece.
    """
    limit = int(longest * SAMPLE_RATE)
    hop = SAMPLE_RATE // 100
    pieces, first = [], 0
    while len(audio) - first > limit:
        begin = first + limit // 2
        blocks = audio[begin : first + limit]
        power = np.square(blocks[: len(blocks) // hop * hop].reshape(-1, hop)).mean(axis=1)
        quiet = np.convolve(power, np.ones(20) / 20, mode="same")[10:-10]
        last = begin + (int(np.argmin(quiet)) + 10) * hop
        pieces.append((first, last))
        first = last
    return [*pieces, (first, len(audio))] if len(audio) else []


def normalise(text: str) -> list[str]:
    """The text's words as a pronouncing dictionary spells them: lower case, no punctuation, numbers written out."""
    text = text.lower().replace("’", "'").replace("&", " and ").replace("%", " percent ")
    text = re.sub(r"(?<=\d)[,](?=\d{3})", "", text)
    text = re.sub(r"\d+", lambda found: f" {_number(int(found.group()))} ", text)
    words = (word.strip("'") for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text))
    return [word for word in words if word]


def _number(value: int) -> str:
    if value < 20:
        return _ONES[value]
    if value < 100:
        return _TENS[value // 10] + (f" {_ONES[value % 10]}" if value % 10 else "")
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= size:
            return f"{_number(value // size)} {name}" + (f" {_number(value % size)}" if value % size else "")
    raise AssertionError(value)


def spell(word: str) -> str:
    """A rough ARPAbet pronunciation of a word that no dictionary has; empty where it has no Latin letter."""
    return " ".join(_LETTERS[part] for part in _LETTER_PATTERN.findall(re.sub(r"(.)\1", r"\1", word.lower())))


class _Engines:
    """pocketsphinx twice: `aligner` takes given words and gives up on none of them (wide beams, no best path through
    a lattice, which may give a word fewer frames than its phones have states: pocketsphinx's issue 339);
    `recogniser` finds words, loaded when first needed.
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise OptionError("Aligning speech needs pocketsphinx: pip install 'mien[bench]'.") from error
        self._make = functools.partial(Decoder, samprate=SAMPLE_RATE, loglevel="FATAL")
        self.aligner = self._make(lm=None, bestpath=False, **_WIDE_BEAMS)

    @functools.cached_property
    def recogniser(self):
        return self._make()


def _pcm(audio: np.ndarray) -> bytes:
    """16-bit samples at a usual level, whatever the recording's, between two stretches of hush."""
    peak = float(np.quantile(np.abs(audio), 0.995)) if len(audio) else 0.0
    gain = min(0.5 / peak, 100.0) if peak > 0 else 1.0
    hush = np.random.default_rng(0).normal(0, 3, int(_PAD * SAMPLE_RATE))
    samples = np.clip(audio * gain, -1, 1) * 32767
    return np.concatenate([hush, samples, hush]).astype(np.int16).tobytes()


def _run(decoder, sound: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()


def _recognise(decoder, sound: bytes) -> list[str]:
    decoder.activate_search("_default")
    _run(decoder, sound)
    hypothesis = decoder.hyp()
    return hypothesis.hypstr.split() if hypothesis is not None else []


def _pieces_of_text(engines: _Engines, audio: np.ndarray, words: list[str]) -> list[Piece] | None:
    """Pieces of the sound with their words, from one pass that lays all words on the whole sound; None where they do
    not fit it. (The second pass, within the words, needs memory with the square of a piece's length.)
    """
    limit = int(LONGEST_PIECE * SAMPLE_RATE)
    if len(audio) <= limit or not words:
        return [(0, len(audio), words)]
    times = _word_times(engines.aligner, _pcm(audio), words)
    pieces: list[Piece] = []
    first, mine, previous = 0, [], 0
    for word, start, end in times:
        middle = int((previous + start) / 2 * SAMPLE_RATE)
        if mine and end * SAMPLE_RATE - first > limit:
            pieces.append((first, middle, mine))
            first, mine = middle, []
        mine.append(word)
        previous = end
    return [*pieces, (first, len(audio), mine)] if times else None


def _word_times(decoder, sound: bytes, words: list[str]) -> list[tuple[str, float, float]]:
    """(word, start, end) in seconds of the sound without its hush; [] where the words do not fit."""
    try:
        decoder.set_align_text(" ".join(words))
        _run(decoder, sound)
    except RuntimeError:
        return []
    if decoder.hyp() is None:
        return []
    segments = [item for item in decoder.seg() if not item.word.startswith(("<", "[", "+"))]
    return [
        (item.word.split("(")[0], item.start_frame * _FRAME - _PAD, (item.end_frame + 1) * _FRAME - _PAD)
        for item in segments
    ]


def _align_piece(engines: _Engines, audio: np.ndarray, words: list[str] | None) -> tuple[list[str], list[Phone]]:
    """The words and phones of a piece; given words that cannot fit its sound give way to recognised ones."""
    hushed = len(audio) < _SHORTEST_PIECE * SAMPLE_RATE or np.sqrt(np.mean(np.square(audio))) < _HUSH
    if hushed or (words is not None and not words):
        return [], []
    sound = _pcm(audio)
    found = _align_words(engines.aligner, sound, words) if words else []
    if not found:
        words = _recognise(engines.recogniser, sound)
        found = _align_words(engines.aligner, sound, words) if words else []
    return (words, found) if found else ([], [])


def _align_words(decoder, sound: bytes, words: list[str]) -> list[Phone]:
    """The phones of the words, first word by word, then by a second pass within each word; [] where they do not fit."""
    try:
        decoder.set_align_text(" ".join(words))
        _run(decoder, sound)
        return _phones(decoder, sound)
    except RuntimeError:
        return []


def _phones(decoder, sound: bytes) -> list[Phone]:
    """Phones of the words that were just found."""
    if decoder.hyp() is None:
        return []
    decoder.set_alignment()
    _run(decoder, sound)
    phones = []
    for word in decoder.get_alignment() or ():
        for item in word:
            name = SILENCE if word.name.startswith(("<", "[", "+")) else from_arpabet(item.name)
            phones.append(Phone(name, item.start * _FRAME, (item.start + item.duration) * _FRAME))
    return phones


def _known(decoder, word: str) -> bool:
    """Whether the decoder can say the word; a word that its dictionary lacks is added, spelled by rules."""
    if decoder.lookup_word(word) is not None:
        return True
    base, _, ending = word.rpartition("'")
    if ending in _ENDINGS and decoder.lookup_word(base) is not None:
        pronunciation = f"{decoder.lookup_word(base)} {_ENDINGS[ending]}"
    else:
        pronunciation = spell(word)
    if pronunciation:
        decoder.add_word(word, pronunciation, True)
    return bool(pronunciation)
