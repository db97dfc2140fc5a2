"""A folder of small media, suites and a run of it, and programs that are systems under test."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from animate.media import VideoWriter, write_image

FRAMES = 6
FPS = Fraction(25)


@pytest.fixture(scope="session")
def media(tmp_path_factory, astronaut, redetector):
    """portraits/{ana_female.png, old painting.png, blank.png}, video/{nod.mp4, slow.mp4}, speech.wav, manifest.csv.

    nod.mp4: the astronaut's mouth opens and her head moves, 6 frames of 192 px. slow.mp4: the same at 30 frames/s.
    """
    from animate.animator import PortraitAnimator
    from animate.motion import Motion
    from animate.portrait import Portrait
    from bench.runner.inputs import write_sound

    folder = tmp_path_factory.mktemp("media")
    for name in ("portraits", "video"):
        (folder / name).mkdir()
    picture = cv2.resize(astronaut[0:240, 110:350], (192, 192), interpolation=cv2.INTER_AREA)
    flipped = np.ascontiguousarray(picture[:, ::-1])
    write_image(folder / "portraits" / "ana_female.png", flipped)
    write_image(folder / "portraits" / "old.png", cv2.applyColorMap(flipped, cv2.COLORMAP_BONE)[..., ::-1])
    write_image(folder / "portraits" / "blank.png", np.full((96, 96, 3), 120, np.uint8))
    portrait = Portrait.from_image(picture, redetector.tracker)
    motion = Motion.builtin("laugh").take(slice(4, 4 + FRAMES))
    frames = list(PortraitAnimator.from_pretrained(method="warp").animate(portrait, motion))
    for name, fps in (("nod", FPS), ("slow", Fraction(30))):
        with VideoWriter(folder / "video" / f"{name}.mp4", fps, crf=4) as writer:
            for t, frame in enumerate(frames):
                writer.write(np.roll(frame, 2 * t, axis=1))
    rng = np.random.default_rng(0)
    loudness = np.abs(np.sin(np.arange(16_000) / 16_000 * 9)) * 0.3
    write_sound(folder / "speech.wav", (rng.normal(0, 1, 16_000) * loudness).astype(np.float32))
    (folder / "manifest.csv").write_text(
        "file,kind,licence,subject,age\n"
        "portraits/ana_female.png,image:real,CC0-1.0,ana,30\n"
        "portraits/old.png,image:painting,CC0-1.0,old,\n"
        "portraits/blank.png,image:animal,,blank,\n"
        "video/nod.mp4,video:driving,CC0-1.0,nod,\n"
        "video/slow.mp4,video:driving,CC0-1.0,slow,\n"
    )
    return folder


QUICK = ("l1", "akd", "landmark", "aed_mesh")


@pytest.fixture(scope="session")
def quick():
    """Function: a suite with few metrics, so that a test is quick."""

    def make(suite, *metrics: str):
        return replace(suite, metrics=metrics or QUICK)

    return make


@pytest.fixture(scope="session")
def self_suite(media, quick):
    """Two clips that drive themselves."""
    from bench.suites.prepare import fill

    return quick(fill("reenact-self", media))


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """Function: Python code as a system's command; `code` sees ARGV, the words after the program."""

    def make(code: str, words: str = "{portrait} {driver} {output}") -> str:
        path = tmp_path_factory.mktemp("program") / "system.py"
        path.write_text(f"import sys\nARGV = sys.argv[1:]\n{code}\n")
        return f"command:{sys.executable} {path} {words}"

    return make


@pytest.fixture(scope="session")
def wait_for_nothing():
    """A command that copies its driver."""
    return "import shutil; shutil.copy(ARGV[1], ARGV[2])"


@pytest.fixture(scope="session")
def alone(self_suite, quick, tmp_path_factory):
    """A suite and its run by one process, with the system mien:prior."""
    from bench.runner.run import run_suite

    out = tmp_path_factory.mktemp("alone")
    suite = quick(self_suite, "l1", "akd", "frechet_dlib")
    run_suite(suite, ["mien:prior"], out, baselines=False)
    return suite, out


@pytest.fixture(scope="session")
def same_run():
    """Function: assert that another run of `alone` has the same records, but for the time, and the same videos."""

    def figures(out):
        records = [json.loads(path.read_text()) for path in sorted((out / "mien-prior" / "cases").glob("*.json"))]
        return [{key: value for key, value in record.items() if key != "seconds"} for record in records]

    def compare(alone, out):
        suite, first = alone
        assert len(figures(out)) == len(suite.cases) and figures(out) == figures(first)
        for case in suite.cases:
            name = f"mien-prior/videos/{case.id}.mp4"
            assert (out / name).read_bytes() == (first / name).read_bytes()

    return compare
