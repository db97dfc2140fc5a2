"""Self-reenactment on a small real clip: the protocol, its report, and what goes wrong."""

import json
from fractions import Fraction

import numpy as np
import pytest

from animate.media import VideoWriter, read_image
from bench.clips import find_clips, shrink
from bench.metrics import REENACT_METRICS as METRICS
from bench.reenact import run as reenact
from bench.reenact.scoring import TRUTH, prepare, score

COUNT = 7


@pytest.fixture(scope="module")
def clips(tmp_path_factory, face):
    """A folder: a.mp4 (a face that slides and nods), sub/b.mp4 (no face), broken.mp4 (text), a manifest."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "sub").mkdir()
    picture = face[0]
    with VideoWriter(folder / "a.mp4", Fraction(30000, 1001), crf=8) as writer:
        for _ in range(2):
            writer.write(np.full_like(picture, 90))
        for t in range(COUNT):
            writer.write(np.roll(picture, (t, 2 * t), axis=(0, 1)))
    with VideoWriter(folder / "sub" / "b.mp4", Fraction(25)) as writer:
        for t in range(6):
            writer.write(np.full((96, 96, 3), 40 + t, np.uint8))
    (folder / "broken.mp4").write_text("this is no film")
    (folder / "manifest.csv").write_text("file,subject\na.mp4,astronaut\nsub/b.mp4,nobody\n")
    return folder


@pytest.fixture(scope="module")
def truth(clips, redetector):
    (clip,) = find_clips(clips, 150, ["astronaut"])
    return prepare(clip, redetector)


class TestClips:
    def test_all_videos_below_the_folder_with_their_subjects(self, clips):
        found = {clip.name: clip.subject for clip in find_clips(clips, 150)}
        assert found == {"a.mp4": "astronaut", "broken.mp4": "broken", "sub/b.mp4": "nobody"}

    def test_limit_and_subjects(self, clips):
        assert [clip.name for clip in find_clips(clips, 150, limit=1)] == ["a.mp4"]
        assert [clip.name for clip in find_clips(clips, 150, ["nobody"])] == ["sub/b.mp4"]

    def test_a_manifest_above_the_folder_counts(self, clips):
        assert find_clips(clips / "sub", 150)[0].subject == "nobody"

    def test_frames_are_the_first_in_a_row(self, clips):
        (clip,) = find_clips(clips, 5, ["astronaut"])
        assert len(list(clip.frames())) == 5 and clip.fps == Fraction(30000, 1001)

    def test_large_frames_are_shrunk_and_small_ones_left(self):
        assert shrink(np.zeros((1000, 1440, 3), np.uint8)).shape == (500, 720, 3)
        assert shrink(np.zeros((100, 144, 3), np.uint8)).shape == (100, 144, 3)


class TestProtocol:
    def test_the_portrait_is_the_first_frame_with_a_face(self, truth):
        assert truth.start == 2 and len(truth.track) == COUNT
        assert truth.portrait.image.shape == (320, 320, 3)
        assert next(truth.frames()).mean() != 90
        assert np.abs(truth.portrait.faces[0].landmarks - truth.track.landmarks[0]).max() < 3
        assert not truth.mouth_open.any()

    def test_the_truth_scores_perfectly(self, truth, redetector):
        result = score(truth, truth.frames(), redetector, TRUTH)
        assert result.frames == COUNT - 1 and result.lost == 0
        assert result.values["face_l1"] == 0 == result.values["landmark"]
        assert result.values["face_ssim"] == pytest.approx(1, abs=1e-6)
        assert result.values["flicker"] == pytest.approx(1)
        assert result.values["inner_l1"] is None

    def test_a_still_portrait_is_worse_and_lies_where_the_truth_began(self, truth, redetector):
        frames = (truth.portrait.image for _ in range(COUNT))
        result = score(truth, frames, redetector, "still")
        from animate import pose

        distances = np.hypot(*np.outer((1, 2), np.arange(1, COUNT))).mean()
        expected = distances / pose.inter_ocular(truth.track.landmarks).mean()
        assert result.values["landmark"] == pytest.approx(expected, rel=0.1)
        assert result.values["flicker"] == 0 and result.values["face_l1"] > 0.01

    def test_stride_redetects_fewer_frames_and_leaves_pixels_alone(self, truth, clips, redetector):
        sparse = prepare(truth.clip, redetector, stride=3)
        assert sum(mesh is not None for mesh in sparse.redetected) == 3
        full = score(truth, truth.frames(), redetector, "copy").values
        few = score(sparse, sparse.frames(), redetector, "copy").values
        assert few["face_l1"] == full["face_l1"] == 0 and few["landmark"] < 0.01

    @pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
    def test_another_number_of_frames_is_refused(self, truth, redetector, count):
        with pytest.raises(ValueError, match="frames"):
            score(truth, (truth.portrait.image for _ in range(count)), redetector, "short")

    def test_another_size_is_refused(self, truth, redetector):
        with pytest.raises(ValueError, match="not"):
            score(truth, (truth.portrait.image[:64] for _ in range(COUNT)), redetector, "small")

    def test_frames_without_a_face_are_counted_as_lost(self, clips, redetector):
        (clip,) = find_clips(clips, 5, ["astronaut"])
        truth = prepare(clip, redetector)
        grey = np.full_like(truth.portrait.image, 127)
        result = score(truth, (grey for _ in range(3)), redetector, "grey")
        assert result.lost == 2 == result.frames and result.values["landmark"] is None


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    """Exit status, standard output and JSON of a run over all clips, and the folder of its sheets."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("report")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = reenact.main(
            ["--data", str(clips), "--methods", "still,warp", "--stride", "2"]
            + ["--json", str(folder / "r.json"), "--sheets", str(folder / "sheets")]
        )
    return status, out.getvalue(), json.loads((folder / "r.json").read_text()), folder / "sheets"


