"""Training data: tracked clips and portraits, and the windows that are cut from pairs of their pictures.

    python -m animate.dataset FOLDER PACK      packs a folder of clips and portraits into memory-mapped uint8 arrays

A sample is a pair (source, target) of one person. The source is warped to the target's landmarks and filled by
the interior prior; the network sees that and learns the target. Clips give pairs of frames. A single portrait gives a
pair too: it is warped to another expression and back, so that the network learns to undo a warp's faults on many
people.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from animate import topology
from animate.expression import FEATURES, expression_features, mirror_features
from animate.pose import inter_ocular
from animate.prior import InteriorPrior, mouth_opening
from animate.regions import PIXELS_PER_IOD, REGIONS, cut, gate, region_map, window_matrix
from animate.warp import PortraitWarp

CHANNELS = {"base": 3, "target": 3, "gate": 1, "map": 3, "reference": 3}
VIDEO_SUFFIXES = {".mp4", ".mpg", ".mov", ".webm", ".avi", ".mkv"}
LARGEST_TURN = 0.45  # radians of pitch or yaw between source and target, beyond which a pair teaches only tears
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass
class Clip:
    """One tracked video or portrait (then T = 1).

    `landmarks` (T, 478, 3) px; `valid` (T,) bool; `subject` names the person, for splits by person.
    """

    path: Path
    subject: str
    landmarks: np.ndarray
    valid: np.ndarray

    @property
    def is_portrait(self) -> bool:
        return self.path.suffix.lower() in IMAGE_SUFFIXES

    def frames(self, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """(index, (H, W, 3) uint8 RGB) of every `every`-th frame."""
        from animate.media import VideoReader, read_image

        if self.is_portrait:
            yield 0, read_image(self.path)[..., :3]
            return
        with VideoReader(self.path) as reader:
            for index, frame in enumerate(reader):
                if index >= len(self.landmarks):
                    return
                if index % every == 0:
                    yield index, frame


def subjects(folder: Path) -> dict[str, str]:
    """File name to person, from manifest.csv (columns file, subject) where the folder has one."""
    manifest = Path(folder) / "manifest.csv"
    if not manifest.exists():
        return {}
    with manifest.open(newline="") as rows:
        return {Path(row["file"]).name: row["subject"] for row in csv.DictReader(rows)}


def training_clips(folder: Path, cache: Path) -> list[Clip]:
    """Every clip and portrait below `folder`, tracked; landmarks are kept in `cache` between calls."""
    from safetensors.numpy import load_file, save_file

    from animate.faces import create_tracker
    from animate.media import VideoReader, read_image

    names = subjects(folder)
    cache.mkdir(parents=True, exist_ok=True)
    clips, tracker = [], None
    for path in sorted(Path(folder).rglob("*")):
        suffix = path.suffix.lower()
        if suffix not in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
            continue
        stored = cache / f"{path.name}.safetensors"
        if not stored.exists():
            tracker = tracker or create_tracker()
            if suffix in IMAGE_SUFFIXES:
                faces = tracker.detect(read_image(path)[..., :3])
                landmarks = faces[0].landmarks[None] if faces else np.zeros((0, 478, 3), np.float32)
                valid = np.ones(len(landmarks), np.uint8)
            else:
                with VideoReader(path) as reader:
                    track = tracker.track(reader, reader.fps)[0]
                landmarks, valid = track.landmarks, track.valid.astype(np.uint8)
            save_file({"landmarks": np.ascontiguousarray(landmarks, np.float32), "valid": valid}, stored)
        data = load_file(stored)
        if len(data["landmarks"]):
            subject = names.get(path.name, path.stem)
            clips.append(Clip(path, subject, data["landmarks"], data["valid"].astype(bool)))
    return clips


def face_crop(image: np.ndarray, landmarks: np.ndarray, reach: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """The face at PIXELS_PER_IOD (never enlarged) with `reach` inter-ocular distances round it, and its landmarks."""
    iod = float(inter_ocular(landmarks))
    scale = min(1.0, PIXELS_PER_IOD / iod)
    centre = landmarks[:, :2].mean(0)
    half = reach * iod * scale
    matrix = np.float32([[scale, 0, half - scale * centre[0]], [0, scale, half - scale * centre[1]]])
    side = int(2 * half)
    return _resample(image, matrix, side), (landmarks * scale + [*matrix[:, 2], 0]).astype(np.float32)


def _resample(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    scale = float(matrix[0, 0])
    if scale < 0.6:
        factor = 0.5 if scale >= 0.3 else scale
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        matrix = matrix.copy()
        matrix[:, :2] /= factor
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def make_windows(
    prior: InteriorPrior, target_image: np.ndarray, target: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """All windows of a pair: region name -> {"base", "target", "gate", "map", "reference"} uint8 (S, S, C).

    Args:
        prior: the source's warp and prior.
        target_image, target: the true picture in the source's pixel frame and its landmarks.
    """
    warp = prior.warp
    field = warp.field(target)
    frame = warp.render(field)
    x0, y0 = field.box[:2]
    prior.fill(frame, target, (x0, y0))
    out = {}
    for region in REGIONS:
        matrix = window_matrix(target, region)
        shifted = matrix.copy()
        shifted[:, 2] += matrix[:, :2] @ (x0, y0)
        out[region.name] = {
            "base": cut(frame, shifted, region),
            "target": cut(target_image, matrix, region),
            "gate": np.rint(gate(target, matrix, region) * 255).astype(np.uint8)[..., None],
            "map": region_map(target, matrix, region),
            "reference": cut(warp.image, window_matrix(warp.source, region), region),
        }
    return out


def mirror_face(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture and landmarks (478, 3) seen in a mirror; left and right points change names."""
    points = landmarks[list(topology.MIRROR)].copy()
    points[:, 0] = image.shape[1] - 1 - points[:, 0]
    return np.ascontiguousarray(image[:, ::-1]), points


