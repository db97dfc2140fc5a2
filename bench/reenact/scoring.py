"""The self-reenactment protocol: a clip's first face is the portrait, the clip drives it and is the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from animate import pose
from animate.errors import FaceError
from animate.faces import Face, FaceTrack
from animate.motion import Motion
from animate.portrait import Portrait
from bench.clips import Clip
from bench.contact_sheet import SheetCollector
from bench.metrics import Reference, Sample, create_metrics
from bench.metrics.base import MOUTH_OPEN_BY
from bench.metrics.opening import mouth_opening
from bench.metrics.regions import face_regions
from bench.redetect import Redetector

METHODS = ("still", "warp", "prior", "mini")
TRUTH = "truth"

System = Callable[[Portrait, Motion], Iterator[np.ndarray]]
"""A system under test: a portrait and the clip's own motion of T frames in, to be followed in absolute mode;
T frames of the portrait's size out."""


@dataclass(frozen=True)
class Truth:
    """A clip as every method is measured against it; tracked and re-detected once.

    Attributes:
        clip: the video.
        start: number of the portrait's frame, the first one with a face; frames before it are not used.
        track: the face of the frames from ``start`` on.
        portrait: that frame and its face.
        reference: the portrait with its re-detected landmarks.
        mouth_open: (T,) bool, frames whose mouth is open by 0.06 more than the portrait's.
        redetected: landmarks re-detected on the truth, one entry a frame; None between two steps of the
            stride.
        stride: every how many frames landmarks are re-detected.
    """

    clip: Clip
    start: int
    track: FaceTrack
    portrait: Portrait
    reference: Reference
    mouth_open: np.ndarray
    redetected: list[np.ndarray | None]
    stride: int

    def frames(self) -> Iterator[np.ndarray]:
        """The clip's frames from the portrait's on, (H, W, 3) uint8 RGB."""
        return islice(self.clip.frames(), self.start, None)


@dataclass
class Score:
    """One method on one clip.

    Attributes:
        values: metric -> value; None where the clip has no frame fit to measure.
        frames: frames measured.
        lost: frames on which no face could be re-detected although the truth shows one.
        seconds: time spent inside the system.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    frames: int = 0
    lost: int = 0
    seconds: float = 0.0


def prepare(clip: Clip, redetector: Redetector, stride: int = 1) -> Truth:
    """Track a clip and re-detect its landmarks.

    Raises:
        FaceError: no frame shows a face, or only one does.
        MediaError: the file cannot be read.
    """
    track = redetector.tracker.track(clip.frames(), clip.fps, max_faces=1, name=clip.name)[0]
    start = int(np.flatnonzero(track.valid)[0])
    if track.valid[start:].sum() < 2:
        raise FaceError(f"Only one frame of {clip.name} shows a face: a clip to measure on needs several.")
    track = FaceTrack(track.landmarks[start:], track.valid[start:], track.fps, track.size, track.track_id)
    redetected: list[np.ndarray | None] = []
    for t, frame in enumerate(islice(clip.frames(), start, None)):
        wanted = t % stride == 0 and track.valid[t]
        redetected.append(redetector(frame, track.landmarks[t]) if wanted else None)
        if t == 0:
            portrait = Portrait(image=frame, faces=[portrait_face(frame, track, redetector)], name=clip.name)
            reference = Reference(frame, redetected[0])
    openings = mouth_opening(track.landmarks)
    return Truth(clip, start, track, portrait, reference, openings - openings[0] > MOUTH_OPEN_BY, redetected, stride)


def score(
    truth: Truth,
    outputs: Iterable[np.ndarray],
    redetector: Redetector,
    name: str,
    sheet: SheetCollector | None = None,
) -> Score:
    """Measure a system's frames against the truth. The portrait's own frame and bridged frames do not count.

    Args:
        truth: the clip.
        outputs: as many frames as the truth has, (H, W, 3 or 4) uint8 RGB(A) of its size.
        redetector: the detector that ``truth`` was prepared with.
        name: the system's name; ``"truth"`` takes the truth's own landmarks in place of detecting them
            once more.
        sheet: where contact-sheet pictures are collected.

    Raises:
        ValueError: another number of frames or another size.
    """
    metrics = create_metrics(truth.reference)
    result = Score()
    outputs = iter(outputs)
    for t, expected in enumerate(truth.frames()):
        began = time.perf_counter()
        output = next(outputs, None)
        result.seconds += time.perf_counter() - began
        if output is None:
            raise ValueError(f"{name} gave {t} frames for {truth.clip.name}, which has {len(truth.track)}")
        if output.shape[:2] != expected.shape[:2]:
            raise ValueError(f"{name} gave frames of {output.shape[:2]}, not {expected.shape[:2]}")
        landmarks = truth.track.landmarks[t]
        if sheet is not None:
            sheet.add(name, t, output, expected, landmarks)
        if t == 0 or not truth.track.valid[t]:
            continue
        on_truth = truth.redetected[t]
        on_output = None
        if on_truth is not None:
            on_output = on_truth if name == TRUTH else redetector(output, landmarks)
            result.lost += on_output is None
        sample = Sample(
            index=t,
            output=output,
            truth=expected,
            regions=face_regions(landmarks, truth.track.size, float(pose.inter_ocular(landmarks))),
            mouth_open=bool(truth.mouth_open[t]),
            output_landmarks=on_output,
            truth_landmarks=on_truth,
            redetected=t % truth.stride == 0,
        )
        for metric in metrics:
            metric.update(sample)
        result.frames += 1
    if next(outputs, None) is not None:
        raise ValueError(f"{name} gave more than the {len(truth.track)} frames of {truth.clip.name}")
    result.values = {metric.name: metric.value() for metric in metrics}
    return result


def load_system(method: str, seed: int = 0, steps: int | None = None) -> System:
    """One of ``METHODS``, or a model folder, as a system under test.

    Raises:
        WeightsError: the model's weights are not there.
    """
    if method == "still":
        # The floor needs no model: the portrait, unmoved.
        return lambda portrait, motion: (portrait.image for _ in range(len(motion)))
    from animate.animator import PortraitAnimator

    options = {"method": method} if method in METHODS else {"name_or_folder": method}
    animator = PortraitAnimator.from_pretrained(**options, seed=seed, steps=steps)
    return lambda portrait, motion: animator.animate(portrait, motion, mode="absolute")


def portrait_face(frame: np.ndarray, track: FaceTrack, redetector: Redetector) -> Face:
    """The portrait's face as a user's portrait would be read: detected in the picture alone, nearest to
    the track's."""
    tracked = track.landmarks[0]
    faces = redetector.tracker.detect(frame)
    middle = tracked[:, :2].mean(0)
    distances = [np.linalg.norm(face.landmarks[:, :2].mean(0) - middle) for face in faces]
    if faces and min(distances) < pose.inter_ocular(tracked):
        return faces[int(np.argmin(distances))]
    box = np.concatenate([tracked[:, :2].min(0), tracked[:, :2].max(0)]).astype(np.float32)
    return Face(box=box, landmarks=tracked, score=1.0, track_id=0)
