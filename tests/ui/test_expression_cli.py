"""`mien animate` with an expression-driven model: clips go through PD-FGC's encoder, or the motion projection."""

import json

import numpy as np
import pytest
import torch

from ui.cli import EXIT_ERROR
from weights import places

torch.set_num_threads(1)

SMALL = ("--size", "64", "--window", "17", "--overlap", "8", "--crf", "5")
SHORT = ("--trim-end", "0.2")


@pytest.fixture
def without_encoder(tmp_path_factory, monkeypatch):
    empty = tmp_path_factory.mktemp("no-weights")
    monkeypatch.setenv("MIEN_WEIGHTS", str(empty))
    monkeypatch.setattr(places, "CACHE", empty)


@pytest.fixture
def fed(monkeypatch):
    """What each run feeds to the model: a list of features, one array (T, 554) for each face."""
    from animate.expression_animator import ExpressionAnimator

    runs = []
    draw = ExpressionAnimator.animate_features

    def note(self, portrait, features, *rest):
        runs.append([np.array(one) for one in features])
        return draw(self, portrait, features, *rest)

    monkeypatch.setattr(ExpressionAnimator, "animate_features", note)
    return runs


def read(path):
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return reader.info, np.stack(list(reader))


def facts_of(path) -> dict:
    return json.loads(path.read_text())


