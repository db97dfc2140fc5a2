"""ARKit's 52 blendshape curves in and out, in the CSV layout of Live Link Face.

A linear basis says what each curve does to the face: canonical offsets (52, 478, 3) and gaze (52, 2, 2) per
unit of score. It was fitted by ridge regression between the scores of MediaPipe's blendshape network and
the tracked landmarks of driving clips; curves that those clips never use (`tongueOut`, `cheekPuff`, ...)
are zero in it. Refit: `python -m animate.arkit fit FOLDER... --model face_landmarker.task`.

Head angles are radians in ARKit's sense: yaw towards the image's right, pitch down, roll counter-clockwise
positive.
"""

from __future__ import annotations

import csv
import functools
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import measures, pose
from animate import topology as mesh
from animate.errors import MotionError
from animate.motion import Motion

BASIS_FILE = mesh.FACE_MESH_FILE.with_name("arkit_basis.safetensors")

_EYE = ("EyeBlink", "EyeLookDown", "EyeLookIn", "EyeLookOut", "EyeLookUp", "EyeSquint", "EyeWide")
#: The 52 curves in the column order of Live Link Face.
BLENDSHAPES: tuple[str, ...] = (
    *(f"{name}Left" for name in _EYE),
    *(f"{name}Right" for name in _EYE),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *(
        "MouthClose",
        "MouthFunnel",
        "MouthPucker",
        "MouthRight",
        "MouthLeft",
        "MouthSmileLeft",
        "MouthSmileRight",
    ),
    *("MouthFrownLeft", "MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft"),
    *("MouthStretchRight", "MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *("MouthPressLeft", "MouthPressRight", "MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft"),
    *(
        "MouthUpperUpRight",
        "BrowDownLeft",
        "BrowDownRight",
        "BrowInnerUp",
        "BrowOuterUpLeft",
        "BrowOuterUpRight",
    ),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
)
_ANGLES = ("HeadYaw", "HeadPitch", "HeadRoll")
_EYE_ANGLES = tuple(f"{side}Eye{angle}" for side in ("Left", "Right") for angle in ("Yaw", "Pitch", "Roll"))
COLUMNS: tuple[str, ...] = ("Timecode", "BlendshapeCount", *BLENDSHAPES, *_ANGLES, *_EYE_ANGLES)

#: Radius of the eyeball over the eye's width, to turn an iris position into an angle.
EYEBALL_RADIUS = 0.42


@functools.cache
def basis() -> tuple[np.ndarray, np.ndarray]:
    """Offsets (52, 478, 3) in IOD and gaze (52, 2, 2) in eye widths per unit of score, float64, in order of
    `BLENDSHAPES`. Raises MotionError when the shipped file is damaged."""
    from safetensors.numpy import load_file

    tables = load_file(BASIS_FILE)
    offsets, gaze = tables["offsets"].astype(np.float64), tables["gaze"].astype(np.float64)
    if offsets.shape != (len(BLENDSHAPES), mesh.POINTS, 3) or gaze.shape != (len(BLENDSHAPES), 2, 2):
        raise MotionError(f"{BASIS_FILE} does not hold a basis of {len(BLENDSHAPES)} blendshapes.")
    return offsets, gaze


def scores_of(motion: Motion, iterations: int = 400) -> np.ndarray:
    """Blendshape scores (T, 52) in [0, 1] of a motion: ridge least squares in the basis within those bounds.

    Accelerated projected gradient (Beck and Teboulle 2009), all frames at once.
    """
    offsets, gaze = basis()
    width = measures.eye_widths(motion.neutral.astype(np.float64))
    rest = measures.gaze_of(motion.neutral.astype(np.float64))
    skin = offsets[:, : mesh.SKIN_POINTS].reshape(len(offsets), -1)
    # The gaze counts like a patch of skin, or the few iris points would drown among the 468 of the face.
    look = 3.0 * (gaze * width[:, None]).reshape(len(offsets), -1)
    table = np.concatenate([skin, look], axis=1)
    shift = 3.0 * ((motion.gaze - rest) * width[:, None]).reshape(len(motion), -1)
    wanted = np.concatenate([motion.expression[:, : mesh.SKIN_POINTS].reshape(len(motion), -1), shift], axis=1)
    gram = table @ table.T + 1e-3 * np.eye(len(table))
    goal = wanted @ table.T
    step = 1.0 / np.linalg.eigvalsh(gram)[-1]
    scores = ahead = np.zeros((len(motion), len(table)))
    momentum = 1.0
    for _ in range(iterations):
        following = np.clip(ahead - step * (ahead @ gram - goal), 0.0, 1.0)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / grown * (following - scores)
        scores, momentum = following, grown
    return scores


def motion_to_arkit_csv(motion: Motion, path: str | Path) -> None:
    """Write a motion as Live Link Face CSV: scores and head angles against its neutral frame. Position and
    size of the head have no columns there and are lost."""
    scores = scores_of(motion)
    neutral = pose.rotation_matrices(motion.neutral_rotation)[0]
    turn = pose.rotation_vectors(pose.rotation_matrices(motion.rotation) @ neutral.T)
    pitch, yaw, roll = pose.head_angles(turn).T
    rest = measures.gaze_of(motion.neutral.astype(np.float64))
    eyes = np.arcsin(np.clip((motion.gaze - rest) / EYEBALL_RADIUS, -1, 1))  # (T, 2, 2)
    none = np.zeros(len(motion))
    angles = [yaw, pitch, -roll]
    for eye in (1, 0):  # left first
        angles += [eyes[:, eye, 0], eyes[:, eye, 1], none]
    numbers = np.concatenate([scores, np.stack(angles, axis=1)], axis=1)
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for t, row in enumerate(numbers):
                values = (f"{value:.10f}" for value in row)
                writer.writerow([_timecode(t, motion.fps), len(numbers[0]), *values])
    except OSError as error:
        raise MotionError(f"The curves cannot be written to {path}: {error.strerror}.") from error


def _timecode(frame: int, fps: Fraction) -> str:
    """HH:MM:SS:FF.fff of a frame; the fraction tells where between two whole-numbered frames it lies."""
    whole = max(1, round(fps))
    seconds, rest = divmod(Fraction(frame) / fps, 1)
    thousandths = int(rest * whole * 1000)
    hours, minutes = divmod(int(seconds), 3600)
    minutes, seconds = divmod(minutes, 60)
    frames, part = divmod(thousandths, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{frames:02d}.{part:03d}"


def motion_from_arkit_csv(
    path: str | Path,
    fps: Fraction | float | str = Fraction(60),
    neutral: np.ndarray | None = None,
    source: str = "",
    licence: str = "",
) -> Motion:
    """The motion of a Live Link Face CSV; one row is one frame.

    fps: the recording's frame rate (Live Link Face: 60). neutral: (478, 3) canonical neutral face with IOD
    1, the mean face where absent. Columns may come in any order and case; blendshapes that are absent count
    as 0. Raises MotionError for a file that is no such table, has no rows, or holds something that is no
    finite number.
    """
    table = _read_table(Path(path))
    count = len(next(iter(table.values())))
    none = np.zeros(count)
    scores = np.stack([table.get(name.lower(), none) for name in BLENDSHAPES], axis=1)
    offsets, gaze_table = basis()
    face = np.array(pose.canonical_face() if neutral is None else neutral, np.float64)
    expression = np.tensordot(scores, offsets, axes=1)  # (T, 478, 3)
    gaze = measures.gaze_of(face) + np.tensordot(scores, gaze_table, axes=1)
    yaw, pitch, roll = (table.get(name.lower(), none) for name in _ANGLES)
    rotation = pose.rotation_from_angles(np.stack([pitch, yaw, -roll], axis=1))
    move_irises(expression, face, gaze)
    return Motion(
        fps=Fraction(fps),
        rotation=rotation,
        translation=np.zeros((count, 3)),
        scale=np.ones(count),
        expression=expression,
        gaze=gaze,
        valid=np.ones(count, bool),
        neutral=face,
        neutral_rotation=np.zeros(3),
        neutral_translation=np.zeros(3),
        source=source or f"ARKit curves {Path(path).name}",
        licence=licence,
    )


def move_irises(expression: np.ndarray, face: np.ndarray, gaze: np.ndarray) -> None:
    """Let the iris points of the offsets (T, 478, 3) follow the gaze (T, 2, 2), in place."""
    shapes = face + expression
    origin, axes, width = measures.eye_frames(shapes)
    depth = np.broadcast_to(measures.iris_positions(face)[:, 2], gaze.shape[:2])
    places = np.concatenate([gaze, depth[..., None]], axis=-1) * width[..., None]
    centres = origin + np.einsum("tek,tekj->tej", places, axes)
    for eye, ring in enumerate(mesh.IRISES):
        points = centres[:, eye, None] + (face[list(ring)] - face[ring[0]])
        expression[:, list(ring)] = points - face[list(ring)]


def _read_table(path: Path) -> dict[str, np.ndarray]:
    """Columns by lower-case name, each (T,) float64."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError as error:
        raise MotionError(f"There is no CSV file {path}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MotionError(f"{path} cannot be read as a CSV file.") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    known = {name.lower() for name in (*BLENDSHAPES, *_ANGLES)}
    if not known & set(names):
        raise MotionError(f"{path} has no column of ARKit's blendshapes, such as JawOpen or EyeBlinkLeft.")
    if len(rows) < 2:
        raise MotionError(f"{path} has a heading but no frames.")
    chosen = [i for i, name in enumerate(names) if name in known]
    try:
        values = np.array([[float(row[i]) for i in chosen] for row in rows[1:]])
    except (ValueError, IndexError) as error:
        raise MotionError(f"{path} has a row with a missing value or one that is no number.") from error
    if not np.isfinite(values).all():
        raise MotionError(f"{path} holds values that are not finite (NaN or infinity).")
    return {names[i]: values[:, n] for n, i in enumerate(chosen)}


if __name__ == "__main__":
    from animate.arkit_fit import main

    main()
