"""A driver's motion onto another face's proportions.

Everything happens in the canonical pose (`animate.pose`), so head turns never leak into expressions:

1. offsets = driver's shape - driver's reference shape (its neutral face, or in absolute mode the frame that
looks
   like the portrait), split into regions and scaled by `strengths`;
2. target = portrait's shape + offsets, scaled region by region by the two faces' proportions;
3. lips and lids: their openings follow monotone maps (`animate.closure`), so that what touches in the
driver touches
   in the portrait;
4. irises are set where the gaze points in the target's own eyes;
5. the head pose is laid on.

When the portrait is a frame of the driving clip itself, step 2 to 4 change nothing and absolute mode gives
the driver's own landmarks back.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from animate import measures, pose
from animate import topology as mesh
from animate.closure import close_eyes, close_lips, ease_jaw, ease_width
from animate.errors import OptionError
from animate.motion import Motion

#: What a strength can be given for. The face's four regions, the gaze, and the head's rotation and
#: translation (with it the scale, which is how a head comes nearer).
STRENGTHS = ("eyes", "brows", "lips", "jaw", "gaze", "rotation", "translation")
#: Names of sets of them for `regions`; LivePortrait's words. Members of STRENGTHS can be named one by one
#: as well.
REGION_GROUPS: dict[str, frozenset[str]] = {
    "all": frozenset(STRENGTHS),
    "exp": frozenset({"eyes", "brows", "lips", "jaw", "gaze"}),
    "pose": frozenset({"rotation", "translation"}),
    "lips": frozenset({"lips", "jaw"}),
    "eyes": frozenset({"eyes", "brows", "gaze"}),
}
MODES = ("relative", "absolute")
CHUNK = 256  # frames that are worked on together
FACE_REGIONS = ("eyes", "brows", "lips", "jaw")

#: Proportions outside this range are a mis-tracked or a stylised face; the offsets stay believable inside it.
PROPORTION_RANGE = (0.6, 1.6)
#: Relative mode: the head's pitch and yaw never go beyond this, in degrees; roll is free.
MAX_PITCH, MAX_YAW = 35.0, 45.0
#: How far the iris centre goes from the middle between the eye's corners, over the eye's width.
MAX_GAZE = 0.34
#: How much worse than the best match the driver's first frame may be (in tolerances, see `match_frame`) and
#: still be the reference of absolute mode.
FIRST_FRAME_BONUS = 0.35


@dataclass(frozen=True)
class _Reference:
    """The driver's reference face: shape (478, 3) with IOD 1, gaze (2, 2), pose; offsets are against it."""

    shape: np.ndarray
    gaze: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    scale: float


def retarget(
    portrait_landmarks: np.ndarray,
    motion: Motion,
    mode: str = "relative",
    strengths: Mapping[str, float | np.ndarray] | None = None,
    regions: Iterable[str] | None = None,
) -> np.ndarray:
    """The portrait's landmarks under the driver's motion: (T, 478, 3) float32 px of the portrait's picture.

    portrait_landmarks: (478, 3) px.
    mode: "relative" adds the driver's changes against its neutral face and head pose to the portrait's own.
        "absolute" takes the driver's head rotation as it is; expression, position and size are relative to
        the frame of the driver that looks most like the portrait (`match_frame`).
    strengths: a number >= 0, or one per frame (T,), for any of `STRENGTHS`; 1 where absent.
    regions: what moves at all, names of `STRENGTHS` or `REGION_GROUPS`; None is everything.
    Raises OptionError for an unknown mode, region or strength, FaceError for unusable landmarks.
    """
    whole = Retargeter(portrait_landmarks, motion, mode, strengths, regions)
    parts = [whole(slice(first, first + CHUNK)) for first in range(0, len(motion), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, mesh.POINTS, 3), np.float32)


