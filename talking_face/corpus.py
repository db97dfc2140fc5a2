"""The synthetic speech corpus: many sentences by many voices, each phone labelled with its exact time.

    python -m talking_face.corpus OUT --hours 3 --seed 0 [--workers 1] [--voices 'festival:czech_*,flite:slt']

writes OUT/NNNNNN.flac (16 kHz, mono, 16 bit) and OUT/corpus.jsonl, one line a file: file, voice, language, gender,
rate, pitch, duration, text, phones [[name, start, end, stress], ...] (seconds, covering the whole file, pauses are
SIL). Who says what and how in utterance N is a function of the seed and N alone (espeak-ng's own noise is not); a run
that was stopped goes on where it was.
"""

import argparse
import fnmatch
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from animate.errors import MienError, OptionError
from animate.whole_file import whole_file
from talking_face.festival_phones import VOICES
from talking_face.phones import SILENCE, Phone, contiguous
from talking_face.sentences import utterance
from talking_face.voice_engines import Request
from talking_face.voices import SAMPLE_RATE, Voice, voices

#: Share of the utterances by voice (engine:name) or, for espeak, by group. Voices made from recorded people: 60 %.
SHARES = {
    **{"flite:kal": 0.03, "flite:kal16": 0.07, "flite:awb": 0.11, "flite:rms": 0.11, "flite:slt": 0.10},
    **{"festival:kal_diphone": 0.03, "festival:ked_diphone": 0.06, "festival:cmu_us_slt_arctic_hts": 0.05},
    **{"festival:upc_ca_ona_hts": 0.04, "espeak:en": 0.20, "espeak:other": 0.20},
}
RATES, PITCHES = (0.75, 1.35), (0.8, 1.25)
_BLOCK = 24  # utterances that one worker speaks together, so that festival starts once a voice and block
_EDGE = 0.03  # seconds of the synthesiser's own silence that stay at a sentence's ends


@dataclass(frozen=True)
class Plan:
    """What utterance `index` will be."""

    index: int
    voice: Voice
    pieces: tuple[str, ...]
    pauses: tuple[float, ...]  # seconds before each piece and after the last
    rate: float
    pitch: float


def plan(index: int, seed: int, patterns: tuple[str, ...] = ()) -> Plan:
    """The voice, sentences, pauses, tempo and pitch of one utterance, a function of (seed, index, patterns).

    patterns: names of voices such as festival:czech_*, each as likely as the next; without them SHARES decides.
    Raises OptionError where no synthesiser is installed or no voice has such a name.
    """
    rng = np.random.default_rng((seed, index))
    voice = _pick_named(rng, patterns) if patterns else _pick_voice(rng)
    pieces: list[str] = []
    for text in utterance(rng, voice.language, recorded=voice.name in VOICES):
        pieces += _cut(text, rng)
    pauses = [float(rng.uniform(0.1, 0.8))]
    for _ in pieces[1:]:
        pauses.append(float(rng.uniform(0.1, 0.5) if rng.random() < 0.7 else rng.uniform(0.5, 1.2)))
    pauses.append(float(rng.uniform(0.1, 0.8)))
    rate = float(np.exp(rng.uniform(*np.log(RATES))))
    pitch = float(np.exp(rng.uniform(*np.log(PITCHES))))
    return Plan(index, voice, tuple(pieces), tuple(pauses), rate, pitch)


def _pick_voice(rng: np.random.Generator) -> Voice:
    groups = {}
    for key in SHARES:
        engine, name = key.split(":")
        if engine == "espeak":
            members = [item for item in voices("espeak") if item.language.startswith("en") == (name == "en")]
        else:
            members = [item for item in voices(engine) if item.name == name]
        if members:
            groups[key] = members
    if not groups:
        raise OptionError("The speech corpus needs a synthesiser: install espeak-ng, flite or festival.")
    weights = np.array([SHARES[key] for key in groups])
    members = groups[list(groups)[rng.choice(len(groups), p=weights / weights.sum())]]
    language = sorted({item.language for item in members})
    if len(language) > 1:  # every language alike, American English more often
        chances = np.array([4.0 if tag == "en-us" else 1.0 for tag in language])
        tag = language[rng.choice(len(language), p=chances / chances.sum())]
        members = [item for item in members if item.language == tag]
    return members[rng.integers(len(members))]


def _pick_named(rng: np.random.Generator, patterns: tuple[str, ...]) -> Voice:
    pattern = patterns[rng.integers(len(patterns))]
    members = [item for item in voices() if fnmatch.fnmatchcase(item.key, pattern)]
    if not members:
        raise OptionError(f"No voice here is called {pattern}; name one such as flite:slt or festival:czech_*.")
    return members[rng.integers(len(members))]


def _cut(text: str, rng: np.random.Generator) -> list[str]:
    """The text, in one case of five cut in two between words: a pause where a speaker would hesitate."""
    words = text.split()
    if len(words) < 6 or rng.random() > 0.2:
        return [text]
    place = int(rng.integers(2, len(words) - 2))
    return [" ".join(words[:place]), " ".join(words[place:])]


