"""The speech benchmark on small clips: which it takes, what it measures, what it prints."""

import contextlib
import functools
import io
import json
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from animate import ffmpeg
from animate.faces import create_tracker
from animate.media import VideoReader, VideoWriter, read_sound
from animate.motion import Motion
from bench.clips import find_clips
from bench.metrics import SPEECH_METRICS
from bench.metrics.speech import Figure
from bench.speed.run import make_driving_video
from bench.speed.talk import speech_like
from bench.talk import run as talk
from bench.talk.clips import LeftOut, fitted, loudest_second, prepare, sound_of_picture, speech_shares
from bench.talk.report import ClipResult, Score, format_bar, summarise, verdict
from bench.talk.scoring import MISMATCHED, TRUTH, load_system, mismatched, predict, score
from talking_face.phones import Phone

RATE = 16_000
SECONDS = 2.4
FRAMES = 60
PHONES = [
    Phone("SIL", 0.0, 0.5),
    Phone("M", 0.5, 0.6),
    Phone("AA", 0.6, 1.6),
    Phone("P", 1.6, 1.7),
    Phone("IY", 1.7, 2.4),
]


def write_sound(path, sound):
    wavfile.write(path, RATE, (np.clip(sound, -1, 1) * 32767).astype(np.int16))
    return path