class TestOneFace:
    def test_a_clip_drives_through_the_encoder_and_gaps_are_bridged_and_marked(
        self, mien, files, plain_folder, with_encoder, fed, tmp_path
    ):
        output, report = tmp_path / "out.mp4", tmp_path / "report.json"
        code, _, err = mien(
            *("animate", "--model", plain_folder, "-s", files / "portrait.png", "-d", files / "clip.mp4"),
            *("-o", output, "--report", report, "--side-by-side", *SMALL),
        )
        assert code == 0, err
        info, frames = read(output)
        assert info.fps == 25 and len(frames) == 8 and (info.width, info.height) == (3 * 256, 256) and info.has_audio
        (features,) = fed[0]
        assert features.shape == (8, 554)
        facts = facts_of(report)
        # frames 4 and 5 of 30 a second are frame 3 or 4 of 25
        gap = facts["bridged_frames"]
        assert gap and set(gap) <= {3, 4} and "without a face" in err
        before, after = features[gap[0] - 1], features[gap[-1] + 1]
        middle = before + (after - before) / (len(gap) + 1)
        assert np.allclose(features[gap[0]], middle, atol=1e-4) and not np.allclose(before, after, atol=1e-3)
        assert "PD-FGC's encoder" in err and "at 25 instead of 29.97 frames/s" in err
        assert facts["seconds"]["expression"] > 0

    def test_the_features_are_those_of_the_clips_own_frames(
        self, mien, files, tiny_expression_folder, with_encoder, fed, tmp_path
    ):
        """Where the model has a projection, too, the encoder comes first; --fps is the rate that is asked for."""
        from animate.expression_clip import encode_clip
        from animate.faces import create_tracker
        from animate.media import VideoReader
        from animate.models.expression_encoder import load_encoder

        code, _, err = mien(
            *("animate", "--model", tiny_expression_folder, "-s", files / "portrait.png", "-d", files / "clip.mp4"),
            *("-o", tmp_path / "out.mp4", "--fps", "30000/1001", "--trim-end", "0.1", *SMALL),
        )
        assert code == 0, err
        with VideoReader(files / "clip.mp4", end=0.1) as reader:
            frames = list(reader)
            track = create_tracker().track(frames, reader.fps)[0]
        assert len(frames) == 3 and read(tmp_path / "out.mp4")[0].fps == reader.fps
        assert np.allclose(fed[0][0], encode_clip(frames, track, load_encoder()).features, atol=1e-3)

    def test_without_the_encoder_the_projection_drives_and_the_report_says_so(
        self, mien, files, tiny_expression_folder, without_encoder, fed, tmp_path
    ):
        code, _, err = mien(
            *("animate", "--model", tiny_expression_folder, "-s", files / "portrait.png", "-d", files / "clip.mp4"),
            *("-o", tmp_path / "out.mp4", *SHORT, *SMALL, "--strength", "1.2"),
        )
        assert code == 0 and not fed, err
        assert "motion projection" in err and "mien weights pull pd-fgc" in err
        assert read(tmp_path / "out.mp4")[0].fps == pytest.approx(30000 / 1001), "at the clip's own rate"

    def test_a_motion_drives_through_the_projection(self, mien, files, tiny_expression_folder, motion_file, tmp_path):
        code, _, err = mien(
            *("animate", "--model", tiny_expression_folder, "-s", files / "portrait.png", "-m", motion_file),
            *("-o", tmp_path / "out.mp4", *SHORT, *SMALL, "--fps", "10"),
        )
        info, frames = read(tmp_path / "out.mp4")
        assert code == 0 and info.fps == 10 and len(frames) == 2, err
        assert "PD-FGC" not in err, "nothing is missed"

    @pytest.mark.parametrize(
        ("driver", "words"),
        [
            (("animate", "-d", "{files}/clip.mp4"), ("pd_fpg.pth", "mien weights pull pd-fgc", "train_projection")),
            (("animate", "-m", "smile"), ("no motion projection", "train_projection")),
            (("animate", "-d", "0={files}/clip.mp4"), ("pd_fpg.pth", "mien weights pull pd-fgc", "train_projection")),
            (("animate", "-d", "0={files}/clip.mp4", "-m", "1=smile"), ("no motion projection",)),
            (("talk", "-a", "{files}/tone.wav", "--speech-method", "loudness"), ("no motion projection",)),
        ],
        ids=["clip", "motion", "cast of clips", "cast of both", "speech"],
    )
    def test_what_nothing_makes_features_of_is_one_sentence(
        self, mien, files, duo, plain_folder, without_encoder, tmp_path, driver, words
    ):
        command, *rest = (word.format(files=files) for word in driver)
        code, _, err = mien(
            *(command, "--model", plain_folder, "-s", duo / "duo.png", *rest),
            *("-o", tmp_path / "out.mp4", "--report", tmp_path / "r.json"),
            *(SMALL if command == "animate" else ()),
        )
        assert code == EXIT_ERROR and err.startswith("mien: ") and err.count("\n") == 1, err
        assert all(word in err for word in words) and not list(tmp_path.iterdir())

    @pytest.mark.parametrize("option", [("--strength", "eyes=1.2"), ("--region", "lips"), ("--smooth", "0.5")])
    @pytest.mark.parametrize("driver", ["{clip}", "0={clip}"], ids=["one", "cast"])
    def test_what_features_do_not_offer_is_refused(
        self, mien, files, plain_folder, with_encoder, tmp_path, option, driver
    ):
        code, _, err = mien(
            *("animate", "--model", plain_folder, "-s", files / "portrait.png", "-o", tmp_path / "out.mp4"),
            *("-d", driver.format(clip=files / "clip.mp4"), *option, *SMALL),
        )
        assert code == EXIT_ERROR and option[0] in err and err.count("\n") == 1 and not list(tmp_path.iterdir()), err

    def test_a_damaged_encoder_is_no_missing_one(
        self, mien, files, tiny_expression_folder, encoder_weights, monkeypatch, tmp_path
    ):
        (tmp_path / "pd-fgc").mkdir()
        data = (encoder_weights / "pd-fgc/pd_fpg.pth").read_bytes()
        (tmp_path / "pd-fgc/pd_fpg.pth").write_bytes(data[:100_000])
        monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
        code, _, err = mien(
            *("animate", "--model", tiny_expression_folder, "-s", files / "portrait.png", "-d", files / "clip.mp4"),
            *("-o", tmp_path / "out.mp4", *SMALL),
        )
        assert code == EXIT_ERROR and "pd_fpg.pth" in err and err.count("\n") == 1, err