class Retargeter:
    """`retarget` for a few frames at a time, so that a long motion needs no more memory than a short one.

    Arguments and errors are those of `retarget`; errors are raised at once.
    """

    def __init__(
        self,
        portrait_landmarks: np.ndarray,
        motion: Motion,
        mode: str = "relative",
        strengths: Mapping[str, float | np.ndarray] | None = None,
        regions: Iterable[str] | None = None,
    ):
        if mode not in MODES:
            raise OptionError(f"Unknown mode '{mode}': choose from {', '.join(MODES)}.")
        self.motion, self.mode = motion, mode
        self.levels = resolve_strengths(strengths, regions, len(motion))
        self.pose, portrait = pose.decompose(portrait_landmarks)
        size = float(pose.inter_ocular(portrait[0]))
        self.portrait, self.scale = portrait[0] / size, float(self.pose.scale[0]) * size
        self.reference, self.unit = _reference(portrait_landmarks, self.portrait, motion, mode)

    def __call__(self, frames: slice) -> np.ndarray:
        """The target landmarks (n, 478, 3) float32 px of the motion's frames in a slice."""
        motion, reference, portrait = self.motion.take(frames), self.reference, self.portrait
        levels = {name: level[frames] for name, level in self.levels.items()}
        offsets = motion.shapes / self.unit - reference.shape  # (n, 478, 3)
        scaled = scale_offsets(offsets, levels)
        driver = reference.shape + scaled
        eased = ease_jaw(scaled, jaw_part(scaled), driver, portrait, reference.shape)
        eased = ease_width(eased, region_weights()["lips"], driver, portrait, reference.shape)
        target = portrait + proportions(portrait, reference.shape) * eased
        target = close_lips(target, driver, portrait, reference.shape)
        target = close_eyes(target, driver, portrait, reference.shape)
        turn = (motion.gaze - reference.gaze) * levels["gaze"][:, None, None]
        _set_irises(target, portrait, turn, driver, reference.shape, keep_radius=self.mode == "relative")
        scale = motion.scale.astype(np.float64) * self.unit
        head = _head_pose(self.pose, self.scale, motion, reference, scale, levels, self.mode)
        return pose.compose(target, head).astype(np.float32)


def resolve_strengths(
    strengths: Mapping[str, float | np.ndarray] | None, regions: Iterable[str] | None, count: int
) -> dict[str, np.ndarray]:
    """A strength (T,) for each of `STRENGTHS` and for "rest", the skin between the regions.

    The rest (cheeks, nose, forehead) moves at strength 1, and not at all when only some regions may move.
    Raises OptionError for an unknown name, a negative or not finite value, or a curve that is not T long.
    """
    strengths = dict(strengths or {})
    unknown = sorted(set(strengths) - set(STRENGTHS))
    if unknown:
        raise OptionError(f"Unknown strength '{unknown[0]}': choose from {', '.join(STRENGTHS)}.")
    names = set(STRENGTHS) if regions is None else set()
    for name in regions or ():
        if name not in REGION_GROUPS and name not in STRENGTHS:
            known = (*REGION_GROUPS, *(n for n in STRENGTHS if n not in REGION_GROUPS))
            raise OptionError(f"Unknown region '{name}': choose from {', '.join(known)}.")
        names |= REGION_GROUPS.get(name, {name})
    levels = {}
    for name in STRENGTHS:
        value = np.asarray(strengths.get(name, 1.0), np.float64)
        if value.ndim > 1 or (value.ndim == 1 and len(value) != count):
            raise OptionError(f"The strength of '{name}' must be a number or {count} numbers, one a frame.")
        if not np.isfinite(value).all() or (value < 0).any():
            raise OptionError(f"The strength of '{name}' must be 0 or more and finite.")
        levels[name] = np.broadcast_to(value if name in names else 0.0, (count,))
    levels["rest"] = np.full(count, float(REGION_GROUPS["exp"] <= names))
    return levels


