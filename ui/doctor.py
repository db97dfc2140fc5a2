"""`mien doctor`: what is installed, which weights lie where, on what it computes, and whether a frame can be drawn."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from animate.errors import MienError

OK, ABSENT, WRONG = "ok", "absent", "wrong"
SIDE = 96  # px of the self-test's picture


@dataclass(frozen=True)
class Check:
    """One line. state: "ok", "absent" (optional, and not here) or "wrong" (it should work and does not)."""

    group: str
    name: str
    state: str
    detail: str


def examine(selftest: bool = True) -> Iterator[Check]:
    """Every check, one after the other; none of them raises, and none fetches anything."""
    for group, part in PARTS.items():
        if group == "self-test" and not selftest:
            continue
        try:
            for name, state, detail in part():
                yield Check(group, name, state, detail)
        except Exception as error:  # what is broken in a way that nobody foresaw is what this command is for
            yield Check(group, group, WRONG, _sentence(error))


def _program() -> Iterator[tuple[str, str, str]]:
    from animate.provenance import mien_version

    yield "mien", OK, mien_version()
    yield "python", OK, f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    from animate import ffmpeg

    done = ffmpeg.run([ffmpeg.binary(), "-version"])
    words = done.stdout.decode("utf-8", "replace").split()
    version = words[2] if done.returncode == 0 and len(words) > 2 else None
    yield "ffmpeg", OK if version else WRONG, version or "the bundled ffmpeg does not start: reinstall imageio-ffmpeg"


def _packages() -> Iterator[tuple[str, str, str]]:
    """What Mien needs, then its extras, held against the bounds of its own metadata."""
    from importlib.metadata import PackageNotFoundError, metadata, requires

    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires("mien") or []]
        extras = metadata("mien").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        yield "mien", WRONG, "this source tree was never installed: run `pip install -e .` in it"
        return
    base = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    for need in base:
        version, fault = _fault(need)
        yield need.name, WRONG if fault else OK, fault or version
    for extra in sorted(set(extras) - {"all"}):
        needs = [
            need
            for need in wanted
            if need not in base and need.name != "mien" and need.marker.evaluate({"extra": extra})
        ]
        found = [(need, *_fault(need)) for need in needs]
        missing = [need.name for need, version, _ in found if not version]
        wrong = [fault for _, version, fault in found if version and fault]
        if wrong:
            yield f"extra {extra}", WRONG, "; ".join(wrong)
        elif missing:
            yield f"extra {extra}", ABSENT, f"without {', '.join(missing)}: pip install 'mien[{extra}]'"
        else:
            yield f"extra {extra}", OK, ", ".join(f"{need.name} {version}" for need, version, _ in found)


def _fault(need) -> tuple[str, str]:
    """The installed version, "" for none, and what is wrong with it, "" for nothing."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(need.name)
    except PackageNotFoundError:
        return "", f"{need.name} is not installed: pip install '{need.name}{need.specifier}'"
    if need.specifier.contains(found, prereleases=True):
        return found, ""
    return found, f"{need.name} {found} does not fit: pip install '{need.name}{need.specifier}'"


def _weights() -> Iterator[tuple[str, str, str]]:
    """Our own weights are checked; of what others published only the place is told (`mien weights verify` checks)."""
    from weights.registry import RECORDS
    from weights.store import verify

    from .models_table import where

    for record in RECORDS:
        if record.origin == "trained here":
            bad = [file for file in verify(record) if file.state in ("damaged", "missing")]
            faults = ", ".join(f"{file.file} is {file.state}" for file in bad)
            yield record.name, WRONG if bad else OK, f"{faults}: install Mien again" if bad else str(record.path)
        else:
            yield record.name, OK if record.available else ABSENT, where(record).removeprefix("no: ")


def _machine() -> Iterator[tuple[str, str, str]]:
    import torch

    yield "cpu", OK, f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            yield f"cuda:{number}", OK, f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    else:
        built = "PyTorch was built without CUDA" if torch.version.cuda is None else "PyTorch sees no NVIDIA GPU"
        yield "cuda", ABSENT, f"{built}; `mini` needs none"
    if torch.backends.mps.is_available():
        yield "mps", OK, "Apple GPU"


def _folders() -> Iterator[tuple[str, str, str]]:
    from weights import places

    for name, folder in (("temporary files", Path(tempfile.gettempdir())), ("this folder", Path.cwd())):
        try:
            with tempfile.TemporaryFile(dir=folder):
                free = shutil.disk_usage(folder).free / 2**30
            yield name, OK if free > 0.1 else WRONG, f"{folder}, {free:.1f} GiB free"
        except OSError as error:
            yield name, WRONG, f"{folder} cannot be written to ({error.strerror})"
    given = os.environ.get(places.VARIABLE)
    if given and not Path(given).expanduser().is_dir():
        yield "weights", WRONG, f"{places.VARIABLE} names {given}, which is no folder: make it or unset the variable"
    else:
        yield "weights", OK, str(places.own_root())


def _selftest() -> Iterator[tuple[str, str, str]]:
    """Looks for faces in, animates, writes and reads back one tiny picture, into which a face's landmarks are laid."""
    import numpy as np

    from animate import pose
    from animate.animator import PortraitAnimator
    from animate.faces import Face, create_tracker
    from animate.media import VideoReader, VideoWriter
    from animate.motion import Motion
    from animate.portrait import Portrait
    from animate.provenance import Provenance

    from .paths import builtin_motions

    ramp = np.linspace(60, 200, SIDE)
    image = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=-1).astype(np.uint8)
    landmarks = (pose.canonical_face() * (0.25 * SIDE) + [SIDE / 2, SIDE / 2, 0]).astype(np.float32)
    box = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
    with _Clock() as clock:
        create_tracker().detect(image)
    yield "faces", OK, f"the face tracker runs ({clock.seconds:.1f} s with loading)"
    with _Clock() as loading:
        animator = PortraitAnimator.from_pretrained("mini")
    with _Clock() as clock:
        motion = Motion.load(builtin_motions()["smile"])
        middle = len(motion) // 2 / float(motion.fps)
        one = motion.trim(middle, middle + 1 / float(motion.fps))
        frames = list(animator.animate(Portrait(image, [Face(box, landmarks, 1.0)]), one))
    fine = bool(frames) and frames[0].shape == image.shape and frames[0].std() > 0
    times = f"{clock.seconds:.1f} s, loading the model {loading.seconds:.1f} s"
    yield "frame", OK if fine else WRONG, f"{len(frames)} of {SIDE} px drawn ({times})"
    with _Clock() as clock, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        with VideoWriter(path, motion.fps, provenance=Provenance()) as writer:
            for frame in frames:
                writer.write(frame)
        with VideoReader(path) as reader:
            back = list(reader)
    same = len(back) == len(frames) and abs(back[0].astype(int) - frames[0]).mean() < 8
    detail = (
        f"written and read back ({clock.seconds:.1f} s)" if same else "a video does not come back as it was written"
    )
    yield "video", OK if same else WRONG, detail


class _Clock:
    """The seconds that a block takes."""

    seconds = 0.0

    def __enter__(self) -> _Clock:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


def _sentence(error: Exception) -> str:
    from .system import missing_library

    if isinstance(error, MienError):
        return str(error)
    if isinstance(error, ImportError) and (sentence := missing_library()) is not None:
        return sentence
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


PARTS: dict[str, Callable[[], Iterator[tuple[str, str, str]]]] = {
    "program": _program,
    "packages": _packages,
    "weights": _weights,
    "machine": _machine,
    "folders": _folders,
    "self-test": _selftest,
}
