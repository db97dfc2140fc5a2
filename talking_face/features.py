"""What the speech model hears: log-mel, loudness, onsets, pitch and voicing, as local functions of time.

A row depends only on the sound from PAST seconds before to LOOK_AHEAD seconds after its centre, so a file read whole,
in pieces or from a microphone gives the same rows. All but pitch and voicing are equal to rounding; these two are
decoded over groups of rows and may differ a little where the groups do.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np

from animate.errors import OptionError
from talking_face.audio import SAMPLE_RATE
from talking_face.curves import RATE, frame_places
from talking_face.pitch import FUTURE, PAST_SAMPLES, pitch_rows

HOP = SAMPLE_RATE // RATE  # samples a row
MELS = 40
FEATURES = 2 * MELS + 5
ENERGY, ONSET, PITCH, VOICING, LEVEL = range(2 * MELS, FEATURES)  # columns after the mel ones

# The finer grid that mel rows and loudness lie on: two rows a feature row.
_FINE = HOP // 2
_WINDOW = 400
_FFT = 512
_FLOOR = 1e-10
_SILENCE_DB = -100.0
_SPAN_BEFORE, _SPAN_AFTER = 400, 10  # fine rows that the running level looks at: 4 s before to 0.1 s after
_MEAN = 5  # fine rows
_LOWEST_LEVEL = -55.0
_LOUD_DB = -50.0

_LOOK_AHEAD_SAMPLES = max(_SPAN_AFTER * _FINE + _WINDOW // 2, FUTURE)
#: Seconds of sound after a row's centre that the row needs.
LOOK_AHEAD = _LOOK_AHEAD_SAMPLES / SAMPLE_RATE
#: Seconds of sound before a row's centre that the row needs.
PAST = (_SPAN_BEFORE * _FINE + _WINDOW // 2) / SAMPLE_RATE
#: Rows that pitch is decoded over together, in a file and in a live stream.
FILE_GROUP, LIVE_GROUP = 10 * RATE, RATE // 10

_KEPT = max(PAST_SAMPLES, _FINE + _FFT // 2)  # samples before a row's centre that the stream keeps


def audio_features(audio: np.ndarray) -> np.ndarray:
    """Features of a whole sound.

    Args:
        audio: (N,) float32 at SAMPLE_RATE, nominal [-1, 1].

    Returns:
        (max(1, ceil(N / HOP)), FEATURES) float32; row k is centred at k / RATE seconds. Columns: 40 mel bands at the
        centre and 40 at 10 ms after it, dB over the running speech level as (dB + 10) / 20 in [-4, 2]; energy over
        that level / 20 dB in [-3, 1]; onset strength in [0, 3]; log2(F0 / 200 Hz) or 0; voicing in [0, 1]; the level
        itself as (dBFS + 25) / 20, never under -1.5. Levels follow the last four seconds, so that the gain of a
        recording hardly matters.

    Raises:
        OptionError: not a one-dimensional array.
    """
    stream = FeatureStream(FILE_GROUP)
    return np.concatenate([stream.push(audio), stream.finish()])


class FeatureStream:
    """The rows of `audio_features`, as soon as they are final.

    Args:
        group: rows that are handed out, and their pitch decoded, together. What comes out does not depend on how the
            samples were cut into pushes, only on `group`.
    """

    def __init__(self, group: int = LIVE_GROUP) -> None:
        self.group = group
        self.rows = 0  # handed out so far
        self._samples = 0  # pushed so far
        self._sound = np.zeros(_KEPT, np.float32)
        self._start = -_KEPT  # absolute index of the first sample kept
        self._loudness = np.full(_SPAN_BEFORE, _SILENCE_DB)  # fine rows up to the last one known
        self._loudness_end = 0
        self._last_mel: np.ndarray | None = None

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take (N,) more samples; returns the (n, FEATURES) float32 rows that are now final, n may be 0."""
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 1:
            raise OptionError(f"the sound has the shape {samples.shape}: give one channel, (N,).")
        done = [np.zeros((0, FEATURES), np.float32)]
        step = self.group * HOP
        for first in range(0, len(samples), step):
            piece = samples[first : first + step]
            self._samples += len(piece)
            self._sound = np.concatenate([self._sound, piece])
            while (self.rows + self.group - 1) * HOP + _LOOK_AHEAD_SAMPLES <= self._samples:
                done.append(self._next(self.group))
        return np.concatenate(done)

    def finish(self) -> np.ndarray:
        """The rows that are left when the sound ends, (n, FEATURES); zeros follow the sound."""
        total = max(1, -(-self._samples // HOP))
        self._sound = np.concatenate([self._sound, np.zeros(HOP + _LOOK_AHEAD_SAMPLES, np.float32)])
        done = [np.zeros((0, FEATURES), np.float32)]
        while self.rows < total:
            done.append(self._next(min(self.group, total - self.rows)))
        return np.concatenate(done)

    def _next(self, count: int) -> np.ndarray:
        """The next `count` rows; forgets the sound that later rows do not need."""
        first = self.rows
        loudness = self._next_loudness(first, count)  # fine rows 2 first - _SPAN_BEFORE to 2 (first + count) + 8
        level = running_level(loudness)  # (count,)
        own = loudness[_SPAN_BEFORE : _SPAN_BEFORE + 2 * count].reshape(count, 2)
        mel = mel_decibels(self._cut(2 * first * _FINE - _FFT // 2, (2 * count - 1) * _FINE + _FFT))  # (2 count, MELS)
        rows = np.zeros((count, FEATURES), np.float32)
        relative = (mel.reshape(count, 2 * MELS) - level[:, None] + 10) / 20
        rows[:, : 2 * MELS] = relative.clip(-4, 2)
        rows[:, ENERGY] = ((own.mean(1) - level) / 20).clip(-3, 1)
        rows[:, ONSET] = (self._onsets(mel) / 10).clip(0, 3).reshape(count, 2).max(1)
        if loudness[_SPAN_BEFORE - PAST_SAMPLES // _FINE :].max() > _LOUD_DB:
            begin, length = first * HOP - PAST_SAMPLES, (count - 1) * HOP + PAST_SAMPLES + FUTURE
            rows[:, PITCH], rows[:, VOICING] = pitch_rows(self._cut(begin, length))
        rows[:, LEVEL] = (level + 25) / 20
        self._forget(first + count)
        return rows

    def _next_loudness(self, first: int, count: int) -> np.ndarray:
        end = 2 * (first + count - 1) + _SPAN_AFTER + 1
        if end > self._loudness_end:
            begin = self._loudness_end * _FINE - _WINDOW // 2
            fresh = loudness_decibels(self._cut(begin, (end - 1 - self._loudness_end) * _FINE + _WINDOW))
            self._loudness = np.concatenate([self._loudness, fresh])
            self._loudness_end = end
        return self._loudness

    def _onsets(self, mel: np.ndarray) -> np.ndarray:
        """Onset strength of each fine row, (2 count,): nothing at the very first."""
        import librosa

        before = mel[:1] if self._last_mel is None else self._last_mel
        self._last_mel = mel[-1:]
        decibels = np.concatenate([before, mel]).T
        return librosa.onset.onset_strength(S=decibels, sr=SAMPLE_RATE, lag=1, max_size=1, center=False)[1:]

    def _cut(self, begin: int, length: int) -> np.ndarray:
        return self._sound[begin - self._start : begin - self._start + length]

    def _forget(self, rows: int) -> None:
        self.rows = rows
        keep = rows * HOP - _KEPT
        self._sound = self._sound[keep - self._start :].copy()
        self._start = keep
        self._loudness = self._loudness[2 * rows - _SPAN_BEFORE - (self._loudness_end - len(self._loudness)) :]


@functools.cache
def _mel_bank() -> np.ndarray:
    import librosa

    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=_FFT, n_mels=MELS, fmin=50, fmax=7600)


def mel_decibels(sound: np.ndarray) -> np.ndarray:
    """(n, MELS) float32, 10 log10 of the mel power every 10 ms; the first row is centred 256 samples into `sound`."""
    import librosa

    spectrum = librosa.stft(sound, n_fft=_FFT, win_length=_WINDOW, hop_length=_FINE, center=False)
    power = _mel_bank() @ (spectrum.real**2 + spectrum.imag**2)
    return 10 * np.log10(np.maximum(power.T, _FLOOR))


def loudness_decibels(sound: np.ndarray) -> np.ndarray:
    """(n,) float64, dBFS of 25 ms every 10 ms; the first window begins with `sound`."""
    # sums of 40 samples, the greatest common divisor of window and step
    parts = np.square(sound[: len(sound) // 40 * 40], dtype=np.float64).reshape(-1, 40).sum(1)
    windows = np.lib.stride_tricks.sliding_window_view(parts, _WINDOW // 40)[:: _FINE // 40]
    return 10 * np.log10(windows.sum(1) / _WINDOW + _FLOOR)


def running_level(loudness: np.ndarray) -> np.ndarray:
    """The level of the speech, (n,) dBFS at every second fine row: the loudest 50 ms from 4 s before to 0.1 s after.

    Args:
        loudness: (_SPAN_BEFORE + 2 (n - 1) + _SPAN_AFTER + 1,) dBFS at the fine rows.
    """
    view = np.lib.stride_tricks.sliding_window_view
    means = view(loudness, _MEAN).mean(1)
    return np.maximum(view(means, _SPAN_BEFORE + _SPAN_AFTER + 2 - _MEAN)[::2].max(1), _LOWEST_LEVEL)


def align(features: np.ndarray, fps: Fraction, count: int, rate: int = RATE) -> np.ndarray:
    """Rows at exactly n / fps seconds, for n from 0 to count - 1: interpolated between neighbours, edges held.

    Args:
        features: (n, C) at `rate` rows a second.

    Returns:
        (count, C) of the same type.

    Raises:
        OptionError: no rows, or an impossible rate.
    """
    fps = Fraction(fps)
    if fps <= 0 or rate <= 0 or not len(features):
        raise OptionError(f"{len(features)} rows at {rate} a second cannot be laid on {fps} frames a second.")
    whole, share = frame_places(fps, 0, count, rate)
    last = len(features) - 1
    share = np.where(whole < last, share, 0).astype(features.dtype)[:, None]
    left = np.minimum(whole, last)
    return features[left] * (1 - share) + features[np.minimum(left + 1, last)] * share
