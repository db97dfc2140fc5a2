"""Speech synthesisers as they come: text in, sound and the synthesiser's own phones and times out.

espeak-ng is called as a library, because only its phoneme events carry exact times; flite and festival are programs.
None of them comes with Mien: the training corpus is made with what the machine has.
"""

import ctypes
import ctypes.util
import functools
import io
import itertools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from talking_face.festival_phones import VOICES
from talking_face.phones import (
    ALL_VOWELS,
    SILENCE,
    STOPS,
    Phone,
    contiguous,
    from_festival,
    ipa_phones,
    stress_of,
)

_TIMEOUT = 120  # seconds that one call of a program may take


@dataclass(frozen=True)
class Request:
    """What to say: `rate` 1 is the voice's own tempo (2 is twice as fast), `pitch` multiplies its own pitch."""

    text: str
    rate: float = 1.0
    pitch: float = 1.0


Speech = tuple[np.ndarray, int, list[Phone]]  # samples (N,) float32, their rate, phones that cover them


def available(engine: str) -> bool:
    """Whether espeak-ng, flite or festival can be called on this machine."""
    return bool(_espeak_path()) if engine == "espeak" else shutil.which(engine) is not None


# ---------------------------------------------------------------- espeak-ng


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's public header speak_lib.h."""

    _fields_ = [
        *(("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text_position", ctypes.c_int)),
        *(("length", ctypes.c_int), ("milliseconds", ctypes.c_int), ("sample", ctypes.c_int)),
        *(("user_data", ctypes.c_void_p), ("id", _EventId)),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _PHONEME_EVENTS, _IPA_EVENTS, _STAY_ALIVE = 2, 1, 2, 0x8000
_LIST_END, _PHONEME = 0, 7
_RATE, _PITCH = 1, 3
_UTF8, _UTF8_IPA, _IPA_SPACED = 1, 1, 2 | (ord("_") << 8)
_WORDS_A_MINUTE = 165


@functools.cache
def _espeak_path() -> str | None:
    return ctypes.util.find_library("espeak-ng")


class _Espeak:
    """The library, initialised once a process; it holds global state, so one call at a time."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(_espeak_path())
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        options = _PHONEME_EVENTS | _IPA_EVENTS | _STAY_ALIVE
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, None, options)
        if self.rate <= 0:
            raise RuntimeError("espeak-ng cannot be started: its data folder is missing; reinstall espeak-ng.")
        self.blocks: list[np.ndarray] = []
        self.events: list[tuple[int, str]] = []
        self.callback = _CALLBACK(self._receive)  # kept alive as long as the library may call it
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples, count, events) -> int:
        if samples and count > 0:
            self.blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _LIST_END:
            if events[index].type == _PHONEME:
                symbol = events[index].id.string.decode("utf-8", "ignore")
                self.events.append((events[index].sample, symbol))
            index += 1
        return 0

    def synthesise(self, voice: str, request: Request) -> tuple[np.ndarray, list[tuple[int, str]], list[str]]:
        """Samples int16, (sample, IPA symbol) of each phoneme event, and the spaced IPA transcription with stress."""
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}.")
        self.blocks, self.events = [], []
        self.library.espeak_SetParameter(_RATE, int(round(_WORDS_A_MINUTE * request.rate)), 0)
        self.library.espeak_SetParameter(_PITCH, int(np.clip(50 + 50 * np.log2(request.pitch), 0, 99)), 0)
        text = request.text.encode("utf-8") + b"\0"
        self.library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8, None, None)
        self.library.espeak_Synchronize()
        buffer = ctypes.create_string_buffer(text)
        pointer = ctypes.c_void_p(ctypes.addressof(buffer))
        transcription: list[str] = []
        while pointer.value:
            clause = self.library.espeak_TextToPhonemes(ctypes.byref(pointer), _UTF8_IPA, _IPA_SPACED)
            transcription += (clause or b"").decode("utf-8", "ignore").replace(" ", "_").split("_")
        samples = np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.int16)
        return samples, self.events, transcription


@functools.cache
def _espeak() -> _Espeak:
    return _Espeak()


def espeak(voice: str, request: Request) -> Speech:
    """espeak-ng's sound and phones.

    An event stands where the phoneme's own sound begins: the silent closure of a stop lies before it and is found in
    the sound (which is silent there but for a variant's echo), at most 0.12 s of it. A symbol that is
    unknown counts as AH.
    """
    engine = _espeak()
    samples, events, transcription = engine.synthesise(voice, request)
    audio = samples.astype(np.float32) / 32768
    rate = engine.rate
    language = voice.replace("+", "-").split("-")[0]
    groups = [(sample / rate, _espeak_phones(symbol, language)) for sample, symbol in events]
    stress = iter(_stresses(groups, transcription, language))
    loud = _loudness(audio, rate)
    phones: list[Phone] = []
    for (start, names), following in zip(groups, [group[0] for group in groups[1:]] + [len(audio) / rate], strict=True):
        silence = _silence_before(loud, start, phones[-1].start + 0.02 if phones else 0.0)
        if names and phones and silence > 0.008 and phones[-1].name != SILENCE:
            begin = start - silence
            phones[-1] = Phone(phones[-1].name, phones[-1].start, begin, phones[-1].stress)
            if names[0] in STOPS:
                begin_stop = max(begin, start - 0.12)
                start = begin_stop if begin_stop - begin < 0.06 else start - 0.08
        elif names and phones and names[0] in STOPS and phones[-1].name == SILENCE:
            start -= min(0.08, max(0.0, phones[-1].duration - 0.02), silence)
            phones[-1] = Phone(SILENCE, phones[-1].start, start)
        if start > following:
            continue
        for index, name in enumerate(names or (SILENCE,)):
            first = start + (following - start) * index / max(1, len(names))
            last = start + (following - start) * (index + 1) / max(1, len(names))
            phones.append(Phone(name, first, last, next(stress, 0) if name in ALL_VOWELS else 0))
    return audio, rate, contiguous(phones, len(audio) / rate)


def _espeak_phones(symbol: str, language: str) -> tuple[str, ...]:
    """The phones of one event. Mandarin's tone letters (written with ɜ) and aspiration (also Korean's) are no phones,
    and English's tapped t is no rolled r.
    """
    if language in ("cmn", "ko"):
        symbol = symbol.replace("ɜ", "")
        symbol = symbol.replace("h", "") if len(symbol) > 1 else symbol
    if language == "en":
        symbol = symbol.replace("ɾ", "d").replace("oːɹ", "ɔːɹ")
    try:
        return ipa_phones(symbol)
    except KeyError:
        return ("AH",)


def _stresses(groups: list, transcription: list[str], language: str) -> list[int]:
    """The stress of each vowel in the events, from the transcription, all 0 where the two do not count alike."""
    marks = []
    for symbol in transcription:
        marks += [stress_of(symbol) for name in _espeak_phones(symbol, language) if name in ALL_VOWELS]
    count = sum(name in ALL_VOWELS for _, names in groups for name in names)
    return marks if len(marks) == count else [0] * count


def _loudness(audio: np.ndarray, rate: int) -> np.ndarray:
    """Loudness in dBFS of each stretch of 2 ms."""
    size = rate // 500
    blocks = audio[: len(audio) // size * size].reshape(-1, size)
    return 10 * np.log10(np.mean(blocks.astype(np.float64) ** 2, axis=1) + 1e-10)


def _silence_before(loud: np.ndarray, time: float, earliest: float) -> float:
    """Seconds of silence that end at `time` (± 6 ms), not reaching before `earliest`."""
    if not len(loud):
        return 0.0
    threshold = min(-44.0, float(loud.max()) - 34.0)
    last = min(int(time * 500), len(loud)) - 1
    skipped = 0
    while last >= 0 and loud[last] > threshold and skipped < 3:
        last, skipped = last - 1, skipped + 1
    first = last
    while first >= 0 and loud[first] <= threshold and first / 500 > earliest:
        first -= 1
    return (last - first) / 500 + skipped / 500 if first < last else 0.0


# ---------------------------------------------------------------- flite

#: Seconds by which a voice's sound comes after its labels: the lag at which the labels of vowels and of S and SH fit
#: the sound's energy and its brightness best, over 3 to 12 minutes a voice. espeak-ng and awb need none.
DELAY = {
    **{"kal": 0.003, "kal16": 0.003, "rms": 0.002, "slt": 0.007, "kal_diphone": 0.009, "ked_diphone": 0.007},
    **{"cmu_us_slt_arctic_hts": 0.013, "upc_ca_ona_hts": 0.006, "suo_fi_lj_diphone": 0.007, "hy_fi_mv_diphone": 0.003},
}
#: Mean pitch in Hz that flite's and festival's voices have by themselves.
BASE_PITCH = {"kal": 95.0, "kal16": 95.0, "awb": 120.0, "rms": 95.0, "slt": 170.0, "ked": 105.0}


def flite(voice: str, request: Request) -> Speech:
    """flite's sound and its segments with end times (`-psdur`)."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "-psdur", "--setf", f"duration_stretch={1 / request.rate:.4f}"]
        if abs(request.pitch - 1) > 1e-3:
            command += ["--setf", f"int_f0_target_mean={BASE_PITCH[voice] * request.pitch:.2f}"]
        command += ["-t", request.text, "-o", str(sound)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
        rate, samples = wavfile.read(sound)
    rows = [item.rsplit(":", 1) for item in done.stdout.split() if ":" in item]
    return _from_ends([(name, float(end)) for name, end in rows], samples, rate, "en", DELAY.get(voice, 0.0))


# ---------------------------------------------------------------- festival

_FESTIVAL_HEAD = """
(define (mien_say words out)
  (let ((utt (eval (list 'Utterance 'Text words))))
    (utt.synth utt)
    (utt.save.segs utt (string-append out ".lab"))
    (utt.save.wave utt (string-append out ".wav") 'riff)))
"""


def festival(voice: str, requests: Sequence[Request], language: str = "en") -> list[Speech]:
    """Festival's sounds and segments; one process for all requests, because it starts slowly.

    voice: a name of festival's, such as ked_diphone or cmu_us_slt_arctic_hts. HTS voices take rate and pitch as
    engine parameters (-r, -fm in half-language), diphone voices as Duration_Stretch and the target pitch. A text with
    a joint of two phones that the voice has no recording of gives no sound and no phones.
    """
    with tempfile.TemporaryDirectory() as folder:
        lines = [_FESTIVAL_HEAD]
        for index, request in enumerate(requests):
            lines.append(f"(voice_{voice})")
            lines += _festival_settings(voice, request)
            text = request.text.replace("\\", " ").replace('"', " ")
            lines.append(f'(mien_say "{text}" "{folder}/{index}")')
        script = Path(folder) / "script.scm"
        encoding = VOICES[voice].encoding if voice in VOICES else "latin-1" if language.startswith("ca") else "ascii"
        script.write_bytes("\n".join(lines).encode(encoding, "ignore"))
        command = ["festival", "-b", str(script)]
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT + 5 * len(requests), check=True)
        missing = set(re.findall(rb"default diphone \S+ for (\S+)", done.stderr + done.stdout))
        stems = [Path(folder) / str(index) for index in range(len(requests))]
        return [_festival_result(stem, language, DELAY.get(voice, 0.0), missing) for stem in stems]


def _festival_settings(voice: str, request: Request) -> list[str]:
    if voice.endswith("_hts"):
        return [f'(set! hts_engine_params (append hts_engine_params (list (list "-r" {request.rate:.4f}))))']
    if voice in VOICES:  # their pitch follows their own models
        return [f"(Parameter.set 'Duration_Stretch {VOICES[voice].stretch / request.rate:.4f})"]
    base = BASE_PITCH[voice.split("_")[0]]
    means = f"(target_f0_mean {base * request.pitch:.2f}) (target_f0_std {base * request.pitch * 0.14:.2f})"
    return [
        f"(Parameter.set 'Duration_Stretch {1 / request.rate:.4f})",
        f"(set! int_lr_params '({means} (model_f0_mean 170) (model_f0_std 34)))",
    ]


def _festival_result(stem: Path, language: str, delay: float, missing: set[bytes] = frozenset()) -> Speech:
    rate, samples = wavfile.read(io.BytesIO(stem.with_suffix(".wav").read_bytes()))
    rows = []
    for line in stem.with_suffix(".lab").read_text(encoding="latin-1").splitlines():
        fields = line.split()
        if len(fields) == 3:
            rows.append((fields[2], float(fields[0])))
    names = [name for name, _ in rows]
    if missing & {f"{first}-{second}".encode() for first, second in itertools.pairwise(names)}:
        return np.zeros(0, np.float32), rate, []
    return _from_ends(rows, samples, rate, language, delay)


def _from_ends(rows: list, samples: np.ndarray, rate: int, language: str, delay: float) -> Speech:
    """Phones from (engine's name, end time) rows, `delay` seconds later."""
    phones, start = [], 0.0
    for name, end in rows:
        phone = from_festival(name, language)
        if phone == "B" and language == "ca" and phones and phones[-1].name not in (SILENCE, "M", "N", "NG", "P", "B"):
            phone = "PH"  # Catalan's b closes the lips only after a pause, a nasal or a stop
        stress = 1 if name.endswith("1") and phone in ALL_VOWELS else 0
        end = max(start, end + delay)
        phones.append(Phone(phone, start, end, stress))
        start = end
    audio = samples.astype(np.float32) / 32768
    return audio, rate, contiguous(phones, len(audio) / rate)
