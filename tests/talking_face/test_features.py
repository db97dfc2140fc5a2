"""The sound's features: the definition that the network was trained on, locality, streaming, edges."""

from fractions import Fraction

import librosa
import numpy as np
import pytest

from animate.errors import OptionError
from talking_face import features as module
from talking_face.features import (
    ENERGY,
    FEATURES,
    FILE_GROUP,
    HOP,
    LEVEL,
    LIVE_GROUP,
    LOOK_AHEAD,
    MELS,
    ONSET,
    PAST,
    PITCH,
    RATE,
    SAMPLE_RATE,
    VOICING,
    FeatureStream,
    align,
    audio_features,
)

LOCAL = [*range(2 * MELS), ENERGY, ONSET, LEVEL]  # all but what is decoded over groups of rows


def syllables(seconds: float, seed: int = 0) -> np.ndarray:
    """Buzzes of changing pitch and timbre with pauses and hiss between them, (N,) float32."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(130 + 40 * np.sin(2 * np.pi * 0.4 * t + seed)) / SAMPLE_RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 20))
    gate = np.clip(np.sin(2 * np.pi * 1.7 * t) * 3, 0, 1) * (np.sin(2 * np.pi * 0.15 * t) > -0.7)
    return (0.1 * buzz * gate + rng.normal(0, 0.002, n)).astype(np.float32)


def pushed(sound: np.ndarray, size: int, group: int = LIVE_GROUP) -> np.ndarray:
    stream = FeatureStream(group)
    parts = [stream.push(sound[first : first + size]) for first in range(0, len(sound), size)]
    return np.concatenate([*parts, stream.finish()])


def test_columns_are_the_definition_computed_on_the_whole_sound():
    sound = syllables(11)
    rows = audio_features(sound)
    count = len(rows)
    power = librosa.feature.melspectrogram(
        y=np.pad(sound, (0, 512)), sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=40, fmin=50, fmax=7600
    )
    mel = 10 * np.log10(np.maximum(power, 1e-10)).T[: 2 * count]
    onset = librosa.onset.onset_strength(S=mel.T, sr=16000, lag=1, max_size=1, center=False)
    padded = np.pad(sound.astype(np.float64), (200, 4000))
    loud = np.array(
        [10 * np.log10(np.mean(padded[i : i + 400] ** 2) + 1e-10) for i in range(0, 160 * (2 * count + 10), 160)]
    )
    history = np.concatenate([np.full(400, -100.0), loud])
    level = np.array(
        [np.convolve(history[2 * k : 2 * k + 411], np.full(5, 0.2), "valid").max().clip(-55) for k in range(count)]
    )
    wanted = ((mel.reshape(count, 80) - level[:, None] + 10) / 20).clip(-4, 2)
    np.testing.assert_allclose(rows[:, :80], wanted, atol=1e-5)
    energy = loud[: 2 * count].reshape(count, 2).mean(1) - level
    np.testing.assert_allclose(rows[:, ENERGY], (energy / 20).clip(-3, 1), atol=1e-5)
    np.testing.assert_allclose(rows[:, ONSET], (onset / 10).clip(0, 3).reshape(count, 2).max(1), atol=1e-5)
    np.testing.assert_allclose(rows[:, LEVEL], (level + 25) / 20, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 160, 320, 321, 640, 16000])
def test_number_of_rows_is_the_ceiling(samples):
    rows = audio_features(syllables(1)[:samples])
    assert rows.shape == (-(-samples // HOP), FEATURES)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()


def test_no_samples_are_one_silent_row():
    np.testing.assert_array_equal(audio_features(np.zeros(0, np.float32)), audio_features(np.zeros(1, np.float32)))


@pytest.mark.parametrize(
    "sound", [np.zeros(32000, np.float32), np.full(32000, 1e-30, np.float32)], ids=["zero", "tiny"]
)
def test_silence_is_finite_and_unvoiced(sound):
    rows = audio_features(sound)
    assert np.isfinite(rows).all()
    assert not rows[:, [PITCH, VOICING, ONSET]].any()
    np.testing.assert_allclose(rows[:, LEVEL], -1.5)


def test_clipped_sound_stays_in_the_ranges():
    rows = audio_features((syllables(3) * 1e4).clip(-1, 1))
    low = np.array([-4.0] * 80 + [-3, 0, -2, 0, -1.5])
    high = np.array([2.0] * 80 + [1, 3, 2, 1, 1.3])
    assert (rows >= low).all() and (rows <= high).all()


def test_a_quieter_recording_looks_the_same():
    loud = syllables(6) * 3
    a, b = audio_features(loud), audio_features(loud * 0.1)
    speech = a[:, ENERGY] > -1  # within 20 dB of the level
    assert speech.sum() > 50
    np.testing.assert_allclose(a[speech, : 2 * MELS], b[speech, : 2 * MELS], atol=0.02)
    np.testing.assert_allclose(a[speech, LEVEL] - b[speech, LEVEL], 1.0, atol=0.01)  # 20 dB


@pytest.mark.parametrize("size", [1, 7, 333, 16000])
def test_a_stream_gives_the_rows_of_the_whole(size):
    sound = syllables(0.7 if size == 1 else 3)
    whole, parts = audio_features(sound), pushed(sound, size)
    np.testing.assert_allclose(parts[:, LOCAL], whole[:, LOCAL], atol=1e-5)


def test_a_stream_does_not_depend_on_how_it_was_cut():
    sound = syllables(3)
    np.testing.assert_array_equal(pushed(sound, 7), pushed(sound, 16000))


def test_pitch_of_a_stream_is_nearly_that_of_the_whole():
    sound = syllables(12)
    whole, parts = audio_features(sound), pushed(sound, 1600)
    assert ((whole[:, VOICING] > 0) == (parts[:, VOICING] > 0)).mean() > 0.95
    both = (whole[:, VOICING] > 0) & (parts[:, VOICING] > 0)
    assert both.mean() > 0.3
    assert (np.abs(whole[both, PITCH] - parts[both, PITCH]) < 1 / 24 + 1e-6).mean() > 0.98


def test_a_file_in_pieces_is_the_whole_exactly():
    sound = syllables(25)
    np.testing.assert_array_equal(pushed(sound, 10007, FILE_GROUP), audio_features(sound))


def test_rows_come_as_soon_as_the_look_ahead_has_passed():
    stream = FeatureStream(group=1)
    need = 10 * HOP + round(LOOK_AHEAD * SAMPLE_RATE)
    sound = syllables(1)
    assert len(stream.push(sound[: need - 1])) == 10
    assert len(stream.push(sound[need - 1 : need])) == 1
    assert LOOK_AHEAD <= 0.12


@pytest.mark.parametrize("row", [44, 254])  # the last of a group: the first to be final
def test_a_row_knows_nothing_beyond_its_look_ahead_and_past(row):
    sound = syllables(8)
    other = sound.copy()
    other[row * HOP + round(LOOK_AHEAD * SAMPLE_RATE) :] = 0.5
    begin = row * HOP - round(PAST * SAMPLE_RATE)
    other[: max(0, begin)] = -0.5
    a, b = (pushed(each, 16000)[row] for each in (sound, other))
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.allclose(pushed(other, 16000)[row + 10], pushed(sound, 16000)[row + 10], atol=0.1)


def test_memory_of_a_stream_does_not_grow():
    stream = FeatureStream()
    sound = syllables(1)
    sizes = []
    for _ in range(20):
        stream.push(sound)
        sizes.append(stream._sound.nbytes + stream._loudness.nbytes)
    assert max(sizes[10:]) <= max(sizes[:10])


def test_pure_tone_has_its_pitch():
    tone = (0.3 * np.sin(2 * np.pi * 220 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)
    rows = audio_features(tone)[5:-5]
    np.testing.assert_allclose(rows[:, PITCH], np.log2(220 / 200), atol=0.5 / 24 + 1e-6)  # half a bin
    assert (rows[:, VOICING] > 0.8).all()


def test_hiss_has_no_pitch():
    hiss = np.random.default_rng(3).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32)
    assert (audio_features(hiss)[:, VOICING] > 0).mean() < 0.1


def test_onsets_stand_where_a_sound_begins():
    sound = np.zeros(2 * SAMPLE_RATE, np.float32)
    sound[SAMPLE_RATE:] = syllables(1)
    onset = audio_features(sound)[:, ONSET]
    assert abs(int(onset.argmax()) - RATE) <= 1
    assert onset.max() > 1


def test_wrong_shapes_are_refused():
    with pytest.raises(OptionError, match=r"\(100, 2\)"):
        audio_features(np.zeros((100, 2), np.float32))


def test_level_forgets_after_four_seconds():
    sound = np.concatenate([syllables(2) * 5, syllables(7, seed=1) * 0.05])
    level = audio_features(sound)[:, LEVEL]
    assert level[3 * RATE] - level[7 * RATE] > 1  # more than 20 dB


@pytest.mark.parametrize(
    "fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(1, 2)]
)
def test_align_keeps_time_for_ten_minutes(fps):
    times = np.arange(10 * 60 * RATE, dtype=np.float64)[:, None] / RATE
    count = round(600 * fps)
    laid = align(times, fps, count)
    wanted = np.array([min(float(n / fps), times[-1, 0]) for n in range(count)])
    assert laid.shape == (count, 1)
    np.testing.assert_allclose(laid[:, 0], wanted, atol=1e-9)
    assert abs(laid[-1, 0] - 600) < 1 / fps + 1 / RATE  # the last frame begins before the end


def test_the_sound_and_the_frames_end_within_half_a_frame():
    fps, samples = Fraction(30000, 1001), 600 * SAMPLE_RATE
    count = round(samples * fps / SAMPLE_RATE)
    assert abs(count / fps - Fraction(samples, SAMPLE_RATE)) <= 1 / (2 * fps)
    event = np.zeros((600 * RATE, 1))
    event[-3] = 1  # at 599.94 s
    peak = int(align(event, fps, count).argmax())
    assert abs(peak / fps - Fraction(599_94, 100)) <= 1 / (2 * fps)


def test_align_at_the_own_rate_changes_nothing_and_holds_the_end():
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    laid = align(rows, Fraction(RATE), 9)
    assert laid.dtype == np.float32
    np.testing.assert_array_equal(laid, rows[[0, 1, 2, 3, 4, 5, 6, 6, 6]])


@pytest.mark.parametrize(("rows", "fps"), [(np.zeros((0, 3)), 25), (np.zeros((3, 3)), 0)])
def test_align_refuses_what_cannot_be(rows, fps):
    with pytest.raises(OptionError, match="frames a second"):
        align(rows, Fraction(fps), 3)


def test_features_import_nothing_slow(monkeypatch):
    import subprocess
    import sys

    code = f"import sys, {module.__name__}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"librosa", "numba", "scipy", "torch", "transformers"} & set(loaded)