@functools.cache
def region_weights() -> dict[str, np.ndarray]:
    """How much each point (478,) belongs to each of `FACE_REGIONS` and to "rest"; the sum is 1 everywhere.

    A region's own points belong to it alone, others by a Gaussian of their distance on the canonical face.
    """
    face = pose.canonical_face().astype(np.float64)
    owned = {name: np.array(mesh.REGIONS[name]) for name in FACE_REGIONS}
    owned["eyes"] = np.concatenate([owned["eyes"], mesh.REGIONS["irises"]])
    near = np.zeros((len(FACE_REGIONS), mesh.POINTS))
    for i, points in enumerate(owned.values()):
        distance = np.linalg.norm(face[:, None] - face[points][None], axis=-1).min(axis=1)
        near[i] = np.exp(-((distance / 0.22) ** 2))
    near /= np.maximum(near.sum(axis=0), 1.0)
    for i, points in enumerate(owned.values()):
        near[:, points] = 0.0
        near[i, points] = 1.0
    weights = dict(zip(FACE_REGIONS, near, strict=True))
    weights["rest"] = 1.0 - near.sum(axis=0)
    return weights


@functools.cache
def jaw_weights() -> np.ndarray:
    """How far each point (478,) follows the chin when the jaw opens: chin and lower lip 1, ears and upper
    lip 0."""
    face = pose.canonical_face().astype(np.float64)
    lips = face[list(mesh.MOUTH_CORNERS), 1].mean()
    chin = face[mesh.CHIN, 1]
    # Under the mouth's line the jaw's bone carries the skin; towards the ears it turns round the joint and
    # moves less.
    down = np.clip((face[:, 1] - lips) / (0.35 * (chin - lips)), 0.0, 1.0)
    back = np.clip((face[:, 2] - 0.55) / 0.5, 0.0, 1.0)
    weights = down * down * (3 - 2 * down) * (1 - back)
    weights[list(mesh.LOWER_LIP)] = _lip_follow(face, mesh.LOWER_LIP)
    weights[list(mesh.UPPER_LIP + mesh.LIP_CORNERS)] = 0.0
    return weights


def _lip_follow(face: np.ndarray, lip: tuple[int, ...]) -> np.ndarray:
    """1 at the middle of the lower lip, 0 at the corners, as an opening mouth's line bends."""
    half = abs(face[mesh.OUTER_MOUTH_CORNERS[1], 0])
    return np.clip(1 - (face[list(lip), 0] / half) ** 2, 0.0, 1.0)


def jaw_part(offsets: np.ndarray) -> np.ndarray:
    """The part (T, 478, 3) of offsets (T, 478, 3) that the jaw makes; the lips make the remainder.

    The jaw's movement is that of the chin's tip (the mean of five points); every point follows it by
    `jaw_weights`.
    """
    chin = offsets[:, [mesh.CHIN, 148, 377, 175, 199]].mean(axis=1, keepdims=True)
    return chin * jaw_weights()[:, None]