class Pack:
    """A folder of memory-mapped windows: `<region>.u8` (N, S, S, 13), `features.f32` (N, F), `index.json`."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.index = json.loads((self.folder / "index.json").read_text())
        count = self.index["count"]
        depth = sum(CHANNELS.values())
        self.windows = {
            r.name: np.memmap(self.folder / f"{r.name}.u8", np.uint8, "r", shape=(count, r.size, r.size, depth))
            for r in REGIONS
        }
        self.features = np.memmap(self.folder / "features.f32", np.float32, "r", shape=(count, 2 * FEATURES))
        self.subjects = np.array(self.index["subjects"])

    def __len__(self) -> int:
        return self.index["count"]


class PackWriter:
    """Appends samples to a new pack; `close` writes the index, without which a pack is not readable."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files = {r.name: (self.folder / f"{r.name}.u8").open("wb") for r in REGIONS}
        self.features = (self.folder / "features.f32").open("wb")
        self.subjects: list[str] = []

    def add(self, windows: dict[str, dict[str, np.ndarray]], features: np.ndarray, subject: str) -> None:
        for name, parts in windows.items():
            stacked = np.concatenate([parts[key] for key in CHANNELS], axis=-1)
            self.files[name].write(np.ascontiguousarray(stacked).tobytes())
        self.features.write(np.asarray(features, np.float32).tobytes())
        self.subjects.append(subject)

    def close(self) -> None:
        for file in (*self.files.values(), self.features):
            file.close()
        (self.folder / "index.json").write_text(
            json.dumps({"count": len(self.subjects), "channels": CHANNELS, "subjects": self.subjects})
        )