def assemble(spoken: list[tuple[np.ndarray, list[Phone]]], pauses: tuple[float, ...]) -> tuple[np.ndarray, list[Phone]]:
    """Pieces of speech, each with its edges' silence trimmed, joined by pauses (one more than pieces, in seconds)."""
    sounds: list[np.ndarray] = []
    phones: list[Phone] = []
    length = 0
    for (audio, labels), pause in zip(spoken, pauses, strict=False):
        silence = np.zeros(int(pause * SAMPLE_RATE), np.float32)
        voiced = [item for item in labels if item.name != SILENCE]
        if not voiced:
            continue
        first = max(0, int((voiced[0].start - _EDGE) * SAMPLE_RATE))
        last = min(len(audio), int((voiced[-1].end + 2 * _EDGE) * SAMPLE_RATE))
        length += len(silence)
        shift = (length - first) / SAMPLE_RATE
        inner = [item for item in labels if item.start >= voiced[0].start - 1e-6 and item.end <= voiced[-1].end + 1e-6]
        phones += [Phone(item.name, item.start + shift, item.end + shift, item.stress) for item in inner]
        sounds += [silence, _faded(audio[first:last])]
        length += last - first
    sounds.append(np.zeros(int(pauses[-1] * SAMPLE_RATE), np.float32))
    whole = np.concatenate(sounds)
    return whole, contiguous(phones, len(whole) / SAMPLE_RATE, shortest_pause=0)


def _faded(audio: np.ndarray, seconds: float = 0.005) -> np.ndarray:
    size = min(int(seconds * SAMPLE_RATE), len(audio) // 2)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    audio = audio.copy()
    audio[:size] *= ramp
    audio[len(audio) - size :] *= ramp[::-1]
    return audio


def speak_block(first: int, count: int, seed: int, out: Path, patterns: tuple[str, ...] = ()) -> list[dict]:
    """Speaks and writes utterances [first, first + count); their rows of corpus.jsonl. What fails is left out."""
    plans = [plan(index, seed, patterns) for index in range(first, first + count)]
    rows = {}
    for voice in dict.fromkeys(item.voice for item in plans):
        mine = [item for item in plans if item.voice == voice]
        requests = [Request(piece, item.rate, item.pitch) for item in mine for piece in item.pieces]
        try:
            spoken = voice.say_all(requests)
        except MienError as error:
            print(f"left out: {error}", flush=True)
            continue
        for item in mine:
            pieces, spoken = spoken[: len(item.pieces)], spoken[len(item.pieces) :]
            audio, phones = assemble(pieces, item.pauses)
            said = tuple(text for text, (sound, _) in zip(item.pieces, pieces, strict=True) if len(sound))
            if len(phones) > 2 and np.abs(audio).max() > 1e-3:
                rows[item.index] = _write(replace(item, pieces=said), audio, phones, out)
    return [rows[index] for index in sorted(rows)]


def _write(item: Plan, audio: np.ndarray, phones: list[Phone], out: Path) -> dict:
    import soundfile

    audio = audio * min(1.0, 0.98 / float(np.abs(audio).max()))
    name = f"{item.index:06d}.flac"
    with whole_file(out / name) as part:
        soundfile.write(part, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return {
        **{"file": name, "voice": item.voice.key, "language": item.voice.language, "gender": item.voice.gender},
        **{"rate": round(item.rate, 3), "pitch": round(item.pitch, 3), "duration": round(len(audio) / SAMPLE_RATE, 4)},
        **{"text": " ".join(item.pieces), "phones": [phone.row() for phone in phones]},
    }


def read_corpus(folder: str | Path) -> list[dict]:
    """The rows of FOLDER/corpus.jsonl; a last line that was cut off is dropped."""
    path = Path(folder) / "corpus.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def write_corpus(
    out: str | Path, hours: float, seed: int = 0, workers: int = 1, patterns: tuple[str, ...] = ()
) -> float:
    """Fills the folder until its files last `hours`; returns the hours that are there. Resumable."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows = read_corpus(out)
    done = {int(Path(row["file"]).stem) // _BLOCK for row in rows}
    seconds = sum(row["duration"] for row in rows)
    _rewrite(out, rows)
    began, made = time.monotonic(), 0.0
    if seconds >= hours * 3600:
        return seconds / 3600
    with (out / "corpus.jsonl").open("a", encoding="utf-8") as lines:
        for batch in _blocks(done, seed, out, workers, patterns):
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch)
            lines.flush()
            length = sum(row["duration"] for row in batch)
            seconds, made = seconds + length, made + length
            speed = made / max(1e-6, time.monotonic() - began)
            print(f"{seconds / 3600:.3f} h, {speed:.0f} times as fast as it is spoken", flush=True)
            if seconds >= hours * 3600:
                break
    return seconds / 3600


def _rewrite(out: Path, rows: list[dict]) -> None:
    """corpus.jsonl with whole lines only."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with whole_file(out / "corpus.jsonl") as part:
        part.write_text(lines, encoding="utf-8")


def _blocks(done: set[int], seed: int, out: Path, workers: int, patterns: tuple[str, ...]) -> Iterator[list[dict]]:
    """Rows of the blocks that are not done, in order, without end."""
    numbers = (number for number in range(10**6) if number not in done)
    if workers <= 1:
        while True:
            yield speak_block(next(numbers) * _BLOCK, _BLOCK, seed, out, patterns)
        return
    with ProcessPoolExecutor(workers) as pool:
        while True:
            starts = [next(numbers) * _BLOCK for _ in range(workers)]
            wave = [pool.submit(speak_block, first, _BLOCK, seed, out, patterns) for first in starts]
            for future in wave:
                yield future.result()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m talking_face.corpus", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to fill")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--voices", default="", help="only these, for example 'festival:czech_*,flite:slt'")
    options = parser.parse_args(arguments)
    patterns = tuple(item.strip() for item in options.voices.split(",") if item.strip())
    try:
        hours = write_corpus(options.out, options.hours, options.seed, options.workers, patterns)
    except MienError as error:
        raise SystemExit(str(error)) from error
    print(f"{hours:.2f} hours of speech are in {options.out}.")


if __name__ == "__main__":
    main()
