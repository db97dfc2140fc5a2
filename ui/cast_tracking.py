"""The people of the driving clips of a cast: who they are and how they move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from animate.casting import BEST_MATCH, PASSER_BY, Look, Role, is_order
from animate.errors import FaceError, OptionError

from . import options as words
from .cast_options import Cast
from .console import Progress
from .drawing import note_faults
from .expression_clips import encode_people
from .people import pick_track
from .report import RunReport
from .tracking import pack_motion, unpack_motion

if TYPE_CHECKING:
    import numpy as np

    from animate.faces import Face, FaceTrack, FaceTracker
    from animate.models.expression_encoder import ExpressionEncoder
    from animate.motion import Motion
    from animate.work_folder import WorkFolder


@dataclass
class Movement:
    """The motion of a role.

    Of one from a clip also the second of the clip at which it begins, the clip's own frames per second, and its
    expression features (T, 554) where an encoder reads them.
    """

    motion: Motion
    start: float = 0.0
    rate: Fraction | None = None
    features: np.ndarray | None = None


@dataclass
class Clips:
    """Follows people through driving clips, each clip once.

    driving_face: whom of a clip that names nobody. trim: seconds of each clip. backend: name of the face tracker.
    encoder: reads each person's expression as well, and clips are then read at `rate` frames per second.
    """

    tracker: FaceTracker
    report: RunReport
    progress: Progress
    driving_face: str = "largest"
    trim: tuple[float, float | None] = (0.0, None)
    backend: str = "auto"
    work: WorkFolder | None = None
    encoder: ExpressionEncoder | None = None
    rate: Fraction | None = None
    _count: int = field(default=0, init=False)

    def follow(self, roles: Sequence[Role], cast: Cast, faces: int) -> tuple[list[Role], dict[Role, Movement]]:
        """The roles, a clip of several people resolved into them, and the movement of each that has a clip.

        faces: how many people of such a clip there is room for.
        Raises MediaError, FaceError for a clip without a picture, a face, or the person that was asked for.
        """
        roles = list(roles)
        movements: dict[Role, Movement] = {}
        if is_crowd(roles, cast):
            order = cast.order if is_order(cast.order) else "left-to-right"
            found = self._people(Path(roles[0].source), order, faces)
            if len(found) == 1:
                return roles, {roles[0]: found[0]}
            people = [replace(roles[0], person=f"{order}:{number}") for number in range(len(found))]
            return people, dict(zip(people, found, strict=True))
        for source in dict.fromkeys(role.source for role in roles if role.kind == "driving"):
            wanted = [role for role in roles if role.kind == "driving" and role.source == source]
            persons = list(dict.fromkeys(role.person or self.driving_face for role in wanted))
            found = self._kept(Path(source), persons, lambda tracks, p=persons, s=source: _pick(tracks, p, s))
            named = dict(zip(persons, found, strict=True))
            movements |= {role: replace(named[role.person or self.driving_face]) for role in wanted}
        return roles, movements

    def _people(self, path: Path, order: str, most: int) -> list[Movement]:
        """The movements of a clip's people in that order, at most `most`."""

        def choose(tracks: Sequence[FaceTrack]) -> list[FaceTrack]:
            stay = [track for track in tracks if track.valid.mean() >= PASSER_BY] or list(tracks[:1])
            if len(stay) > most:
                drive = "most prominent one drives" if most == 1 else f"{most} most prominent drive"
                self.report.note(f"{path.name} shows {len(stay)} people, more than there are faces: the {drive}.")
            stay = stay[:most]
            return [pick_track(stay, f"{order}:{number}") for number in range(len(stay))]

        return self._kept(path, [order, most], choose, everybody=True)

    def _kept(self, path: Path, key: list, choose, everybody: bool = False) -> list[Movement]:
        """The movements of the tracks that `choose` takes; from the work folder where they are there."""
        if _by_reference(key):
            raise OptionError("A person of a clip is chosen by number or order: largest, left, right, left-to-right:N.")
        alone = not everybody and set(key) <= {"largest", "0"}
        if self.work is None:
            return self._track(path, choose, alone)
        from animate.work_folder import checksum

        part = f"tracking-{self._count}"
        self._count += 1
        source = checksum(path, key, everybody, self.backend, self.trim, *self._encoding())
        self.work.claim(part, {"driving clip": source})
        if (kept := self.work.get(part, source)) is not None:
            return self._unpack(kept)
        before = len(self.report.notes)
        movements = self._track(path, choose, alone)
        notes = self.report.notes[before:]
        packed = [_pack(movement, notes) for movement in movements]
        self.work.put(part, {f"{n} {key}": value for n, one in enumerate(packed) for key, value in one.items()}, source)
        return movements

    def _encoding(self) -> tuple:
        """What features depend on, for a work folder."""
        if self.encoder is None:
            return ()
        from animate.expression_clip import encoder_facts

        return (self.rate, encoder_facts(self.encoder))

    def _unpack(self, kept: dict) -> list[Movement]:
        people: dict[int, dict] = {}
        for name, value in kept.items():
            number, _, key = name.partition(" ")
            people.setdefault(int(number), {})[key] = value
        movements = []
        for number in sorted(people):
            movement, notes = _unpack(people[number])
            movements.append(movement)
        for note in notes:
            self.report.note(note)
        return movements

    def _track(self, path: Path, choose, alone: bool) -> list[Movement]:
        from animate.media import VideoReader
        from animate.motion import Motion

        with (
            self.report.stage("tracking"),
            VideoReader(path, fps=self._rate(), start=self.trim[0], end=self.trim[1]) as reader,
        ):
            frames = self.progress.follow(reader, f"tracking {path.name}", reader.frames)
            tracks = self.tracker.track(frames, reader.fps, max_faces=1 if alone else None, name=path)
            note_faults(reader, self.report, f"driving clip {path.name}")
            chosen = choose(tracks)
            if len(chosen[0].valid) == 1:
                self.report.note(f"{path.name} is a single frame, in which nothing moves.")
            motions = [Motion.from_track(track, source=path.name) for track in chosen]
        features = [None] * len(chosen)
        if self.encoder is not None:
            made = encode_people(path, chosen, self.trim, self.encoder, self.report, self.progress)
            features = [one.features for one in made]
        return [
            Movement(motion, reader.start, reader.info.fps, one) for motion, one in zip(motions, features, strict=True)
        ]

    def _rate(self) -> Fraction | None:
        return None if self.encoder is None else self.rate

    def look(self, role: Role, movement: Movement, faces: Sequence[Face]) -> Look:
        """How the person of a role looks; with a picture where it comes from a clip."""
        motion = movement.motion
        if role.kind != "driving":
            return Look(motion.neutral)
        from animate.media import VideoReader

        index = motion.neutral_index if motion.neutral_index >= 0 else int(motion.valid.argmax())
        landmarks = motion.take(slice(index, index + 1)).landmarks()[0]
        with VideoReader(role.source, fps=motion.fps, start=movement.start + float(index / motion.fps)) as reader:
            picture = next(iter(reader))
        embedding = None
        if all(face.embedding is not None for face in faces):
            centre = landmarks[:, :2].mean(axis=0)
            found = self.tracker.detect(picture)
            nearest = min(found, key=lambda face: abs(face.center - centre).sum(), default=None)
            embedding = None if nearest is None else nearest.embedding
        return Look(motion.neutral, picture, landmarks, embedding)


