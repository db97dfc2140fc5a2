"""A camera's frames drive a portrait one by one: no frame waits for a later one, none is needed twice.

Frames come and go as JPEG, as a browser sends and shows them. The newest one counts: one frame is being drawn, one
waits, and a newer one takes the place of the one that waits.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from PIL import Image

from animate import pose
from animate.compositing import flatten
from animate.faces_crop import Roi
from animate.faces_tracking import MeshTracker
from animate.measures import gaze_of
from animate.motion import Motion
from animate.still import Still

MOST_SIDE = 1280  # px of a camera frame
END_WAIT = 10.0  # seconds for the frame that is being drawn when a session ends
LOST_AFTER = 3  # frames without a face after which the whole picture is searched again, every so many frames


class LiveFace:
    """Follows one face from frame to frame. Frames are (H, W, 3) uint8 RGB."""

    def __init__(self, tracker: MeshTracker):
        self.tracker = tracker
        self._last: np.ndarray | None = None
        self._missed = 0

    def find(self, frame: np.ndarray) -> np.ndarray | None:
        """Landmarks (478, 3) px of the face, None where the frame shows none."""
        points = None if self._last is None else self._near(frame)
        if points is None and self._missed % LOST_AFTER == 0:
            faces = self.tracker.detect(frame)
            points = faces[0].landmarks if faces else None
        self._missed = 0 if points is not None else self._missed + 1
        self._last = points
        return points

    def _near(self, frame: np.ndarray) -> np.ndarray | None:
        roi = Roi.from_landmarks(self._last)
        sighting = self.tracker.mesh(frame, roi)
        if sighting is None or not sighting.is_face:
            return None
        found = Roi.from_landmarks(sighting.landmarks)
        return sighting.landmarks if 0.6 < found.side / roi.side < 1.6 else None


class LivePuppet:
    """A portrait that does what the face before the camera does.

    The first face seen is taken for neutral; `rest` takes the next one instead.
    """

    def __init__(self, still: Still, tracker: MeshTracker):
        self.still = still
        self.face = LiveFace(tracker)
        self._neutral: tuple[np.ndarray, np.ndarray, np.ndarray, float, float] | None = None

    def rest(self) -> None:
        """The next face is the neutral one."""
        self._neutral = None

    def draw(self, frame: np.ndarray, paint: bool = True) -> np.ndarray | None:
        """The portrait (H, W, 3|4) uint8 for one camera frame; None where it shows no face."""
        points = self.face.find(frame)
        return None if points is None else self.still.draw(self._motion(points), paint=paint)

    def _motion(self, points: np.ndarray) -> Motion:
        where, shapes = pose.decompose(points)
        if self._neutral is None:
            size = float(pose.inter_ocular(shapes[0]))
            unit = float(where.scale[0]) * size
            self._neutral = (
                shapes[0] / size,
                where.rotation[0],
                where.translation[0] / unit,
                float(where.scale[0]),
                size,
            )
        neutral, rotation, translation, scale, size = self._neutral
        shapes /= size  # the one size of the neutral face, as in `Motion.from_track`
        return Motion(
            fps=Fraction(25),
            rotation=where.rotation,
            translation=where.translation / (scale * size),
            scale=np.asarray(where.scale) / scale,
            expression=shapes - neutral,
            gaze=gaze_of(shapes),
            valid=np.ones(1, bool),
            neutral=neutral,
            neutral_rotation=rotation,
            neutral_translation=translation,
            source="a camera",
        )


class Newest:
    """One frame is worked on, one may wait; a newer one takes the place of the one that waits.

    work: turns one frame into its answer, in a thread of its own.
    ended: called in that thread after the last answer.
    """

    def __init__(self, work: Callable[[Any], Any], ended: Callable[[], None] = lambda: None):
        self._work, self._ended = work, ended
        self._waiting: tuple[Any, Future] | None = None
        self._ready = threading.Condition()
        self._closed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, item: Any) -> Future:
        """A future of the answer; None as its result where a newer frame came first."""
        future: Future = Future()
        with self._ready:
            if self._waiting is not None:
                self.dropped += 1
            self._give_way()
            self._waiting = (item, future)
            if self._closed:
                self._give_way()
            self._ready.notify()
        return future

    def close(self) -> None:
        """Nothing more is taken; what is being worked on is answered still."""
        with self._ready:
            self._closed = True
            self._give_way()
            self._ready.notify()

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended, after at most `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _give_way(self) -> None:
        """The item that waits is answered with None; a future that its owner has cancelled stays so."""
        if self._waiting is not None and self._waiting[1].set_running_or_notify_cancel():
            self._waiting[1].set_result(None)
        self._waiting = None

    def _run(self) -> None:
        try:
            self._answer_until_closed()
        finally:
            self._ended()

    def _answer_until_closed(self) -> None:
        while True:
            with self._ready:
                while self._waiting is None and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                (item, future), self._waiting = self._waiting, None
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._work(item))
            except Exception as error:  # told to whoever asks for the answer
                future.set_exception(error)


@dataclass
class LiveSession:
    """One user's camera and portrait.

    Attributes:
        paint: False leaves the network out.
        seen: when the last frame came (`time.monotonic`).
    """

    puppet: LivePuppet
    paint: bool
    seen: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.queue = Newest(self._draw, ended=self.puppet.face.tracker.close)

    def put(self, data: bytes) -> Future:
        """A JPEG of the camera; a future of (JPEG, seconds that it took), b"" where no face is seen, or of None where a
        newer frame came first."""
        self.seen = time.monotonic()
        return self.queue.put(data)

    def close(self, wait: float = END_WAIT) -> None:
        """Ends the thread and the tracker as soon as the frame that is being drawn is answered; waits for that at most
        `wait` seconds. A process that ends meanwhile is aborted by MediaPipe's own threads: wait before its end."""
        self.queue.close()
        self.queue.join(wait)

    @property
    def ended(self) -> bool:
        """Nothing is drawn any more, and the tracker is closed."""
        return self.queue.join(0)

    def _draw(self, data: bytes) -> tuple[bytes, float]:
        began = time.perf_counter()
        frame = read_jpeg(data)
        image = None if frame is None else self.puppet.draw(frame, self.paint)
        answer = b"" if image is None else write_jpeg(image)
        return answer, time.perf_counter() - began


def read_jpeg(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of a camera frame at most `MOST_SIDE` px on a side; None where it is none.

    A larger one is told by its header and never unpacked.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as header:
            if max(header.size) > MOST_SIDE:
                return None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.ascontiguousarray(image[..., ::-1])


def write_jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    """A picture (H, W, 3|4) uint8 as JPEG, transparency on white."""
    colour = np.ascontiguousarray(flatten(image)[..., ::-1])
    return cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
