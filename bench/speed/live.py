"""Speed of what answers while somebody waits: the page's tabs Live and Edit; a part of ``python -m bench.speed``.

Live: a camera of 25 frames a second shows a clip that is made from a built-in motion. Like the page's browser, three
loops take a new frame each, pack it as JPEG, wait for the answer and unpack it. Only the socket between browser and
server and the screen are missing. Edit: sliders are moved to and fro, and the time to the finished picture is taken.
Every job runs in a fresh process.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from animate.animator import PortraitAnimator
from animate.faces import create_tracker
from animate.live import LivePuppet, LiveSession, read_jpeg, write_jpeg
from animate.media import VideoReader, write_image
from animate.portrait import Portrait
from animate.provenance import Provenance
from animate.sliders import RANGES, FaceSliders
from animate.still import Still
from bench.speed.run import make_driving_video, peak_memory
from bench.tables import align

METHODS = ("warp", "mini")
"""What draws: warp and prior alone, and the network on top."""

CAMERA_FPS = 25
CAMERA_SIZE = (480, 360)
"""Width and height in pixels, and JPEG quality below, as the page's browser sends them."""

CAMERA_QUALITY = 80
IN_FLIGHT = 3
"""Frames that the page's browser sends before it has an answer: one is drawn, one waits, one takes its place."""

CLIP_SECONDS = 3.0
"""Length of the clip before the camera, which is shown over and over."""

BARS_MS = {"warp": 300.0, "mini": 1500.0}
"""Bars: milliseconds from a slider to the picture, 95 of 100 times, at 512 px on two idle cores."""

WARM_UP = 3
"""Pictures that every job draws before its clock starts."""


@dataclass
class LiveRun:
    """A camera drives a portrait.

    Attributes:
        method: one of `METHODS`. size: width and height of the portrait in pixels.
        seconds: that the camera was on. offered: frames that it showed.
        shown: answers that came back with a picture. lost: answers that saw no face.
        dropped: frames of the camera that were never shown, because a newer one was there.
        latency_ms: from the frame taken from the camera to the unpacked picture: median, 95th percentile.
        peak_mib: highest resident memory of the process in MiB.
    """

    method: str
    size: tuple[int, int]
    seconds: float
    offered: int
    shown: int
    lost: int
    dropped: int
    latency_ms: tuple[float, float]
    peak_mib: float = 0.0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.shown / self.seconds


@dataclass
class EditRun:
    """Sliders are moved one after the other.

    Attributes:
        method: "warp" is what is seen while a slider moves, "mini" what comes when it is let go, with its files.
        size: width and height of the portrait in pixels. pictures: that were drawn.
        slider_ms: from slider to picture: median, 95th percentile.
    """

    method: str
    size: tuple[int, int]
    pictures: int
    slider_ms: tuple[float, float]


def camera_frames(clip: Path) -> list[np.ndarray]:
    """A clip's frames (360, 480, 3) uint8 RGB, as a camera sees them: the upper part, as wide as the clip."""
    import cv2

    width, height = CAMERA_SIZE
    with VideoReader(clip) as reader:
        return [cv2.resize(frame, (width, width), interpolation=cv2.INTER_AREA)[:height] for frame in reader]


