"""Fits the ARKit basis of `animate.arkit` to driving clips and MediaPipe's blendshape scores for them.

`python -m animate.arkit fit FOLDER... --model face_landmarker.task`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from animate import measures, pose
from animate import topology as mesh
from animate.arkit import BASIS_FILE, BLENDSHAPES
from animate.errors import MotionError
from animate.motion import Motion
from animate.retarget import region_weights

_VIDEOS = (".mp4", ".mov", ".mpg", ".avi", ".webm", ".mkv")


def fit_basis(
    scores: Sequence[np.ndarray], motions: Sequence[Motion], ridge: float = 2e-3
) -> tuple[np.ndarray, np.ndarray]:
    """Fit `basis` from clips: scores (T, 52) in order of `BLENDSHAPES`, and the motions tracked from the
    same frames.

    Both count against the clip's neutral frame. Every clip counts with its mirror image. A curve may only
    move its own part of the face (a lid's curve no lip, a left one nothing right of the midline), else what
    happens together in the clips would be taken for one thing. ridge: in mean squared score.
    """
    x, y, g = [], [], []
    for values, motion in zip(scores, motions, strict=True):
        # The neutral face is a mean over neighbouring frames; so is its score.
        k = max(motion.neutral_index, 0)
        change = values - values[max(k - 1, 0) : k + 2].mean(axis=0)
        gaze = motion.gaze - measures.gaze_of(motion.neutral.astype(np.float64))
        x += [change, change[:, _MIRRORED]]
        y += [motion.expression, motion.expression[:, mesh.MIRROR] * (-1.0, 1.0, 1.0)]
        g += [gaze, gaze[:, ::-1] * (-1.0, 1.0)]
    x, y, g = np.concatenate(x), np.concatenate(y).astype(np.float64), np.concatenate(g)
    gram = x.T @ x / len(x)
    offsets = np.zeros((len(BLENDSHAPES), mesh.POINTS, 3))
    for curves, share in _parts():
        offsets[curves] += _ridge(gram, x, y, curves, ridge) * share[:, None]
    offsets[:, mesh.SKIN_POINTS :] = 0.0  # irises go by the gaze
    gaze_table = np.zeros((len(BLENDSHAPES), 2, 2))
    for eye, side in enumerate(("Right", "Left")):
        looks = [i for i, name in enumerate(BLENDSHAPES) if name.startswith("EyeLook") and name.endswith(side)]
        gaze_table[looks, eye] = _ridge(gram, x, g[:, eye], np.array(looks), ridge)
    return offsets, gaze_table


def _ridge(gram: np.ndarray, x: np.ndarray, y: np.ndarray, curves: np.ndarray, ridge: float) -> np.ndarray:
    """Coefficients (len(curves), ...) of y (N, ...) on the chosen columns of x (N, 52), whose mean square
    is gram."""
    goal = (x[:, curves].T @ y.reshape(len(y), -1)) / len(x)
    solved = np.linalg.solve(gram[np.ix_(curves, curves)] + ridge * np.eye(len(curves)), goal)
    return solved.reshape(len(curves), *y.shape[1:])


def _swap(name: str) -> str:
    return name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right")


_MIRRORED = np.array([BLENDSHAPES.index(_swap(name)) for name in BLENDSHAPES])


def _fade(values: np.ndarray, start: float, end: float) -> np.ndarray:
    t = np.clip((values - start) / (end - start), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _parts() -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """(curves, share (478,) of the face that they explain); the shares of all parts sum to 1.

    Parts: lower face, and on each side the eye and the brow with the forehead.
    """
    face = pose.canonical_face().astype(np.float64)
    lower = _fade(face[:, 1], 0.2, 0.55)  # from under the eyes to the nostrils
    brow = np.maximum(_fade(-face[:, 1], 0.16, 0.26), region_weights()["brows"])  # and the forehead above
    left = _fade(face[:, 0], -0.15, 0.15)

    def curves(starts: tuple[str, ...], other: str) -> list[int]:
        return [i for i, name in enumerate(BLENDSHAPES) if name.startswith(starts) and not name.endswith(other)]

    yield np.array(curves(("Jaw", "Mouth", "Cheek", "Nose", "Tongue"), "-")), lower
    for side, other, share in (("Left", "Right", left), ("Right", "Left", 1 - left)):
        # A smile lifts the cheek into the lower lid.
        smile = [BLENDSHAPES.index(f"{name}{side}") for name in ("MouthSmile", "MouthUpperUp")]
        eye = curves(("Eye", "Brow", "CheekSquint", "NoseSneer"), other) + smile
        yield np.array(eye), (1 - lower) * (1 - brow) * share
        yield (
            np.array(curves(("Brow", "EyeWide", "EyeSquint", "NoseSneer"), other)),
            brow * (1 - lower) * share,
        )


def fit(paths: Iterable[str | Path], model: str | Path, stride: int = 2, output: Path = BASIS_FILE) -> int:
    """Fit the basis on video files, or folders of them, and write it; returns the number of frames used.

    model: MediaPipe's `face_landmarker.task` with blendshapes.
    """
    from safetensors.numpy import save_file

    clips: list[Path] = []
    for path in map(Path, paths):
        clips += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    clips = [clip for clip in clips if clip.suffix.lower() in _VIDEOS]
    tracked = [pair for pair in (_score_clip(clip, Path(model), stride) for clip in clips) if pair]
    if not tracked:
        raise MotionError("None of the clips shows a face, so there is nothing to fit the ARKit basis to.")
    offsets, gaze = fit_basis([scores for scores, _ in tracked], [motion for _, motion in tracked])
    strength = np.abs(offsets).max(axis=(1, 2)) + np.abs(gaze).max(axis=(1, 2))
    unused = [name for name, value in zip(BLENDSHAPES, strength, strict=True) if value < 0.01]
    header = {"names": BLENDSHAPES, "unused": unused, "clips": len(tracked)}
    save_file(
        {"offsets": offsets.astype(np.float16), "gaze": gaze.astype(np.float16)},
        output,
        metadata={"mien": json.dumps(header)},
    )
    output.chmod(0o644)  # safetensors writes files that only their owner can read
    return sum(len(motion) for _, motion in tracked)


def _score_clip(clip: Path, model: Path, stride: int) -> tuple[np.ndarray, Motion] | None:
    """Scores (T, 52) and motion of a clip's frames with a face, or None when fewer than ten show one."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    from animate.faces import FaceTrack
    from animate.media import VideoReader

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        output_face_blendshapes=True,
        running_mode=vision.RunningMode.VIDEO,
    )
    scores, points = [], []
    with vision.FaceLandmarker.create_from_options(options) as landmarker, VideoReader(clip) as reader:
        fps = reader.fps
        for t, frame in enumerate(reader):
            picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
            found = landmarker.detect_for_video(picture, int(1000 * t / fps))
            size = np.array([frame.shape[1], frame.shape[0], frame.shape[1]], np.float32)
            if found.face_landmarks:
                points.append(np.array([(p.x, p.y, p.z) for p in found.face_landmarks[0]], np.float32) * size)
                by_name = {c.category_name.lower(): c.score for c in found.face_blendshapes[0]}
                scores.append([by_name.get(name.lower(), 0.0) for name in BLENDSHAPES])
    if len(points) < 10:
        return None
    track = FaceTrack(np.stack(points), np.ones(len(points), bool), fps, (int(size[0]), int(size[1])))
    motion, values = Motion.from_track(track), np.array(scores)
    kept = np.union1d(np.arange(0, len(motion), stride), [max(motion.neutral_index, 0)])
    return values[kept], motion.take(kept)


def main() -> None:
    """The command line of `python -m animate.arkit`."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m animate.arkit", description=fit.__doc__)
    parser.add_argument("command", choices=["fit"])
    parser.add_argument("paths", nargs="+", help="video files or folders of them")
    parser.add_argument("--model", required=True, help="face_landmarker.task with blendshapes")
    arguments = parser.parse_args()
    print(f"fitted on {fit(arguments.paths, arguments.model)} frames -> {BASIS_FILE}")
