"""The page's parts that need no browser: what it takes, the command it shows, jobs that can be stopped."""

import io
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from animate.errors import MediaError, MienError, OptionError
from ui.animate_job import AnimateOptions
from ui.animate_job import run as run_animate
from ui.cast_options import Cast
from ui.command_line import command_of
from ui.console import Progress
from ui.web_jobs import Cancelled, Running
from ui.web_limits import Limits, check_upload, without_folders

LIMITS = Limits(upload_mb=1, megapixels=0.5, seconds=2)


@pytest.fixture
def uploads(tmp_path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


def bomb() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1_000_000))
    return data.getvalue()


@pytest.mark.parametrize(
    "name, content, kind, sentence",
    [
        ("face.png", bomb(), "picture", "face.png is an archive (ZIP): give a JPEG"),
        ("clip.mp4", bomb(), "video", "clip.mp4 is an archive (ZIP): give a video"),
        ("a.wav", b"\x1f\x8b" + bytes(50), "sound", "a.wav is an archive (gzip)"),
        ("face.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture", "is a vector graphic (SVG)"),
        ("face.jpg", b"<?xml version='1.0'?>\n<svg/>", "picture", "is a vector graphic (SVG)"),
        ("clip.mp4", b"#EXTM3U\n/etc/passwd\n", "video", "is a play list"),
        ("clip.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "video", "is a play list"),
        ("clip.mp4", b"#!/bin/sh\n", "video", "is a program"),
        ("face.png", b"just text", "picture", "face.png is no picture that can be read"),
        ("clip.mp4", b"just text" * 99, "video", "cannot be read as a video"),
        ("m.safetensors", b"\x80\x04pickle", "motion", "is a pickle"),
        ("m.safetensors", b"junk" * 9, "motion", "m.safetensors"),
        ("face.png", b"", "picture", "empty"),
    ],
)
def test_a_file_that_is_something_else_is_refused_whatever_its_name(uploads, name, content, kind, sentence):
    path = uploads / name
    path.write_bytes(content)
    with pytest.raises(MienError) as error:
        check_upload(path, kind, LIMITS, uploads)
    assert sentence in str(error.value)


def test_a_video_named_as_a_picture_is_refused(uploads, files):
    path = uploads / "face.png"
    path.write_bytes((files / "clip.mp4").read_bytes())
    with pytest.raises(MediaError, match="is a video, not a picture"):
        check_upload(path, "picture", LIMITS, uploads)


def test_a_picture_is_no_video_and_no_sound(uploads, files):
    path = uploads / "clip.mp4"
    path.write_bytes((files / "portrait.png").read_bytes())
    for kind in ("video", "sound"):
        with pytest.raises(MediaError):
            check_upload(path, kind, LIMITS, uploads)


def test_the_right_files_pass(uploads, files, motion_file):
    for name, kind in (
        ("portrait.png", "picture"),
        ("clip.mp4", "video"),
        ("tone.wav", "sound"),
        ("clip.mp4", "sound"),
    ):
        path = uploads / name
        path.write_bytes((files / name).read_bytes())
        assert check_upload(path, kind, LIMITS, uploads) == path
    (uploads / "m.safetensors").write_bytes(motion_file.read_bytes())
    check_upload(uploads / "m.safetensors", "motion", LIMITS, uploads)


def test_only_files_of_the_upload_folder_are_read(uploads, tmp_path, files):
    link = uploads / "link.png"
    link.symlink_to(files / "portrait.png")
    for path in (files / "portrait.png", uploads / "../secret.png", link, Path("/etc/passwd")):
        with pytest.raises(MediaError, match="Only files that were uploaded"):
            check_upload(path, "picture", LIMITS, uploads)


def test_too_much_is_refused(uploads):
    from PIL import Image

    (uploads / "big.wav").write_bytes(bytes(1_100_000))
    with pytest.raises(MediaError, match="1 MB, more than 1"):
        check_upload(uploads / "big.wav", "sound", LIMITS, uploads)
    Image.new("L", (4000, 4000)).save(uploads / "wide.png")
    with pytest.raises(MediaError, match="16 megapixels, more than 0.5"):
        check_upload(uploads / "wide.png", "picture", LIMITS, uploads)


def test_a_long_sound_is_refused(uploads):
    import wave

    with wave.open(str(uploads / "long.wav"), "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000 * 5))
    with pytest.raises(MediaError, match="lasts 5 s, more than 2"):
        check_upload(uploads / "long.wav", "sound", LIMITS, uploads)


def test_sentences_name_no_folder():
    assert without_folders("/a/b/c.png is bad", ["/a/b/c.png"]) == "c.png is bad"


def test_the_command_of_a_group(duo):
    from ui.web_group import read_cast

    cast = read_cast("left=smile\nright=slow.mp4", {"slow.mp4": duo / "slow.mp4"}, "loop", "none")
    job = AnimateOptions(source=duo / "duo.png", output=Path("x.mp4"), cast=cast)
    words = command_of(job, {})
    assert words[:4] == ["mien", "animate", "-s", "duo.png"]
    for option in (["-m", "left=smile"], ["-d", "right=slow.mp4"], ["--ends", "loop"], ["--sound", "none"]):
        assert option[1] in words[words.index(option[0]) + 1 :]


def test_lines_of_a_cast_that_mean_nothing(duo):
    from ui.web_group import read_cast

    for text, sentence in (
        ("left", "not understood"),
        ("left=nothing", "called 'nothing'"),
        (" \n", "Nobody is moved"),
    ):
        with pytest.raises(OptionError, match=sentence):
            read_cast(text, {}, "hold", "first")
    assert isinstance(read_cast("0=smile", {}, "hold", "first"), Cast)


def test_a_click_writes_and_takes_out_one_line():
    from ui.web_group import with_driver

    assert with_driver("left=smile\nright=nod", "left", "wink") == "right=nod\nleft=wink"
    assert with_driver("left=smile\nright=nod", "left", "") == "right=nod"


def test_a_job_can_be_watched_and_gives_its_result():
    def work(progress):
        with progress.stage("loading"):
            pass
        return [item for item in progress.follow(_slowly(4), "drawing", 4)]

    running = Running(work)
    stands = [str(stand) for stand in running]
    assert running.result == [0, 1, 2, 3]
    assert any(stand.startswith("Drawing: frame") and "frames/s" in stand for stand in stands)


def test_a_cancelled_job_stops_at_its_next_frame():
    seen = []

    def work(progress):
        for item in progress.follow(_slowly(1000), "drawing", 1000):
            seen.append(item)

    running = Running(work)
    for _ in running:
        running.progress.cancel()
    with pytest.raises(Cancelled):
        _ = running.result
    assert len(seen) < 20


def test_whoever_stops_looking_stops_the_job():
    ended = threading.Event()

    def work(progress):
        try:
            for _ in progress.follow(_slowly(1000), "drawing", 1000):
                pass
        finally:
            ended.set()

    stands = iter(Running(work))
    next(stands)
    stands.close()
    assert ended.wait(5)


def test_a_job_that_takes_too_long_ends_with_a_sentence():
    running = Running(lambda progress: list(progress.follow(_slowly(1000), "drawing", None)), minutes=0.01)
    for _ in running:
        pass
    with pytest.raises(OptionError, match="took more than 0.01 minutes"):
        _ = running.result


def test_sliders_move_what_they_name(astronaut):
    from animate.measures import eye_openings, mouth_opening
    from animate.portrait import Portrait
    from animate.retarget import Retargeter
    from animate.sliders import FaceSliders

    own = Portrait.from_image(astronaut).faces[0].landmarks

    def face(**sliders):
        return Retargeter(own, FaceSliders(**sliders).motion())(slice(0, 1))[0]

    still = face()
    assert np.abs(still - own).max() < 0.6  # px: nothing set is the portrait itself
    right, left = eye_openings(face(blink_left=1))
    assert right < 0.35 * eye_openings(still)[0] and left > 0.8 * eye_openings(still)[1]
    assert mouth_opening(face(mouth_open=1)) > mouth_opening(still) + 0.15
    assert face(yaw=30)[1, 0] > still[1, 0] + 5 and face(pitch=20)[1, 1] < still[1, 1] - 3


def test_sliders_out_of_range_are_refused():
    from animate.sliders import FaceSliders

    for values in ({"yaw": 31}, {"smile": float("nan")}, {"brows": "up"}):
        with pytest.raises(OptionError, match="it goes from"):
            FaceSliders(**values)


def test_the_quick_preview_writes_a_small_warped_video(files, tmp_path):
    from animate.media import probe
    from ui.web_preview import quick_animation

    job = AnimateOptions(source=files / "portrait.png", output=tmp_path / "x.mp4", driving=files / "clip.mp4")
    small = quick_animation(job, tmp_path)
    run_animate(small, Progress(quiet=True))
    assert (small.method, probe(small.output).fps) == ("warp", 8)
    assert not job.output.exists()


def test_the_quick_preview_of_a_dubbed_video_is_its_small_beginning(files, tmp_path):
    from animate.media import probe
    from ui.dub_job import DubJob
    from ui.dub_job import run as run_dub
    from ui.web_preview import DUB_FPS, quick_dub

    job = DubJob(video=files / "clip.mp4", audio=files / "tone.wav", output=tmp_path / "x.mp4", longer="loop")
    small = quick_dub(job, tmp_path)
    run_dub(small, Progress(quiet=True))
    preview = probe(small.output)
    assert small.method == "prior" and preview.fps <= DUB_FPS and preview.frames == 5
    assert not job.output.exists()


def test_a_long_sound_gives_a_short_preview(tmp_path):
    import wave

    from ui.web_preview import short_sound

    with wave.open(str(tmp_path / "long.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 16000 * 30))
    with wave.open(str(short_sound(tmp_path / "long.wav", tmp_path, 3.0)), "rb") as short:
        assert short.getnframes() == 3 * 16000


def test_a_page_that_ends_ends_its_jobs(tmp_path):
    import threading

    from ui.web_page import Page

    page, seen = Page(tmp_path), threading.Event()

    def watch():
        running = Running(lambda progress: list(progress.follow(_slowly(1000), "drawing", 1000)))
        with page._known(("one", "animate"), running.progress):
            for _ in running:
                seen.set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert seen.wait(5)
    page.close()
    thread.join(5)
    assert not thread.is_alive() and not page._jobs


def test_no_file_is_looked_at_before_the_libraries_are_loaded(tmp_path, files):
    import shutil

    from ui.web_page import Page

    page = Page(tmp_path)
    page.uploads.mkdir()
    path = shutil.copy(files / "portrait.png", page.uploads)
    page.ready.clear()
    checked = []
    thread = threading.Thread(target=lambda: checked.append(page.check(str(path), "picture", "portrait")))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive() and not checked
    page.ready.set()
    thread.join(5)
    assert checked == [Path(path)]


def test_a_page_that_ends_waits_for_no_libraries(tmp_path, files):
    import shutil

    from ui.web_jobs import Cancelled
    from ui.web_page import Page

    page = Page(tmp_path)
    page.uploads.mkdir()
    path = shutil.copy(files / "portrait.png", page.uploads)
    page.ready.clear()
    page.close()
    with pytest.raises(Cancelled):
        page.check(str(path), "picture", "portrait")


def test_what_the_page_says_leaves_out_the_times_of_stages_and_the_signature():
    from ui.report import RunReport
    from ui.web_page import told

    report = RunReport("a", "b", "c", frames=10, width=64, height=48, bridged_frames=[4, 5], seconds={"x": 2.0})
    report.note("It is signed (C2PA) with a local test certificate.")
    report.note("As before stayed: left-to-right:0.")
    expected = "10 frames of 64×48, drawn in 2.0 s (5.0 frames/s). Frames of the clip without a face: 4-5. "
    assert told(report) == expected + "As before stayed: face 1 from the left."


def _slowly(count):
    for number in range(count):
        time.sleep(0.06)
        yield number
