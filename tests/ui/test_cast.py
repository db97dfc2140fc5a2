"""`mien animate` and `mien talk` with several faces: who moves, how it ends together, and one sentence for mistakes."""

import json
import os

import numpy as np
import pytest

from ui.cli import EXIT_ERROR, main
from weights.registry import get

QUICK = ("--method", "warp")
SPEECH = ("--speech-method", "loudness", *QUICK)


def read(path):
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return reader.info, np.stack(list(reader))


def moves(frames: np.ndarray, half: str) -> float:
    """How much one half of a picture (T, H, W, 3) of two people changes over time."""
    width = frames.shape[2] // 2
    part = frames[:, :, :width] if half == "left" else frames[:, :, width:]
    return float(np.abs(part.astype(int) - part[0]).mean(axis=(1, 2, 3)).max())


@pytest.fixture(scope="module")
def group(tmp_path_factory, files, motion_file):
    """A folder: duo.png (two people side by side), duo.mp4 (the clip, and its mirror image on the right, standing still
    in the second half), sounds, casts."""
    from animate.media import VideoReader, VideoWriter, read_image, write_image

    from .test_talk import syllables, write_sound

    folder = tmp_path_factory.mktemp("group")
    face = read_image(files / "portrait.png")
    # the right one is smaller, so that the largest is the left one
    right = np.full_like(face, 127)
    right[32:224, 32:224] = face[::-1, ::-1][::-1][
        np.linspace(0, 255, 192).astype(int)[:, None], np.linspace(0, 255, 192).astype(int)
    ]
    write_image(folder / "duo.png", np.concatenate([face, right], axis=1))
    with VideoReader(files / "clip.mp4") as reader:
        frames = list(reader)
    with VideoWriter(folder / "duo.mp4", reader.fps, crf=5) as writer:
        for frame in frames[:4]:
            writer.write(np.concatenate([frame, frames[0][:, ::-1]], axis=1))
    main(["motion", "trim", str(motion_file), "-o", str(folder / "short.safetensors"), "--end", "0.2", "-q"])
    write_sound(folder / "a.wav", 0.8 * syllables(0.6))
    write_sound(folder / "b.wav", 0.8 * syllables(1.0))
    (folder / "cast.yaml").write_text(
        "order: left-to-right\nfaces:\n  anna: {face: 0, motion: short.safetensors}\n  ben: {face: right}\n"
    )
    (folder / "dialogue.yaml").write_text(
        "faces: {anna: {face: left, audio: a.wav}, ben: {face: right, audio: b.wav}}\n"
    )
    return folder


def run(mien, command, group, output, *arguments, code=0):
    got, _, err = mien(command, "-s", group / "duo.png", "-o", output, "--crf", "5", *arguments)
    assert got == code, err
    return err


def facts_of(path) -> dict:
    return {entry["place"]: entry for entry in json.loads(path.read_text())["cast"]}


def test_each_face_has_its_own_motion_and_the_report_says_which(mien, files, group, motion_file, tmp_path):
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    short = group / "short.safetensors"
    err = run(
        mien, "animate", group, output, "-m", f"left={motion_file}", "-m", f"right={short}", *QUICK, "--report", report
    )
    info, frames = read(output)
    assert (info.width, info.height, len(frames)) == (512, 256, 10)
    assert moves(frames, "left") > 1 and moves(frames, "right") > 0.5
    facts = facts_of(report)
    assert facts["left-to-right:0"]["driver"] == "clip" and facts["left-to-right:0"]["fit"] == "whole"
    assert facts["left-to-right:1"]["driver"] == "short" and facts["left-to-right:1"]["fit"] == "held"
    assert "last frame was held and eased to rest" in err and "clip → left-to-right:0" in err


@pytest.mark.parametrize(
    ("arguments", "still"),
    [
        (("-m", "1={motion}", "--faces", "left-to-right"), "left"),
        (("-m", "0={motion}"), "right"),
        (("-m", "{motion}", "--faces", "right-to-left"), "left"),
        (("-m", "{motion}", "--faces", "1"), "left"),
        (("-m", "ben={motion}", "-m", "anna={motion}", "--cast", "{group}/cast.yaml"), None),
        (("-m", "{motion}", "--faces", "all"), None),
        (("-m", "{motion}", "--faces", "0,1"), None),
    ],
    ids=["number in order", "number by size", "order", "one listed", "labels", "all", "several listed"],
)
def test_who_moves_and_who_stays(mien, group, motion_file, tmp_path, arguments, still):
    words = [word.format(motion=motion_file, group=group) for word in arguments]
    err = run(mien, "animate", group, tmp_path / "out.mp4", *words, *QUICK)
    _, frames = read(tmp_path / "out.mp4")
    for half in ("left", "right"):
        assert (moves(frames, half) > 0.5) == (half != still), half
    assert ("As before stayed: left-to-right:" in err) == (still is not None)


