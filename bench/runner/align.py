"""A system's output brought to the frames that were asked for: by time, and to the portrait's size."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np

from animate.media import VideoReader, probe, read_image, write_image
from animate.video_writer import on_white
from bench.runner.video import write_video
from bench.systems.system import Failed

PICTURES = (".png", ".jpg", ".jpeg", ".webp")

MOST = 20_000
"""Frames of an output that are counted at most where its file does not tell."""


def keep_frames(frames: Iterable[np.ndarray], count: int, fps: Fraction, size: tuple[int, int], target: Path) -> None:
    """Write a system's frames as the run's video.

    Args:
        frames: (H, W, 3 or 4) uint8, `count` of them and of `size`.
        count, fps, size: what was asked for.
        target: the MP4.

    Raises:
        Failed: another number of frames, or another size.
    """

    def checked() -> Iterator[np.ndarray]:
        for number, frame in enumerate(frames):
            if number == count:
                raise Failed(f"It gave more than the {count} frames that were asked for.")
            if frame.shape[1::-1] != size:
                raise Failed(f"It gave frames of {_size(frame.shape[1::-1])}, not {_size(size)}.")
            yield frame

    written = write_video(target, checked(), fps)
    if written != count:
        raise Failed(f"It gave {written} frames, not {count}.")


def keep_file(file: Path, count: int, fps: Fraction, size: tuple[int, int] | None, target: Path) -> tuple[str, ...]:
    """Make a system's file the run's video, or its picture.

    A file that fits is kept as it is. Another rate or length is brought into step by time (with as many frames as were
    asked for, frame by frame, whatever the rate says; a rate that varies is never so counted); where it ends early its
    last frame stays. Another size is scaled.

    Args:
        file: what the system wrote.
        count, fps: what was asked for.
        size: (width, height); None takes the file's own.
        target: the file to write; its suffix tells whether a picture or a video is wanted.

    Returns:
        Sentences on what was changed.

    Raises:
        MediaError: it cannot be read.
    """
    if file.suffix.lower() in PICTURES:
        return _keep_picture(file, count, fps, size, target)
    info = probe(file)
    own = (info.width, info.height)
    size = size or own
    varies = info.variable_frame_rate
    video = VideoReader(file, fps if varies else None)
    frames = (None if varies else info.frames) or sum(1 for _ in zip(video, range(MOST), strict=False))
    same_pace = frames == count or video.fps == fps
    notes = [*_resized(own, size)]
    if varies:
        notes.append(f"The output's frame rate varies, {_rate(fps)} frames/s are asked for: resampled by time.")
    elif info.fps != fps:
        how = "its frames are compared one by one" if frames == count else "resampled by time"
        notes.append(f"The output runs at {_rate(info.fps)} frames/s, not {_rate(fps)}: {how}.")
    given = frames if same_pace else frames * fps / info.fps
    exact = same_pace and not varies
    if given < count - 1 or (exact and given < count):
        notes.append(f"The output is {float((count - given) / fps):.2f} s short: its last frame stays.")
    elif exact and given > count:
        notes.append(f"The output has {frames} frames, {frames - count} more than asked for: they are not used.")
    if target.suffix != ".mp4":
        with closing(iter(video)) as reader:
            write_image(target, _fit(next(reader), size))
        return (*notes, "The output is a video: its first frame is taken.")
    if not notes and file.suffix.lower() == ".mp4" and info.codec == "h264":
        shutil.copyfile(file, target)
        return ()
    order = [n if same_pace else int(n * info.fps / fps + Fraction(1, 2)) for n in range(count)]
    write_video(target, (_fit(frame, size) for frame in _picked(video, order)), fps)
    return tuple(notes)


def output_frames(file: Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of a run's video or picture, (H, W, 3) uint8 of `size`."""
    if file.suffix.lower() in PICTURES:
        yield _fit(_rgb(file), size)
        return
    with VideoReader(file) as reader:
        for frame in reader:
            yield _fit(frame, size)


def output_size(file: Path) -> tuple[int, int]:
    """(width, height) of a run's video or picture."""
    if file.suffix.lower() in PICTURES:
        return _rgb(file).shape[1::-1]
    info = probe(file)
    return info.width, info.height


def _keep_picture(file: Path, count: int, fps: Fraction, size: tuple[int, int] | None, target: Path) -> tuple[str, ...]:
    image = _rgb(file)
    notes = _resized(image.shape[1::-1], size or image.shape[1::-1])
    image = _fit(image, size or image.shape[1::-1])
    if target.suffix != ".mp4":
        write_image(target, image)
        return notes
    write_video(target, repeat(image, count), fps)
    return (*notes, "The output is a picture: it stands for every frame.")


def _rgb(file: Path) -> np.ndarray:
    image = read_image(file)
    return on_white(image) if image.shape[2] == 4 else image


def _picked(frames: Iterable[np.ndarray], order: Iterable[int]) -> Iterator[np.ndarray]:
    """Frames by ascending number; past the end the last one stays."""
    frames, at, frame = iter(frames), -1, None
    for index in order:
        for fresh in frames if at < index else ():
            frame, at = fresh, at + 1
            if at == index:
                break
        yield frame


def _fit(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame of a size: cut where H.264 made an odd side even, else scaled."""
    width, height = size
    own = frame.shape[1::-1]
    if own == size:
        return frame
    if _even(size) == own:
        return np.ascontiguousarray(frame[:height, :width])
    smaller = width * height < own[0] * own[1]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _even(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _resized(own: tuple[int, int], size: tuple[int, int]) -> tuple[str, ...]:
    fits = own in (size, _even(size))
    return () if fits else (f"The output is {_size(own)}, not {_size(size)}: scaled.",)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _rate(fps: Fraction) -> str:
    return f"{float(fps):.6g}"
