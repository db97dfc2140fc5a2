"""Where a result is written: checked before the work starts, and complete or absent when it ends."""

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from animate.errors import MediaError, OptionError

# suffix -> (ffmpeg's name of the container, codecs that it may hold, the customary one first)
CONTAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".mp4": ("mp4", ("h264", "vp9")),
    ".m4v": ("mp4", ("h264",)),
    ".mov": ("mov", ("h264", "prores")),
    ".mkv": ("matroska", ("h264", "vp9", "prores")),
    ".webm": ("webm", ("vp9",)),
    ".gif": ("gif", ("gif",)),
}
ALPHA_CODECS = {"vp9", "prores", "png", "gif"}
CODECS = ("auto", "h264", "vp9", "prores", "png", "gif")
SEQUENCE_NAME = "%05d.png"
NUMBER = r"%0?\d*d"


@dataclass(frozen=True)
class Target:
    """A checked output: a file, or the folder of a PNG sequence whose files are named by `pattern`."""

    path: Path
    codec: str
    container: str
    pattern: str = ""


def check_output(
    path: str | Path, inputs: Iterable[str | Path] = (), codec: str = "auto", alpha: bool = False
) -> Target:
    """Check that a video may be written, before any work is done. Nothing is created.

    Args:
        path: a file (.mp4, .m4v, .mov, .mkv, .webm, .gif), a folder, or a pattern such as `frames/%05d.png`.
        inputs: files that must not be overwritten.
        codec: one of CODECS; "auto" follows the suffix.
        alpha: the video carries transparency.

    Raises:
        MediaError: the same file as an input; missing or unwritable folder; unknown suffix; a folder that
            already holds frames of that name; a container that cannot hold the codec or the transparency.
        OptionError: unknown codec.
    """
    target = _target(path, codec, alpha)
    if target.codec != "png":
        check_file(target.path, inputs)
        return target
    folder = target.path if target.path.exists() else target.path.parent
    _check_folder(folder, target.path)
    if target.path.exists() and not target.path.is_dir():
        raise MediaError(f"{target.path} is a file, not a folder for frames: choose another name.")
    before, after = re.split(NUMBER, target.pattern)
    numbered = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    if target.path.is_dir() and any(numbered.fullmatch(name) for name in os.listdir(target.path)):
        raise MediaError(
            f"{target.path} already holds frames like {target.pattern}: empty it or choose another folder."
        )
    return target


def check_file(path: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """Check that one file of any kind may be written and is none of the inputs. Nothing is created.

    Raises:
        MediaError: as for `check_output`.
    """
    path = Path(path)
    if path.is_dir():
        raise MediaError(f"{path} is a folder: give the output a file name.")
    if path.exists() and not path.is_file():
        raise MediaError(f"{path} is a device, not a file: give the output a file name.")
    for source in inputs:
        if source is not None and _same(path, Path(source)):
            raise MediaError(f"{path} is also an input and would be overwritten: choose another output name.")
    _check_folder(path.parent, path)
    return path


def _same(path: Path, source: Path) -> bool:
    try:
        return os.path.samefile(path, source)
    except OSError:
        return path.absolute() == source.absolute()


def _check_folder(folder: Path, path: Path) -> None:
    if not folder.is_dir():
        raise MediaError(f"{path} cannot be written: the folder {folder} does not exist; make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError(f"{path} cannot be written: the folder {folder} is not writable; choose another.")


def _target(path: str | Path, codec: str, alpha: bool) -> Target:
    if codec not in CODECS:
        raise OptionError(f"codec {codec!r} is unknown: choose one of {', '.join(CODECS)}.")
    text, path = os.fspath(path), Path(path)
    suffix = path.suffix.lower()
    if suffix == ".png" and codec in ("auto", "png"):
        if len(re.findall(NUMBER, path.name)) != 1 or path.name.count("%") != 1:
            raise MediaError(f"{path} names one picture: give a pattern such as {path.parent / SEQUENCE_NAME}.")
        return Target(path.parent, "png", "image2", path.name)
    if codec == "png" or (codec == "auto" and (path.is_dir() or text.endswith(("/", os.sep)))):
        if suffix and not path.is_dir():
            raise MediaError(f"{path} is no name for PNG frames: give a folder, or a pattern such as {SEQUENCE_NAME}.")
        return Target(path, "png", "image2", SEQUENCE_NAME)
    if suffix not in CONTAINERS:
        known = ", ".join(CONTAINERS)
        raise MediaError(
            f"{path} has an unknown suffix {suffix!r}: use one of {known}, or {path.name}/ for PNG frames."
        )
    container, codecs = CONTAINERS[suffix]
    if codec == "auto":
        fit = [known for known in codecs if known in ALPHA_CODECS] if alpha and suffix != ".mp4" else codecs
        codec = next(iter(fit), codecs[0])
    if codec not in codecs:
        raise MediaError(f"{path}: {suffix} cannot hold {codec}; it holds {' or '.join(codecs)}.")
    if alpha and codec not in ALPHA_CODECS:
        raise MediaError(f"{path} cannot hold transparency: use .webm, .mov, or a folder for PNG frames.")
    return Target(path, codec, container)


def workspace(path: Path) -> tempfile.TemporaryDirectory:
    """A hidden folder beside `path`, on the same disk, that goes with the object; results are moved out.

    Raises:
        MediaError: the folder of `path` is not writable.
    """
    try:
        return tempfile.TemporaryDirectory(
            prefix=f".{path.name[:60]}.",
            suffix=".part",
            dir=path.absolute().parent,
            ignore_cleanup_errors=True,
        )
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error


def move(source: Path, path: Path) -> None:
    """Put a finished file under its final name, at once.

    Raises:
        MediaError: the file system refuses.
    """
    try:
        os.replace(source, path)
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}): choose another name.") from error
