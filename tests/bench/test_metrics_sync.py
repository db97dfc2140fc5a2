"""Sound and lips of a finished video: known lags, known distances, frozen and mismatched mouths."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from animate import measures, pose
from bench.metrics import METRICS, Reference, Sample
from bench.metrics.lse import LipSyncClip, lip_sync_errors
from bench.metrics.sync_sound import loudness_curve, phone_opening, sync
from bench.metrics.syncnet import SyncNet, cepstra
from talking_face.phones import Phone

RATE, FRAMES = 16_000, 75
FPS = Fraction(25)


def envelope(seed=0, count=FRAMES):
    """(T,) a smooth random curve in [0, 1]."""
    rng = np.random.default_rng(seed)
    curve = np.convolve(rng.uniform(size=count + 8), np.hanning(9)[1:] / 4, "valid")[:count]
    return (curve - curve.min()) / np.ptp(curve)


def voice(curve, fps=FPS):
    """A hum whose loudness follows a curve, 30 dB deep."""
    samples = np.arange(int(len(curve) / fps * RATE))
    level = np.interp(samples / RATE * float(fps), np.arange(len(curve)), curve)
    hum = sum(np.sin(2 * np.pi * 120 * k * samples / RATE) / k for k in range(1, 12))
    return (0.1 * hum * 10 ** (1.5 * (level - 1))).astype(np.float32)


class TestSync:
    def test_a_curve_with_itself_and_late(self):
        curve, seen = envelope(), np.ones(FRAMES, bool)
        assert sync(curve, curve, seen, FPS) == pytest.approx((1, 0, 1))
        now, lag, best = sync(np.roll(curve, 3), curve, seen, FPS)
        assert lag == pytest.approx(120) and best == pytest.approx(1) and now < 0.9
        assert sync(np.roll(curve, -2), curve, seen, FPS)[1] == pytest.approx(-80)

    def test_frames_without_a_face_do_not_count(self):
        curve, seen = envelope(), np.ones(FRAMES, bool)
        broken = curve.copy()
        broken[20:30] = 9
        seen[20:30] = False
        assert sync(broken, curve, seen, FPS)[0] == pytest.approx(1)

    def test_a_mouth_that_shuts_when_it_is_loud_goes_against_the_sound(self):
        curve, seen = envelope(), np.ones(FRAMES, bool)
        assert sync(-curve, curve, seen, FPS)[0] == pytest.approx(-1)

    def test_an_even_tone_is_even_at_its_ends(self):
        tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
        assert loudness_curve(tone, FPS, 25) == pytest.approx(0, abs=0.05)

    def test_loudness_follows_the_sound(self):
        curve = envelope(1)
        found = loudness_curve(voice(curve), FPS, FRAMES)
        assert found.shape == (FRAMES,) and np.corrcoef(found, curve)[0, 1] > 0.95
        assert found.max() == 0 and found.min() == pytest.approx(-27, abs=3)

    def test_pauses_are_equally_silent_whatever_they_hiss(self):
        loud = np.concatenate([np.ones(RATE), np.full(RATE, 1e-3), np.zeros(RATE)]).astype(np.float32)
        found = loudness_curve(loud, FPS, FRAMES)
        assert set(found[30:].round(6)) == {-35.0} and found[5] == 0
        assert (loudness_curve(np.zeros(RATE), FPS, 25) == 0).all()

    def figures(self, face, perform, curve, sound, name, fps=FPS):
        metric = METRICS[name].create(Reference(*face, fps=fps, sound=sound))
        for t, mesh in enumerate(perform(0.4 * curve)):
            metric.update(Sample(t, face[0], output_landmarks=mesh))
        return metric.value()

    def test_a_mouth_that_follows_lags_stands_still_or_says_something_else(self, face, perform):
        curve = envelope()
        sound = voice(curve)

        def corr(mouth):
            return self.figures(face, perform, mouth, sound, "sync_corr")

        assert corr(curve) > 0.85
        assert corr(np.roll(curve, 4)) < corr(np.roll(curve, 2)) < corr(curve)
        assert corr(0 * curve) == 0
        assert corr(envelope(5)) < 0.5

    def test_silence_says_nothing(self, face, perform):
        curve = envelope()
        assert self.figures(face, perform, curve, np.zeros(3 * RATE, np.float32), "sync_corr") is None

    def test_lips_that_meet_for_bilabials(self, face, perform):
        pytest.importorskip("pocketsphinx", reason="phones need the extra bench")
        phones = [
            Phone("AA", 0, 0.5),
            Phone("S", 0.5, 0.7),
            Phone("AA", 0.7, 1),
            Phone("M", 1, 1.12),
            Phone("AA", 1.12, 2),
            Phone("B", 2, 2.12),
            Phone("AA", 2.12, 3),
        ]
        reference = Reference(*face, fps=FPS, sound=np.zeros(3 * RATE, np.float32), phones=phones)
        rest = float(measures.mouth_opening(pose.decompose(face[1])[1])[0])  # the astronaut smiles
        found = []
        for open_to, closed in ((0.3, (25, 50)), (0.3, (25,)), (0.3, ()), (0, ())):
            opening = np.full(FRAMES, open_to)
            opening[72:] = 0  # closed lips are known from elsewhere
            for start in closed:
                opening[start : start + 3] = 0
            metric = METRICS["sync_closures"].create(reference)
            for t, mesh in enumerate(perform(opening - rest)):
                metric.update(Sample(t, face[0], output_landmarks=mesh))
            found.append(metric.value())
        assert found == [pytest.approx(1), pytest.approx(0.5), 0, 0]  # the last stays shut


@pytest.fixture
def sentence():
    """Six seconds of phones without a rhythm, and the opening that they ask for."""
    rng = np.random.default_rng(4)
    names = ("AA", "M", "IY", "S", "AO", "B", "EH", "T", "SIL")
    phones, start = [], 0.0
    while start < 6:
        end = start + rng.uniform(0.06, 0.2)
        phones.append(Phone(str(rng.choice(names)), start, end))
        start = end
    return phones, phone_opening(phones, FPS, 150)


@pytest.mark.skipif(METRICS["sync_phones"].missing() is not None, reason="phones need the extra bench")
class TestPhones:
    def figure(self, face, perform, name, sentence, mouth):
        phones, _ = sentence
        reference = Reference(*face, fps=FPS, sound=np.zeros(6 * RATE, np.float32), phones=phones)
        metric = METRICS[name].create(reference)
        for t, mesh in enumerate(perform(mouth)):
            metric.update(Sample(t, face[0], output_landmarks=mesh))
        return metric.value()

    def test_vowels_open_the_mouth_and_silence_and_m_do_not(self):
        opening = phone_opening([Phone("SIL", 0, 1), Phone("AA", 1, 2), Phone("M", 2, 3)], FPS, 75)
        assert opening.shape == (75,) and opening[12] < 0.01 and opening[62] < 0.01 and opening[37] > 0.15

    def test_late_and_others_words_fit_less(self, face, perform, sentence):
        mouth = sentence[1]
        found = [
            self.figure(face, perform, "sync_phones", sentence, m)
            for m in (mouth, np.roll(mouth, 2), np.roll(mouth, 5), 0 * mouth)
        ]
        assert found[0] > 0.95 and found == sorted(found, reverse=True) and found[-1] == 0

    @pytest.mark.parametrize("late", [-3, 0, 4])
    def test_the_lag_is_that_of_the_mouth(self, face, perform, sentence, late):
        found = self.figure(face, perform, "sync_lag", sentence, np.roll(sentence[1], late))
        assert found == pytest.approx(40 * late)

    def test_what_is_short_still_or_of_other_words_has_no_lag(self, face, perform, sentence):
        mouth = sentence[1]
        other = np.random.default_rng(8).permutation(mouth)
        for unfit in (mouth[:90], 0 * mouth, other):
            assert self.figure(face, perform, "sync_lag", sentence, unfit) is None


class TestTalkOnVideo:
    def figure(self, face, perform, mouth, real, name):
        reference = Reference(*face, fps=FPS, sound=voice(envelope()), phones=[])
        metric = METRICS[name].create(reference)
        for t, (ours, theirs) in enumerate(zip(perform(0.3 * mouth), perform(0.3 * real), strict=True)):
            metric.update(Sample(t, face[0], face[0], output_landmarks=ours, truth_landmarks=theirs))
        return metric.value()

    def test_the_truth_another_mouth_and_a_frozen_one(self, face, perform):
        real = envelope()
        found = [self.figure(face, perform, m, real, "talk_open_corr") for m in (real, envelope(3), 0 * real)]
        assert found[0] == pytest.approx(1) and found[1] < 0.6 and found[2] == 0

    def test_frames_without_a_face_do_not_count(self, face, perform):
        real, other, gap = envelope(), envelope(3), np.arange(20, 50)
        metric = METRICS["talk_open_corr"].create(Reference(*face, fps=FPS, sound=voice(real), phones=[]))
        for t, (ours, theirs) in enumerate(zip(perform(0.3 * other), perform(0.3 * real), strict=True)):
            lost = None if t in gap else ours
            metric.update(Sample(t, face[0], face[0], output_landmarks=lost, truth_landmarks=theirs))
        expected = np.corrcoef(np.delete(other, gap), np.delete(real, gap))[0, 1]
        assert metric.value() == pytest.approx(expected, abs=1e-3)

    def test_every_second_frame_has_no_jerk_and_says_why(self, face, perform):
        real = envelope()
        metric = METRICS["talk_jerk"].create(Reference(*face, fps=FPS, sound=voice(real), phones=[]))
        for t, mesh in enumerate(perform(0.3 * real)):
            seen = mesh if t % 2 == 0 else None
            sample = Sample(t, face[0], face[0], output_landmarks=seen, truth_landmarks=seen, redetected=t % 2 == 0)
            metric.update(sample)
        assert metric.value() is None
        assert metric.unfit == "two frames in a row are needed: set the suite's stride to 1"
        assert "stride" not in type(metric).unfit

    def test_the_lag_in_frames(self, face, perform):
        real = envelope()
        assert self.figure(face, perform, np.roll(real, 2), real, "talk_lag") == 2

    def test_every_speech_metric_is_there_and_says_where_it_comes_from(self):
        from bench.metrics import SPEECH_METRICS

        for name, speech in SPEECH_METRICS.items():
            metric = METRICS[f"talk_{name}"]
            assert metric.direction == speech.direction and "re-detected" in metric.source
            assert "bench.metrics.talk_video" in metric.__doc__


class TestLipSyncErrors:
    def test_of_known_embeddings(self):
        rng = np.random.default_rng(0)
        lips = rng.normal(size=(60, 16))
        distance, confidence, shift = lip_sync_errors(lips + 0.5, lips)
        assert distance == pytest.approx(2, abs=1e-3) and shift == 0
        # Two independent standard normal vectors of 16 numbers are about sqrt(32) apart.
        assert confidence == pytest.approx(np.sqrt(32) - 2, abs=1)

    @pytest.mark.parametrize("late", [-4, 0, 7])
    def test_the_shift_is_found(self, late):
        lips = np.random.default_rng(0).normal(size=(60, 16))
        assert lip_sync_errors(lips, np.roll(lips, late, 0))[2] == late

    def test_noise_is_farther_and_less_sure(self):
        rng = np.random.default_rng(0)
        lips, noise = rng.normal(size=(60, 16)), rng.normal(size=(60, 16))
        found = [lip_sync_errors(lips + s * noise, lips)[:2] for s in (0.1, 0.5, 1, 3)]
        distances, confidences = zip(*found, strict=True)
        assert list(distances) == sorted(distances) and list(confidences) == sorted(confidences, reverse=True)


class TestSyncNet:
    def test_cepstra_are_those_of_the_published_front_end(self):
        """Numbers of python_speech_features 0.6.1's mfcc for the same sound."""
        t = np.arange(RATE) / RATE
        sound = 0.3 * np.sin(2 * np.pi * 200 * t * (1 + t)) + 0.1 * np.sin(2 * np.pi * 3000 * t) * np.exp(-3 * t)
        found = cepstra(sound.astype(np.float32))
        assert found.shape == (99, 13)
        expected = [19.544, 11.964, -1.758, 10.913, -36.46, -41.334, -2.237]
        assert found[50, :7] == pytest.approx(expected, abs=2e-3)
        assert np.isfinite(cepstra(np.zeros(1000, np.float32))).all()

    def test_the_towers_fit_their_inputs(self):
        torch.manual_seed(0)
        network = SyncNet().eval()
        assert network.sound(torch.rand(2, 1, 13, 20)).shape == (2, 1024)
        assert network.lips(torch.rand(1, 3, 5, 224, 224)).shape == (1, 1024)

    def test_a_clip_gives_both_numbers_once(self, face, perform, monkeypatch):
        from bench.metrics import syncnet

        class Towers:
            """Lips by the frames' brightness, sound by its energy: equal where the clip was made so."""

            calls = 0

            def lips(self, frames):
                Towers.calls += 1
                return frames.mean((1, 3, 4)).flatten()[None, ::2]

            def sound(self, spans):
                return spans[:, 0, 0, ::8]

        monkeypatch.setattr(syncnet, "network", Towers)
        reference = Reference(*face, fps=Fraction(50), sound=voice(envelope()))
        metrics = [METRICS[name].create(reference) for name in ("lse_d", "lse_c")]
        for t in range(50):
            sample = Sample(t, face[0], output_landmarks=face[1])
            for metric in metrics:
                metric.update(sample)
        distance, confidence = (metric.value() for metric in metrics)
        assert distance > 0 <= confidence
        assert metrics[0].clip is metrics[1].clip and Towers.calls == 25 - 5  # a second is 25 frames to SyncNet

    def test_other_rates_become_25_frames_a_second(self, face):
        clip = LipSyncClip(Reference(*face, fps=Fraction(50)))
        for t in range(11):
            clip.add(Sample(t, np.full_like(face[0], 10 * t), output_landmarks=face[1]))
        assert [int(f[112, 112, 0]) for f in clip.frames()] == [0, 20, 40, 60, 80, 100]

    def test_a_face_that_is_away_for_long_gives_nothing(self, face):
        clip = LipSyncClip(Reference(*face, fps=FPS))
        for t in (*range(5), *range(30, 40)):
            clip.add(Sample(t, face[0], output_landmarks=face[1]))
        assert clip.frames() is None