class TestReport:
    def test_prints_a_row_a_method_and_the_verdict(self, run):
        status, text, _, _ = run
        assert status == 0
        lines = text.splitlines()
        assert all(name in lines[0] for name in METRICS)
        assert [line.split()[0] for line in lines[1:5]] == ["truth", "still", "warp", "clips"]
        assert any(line.startswith("pass  landmark: warp better than still") for line in lines)

    def test_bad_clips_are_reported_and_the_run_goes_on(self, run):
        _, text, data, _ = run
        assert "broken.mp4: clip failed" in text and "sub/b.mp4: clip failed" in text
        failures = {clip["clip"]: bool(clip["failures"]) for clip in data["clips"]}
        assert failures == {"a.mp4": False, "broken.mp4": True, "sub/b.mp4": True}

    def test_columns_without_a_fit_clip_are_empty_and_say_why(self, run):
        _, text, data, _ = run
        assert data["mean"]["warp"]["inner_l1"] is None and data["clips_counted"]["inner_l1"] == 0
        assert "inner_l1: 1 of 1 clips left out: no frame opens the mouth enough" in text

    def test_json_holds_each_clip_and_says_what_the_columns_mean(self, run):
        data = run[2]
        (measured,) = (clip for clip in data["clips"] if clip["scores"])
        assert measured["skipped_before"] == 2 and measured["frames"] == COUNT
        assert data["mean"]["warp"]["face_l1"] == measured["scores"]["warp"]["values"]["face_l1"]
        assert data["metrics"]["flicker"]["direction"] == "one"
        assert data["settings"]["stride"] == 2 and data["versions"]["numpy"]

    def test_a_sheet_for_each_measured_clip(self, run):
        (sheet,) = run[3].iterdir()
        image = read_image(sheet)
        assert sheet.name == "a.mp4.png" and image.shape[1] > 1000 and image.std() > 20

    def test_a_system_that_breaks_is_reported_and_fails_its_bar(self, clips, redetector, monkeypatch, capsys):
        def breaking(portrait, motion):
            yield portrait.image
            raise RuntimeError("no more\nframes")

        real = reenact.load_system
        monkeypatch.setattr(
            reenact, "load_system", lambda name, *rest: breaking if name == "warp" else real(name, *rest)
        )
        status = reenact.main(["--data", str(clips), "--subjects", "astronaut", "--methods", "still,warp"])
        text = capsys.readouterr().out
        assert status == 0 and "a.mp4: warp failed: RuntimeError: no more frames" in text
        assert "FAIL  warp: failed on 1 clip" in text
        assert float(text.splitlines()[2].split()[1]) > 0  # the other row stands

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--data", "/no/such/folder"], "There is no folder"),
            (["--data", "{clips}", "--subjects", "somebody"], "somebody"),
            (["--data", "{clips}/sub", "--methods", "still"], "could be measured"),
            (["--data", "{clips}", "--methods", "/no/such/model"], "/no/such/model"),
            (["--data", "{clips}", "--methods", ","], "No method is named"),
        ],
    )
    def test_unusable_input_is_one_sentence_and_status_1(self, clips, capsys, arguments, message):
        assert reenact.main([argument.format(clips=clips) for argument in arguments]) == 1
        assert message in capsys.readouterr().err
