"""Measuring a run's video: it holds the frames that the case asks for, or it is told what is wrong with it."""

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
