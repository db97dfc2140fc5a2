"""Voices of speech synthesisers under one roof: a text becomes a sound at 16 kHz with its phones and their times."""

import functools
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

from animate.errors import OptionError
from talking_face.festival_phones import VOICES
from talking_face.phones import Phone, contiguous
from talking_face.sentences import languages
from talking_face.voice_engines import Request, Speech, available, espeak, festival, flite

SAMPLE_RATE = 16_000

_FLITE = {"kal": "male", "kal16": "male", "awb": "male", "rms": "male", "slt": "female"}
_FESTIVAL = {
    "kal_diphone": ("en-us", "male"),
    "ked_diphone": ("en-us", "male"),
    "cmu_us_slt_arctic_hts": ("en-us", "female"),
    "upc_ca_ona_hts": ("ca", "female"),
    **{name: (item.language, item.gender) for name, item in VOICES.items()},
}
_FIXED_PITCH = frozenset({"rms", "cmu_us_slt_arctic_hts", "upc_ca_ona_hts", *VOICES})
_ENGLISH = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029", "en-us-nyc", "en-gb-x-gbcwmd")
_ESPEAK_FILES = {"en-gb": "en", "cmn": "cmn-latn-pinyin"}  # the library finds a voice by its file's name
_FEMALE_VARIANTS = ("f1", "f2", "f3", "f4", "f5", "Alicia", "Andrea", "Annie", "anika", "belinda", "linda", "steph")
_FEMALE_VARIANTS += ("steph2", "grandma", "aunty", "whisperf")
_MALE_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt3", "klatt4", "adam")
_MALE_VARIANTS += ("benjamin", "boris", "caleb", "david", "ed", "edward", "gustave", "iven", "john", "marcelo", "max")
_MALE_VARIANTS += ("michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro")
_MALE_VARIANTS += ("travis", "victor", "zac", "whisper", "grandpa", "Michael", "Lee", "Hugo")


@dataclass(frozen=True)
class Voice:
    """One voice. `name` is the engine's own name for it; `language` a tag such as en-us; `gender` female or male."""

    name: str
    engine: str
    language: str
    gender: str

    @property
    def key(self) -> str:
        """A name unlike any other voice's, for example flite:slt."""
        return f"{self.engine}:{self.name}"

    def say(self, text: str, rate: float = 1.0, pitch: float = 1.0) -> tuple[np.ndarray, list[Phone]]:
        """The text spoken: (N,) float32 at 16 kHz in [-1, 1], and phones that cover it without gaps.

        rate: 1 is the voice's own tempo, 2 twice as fast. pitch: a factor of the voice's own pitch.
        Raises OptionError where the synthesiser is absent or fails.
        """
        return self.say_all([Request(text, rate, pitch)])[0]

    def say_all(self, requests: Sequence[Request]) -> list[tuple[np.ndarray, list[Phone]]]:
        """Like `say` for several texts; quicker than one by one where the engine starts slowly (festival)."""
        if not available(self.engine):
            raise OptionError(f"The voice {self.key} needs the program {self.engine}, which is not installed here.")
        try:
            if self.name in _FIXED_PITCH:
                requests, factors = zip(*map(_without_pitch, requests), strict=True)
            else:
                factors = [1.0] * len(requests)
            if self.engine == "festival":
                spoken = festival(self.name, requests, self.language)
            else:
                engine = {"espeak": espeak, "flite": flite}[self.engine]
                spoken = [engine(self.name, request) for request in requests]
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            raise OptionError(f"The voice {self.key} could not speak; try another voice: {error}") from error
        return [_at_sample_rate(speech, factor) for speech, factor in zip(spoken, factors, strict=True)]


def _without_pitch(request: Request) -> tuple[Request, float]:
    """For a voice whose pitch cannot be set: how to say it, and how much faster to play it so that the pitch rises.

    Playing faster moves the formants too, as a shorter vocal tract would, so only part of the pitch is granted.
    """
    factor = float(Fraction(request.pitch**0.7).limit_denominator(50))
    return Request(request.text, request.rate / factor, 1.0), factor


def _at_sample_rate(speech: Speech, faster: float = 1.0) -> tuple[np.ndarray, list[Phone]]:
    """The sound played `faster` and resampled to 16 kHz with a zero-phase filter, and its phones cut to its length."""
    audio, rate, phones = speech
    ratio = Fraction(SAMPLE_RATE, rate) / Fraction(faster).limit_denominator(50)
    if ratio != 1 and len(audio):
        audio = resample_poly(audio.astype(np.float64), ratio.numerator, ratio.denominator).astype(np.float32)
        phones = [Phone(item.name, item.start / faster, item.end / faster, item.stress) for item in phones]
    return np.clip(audio, -1, 1).astype(np.float32), contiguous(phones, len(audio) / SAMPLE_RATE)


@functools.cache
def _all_voices() -> tuple[Voice, ...]:
    found: list[Voice] = []
    if available("flite"):
        known = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=False).stdout.split()
        found += [Voice(name, "flite", "en-us", gender) for name, gender in _FLITE.items() if name in known]
    if available("festival"):
        listing = subprocess.run(
            ["festival", "-b", "(begin (print (voice.list)))"], capture_output=True, text=True, check=False
        ).stdout
        known = listing.replace("(", " ").replace(")", " ").split()
        found += [Voice(name, "festival", *rest) for name, rest in _FESTIVAL.items() if name in known]
    if available("espeak"):
        for tag in (*_ENGLISH, *(tag for tag in languages() if tag != "en")):
            file = _ESPEAK_FILES.get(tag, tag)
            found.append(Voice(file, "espeak", tag, "male"))
            found += [Voice(f"{file}+{name}", "espeak", tag, "female") for name in _FEMALE_VARIANTS]
            found += [Voice(f"{file}+{name}", "espeak", tag, "male") for name in _MALE_VARIANTS]
    return tuple(found)


def voices(engine: str | None = None, language: str | None = None) -> list[Voice]:
    """The voices that this machine can speak with, of one engine or language (a prefix such as en) where given."""
    return [
        voice
        for voice in _all_voices()
        if (engine is None or voice.engine == engine) and (language is None or voice.language.startswith(language))
    ]
