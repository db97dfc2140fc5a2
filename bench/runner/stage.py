"""Scenes of a suite's cases: media read, faces found, clips tracked and brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from animate import pose
from animate.errors import MienError
from animate.faces import Face
from animate.frame_rate import exact_rate
from animate.media import read_image
from animate.portrait import Portrait
from animate.video_writer import on_white
from bench.clips import VIDEO_SUFFIXES, shrink
from bench.metrics.base import Reference
from bench.redetect import Redetector, middle
from bench.reenact.scoring import portrait_face
from bench.runner.clip import TrackedClip, load_clip
from bench.runner.scene import SAMPLE_RATE, Actor, LeftOut, Scene, View
from bench.suites.manifest import Case, Suite

ROW_WIDTH = 1280
"""Px that several people side by side are wide at most."""

ROOM = 1.6
"""Side of the square round a face of a group picture that is measured, over the longer side of its mesh."""

SAME_PERSON = 0.5
"""Inter-ocular distances from a face's place within which a detected face is that very face."""


class Stage:
    """Makes scenes of a suite's cases.

    Args:
        suite: the cases and their media.
        redetector: finds all faces.
        kept: folder of tracked clips.
    """

    def __init__(self, suite: Suite, redetector: Redetector, kept: Path):
        self.suite, self.redetector, self.kept = suite, redetector, kept
        self._last: tuple[str, Scene] | None = None

    def scene(self, case: Case) -> Scene:
        """A case made ready; the last one is remembered.

        Raises:
            LeftOut: a medium is missing or shows no face where one is needed.
        """
        if self._last is None or self._last[0] != case.id:
            try:
                self._last = case.id, self._make(case)
            except LeftOut:
                raise
            except MienError as error:
                raise LeftOut(str(error)) from error
        return self._last[1]

    def _make(self, case: Case) -> Scene:
        if case.options.get("people"):
            return self._wanted_people(case)
        if case.audio:
            return self._talking(case)
        drivers = case.options.get("drivers") or ([case.driver] if case.driver else [])
        if not drivers:
            raise LeftOut(f"The case {case.id} has neither a driver nor a sound.")
        clips = self._together([self._clip(file) for file in drivers])
        seconds = case.options.get("loop")
        if seconds:
            clips = [clip.looped(float(seconds)) for clip in clips]
        if case.options.get("portraits"):
            return self._row(case, clips, [self._picture(file) for file in case.options["portraits"]])
        if case.portrait is None and len(clips) > 1:
            return self._row(case, clips, None)
        if case.portrait is not None and (len(clips) > 1 or case.options.get("faces")):
            return self._group(case, clips)
        return self._single(case, clips[0])

    def _single(self, case: Case, driver: TrackedClip) -> Scene:
        truth, notes = self._truth(case, driver)
        portrait, reference, faces = self._seated(case, driver)
        own = case.truth is not None and case.truth == case.driver
        view = self._whole(portrait, reference, truth, None if own else driver, driver.fps, faces)
        actor = Actor(0 if portrait.faces else None, driver)
        mode = "absolute" if own else "relative"
        return Scene(case, portrait, driver.fps, len(driver), mode, (actor,), (view,), notes=(*notes, *_faceless(view)))

    def _talking(self, case: Case) -> Scene:
        from bench.talk.clips import fitted

        truth, notes = self._truth(case, None)
        if truth is None and case.truth is not None and case.portrait is None:
            raise LeftOut(" ".join(notes))
        audio = self._medium(case.audio)
        fps = truth.fps if truth is not None else exact_rate(self.suite.setting("fps"))
        limit = len(truth) if truth is not None else self.suite.setting("max_frames")
        sound = self._sound(audio, limit / fps, truth, case)
        count = limit if truth is not None else min(limit, max(1, round(len(sound) * fps / SAMPLE_RATE)))
        sound = fitted(sound, round(count * SAMPLE_RATE / fps))
        portrait, reference, faces = self._seated(case, truth)
        view = self._whole(portrait, replace(reference, sound=sound), truth, None, fps, faces)
        return Scene(case, portrait, fps, count, "relative", (), (view,), (), sound, audio, (*notes, *_faceless(view)))

    def _row(self, case: Case, clips: list[TrackedClip], pictures: list[np.ndarray] | None) -> Scene:
        """Several people side by side, left to right."""
        own = pictures is None
        shapes = [clip.track.size for clip in clips] if own else [picture.shape[1::-1] for picture in pictures]
        height = min(min(h for _, h in shapes), int(ROW_WIDTH / sum(w / h for w, h in shapes))) // 2 * 2
        if own:
            clips = [clip.scaled(height) for clip in clips]
            pictures = [next(clip.frames()) for clip in clips]
        else:
            sizes = [(max(2, round(w * height / h)), height) for w, h in shapes]
            pairs = zip(pictures, sizes, strict=True)
            pictures = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture, size in pairs]
        image = np.hstack(pictures)
        faces = self.redetector.tracker.detect(image)
        actors, views, x = [], [], 0
        for number, picture in enumerate(pictures):
            clip = clips[number % len(clips)]
            box = (x, 0, x + picture.shape[1], height)
            face = _inside(faces, box)
            landmarks = clip.track.landmarks[0] if own else _moved(faces, face, box)
            found = None if landmarks is None else self.redetector(picture, landmarks)
            actors.append(Actor(face, clip))
            near = clip.track.landmarks if own else _still(found if found is not None else landmarks)
            reference = Reference(picture, found, clip.fps)
            others = _others(faces, box, near)
            views.append(View(box, reference, near, clip if own else None, None if own else clip, others))
            x += picture.shape[1]
        portrait = Portrait(image, faces, f"the portrait of {case.id}")
        people = tuple(view.reference for view in views)
        notes = tuple(note for view in views for note in _faceless(view))
        mode = "absolute" if own else "relative"
        return Scene(
            case, portrait, clips[0].fps, len(clips[0]), mode, tuple(actors), tuple(views), people, notes=notes
        )

    def _group(self, case: Case, clips: list[TrackedClip]) -> Scene:
        """Faces of one picture from left to right, the clips dealt out to them in turn."""
        image = self._picture(case.portrait)
        faces = self.redetector.tracker.detect(image)
        if not faces:
            raise LeftOut(f"No face is found in {case.portrait}.")
        order = sorted(range(len(faces)), key=lambda face: faces[face].center[0])
        actors, views = [], []
        for number, face in enumerate(order):
            clip = clips[number % len(clips)]
            box = _room(faces[face], image.shape[1::-1])
            crop = np.ascontiguousarray(image[box[1] : box[3], box[0] : box[2]])
            landmarks = _moved(faces, face, box)
            found = self.redetector(crop, landmarks)
            near = _still(landmarks if found is None else found)
            actors.append(Actor(face, clip))
            views.append(View(box, Reference(crop, found, clip.fps), near, None, clip, _others(faces, box, near)))
        portrait = Portrait(image, faces, case.portrait)
        people = tuple(view.reference for view in views)
        return Scene(case, portrait, clips[0].fps, len(clips[0]), "relative", tuple(actors), tuple(views), people)

    def _wanted_people(self, case: Case) -> Scene:
        """A picture that shows some people: there is no portrait and nothing moves."""
        people = []
        for file in case.options["people"]:
            try:
                reference = self._sitter(self._picture(file))[1]
            except MienError:
                reference = Reference(None, None)
            people.append(reference)
        lost = sum(person.landmarks is None for person in people)
        notes = (f"{lost} of {len(people)} people's pictures are missing or show no face.",) if lost else ()
        return Scene(case, None, Fraction(1), 1, people=tuple(people), notes=notes)

    def _whole(
        self,
        portrait: Portrait,
        reference: Reference,
        truth: TrackedClip | None,
        driver: TrackedClip | None,
        fps: Fraction,
        faces: Sequence[Face],
    ) -> View:
        """The view of a picture in which one person counts; the others of ``faces`` are bystanders."""
        height, width = portrait.image.shape[:2]
        near = truth.track.landmarks if truth is not None else None
        if near is None and portrait.faces:
            near = _still(portrait.faces[0].landmarks)
        box = (0, 0, width, height)
        return View(box, replace(reference, fps=fps), near, truth, driver, _others(faces, box, near))

    def _truth(self, case: Case, driver: TrackedClip | None) -> tuple[TrackedClip | None, tuple[str, ...]]:
        if case.truth is None:
            return None, ()
        if driver is not None and case.truth == case.driver:
            return driver, ()
        try:
            truth = self._clip(case.truth)
            if driver is not None and (truth.fps, len(truth)) != (driver.fps, len(driver)):
                # The driver's frames say where faces are looked for; any frame of the truth may be beside one.
                truth = self._clip(case.truth, stride=1).resampled(driver.fps, len(driver))
        except MienError as error:
            return None, (f"There is no truth to compare with: {error}",)
        if case.portrait is not None:
            size = self._picture(case.portrait).shape[1::-1]
            if truth.track.size != size:
                return None, (f"The truth {case.truth} is not of the portrait's size and is not compared with.",)
        return truth, ()

    def _together(self, clips: Sequence[TrackedClip]) -> list[TrackedClip]:
        """At the first one's rate, as long as the shortest."""
        fps = clips[0].fps
        count = max(2, min(int(len(clip) / clip.fps * fps) for clip in clips))
        return [clip.resampled(fps, count) for clip in clips]

    def _clip(self, file: str, stride: int | None = None) -> TrackedClip:
        frames, side, usual = (self.suite.setting(key) for key in ("max_frames", "max_side", "stride"))
        return load_clip(self._medium(file), self.redetector, frames, side, stride or usual, self.kept)

    def _picture(self, file: str) -> np.ndarray:
        image = read_image(self._medium(file))
        image = on_white(image) if image.shape[2] == 4 else image
        return np.ascontiguousarray(shrink(image, self.suite.setting("max_side")))

    def _medium(self, file: str) -> Path:
        path = self.suite.file(file)
        if not path.is_file():
            raise LeftOut(f"{file} is missing.")
        return path

    def _seated(self, case: Case, clip: TrackedClip) -> tuple[Portrait, Reference, list[Face]]:
        """The case's portrait, or the clip's first frame; and all faces in it."""
        if case.portrait is not None:
            return self._sitter(self._picture(case.portrait))
        frame = next(clip.frames())
        face = portrait_face(frame, clip.track, self.redetector)
        portrait, reference = Portrait(frame, [face], clip.path.name), Reference(frame, clip.found(0), clip.fps)
        return portrait, reference, self.redetector.tracker.detect(frame)

    def _sitter(self, image: np.ndarray) -> tuple[Portrait, Reference, list[Face]]:
        faces = self.redetector.tracker.detect(image)
        found = self.redetector(image, faces[0].landmarks) if faces else None
        return Portrait(image, faces), Reference(image, found), faces

    def _sound(self, path: Path, seconds: Fraction, truth: TrackedClip | None, case: Case) -> np.ndarray:
        from bench.talk.clips import QUIET, loudest_second, sound_of_picture

        start = float(truth.start / truth.fps) if truth is not None and case.truth == case.audio else 0.0
        sound = (sound_of_picture if _is_video(path) else _sound_file)(path, start + float(seconds))
        sound = sound[round(start * SAMPLE_RATE) :]
        if not len(sound) or loudest_second(sound) < QUIET:
            raise LeftOut(f"{case.audio} holds no sound to speak.")
        return sound


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _sound_file(path: Path, seconds: float) -> np.ndarray:
    from talking_face.audio import load_audio

    return load_audio(path)[: round(seconds * SAMPLE_RATE)]


