"""Offline sync of a video with its sound, without a network: the mouth's opening against loudness and phones.

What phones ask of a mouth is taken from a textbook table (`talking_face.visemes.SHAPES`, openings in the order of
phonetics) and not from one that was fitted to people; our talker was first taught by a fitted one, which is kin to it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from animate.motion import Motion
from bench.metrics.base import Metric, Reference, Sample
from bench.metrics.closures_met import apart, share_met
from bench.metrics.opening import LEAST_FRAMES, correlation
from bench.metrics.speech import MouthCurves, SpeechTruth, aligner_missing
from bench.metrics.speech_correlation import STILL
from bench.metrics.tracks import MESH, track_of
from talking_face.features import SAMPLE_RATE
from talking_face.phones import Phone

REACH = 0.3
"""Seconds by which the mouth is shifted at most when its lag is looked for."""

SMOOTH = 0.12
"""Seconds over which loudness is averaged: lips do not follow single pulses of the voice."""

DEPTH = 35.0
"""Decibels under the loudest moment below which all is silence: the hiss of a pause is no smaller mouth."""

LEAST_LOUDNESS = 1.0
"""Standard deviation in decibels below which nothing is said."""

LEAST_SECONDS = 4.0
"""Shorter clips have too few words to tell a lag: over 3 s, real speech had its peak up to 0.3 s away; from 4 s on
0.08 s (fifteen clips)."""

CLEAR = 0.35
"""Correlation at the best lag below which a mouth says something else, so that there is no lag to tell."""


def loudness_curve(sound: np.ndarray, fps: Fraction, count: int) -> np.ndarray:
    """(count,) loudness of a 16 kHz sound, 0.12 s round each frame's time, in decibels under the loudest frame, at
    least -35; all 0 for digital silence."""
    power = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    middle = np.arange(count) * SAMPLE_RATE / float(fps)
    half = SMOOTH * SAMPLE_RATE / 2
    first, last = (np.clip((middle + d).round().astype(int), 0, len(sound)) for d in (-half, half))
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    loudest = mean.max(initial=0)
    if loudest <= 1e-12:
        return np.zeros(count)
    return np.maximum(10 * np.log10(np.maximum(mean / loudest, 1e-12)), -DEPTH)


def sync(opening: np.ndarray, loudness: np.ndarray, seen: np.ndarray, fps: Fraction) -> tuple[float, float, float]:
    """How a mouth goes with a sound.

    Args:
        opening, loudness: (T,) curves at the same frames.
        seen: (T,) bool, frames that count.

    Returns:
        Correlation as it is; lag in milliseconds where the correlation is highest within 0.3 s, positive when the
        picture comes late; the correlation there. Of lags that are equally good the smallest.
    """
    reach = max(round(REACH * fps), 1)
    found: dict[int, float] = {}
    for lag in sorted(range(-reach, reach + 1), key=abs):
        frames = np.arange(max(0, -lag), min(len(opening), len(opening) - lag))
        frames = frames[seen[frames + lag]]
        enough = len(frames) >= LEAST_FRAMES
        found[lag] = correlation(opening[frames + lag], loudness[frames]) if enough else -1.0
    best = max(found, key=lambda lag: (round(found[lag], 9), -abs(lag)))
    return found[0], float(1000 * best / fps), found[best]


def phone_opening(phones: Sequence[Phone], fps: Fraction, count: int) -> np.ndarray:
    """(count,) opening in inter-ocular distances that a sound's phones ask for, by the textbook table."""
    from talking_face.curves import RATE
    from talking_face.visemes import VisemeModel

    rows = math.ceil(count * RATE / fps) + 1
    curves, _ = VisemeModel.prior(np.eye(3)).curves(phones, rows)
    return np.interp(np.arange(count) / float(fps), np.arange(rows) / RATE, curves[:, 0])


def _unshifted(figures: tuple[float, float, float] | None, mouth: MouthCurves, seen: np.ndarray) -> float | None:
    """The correlation as it is of `sync`'s figures; 0 for a mouth that stands still."""
    if figures is None:
        return None
    return 0.0 if mouth.opening[seen].std() < STILL else figures[0]


