"""What `make demo` needs besides the command line: a real portrait to animate, and a picture of the result.

python -m ui.demo portrait FILE.png      writes the astronaut's portrait that comes inside scikit-image
python -m ui.demo sheet VIDEO FILE.png   shows frames of a video side by side
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import MienError, OptionError

if TYPE_CHECKING:
    import numpy as np


def write_portrait(path: Path) -> None:
    """Writes NASA's portrait of Eileen Collins (public domain), 512×512.

    Raises OptionError when scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise OptionError("The demo's portrait comes inside scikit-image: pip install 'mien[demo]'.") from error
    from animate.media import write_image

    write_image(path, data.astronaut())


def contact_sheet(frames: Iterable[np.ndarray], count: int, columns: int = 6, tile: int = 256) -> np.ndarray:
    """About 12 frames, evenly spaced in time, as one picture.

    frames: (H, W, 3) uint8 RGB each; only the chosen ones are kept. count: how many there are.
    Returns (H', W', 3) uint8 RGB.
    """
    import cv2
    import numpy as np

    wanted = {round(i * (count - 1) / 11) for i in range(12)}
    tiles = []
    for number, frame in enumerate(frames):
        if number not in wanted:
            continue
        height = max(1, round(frame.shape[0] * tile / frame.shape[1]))
        tiles.append(cv2.resize(frame, (tile, height), interpolation=cv2.INTER_AREA))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def write_sheet(video: Path, path: Path) -> None:
    """Writes the contact sheet of a video: round the largest face, or all of it where there is none."""
    from animate.faces import create_tracker
    from animate.media import VideoReader, write_image
    from animate.provenance import Provenance

    with VideoReader(video) as reader:
        tracker = create_tracker()
        faces = tracker.detect(next(iter(reader)))
        tracker.close()
        rows, columns = head_window(faces[0].box, reader.height, reader.width) if faces else (slice(None),) * 2
        count = reader.frames or sum(1 for _ in reader)
        write_image(path, contact_sheet((frame[rows, columns] for frame in reader), count), Provenance("contact sheet"))


def head_window(box: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the square of twice the face's size round a face, inside the picture.

    box: (4,) x0, y0, x1, y1 in pixels.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    side = round(min(2 * max(x1 - x0, y1 - y0), height, width))
    top = min(max(round((y0 + y1 - side) / 2), 0), height - side)
    left = min(max(round((x0 + x1 - side) / 2), 0), width - side)
    return slice(top, top + side), slice(left, left + side)


def main(arguments: list[str]) -> int:
    """Runs one of the two commands; returns the exit code."""
    try:
        match arguments:
            case ["portrait", path]:
                write_portrait(Path(path))
            case ["sheet", video, path]:
                write_sheet(Path(video), Path(path))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