class TestSeveralFaces:
    def run(self, mien, duo, model, output, *arguments) -> str:
        code, _, err = mien(
            "animate", "--model", model, "-s", duo / "duo.png", "-o", output, "--steps", "1", *arguments, *SMALL
        )
        assert code == 0, err
        return err

    @pytest.mark.parametrize(
        ("ends", "frames", "fit"), [("hold", 8, "held"), ("loop", 8, "looped"), ("trim", 4, "whole")]
    )
    def test_drivers_of_other_lengths_and_rates_play_together(
        self, mien, files, duo, plain_folder, with_encoder, fed, tmp_path, ends, frames, fit
    ):
        output, report = tmp_path / "out.mp4", tmp_path / "report.json"
        drivers = ("-d", f"left={files / 'clip.mp4'}", "-d", f"right={duo / 'slow.mp4'}@0")
        err = self.run(mien, duo, plain_folder, output, *drivers, "--ends", ends, "--report", report)
        info, drawn = read(output)
        assert info.fps == 25 and len(drawn) == frames and (info.width, info.height) == (512, 256)
        left, right = fed[0]
        assert left.shape == right.shape == (frames, 554) and not np.allclose(left, right)
        cast = {entry["place"]: entry for entry in facts_of(report)["cast"]}
        assert "resampled from 12.5 to 25 frames/s" in err and "resampled from 29.97 to 25 frames/s" in err
        assert {cast[f"left-to-right:{n}"]["driver"] for n in (0, 1)} == {"clip.mp4", "slow.mp4@0"}
        assert cast["left-to-right:1"]["fit"] == fit and "eased" not in err
        if ends == "hold":
            assert (right[4:] == right[3]).all() and not np.allclose(right[3], right[0])

    def test_a_clip_and_a_motion_side_by_side(self, mien, duo, tiny_expression_folder, with_encoder, fed, tmp_path):
        drivers = ("-d", f"right={duo / 'slow.mp4'}", "-m", "left=smile", "--trim-end", "0.16")
        err = self.run(mien, duo, tiny_expression_folder, tmp_path / "out.mp4", *drivers)
        assert len(read(tmp_path / "out.mp4")[1]) == 4 and "Faces that moved, 2 of 2" in err
        clip, motion = fed[0]
        assert clip.shape == motion.shape == (4, 554) and np.abs(clip).max() > 10 * np.abs(motion).max()

    def test_the_people_of_one_clip_are_read_one_by_one_and_kept(
        self, mien, duo, plain_folder, with_encoder, fed, tmp_path
    ):
        common = ("-d", duo / "both.mp4", "--faces", "left-to-right", "--work-folder", tmp_path / "work")
        first = self.run(mien, duo, plain_folder, tmp_path / "one.mp4", *common)
        again = self.run(mien, duo, plain_folder, tmp_path / "two.mp4", *common)
        assert "expression" in first and "tracking" not in again, "neither tracked nor encoded again"
        assert all(np.array_equal(one, other) for one, other in zip(*fed, strict=True))
        assert np.array_equal(read(tmp_path / "one.mp4")[1], read(tmp_path / "two.mp4")[1])
        left, right = fed[0]
        assert len(left) == 4 and not np.allclose(left, right)
        code, _, err = mien(
            *("animate", "--model", plain_folder, "-s", duo / "duo.png", *common, "--fps", "10", "--steps", "1"),
            *("-o", tmp_path / "three.mp4", *SMALL),
        )
        assert code == EXIT_ERROR and "belongs to another job" in err

    def test_a_cast_file_and_the_best_match(self, mien, duo, plain_folder, with_encoder, fed, tmp_path):
        (tmp_path / "cast.yaml").write_text(f"faces: {{anna: {{face: right, driving: {duo / 'slow.mp4'}}}}}\n")
        err = self.run(mien, duo, plain_folder, tmp_path / "out.mp4", "--cast", tmp_path / "cast.yaml")
        assert "slow.mp4 → anna (left-to-right:1)" in err and "As before stayed: left-to-right:0" in err
        err = self.run(mien, duo, plain_folder, tmp_path / "out.mp4", "-d", duo / "both.mp4", "--faces", "best-match")
        assert "matched by" in err and [len(run) for run in fed] == [1, 2]
