"""Reading video: exact rates, trims by time, pictures upright, one sentence for a bad file."""

import itertools
import subprocess
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from animate import ffmpeg
from animate.errors import MediaError, OptionError
from animate.media import VideoReader, probe, read_sound, sound_of

X264 = ["-c:v", "libx264", "-preset", "ultrafast"]


def make(path, *arguments):
    """Run ffmpeg on generated sources; the last argument is the file."""
    command = [ffmpeg.binary(), "-v", "error", "-y", *map(str, arguments), str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def picture(rate, seconds, size="64x48"):
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


def noise(seconds):
    return ["-f", "lavfi", "-i", f"anoisesrc=duration={seconds}:sample_rate=48000:seed=1:amplitude=0.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder):
    """2 s, 50 frames, 64x48, with sound."""
    return make(folder / "clip.mp4", *picture(25, 2), *noise(2), *X264, "-g", 10, "-c:a", "aac")


@pytest.fixture(scope="module")
def variable(folder):
    """2 s at 30 frames a second, then 2 s at 10."""
    select = "select='if(lt(t,2),1,not(mod(n,3)))'"
    return make(folder / "vfr.mp4", *picture(30, 4), "-vf", select, "-fps_mode", "vfr", *X264)


def frames_of(path, **options):
    with VideoReader(path, **options) as reader:
        return np.stack(list(reader))


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "12.5"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_rates_are_exact_fractions(folder, rate, suffix):
    codec = ["-c:v", "mpeg4"] if suffix == "avi" else X264
    path = make(folder / f"rate.{suffix}", *picture(rate, 2, "32x32"), *codec)
    info = probe(path)
    assert info.fps == Fraction(rate) and not info.variable_frame_rate
    assert info.frames == sum(1 for _ in VideoReader(path)) == round(2 * Fraction(rate))
    assert info.duration == pytest.approx(float(info.frames / info.fps))


def test_programme_streams_stamp_only_some_pictures(folder):
    path = make(folder / "rate.mpg", *picture("30000/1001", 2), "-c:v", "mpeg2video")
    assert probe(path).fps == Fraction(30000, 1001) and len(frames_of(path)) == 60


def test_probe_tells_what_is_in_the_file(clip):
    info = probe(clip)
    assert (info.width, info.height, info.fps, info.frames, info.codec) == (64, 48, 25, 50, "h264")
    assert info.has_audio and info.sound == sound_of(clip) and info.sound.layout == "mono"
    assert info.duration == 2.0 and info.rotation == 0


def test_frames_are_rgb_of_the_right_colours(folder):
    path = make(folder / "red.mp4", "-f", "lavfi", "-i", "color=0xC83214:size=64x64:duration=0.2", *X264)
    frames = frames_of(path)
    assert frames.dtype == np.uint8 and frames.shape == (5, 64, 64, 3)
    assert np.abs(frames.reshape(-1, 3).astype(int) - [0xC8, 0x32, 0x14]).max() <= 3


def test_untagged_film_is_decoded_by_custom_of_its_size(folder):
    """BT.709 from 720 lines on, BT.601 below: the same stored values are two different reds."""
    for size, matrix in [("64x64", "bt601"), ("1280x720", "bt709")]:
        graph = f"color=0xC83214:size={size}:duration=0.04,format=gbrp,scale=out_color_matrix={matrix}"
        graph += ",format=yuv420p,setparams=colorspace=unknown:range=unknown"
        path = make(folder / "untagged.mp4", "-f", "lavfi", "-i", graph, *X264)
        colour = frames_of(path)[0, 20, 20].astype(int)
        assert np.abs(colour - [0xC8, 0x32, 0x14]).max() <= 3, (size, colour)


@pytest.mark.parametrize("counter_clockwise", [90, 180, 270])
def test_rotated_phones_give_upright_pictures(folder, clip, counter_clockwise):
    path = make(folder / "rot.mp4", "-display_rotation:v", counter_clockwise, "-i", clip, "-c", "copy", "-an")
    info = probe(path)
    assert info.rotation == 360 - counter_clockwise
    expected = np.rot90(frames_of(clip, end=0.2), counter_clockwise // 90, axes=(1, 2))
    frames = frames_of(path, end=0.2)
    assert frames.shape[1:3] == (info.height, info.width) == expected.shape[1:3]
    assert np.abs(frames.astype(int) - expected).mean() < 2


def test_pixels_are_made_square(folder):
    path = make(folder / "sar.mp4", *picture(25, 0.2), "-vf", "setsar=3/2", *X264)
    assert (probe(path).width, probe(path).height) == (96, 48)
    assert frames_of(path).shape == (5, 48, 96, 3)


def test_odd_sizes(folder):
    path = make(folder / "odd.webm", *picture(25, 0.2), "-vf", "scale=33:21,setsar=1", "-c:v", "libvpx-vp9")
    assert frames_of(path).shape == (5, 21, 33, 3)


@pytest.mark.parametrize("start, end, first, last", [(0, 0.4, 0, 10), (0.4, 1.2, 10, 30), (1.6, None, 40, 50)])
def test_trimming_takes_exactly_the_frames_of_that_time(clip, start, end, first, last):
    reader = VideoReader(clip, start=start, end=end)
    assert (reader.frames, reader.start) == (last - first, first / 25)
    assert np.array_equal(np.stack(list(reader)), frames_of(clip)[first:last])


def test_trimming_far_into_a_clip_seeks_and_stays_exact(folder):
    path = make(folder / "long.mp4", *picture("30000/1001", 16), *X264)
    reader = VideoReader(path, start=14.0, end=14.5)
    first = round(14 * Fraction(30000, 1001))
    assert "-ss" in reader.command() and reader.start == pytest.approx(first * 1001 / 30000)
    expected = np.stack(list(itertools.islice(VideoReader(path), first, first + 15)))
    assert np.array_equal(np.stack(list(reader)), expected)


def test_a_clip_that_starts_late_on_its_clock_is_trimmed_from_its_first_frame(folder):
    path = make(folder / "late.ts", *picture(25, 2), *X264)
    assert probe(path).start > 1
    assert np.array_equal(frames_of(path, start=1.0), frames_of(path)[25:])


def test_variable_rates_are_resampled_by_time(variable):
    info = probe(variable)
    assert info.variable_frame_rate and info.fps == 30 and info.frames == 80
    frames = frames_of(variable)
    assert abs(len(frames) / 30 - info.duration) < 1 / 30
    # in the slow half each picture is shown for three frames
    slow = frames[60:117].reshape(19, 3, 48, 64, 3)
    assert (slow == slow[:, :1]).all() and (slow[1:, 0] != slow[:-1, 0]).any((1, 2, 3)).all()
    assert len(np.unique(frames[:60].reshape(60, -1), axis=0)) > 45
    assert np.array_equal(frames_of(variable, start=2.5)[:20], frames[75:95])


def test_another_rate_keeps_the_duration(clip):
    full = frames_of(clip)
    half = frames_of(clip, fps=Fraction(25, 2))
    assert len(half) == 25 and len(frames_of(clip, fps=Fraction(30000, 1001))) == 60
    assert all(any(np.array_equal(frame, full[2 * i + k]) for k in (0, 1)) for i, frame in enumerate(half[:24]))


def test_frames_can_be_scaled(clip):
    reader = VideoReader(clip, size=(32, 40), end=0.2)
    assert (reader.width, reader.height) == (32, 40) and next(iter(reader)).shape == (40, 32, 3)


def test_reading_streams(folder):
    path = make(folder / "big.mp4", *picture(25, 4, "320x240"), *X264)
    tracemalloc.start()
    count = sum(1 for _ in VideoReader(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100 and peak < 6 * 320 * 240 * 3


def test_a_reader_can_be_left_early_and_read_again(clip):
    with VideoReader(clip) as reader:
        first = next(iter(reader))
    assert np.array_equal(first, next(iter(reader)))


def test_sound_is_decoded_at_the_rate_asked_for(clip, folder):
    samples = read_sound(clip, rate=16000)
    assert samples.dtype == np.float32 and samples.shape[1] == 1
    assert len(samples) == pytest.approx(32000, abs=400) and 0.05 < samples.std() < 0.6
    assert sound_of(make(folder / "mute.mp4", *picture(25, 0.2), *X264)) is None
    with pytest.raises(MediaError, match="has no sound"):
        read_sound(folder / "mute.mp4")


def test_a_file_truncated_in_the_middle_gives_its_frames_and_a_warning(folder):
    whole = make(folder / "whole.mp4", *picture(25, 4, "160x120"), *X264, "-movflags", "+faststart").read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    reader = VideoReader(folder / "half.mp4")
    count = sum(1 for _ in reader)
    assert 20 < count < 80
    assert len(reader.warnings) == 1 and "half.mp4 is damaged" in reader.warnings[0]
    assert not VideoReader(folder / "whole.mp4").warnings


def refused(path):
    with pytest.raises(MediaError) as caught:
        for _ in VideoReader(path):
            pass
    sentence = str(caught.value)
    assert path.name in sentence and "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_files_that_are_no_video_get_one_sentence(folder, clip):
    whole = clip.read_bytes()
    for name, content, words in [
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"hello world\n" * 99, "cannot be read as a video"),
        ("noise.mp4", np.random.default_rng(0).bytes(5000), "cannot be read as a video"),
        ("cut.mp4", whole[: len(whole) // 2], "truncated"),
        ("subtitle.mp4", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n\n", "no video stream"),
        ("list.mp4", f"ffconcat version 1.0\nfile {clip}\n".encode(), "cannot be read as a video"),
        ("vector.mp4", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "cannot be read"),
    ]:
        (folder / name).write_bytes(content)
        assert words in refused(folder / name)
    assert "does not exist" in refused(folder / "none.mp4")
    assert "is a folder" in refused(folder)
    assert "no picture" in refused(make(folder / "sound.mp4", *noise(0.2), "-c:a", "aac"))


def test_a_header_without_frames_gets_one_sentence(folder):
    whole = make(folder / "w.mp4", *picture(25, 1), *X264, "-movflags", "+faststart").read_bytes()
    (folder / "head.mp4").write_bytes(whole[: whole.index(b"mdat") + 4])
    assert "damaged" in refused(folder / "head.mp4")
    (folder / "zero.y4m").write_bytes(b"YUV4MPEG2 W8 H8 F25:1 C420\n")
    assert "has no frames" in refused(folder / "zero.y4m")


def test_impossible_trims_get_one_sentence(clip):
    for options in [{"start": -1}, {"start": 1, "end": 1}, {"start": float("nan")}, {"size": (0, 9)}]:
        with pytest.raises(OptionError):
            VideoReader(clip, **options)
    with pytest.raises(MediaError, match=r"lasts 2.00 s"):
        VideoReader(clip, start=2.0)
    with pytest.raises(MediaError, match="no frame lies between"):
        VideoReader(clip, start=1.0, end=1.001)
