"""Dubber: another speech for the person in a video.

    dubber = Dubber(PortraitAnimator.from_pretrained("mini"))
    clip = Clip.open("clip.mp4")
    for frame in dubber.dub(clip, talker.motions("speech.wav", clip.fps)):
        ...

Head, eyes, brows and background stay the video's. Of each frame the lower face is warped to the speech's shape
(`talking_face.blending`), the lips are drawn from calm frames of the same shot (`talking_face.mouths`), the network
paints what is between them, and the result is laid over the frame under a mask that follows the face's outline
(`talking_face.outline`). Beyond the mask every pixel is the video's own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, groupby, islice, tee
from pathlib import Path

import numpy as np

from animate import pose
from animate.animator import CHUNK, CHUNK_PIXELS, WORKERS, PortraitAnimator
from animate.errors import OptionError
from animate.faces import Face, FaceTrack, FaceTracker
from animate.media import VideoReader
from animate.motion import Motion
from animate.portrait import Portrait
from animate.retarget import Retargeter
from animate.warp import PortraitWarp
from talking_face.blending import blend
from talking_face.following import FollowedFace, follow
from talking_face.mouths import draw_warped
from talking_face.outline import colour_change, face_box, face_mask, lips_mask
from talking_face.playback import DubOptions, forth_and_back, stretch
from talking_face.shots import Shot, study

BLOCK = 16  # frames whose landmarks are worked out together
BLOCK_PIXELS = 32_000_000  # fewer of them where the frames are so large that they need the memory
#: Seconds in which the mouth comes to rest, or back to its own, when the sound ends before the picture.
SETTLE = 0.3
#: Seconds in which the eyes of a held frame wake up.
WAKE = 0.5
#: Shots that are remembered: a picture that plays backwards comes back to them.
KEPT_SHOTS = 4
_STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass
class Clip:
    """A video and the person in it who is dubbed.

    reader: of the whole video. face: what `follow` found in it.
    """

    reader: VideoReader
    face: FollowedFace

    @classmethod
    def open(
        cls,
        path: str | Path,
        tracker: FaceTracker | None = None,
        choose: Callable[[list[FaceTrack]], FaceTrack] | None = None,
    ) -> Clip:
        """Reads a video through once and follows a face in it (`following.follow`).

        Raises MediaError for what is no video, FaceError where no frame shows a face.
        """
        from animate.faces import create_tracker

        reader = VideoReader(path)
        with create_tracker() if tracker is None else nullcontext(tracker) as eyes:
            return cls(reader, follow(eyes, reader, reader.fps, path, choose))

    @property
    def fps(self):
        """Frames a second, a Fraction, of the video and of what is made of it."""
        return self.reader.fps

    def __len__(self) -> int:
        return len(self.face)

    def pictures(self, options: DubOptions) -> Iterator[np.ndarray]:
        """The video's own frames in the order in which they are dubbed."""
        if options.longer != "loop":
            return iter(self.reader)
        return (frame for _, frame in forth_and_back(self.reader, len(self)))

    @property
    def missing(self) -> list[int]:
        """Frames without the face: they stay as they are."""
        return np.flatnonzero(~self.face.valid).tolist()


@dataclass
class _Job:
    """A frame to draw. own, new: its landmarks and those it gets, (478, 3) px; angles: the head's; level: how far."""

    picture: np.ndarray
    own: np.ndarray | None = None
    new: np.ndarray | None = None
    angles: np.ndarray | None = None
    level: float = 0.0
    shot: Shot | None = None