def write_clip(path, frames, sound=None, folder=None, fps=25):
    """A film with a sound of 16 kHz."""
    audio = None if sound is None else write_sound(folder / (path.stem + ".wav"), sound)
    with VideoWriter(path, Fraction(fps), audio=audio) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with a talking face twice (a, sub/b, half as long), and clips that are not fit to measure."""
    work = tmp_path_factory.mktemp("work")
    make_driving_video(work / "talking.mp4", SECONDS)
    with VideoReader(work / "talking.mp4") as reader:
        face = [frame[:300, 60:400] for frame in reader]
    assert len(face) == FRAMES
    folder = tmp_path_factory.mktemp("clips")
    (folder / "sub").mkdir()
    grey = [np.full((96, 96, 3), 40, np.uint8)] * 50
    speech, noise = speech_like(SECONDS, 3), np.random.default_rng(0).normal(size=2 * RATE) * 0.1
    write_clip(folder / "a.mp4", face, speech, work)
    write_clip(folder / "sub" / "b.mp4", face[:40], speech_like(1.6, 4), work)
    write_clip(folder / "dumb.mp4", grey)
    write_clip(folder / "faceless.mp4", grey[:6], speech_like(2, 3), work, fps=3)
    write_clip(folder / "noise.mp4", grey, noise, work)
    write_clip(folder / "short.mp4", grey[:10], speech_like(0.4, 3), work)
    write_clip(folder / "silent.mp4", grey, np.zeros(2 * RATE), work)
    (folder / "broken.mp4").write_text("this is no film")
    (folder / "manifest.csv").write_text("file,subject\na.mp4,ann\nsub/b.mp4,bob\n")
    return folder


@pytest.fixture(scope="module")
def tracker():
    with create_tracker() as tracker:
        yield tracker


@pytest.fixture(scope="module", autouse=True)
def phones():
    """The alignment of the made-up sounds, which no recogniser can know."""
    patch = pytest.MonkeyPatch()
    patch.setattr("bench.talk.clips._phones", lambda clip, sound, cache: PHONES)
    yield PHONES
    patch.undo()


def only(clips, name):
    (clip,) = (clip for clip in find_clips(clips, 10**6) if clip.name == name)
    return clip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def prepared(clips, tracker, cache):
    return prepare(only(clips, "a.mp4"), tracker, 60, cache)


class TestSound:
    def test_is_the_plain_decoders_where_both_streams_begin_together(self, clips):
        sound = sound_of_picture(clips / "a.mp4", 60)
        plain = read_sound(clips / "a.mp4")[:, 0]
        assert abs(len(sound) - len(plain)) < RATE // 25
        count = min(len(sound), len(plain))
        assert np.abs(sound[:count] - plain[:count]).max() < 1e-3

    @pytest.mark.parametrize(("delayed", "expected"), [("sound", 0.4), ("picture", -0.4)])
    def test_begins_with_the_picture_where_the_streams_do_not(self, tmp_path, delayed, expected):
        click = np.zeros(2 * RATE)
        click[RATE : RATE + 400] = 0.8
        shift = ["-itsoffset", "0.4"]
        command = [ffmpeg.binary(), "-v", "error", *(shift if delayed == "picture" else [])]
        command += ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=2"]
        command += [*(shift if delayed == "sound" else []), "-i", str(write_sound(tmp_path / "c.wav", click))]
        subprocess.run([*command, "-c:a", "pcm_s16le", str(tmp_path / "c.mkv")], check=True)
        sound = sound_of_picture(tmp_path / "c.mkv", 60)
        assert np.argmax(np.abs(sound) > 0.4) / RATE == pytest.approx(1 + expected, abs=0.005)

    def test_no_more_than_asked_for_is_read(self, clips):
        assert len(sound_of_picture(clips / "a.mp4", 1.0)) == RATE

    def test_is_cut_or_filled_with_silence(self):
        assert fitted(np.ones(5), 3).tolist() == [1, 1, 1] and fitted(np.ones(2), 4).tolist() == [1, 1, 0, 0]

    def test_level_of_the_loudest_second(self):
        sound = np.zeros(10 * RATE)
        sound[5 * RATE : 6 * RATE] = 0.1
        assert loudest_second(sound) == pytest.approx(-20) and loudest_second(np.zeros(RATE)) < -100

    def test_speech_pauses_and_noise_does_not(self):
        loud, voiced = speech_shares(speech_like(4))
        assert 0.2 < loud < 0.8 and voiced > 0.15
        loud, voiced = speech_shares((np.random.default_rng(0).normal(size=4 * RATE) * 0.1).astype(np.float32))
        assert loud > 0.95 and voiced < 0.05


class TestPrepare:
    def test_truth_of_a_talking_clip(self, prepared):
        curves = prepared.truth.curves
        assert len(curves) == FRAMES == prepared.truth.counted.sum() and curves.fps == 25
        assert np.ptp(curves.opening) > 0.05 and prepared.bridged == 0
        assert len(prepared.sound) == SECONDS * RATE and prepared.truth.phones == PHONES

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("dumb.mp4", "no sound"),
            ("silent.mp4", "silent"),
            ("noise.mp4", "nobody seems to speak"),
            ("short.mp4", "shorter than"),
            ("faceless.mp4", "shows a face"),
        ],
    )
    def test_clips_that_are_not_fit_say_why(self, clips, tracker, name, reason):
        with pytest.raises(LeftOut, match=reason):
            prepare(only(clips, name), tracker, 60)

    def test_only_the_beginning_of_a_clip_is_used(self, clips, tracker):
        short = prepare(only(clips, "a.mp4"), tracker, 1.99)
        assert len(short.truth.curves) == 50 and short.seconds == 2

    def test_frames_beyond_the_sound_are_not_counted(self, clips, tracker, tmp_path):
        with VideoReader(clips / "a.mp4") as reader:
            write_clip(tmp_path / "long.mp4", list(reader), speech_like(1.6, 3), tmp_path)
        found = prepare(find_clips(tmp_path / "long.mp4", 10**6)[0], tracker, 60, any_sound=True)
        assert 40 <= found.truth.counted.sum() <= 43 and len(found.sound) == SECONDS * RATE

    def test_the_cache_spares_the_tracker(self, clips, prepared, cache):
        again = prepare(only(clips, "a.mp4"), None, 60, cache)
        assert np.array_equal(again.truth.curves.opening, prepared.truth.curves.opening)
        with pytest.raises(AttributeError):  # another length is another track
            prepare(only(clips, "a.mp4"), None, 1.99, cache)


@functools.cache
def motion_of(clip):
    with create_tracker() as tracker, VideoReader(clip) as reader:
        return Motion.from_track(tracker.track(reader, reader.fps)[0])


def oracle(clip, late=0):
    """A system that knows the clip's own motion, and is late by some frames."""
    motion = motion_of(clip)
    order = np.clip(np.arange(len(motion)) - late, 0, None)
    return lambda sound, fps: motion.take(order[: round(len(sound) * fps / RATE)])


def still(sound, fps):
    motion = Motion.builtin("nod").take(np.zeros(max(1, round(len(sound) * fps / RATE)), int))
    return replace(motion, fps=fps)


