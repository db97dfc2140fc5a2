"""`mien dub`: what a person gets, and one sentence for each mistake."""

import json
import os
import wave
from fractions import Fraction

import numpy as np
import pytest

from ui.cli import EXIT_ERROR

FPS, FRAMES = Fraction(30000, 1001), 10  # of the clip in conftest.py
QUICK = ("--speech-method", "loudness", "--method", "prior")


def read(path):
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return reader.info, np.stack(list(reader))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A sound of 0.2 s: 6 frames of the clip's 10."""
    path = tmp_path_factory.mktemp("short") / "short.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes((8000 * np.sin(np.arange(3200) * 0.3)).astype("<i2").tobytes())
    return path


def test_the_video_keeps_its_size_rate_and_missing_frames_and_gets_the_sound(mien, files, tmp_path):
    output, report = tmp_path / "out.mkv", tmp_path / "report.json"
    code, _, err = mien(
        *("dub", "-v", files / "clip.mp4", "-a", files / "tone.wav", "-o", output, "--report", report, *QUICK),
        *("--crf", 0, "--longer", "trim"),
    )
    assert code == 0, err
    info, frames = read(output)
    assert (info.fps, len(frames), info.width, info.height, info.has_audio) == (FPS, FRAMES, 256, 256, True)
    _, own = read(files / "clip.mp4")
    assert np.abs(frames[[4, 5]].astype(int) - own[[4, 5]]).max() < 6, "frames without the face"
    assert np.abs(frames[:, :60].astype(int) - own[:, :60]).mean() < 1, "hair and background"
    facts = json.loads(report.read_text())
    assert facts["command"] == "dub" and facts["bridged_frames"] == [4, 5] and facts["frames"] == FRAMES
    assert {"loading", "tracking", "animation", "encoding"} <= facts["seconds"].keys()
    assert "2 frames without a face (4-5) stayed as they are" in err


@pytest.mark.parametrize(
    ("extra", "sound", "count"),
    [
        ((), "tone", 30),
        (("--longer", "hold"), "tone", 30),
        (("--longer", "trim"), "tone", FRAMES),
        ((), "short", FRAMES),
        (("--shorter", "keep"), "short", FRAMES),
        (("--shorter", "trim"), "short", 6),
    ],
)
def test_sound_and_picture_of_different_length(mien, files, short, tmp_path, extra, sound, count):
    audio = files / "tone.wav" if sound == "tone" else short
    output = tmp_path / "out.mp4"
    code, _, err = mien("dub", "-v", files / "clip.mp4", "-a", audio, "-o", output, "-q", *QUICK, *extra)
    assert (code, err) == (0, "")
    assert len(read(output)[1]) == count


def test_side_by_side_shows_the_video_and_the_result(mien, files, tmp_path):
    output = tmp_path / "out.mp4"
    code, _, err = mien(
        *("dub", "-v", files / "clip.mp4", "-a", files / "tone.wav", "-o", output, "-q", *QUICK, "--side-by-side"),
        *("--crf", 5),
    )
    assert (code, err) == (0, "")
    info, frames = read(output)
    assert (info.width, info.height, len(frames)) == (512, 256, 30)
    apart = np.abs(frames[:, :60, :256].astype(int) - frames[:, :60, 256:])
    assert apart.mean() < 2, "both run backwards together"


CASES = {
    "no such video": (["-v", "{files}/nowhere.mp4"], ["nowhere.mp4", "does not exist"]),
    "video without a face": (["-v", "{files}/faceless.mp4"], ["faceless.mp4", "face"]),
    "a sound instead of a video": (["-v", "{files}/tone.wav"], ["tone.wav", "no picture"]),
    "a picture instead of a video": (["-v", "{files}/portrait.png"], ["portrait.png", "single picture", "mien talk"]),
    "a text instead of a video": (["-v", "{files}/text.mp4"], ["text.mp4", "cannot be read as a video"]),
    "0 s": (["-a", "{files}/nothing.wav"], ["nothing.wav", "0 s"]),
    "strength of what is not dubbed": (["--strength", "lips=1,eyes=2"], ["eyes", "lips, jaw"]),
    "no such device": (["--method", "mini", "--device", "abacus"], ["abacus", "cpu"]),
    "report is the output": (["--report", "{tmp}/out.mp4"], ["out.mp4", "two outputs"]),
    "no such sound": (["-a", "{files}/nowhere.wav"], ["nowhere.wav", "does not exist"]),
    "video without sound as the sound": (["-a", "{files}/faceless.mp4"], ["faceless.mp4", "no sound"]),
    "unknown way for a longer sound": (["--longer", "stretch"], ["stretch", "loop, hold, trim"]),
    "unknown way for a shorter sound": (["--shorter", "stretch"], ["stretch", "rest, keep, trim"]),
    "no such person": (["--face", "5"], ["5", "1 face"]),
    "unknown order": (["--face", "prettiest"], ["prettiest", "largest"]),
    "a picture of the person": (["--face", "{files}/portrait.png"], ["--face", "number"]),
    "a method that cannot dub": (["--method", "still"], ["still", "mini or prior"]),
    "mouth out of range": (["--mouth", "-1"], ["-1"]),
    "output is the video": (["-o", "{files}/clip.mp4"], ["clip.mp4", "input"]),
    "output has no suffix that is known": (["-o", "{tmp}/out.xyz"], ["out.xyz", ".mp4"]),
}


@pytest.fixture(scope="module")
def broken(files):
    """The folder of files, with two more that are not what their names say."""
    (files / "text.mp4").write_text("This is a letter.\n" * 50)
    with wave.open(str(files / "nothing.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
    return files


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_no_output(mien, broken, tmp_path, case):
    files = broken
    words, expected = CASES[case]
    words = [word.format(files=files, tmp=tmp_path) for word in words]
    arguments = {"-v": files / "clip.mp4", "-a": files / "tone.wav", "-o": tmp_path / "out.mp4"}
    arguments |= dict(zip(QUICK[::2], QUICK[1::2], strict=True))
    arguments |= dict(zip(words[::2], words[1::2], strict=True))
    before = (files / "clip.mp4").read_bytes()
    code, _, err = mien("dub", *[part for pair in arguments.items() for part in pair])
    assert code == EXIT_ERROR, err
    assert err.startswith("mien: ") and err.count("\n") == 1 and err.endswith(".\n"), err
    assert all(word in err for word in expected), err
    assert os.listdir(tmp_path) == [] and (files / "clip.mp4").read_bytes() == before
