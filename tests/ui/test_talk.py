"""`mien talk`: what a person gets, and one sentence for each mistake."""

import json
import os
import wave
from fractions import Fraction

import numpy as np
import pytest

from ui.cli import EXIT_ERROR
from weights.registry import get

needs_speech_model = pytest.mark.skipif(not get("talk").available, reason="the speech model is not built yet")
#: A jaw that follows the loudness, and no network for the pictures: what surrounds them is what is tested.
QUICK = ("--speech-method", "loudness", "--method", "prior")


def write_sound(path, samples: np.ndarray, rate: int = 16000, channels: int = 1) -> None:
    """A 16-bit WAV file of samples in [-1, 1], the same on every channel."""
    data = np.repeat(np.clip(samples, -1, 1)[:, None] * 32767, channels, axis=1).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(data.tobytes())


def syllables(seconds: float, rate: int = 16000) -> np.ndarray:
    """A buzz that comes and goes four times a second."""
    times = np.arange(round(seconds * rate)) / rate
    return 0.4 * np.sign(np.sin(2 * np.pi * 150 * times)) * np.sin(np.pi * 4 * times) ** 2


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A folder of sounds, each named after what is special about it."""
    folder = tmp_path_factory.mktemp("sounds")
    write_sound(folder / "speech.wav", syllables(1.2))
    write_sound(folder / "silent.wav", np.zeros(12800))
    write_sound(folder / "clipped.wav", 40 * syllables(0.5))
    write_sound(folder / "eight.wav", syllables(0.5), channels=8)
    write_sound(folder / "fast.wav", syllables(0.5, 96000), rate=96000)
    write_sound(folder / "one.wav", np.ones(1) * 0.1)
    write_sound(folder / "nothing.wav", np.zeros(0))
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("This is a letter.\n" * 50)
    return folder


def read(path):
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return reader.info, np.stack(list(reader))


def test_the_portrait_talks_as_long_as_the_sound_at_the_rate_that_was_asked_for(mien, files, sounds, tmp_path):
    output, report, kept = (tmp_path / name for name in ("out.mp4", "report.json", "kept.safetensors"))
    code, _, err = mien(
        *("talk", "-s", files / "portrait.png", "-a", sounds / "speech.wav", "-o", output, *QUICK),
        *("--fps", "30000/1001", "--report", report, "--save-motion", kept, "--seed", "3"),
    )
    assert code == 0, err
    info, frames = read(output)
    assert (info.fps, len(frames), info.width, info.height) == (Fraction(30000, 1001), 36, 256, 256)
    assert info.has_audio and np.abs(np.diff(frames.astype(int), axis=0)).max() > 40
    facts = json.loads(report.read_text())
    assert facts["command"] == "talk" and facts["frames"] == 36 and facts["seed"] == 3 and facts["bridged"] == 0
    assert facts["animation_seconds"]["speech"] > 0 and facts["sound"].startswith("encoded")
    assert "36 frames" in err and "face" not in err.removeprefix(str(output))
    code, out, _ = mien("motion", "info", kept, "--json")
    assert json.loads(out)["frames"] == 36
    assert sorted(os.listdir(tmp_path)) == ["kept.safetensors", "out.mp4", "report.json"]


def test_the_same_seed_gives_the_same_frames_and_another_one_others(mien, files, sounds, tmp_path):
    made = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        output = tmp_path / f"{name}.mp4"
        code, _, err = mien(
            *("talk", "-s", files / "portrait.png", "-a", sounds / "speech.wav", "-o", output, *QUICK),
            *("--seed", seed, "--head-motion", 1, "-q", "--crf", 0),
        )
        assert code == 0, err
        made[name] = read(output)[1]
    assert np.array_equal(made["a"], made["b"]) and not np.array_equal(made["a"], made["c"])


def test_a_head_that_stays_and_a_head_that_is_taken_from_a_video(mien, files, sounds, tmp_path):
    common = ("talk", "-s", files / "portrait.png", "-a", sounds / "speech.wav", *QUICK, "--no-blinks", "-q")
    motions = []
    for extra in (("--head-motion", 0), ("--pose-from", files / "clip.mp4", "--report", tmp_path / "r.json")):
        kept = tmp_path / f"{len(motions)}.safetensors"
        code, _, err = mien(*common, "-o", tmp_path / "out.mp4", "--save-motion", kept, *extra)
        assert code == 0, err
        from animate.motion import Motion

        motions.append(Motion.load(kept))
    still, moved = motions
    assert np.abs(still.rotation).max() < 1e-6 and np.abs(still.translation).max() < 1e-6
    assert np.ptp(moved.translation[:, 0]) > 0.1, "the clip's head goes to the right"
    notes = json.loads((tmp_path / "r.json").read_text())["notes"]
    assert any("2 frames" in note and "bridged" in note for note in notes)


def test_side_by_side_shows_two_pictures_and_strength_0_holds_everything_still(mien, files, sounds, tmp_path):
    output = tmp_path / "out.mp4"
    code, out, err = mien(
        *("talk", "-s", files / "portrait.png", "-a", sounds / "speech.wav", "-o", output, *QUICK, "-q"),
        *("--side-by-side", "--strength", "0", "--crf", 5, "--fps", 10),
    )
    assert (code, out, err) == (0, "", "")
    info, frames = read(output)
    assert (info.width, info.height, len(frames)) == (512, 256, 12)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() < 20


@pytest.mark.parametrize(
    ("sound", "frames", "words"),
    [
        ("silent.wav", 8, "The sound is silent"),
        ("clipped.wav", 5, "clipped"),
        ("eight.wav", 5, ""),
        ("fast.wav", 5, ""),
        ("one.wav", 1, ": 1 frame of"),
    ],
)
def test_unusual_sounds_work_and_what_is_wrong_with_them_is_said(mien, files, sounds, tmp_path, sound, frames, words):
    output = tmp_path / "out.mp4"
    code, _, err = mien(
        *("talk", "-s", files / "portrait.png", "-a", sounds / sound, "-o", output, *QUICK, "--fps", 10)
    )
    assert code == 0 and words in err, err
    assert len(read(output)[1]) == frames


def test_a_videos_sound_is_spoken_from_its_first_frame_on(mien, files, sounds, tmp_path):
    """Sound that begins before a video's picture is not part of what is seen there."""
    import subprocess

    from imageio_ffmpeg import get_ffmpeg_exe

    late = tmp_path / "late.mkv"
    command = [get_ffmpeg_exe(), "-v", "error", "-itsoffset", "0.4", "-i", files / "clip.mp4"]
    command += ["-i", sounds / "speech.wav", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_s16le", late]
    subprocess.run([str(part) for part in command], check=True)
    from ui.speech import Speech

    spoken = np.concatenate(list(Speech(late).blocks()))
    whole = np.concatenate(list(Speech(sounds / "speech.wav").blocks()))
    skipped = round(0.4 * 16000)
    assert abs(len(spoken) - (len(whole) - skipped)) <= 32
    window = slice(2000, 6000)
    best = max(range(-40, 41), key=lambda d: float(spoken[window] @ whole[skipped + d + 2000 : skipped + d + 6000]))
    assert abs(best) <= 32


# (what the command is told differently, words that the sentence must hold)
CASES = {
    "no such sound": (["-a", "{sounds}/nowhere.wav"], ["nowhere.wav", "does not exist"]),
    "sound is a folder": (["-a", "{sounds}"], ["folder"]),
    "empty sound": (["-a", "{sounds}/empty.wav"], ["empty.wav", "empty"]),
    "sound is a text": (["-a", "{sounds}/text.wav"], ["text.wav", "give a sound file"]),
    "sound is a picture": (["-a", "{files}/portrait.png"], ["portrait.png", "no sound"]),
    "portrait is a video": (["-s", "{files}/clip.mp4"], ["clip.mp4", "is a video, not a picture"]),
    "no such device": (["--method", "mini", "--device", "abacus"], ["abacus", "cpu"]),
    "motion file is the output": (["--save-motion", "{tmp}/out.mp4"], ["out.mp4", "two outputs"]),
    "0 s": (["-a", "{sounds}/nothing.wav"], ["nothing.wav", "0 s"]),
    "video without sound": (["-a", "{files}/faceless.mp4"], ["faceless.mp4", "no sound"]),
    "no face in the portrait": (["-s", "{files}/noise.png"], ["noise.png", "face"]),
    "no such pose video": (["--pose-from", "{sounds}/nowhere.mp4"], ["nowhere.mp4", "does not exist"]),
    "no face in the pose video": (["--pose-from", "{files}/faceless.mp4"], ["faceless.mp4", "face"]),
    "a picture as a pose video": (["--pose-from", "{files}/portrait.png"], ["portrait.png", "single frame"]),
    "pose video without picture": (["--pose-from", "{sounds}/speech.wav"], ["speech.wav", "no picture"]),
    "unknown emotion": (["--emotion", "hungry"], ["hungry", "happy"]),
    "unknown style": (["--style", "wild"], ["wild", "lively"]),
    "style out of range": (["--style", "2"], ["2", "-1 to 1"]),
    "mouth out of range": (["--mouth", "9"], ["9", "3"]),
    "head motion out of range": (["--head-motion", "1.5"], ["1.5", "1"]),
    "impossible rate": (["--fps", "fast"], ["--fps", "fast"]),
    "unknown strength": (["--strength", "ears=1"], ["ears", "brows"]),
    "unknown speech model": (["--speech-model", "{sounds}"], ["speech model"]),
    "unknown speech method": (["--speech-method", "magic"], ["magic"]),
    "output is the sound": (["-o", "{sounds}/speech.wav"], ["speech.wav"]),
    "unknown option": (["--loud"], ["--loud"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_no_output(mien, files, sounds, tmp_path, case):
    words, expected = CASES[case]
    words = [word.format(sounds=sounds, files=files, tmp=tmp_path) for word in words]
    arguments = {"-s": files / "portrait.png", "-a": sounds / "speech.wav", "-o": tmp_path / "out.mp4"}
    arguments |= {"--speech-method": "loudness", "--method": "still"}
    for name, value in zip(words[::2], words[1::2], strict=False):
        arguments[name] = value
    flat = [part for pair in arguments.items() for part in pair] + words[len(words) // 2 * 2 :]
    before = (sounds / "speech.wav").read_bytes()
    code, _, err = mien("talk", *flat)
    assert code == EXIT_ERROR, err
    assert err.startswith("mien: ") and err.count("\n") == 1 and err.endswith(".\n"), err
    assert all(word in err for word in expected), err
    assert os.listdir(tmp_path) == [] and (sounds / "speech.wav").read_bytes() == before


@needs_speech_model
def test_the_shipped_speech_and_the_shipped_models(mien, files, tmp_path):
    from pathlib import Path

    import talking_face

    speech = Path(talking_face.__file__).with_name("speech") / "hello.flac"
    output = tmp_path / "out.mp4"
    code, _, err = mien("talk", "-s", files / "portrait.png", "-a", speech, "-o", output, "--fps", 12, "-q")
    assert code == 0, err
    info, frames = read(output)
    assert len(frames) == round(6.135 * 12) and info.has_audio