def run_live(method: str, clip: Path, seconds: float) -> LiveRun:
    """Show a clip to the portrait for a while.

    Args:
        method: one of `METHODS`.
        clip: video before the camera.
        seconds: that the camera is on.
    """
    still = _still()
    session = LiveSession(LivePuppet(still, create_tracker("mediapipe")), paint=method != "warp")
    frames = camera_frames(clip)
    for frame in frames[:WARM_UP]:
        session.put(write_jpeg(frame, CAMERA_QUALITY)).result()
    camera, answers = _Camera(frames, seconds), _Answers()

    def browser() -> None:
        while (frame := camera.next()) is not None:
            began = time.perf_counter()
            answer = session.put(write_jpeg(frame, CAMERA_QUALITY)).result()
            answers.add(answer, began)

    loops = [threading.Thread(target=browser) for _ in range(IN_FLIGHT)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    length = time.perf_counter() - camera.began
    session.close()
    shown, lost = len(answers.latency), answers.lost
    counts = (camera.shown, shown, lost, camera.shown - shown - lost)
    return LiveRun(method, _size(still), length, *counts, _spread(answers.latency), peak_memory())


class _Camera:
    """A frame every 1 / `CAMERA_FPS` s, for a while; each is taken once, or never."""

    def __init__(self, frames: Sequence[np.ndarray], seconds: float):
        self.frames, self.shown = frames, round(seconds * CAMERA_FPS)
        self.began = time.perf_counter()
        self._taken = -1
        self._lock = threading.Lock()

    def next(self) -> np.ndarray | None:
        """The first frame that nobody has taken yet, as soon as it is there; None after the last one."""
        with self._lock:
            self._taken = number = max(self._taken + 1, math.ceil((time.perf_counter() - self.began) * CAMERA_FPS))
        if number >= self.shown:
            return None
        time.sleep(max(self.began + number / CAMERA_FPS - time.perf_counter(), 0.0))
        return self.frames[number % len(self.frames)]


class _Answers:
    """What the browser has got. latency: seconds of each picture."""

    def __init__(self) -> None:
        self.latency: list[float] = []
        self.lost = 0
        self._newest = 0.0
        self._lock = threading.Lock()

    def add(self, answer: tuple[bytes, float] | None, taken: float) -> None:
        """An answer to the frame of that moment; one that is older than what is on the screen counts as dropped."""
        picture = read_jpeg(answer[0]) if answer is not None else None
        with self._lock:
            if answer is not None and picture is None:
                self.lost += 1
            elif picture is not None and taken > self._newest:
                self._newest = taken
                self.latency.append(time.perf_counter() - taken)


def run_edit(method: str, pictures: int) -> EditRun:
    """Move sliders, each time another one, and take the time to the packed picture as the page does."""
    still = _still()
    walls = []
    with tempfile.TemporaryDirectory(prefix="mien-speed-") as folder:
        for number in range(WARM_UP + pictures):
            began = time.perf_counter()
            _edit(still, _sliders(number), method, Path(folder))
            walls.append(time.perf_counter() - began)
    return EditRun(method, _size(still), pictures, _spread(walls[WARM_UP:]))


def _edit(still: Still, sliders: FaceSliders, method: str, folder: Path) -> None:
    image = still.draw(sliders.motion(), paint=method != "warp")
    write_jpeg(image)
    if method != "warp":
        write_image(folder / "edited.png", image, provenance=Provenance("portrait edit", method))
        sliders.motion().save(folder / "edited.safetensors")


def _sliders(number: int) -> FaceSliders:
    """The n-th position: another slider each time, to and fro."""
    names = list(RANGES)
    low, high = RANGES[names[number % len(names)]]
    return FaceSliders(**{names[number % len(names)]: low + (high - low) * (0.25 + 0.5 * (number % 7) / 6)})


def _still() -> Still:
    from skimage import data

    return Still(Portrait.from_image(data.astronaut()), PortraitAnimator.from_pretrained("mini"))


def _size(still: Still) -> tuple[int, int]:
    height, width = still.portrait.image.shape[:2]
    return width, height


def _spread(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds; not a number where there is nothing."""
    if not len(seconds):
        return float("nan"), float("nan")
    return tuple(float(value) for value in 1000 * np.percentile(seconds, (50, 95)))


def benchmark(seconds: float, pictures: int) -> dict:
    """Run every job in a process of its own.

    Args:
        seconds: that the camera is on for each method.
        pictures: that the sliders draw with each method.

    Returns:
        The figures and verdict as plain data, for `print_figures` and JSON.

    Raises:
        RuntimeError: a job failed.
    """
    with tempfile.TemporaryDirectory(prefix="mien-speed-") as folder:
        clip = Path(folder, "camera.mp4")
        make_driving_video(clip, min(seconds, CLIP_SECONDS))
        lives = [LiveRun(**_in_child("live", method, clip, seconds)) for method in METHODS]
    edits = [EditRun(**_in_child("edit", method, pictures)) for method in METHODS]
    return {
        "benchmark": "speed-live",
        "camera": {"fps": CAMERA_FPS, "size": CAMERA_SIZE},
        "live": [asdict(run) | {"fps": run.rate} for run in lives],
        "edit": [asdict(run) for run in edits],
        "verdict": bars(edits),
        "tables": [format_lives(lives), format_edits(edits)],
    }


def format_lives(runs: Sequence[LiveRun]) -> str:
    """A table of live jobs: pictures a second, latency, frames dropped, peak memory."""
    rows = [["live", "fps", "latency median", "95 %", "camera", "shown", "dropped", "no face", "peak MiB"]]
    for run in runs:
        times = [f"{value:.0f}" for value in run.latency_ms]
        counts = [str(count) for count in (run.offered, run.shown, run.dropped, run.lost)]
        rows.append([run.method, f"{run.rate:.1f}", *times, *counts, f"{run.peak_mib:.0f}"])
    return align(rows)


def format_edits(runs: Sequence[EditRun]) -> str:
    """A table of slider jobs: milliseconds to the picture beside the bar."""
    rows = [["edit", "pictures", "median", "95 %", "bar"]]
    for run in runs:
        times = [f"{value:.0f}" for value in run.slider_ms]
        rows.append([run.method, str(run.pictures), *times, f"{BARS_MS[run.method]:g}"])
    return align(rows)


def bars(runs: Sequence[EditRun]) -> list[str]:
    """The verdict, one line a bar."""
    lines = []
    for run in runs:
        late, bar = run.slider_ms[1], BARS_MS[run.method]
        text = f"slider to picture, {run.method}, 95 %: {late:.0f} ms < {bar:g} ms"
        lines.append(f"{'pass' if late < bar else 'FAIL'}  {text}")
    return lines


def print_figures(figures: dict) -> None:
    """Print what `benchmark` gave."""
    lives, edits = figures["tables"]
    width, height = figures["live"][0]["size"]
    print(f"Live and edited portraits of {width} x {height} px; the camera shows {CAMERA_FPS} frames a second.")
    print("Times in milliseconds; latency: from the camera's frame to the unpacked picture, JPEG both ways.")
    print(lives, "", edits, "", *figures["verdict"], sep="\n")


def _in_child(job: str, *arguments: object) -> dict:
    command = [sys.executable, "-m", "bench.speed.live", job, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise RuntimeError(f"live: {job} was not run: {words[-1].split(': ', 1)[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _job(job: str, method: str, *arguments: str) -> None:
    if job == "live":
        run: LiveRun | EditRun = run_live(method, Path(arguments[0]), float(arguments[1]))
    else:
        run = run_edit(method, int(arguments[0]))
    print(json.dumps(asdict(run)))


if __name__ == "__main__":
    _job(*sys.argv[1:])