def is_crowd(roles: Sequence[Role], cast: Cast) -> bool:
    """Whether the people of one clip take the faces in an order, or as they are most alike."""
    if len(roles) != 1 or not (is_order(cast.order) or cast.order == BEST_MATCH):
        return False
    return roles[0].kind == "driving" and roles[0].face is None and roles[0].person is None


def _pack(movement: Movement, notes: list[str]) -> dict[str, np.ndarray]:
    """As arrays; clips without features as `pack_motion` does it."""
    import numpy as np

    packed = pack_motion(movement.motion, movement.start, notes)
    if movement.features is not None:
        rate = np.frombuffer(str(movement.rate).encode(), np.uint8)
        packed |= {"features": movement.features, "clip rate": rate}
    return packed


def _unpack(kept: dict[str, np.ndarray]) -> tuple[Movement, list[str]]:
    features, rate = kept.pop("features", None), kept.pop("clip rate", None)
    motion, start, notes = unpack_motion(kept)
    return Movement(motion, start, None if rate is None else Fraction(rate.tobytes().decode()), features), notes


def _by_reference(persons: Iterable) -> bool:
    """Whether a person is asked for by a reference picture, which only faces of a portrait can be."""
    return any(isinstance(person, str) and words.face_reference(person) is not None for person in persons)


def _pick(tracks: Sequence[FaceTrack], persons: Sequence[str], source: str) -> list[FaceTrack]:
    chosen = []
    for person in persons:
        try:
            chosen.append(tracks[0] if person in ("largest", "0") and len(tracks) == 1 else pick_track(tracks, person))
        except FaceError as error:
            raise FaceError(f"{source} does not show the person {person!r}: {_lower(str(error))}") from error
        except OptionError as error:
            raise OptionError(f"The person {person!r} of {source} is not understood: {_lower(str(error))}") from error
    return chosen


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