@pytest.mark.parametrize(
    ("ends", "frames", "fit"), [("hold", 10, "held"), ("loop", 10, "looped"), ("trim", 6, "whole")]
)
def test_drivers_of_different_lengths_end_together(mien, group, motion_file, tmp_path, ends, frames, fit):
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    drivers = ("-m", f"0={motion_file}", "-m", f"1={group / 'short.safetensors'}")
    run(mien, "animate", group, output, *drivers, "--ends", ends, *QUICK, "--report", report)
    assert len(read(output)[1]) == frames
    assert facts_of(report)["left-to-right:1"]["fit"] == fit
    assert facts_of(report)["left-to-right:0"]["fit"] == ("trimmed" if ends == "trim" else "whole")


def test_the_people_of_one_clip_take_the_faces_in_order(mien, group, tmp_path):
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    clip = group / "duo.mp4"
    run(
        mien,
        "animate",
        group,
        output,
        "-d",
        clip,
        "--faces",
        "left-to-right",
        *QUICK,
        "--side-by-side",
        "--report",
        report,
    )
    info, frames = read(output)
    assert (info.width, info.height, len(frames)) == (3 * 512, 256, 4)
    assert moves(frames[:, :, 1024:], "left") > 3 * moves(frames[:, :, 1024:], "right"), "the right one stands still"
    names = {where: entry["driver"] for where, entry in facts_of(report).items()}
    assert names == {f"left-to-right:{n}": f"duo.mp4@left-to-right:{n}" for n in (0, 1)}


def test_one_person_of_a_clip_of_several_is_picked(mien, group, tmp_path):
    run(mien, "animate", group, tmp_path / "out.mp4", "-d", f"left={group / 'duo.mp4'}@right", *QUICK)
    still = moves(read(tmp_path / "out.mp4")[1], "left")
    run(mien, "animate", group, tmp_path / "out.mp4", "-d", f"left={group / 'duo.mp4'}@left", *QUICK)
    assert moves(read(tmp_path / "out.mp4")[1], "left") > 3 * still


def test_best_match_and_a_job_that_is_begun_again(mien, group, tmp_path):
    common = ("-d", group / "duo.mp4", "--faces", "best-match", *QUICK, "--work-folder", tmp_path / "work")
    err = run(mien, "animate", group, tmp_path / "one.mp4", *common)
    assert "matched by" in err and "Faces that moved, 2 of 2" in err
    err = run(mien, "animate", group, tmp_path / "two.mp4", *common)
    assert "was finished before" in err or "were finished before" in err
    assert "tracking" not in err and np.array_equal(read(tmp_path / "one.mp4")[1], read(tmp_path / "two.mp4")[1])


@pytest.mark.parametrize(
    ("arguments", "sound"),
    [((), "that of clip.mp4"), (("--sound", "mix"), "the mix of clip.mp4 and loud.mp4"), (("--sound", "none"), None)],
    ids=["first", "mix", "none"],
)
def test_the_sound_is_the_first_clips_or_the_mix(mien, files, group, tmp_path, arguments, sound):
    loud = tmp_path / "loud.mp4"
    os.link(files / "clip.mp4", loud)
    drivers = ("-d", f"left={files / 'clip.mp4'}", "-d", f"right={loud}")
    err = run(mien, "animate", group, tmp_path / "out.mp4", *drivers, *arguments, *QUICK)
    assert read(tmp_path / "out.mp4")[0].has_audio == (sound is not None)
    assert sound is None or f"The sound is {sound}" in err


def test_a_dialogue_is_aligned_in_time_and_as_long_as_the_longest(mien, group, tmp_path):
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    sounds = ("-a", f"left={group / 'a.wav'}", "-a", f"right={group / 'b.wav'}")
    err = run(mien, "talk", group, output, *sounds, *SPEECH, "--fps", 20, "--report", report)
    info, frames = read(output)
    assert len(frames) == 20 and info.has_audio and "The sound is the mix of a.wav and b.wav" in err
    assert moves(frames, "left") > 0.3 and moves(frames, "right") > 0.3
    assert facts_of(report)["left-to-right:0"]["kind"] == "audio"


