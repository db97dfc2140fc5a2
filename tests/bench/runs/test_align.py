"""Outputs of another length, rate, size or kind, brought to the frames that were asked for."""

from fractions import Fraction

import numpy as np
import pytest

from animate import ffmpeg
from animate.media import VideoWriter, write_image
from bench.runner.align import keep_file, keep_frames, output_frames
from bench.systems.system import Failed

FPS = Fraction(25)
SIZE = (64, 48)


def levels(path, size=SIZE):
    """The brightness of every frame, in steps of 10."""
    return [round(float(frame.mean()) / 10) for frame in output_frames(path, size)]


def write(path, count, fps=FPS, size=SIZE):
    """Frame n has the brightness 10 n."""
    with VideoWriter(path, fps, crf=4) as writer:
        for n in range(count):
            writer.write(np.full((size[1], size[0], 3), 10 * n, np.uint8))
    return path


def with_a_gap(folder, count=8):
    """Frame n of the first four at n/25 s, of the others 5/25 s later; the file names 25 frames/s and `count` frames."""
    even, target = write(folder / "even.mp4", count), folder / "gap.mp4"
    times = "setpts='(N+if(lt(N,4),0,5))/25/TB'"
    done = ffmpeg.run(
        [ffmpeg.binary(), "-v", "error", "-i", even, "-vf", times, "-fps_mode", "passthrough", "-crf", "4", target]
    )
    assert done.returncode == 0, done.stderr
    return target


def test_what_fits_is_kept_bit_for_bit(tmp_path):
    given = write(tmp_path / "a.mp4", 8)
    assert keep_file(given, 8, FPS, SIZE, tmp_path / "out.mp4") == ()
    assert (tmp_path / "out.mp4").read_bytes() == given.read_bytes()


def test_another_rate_is_resampled_by_time(tmp_path):
    given = write(tmp_path / "a.mp4", 16, Fraction(50))
    (note,) = keep_file(given, 8, FPS, SIZE, tmp_path / "out.mp4")
    assert "50 frames/s, not 25" in note and "by time" in note
    assert levels(tmp_path / "out.mp4") == [0, 2, 4, 6, 8, 10, 12, 14]


def test_as_many_frames_at_another_rate_are_compared_one_by_one(tmp_path):
    (note,) = keep_file(write(tmp_path / "a.mp4", 8, Fraction(30)), 8, FPS, SIZE, tmp_path / "out.mp4")
    assert "one by one" in note
    assert levels(tmp_path / "out.mp4") == list(range(8))


def test_a_rate_that_varies_never_fits(tmp_path):
    (note,) = keep_file(with_a_gap(tmp_path), 8, FPS, SIZE, tmp_path / "out.mp4")
    assert "varies" in note and "by time" in note
    assert levels(tmp_path / "out.mp4") == [0, 1, 2, 3, 3, 3, 3, 3]


def test_a_rate_that_varies_is_resampled_to_the_rate_that_is_asked_for(tmp_path):
    (note,) = keep_file(with_a_gap(tmp_path), 26, Fraction(50), SIZE, tmp_path / "out.mp4")
    assert "50 frames/s are asked for" in note
    assert levels(tmp_path / "out.mp4")[::2] == [0, 1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7]


def test_a_short_one_of_a_rate_that_varies_is_told(tmp_path):
    notes = keep_file(with_a_gap(tmp_path), 23, FPS, SIZE, tmp_path / "out.mp4")
    assert "0.20 s short" in notes[-1] and levels(tmp_path / "out.mp4")[-6:] == [7] * 6


def test_a_short_one_stays_at_its_last_frame(tmp_path):
    (note,) = keep_file(write(tmp_path / "a.mp4", 5), 8, FPS, SIZE, tmp_path / "out.mp4")
    assert "0.12 s short" in note
    assert levels(tmp_path / "out.mp4") == [0, 1, 2, 3, 4, 4, 4, 4]


def test_a_long_one_is_cut(tmp_path):
    (note,) = keep_file(write(tmp_path / "a.mp4", 11), 8, FPS, SIZE, tmp_path / "out.mp4")
    assert "3 more than asked for" in note
    assert levels(tmp_path / "out.mp4") == list(range(8))


def test_another_size_is_scaled(tmp_path):
    (note,) = keep_file(write(tmp_path / "a.mp4", 4, size=(128, 96)), 4, FPS, SIZE, tmp_path / "out.mp4")
    assert "128x96, not 64x48" in note
    assert next(output_frames(tmp_path / "out.mp4", SIZE)).shape == (48, 64, 3)


def test_odd_sizes_lose_no_pixel(tmp_path):
    frame = np.random.default_rng(0).integers(0, 255, (6, 9, 3)).repeat(8, 0).repeat(8, 1)[:47, :71].astype(np.uint8)
    keep_frames([frame], 1, FPS, (71, 47), tmp_path / "out.mp4")
    (back,) = output_frames(tmp_path / "out.mp4", (71, 47))
    assert back.shape == frame.shape and np.abs(back.mean(2) - frame.mean(2)).mean() < 6


def test_a_picture_stands_for_every_frame_and_a_video_for_a_picture(tmp_path):
    write_image(tmp_path / "a.png", np.full((48, 64, 3), 50, np.uint8))
    notes = keep_file(tmp_path / "a.png", 3, FPS, SIZE, tmp_path / "out.mp4")
    assert "picture" in notes[-1] and levels(tmp_path / "out.mp4") == [5, 5, 5]
    notes = keep_file(write(tmp_path / "b.mp4", 3), 1, FPS, None, tmp_path / "out.png")
    assert "first frame" in notes[-1] and levels(tmp_path / "out.png") == [0]


def test_frames_of_another_number_or_size_are_failures(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    for count, size, said in ((3, SIZE, "gave 2 frames"), (1, SIZE, "more than the 1"), (2, (32, 32), "not 32x32")):
        with pytest.raises(Failed, match=said):
            keep_frames([frame, frame], count, FPS, size, tmp_path / "out.mp4")


def test_the_same_frames_always_make_the_same_file(tmp_path, astronaut):
    picture = astronaut[:192, 110:302]
    for n in range(3):
        keep_frames((np.roll(picture, 2 * t, 1) for t in range(6)), 6, FPS, (192, 192), tmp_path / f"{n}.mp4")
    assert len({(tmp_path / f"{n}.mp4").read_bytes() for n in range(3)}) == 1


def test_what_is_kept_is_near_what_was_given(tmp_path, astronaut):
    picture = astronaut[:192, 110:302]
    keep_frames([picture] * 3, 3, FPS, (192, 192), tmp_path / "out.mp4")
    (*_, back) = output_frames(tmp_path / "out.mp4", (192, 192))
    assert 10 * np.log10(255**2 / ((back.astype(float) - picture) ** 2).mean()) > 38
