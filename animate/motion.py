"""Motion: what a face does over time, free of the face that did it; and its safe file format.

Units: one inter-ocular distance (IOD) of the driver's neutral face. With S = `pixels_per_unit`, the
driver's own landmarks are, frame by frame, S * (scale * R @ (neutral + expression) + translation).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animate import pose, topology
from animate.errors import MotionError, OptionError
from animate.measures import gaze_of, neutral_frame
from animate.whole_file import whole_file

if TYPE_CHECKING:
    from animate.faces import FaceTrack

SCHEMA_VERSION = 1
HEADER_KEY = "mien"
MOTIONS_FOLDER = Path(__file__).resolve().parent / "motions"

# Name -> (shape after T, type on disk). Half precision keeps offsets to 0.0005 IOD and files to 3 kB a frame.
_FRAME_TENSORS: dict[str, tuple[tuple[int, ...], type]] = {
    "rotation": ((3,), np.float32),
    "translation": ((3,), np.float32),
    "scale": ((), np.float32),
    "expression": ((topology.POINTS, 3), np.float16),
    "gaze": ((2, 2), np.float32),
    "valid": ((), np.uint8),
}
_NEUTRAL_TENSORS: dict[str, tuple[int, ...]] = {
    "neutral": (topology.POINTS, 3),
    "neutral_rotation": (3,),
    "neutral_translation": (3,),
}


@dataclass
class Motion:
    """A face's motion over T frames.

    fps: frames per second, rational.
    rotation: (T, 3) rotation vectors, radians, canonical to camera axes.
    translation: (T, 3), where the canonical origin is, in IOD. scale: (T,), 1 at the neutral frame.
    expression: (T, 478, 3) offsets from `neutral` in canonical axes (x right, y down, z away), IOD.
    gaze: (T, 2, 2) [right eye, left eye] (x, y) of the iris centre in eye coordinates (x along the corner
    axis to image
        right, y down, both over the eye's width, origin between the corners).
    valid: (T,) bool, False where the frame was bridged.
    neutral: (478, 3) the driver's neutral face in canonical axes, IOD = 1.
    neutral_index: the frame it was taken from, or -1 when that frame is not in this motion (after a trim).
    neutral_rotation, neutral_translation: (3,) head pose of the neutral frame; taken from `neutral_index`
    if absent. pixels_per_unit: px of one IOD in the driving clip; only needed to get the driver's own
    landmarks back. source, licence: where the motion comes from and under which licence. Raises MotionError
    for wrong shapes, values that are not finite, scales <= 0.
    """

    fps: Fraction
    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray
    valid: np.ndarray
    neutral: np.ndarray
    neutral_index: int = -1
    source: str = ""
    licence: str = ""
    neutral_rotation: np.ndarray | None = None
    neutral_translation: np.ndarray | None = None
    pixels_per_unit: float = field(default=1.0)

    def __post_init__(self) -> None:
        self.fps = Fraction(self.fps)
        self.valid = np.asarray(self.valid, bool)
        for name in (*_FRAME_TENSORS, *_NEUTRAL_TENSORS):
            value = getattr(self, name)
            if name == "valid":
                continue
            if value is None:  # only the two neutral poses may be absent
                per_frame = np.asarray(getattr(self, name.removeprefix("neutral_")))
                known = 0 <= self.neutral_index < len(per_frame)
                value = per_frame[self.neutral_index] if known else np.zeros(3)
            setattr(self, name, np.asarray(value, np.float32))
        self.validate()

    def validate(self, name: str = "This motion") -> None:
        """Raise MotionError, with `name` as the sentence's subject, unless every array fits and is finite."""
        count = len(self.rotation)
        if count == 0:
            raise MotionError(f"{name} has no frames.")
        if self.fps <= 0:
            raise MotionError(f"{name} has {self.fps} frames per second; it must be more than 0.")
        wanted = {key: (count, *shape) for key, (shape, _) in _FRAME_TENSORS.items()} | _NEUTRAL_TENSORS
        for key, shape in wanted.items():
            value = getattr(self, key)
            if value.shape != shape:
                raise MotionError(f"{name} has '{key}' of shape {value.shape}, expected {shape}.")
            if not np.isfinite(value).all():
                raise MotionError(f"{name} has '{key}' with values that are not finite (NaN or infinity).")
        if (self.scale <= 0).any() or not np.isfinite(self.pixels_per_unit) or self.pixels_per_unit <= 0:
            raise MotionError(f"{name} has a scale that is not positive.")
        if not -1 <= self.neutral_index < count:
            raise MotionError(f"{name} names frame {self.neutral_index} as neutral but has {count} frames.")

    def __len__(self) -> int:
        return len(self.rotation)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return float(len(self) / self.fps)

    @property
    def shapes(self) -> np.ndarray:
        """The driver's canonical shapes (T, 478, 3) float64, IOD = 1 at neutral."""
        return self.neutral.astype(np.float64) + self.expression

    def landmarks(self) -> np.ndarray:
        """The driver's own landmarks (T, 478, 3) float64, px of the driving clip."""
        unit = self.pixels_per_unit
        return pose.compose(self.shapes, pose.Pose(self.rotation, self.translation * unit, self.scale * unit))

    @classmethod
    def from_track(cls, track: FaceTrack, source: str = "", licence: str = "") -> Motion:
        """The motion of a tracked face; the neutral frame is found automatically (`neutral_frame`)."""
        poses, shapes = pose.decompose_long(track.landmarks)
        valid = np.asarray(track.valid, bool)
        index, chosen = neutral_frame(shapes, poses.rotation, valid, float(track.fps))
        neutral = shapes[chosen].mean(axis=0)
        iod = float(pose.inter_ocular(neutral))
        unit = poses.scale[index] * iod
        shapes /= iod
        gaze = gaze_of(shapes)
        shapes -= neutral / iod  # in place: a long clip's shapes are its largest array
        return cls(
            fps=Fraction(track.fps),
            rotation=poses.rotation,
            translation=poses.translation / unit,
            scale=poses.scale / poses.scale[index],
            expression=shapes,
            gaze=gaze,
            valid=valid,
            neutral=neutral / iod,
            neutral_index=index,
            source=source,
            licence=licence,
            pixels_per_unit=float(unit),
        )

    @classmethod
    def builtin(cls, name: str) -> Motion:
        """One of the motions that Mien ships, such as "talk"; raises OptionError that lists them."""
        known = sorted(path.stem for path in MOTIONS_FOLDER.glob("*.safetensors"))
        if name not in known:
            raise OptionError(f"There is no built-in motion '{name}'; there are {', '.join(known)}.")
        return cls.load(MOTIONS_FOLDER / f"{name}.safetensors")

    def save(self, path: str | Path) -> None:
        """Write a safetensors file with a JSON header; an interrupted write leaves no file under `path`."""
        from safetensors.numpy import save

        self.validate()
        path = Path(path)
        tensors = {key: getattr(self, key).astype(kind) for key, (_, kind) in _FRAME_TENSORS.items()}
        tensors |= {key: getattr(self, key) for key in _NEUTRAL_TENSORS}
        header = {
            "schema": SCHEMA_VERSION,
            "fps": f"{self.fps.numerator}/{self.fps.denominator}",
            "neutral_index": self.neutral_index,
            "pixels_per_unit": self.pixels_per_unit,
            "source": self.source,
            "licence": self.licence,
        }
        data = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, {HEADER_KEY: json.dumps(header)})
        try:
            with whole_file(path) as part:
                part.write_bytes(data)
        except OSError as error:
            raise MotionError(f"The motion file {path} cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read a motion file. It can hold nothing but numbers and text; whatever does not fit raises
        MotionError."""
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads((file.metadata() or {})[HEADER_KEY])
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except FileNotFoundError as error:
            raise MotionError(f"There is no motion file {path}.") from error
        except (SafetensorError, KeyError, ValueError, OSError, TypeError) as error:
            raise MotionError(f"{path} is not a motion file of Mien; make one with 'mien motion extract'.") from error
        return cls._from_file(path, header, tensors)

    @classmethod
    def _from_file(cls, path: Path, header: object, tensors: dict[str, np.ndarray]) -> Motion:
        version = header.get("schema") if isinstance(header, dict) else None
        if version != SCHEMA_VERSION:
            raise MotionError(
                f"The motion file {path} has schema version {version}, but this Mien reads {SCHEMA_VERSION}."
            )
        missing = sorted({*_FRAME_TENSORS, *_NEUTRAL_TENSORS} - tensors.keys())
        if missing:
            raise MotionError(f"The motion file {path} lacks {', '.join(missing)}.")
        try:
            return cls(
                fps=Fraction(header["fps"]),
                neutral_index=int(header["neutral_index"]),
                pixels_per_unit=float(header["pixels_per_unit"]),
                source=str(header["source"]),
                licence=str(header["licence"]),
                **{key: tensors[key] for key in (*_FRAME_TENSORS, *_NEUTRAL_TENSORS)},
            )
        except (KeyError, ValueError, TypeError, ZeroDivisionError, IndexError) as error:
            raise MotionError(f"The header of the motion file {path} is damaged: {error}.") from error
        except MotionError as error:
            raise MotionError(str(error).replace("This motion", f"The motion file {path}", 1)) from error

    def take(self, frames: slice | np.ndarray) -> Motion:
        """The frames chosen by a slice or by indices, in that order."""
        kept = np.arange(len(self))[frames]
        where = np.flatnonzero(kept == self.neutral_index)
        index = int(where[0]) if self.neutral_index >= 0 and len(where) else -1
        return replace(self, **{k: getattr(self, k)[kept] for k in _FRAME_TENSORS}, neutral_index=index)

    def trim(self, start: float = 0.0, end: float | None = None) -> Motion:
        """The frames from `start` up to `end` seconds; raises OptionError when none is left."""
        first = max(0, round(start * self.fps))
        last = len(self) if end is None else min(len(self), round(end * self.fps))
        if first >= last:
            stretch = f"from {start:g} s on" if end is None else f"from {start:g} to {end:g} s"
            raise OptionError(f"Trimming {stretch} leaves nothing of a motion of {self.duration:.2f} s.")
        return self.take(slice(first, last))

    def resample(self, fps: Fraction | float | str) -> Motion:
        """The same motion at another frame rate: linear in offsets, spherical in rotation; the length
        stays."""
        from scipy.spatial.transform import Rotation, Slerp

        fps = Fraction(fps)
        if fps <= 0:
            raise OptionError(f"The frame rate must be more than 0, not {fps}.")
        count = max(1, round(len(self) * fps / self.fps))
        if len(self) == 1:
            return replace(self.take(np.zeros(count, int)), fps=fps, neutral_index=min(self.neutral_index, 0))
        # Exact rational positions: a rounded frame rate would drift away from the sound.
        positions = np.array([float(min(t * self.fps / fps, len(self) - 1)) for t in range(count)])
        left = np.minimum(positions.astype(int), len(self) - 2)
        weight = positions - left

        def between(values: np.ndarray) -> np.ndarray:
            w = weight.reshape(-1, *(1,) * (values.ndim - 1))
            return values[left] * (1 - w) + values[left + 1] * w

        rotations = Slerp(np.arange(len(self)), Rotation.from_rotvec(self.rotation))
        arrays = {k: between(getattr(self, k)) for k in ("translation", "scale", "expression", "gaze")}
        # A frame between a seen and a bridged one leans on the bridged one, unless it lies on the seen one.
        valid = (self.valid[left] | (weight == 1)) & (self.valid[left + 1] | (weight == 0))
        index = self.neutral_index
        if index >= 0:
            index = min(round(index * fps / self.fps), count - 1)
        rotation = rotations(positions).as_rotvec()
        return replace(self, fps=fps, rotation=rotation, valid=valid, neutral_index=index, **arrays)

    def smooth(self, strength: float = 0.5) -> Motion:
        """Less jitter, no lag, blinks kept; strength from 0 (unchanged) to 1 (calmest).
        `animate.smoothing`."""
        from animate.smoothing import smooth_motion

        return smooth_motion(self, strength)

    def scaled(self, strengths: Mapping[str, float | np.ndarray]) -> Motion:
        """Each named part stronger (> 1) or weaker (< 1) against neutral; names as in
        `retarget.STRENGTHS`."""
        from animate.retarget import scale_motion

        return scale_motion(self, strengths)

    @staticmethod
    def whole(stretches: Sequence[Motion]) -> Motion:
        """Consecutive stretches of one motion as one; neutral face, rate and source are the first one's."""
        return replace(stretches[0], **{k: np.concatenate([getattr(s, k) for s in stretches]) for k in _FRAME_TENSORS})

    @staticmethod
    def join(motions: Sequence[Motion], blend: float = 0.2) -> Motion:
        """One after the other, on the first one's neutral face and at its frame rate.

        Expression and gaze are each motion's change against its own neutral, head poses are carried over to
        the first one's neutral pose. What is left of a step at a seam is faded out over `blend` seconds on
        both sides.
        """
        if not motions:
            raise OptionError("Give at least one motion to join.")
        first = motions[0]
        gaze = gaze_of(first.neutral[None])[0]
        turn = pose.rotation_matrices(first.neutral_rotation)[0]
        parts: list[Motion] = []
        for part in (m.resample(first.fps) if m.fps != first.fps else m for m in motions):
            if part is not first:
                back = pose.rotation_matrices(part.neutral_rotation)[0].T
                rotation = pose.rotation_vectors(pose.rotation_matrices(part.rotation) @ back @ turn)
                part = replace(
                    part,
                    rotation=rotation,
                    translation=part.translation - part.neutral_translation + first.neutral_translation,
                    gaze=part.gaze - gaze_of(part.neutral[None])[0] + gaze,
                )
            parts.append(part)
        seams = np.cumsum([len(part) for part in parts])[:-1]
        reach = max(1, round(blend * first.fps))
        arrays = {k: np.concatenate([getattr(p, k) for p in parts]) for k in _FRAME_TENSORS}
        for key in ("rotation", "translation", "scale", "expression", "gaze"):
            close_seams(arrays[key], seams, reach)
        texts = {k: "; ".join(dict.fromkeys(getattr(p, k) for p in parts)) for k in ("source", "licence")}
        return replace(first, **arrays, **texts)


def close_seams(values: np.ndarray, seams: np.ndarray, reach: int) -> None:
    """Fade the step between frames seam - 1 and seam out over `reach` frames on both sides, in place."""
    steps = [(values[seam] - values[seam - 1]).astype(np.float64) for seam in seams]
    fade = 0.5 * (1 + np.cos(np.pi * np.arange(reach) / reach))  # 1 beside the seam, 0 at the reach
    for seam, step in zip(seams, steps, strict=True):
        for i, weight in enumerate(0.5 * fade):
            if seam - 1 - i >= 0:
                values[seam - 1 - i] += (weight * step).astype(values.dtype)
            if seam + i < len(values):
                values[seam + i] -= (weight * step).astype(values.dtype)
