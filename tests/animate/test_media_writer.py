"""Writing video: exact rate, all pixels, sound in step, a file under its name only when complete."""

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animate import ffmpeg
from animate.errors import MediaError, OptionError
from animate.media import VideoReader, VideoWriter, check_file, check_output, probe, read_image, read_sound

NTSC = Fraction(30000, 1001)


def smooth_frames(count, width=64, height=48, channels=3):
    """Soft moving colours, other ones in every frame: (count, height, width, channels) uint8."""
    y, x = np.mgrid[:height, :width]
    frames = [
        np.stack([x * 3 + 2 * t, y * 4 + t, 160 - x - y + t, 255 - x * 3][:channels], axis=-1) for t in range(count)
    ]
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


def write(path, frames, fps=NTSC, **options):
    with VideoWriter(path, fps, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return writer


def read(path):
    return np.stack(list(VideoReader(path)))


def banner(path):
    return ffmpeg.run(ffmpeg.banner_command(path)).stderr.decode()


def decode(path, pixels, *options):
    """Raw frames in another pixel format, (N, H, W, C)."""
    info = probe(path)
    command = [
        ffmpeg.binary(),
        "-v",
        "error",
        *options,
        "-i",
        str(path),
        "-f",
        "rawvideo",
        "-pix_fmt",
        pixels,
        "-",
    ]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, info.height, info.width, len(pixels))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A driving clip: 3 s at 30000/1001, with 3 s of noise as AAC; unlike itself at every moment."""
    path = tmp_path_factory.mktemp("driver") / "driver.mp4"
    command = f"{ffmpeg.binary()} -v error -f lavfi -i testsrc2=size=64x48:rate=30000/1001:duration=3 -f lavfi -i"
    sound = "anoisesrc=duration=3:sample_rate=48000:seed=1:amplitude=0.5,lowpass=f=4000"
    subprocess.run([*command.split(), sound, "-c:a", "aac", "-b:a", "192k", path], check=True)
    return path


def delay(heard, original):
    """Samples by which `heard` lags behind `original`, (N, 1) arrays; by cross-correlation."""
    size = 1 << 17
    spectrum = np.fft.rfft(heard[:, 0], size) * np.conj(np.fft.rfft(original[:, 0], size))
    lag = int(np.fft.irfft(spectrum).argmax())
    return lag - size if lag > size // 2 else lag


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "25", "2997/100"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_the_exact_rate_survives(tmp_path, rate, suffix):
    if rate == "2997/100" and suffix in (".mkv", ".webm"):
        pytest.skip("Matroska counts milliseconds: 29.97 and 30000/1001 are the same there")
    write(tmp_path / f"a{suffix}", smooth_frames(12, 32, 32), Fraction(rate))
    info = probe(tmp_path / f"a{suffix}")
    assert (info.fps, info.frames, info.start) == (Fraction(rate), 12, 0) and not info.variable_frame_rate
    assert info.duration == pytest.approx(float(12 / Fraction(rate)))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.mkv"])
def test_colours_come_back(tmp_path, name):
    frames = smooth_frames(6)
    write(tmp_path / name, frames, crf=8)
    error = read(tmp_path / name).astype(int) - frames
    assert np.abs(error).mean() < 1.5 and np.abs(error.mean((0, 1, 2))).max() < 0.6
    assert "bt709" in banner(tmp_path / name)


def test_crf_sets_quality(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    sizes = [
        write(tmp_path / f"{crf}.mp4", frames, crf=crf) and os.path.getsize(tmp_path / f"{crf}.mp4") for crf in (10, 40)
    ]
    assert sizes[0] > 3 * sizes[1]


def test_odd_sizes_keep_every_pixel(tmp_path):
    frames = smooth_frames(4, 33, 21)
    writer = write(tmp_path / "a.mp4", frames, crf=4)
    padded = read(tmp_path / "a.mp4")
    assert padded.shape == (4, 22, 34, 3)
    assert np.abs(padded[:, :21, :33].astype(int) - frames).mean() < 2
    assert np.abs(padded[:, :21, 33].astype(int) - frames[:, :, -1]).mean() < 4
    assert "33x21 becomes 34x22" in writer.warnings[0]
    assert not write(tmp_path / "a.webm", frames).warnings and read(tmp_path / "a.webm").shape == frames.shape


def test_vp9_and_prores_keep_alpha(tmp_path):
    frames = smooth_frames(3, 33, 21, channels=4)
    write(tmp_path / "a.webm", frames, alpha=True, crf=4)
    assert (
        np.abs(decode(tmp_path / "a.webm", "rgba", "-c:v", "libvpx-vp9")[..., 3].astype(int) - frames[..., 3]).max()
        < 12
    )
    write(tmp_path / "a.mov", frames, alpha=True)
    back = decode(tmp_path / "a.mov", "rgba")
    assert "prores (4444)" in banner(tmp_path / "a.mov").lower()
    assert np.abs(back.astype(int) - frames).max() <= 3


def test_transparency_is_laid_on_white_where_it_cannot_be_kept(tmp_path):
    frames = smooth_frames(2, channels=4)
    frames[..., 3] = 255
    assert not write(tmp_path / "a.mp4", frames).warnings
    frames[..., 3] = 0
    writer = write(tmp_path / "b.mp4", frames)
    assert read(tmp_path / "b.mp4").min() >= 253 and "laid on white" in writer.warnings[0]
    with pytest.raises(MediaError, match="cannot hold transparency"):
        VideoWriter(tmp_path / "c.mp4", NTSC, alpha=True)


@pytest.mark.parametrize("channels", [3, 4])
def test_png_frames_are_lossless(tmp_path, channels):
    frames = smooth_frames(3, 33, 21, channels)
    (tmp_path / "there").mkdir()
    write(tmp_path / "there", frames, alpha=channels == 4)
    write(tmp_path / "made", frames, alpha=channels == 4, codec="png")
    write(tmp_path / "there" / "f%02d.png", frames, alpha=channels == 4)
    for folder, name in [("there", "{:05d}.png"), ("made", "{:05d}.png"), ("there", "f{:02d}.png")]:
        back = [read_image(tmp_path / folder / name.format(i)) for i in (1, 2, 3)]
        assert np.array_equal(back, frames)
    assert len(list((tmp_path / "there").iterdir())) == 6 and len(list(tmp_path.iterdir())) == 2


def test_png_frames_never_mix_with_older_ones(tmp_path):
    write(tmp_path / "out", smooth_frames(3), codec="png")
    with pytest.raises(MediaError, match="already holds frames"):
        VideoWriter(tmp_path / "out", NTSC)


def test_gif_has_its_own_palette_and_keeps_time(tmp_path):
    frames = smooth_frames(20)
    writer = write(tmp_path / "a.gif", frames, metadata={"title": "x"})
    info = probe(tmp_path / "a.gif")
    assert info.frames == 20 and abs(info.duration - 20 / NTSC) < 0.02
    assert np.abs(read(tmp_path / "a.gif").astype(int) - frames).mean() < 6
    assert any("no tags" in sentence for sentence in writer.warnings)
    fast = write(tmp_path / "b.gif", frames, fps=100)
    assert any("50 frames a second" in sentence for sentence in fast.warnings)
    assert len(read(tmp_path / "b.gif")) == 10


def test_tags_are_stored(tmp_path):
    for name in ("a.mp4", "a.webm", "a.mov"):
        write(tmp_path / name, smooth_frames(2), metadata={"title": "a = b; 'c'", "provenance": "made"})
        text = banner(tmp_path / name).lower()
        assert "a = b; 'c'" in text and ": made" in text


def test_the_whole_sound_is_copied_untouched(tmp_path, source):
    writer = write(tmp_path / "a.mp4", VideoReader(source), audio=source)
    info = probe(tmp_path / "a.mp4")
    assert writer.sound == "copied (aac)" and info.fps == NTSC and info.frames == 90 and info.start == 0
    original, copy = read_sound(source, 48000), read_sound(tmp_path / "a.mp4", 48000)
    shared = min(len(original), len(copy)) - 2048
    assert shared > 2.9 * 48000 and np.array_equal(copy[:shared], original[:shared])
    assert f"Duration: 00:00:0{float(90 / NTSC):.2f}" in banner(tmp_path / "a.mp4")


@pytest.mark.parametrize("name, codec", [("a.mp4", "aac"), ("a.webm", "opus"), ("a.mov", "aac")])
def test_trimmed_sound_stays_in_step(tmp_path, source, name, codec):
    reader = VideoReader(source, start=0.7, end=2.1)
    writer = write(tmp_path / name, reader, audio=source, audio_start=reader.start)
    assert writer.sound == f"encoded ({codec})"
    original = read_sound(source, 48000)[round(reader.start * 48000) :]
    heard = read_sound(tmp_path / name, 48000)
    assert abs(delay(heard, original)) <= 2
    assert len(heard) / 48000 == pytest.approx(float(reader.frames / NTSC), abs=0.03)


def test_sound_of_a_clip_that_starts_late_on_its_clock(tmp_path, source):
    late = tmp_path / "late.ts"
    command = [ffmpeg.binary(), "-v", "error", "-i", source, "-c", "copy", "-output_ts_offset", "7", late]
    subprocess.run(command, check=True)
    reader = VideoReader(late, start=0.7, end=2.1)
    write(tmp_path / "a.mp4", reader, audio=late, audio_start=reader.start)
    original = read_sound(source, 48000)[round(reader.start * 48000) :]
    assert reader.info.start > 7 and abs(delay(read_sound(tmp_path / "a.mp4", 48000), original)) < 0.005 * 48000


def test_sound_that_ends_early_leaves_the_picture_whole(tmp_path, source):
    write(tmp_path / "a.mp4", smooth_frames(20), fps=5, audio=source)
    info = probe(tmp_path / "a.mp4")
    assert info.frames == 20 and info.duration == 4.0 and info.has_audio
    assert len(read_sound(tmp_path / "a.mp4", 48000)) == pytest.approx(3 * 48000, abs=2048)


def test_a_source_without_sound_or_a_format_without_sound(tmp_path, source):
    write(tmp_path / "mute.mp4", smooth_frames(2))
    assert write(tmp_path / "a.mp4", smooth_frames(2), audio=tmp_path / "mute.mp4").sound == "none"
    writer = write(tmp_path / "a.gif", smooth_frames(2), audio=source)
    assert writer.sound == "none" and "no sound" in writer.warnings[0]


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", NTSC) as writer:
        writer.write(smooth_frames(1)[0])
        assert not (tmp_path / "a.mp4").exists()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"older")
    writer = VideoWriter(tmp_path / "a.mp4", NTSC)
    writer.write(smooth_frames(1)[0])
    writer.abort()
    assert (tmp_path / "a.mp4").read_bytes() == b"older" and len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "a.mp4", smooth_frames(2))
    assert probe(tmp_path / "a.mp4").frames == 2


@pytest.mark.parametrize("target", ["out.mp4", "out.gif", "frames/"])
def test_a_killed_process_leaves_nothing_under_the_final_name(tmp_path, target):
    code = (
        "import sys, numpy as np\nfrom animate.media import VideoWriter\n"
        f"with VideoWriter({str(tmp_path) + os.sep + target!r}, 25) as writer:\n"
        "    while True:\n"
        "        writer.write(np.zeros((64, 64, 3), np.uint8))\n"
        "        if writer.frames == 60: print('busy', flush=True)\n"
    )
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())


def test_bad_frames_get_one_sentence(tmp_path):
    for second, words in [
        (np.zeros((40, 64, 3), np.uint8), "64x40"),
        (np.zeros((48, 64, 3), np.float32), "float32"),
        (np.zeros((48, 64), np.uint8), r"\(48, 64\)"),
    ]:
        with pytest.raises(MediaError, match=words):
            write(tmp_path / "a.mp4", [smooth_frames(1)[0], second])
    with pytest.raises(MediaError, match="no frame was written"):
        write(tmp_path / "a.mp4", [])
    writer = write(tmp_path / "b.mp4", smooth_frames(1))
    with pytest.raises(MediaError, match="already closed"):
        writer.write(smooth_frames(1)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]


def test_what_ffmpeg_cannot_do_gets_one_sentence(tmp_path):
    with pytest.raises(MediaError, match=r"a\.mp4 could not be written \(.+\)\.$"):
        write(tmp_path / "a.mp4", [np.zeros((2, 20_000, 3), np.uint8)] * 9)
    assert not list(tmp_path.iterdir())


def test_outputs_are_checked_before_the_work(tmp_path, source):
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    (tmp_path / "folder.mp4").mkdir()
    for path, words in [
        (source, "also an input"),
        (source.parent / "." / source.name, "also an input"),
        (link, "also an input"),
        (tmp_path / "none" / "a.mp4", "none does not exist"),
        (tmp_path / "a.xyz", "unknown suffix '.xyz'"),
        (tmp_path / "a", "unknown suffix ''"),
        (tmp_path / "a.png", "names one picture"),
        (tmp_path / "folder.mp4" / ".." / "a%d%d.png", "names one picture"),
        ("/dev/null", "unknown suffix"),
    ]:
        with pytest.raises(MediaError, match=words) as caught:
            check_output(path, [tmp_path / "portrait.png", source])
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    with pytest.raises(MediaError, match="is a folder"):
        check_file(tmp_path / "folder.mp4")
    with pytest.raises(MediaError, match="is a device"):
        check_file("/dev/null")
    with pytest.raises(MediaError, match="cannot hold h264"):
        check_output(tmp_path / "a.webm", codec="h264")
    with pytest.raises(OptionError, match="'av1' is unknown"):
        check_output(tmp_path / "a.mp4", codec="av1")
    assert check_output(tmp_path / "A.MP4", [source]).codec == "h264"
    assert check_output(tmp_path / "a.mov", alpha=True).codec == "prores"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_gets_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MediaError, match="not writable"):
        VideoWriter(tmp_path / "a.mp4", NTSC)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_refuses_files_gets_one_sentence():
    with pytest.raises(MediaError, match=r"^/proc/self/a\.mp4 cannot be written"):
        VideoWriter("/proc/self/a.mp4", NTSC)


def test_options_out_of_range(tmp_path, source):
    for options in [{"crf": 52}, {"crf": -1}, {"fps": 0}, {"audio": source, "audio_start": -1.0}]:
        with pytest.raises(OptionError):
            VideoWriter(tmp_path / "a.mp4", **{"fps": NTSC, **options})
    with pytest.raises(MediaError, match="does not exist"):
        VideoWriter(tmp_path / "a.mp4", NTSC, audio=tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("hello" * 99)
    with pytest.raises(MediaError, match="cannot be read as sound"):
        VideoWriter(tmp_path / "a.mp4", NTSC, audio=tmp_path / "text.wav")


def test_names_that_look_like_options_or_addresses(tmp_path, source):
    for name in ("-y.mp4", "http:x%d é.mp4", "a'b\"c;d.webm"):
        write(tmp_path / name, smooth_frames(2), audio=source)
        assert probe(tmp_path / name).frames == 2
