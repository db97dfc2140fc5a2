"""Who plays whom: which driver moves which face of a picture that shows several people.

A `Role` is a driver as it was written, `assign` gives each role its face, `best_match` finds the faces by likeness.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate import measures, pose, recognition
from animate.errors import OptionError
from animate.faces import Face, select_face

KINDS = ("driving", "motion", "audio")
ORDERS = ("largest", "left-to-right", "right-to-left")
ALL, BEST_MATCH = "all", "best-match"
#: People of a clip who are seen in fewer of its frames than this share are passers-by.
PASSER_BY = 0.1


@dataclass(frozen=True, eq=False)
class Role:
    """A driver; two of them are two, even where they are written alike.

    kind: one of KINDS. source: a clip, a motion (file or built-in name) or a sound, as it was written.
    face: label, index or order of the face that it moves, or None: the order decides.
    person: which person of a clip (`faces.select_face`), or None. where: what an error calls it.
    """

    kind: str
    source: str
    face: str | None = None
    person: str | None = None
    where: str = ""

    @property
    def name(self) -> str:
        """What a report calls it."""
        path = Path(self.source)
        name = path.stem if self.kind == "motion" else path.name
        return name if self.person is None else f"{name}@{self.person}"


@dataclass(frozen=True)
class Seat:
    """A role and the index, into the portrait's faces, of the face that it moves."""

    role: Role
    face: int


def parse_role(text: str, kind: str) -> Role:
    """A role from `CLIP`, `FACE=CLIP` or `FACE=CLIP@PERSON` (people: driving clips only).

    A file whose own name holds = or @ is taken as it is. Raises OptionError where a side of the = is empty.
    """
    face, source, person = None, text, None
    before, found, after = text.partition("=")
    if found and os.sep not in before and not Path(text).exists():
        face, source = before.strip(), after.strip()
        if not face or not source:
            raise OptionError(
                f"{text!r} is not understood: write FACE=FILE, for example left={after.strip() or 'a.mp4'}."
            )
    if kind == "driving" and "@" in source and not Path(source).exists():
        clip, _, who = source.rpartition("@")
        if clip and who and os.sep not in who:
            source, person = clip, who.strip()
    return Role(kind, source, face, person, text)


def in_order(faces: Sequence[Face], order: str = ORDERS[0]) -> list[int]:
    """Indices of all faces, in one of ORDERS ("all" is as "largest")."""
    order = ORDERS[0] if order == ALL else order
    return [face_index(faces, f"{order}:{number}") for number in range(len(faces))]


def face_index(faces: Sequence[Face], selector: str | np.ndarray, image: np.ndarray | None = None) -> int:
    """Index of the face that `select_face` chooses; raises as it does."""
    chosen = select_face(faces, selector, image)
    return next(index for index, face in enumerate(faces) if face is chosen)


def place(faces: Sequence[Face], index: int) -> str:
    """Where a face is, as a selector that finds it again."""
    return f"left-to-right:{in_order(faces, 'left-to-right').index(index)}"


def is_order(order: str | None) -> bool:
    """Whether it names an order of all faces, rather than a list of faces, all of them or the best match."""
    return order in ORDERS


def assign(
    faces: Sequence[Face],
    roles: Sequence[Role],
    order: str | None = None,
    labels: Mapping[str, str | np.ndarray] | None = None,
    *,
    name: str = "the portrait",
    image: np.ndarray | None = None,
    likeness: Callable[[], np.ndarray] | None = None,
    again: bool = False,
) -> list[Seat]:
    """The face of each role.

    Args:
        faces: of the portrait, largest first.
        roles: all of them name a face, or none does.
        order: one of ORDERS (None: largest first), in which indices count and roles without a face are seated;
            "all": the roles go round until every face has one; faces joined by commas, such as "0,2" or
            "left,right"; or "best-match".
        labels: name → selector or reference picture of a face.
        name, image: of the portrait, the picture for reference pictures.
        likeness: gives (roles, faces), greater is more alike; for "best-match".
        again: whether a face may have several roles, one after the other.

    Returns:
        One seat a role, in their order; more where a role moves several faces.

    Raises:
        OptionError, FaceError: with one sentence: more roles than faces, a face that is not there or that is given
            twice, a label that nobody has, a role without a face.
    """
    if not roles:
        raise OptionError("No driver is given: give at least one.")
    named = [role for role in roles if role.face is not None]
    if named and len(named) < len(roles):
        plain = next(role for role in roles if role.face is None)
        raise OptionError(
            f"{plain.where or plain.name} names no face, but {named[0].where} does: write FACE=… for each."
        )
    if len(roles) > len(faces) and not (again and named):
        drivers = ", ".join(role.name for role in roles)
        few = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        raise OptionError(
            f"There are {len(roles)} drivers ({drivers}), but {name} shows {few}: give no more than faces."
        )
    if named:
        seats = _seat_named(faces, roles, order, labels or {}, image)
    else:
        seats = _seat_in_order(faces, roles, order, likeness)
    if not again:
        _refuse_twice(faces, seats)
    return seats


def _seat_named(
    faces: Sequence[Face],
    roles: Sequence[Role],
    order: str | None,
    labels: Mapping[str, str | np.ndarray],
    image: np.ndarray | None,
) -> list[Seat]:
    if order is not None and not is_order(order) and order != ALL:
        raise OptionError(
            f"The faces are named twice, by --faces {order} and in front of the files ({roles[0].where}): "
            "do one of both."
        )
    count = in_order(faces, order or ORDERS[0])
    return [Seat(role, _named_face(faces, role, count, labels, image)) for role in roles]


