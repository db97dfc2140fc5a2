"""The videos of a run: H.264 of which the same frames always make the same file.

`animate.media.VideoWriter` encodes better for the size, but of a hundred files of the same frames one or two differ in
a few bytes, whatever the number of threads; figures measured on them would, too. x264's simplest settings do not.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import ffmpeg
from animate.errors import MediaError

CRF = 10
"""Constant rate factor: what a metric sees of it is far below what systems differ by (the row truth shows it)."""

SETTINGS = ("-preset", "ultrafast", "-x264-params", "threads=1:lookahead-threads=1")


def write_video(path: Path, frames: Iterable[np.ndarray], fps: Fraction) -> int:
    """Write frames (H, W, 3 or 4) uint8, all of one size, as an MP4; returns their number.

    An odd side is made even by repeating the last row or column. Alpha is left out.

    Raises:
        MediaError: there is no frame, or it cannot be encoded.
    """
    count, process = 0, None
    with tempfile.TemporaryFile() as log:
        try:
            for frame in frames:
                frame = np.pad(frame[..., :3], ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
                if process is None:
                    process = _start(path, frame.shape[1::-1], fps, log)
                process.stdin.write(memoryview(np.ascontiguousarray(frame)).cast("B"))
                count += 1
            if process is None:
                raise MediaError(f"{path} gets no frame, so there is no video.")
            process.stdin.close()
            if process.wait():
                raise OSError("the encoder failed")
        except OSError as error:
            log.seek(0)
            raise MediaError(
                f"{path} could not be written ({ffmpeg.complaint(log.read(1 << 16)) or error})."
            ) from error
        finally:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
    return count


def _start(path: Path, size: tuple[int, int], fps: Fraction, log) -> subprocess.Popen:
    command = ffmpeg.encode_command(
        path, size, fps, codec="h264", container="mp4", crf=CRF, alpha=False, metadata={}
    )  # fmt: skip
    where = command.index("-preset")
    command[where : where + 2] = SETTINGS
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
    )