def test_turns_come_one_after_the_other_and_a_face_may_speak_again(mien, group, tmp_path):
    sounds = ("-a", f"left={group / 'a.wav'}", "-a", f"right={group / 'b.wav'}", "-a", f"left={group / 'a.wav'}")
    err = run(mien, "talk", group, tmp_path / "out.mp4", *sounds, "--turns", *SPEECH, "--fps", 20)
    _, frames = read(tmp_path / "out.mp4")
    assert len(frames) == round((0.6 + 1.0 + 0.6 + 2 * 0.3) * 20) and "b.wav begins at 0.9 s" in err


def test_a_cast_file_holds_a_dialogue_and_the_command_line_counts_more(mien, group, tmp_path):
    report = tmp_path / "report.json"
    cast = ("--cast", group / "dialogue.yaml", "-a", f"ben={group / 'a.wav'}")
    run(mien, "talk", group, tmp_path / "out.mp4", *cast, *SPEECH, "--fps", 10, "--report", report)
    entries = facts_of(report)
    assert [(entries[f"left-to-right:{n}"]["label"], entries[f"left-to-right:{n}"]["driver"]) for n in (0, 1)] == [
        ("anna", "a.wav"),
        ("ben", "a.wav"),
    ]


@pytest.mark.skipif(not get("talk").available, reason="the speech model is not built yet")
def test_a_cast_may_mix_clips_and_speech_in_either_command(mien, group, tmp_path):
    cast = tmp_path / "mixed.yaml"
    cast.write_text(f"faces: {{a: {{face: left, motion: smile}}, b: {{face: right, audio: {group / 'b.wav'}}}}}\n")
    for command, rate, frames in (("animate", (), 77), ("talk", ("--fps", "10"), 31)):
        err = run(mien, command, group, tmp_path / "out.mp4", "--cast", cast, *rate, *QUICK)
        assert len(read(tmp_path / "out.mp4")[1]) == frames and "The sound is that of b.wav" in err


def test_more_people_in_the_clip_than_in_the_picture(mien, files, group, tmp_path):
    code, _, err = mien(
        *("animate", "-s", files / "portrait.png", "-d", group / "duo.mp4", "--faces", "left-to-right"),
        *("-o", tmp_path / "out.mp4", *QUICK),
    )
    assert code == 0 and "shows 2 people, more than there are faces: the most prominent one drives" in err, err


def test_who_has_said_everything_lives_on_with_closed_lips(group):
    from dataclasses import replace
    from fractions import Fraction
    from pathlib import Path

    from animate import measures
    from animate.casting import Role, Seat
    from talking_face.talker import Talker, TalkOptions
    from ui.cast_speech import Saying, speak

    role = Role("audio", str(group / "a.wav"), "0")
    said = Saying(role, 16_000, 9_600)
    talker = Talker.from_pretrained(method="loudness")
    motion = speak(talker, [Seat(role, 0)], [said], Fraction(25), 200, TalkOptions(seed=3))[0]
    opening = measures.mouth_opening(motion.shapes)
    assert len(motion) == 200 and opening[25:40].max() > 0.05, "it speaks from the first second on"
    assert max(opening[:22].max(), opening[50:].max()) < 0.02, "and is silent before and after"
    eyes = measures.eye_openings(motion.shapes).mean(axis=1)
    assert np.ptp(eyes[50:]) > 0.1 and np.ptp(motion.rotation[50:], axis=0).max() > 0.005, "it blinks and sways"
    other = replace(role, source=str(Path(role.source).with_name("b.wav")), face="1")
    both = speak(
        talker, [Seat(role, 0), Seat(other, 1)], [said, Saying(other, 0, 16_000)], Fraction(25), 200, TalkOptions()
    )
    assert not np.array_equal(both[0].rotation, both[1].rotation), "each in its own way"


