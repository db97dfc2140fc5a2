"""Training data of the speech model: packed synthetic speech with phones, and tracked clips with sound.

    python -m talking_face.dataset corpus PACK CORPUS       sounds and phones of `talking_face.corpus` into one file
    python -m talking_face.dataset speech PACK FOLDER...    recorded speech, its phones aligned
    python -m talking_face.dataset clips PACK FOLDER...     tracks every clip with speech (or reads --tracks) and
    aligns its phones

A pack is a safetensors file of flat arrays with offsets; features are kept in half precision.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from talking_face.basis import symmetric
from talking_face.curves import RATE
from talking_face.features import audio_features
from talking_face.phones import INDEX, PHONES, Phone

#: Seconds by which the picture of a clip runs before its sound; found from the lips at m, b, p (`sync_offset`).
SYNC = {"EDTalk__test_data_uncrop_Obama.mp4": 0.24, "EDTalk__test_data_pose_source2.mp4": 0.07}
#: Clips with a sound that is no speech of the face shown (music, a voice off, a still mouth).
NO_SPEECH = (
    "LivePortrait__examples_driving_d12",
    "LivePortrait__examples_driving_d14",
    "LivePortrait__examples_source_s18",
    "LivePortrait__examples_driving_d9",
)
VIDEO_SUFFIXES = {".mp4", ".mpg", ".mov", ".webm", ".avi", ".mkv"}
AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}


@dataclass
class Utterance:
    """features (n, C) float16 at RATE; phones; voice: who speaks."""

    features: np.ndarray
    phones: list[Phone]
    voice: str


@dataclass
class SpeechClip(Utterance):
    """A tracked clip as well: expression (n, 478, 3) float16, symmetric, at the rows' times, valid (n,) bool, its
    name."""

    expression: np.ndarray
    valid: np.ndarray
    name: str


def write_pack(path: str | Path, items: Sequence[Utterance]) -> None:
    """Write utterances or clips."""
    from safetensors.numpy import save_file

    tables = {
        "features": np.concatenate([i.features for i in items]).astype(np.float16),
        "lengths": np.array([len(i.features) for i in items], np.int64),
        "phones": np.array(
            [[INDEX[p.name], p.start, p.end, p.stress] for i in items for p in i.phones], np.float64
        ).reshape(-1, 4),
        "phone_counts": np.array([len(i.phones) for i in items], np.int64),
    }
    header = {"voices": [i.voice for i in items], "phones": PHONES}
    if isinstance(items[0], SpeechClip):
        tables["expression"] = np.concatenate([i.expression for i in items]).astype(np.float16)
        tables["valid"] = np.concatenate([i.valid for i in items]).astype(np.uint8)
        header["names"] = [i.name for i in items]
    save_file(tables, str(path), {"mien": json.dumps(header)})


def read_pack(path: str | Path, leave_out: str = "") -> list[Utterance]:
    """Read what `write_pack` wrote, but for the voices named in `leave_out`, joined by commas."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["mien"])
        tables = {key: file.get_tensor(key) for key in file.keys()}
    ends = np.cumsum(tables["lengths"])
    phone_ends = np.cumsum(tables["phone_counts"])
    names = header["phones"]
    items = []
    for i, voice in enumerate(header["voices"]):
        rows = slice(ends[i] - tables["lengths"][i], ends[i])
        table = tables["phones"][phone_ends[i] - tables["phone_counts"][i] : phone_ends[i]]
        phones = [Phone(names[int(p)], float(a), float(b), int(s)) for p, a, b, s in table]
        if "names" in header:
            extra = (tables["expression"][rows], tables["valid"][rows].astype(bool), header["names"][i])
            items.append(SpeechClip(tables["features"][rows], phones, voice, *extra))
        else:
            items.append(Utterance(tables["features"][rows], phones, voice))
    return [item for item in items if item.voice not in leave_out.split(",")]


