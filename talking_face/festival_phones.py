"""Festival's voices made of recorded people in other languages than English: what each is, and the names of its phones.

None of these voices comes with Mien; they are Debian's packages (the licence of each stands in its row of VOICES), and
the machine that makes a training corpus may have them. Phone names are those of festival's phone sets, without the
digit of stress; long consonants share the phone of the short ones, for lips show them alike.

Left out: Russian msu_ru_nsh_clunits, whose segments lie up to 40 ms from its sound and which keeps one tempo.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordedVoice:
    """A voice of festival's: language tag, gender, the text's encoding, its own Duration_Stretch, package, licence."""

    language: str
    gender: str
    encoding: str
    stretch: float
    package: str
    licence: str


_CZECH, _ITALIAN, _FINNISH = ("iso-8859-2", 1.0), ("latin-1", 1.0), ("latin-1", 1.0)
VOICES: dict[str, RecordedVoice] = {
    "czech_dita": RecordedVoice("cs", "female", *_CZECH, "festvox-czech-dita", "GPL-3+"),
    "czech_krb": RecordedVoice("cs", "female", *_CZECH, "festvox-czech-krb", "GPL-3+"),
    "czech_machac": RecordedVoice("cs", "male", *_CZECH, "festvox-czech-machac", "GPL-3+"),
    "czech_ph": RecordedVoice("cs", "male", *_CZECH, "festvox-czech-ph", "GPL-2+"),
    "lp_diphone": RecordedVoice("it", "female", *_ITALIAN, "festvox-italp16k", "GPL-2+"),
    "pc_diphone": RecordedVoice("it", "male", *_ITALIAN, "festvox-itapc16k", "GPL-2+"),
    "suo_fi_lj_diphone": RecordedVoice("fi", "female", *_FINNISH, "festvox-suopuhe-lj", "LGPL-2+"),
    "hy_fi_mv_diphone": RecordedVoice("fi", "male", *_FINNISH, "festvox-suopuhe-mv", "LGPL-2+"),
    "hindi_NSK_diphone": RecordedVoice("hi", "male", "utf-8", 1.4, "festvox-hi-nsk", "GPL-2+"),
    "marathi_NSK_diphone": RecordedVoice("mr", "male", "utf-8", 1.4, "festvox-mr-nsk", "GPL-2+"),
    "telugu_NSK_diphone": RecordedVoice("te", "male", "utf-8", 1.4, "festvox-te-nsk", "GPL-2+"),
}

# UPC's set: a trailing 1 is the stress, ax a schwa, Greek-like letters digraphs.
CATALAN = {
    **{"a": "A", "e": "E", "ee": "EH", "E": "EH", "i": "IY", "o": "O", "oo": "AO", "O": "AO", "u": "UW", "ax": "AH"},
    **{"b": "B", "B": "PH", "d": "D", "D": "DH", "f": "F", "g": "G", "G": "X", "k": "K", "l": "L", "L": "L", "ll": "L"},
    **{"m": "M", "n": "N", "ny": "N", "J": "N", "N": "NG", "ng": "NG", "p": "P", "r": "RR", "rr": "RR", "s": "S"},
    **{"S": "SH", "sh": "SH", "x": "SH", "t": "T", "ts": "S", "tS": "CH", "tx": "CH", "dz": "Z", "dZ": "JH", "v": "B"},
    **{"w": "W", "uw": "W", "y": "Y", "j": "Y", "z": "Z", "Z": "ZH", "zh": "ZH", "h": "HH"},
}
# ~ is the haček, : length, * a neighbour's influence (n* before k, r~* voiceless), _ the stroke between vowels.
CZECH = {
    **{"a": "A", "a:": "A", "e": "EH", "e:": "EH", "i": "IH", "i:": "IY", "o": "O", "o:": "O", "u": "UW", "u:": "UW"},
    **{"b": "B", "c": "S", "c~": "CH", "ch": "X", "d": "D", "d~": "D", "dz": "Z", "dz~": "JH", "f": "F", "g": "G"},
    **{"h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N", "n*": "NG", "n~": "N", "p": "P", "r": "RR"},
    **{"r~": "ZH", "r~*": "SH", "s": "S", "s~": "SH", "t": "T", "t~": "T", "v": "V", "z": "Z", "z~": "ZH", "_": "SIL"},
}
ITALIAN = {
    **{"i": "IY", "e": "E", "E": "EH", "a": "A", "o": "O", "O": "AO", "u": "UW", "j": "Y", "w": "W"},
    **{"p": "P", "t": "T", "k": "K", "b": "B", "d": "D", "g": "G", "f": "F", "s": "S", "S": "SH", "v": "V", "z": "Z"},
    **{"Z": "ZH", "ts": "S", "tS": "CH", "dz": "Z", "dZ": "JH", "m": "M", "n": "N", "J": "N", "ng": "NG", "nf": "F"},
    **{"l": "L", "L": "L", "r": "RR"},
}
# @ is ä and 7 is ö; any of them may be long (a colon, dropped by `name_in`).
FINNISH = {
    **{"a": "AA", "e": "E", "i": "IY", "o": "O", "u": "UW", "y": "Y_ROUND", "@": "AE", "7": "Y_ROUND", "&": "AH"},
    **{"p": "P", "t": "T", "k": "K", "b": "B", "d": "D", "g": "G", "f": "F", "T": "TH", "D": "DH", "s": "S", "z": "Z"},
    **{"S": "SH", "Z": "ZH", "h": "HH", "v": "V", "m": "M", "n": "N", "N": "NG", "l": "L", "L": "L", "r": "RR"},
    **{"j": "Y", "w": "W", "##": "SIL"},
}
# One set for Hindi, Marathi and Telugu: th, dh are dental stops, T, D retroflex ones; aspiration is a following h.
INDIAN = {
    **{"a": "AH", "aa": "A", "ih": "IH", "iy": "IY", "uh": "UH", "uw": "UW", "eh": "E", "ee": "E", "ay": "AY"},
    **{"oh": "O", "oo": "O", "aw": "AW", "@": "AA", "w": "W", "f": "F", "k": "K", "g": "G", "ch": "CH", "j": "JH"},
    **{"T": "T", "D": "D", "N": "N", "th": "T", "dh": "D", "td": "T", "tth": "T", "ddh": "D", "n": "N", "p": "P"},
    **{"b": "B", "bh": "B", "kh": "K", "gh": "G", "m": "M", "y": "Y", "r": "RR", "R": "RR", "l": "L", "L": "L"},
    **{"v": "V", "s": "S", "sh": "SH", "zh": "ZH", "ksh": "SH", "sri": "S", "h": "HH", "x": "SIL"},
}
PHONE_SETS = {
    **{"ca": CATALAN, "cs": CZECH, "it": ITALIAN, "fi": FINNISH},
    **{"hi": INDIAN, "mr": INDIAN, "te": INDIAN},
}


def name_in(language: str, name: str) -> str:
    """The phone behind a name of the language's set, with or without a digit of stress. Raises KeyError if unknown."""
    family = language.split("-")[0]
    bare = name.strip().rstrip("012")
    if family == "fi":
        bare = bare.rstrip(":")
    if bare not in PHONE_SETS[family]:
        raise KeyError(f"{name!r} is not a phone of festival's voices for {language!r} that Mien knows.")
    return PHONE_SETS[family][bare]
