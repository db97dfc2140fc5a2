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


@pytest.fixture(scope="session")
def duo(tmp_path_factory, files):
    """A folder: duo.png, two people side by side, slow.mp4, 2 frames at 12.5 frames per second, and both.mp4,
    of two people, just as long."""
    from animate.media import VideoReader, VideoWriter, read_image, write_image

    folder = tmp_path_factory.mktemp("duo")
    face = read_image(files / "portrait.png")
    write_image(folder / "duo.png", np.concatenate([face, face[:, ::-1]], axis=1))
    with VideoReader(files / "clip.mp4") as reader:
        frames = list(reader)
    with VideoWriter(folder / "slow.mp4", 12.5, crf=5) as writer:
        for frame in frames[:2]:
            writer.write(frame[:, ::-1])
    with VideoWriter(folder / "both.mp4", 12.5, crf=5) as writer:
        for frame, other in zip(frames[:2], frames[2:4], strict=True):
            writer.write(np.concatenate([frame, other[:, ::-1]], axis=1))
    return folder


@pytest.fixture(scope="session")
def encoder_weights(tmp_path_factory):
    """A folder for MIEN_WEIGHTS with PD-FGC's encoder in its published size; its numbers are random."""
    import torch

    from animate.models.expression_encoder import ExpressionEncoder

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        encoder = ExpressionEncoder()
        # untrained, the last map is negative everywhere, and nothing would come through
        encoder.model.conv6.weight.normal_(std=0.5)
        encoder.model.conv6.bias.fill_(1.0)
        encoder.model.fc.weight.normal_()
    folder = tmp_path_factory.mktemp("weights")
    (folder / "pd-fgc").mkdir()
    torch.save(encoder.state_dict(), folder / "pd-fgc/pd_fpg.pth")
    return folder


@pytest.fixture
def with_encoder(encoder_weights, monkeypatch):
    monkeypatch.setenv("MIEN_WEIGHTS", str(encoder_weights))


@pytest.fixture(scope="session")
def plain_folder(tiny_expression_folder, tmp_path_factory):
    """The tiny model as it is published: without a motion projection."""
    import json
    import shutil

    folder = tmp_path_factory.mktemp("plain") / "model"
    shutil.copytree(tiny_expression_folder, folder)
    shutil.rmtree(folder / "motion_projection")
    index = json.loads((folder / "model_index.json").read_text())
    index["motion_projection"] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def web_page():
    """The real page on localhost, with limits that tests can reach."""
    pytest.importorskip("gradio", reason="the extra `ui` is not installed")
    from ui.web import Settings, served
    from ui.web_limits import Limits

    with served(Settings(limits=Limits(upload_mb=8, seconds=20, waiting=24))) as page:
        yield page