def _still(landmarks: np.ndarray | None) -> np.ndarray | None:
    return None if landmarks is None else landmarks[None]


def _inside(faces: Sequence[Face], box: tuple[int, int, int, int]) -> int | None:
    """The largest face whose middle is in a box."""
    return next((number for number, face in enumerate(faces) if box[0] <= face.center[0] < box[2]), None)


def _moved(faces: Sequence[Face], face: int | None, box: tuple[int, int, int, int]) -> np.ndarray | None:
    """A face's landmarks as seen from a box."""
    return None if face is None else faces[face].landmarks - np.array([box[0], box[1], 0], np.float32)


def _others(faces: Sequence[Face], box: tuple[int, int, int, int], near: np.ndarray | None) -> np.ndarray:
    """(n, 2) middles, as seen from a box, of the faces that are not the one whose place is ``near``."""
    middles = [middle(_moved(faces, number, box)) for number in range(len(faces))]
    if near is None:
        return np.reshape(middles, (-1, 2))
    own, reach = middle(near[0]), SAME_PERSON * float(pose.inter_ocular(near[0]))
    return np.reshape([m for m in middles if np.linalg.norm(m - own) > reach], (-1, 2))


def _room(face: Face, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square round a face, inside the picture as far as that goes."""
    side = min(round(ROOM * float(max(face.box[2:] - face.box[:2]))), *size)
    x, y = (int(np.clip(round(c - side / 2), 0, s - side)) for c, s in zip(face.center, size, strict=True))
    return x, y, x + side, y + side


def _faceless(view: View) -> tuple[str, ...]:
    return ("No face is found in the portrait: what needs one is not computed.",) if view.near is None else ()
