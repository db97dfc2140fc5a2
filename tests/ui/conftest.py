"""Tiny real files for the command-line tests, made once."""

import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

FPS = Fraction(30000, 1001)
FRAMES = 10


@pytest.fixture(scope="session")
def files(tmp_path_factory, astronaut) -> Path:
    """A folder: portrait.png, clip.mp4 (with sound, no face in frames 4 and 5), faceless.mp4, noise.png."""
    from animate.media import VideoWriter, write_image

    folder = tmp_path_factory.mktemp("files")
    face = np.ascontiguousarray(astronaut[0:256, 96:352])
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    write_image(folder / "portrait.png", face)
    write_image(folder / "noise.png", noise)
    with wave.open(str(folder / "tone.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        tone = 8000 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)
        sound.writeframes(tone.astype("<i2").tobytes())
    with VideoWriter(folder / "clip.mp4", FPS, audio=folder / "tone.wav") as writer:
        for t in range(FRAMES):
            blank = np.full_like(face, 128)
            writer.write(blank if t in (4, 5) else np.roll(face, 2 * t, axis=1))
    with VideoWriter(folder / "faceless.mp4", FPS) as writer:
        for _ in range(4):
            writer.write(np.kron(noise[:16, :16], np.ones((8, 8, 1), np.uint8)))
    return folder


@pytest.fixture(scope="session")
def motion_file(files) -> Path:
    """The clip's motion, extracted by the real command."""
    from ui.cli import main

    path = files / "clip.safetensors"
    assert main(["motion", "extract", str(files / "clip.mp4"), "-o", str(path), "-q", "--licence", "CC0"]) == 0
    return path


@pytest.fixture
def mien(capfd):
    """Runs `mien` in this process: mien("check", path) -> (exit code, standard output, standard error)."""
    from ui.cli import main

    def run(*arguments) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run