def pack_corpus(folder: str | Path, path: str | Path, limit: int | None = None) -> int:
    """Pack a corpus of `talking_face.corpus`; returns the number of utterances."""
    items = []
    with (Path(folder) / "corpus.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            sound = _read(Path(folder) / entry["file"])
            phones = [Phone(*row) for row in entry["phones"]]
            items.append(Utterance(audio_features(sound).astype(np.float16), phones, entry["voice"]))
            if len(items) == limit:
                break
    write_pack(path, items)
    return len(items)


def _read(path: Path) -> np.ndarray:
    from talking_face.audio import load_audio

    return load_audio(path)


def tracked_clip(path: Path, subject: str, labels: Path | None = None, tracks: Sequence[Path] = ()) -> SpeechClip:
    """One clip: tracked (or its track read from `tracks`), its sound's features and phones (from `labels`, or
    aligned)."""
    from animate.media import probe
    from animate.motion import Motion
    from talking_face.audio import load_audio

    track = _track(path, tracks)
    motion = Motion.from_track(track)
    sound = load_audio(path)
    phones = _phones(path, sound, labels)
    features = audio_features(sound)
    offsets = symmetric(motion.expression).astype(np.float32)
    fps = Fraction(probe(path).fps)
    times = np.arange(len(features)) / RATE - SYNC.get(path.name, 0.0)
    at = times * float(fps)
    inside = (at >= 0) & (at <= len(motion) - 1)
    at = np.clip(at, 0, len(motion) - 1)
    left = np.minimum(at.astype(int), max(len(motion) - 2, 0))
    share = (at - left)[:, None, None].astype(np.float32)
    right = np.minimum(left + 1, len(motion) - 1)
    expression = offsets[left] * (1 - share) + offsets[right] * share
    valid = inside & motion.valid[left] & motion.valid[right]
    return SpeechClip(features, phones, subject, expression, valid, path.name)


def _phones(path: Path, sound: np.ndarray, labels: Path | None) -> list[Phone]:
    """From a label file `…NAME.json` where there is one, else recognised and aligned."""
    found = sorted(labels.glob(f"*{path.name}.json")) if labels else []
    if found:
        return [Phone(*row) for row in json.loads(found[0].read_text(encoding="utf-8"))["phones"]]
    from talking_face.alignment import align_speech

    return align_speech(sound)


def _track(path: Path, tracks: Sequence[Path]):
    from animate.faces import FaceTrack, create_tracker
    from animate.media import VideoReader, probe

    known = [folder / f"{path.name}.safetensors" for folder in tracks]
    known = [file for file in known if file.is_file()]
    if known:
        from safetensors.numpy import load_file

        tables, info = load_file(str(known[0])), probe(path)
        valid = tables["valid"].astype(bool)
        return FaceTrack(tables["landmarks"], valid, Fraction(info.fps), (info.width, info.height))
    with VideoReader(path) as reader:
        return create_tracker().track(reader, reader.fps, max_faces=1)[0]


def find_media(folders: Iterable[str | Path], suffixes: set[str]) -> list[tuple[Path, str]]:
    """Files with sound below the folders, with the person each holds (from a `manifest.csv`, or the file's name)."""
    from animate.errors import MienError
    from animate.media import sound_of

    found = []
    for folder in map(Path, folders):
        people = {}
        for manifest in folder.rglob("manifest.csv"):
            with manifest.open(newline="", encoding="utf-8") as rows:
                people |= {(manifest.parent / r["file"]).resolve(): r["subject"] for r in csv.DictReader(rows)}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in suffixes or path.stem in NO_SPEECH:
                continue
            try:
                has_sound = sound_of(path) is not None
            except MienError:
                continue
            if has_sound:
                found.append((path, people.get(path.resolve(), path.stem)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("corpus", "speech", "clips"))
    parser.add_argument("pack", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--labels", type=Path, help="folder with phone labels …NAME.json; the rest is recognised")
    parser.add_argument("--only-labelled", action="store_true", help="leave out what has no label file")
    parser.add_argument("--tracks", type=Path, nargs="*", default=[], help="folders with tracks NAME.safetensors")
    options = parser.parse_args()
    if options.kind == "corpus":
        print(pack_corpus(options.folders[0], options.pack), "utterances")
        return
    suffixes = VIDEO_SUFFIXES if options.kind == "clips" else AUDIO_SUFFIXES
    items: list[Utterance] = []
    for path, person in find_media(options.folders, suffixes):
        if options.only_labelled and not list(options.labels.glob(f"*{path.name}.json")):
            continue
        if options.kind == "clips":
            items.append(tracked_clip(path, person, options.labels, options.tracks))
        else:
            sound = _read(path)
            items.append(Utterance(audio_features(sound), _phones(path, sound, options.labels), person))
        print(f"{len(items[-1].features) / RATE:6.1f} s  {person}  {path.name}", flush=True)
    write_pack(options.pack, items)


if __name__ == "__main__":
    main()