class Dubber:
    """Draws a speech's mouth into a video.

    animator: gives the network (none with its method "prior"), the threads, and `timings`. Raises OptionError for a
        model that draws whole pictures.
    """

    def __init__(self, animator: PortraitAnimator):
        if not animator.paints_regions:
            raise OptionError("Dubbing paints the mouth into a video, for which this model is not made: choose mini.")
        self.animator = animator

    def dub(
        self,
        clip: Clip,
        motions: Iterable[Motion],
        options: DubOptions | None = None,
        strengths: Mapping[str, float] | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB at the video's size, `options.frames(len(clip), spoken)` of them.

        motions: consecutive stretches of a speech's motion at the clip's frame rate. strengths: see `animate.retarget`.
        Memory does not grow with the length of either.
        """
        jobs = _Steps(self, clip, options or DubOptions(), strengths).jobs(motions)
        count = max(1, min(CHUNK, CHUNK_PIXELS // (clip.reader.width * clip.reader.height)))
        chunks = iter(lambda: list(islice(jobs, count)), [])
        for frames in self.animator.side_by_side(self._draw, chunks):
            yield from frames

    @property
    def timings(self) -> dict[str, float]:
        """Seconds that each stage took, shared out over the threads that work side by side."""
        return self.animator.timings

    def _draw(self, jobs: list[_Job]) -> list[np.ndarray]:
        faces = [_Face(job) for job in jobs if job.level > 0]
        with self.animator.timed("warp", WORKERS):
            for face in faces:
                face.warp()
        if self.animator.painter is not None:
            with self.animator.timed("network", WORKERS):
                for shot, same in groupby(faces, lambda face: face.job.shot):
                    same = list(same)
                    shot.paint(self.animator.painter, [face.picture for face in same], [face.new for face in same])
        with self.animator.timed("paste", WORKERS):
            for face in faces:
                face.paste()
        return [job.picture for job in jobs]


class _Face:
    """The lower face of one frame while it is drawn, in a crop of the frame's own pixels."""

    def __init__(self, job: _Job):
        height, width = job.picture.shape[:2]
        x0, y0, x1, y1 = face_box((job.own, job.new), (width, height))
        self.job, self.place = job, np.s_[y0:y1, x0:x1]
        corner = np.array([x0, y0, 0], np.float32)
        self.own, self.new = job.own - corner, job.new - corner
        self.picture = np.ascontiguousarray(job.picture[self.place])
        self.shape = self.picture.shape[:2]
        self.mask: np.ndarray | None = None

    def warp(self) -> None:
        """The frame's own face with the speech's shape, and on it the lips of the shot's calm frames."""
        own = PortraitWarp(self.picture, self.own)
        below = draw_warped(own, self.new, _STILL, self.shape).astype(np.float32)
        above = self.job.shot.mouths.draw(self.new, self.shape, self.job.angles)
        self.mask = face_mask(self.own, self.new, self.shape)
        lips, skin = lips_mask(self.new, self.shape)
        above += colour_change(below, above, skin & (self.mask > 0.95), own.iod)
        below += lips[..., None] * (above - below)
        self.picture = np.clip(np.rint(below), 0, 255).astype(np.uint8)

    def paste(self) -> None:
        """The drawn face over the frame, in place; where the mask is 0 not a bit changes."""
        view = self.job.picture[self.place]
        share = (self.job.level * self.mask)[..., None]
        view[:] = np.rint(view + share * (self.picture.astype(np.float32) - view)).astype(np.uint8)


class _Steps:
    """The order of things: which picture, which moment of the speech, frame by frame."""

    def __init__(self, dubber: Dubber, clip: Clip, options: DubOptions, strengths: Mapping[str, float] | None):
        self.dubber, self.clip, self.options, self.strengths = dubber, clip, options, strengths
        self.face = clip.face
        self.block = max(1, min(BLOCK, BLOCK_PIXELS // (clip.reader.width * clip.reader.height)))
        self._starts = np.array([first for first, _ in self.face.shots])
        self._shots: OrderedDict[int, Shot] = OrderedDict()

    def jobs(self, motions: Iterable[Motion]) -> Iterator[_Job]:
        count = len(self.clip)
        if self.options.longer == "loop":
            pictures = forth_and_back(self.clip.reader, count)
        else:
            pictures = zip(range(count), self.clip.reader, strict=False)
        blocks = (m.take(slice(i, i + self.block)) for m in motions for i in range(0, len(m), self.block))
        shown, motion = 0, None
        for motion in blocks:
            places = list(islice(pictures, len(motion)))
            shown += len(places)
            if places:
                yield from self._spoken(places, motion.take(slice(0, len(places))))
            if len(places) < len(motion):
                if self.options.longer == "hold":
                    yield from self._held(chain([motion.take(slice(len(places), None))], blocks))
                return
        if motion is not None and self.options.shorter != "trim":
            yield from self._after(islice(pictures, max(0, count - shown)), motion.take(slice(-1, None)))

    def _after(self, pictures: Iterator, last: Motion) -> Iterator[_Job]:
        """The picture goes on without sound."""
        seconds = 0.0
        while places := list(islice(pictures, self.block)):
            times = seconds + np.arange(1, len(places) + 1) / float(self.clip.fps)
            ease = 0.5 + 0.5 * np.cos(np.pi * np.clip(times / SETTLE, 0, 1))
            motion = last.take(np.zeros(len(places), int))
            if self.options.shorter == "keep":
                yield from self._spoken(places, motion, level=ease)
            else:
                yield from self._spoken(places, motion, strength=ease)
            seconds = times[-1]

    def _spoken(
        self,
        places: list[tuple[int, np.ndarray]],
        motion: Motion,
        strength: np.ndarray | float = 1.0,
        level: np.ndarray | float = 1.0,
        own: np.ndarray | None = None,
    ) -> Iterator[_Job]:
        """Jobs for pictures (index, frame) with a motion of as many frames.

        own: the pictures' landmarks (n, 478, 3) px where they are not the track's.
        """
        frames = np.array([index for index, _ in places])
        levels = self.face.level[frames] * level
        strength = np.broadcast_to(strength, len(frames))
        numbers = np.where(levels > 0, np.searchsorted(self._starts, frames, "right") - 1, -1)
        out = [_Job(picture) for _, picture in places]
        for number in np.unique(numbers[numbers >= 0]):
            part = np.flatnonzero(numbers == number)
            shot, chosen = self._shot(int(number)), frames[part]
            rest = shot.rest.at(self.face.rotation[chosen], self.face.corners[chosen])
            offsets = shot.rest.speech(motion.take(part), self.strengths) * strength[part, None, None]
            head = pose.Pose(self.face.rotation[chosen], self.face.translation[chosen], self.face.scale[chosen])
            before = self.face.landmarks[chosen] if own is None else own[part]
            after = blend(before, pose.compose(rest + offsets, head), levels[part]).astype(np.float32)
            angles = pose.head_angles(head.rotation)
            for i, *rest_of_job in zip(part, before, after, angles, levels[part], strict=True):
                out[i] = _Job(places[i][1], *rest_of_job, shot)
        yield from out

    def _held(self, motions: Iterable[Motion]) -> Iterator[_Job]:
        """The last picture, whose eyes and brows move as the speaker's while the mouth goes on."""
        index = len(self.clip) - 1
        with stretch(self.clip.reader, index, index + 1) as reader:
            picture = list(reader)[-1]
        if not self.face.valid[index]:
            for motion in motions:
                yield from (_Job(picture.copy()) for _ in range(len(motion)))
            return
        own = self.face.landmarks[index]
        moments, again = tee((motion, i) for motion in motions for i in range(len(motion)))
        targets, kept = tee(self._awake(own, moments))
        face = Face(np.concatenate([own[:, :2].min(0), own[:, :2].max(0)]), own, 1.0)
        pictures = self.dubber.animator.render(Portrait(picture, [face]), targets, own)
        for picture, target, (motion, i) in zip(pictures, kept, again, strict=False):
            yield from self._spoken([(index, picture)], motion.take([i]), own=target[None])

    def _awake(self, own: np.ndarray, moments: Iterable[tuple[Motion, int]]) -> Iterator[np.ndarray]:
        """The held frame's landmarks with the speaker's eyes and brows, which come in over `WAKE` seconds."""
        for n, (motion, i) in enumerate(moments):
            moved = Retargeter(own, motion, regions=("eyes",))(slice(i, i + 1))[0]
            ease = 0.5 - 0.5 * np.cos(np.pi * min(1.0, n / (WAKE * float(self.clip.fps))))
            yield (own + ease * (moved - own)).astype(np.float32)

    def _shot(self, number: int) -> Shot:
        if number not in self._shots:
            with self.dubber.animator.timed("prepare"):
                self._shots[number] = study(self.clip.reader, self.face, number)
            while len(self._shots) > KEPT_SHOTS:
                self._shots.popitem(last=False)
        self._shots.move_to_end(number)
        return self._shots[number]
