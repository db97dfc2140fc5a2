"""The mouth's inside as a small table of textures, and the command that builds it.

    python -m animate.mouth_table FOLDER

A texture lives in coordinates between the two inner-lip curves and is relative to the skin round the mouth.
Each cell of a grid over (opening, width) holds the kernel-weighted median of the training mouths near it, every
person counting much the same, so that no single clip's teeth prevail.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from animate import topology
from animate.pose import inter_ocular

TABLE_PATH = Path(__file__).resolve().parents[1] / "weights" / "embedded" / "mouth_table.safetensors"
TEXTURE_SIZE = (48, 24)  # u along the lips, v from upper to lower lip
OPENINGS = np.array([0.015, 0.03, 0.05, 0.075, 0.105, 0.14, 0.19, 0.25, 0.33, 0.45], np.float32)
WIDTHS = np.array([0.45, 0.56, 0.66, 0.75, 0.84, 0.95], np.float32)
SKIN_POINTS = (50, 280, 205, 425, 187, 411, 164, 200, 18, 57, 287, 36, 266)


@dataclass(frozen=True)
class MouthShape:
    """The inner-lip opening in a frame of its own: x from the right to the left corner, y downwards.

    `upper`, `lower`: (n,) heights of the lip curves at `knots` in [0, 1] along the corner axis, all over `width`.
    """

    origin: np.ndarray
    axis: np.ndarray
    width: float
    knots_upper: np.ndarray
    knots_lower: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    opening: float
    relative_width: float

    @classmethod
    def of(cls, landmarks: np.ndarray) -> MouthShape:
        iod = float(inter_ocular(landmarks))
        upper = landmarks[list(topology.INNER_LIPS_UPPER), :2]
        lower = landmarks[list(topology.INNER_LIPS_LOWER), :2]
        origin, end = upper[0], upper[-1]
        axis = end - origin
        width = float(np.linalg.norm(axis)) + 1e-6
        axis = axis / width
        normal = np.array([-axis[1], axis[0]])
        ux, uy = (upper - origin) @ axis / width, (upper - origin) @ normal / width
        lx, ly = (lower - origin) @ axis / width, (lower - origin) @ normal / width
        ux, lx = np.maximum.accumulate(ux), np.maximum.accumulate(lx)
        return cls(origin, axis, width, ux, lx, uy, ly, mouth_opening(landmarks), width / iod)

    def coordinates(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture pixels to (u, v): u in [0, 1] along the lips, v = 0 on the upper and 1 on the lower inner lip."""
        dx, dy = x - self.origin[0], y - self.origin[1]
        u = (dx * self.axis[0] + dy * self.axis[1]) / self.width
        h = (-dx * self.axis[1] + dy * self.axis[0]) / self.width
        upper = np.interp(u, self.knots_upper, self.upper)
        lower = np.interp(u, self.knots_lower, self.lower)
        return u.astype(np.float32), ((h - upper) / np.maximum(lower - upper, 1e-3)).astype(np.float32)

    def positions(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `coordinates`."""
        upper = np.interp(u, self.knots_upper, self.upper)
        lower = np.interp(u, self.knots_lower, self.lower)
        h = (upper + v * (lower - upper)) * self.width
        along = u * self.width
        x = self.origin[0] + along * self.axis[0] - h * self.axis[1]
        y = self.origin[1] + along * self.axis[1] + h * self.axis[0]
        return x.astype(np.float32), y.astype(np.float32)


def mouth_opening(landmarks: np.ndarray) -> float:
    """Mean gap of the three middle inner-lip pairs over the inter-ocular distance."""
    upper, lower = landmarks[[82, 13, 312], :2], landmarks[[87, 14, 317], :2]
    return float(np.linalg.norm(lower - upper, axis=1).mean() / inter_ocular(landmarks))


def skin_colour(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(3,) float32: what the table's brightness is relative to: the median colour of points of skin round the mouth,
    half way to its grey. Measured over people left out of the table, that predicts mouths best (error 0.1187; the full
    colour 0.1195, the grey alone 0.1192, a compressed brightness 0.1200)."""
    points = np.round(landmarks[list(SKIN_POINTS), :2]).astype(int)
    points[:, 0] = points[:, 0].clip(0, image.shape[1] - 1)
    points[:, 1] = points[:, 1].clip(0, image.shape[0] - 1)
    colour = np.median(image[points[:, 1], points[:, 0]].astype(np.float32), axis=0)
    return (0.5 * colour + 0.5 * colour.mean()).clip(8, 255)


class MouthTable:
    """Median interiors over a grid of (opening, width); `lookup` interpolates between the four nearest cells."""

    def __init__(self, openings: np.ndarray, widths: np.ndarray, textures: np.ndarray):
        self.openings, self.widths, self.textures = openings, widths, textures

    @classmethod
    def load(cls, path: Path = TABLE_PATH) -> MouthTable:
        from safetensors.numpy import load_file

        data = load_file(path)
        return cls(data["openings"], data["widths"], data["textures"].astype(np.float32) / 128.0)

    def save(self, path: Path = TABLE_PATH) -> None:
        from safetensors.numpy import save_file

        textures = np.clip(np.rint(self.textures * 128), 0, 255).astype(np.uint8)
        save_file({"openings": self.openings, "widths": self.widths, "textures": textures}, path)

    def lookup(self, opening: float, width: float) -> np.ndarray:
        """(24, 48, 3) float32 interior relative to the skin's colour."""
        i, a = _cell(self.openings, opening)
        j, b = _cell(self.widths, width)
        t = self.textures
        return (1 - a) * ((1 - b) * t[i, j] + b * t[i, j + 1]) + a * ((1 - b) * t[i + 1, j] + b * t[i + 1, j + 1])


def _cell(knots: np.ndarray, value: float) -> tuple[int, float]:
    index = int(np.clip(np.searchsorted(knots, value) - 1, 0, len(knots) - 2))
    return index, float(np.clip((value - knots[index]) / (knots[index + 1] - knots[index]), 0, 1))


def sample_texture(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(24, 48, 3) float32: the inside of a picture's mouth over the colour of its skin."""
    across, along = TEXTURE_SIZE
    u, v = np.meshgrid((np.arange(across) + 0.5) / across, (np.arange(along) + 0.5) / along)
    x, y = MouthShape.of(landmarks).positions(u.ravel(), v.ravel())
    x, y = x.reshape(along, across), y.reshape(along, across)
    pixels = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return pixels.astype(np.float32) / skin_colour(image, landmarks)


def build(samples: list[tuple[str, float, float, np.ndarray]], fewest_people: int = 8) -> MouthTable:
    """The table of samples (person, opening, width, texture). A cell's reach grows until it holds `fewest_people`."""
    people = sorted({s[0] for s in samples})
    person = np.array([people.index(s[0]) for s in samples])
    openings, widths = np.array([s[1] for s in samples]), np.array([s[2] for s in samples])
    textures = np.stack([s[3] for s in samples]).astype(np.float16)
    out = np.empty((len(OPENINGS), len(WIDTHS), *textures.shape[1:]), np.float32)
    for i, opening in enumerate(OPENINGS):
        for j, width in enumerate(WIDTHS):
            distance = (np.log(openings / opening) / 0.3) ** 2 + ((widths - width) / 0.07) ** 2
            reach = 1.0
            while True:
                weight = np.exp(-0.5 * distance / reach)
                near = np.bincount(person, weight > 0.3, len(people)) > 0
                if near.sum() >= min(fewest_people, len(people)):
                    break
                reach *= 1.3
            share = np.bincount(person, weight, len(people))[person]
            weight = weight / np.maximum(share, 1e-3) ** 0.7
            chosen = np.argsort(-weight)[:500]
            out[i, j] = weighted_median(textures[chosen].astype(np.float32), weight[chosen])
    return MouthTable(OPENINGS, WIDTHS, out)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median over axis 0 of values (N, ...) with weights (N,) >= 0."""
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    index = (cumulative < 0.5 * weights.sum()).sum(axis=0, keepdims=True)
    return np.take_along_axis(values, np.take_along_axis(order, index, 0), 0)[0]


def collect(clips, every: int = 2) -> list[tuple[str, float, float, np.ndarray]]:
    """Samples of every open mouth in an iterable of `animate.dataset.Clip`."""
    samples = []
    for clip in clips:
        for index, image in clip.frames(every):
            landmarks = clip.landmarks[index]
            opening = mouth_opening(landmarks)
            if clip.valid[index] and opening > 0.012:
                shape = MouthShape.of(landmarks)
                samples.append((clip.subject, opening, shape.relative_width, sample_texture(image, landmarks)))
    return samples


def main(folder: Path, cache: Path = Path("tracks"), skip: str = "", out: Path = TABLE_PATH) -> None:
    """Build the table from a folder of clips and portraits; `skip`: comma-separated subjects to leave out."""
    from animate.dataset import training_clips

    left_out = set(skip.split(","))
    samples = collect(c for c in training_clips(folder, cache) if c.subject not in left_out)
    build(samples).save(out)
    print(f"{len(samples)} mouths of {len({s[0] for s in samples})} people -> {out}")


if __name__ == "__main__":
    import typer

    typer.run(main)