def clip_pairs(clip: Clip, count: int, rng: np.random.Generator) -> Iterator[tuple]:
    """`count` samples (windows, features, subject) of a clip. Sources are drawn towards closed mouths, targets towards
    open mouths and moving eyes, because that is where a warp fails; the head must not have turned far between."""
    every = max(1, len(clip.landmarks) // 240)
    crops = {}
    reference = clip.landmarks[clip.valid][0]
    matrix_iod = float(inter_ocular(reference))
    for index, image in clip.frames(every):
        if not clip.valid[index]:
            continue
        scale = min(1.0, PIXELS_PER_IOD / matrix_iod)
        points = clip.landmarks[index]
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            points = (points + [0.5, 0.5, 0]) * scale - [0.5, 0.5, 0]
        crops[index] = (image, points.astype(np.float32))
    keys = np.array(sorted(crops))
    if len(keys) < 4:
        return
    opening = np.array([mouth_opening(crops[k][1]) for k in keys])
    features = np.array([expression_features(crops[k][1]) for k in keys])
    closed = np.exp(-opening / 0.03) + 0.15
    wide = 0.35 + np.clip(opening / 0.08, 0, 2) + 4 * np.abs(features[:, 6:8] - np.median(features[:, 6:8], 0)).sum(1)
    sources = rng.choice(len(keys), max(1, count // 12), p=closed / closed.sum())
    made = 0
    for s in sources:
        near = wide * (np.abs(features[:, 17:19] - features[s, 17:19]).max(1) < LARGEST_TURN)
        image, points = crops[keys[s]]
        flip = rng.random() < 0.5
        if flip:
            image, points = mirror_face(image, points)
        prior = InteriorPrior(PortraitWarp(image, points))
        for t in rng.choice(len(keys), 12, p=near / near.sum()):
            if made >= count:
                return
            target_image, target = crops[keys[t]]
            pair = np.concatenate([features[t], features[s]])
            if flip:
                target_image, target = mirror_face(target_image, target)
                pair = mirror_features(pair)
            made += 1
            yield make_windows(prior, target_image, target), pair, clip.subject


def portrait_pairs(clip: Clip, offsets: list[np.ndarray], count: int, rng: np.random.Generator) -> Iterator[tuple]:
    """`count` samples of one portrait: warped to a borrowed expression (the source) and back (the target is the
    untouched picture). `offsets`: landmark offsets (478, 3) in inter-ocular distances, upright."""
    _, picture = next(iter(clip.frames()))
    image, points = face_crop(picture, clip.landmarks[0])
    if rng.random() < 0.5:
        image, points = mirror_face(image, points)
    iod = float(inter_ocular(points))
    warp = PortraitWarp(image, points)
    truth_features = expression_features(points)
    opened = mouth_opening(points)
    for _ in range(count):
        moved = points + iod * offsets[rng.integers(len(offsets))] * rng.uniform(0.5, 1.2)
        if opened > 0.02 and rng.random() < 0.75:
            moved = close_mouth(moved, rng.uniform(0.0, 0.35))
        if rng.random() < 0.5:
            moved = close_eyes(moved, points, rng.uniform(0.3, 1.0))
        field = warp.field(moved)
        source_image = image.copy()
        x0, y0, x1, y1 = field.box
        source_image[y0:y1, x0:x1] = warp.render(field)
        prior = InteriorPrior(PortraitWarp(source_image, moved.astype(np.float32)))
        features = np.concatenate([truth_features, expression_features(moved)])
        yield make_windows(prior, image, points), features, clip.subject


def close_mouth(landmarks: np.ndarray, remaining: float) -> np.ndarray:
    """Landmarks with the inner lips' gap scaled to `remaining` (0 closed, 1 unchanged); the lips move as a whole."""
    out = landmarks.copy()
    upper, lower = list(topology.INNER_LIPS_UPPER), list(topology.INNER_LIPS_LOWER)
    gap = (out[lower] - out[upper])[:, :2] * (1 - remaining)
    for name, share in (("UPPER", 0.35), ("LOWER", -0.65)):
        rows = [getattr(topology, f"INNER_LIPS_{name}"), getattr(topology, f"OUTER_LIPS_{name}")]
        rows += list(getattr(topology, f"MID_LIPS_{name}"))
        for row in rows:
            row = list(row)
            full = gap if len(row) == len(gap) else gap[1:-1]
            out[row, :2] += share * full[: len(row)]
    return out


def close_eyes(landmarks: np.ndarray, original: np.ndarray, amount: float) -> np.ndarray:
    """Landmarks with both upper lids lowered by `amount` of the way to the lower lids."""
    out = landmarks.copy()
    for upper, lower in (
        (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
        (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
    ):
        gap = (out[list(lower)] - out[list(upper)])[:, :2]
        out[list(upper), :2] += amount * gap
    return out


def expression_offsets(clips: list[Clip], rng: np.random.Generator, count: int = 400) -> list[np.ndarray]:
    """Landmark offsets between frames of the same clip with the head's motion taken out, in inter-ocular distances."""
    from animate.pose import decompose

    out = []
    moving = [c for c in clips if not c.is_portrait and c.valid.sum() > 20]
    for clip in moving:
        usable = np.flatnonzero(clip.valid)
        chosen = rng.choice(usable, min(40, len(usable)), replace=False)
        _, shapes = decompose(clip.landmarks[chosen])
        neutral = np.median(shapes, axis=0)
        out += [s - neutral for s in shapes[: max(4, count // len(moving))]]
    return out


def build(
    folder: Path,
    pack: Path,
    cache: Path,
    frames_per_clip: int,
    per_portrait: int,
    skip: set[str],
    seed: int = 0,
):
    """Writes a pack of every clip and portrait below `folder` but those of the people in `skip`."""
    rng = np.random.default_rng(seed)
    clips = [c for c in training_clips(folder, cache) if c.subject not in skip]
    offsets = expression_offsets(clips, rng)
    writer = PackWriter(pack)
    counts: dict[str, int] = {}
    for clip in clips:
        counts[clip.subject] = counts.get(clip.subject, 0) + (not clip.is_portrait)
    for clip in clips:
        if clip.is_portrait:
            teeth = mouth_opening(clip.landmarks[0]) > 0.02
            samples = portrait_pairs(clip, offsets, per_portrait * (3 if teeth else 1), rng)
        else:
            samples = clip_pairs(clip, frames_per_clip // counts[clip.subject], rng)
        for sample in samples:
            writer.add(*sample)
        print(f"{len(writer.subjects):6d} {clip.subject} {clip.path.name}", flush=True)
    writer.close()


def main(
    folder: Path,
    pack: Path,
    cache: Path = Path("tracks"),
    frames_per_clip: int = 900,
    per_portrait: int = 24,
    skip: str = "",
    only: str = "",
    seed: int = 0,
) -> None:
    """Make a training pack. `skip` and `only` are comma-separated subjects (for a split by person)."""
    left_out = set(filter(None, skip.split(",")))
    if only:
        wanted = set(only.split(","))
        left_out |= {c.subject for c in training_clips(folder, cache)} - wanted
    build(folder, pack, cache, frames_per_clip, per_portrait, left_out, seed)


if __name__ == "__main__":
    import typer

    typer.run(main)
