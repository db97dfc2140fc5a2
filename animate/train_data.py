"""What the full size is trained on: samples of a folder that `animate.train_prepare` made.

Sample N is a function of (seed, N) alone, and its noise too (`animate.train_recipe.draws`): a resumed run sees what an
uninterrupted one would have seen, on any number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from animate import landmark_map
from animate import topology as mesh
from animate.errors import MediaError
from animate.landmark_map import expression_mask

NEAREST_REFERENCE = 4  # frames between the two pictures of a pair, where the clip is long enough (AniPortrait's)


@dataclass(frozen=True)
class PreparedClip:
    """One line of manifest.jsonl. Frames are (size, size, 3) uint8 RGB, landmarks px of them."""

    folder: Path
    subject: str
    frames: int
    suffix: str

    def picture(self, index: int) -> np.ndarray:
        """(S, S, 3) uint8 RGB; raises MediaError where the file is missing or damaged."""
        path = self.folder / f"{index:05d}{self.suffix}"
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise MediaError(f"{path} is missing or damaged: prepare the dataset anew.")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def landmarks(self, index: int) -> np.ndarray:
        """(478, 3) float32 px."""
        from safetensors import safe_open

        with safe_open(self.folder / "landmarks.safetensors", "np") as file:
            return file.get_slice("landmarks")[index]


def read_manifest(folder: Path) -> list[PreparedClip]:
    """The clips of a prepared folder; MediaError where it is none."""
    path = Path(folder) / "manifest.jsonl"
    if not path.is_file():
        raise MediaError(f"{folder} holds no manifest.jsonl: make it with `mien train prepare VIDEOS -o {folder}`.")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [PreparedClip(Path(folder) / r["folder"], r["subject"], r["frames"], r["suffix"]) for r in rows]


class TrainingClips(Dataset):
    """Endless samples: a reference and `frames` frames of the same shot, with maps and masks.

    Args:
        folder: from `mien train prepare`.
        frames: of a sample; 1 gives image pairs.
        size: side of the pictures, px; prepared ones of another size are resampled.
        style: of the landmark maps, see `animate.landmark_map`.
        longest_stride: every k-th frame of the clip, k drawn from 1 to this (movements of other speeds).
        seed: of everything drawn.

    A sample is a dict: "reference" (3, S, S) and "clip" (3, T, S, S) in [-1, 1]; "landmark_map" (3, T, S, S),
    "expression_mask" and "facial_mask" (1, T, S, S) in [0, 1]; "index" its number. Each person counts with the square
    root of the number of frames, so that long clips do not drown the rest. Half of the samples are mirrored.

    Raises MediaError for a folder that is not prepared, or in which no clip is long enough.
    """

    def __init__(
        self,
        folder: Path,
        frames: int = 1,
        size: int = 512,
        style: str = "follow-your-emoji",
        longest_stride: int = 1,
        seed: int = 0,
    ):
        self.frames, self.size, self.style = frames, size, style
        self.longest_stride, self.seed = longest_stride, seed
        known = read_manifest(folder)
        self.clips = [clip for clip in known if clip.frames >= max(frames, 2)]
        if not self.clips:
            raise MediaError(
                f"None of the {len(known)} clips of {folder} has {max(frames, 2)} frames: add longer ones."
            )
        lengths = np.array([clip.frames for clip in self.clips], float)
        _, person = np.unique([clip.subject for clip in self.clips], return_inverse=True)
        chances = lengths * np.bincount(person, lengths)[person] ** -0.5
        self.chances = chances / chances.sum()

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, index))
        clip = self.clips[rng.choice(len(self.clips), p=self.chances)]
        chosen, reference = self._choose(clip.frames, rng)
        mirrored = rng.random() < 0.5
        seen = [self._frame(clip, number, mirrored) for number in chosen]
        size = (self.size, self.size)
        maps = [landmark_map.draw(points, size, self.style) for _, points in seen]
        masks = {
            "expression_mask": [expression_mask(points, size) for _, points in seen],
            "facial_mask": [landmark_map.face_mask(points, size) for _, points in seen],
        }
        sample = {name: _planes(np.stack(planes)[..., None]) for name, planes in masks.items()}
        return sample | {
            "reference": _planes(self._frame(clip, reference, mirrored)[0][None])[:, 0] * 2 - 1,
            "clip": _planes(np.stack([picture for picture, _ in seen])) * 2 - 1,
            "landmark_map": _planes(np.stack(maps)),
            "index": torch.tensor(index),
        }

    def _choose(self, length: int, rng: np.random.Generator) -> tuple[list[int], int]:
        """Numbers of the frames and of the reference; an image pair's are not neighbours."""
        stride = int(rng.integers(1, self.longest_stride + 1))
        stride = min(stride, max(1, (length - 1) // max(1, self.frames - 1)))
        first = int(rng.integers(length - (self.frames - 1) * stride))
        chosen = [first + stride * k for k in range(self.frames)]
        if self.frames > 1:
            return chosen, int(rng.integers(length))
        apart = np.abs(np.arange(length) - first)
        return chosen, int(rng.choice(np.flatnonzero(apart >= min(NEAREST_REFERENCE, apart.max()))))

    def _frame(self, clip: PreparedClip, number: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
        picture, points = clip.picture(number), clip.landmarks(number)
        if len(picture) != self.size:
            scale = self.size / len(picture)
            kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            picture = cv2.resize(picture, (self.size, self.size), interpolation=kind)
            points = (points + (0.5, 0.5, 0)) * scale - (0.5, 0.5, 0)
        if mirrored:
            picture, points = picture[:, ::-1], mesh.mirror_landmarks(points, self.size)
        return picture, points


def _planes(pictures: np.ndarray) -> torch.Tensor:
    """(T, H, W, C) uint8 -> (C, T, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(3, 0, 1, 2))).float() / 255


@dataclass(frozen=True)
class SampleNumbers:
    """Numbers of the samples of batches `first` to `first + count`, for process `rank` of `ranks`.

    Batch n of all processes together holds the samples from n * batch * ranks on, `batch` of them on each process.
    """

    first: int
    count: int
    batch: int
    rank: int = 0
    ranks: int = 1

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        for n in range(self.first, self.first + self.count):
            start = (n * self.ranks + self.rank) * self.batch
            yield list(range(start, start + self.batch))


def loader(data: TrainingClips, numbers: SampleNumbers, workers: int = 0) -> DataLoader:
    """Batches of samples, read by so many `workers` (processes) ahead of time."""
    return DataLoader(data, batch_sampler=numbers, num_workers=workers, pin_memory=torch.cuda.is_available())