def scale_offsets(offsets: np.ndarray, levels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Offsets (T, 478, 3) with each region at its strength of `resolve_strengths`; 1 changes nothing."""
    if all((levels[name] == 1).all() for name in (*FACE_REGIONS, "rest")):
        return offsets
    weights = region_weights()
    jaw = jaw_part(offsets)
    # The chin's own skin counts as jaw as well; what is left of the mouth when the jaw is taken off are the
    # lips.
    level = sum(levels[name][:, None] * weights[name] for name in (*FACE_REGIONS, "rest"))
    return jaw * levels["jaw"][:, None, None] + (offsets - jaw) * level[..., None]


def scale_motion(motion: Motion, strengths: Mapping[str, float | np.ndarray]) -> Motion:
    """`Motion.scaled`: the motion with parts made stronger or weaker against the neutral face and pose."""
    return apply_levels(motion, resolve_strengths(strengths, None, len(motion)))


def apply_levels(motion: Motion, levels: Mapping[str, np.ndarray]) -> Motion:
    """The motion at the strengths (T,) of `resolve_strengths`, "rest" included."""
    neutral_gaze = measures.gaze_of(motion.neutral.astype(np.float64))
    turn = pose.rotation_matrices(motion.neutral_rotation)[0]
    change = pose.rotation_vectors(pose.rotation_matrices(motion.rotation) @ turn.T)
    rotation = pose.rotation_matrices(change * levels["rotation"][:, None]) @ turn
    moved = levels["translation"][:, None]
    return replace(
        motion,
        rotation=pose.rotation_vectors(rotation),
        translation=motion.neutral_translation + moved * (motion.translation - motion.neutral_translation),
        scale=motion.scale ** levels["translation"],
        expression=scale_offsets(motion.expression.astype(np.float64), levels),
        gaze=neutral_gaze + levels["gaze"][:, None, None] * (motion.gaze - neutral_gaze),
    )


def proportions(portrait: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """What an offset (478, 3) of the driver's is worth on the portrait, both canonical with IOD 1.

    Eyes: width and opening of that eye; brows: their height over the eye; lips: mouth width, and length of
    the lower face, which also holds for the jaw. 1 where neither face differs and away from the regions.
    """

    def ratio(measure: np.ndarray, of: np.ndarray) -> np.ndarray:
        return np.clip(np.maximum(measure, 1e-3) / np.maximum(of, 1e-3), *PROPORTION_RANGE)

    wide = ratio(measures.eye_widths(portrait), measures.eye_widths(driver))
    high = ratio(measures.eye_openings(portrait), measures.eye_openings(driver)) * wide
    brow = ratio(measures.brow_heights(portrait), measures.brow_heights(driver))
    mouth = ratio(measures.mouth_width(portrait), measures.mouth_width(driver))
    lower = ratio(measures.lower_face_length(portrait), measures.lower_face_length(driver))
    weights = region_weights()
    left = (pose.canonical_face()[:, 0] > 0).astype(int)  # the subject's left is on the image's right
    eyes = np.stack([wide[left], high[left], wide[left]], axis=-1)  # (478, 3)
    brows = np.stack([np.ones(mesh.POINTS), brow[left], np.ones(mesh.POINTS)], axis=-1)
    lips, jaw = np.array([mouth, lower, 1.0]), np.array([1.0, lower, 1.0])
    factor = np.ones((mesh.POINTS, 3))
    for name, value in (("eyes", eyes), ("brows", brows), ("lips", lips), ("jaw", jaw)):
        factor += weights[name][:, None] * (value - 1.0)
    return factor


def match_frame(portrait: np.ndarray, shapes: np.ndarray, valid: np.ndarray, turned: np.ndarray) -> int:
    """The frame of the driver whose expression is nearest to the portrait's; the first frame wins ties.

    portrait: (478, 3), shapes: (T, 478, 3), canonical with IOD 1 each; turned: (T,) radians between the head
    poses, which count a little. Differences count in tolerances, about what one sees at once.
    """

    def features(shape: np.ndarray) -> np.ndarray:
        width = measures.mouth_width(shape)[..., None]
        parts = (
            (measures.eye_openings(shape), 0.04),
            ((measures.mouth_opening(shape) / measures.lower_face_length(shape))[..., None], 0.04),
            (width, 0.06),
            (measures.brow_heights(shape), 0.05),
            (measures.corner_heights(shape) / width, 0.05),
        )
        return np.concatenate([value / tolerance for value, tolerance in parts], axis=-1)

    apart = np.linalg.norm(features(shapes) - features(portrait), axis=-1)  # (T,)
    cost = np.where(valid, np.hypot(apart, turned / 0.35), np.inf)
    if not valid.any():
        return 0
    best = int(np.argmin(cost))
    return 0 if cost[0] <= cost[best] + FIRST_FRAME_BONUS else best


def _reference(landmarks: np.ndarray, portrait: np.ndarray, motion: Motion, mode: str) -> tuple[_Reference, float]:
    """The reference, and its IOD in the motion's unit."""
    if mode == "relative":
        neutral = motion.neutral.astype(np.float64)
        reference = _Reference(
            neutral, measures.gaze_of(neutral), motion.neutral_rotation, motion.neutral_translation, 1.0
        )
        return reference, 1.0
    shapes = motion.shapes
    own = pose.rotation_matrices(pose.decompose(landmarks)[0].rotation)[0]
    between = pose.rotation_vectors(pose.rotation_matrices(motion.rotation) @ own.T)
    each = shapes / pose.inter_ocular(shapes)[:, None, None]
    k = match_frame(portrait, each, motion.valid, np.linalg.norm(between, axis=-1))
    unit = float(pose.inter_ocular(shapes[k]))
    translation = motion.translation[k].astype(np.float64)
    scale = float(motion.scale[k]) * unit
    return _Reference(shapes[k] / unit, motion.gaze[k], motion.rotation[k], translation, scale), unit


def _set_irises(
    target: np.ndarray,
    portrait: np.ndarray,
    turn: np.ndarray,
    driver: np.ndarray,
    reference: np.ndarray,
    keep_radius: bool,
) -> None:
    """Put the irises (centre and ring) of `target` (T, 478, 3) where the gaze points, in place.

    The gaze is the portrait's own plus `turn` (T, 2, 2), kept inside the eye; the depth follows the
    driver's shapes (T, 478, 3). The ring keeps the portrait's radius, or changes as the driver's does.
    """
    own = measures.iris_positions(portrait)  # (2 eyes, 3)
    theirs = measures.iris_positions(driver)  # (T, 2, 3)
    places = own + theirs - measures.iris_positions(reference)
    gaze = own[:, :2] + turn
    # Further than this, than the driver and than the portrait itself, only a strength above 1 leads: slow
    # down.
    reach = np.maximum(np.maximum(MAX_GAZE, np.abs(own[:, :2])), np.abs(theirs[..., :2]))
    over = np.maximum(np.abs(gaze) - reach, 0.0)
    places[..., :2] = np.where(over > 0, np.sign(gaze) * (reach + 0.05 * np.tanh(over / 0.05)), gaze)
    origin, axes, width = measures.eye_frames(target)
    placed = origin + np.einsum("tek,tekj->tej", places * width[..., None], axes)
    for eye, ring in enumerate(mesh.IRISES):
        around = portrait[list(ring)] - portrait[ring[0]]  # (5, 3)
        if not keep_radius:
            first = reference[list(ring)] - reference[ring[0]]
            now = driver[:, list(ring)] - driver[:, ring[:1]]
            size = np.linalg.norm(around[1:], axis=-1).mean() / np.linalg.norm(first[1:], axis=-1).mean()
            around = around + size * (now - first)
        target[:, list(ring)] = placed[:, eye, None] + around


def _head_pose(
    portrait_pose: pose.Pose,
    portrait_scale: float,
    motion: Motion,
    reference: _Reference,
    scale: np.ndarray,
    levels: Mapping[str, np.ndarray],
    mode: str,
) -> pose.Pose:
    """Where the portrait's head goes: relative to its own pose, or turned as the driver's head is."""
    own = pose.rotation_matrices(portrait_pose.rotation)[0]
    driver = pose.rotation_matrices(motion.rotation)
    start = pose.rotation_matrices(reference.rotation)[0] if mode == "relative" else own
    change = pose.rotation_vectors(driver @ start.T)
    rotation = pose.rotation_vectors(pose.rotation_matrices(change * levels["rotation"][:, None]) @ own)
    if mode == "relative":
        rotation = limit_turn(rotation, portrait_pose.rotation)
    unit = portrait_scale / reference.scale
    moved = levels["translation"][:, None] * unit * (motion.translation - reference.translation)
    size = portrait_scale * (scale / reference.scale) ** levels["translation"]
    return pose.Pose(rotation, portrait_pose.translation + moved, size)


def limit_turn(rotation: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3) with pitch and yaw softly kept within `MAX_PITCH` and `MAX_YAW` degrees.

    Up to 70 % of a limit nothing changes, then the turn slows and never passes the limit. A portrait that
    is itself turned further, by `own` (1, 3), keeps its turn and gets 5 degrees of room.
    """
    angles = pose.head_angles(rotation)
    if (np.abs(angles[:, :2]) <= np.radians([0.7 * MAX_PITCH, 0.7 * MAX_YAW])).all():
        return rotation
    for axis, limit in enumerate(np.radians([MAX_PITCH, MAX_YAW])):
        knee = max(0.7 * limit, abs(float(pose.head_angles(own)[0, axis])))
        room = max(limit - knee, np.radians(5.0))
        size = np.abs(angles[:, axis])
        soft = knee + room * np.tanh(np.maximum(size - knee, 0.0) / room)
        angles[:, axis] = np.sign(angles[:, axis]) * np.where(size > knee, soft, size)
    return pose.rotation_from_angles(angles)
