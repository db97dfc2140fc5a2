"""Which files a command may read and write: checked before any work begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import MediaError, MotionError, OptionError
from animate.whole_file import whole_file

if TYPE_CHECKING:
    from animate.outputs import Target

PICTURES = ("mjpeg", "png", "webp", "bmp", "tiff", "gif")  # ffmpeg's codecs of picture files


def require_file(path: Path, what: str) -> Path:
    """The path, if it is a file that holds something and may be read.

    Raises MediaError with a sentence that names the file and what it was wanted for.
    """
    if not path.exists():
        raise MediaError(f"The {what} {path} does not exist: check the path.")
    if path.is_dir():
        raise MediaError(f"The {what} {path} is a folder: give a file.")
    if not os.access(path, os.R_OK):
        raise MediaError(f"The {what} {path} cannot be read: change its permissions or copy it.")
    if path.is_file() and path.stat().st_size == 0:
        raise MediaError(f"The {what} {path} is empty (0 bytes): copy or download it again.")
    return path


def require_video(path: Path, what: str) -> Path:
    """The path, if it is a video and no single picture. Raises MediaError with a sentence."""
    from animate.media import probe

    info = probe(require_file(path, what))
    if info.frames == 1 and info.codec in PICTURES:
        raise MediaError(f"The {what} {path} is a single picture: give a video; `mien talk` makes a portrait talk.")
    return path


def check_video_output(path: Path, inputs: Iterable[Path], codec: str, crf: int, overwrite: bool) -> Target:
    """Where the video goes, if it can be written there without harming an input.

    overwrite: whether an output of an earlier run may be replaced; an input is never replaced.

    Raises MediaError or OptionError as `animate.media.check_output`, OptionError for a CRF that the codec
    does not have and for an existing file when overwrite is False.
    """
    from animate.media import check_output
    from animate.video_writer import MAX_CRF

    target = check_output(path, inputs, codec)
    limit = MAX_CRF.get(target.codec, 63)
    if crf > limit:
        raise OptionError(f"--crf {crf} is out of range for {target.codec}: give 0 (best) to {limit}.")
    _try_writing(target.path.parent, overwrite, target.path if target.codec != "png" else None)
    return target


def check_output(
    path: Path, inputs: Iterable[Path], overwrite: bool = True, others: Iterable[Path] = (), suffix: str = ""
) -> Path:
    """The path of any other file to write, checked in the same way; none of `others`, which are written as well.

    suffix: what its name must end with.
    """
    from animate.media import check_file

    if any(path.absolute() == other.absolute() for other in others):
        raise OptionError(f"{path} is given for two outputs: choose a name for each.")

    check_file(path, inputs)
    if not path.name.lower().endswith(suffix):
        raise OptionError(f"{path} has another suffix: name the file {path.stem}{suffix}.")
    _try_writing(path.parent, overwrite, path)
    return path


def _try_writing(folder: Path, overwrite: bool, path: Path | None) -> None:
    if path is not None and path.exists() and not overwrite:
        raise OptionError(f"The output {path} exists already: choose another name or leave out --no-overwrite.")
    # Permission bits do not tell about a full disk, and the superuser passes them all.
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MediaError(f"The folder {folder} cannot be written to ({error.strerror}): choose another.") from error


def check_output_folder(path: Path) -> Path:
    """The path of a folder that is made or added to, if files can be written there.

    Raises MediaError with a sentence: it is a file, or cannot be written to.
    """
    if path.exists() and not path.is_dir():
        raise MediaError(f"{path} is a file: give the output a folder.")
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise MediaError(f"{path} cannot be made: {there} is a file; choose another folder.")
    _try_writing(there, True, None)
    return path


def builtin_motions() -> dict[str, Path]:
    """Name → file of every motion that comes with the package."""
    from animate.motion import MOTIONS_FOLDER

    return {path.stem: path for path in sorted(MOTIONS_FOLDER.glob("*.safetensors"))}


def find_motion(name: str) -> Path:
    """The file of a motion given as a path or as the name of a built-in one.

    Raises MotionError when there is neither; the sentence lists the built-in names.
    """
    path = Path(name)
    if path.exists():
        return require_file(path, "motion file")
    known = builtin_motions()
    if name in known:
        return known[name]
    names = ", ".join(known) or "none in this installation"
    raise MotionError(f"There is no motion file {name} and no built-in motion of that name: built in are {names}.")


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a text file so that its name never stands for half of it.

    Raises MediaError when the file cannot be written.
    """
    try:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}): choose another place.") from error