class TestProtocol:
    def test_a_system_that_knows_the_truth_is_perfect(self, prepared, clips, cache):
        systems = {"oracle": oracle(clips / "a.mp4")}
        result = talk.measure_clip(only(clips, "a.mp4"), systems, None, 60, cache)
        values = {name: figure.value for name, figure in result.scores["oracle"].figures.items() if figure}
        assert values["open_corr"] == values["width_corr"] == pytest.approx(1) and values["lag"] == 0
        assert values["jerk"] == pytest.approx(1)
        assert values["silence_motion"] == pytest.approx(result.figure(TRUTH, "silence_motion").value)

    def test_another_number_of_frames_is_refused(self, prepared):
        with pytest.raises(ValueError, match="which has 60 at 25"):
            predict(lambda sound, fps: still(sound[:-RATE], fps), prepared)

    def test_mismatched_takes_the_next_clip_of_another_subject(self, prepared):
        def named(subject):
            return replace(prepared, clip=replace(prepared.clip, subject=subject))

        def flat(level):
            return replace(prepared.truth.curves, opening=np.full(FRAMES, level), closed=0.0)

        found = mismatched([named("x"), named("x"), named("y")], [flat(0.2), prepared.truth.curves, flat(0.2)])
        # x is given y's open mouth twice, y the first x's: none of them meets a closure
        assert [score.figures["closures_met"].value for score in found] == [0, 0, 0]
        found = mismatched([named("x"), named("y")], [flat(0.0), flat(0.2)])
        assert [score.figures["closures_met"].value for score in found] == [0, 1]

    def test_mismatched_counts_only_what_the_shorter_clip_reaches(self, prepared):
        short = replace(prepared.truth.curves, opening=np.zeros(30), width=np.zeros(30), closed=0.0)
        first, _ = mismatched([prepared, prepared], [prepared.truth.curves, short])
        assert first.figures["closures_met"] == Figure(1.0, 1)  # M at 0.5 s; P lies at 1.6 s

    def test_one_clip_alone_has_no_mismatch(self, prepared):
        assert mismatched([prepared], [prepared.truth.curves]) == [None]


def results_of(*clips):
    """Results whose scores are given as {method: {metric: value}} a clip."""
    return [
        ClipResult(str(i), "s", {m: Score({k: Figure(v) for k, v in row.items()}) for m, row in clip.items()})
        for i, clip in enumerate(clips)
    ]


class TestSummary:
    def test_a_clip_counts_where_every_method_has_a_value(self):
        results = results_of(
            {"truth": {"open_corr": 1.0}, "mini": {"open_corr": 0.8}, "viseme": {"open_corr": 0.2}},
            {"truth": {"open_corr": 1.0}, "mini": {"open_corr": 0.4}, "viseme": {"open_corr": 0.6}},
            {"truth": {"open_corr": 1.0}, "mini": {"open_corr": 0.0}},
        )
        means, _, counted = summarise(results, ["truth", "viseme", "mini"])
        assert counted["open_corr"] == 2 and means["mini"]["open_corr"] == pytest.approx(0.6)
        assert means["viseme"]["open_corr"] == pytest.approx(0.4) and means["mini"]["width_corr"] is None

    def test_a_method_without_a_value_anywhere_and_chance_leave_no_clip_out(self):
        results = results_of(
            {"truth": {"lag": 0}, "mean": {"open_corr": 0}, "mini": {"lag": 1}, MISMATCHED: {"lag": 5}},
            {"truth": {"lag": 0}, "mean": {"open_corr": 0}, "mini": {"lag": 2}},
            {"truth": {"lag": 0}, "mean": {"open_corr": 0}, "mini": {"lag": 8}},
        )
        means, medians, counted = summarise(results, ["truth", "mean", "mini", MISMATCHED])
        assert counted["lag"] == 3 and means["mini"]["lag"] == 2 == medians["mini"]["lag"]
        assert means["mean"]["lag"] is None and means[MISMATCHED]["lag"] == 5


class TestVerdict:
    MEANS = {
        "loudness": {"open_corr": 0.40, "lag": 0.0},
        "viseme": {"open_corr": 0.50, "lag": 0.0},
        "mini": {"open_corr": 0.55, "lag": 1.0},
    }

    def words(self, **changed):
        means = self.MEANS | {"mini": self.MEANS["mini"] | changed}
        return [format_bar(bar).rsplit(": ", 1)[1] for bar in verdict(means, "mini")]

    def test_all_bars(self):
        assert self.words() == ["ok", "ok", "ok"]
        assert self.words(open_corr=0.5) == ["falls short", "ok", "ok"]  # a tie does not beat
        assert self.words(open_corr=0.45) == ["falls short", "falls short", "ok"]
        assert self.words(lag=-2.0) == ["ok", "ok", "falls short"]
        assert self.words(open_corr=None, lag=None) == ["not measured"] * 3

    def test_bars_whose_methods_did_not_run_are_left_away(self):
        (bar,) = verdict({"mini": self.MEANS["mini"]}, "mini")
        assert "+1.000 frames" in bar.text