@dataclass
class _MouthOverTime(Metric):
    """Collects the output's mesh and hands its mouth's curves over at the end."""

    requires = frozenset({"sound"})
    needs = MESH
    takes_reference = True
    reads_face = True

    reference: Reference
    indices: list[int] = field(default_factory=list, init=False)
    meshes: list[np.ndarray] = field(default_factory=list, init=False)

    def update(self, sample: Sample) -> None:
        if sample.output_landmarks is not None:
            self.indices.append(sample.index)
            self.meshes.append(sample.output_landmarks)

    @abstractmethod
    def measure(self, mouth: MouthCurves, seen: np.ndarray) -> float | None:
        """The clip's value of the output's mouth; ``seen`` (T,) bool are frames that show it."""

    def value(self) -> float | None:
        if len(self.meshes) < LEAST_FRAMES or self.reference.sound is None:
            return None
        track = track_of(self.indices, self.meshes, self.reference.fps)
        return self.measure(MouthCurves.of_track(Motion.from_track(track)), track.valid)


class _Loudness(_MouthOverTime):
    unfit = "the sound's loudness hardly changes"

    def figures(self, mouth: MouthCurves, seen: np.ndarray) -> tuple[float, float, float] | None:
        """As `sync`; None where nothing is said."""
        loudness = loudness_curve(self.reference.sound, mouth.fps, len(mouth))
        return sync(mouth.opening, loudness, seen, mouth.fps) if loudness.std() >= LEAST_LOUDNESS else None


class SyncCorrelation(_Loudness):
    """Correlation of the re-detected mouth's opening with the sound's loudness; a mouth that stands still has 0.

    Real speech has about 0.2 to 0.6, for loudness is only half of what lips do: read it beside the row ``truth``.
    """

    name = "sync_corr"
    direction = "higher"
    unit = "[-1, 1]"
    source = "ours; Pearson correlation over time of opening and loudness"

    def measure(self, mouth: MouthCurves, seen: np.ndarray) -> float | None:
        return _unshifted(self.figures(mouth, seen), mouth, seen)


class _Phones(_MouthOverTime):
    needs = f"pocketsphinx (BSD-2-Clause, its English models are inside the wheel); {MESH}"
    unfit = "nothing is said"

    @classmethod
    def missing(cls) -> str | None:
        return aligner_missing()

    def figures(self, mouth: MouthCurves, seen: np.ndarray) -> tuple[float, float, float] | None:
        """As `sync`; None where nothing is said."""
        expected = phone_opening(self.reference.spoken, mouth.fps, len(mouth))
        return sync(mouth.opening, expected, seen, mouth.fps) if expected.std() >= STILL else None


class SyncPhones(_Phones):
    """Correlation of the re-detected mouth's opening with the opening that the sound's phones ask for.

    A mouth that stands still has 0. Real speech has about 0.3 to 0.8. Sounds of other languages are aligned by the
    nearest English phones.
    """

    name = "sync_phones"
    direction = "higher"
    unit = "[-1, 1]"
    source = "ours; Pearson correlation of opening and phones' openings, blended after Cohen and Massaro 1993"

    def measure(self, mouth: MouthCurves, seen: np.ndarray) -> float | None:
        return _unshifted(self.figures(mouth, seen), mouth, seen)


class SyncLag(_Phones):
    """Milliseconds by which the mouth comes after the sound, where it fits the phones best within 0.3 s.

    On real speech of 4 s and more within 80 ms, but for clips whose sound is late in the file. Shorter clips have
    none, and neither has a mouth that stands still or says something else.
    """

    name = "sync_lag"
    direction = "zero"
    unit = "ms, positive is late"
    source = "ours; argmax of the correlation of opening and of the phones' openings over lags of up to 0.3 s"
    unfit = f"less than {LEAST_SECONDS:g} s, or a mouth that stands still or says something else"

    def measure(self, mouth: MouthCurves, seen: np.ndarray) -> float | None:
        if len(mouth) / mouth.fps < LEAST_SECONDS or mouth.opening[seen].std() < STILL:
            return None
        figures = self.figures(mouth, seen)
        return None if figures is None or figures[2] < CLEAR else figures[1]


class SyncClosures(_Phones):
    """How much oftener the re-detected lips meet in the sound's m, b and p than in phones that are not beside one.

    A mouth that stays shut meets all of either and has 0, and so has one that never closes.
    """

    name = "sync_closures"
    direction = "higher"
    unit = "difference of shares in [-1, 1]"
    source = "ours, after Youden's index; phones by pocketsphinx's forced alignment, lips meet within a frame of them"
    unfit = "no m, b or p in it, or nothing else"

    def measure(self, mouth: MouthCurves, seen: np.ndarray) -> float | None:
        spoken = SpeechTruth(mouth, seen, self.reference.spoken)
        lips, others = share_met(spoken, mouth), share_met(spoken, mouth, phones=apart(self.reference.spoken))
        return None if lips is None or others is None else lips.value - others.value
