"""Measuring a run's video: it holds the frames that the case asks for, or it is told what is wrong with it."""

from dataclasses import replace

import numpy as np
import pytest

from bench.runner.measure import measure
from bench.runner.stage import Stage
from bench.runner.video import write_video
from bench.systems.system import Failed


@pytest.fixture(scope="module")
def scene(self_suite, redetector, tmp_path_factory):
    stage = Stage(self_suite, redetector, tmp_path_factory.mktemp("tracks"))
    return stage.scene(self_suite.cases[0])


@pytest.mark.parametrize(("more", "said"), [(1, "more than the {n} frames"), (-1, "gives {fewer} frames, not the {n}")])
def test_another_number_of_frames_is_told(scene, redetector, tmp_path, more, said):
    frames = list(scene.truth_frames())
    write_video(tmp_path / "out.mp4", [*frames, frames[-1]][: scene.count + more], scene.fps)
    with pytest.raises(Failed, match="out.mp4 .*" + said.format(n=scene.count, fewer=scene.count - 1)):
        measure(scene, tmp_path / "out.mp4", ["l1"], redetector, (1, 10))


def measured(scene, frames, redetector, folder, names):
    write_video(folder / "out.mp4", frames, scene.fps)
    return measure(scene, folder / "out.mp4", names, redetector, (1, 10))


def test_a_face_that_nobody_looks_for_is_not_lost(scene, redetector, tmp_path):
    blind = replace(scene, views=tuple(replace(view, near=None) for view in scene.views))
    found = measured(blind, list(scene.truth_frames()), redetector, tmp_path, ["l1", "akd", "face_quality_rule"])
    assert found.values["l1"] is not None and (found.frames, found.lost) == (0, 0)
    assert found.values["akd"] is None and found.values["face_quality_rule"] is None


def test_an_output_without_its_face_has_no_landmarks_to_measure(scene, redetector, tmp_path):
    grey = [np.full_like(frame, 127) for frame in scene.truth_frames()]
    found = measured(scene, grey, redetector, tmp_path, ["l1", "landmark", "mouth_corr"])
    assert found.values["l1"] > 0.05 and found.lost == found.frames == scene.count - 1
    assert found.values["landmark"] is None
    assert found.not_computed["landmark"].startswith(f"the output shows no face on {found.lost} of the {found.frames} ")


def test_the_truth_is_found_everywhere(scene, redetector, tmp_path):
    found = measured(scene, list(scene.truth_frames()), redetector, tmp_path, ["landmark"])
    assert found.values["landmark"] < 0.02 and found.lost == 0 and found.frames == scene.count - 1