@pytest.fixture(scope="module")
def run(clips, cache, tmp_path_factory):
    """Exit status, standard output and JSON of a run over all clips with systems that know the truth, or nothing."""
    report = tmp_path_factory.mktemp("report") / "r.json"
    known = {"mean": still, "loudness": oracle(clips / "a.mp4", 5), "mini": oracle(clips / "a.mp4", 1)}
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(talk, "load_system", known.__getitem__)
        arguments = ["--data", str(clips), "--methods", "mean,loudness,mini", "--cache", str(cache)]
        status = talk.main([*arguments, "--json", str(report)])
    return status, out.getvalue(), json.loads(report.read_text())


class TestReport:
    def test_prints_a_row_a_method_and_the_verdict(self, run):
        status, text, _ = run
        lines = text.splitlines()
        assert status == 0 and all(name in lines[0] for name in SPEECH_METRICS)
        assert [line.split()[0] for line in lines[1:7]] == [TRUTH, "mean", "loudness", "mini", MISMATCHED, "clips"]
        assert "lag: mini's median +1.000 frames, within 1: ok" in lines
        assert any(line.startswith("open_corr: mini over loudness +") for line in lines)

    def test_a_constant_mouth_has_correlation_zero_and_no_lag(self, run):
        data = run[2]
        assert data["mean"]["mean"]["open_corr"] == 0 == data["mean"]["mean"]["jerk"]
        assert data["mean"]["mean"]["lag"] is None and data["clips_counted"]["lag"] == 2

    def test_lags_of_each_clip_are_printed(self, run):
        (row,) = (line for line in run[1].splitlines() if line.endswith("  a.mp4"))
        assert "(+5)" in row and "(+1)" in row and "2.4" in row

    def test_left_out_clips_say_why_and_broken_ones_fail(self, run):
        _, text, data = run
        reasons = {clip["clip"]: clip.get("left_out", "") for clip in data["clips"]}
        assert {name for name, why in reasons.items() if why} == {
            "dumb.mp4", "faceless.mp4", "noise.mp4", "short.mp4", "silent.mp4"
        }  # fmt: skip
        assert "silent.mp4: left out: its sound is silent" in text and "broken.mp4: clip failed" in text

    def test_json_holds_each_clip_and_says_what_the_columns_mean(self, run):
        data = run[2]
        (measured, other) = (clip for clip in data["clips"] if "scores" in clip)
        assert (measured["subject"], other["subject"]) == ("ann", "bob") and measured["bilabials"] == 2
        assert measured["scores"]["mini"]["values"]["lag"] == 1 and data["metrics"]["lag"]["summary"] == "median"
        assert data["settings"]["judged"] == "mini" and data["versions"]["numpy"]

    def test_a_system_that_breaks_is_reported_and_the_others_go_on(self, clips, cache, monkeypatch, capsys):
        def breaking(sound, fps):
            raise RuntimeError("no\nvoice")

        monkeypatch.setattr(talk, "load_system", {"mean": still, "mini": breaking}.__getitem__)
        arguments = ["--data", str(clips), "--subjects", "bob", "--methods", "mean,mini", "--cache", str(cache)]
        assert talk.main(arguments) == 0
        text = capsys.readouterr().out
        assert "sub/b.mp4: mini failed: RuntimeError: no voice" in text and "not measured" in text

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--data", "/no/such/folder"], "There is no folder"),
            (["--data", "{clips}/silent.mp4", "--methods", "mean"], "its sound is silent"),
            (["--data", "{clips}", "--methods", "/no/such/model"], "/no/such/model"),
        ],
    )
    def test_unusable_input_is_one_sentence_and_status_1(self, clips, capsys, arguments, message):
        assert talk.main([argument.format(clips=clips) for argument in arguments]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["mean", "loudness", "mini"])
def test_the_real_methods_give_a_frame_for_every_frame(prepared, method):
    from talking_face.talker import EMBEDDED

    if not Path(EMBEDDED, "config.json").is_file():
        pytest.skip("the embedded speech model is not there")
    curves, seconds = predict(load_system(method), prepared, method)
    figures = score(prepared.truth, curves)
    assert seconds > 0 and len(curves) == FRAMES and 0 <= curves.closed < 0.02
    assert (figures["open_corr"].value == 0) == (method == "mean")