# command, what it is told, words that the sentence must hold
CASES = {
    "more drivers than faces": ("animate", ["-m", "smile", "-m", "nod", "-m", "wink"], ["3 drivers", "2 faces"]),
    "more named drivers": ("animate", ["-m", "0=smile", "-m", "1=nod", "-m", "2=wink"], ["3 drivers", "2 faces"]),
    "label that matches nothing": ("animate", ["-m", "carl=smile"], ["carl", "--cast"]),
    "label that is not in the cast": (
        "animate",
        ["-m", "carl=smile", "--cast", "{group}/cast.yaml"],
        ["carl", "anna, ben"],
    ),
    "face that is not there": ("animate", ["-m", "5=smile"], ["5", "2 faces"]),
    "same face twice": ("animate", ["-m", "left=smile", "-m", "0=nod"], ["left-to-right:0", "twice"]),
    "driver without a face": ("animate", ["-m", "left=smile", "-m", "nod"], ["nod names no face"]),
    "half a driver": ("animate", ["-d", "left="], ["FACE=FILE"]),
    "no such clip": ("animate", ["-d", "left=nowhere.mp4"], ["nowhere.mp4", "does not exist"]),
    "motion given as a clip": ("animate", ["-d", "left={group}/short.safetensors"], ["--motion"]),
    "no such person": ("animate", ["-d", "left={group}/duo.mp4@left-to-right:4"], ["duo.mp4", "left-to-right:4"]),
    "person not understood": ("animate", ["-d", "left={group}/duo.mp4@tallest"], ["duo.mp4", "tallest"]),
    "person by a picture": ("animate", ["-d", "left={group}/duo.mp4", "--driving-face", "{group}/duo.png"], ["number"]),
    "unknown end": ("animate", ["-m", "left=smile", "--ends", "bounce"], ["bounce", "hold"]),
    "unknown sound": ("animate", ["-m", "left=smile", "--sound", "loudest"], ["loudest", "mix"]),
    "ends of one": ("animate", ["-m", "smile", "--ends", "loop"], ["--ends"]),
    "one face and several": ("animate", ["-m", "left=smile", "--face", "right"], ["--face right", "--faces"]),
    "unreadable cast": ("animate", ["--cast", "{group}/a.wav"], ["a.wav", "YAML"]),
    "no such cast": ("animate", ["--cast", "{group}/no.yaml"], ["no.yaml", "does not exist"]),
    "output is the cast": ("animate", ["--cast", "{group}/cast.yaml", "--report", "{group}/cast.yaml"], ["cast.yaml"]),
    "nobody speaks": ("talk", [], ["--audio"]),
    "more speakers than faces": ("talk", ["-a", "{group}/a.wav"] * 3, ["3 drivers", "2 faces"]),
    "speaker without sound": ("talk", ["-a", "left={group}/duo.mp4"], ["duo.mp4", "no sound"]),
    "speaker twice": ("talk", ["-a", "0={group}/a.wav", "-a", "left={group}/b.wav"], ["twice", "a.wav"]),
    "match of sounds": ("talk", ["-a", "{group}/a.wav", "--faces", "best-match"], ["best-match"]),
    "turns of one": ("talk", ["-a", "{group}/a.wav", "--turns"], ["--turns"]),
    "head of one": ("talk", ["-a", "left={group}/a.wav", "--pose-from", "{group}/duo.mp4"], ["--pose-from"]),
    "motion of one": ("talk", ["-a", "left={group}/a.wav", "--save-motion", "m.safetensors"], ["--save-motion"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_nothing_is_written(mien, group, tmp_path, case):
    command, words, expected = CASES[case]
    before = (group / "cast.yaml").read_bytes()
    arguments = [word.format(group=group) for word in words]
    err = run(mien, command, group, tmp_path / "out.mp4", *arguments, *QUICK, code=EXIT_ERROR)
    assert err.startswith("mien: ") and err.count("\n") == 1 and err.endswith(".\n"), err
    assert all(word in err for word in expected), err
    assert os.listdir(tmp_path) == [] and (group / "cast.yaml").read_bytes() == before


def test_two_real_portraits_side_by_side(mien, shared, tmp_path):
    from animate.media import read_image, write_image

    names = ("female_512_1", "male_512_12")
    faces = [read_image(shared / f"data/examples/portraits/assets-person-__{name}.jpg")[::4, ::4, :3] for name in names]
    size = min(min(face.shape[:2]) for face in faces)
    write_image(tmp_path / "duo.png", np.concatenate([face[:size, :size] for face in faces], axis=1))
    code, _, err = mien(
        *("animate", "-s", tmp_path / "duo.png", "-m", "0=smile", "-m", "1=nod", "--faces", "left-to-right"),
        *("-o", tmp_path / "out.mp4", "--trim-end", "1.2", *QUICK),
    )
    assert code == 0 and "smile → left-to-right:0, nod → left-to-right:1" in err, err
    _, frames = read(tmp_path / "out.mp4")
    assert moves(frames, "left") > 0.3 and moves(frames, "right") > 0.3