def _named_face(
    faces: Sequence[Face],
    role: Role,
    count: Sequence[int],
    labels: Mapping[str, str | np.ndarray],
    image: np.ndarray | None,
) -> int:
    selector = labels.get(role.face, role.face)
    if isinstance(selector, str) and selector.isdecimal() and int(selector) < len(count):
        return count[int(selector)]
    try:
        return face_index(faces, selector, image)
    except OptionError as error:
        if isinstance(selector, np.ndarray):
            raise
        known = f"the cast names {', '.join(labels)}" if labels else "labels come from --cast FILE"
        raise OptionError(
            f"No face is called {selector!r} ({role.where}): give a number, left, right, left-to-right:N or a label; "
            f"{known}."
        ) from error


def _seat_in_order(
    faces: Sequence[Face], roles: Sequence[Role], order: str | None, likeness: Callable[[], np.ndarray] | None
) -> list[Seat]:
    if order == BEST_MATCH:
        if likeness is None:
            raise OptionError("--faces best-match needs drivers that show a face: name the faces instead.")
        return [Seat(role, face) for role, face in zip(roles, best_match(likeness()), strict=True)]
    if order == ALL:
        return [Seat(roles[i % len(roles)], face) for i, face in enumerate(in_order(faces))]
    if order is None or is_order(order):
        return [Seat(role, face) for role, face in zip(roles, in_order(faces, order or ORDERS[0]), strict=False)]
    listed = [face_index(faces, word) for word in _words(order)]
    if len(roles) not in (1, len(listed)):
        raise OptionError(
            f"--faces {order} names {len(listed)} faces for {len(roles)} drivers: give one driver for each, or one "
            "for all."
        )
    return [Seat(roles[i % len(roles)], face) for i, face in enumerate(listed)]


def _words(order: str) -> list[str]:
    words = [word.strip() for word in order.split(",") if word.strip()]
    if not words:
        raise OptionError(
            f"--faces names no face: give all, {', '.join(ORDERS)}, {BEST_MATCH}, or faces such as 0,2 or left,right."
        )
    return words


def _refuse_twice(faces: Sequence[Face], seats: Sequence[Seat]) -> None:
    taken: dict[int, Role] = {}
    for seat in seats:
        if seat.face in taken:
            first, second = taken[seat.face], seat.role
            who = (
                f"by {first.where or first.name} and {second.where or second.name}"
                if first is not second
                else f"to {first.name}"
            )
            raise OptionError(
                f"The face {place(faces, seat.face)} is given twice, {who}: choose another face for one of them."
            )
        taken[seat.face] = seat.role


@dataclass(frozen=True, eq=False)
class Look:
    """How a driver looks.

    neutral: (478, 3) its neutral face in the canonical pose, IOD 1 (`Motion.neutral`).
    picture, landmarks: (H, W, 3) uint8 RGB and (478, 3) px of a frame that shows it, where there is one.
    embedding: of insightface, where the portrait's faces have theirs.
    """

    neutral: np.ndarray
    picture: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    embedding: np.ndarray | None = None


def likeness(looks: Sequence[Look], faces: Sequence[Face], image: np.ndarray) -> tuple[np.ndarray, str]:
    """How alike drivers and faces are: (drivers, faces), greater is more alike, and by what it was told.

    "recognition" compares embeddings, where insightface or dlib (extra `bench`) gives one of everybody; "proportions"
    the shapes of the neutral faces away from lips, lids and brows.
    """
    if all(face.embedding is not None for face in faces) and all(look.embedding is not None for look in looks):
        drivers, people = (np.stack([one.embedding for one in group]) for group in (looks, faces))
        return drivers @ people.T, "recognition"
    if recognition.missing() is None and all(look.picture is not None for look in looks):
        drivers = [recognition.descriptor(look.picture, look.landmarks) for look in looks]
        people = [recognition.descriptor(image[..., :3], face.landmarks) for face in faces]
        return np.array([[recognition.cosine(one, other) for other in people] for one in drivers]), "recognition"
    drivers = np.stack([_proportions(look.neutral) for look in looks])  # (drivers, measures)
    people = np.stack([_proportions(_canonical(face.landmarks)) for face in faces])
    return -np.linalg.norm(drivers[:, None] - people[None], axis=-1), "proportions"


def best_match(likeness: np.ndarray) -> list[int]:
    """The face of each driver, all different, of the greatest total likeness (drivers, faces); Hungarian method."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(likeness, maximize=True)
    return [int(columns[np.flatnonzero(rows == driver)[0]]) for driver in range(len(likeness))]


def _canonical(landmarks: np.ndarray) -> np.ndarray:
    shape = pose.decompose(landmarks)[1][0]
    return shape / pose.inter_ocular(shape)


def _proportions(shape: np.ndarray) -> np.ndarray:
    """Measures of a canonical face with IOD 1 that an expression hardly changes."""
    from animate import topology as mesh

    oval = shape[list(mesh.FACE_OVAL), :2]
    nose = shape[list(mesh.NOSE), :2]
    return np.concatenate(
        [
            measures.eye_widths(shape),
            [measures.lower_face_length(shape), measures.mouth_width(shape) / 2],
            np.ptp(oval, axis=0),
            np.ptp(nose, axis=0),
            [np.linalg.norm(shape[mesh.NOSE_BASE, :2] - pose.eye_centres(shape).mean(0)[:2])],
        ]
    )
