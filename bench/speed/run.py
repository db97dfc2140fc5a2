"""Speed and memory of the whole way from portrait and driving video to a finished file.

``python -m bench.speed`` animates a 512 px portrait (scikit-image's astronaut) with a driving video that it
makes itself from a built-in motion, once per method and each time in a fresh process, and prints frames per
second, milliseconds per stage, peak memory, and how much the peak grows from a short job to a long one. After that
it measures the way from speech to motion, see ``bench.speed.talk``, and what answers while somebody waits, live mode
and sliders, see ``bench.speed.live``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from animate.errors import MienError

METHODS = ("mini", "prior", "warp")
PARTS = ("animate", "talk", "live")
MOTION = "talk"
"""The built-in motion that the driving video is made from."""

FRAMES_PER_SECOND = 6.0
"""Bar: frames per second end to end of ``mini`` on two idle cores."""

PEAK_MIB = 1430
"""Bar: peak memory, 1.5 GB in MiB."""

GROWTH = 1.05
"""Bar: the long job's peak over the short one's."""

IDLE = 0.3
"""Load average above which the machine is not idle and the figures are marked."""


@dataclass
class Run:
    """One job in a process of its own.

    Attributes:
        method: the method that animated.
        frames: frames written.
        seconds: from reading the first file to the finished output, without starting Python.
        stages: stage -> seconds. ``other`` is what no stage accounts for.
        peak_mib: highest resident memory of the process in MiB.
        children_mib: the same of its children, the video decoder or encoder, in MiB.
    """

    method: str
    frames: int
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0
    children_mib: float = 0.0

    @property
    def whole_mib(self) -> float:
        """Peak memory of the process and its children together, in MiB."""
        return self.peak_mib + self.children_mib

    @property
    def rate(self) -> float:
        """Frames per second end to end."""
        return self.frames / self.seconds


class Stopwatch:
    """Adds up the time spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def measure(self, stage: str, action, *arguments, **options):
        """Call ``action`` and book its time on ``stage``; returns what it returns."""
        began = time.perf_counter()
        try:
            return action(*arguments, **options)
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def peak_memory(process: int | str = "self") -> float:
    """Peak resident memory of a process in MiB; 0 where it is gone.

    Linux hands ``ru_maxrss`` of the process that forked us down through exec, so a child of a large parent
    would be charged for it; ``VmHWM`` starts anew.
    """
    status = Path(f"/proc/{process}/status")
    if not Path("/proc/self/status").is_file():
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit if process == "self" else 0.0
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


class ChildWatch(threading.Thread):
    """Notes the peak memory of this process's children (ffmpeg); ended ones cannot be asked any more."""

    def __init__(self, interval: float = 0.1) -> None:
        super().__init__(daemon=True)
        self.interval, self.peak, self.done = interval, 0.0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(self.interval):
            lists = Path("/proc/self/task").glob("*/children")
            children = {int(number) for path in lists for number in _numbers(path)}
            # Between fork and exec a child still is this process, and shows its memory.
            children = {child for child in children if _program(child) != _program("self")}
            self.peak = max(self.peak, sum(peak_memory(child) for child in children))

    def stop(self) -> float:
        """End the watch; returns the highest sum of the peaks of children that lived together, in MiB."""
        self.done.set()
        self.join()
        return self.peak


def _program(process: int | str) -> str:
    try:
        return os.readlink(f"/proc/{process}/exe")
    except OSError:
        return ""


def _numbers(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def make_driving_video(path: Path, seconds: float, motion_name: str = MOTION) -> int:
    """Render the astronaut with a built-in motion, looped to a length, by the bare warp.

    Args:
        path: video file to write.
        seconds: length.
        motion_name: a built-in motion or a motion file.

    Returns:
        The number of frames.
    """
    from skimage import data

    from animate.animator import Portrait, PortraitAnimator
    from animate.media import VideoWriter
    from animate.motion import Motion

    motion = Motion.load(motion_name) if Path(motion_name).is_file() else Motion.builtin(motion_name)
    frames = max(round(seconds * motion.fps), 1)
    loop, rounds = motion, 1
    while len(loop) < frames:
        # Joints overlap, so how long a loop gets is seen only when it is there.
        rounds *= 2
        loop = Motion.join([motion] * rounds)
    motion = loop.take(slice(0, frames))
    portrait = Portrait.from_image(data.astronaut())
    animator = PortraitAnimator.from_pretrained(method="warp")
    with VideoWriter(path, motion.fps) as writer:
        for frame in animator.animate(portrait, motion):
            writer.write(frame)
    return frames


def run_job(method: str, driving: Path, output: Path) -> Run:
    """Animate the astronaut with a driving video as ``mien animate`` does, with a stopwatch on every stage.

    Args:
        method: ``mini``, ``prior``, ``warp`` or ``still``.
        driving: video to track.
        output: video to write.
    """
    from skimage import data

    from animate.animator import Portrait, PortraitAnimator
    from animate.faces import create_tracker
    from animate.media import VideoReader, VideoWriter
    from animate.motion import Motion

    watch, children = Stopwatch(), ChildWatch()
    children.start()
    began = time.perf_counter()
    animator = watch.measure("load", PortraitAnimator.from_pretrained, method=method)
    tracker = watch.measure("load", create_tracker)
    portrait = watch.measure("portrait", Portrait.from_image, data.astronaut(), tracker)
    with VideoReader(driving) as reader:
        # Reading is streamed into the tracker, so its time is the tracker's.
        track = watch.measure("track", tracker.track, reader, reader.fps, max_faces=1)[0]
    motion = watch.measure("retarget", Motion.from_track, track)
    del track  # as in `mien animate`, which keeps the motion alone
    frames = iter(animator.animate(portrait, motion))
    count, made = 0, 0.0
    with VideoWriter(output, motion.fps) as writer:
        while True:
            before = time.perf_counter()
            frame = next(frames, None)
            made += time.perf_counter() - before
            if frame is None:
                break
            watch.measure("encode", writer.write, frame)
            count += 1
        watch.measure("encode", writer.close)
    total = time.perf_counter() - began
    stages = dict(watch.seconds)
    inside = dict(animator.timings)
    for stage, seconds in inside.items():
        stages[stage] = stages.get(stage, 0.0) + seconds
    stages["other"] = max(total - sum(stages.values()), 0.0)
    return Run(method, count, total, stages, peak_memory(), children.stop())


def run_in_child(method: str, driving: Path, output: Path) -> Run:
    """``run_job`` in a fresh process, so that its peak memory is its own."""
    command = [sys.executable, "-m", "bench.speed", "--job", method, str(driving), str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{method}: not run: {_last_words(done.stderr)}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def format_runs(runs: Sequence[Run]) -> str:
    """A table of methods: frames per second, milliseconds per frame and stage, peak memory."""
    stages = list(dict.fromkeys(stage for run in runs for stage in run.stages))
    header = ["", "frames", "fps", "ms/frame", *stages, "peak MiB", "ffmpeg MiB"]
    lines = [header]
    for run in runs:
        per_frame = [f"{1000 * run.stages.get(stage, 0.0) / run.frames:.1f}" for stage in stages]
        whole = [run.method, str(run.frames), f"{run.rate:.2f}", f"{1000 * run.seconds / run.frames:.1f}"]
        lines.append([*whole, *per_frame, f"{run.peak_mib:.0f}", f"{run.children_mib:.0f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def bars(runs: Sequence[Run], long_run: Run | None) -> list[str]:
    """The verdict, one line a bar, from the first run (the method to judge) and its long job."""
    judged = runs[0]
    checks = [
        (
            judged.rate >= FRAMES_PER_SECOND,
            f"{judged.method}: {judged.rate:.2f} fps >= {FRAMES_PER_SECOND:g}",
        ),
        (judged.whole_mib < PEAK_MIB, f"{judged.method}: peak {judged.whole_mib:.0f} MiB < {PEAK_MIB}"),
    ]
    if long_run is not None:
        growth = long_run.whole_mib / judged.whole_mib
        text = f"peak of {long_run.frames} frames over {judged.frames}: {growth:.3f} <= {GROWTH:g}"
        checks.append((growth <= GROWTH, text))
        checks.append((long_run.whole_mib < PEAK_MIB, f"long job: peak {long_run.whole_mib:.0f} MiB < {PEAK_MIB}"))
    lines = [f"{'pass' if passed else 'FAIL'}  {text}" for passed, text in checks]
    for other in runs[1:]:
        lines.append(f"      {judged.method} runs at {judged.rate / other.rate:.2f} of the speed of {other.method}")
    return lines


def machine() -> dict[str, float | int | None]:
    """Cores that this process may use and the load of the last minute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"cores": cores, "load": load}


def _last_words(stderr: str) -> str:
    """The sentence of an exception that ended a child."""
    lines = stderr.strip().splitlines()
    return lines[-1].split(": ", 1)[-1] if lines else "it ended without a word"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the driving video")
    parser.add_argument("--long", type=float, default=60.0, help="length of the long job; 0 leaves it out")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated; the first is judged")
    parser.add_argument("--motion", default=MOTION, help="built-in motion, or motion file, that drives")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated; what to measure")
    parser.add_argument("--talk-method", default="mini", help="method that makes motion of speech")
    parser.add_argument("--talk-seconds", type=float, default=60.0, help="length of the speech")
    parser.add_argument("--talk-long", type=float, default=600.0, help="length of the long speech; 0 leaves it out")
    parser.add_argument("--talk-sound", type=Path, default=None, help="speech to repeat; else a sound is made up")
    parser.add_argument("--live", action="store_true", help="live mode and sliders alone; as --parts live")
    parser.add_argument("--live-seconds", type=float, default=10.0, help="time that the camera is on, per method")
    parser.add_argument("--live-pictures", type=int, default=30, help="pictures that sliders draw, per method")
    parser.add_argument("--job", nargs=3, default=None, help=argparse.SUPPRESS)
    return parser


def _benchmark(options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory(prefix="mien-speed-") as folder:
        short, long = Path(folder, "short.mp4"), Path(folder, "long.mp4")
        # Its own process, so that the parent stays small and hands its children no memory.
        _make_in_child(short, options.seconds, options.motion)
        runs, failures = [], []
        for name in options.methods.split(","):
            try:
                runs.append(run_in_child(name, short, Path(folder, "out.mp4")))
            except RuntimeError as error:
                failures.append(str(error))
        long_run = None
        if options.long > 0 and runs:
            _make_in_child(long, options.long, options.motion)
            long_run = run_in_child(runs[0].method, long, Path(folder, "out.mp4"))
    print("Portrait 512 x 512 px.")
    print(*failures, sep="\n", end="\n" if failures else "")
    if not runs:
        raise RuntimeError("No method could be run.")
    print("Stages in milliseconds a frame; load and portrait are paid once.")
    print(format_runs([*runs, *([long_run] if long_run else [])]), "", *bars(runs, long_run), sep="\n")
    return {
        "runs": [asdict(run) | {"fps": run.rate} for run in runs],
        "long": asdict(long_run) | {"fps": long_run.rate} if long_run else None,
        "failures": failures,
        "verdict": bars(runs, long_run),
    }


def _talk(options: argparse.Namespace) -> dict:
    from bench.speed import talk as speed_talk

    figures = speed_talk.benchmark(options.talk_method, options.talk_seconds, options.talk_long, options.talk_sound)
    speed_talk.print_figures(figures)
    return {"talk": figures}


def _live(options: argparse.Namespace) -> dict:
    from bench.speed import live as speed_live

    figures = speed_live.benchmark(options.live_seconds, options.live_pictures)
    speed_live.print_figures(figures)
    return {"live": figures}


def _make_in_child(path: Path, seconds: float, motion: str) -> None:
    code = "import sys; from pathlib import Path; from bench.speed.run import make_driving_video as make; "
    code += "make(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])"
    done = subprocess.run([sys.executable, "-c", code, str(path), str(seconds), motion], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The driving video could not be made: {_last_words(done.stderr)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.job:
        method, driving, output = options.job
        print(json.dumps(asdict(run_job(method, Path(driving), Path(output)))))
        return 0
    parts = ["live"] if options.live else options.parts.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        print(f"There is no part {', '.join(unknown)}: choose from {', '.join(PARTS)}.", file=sys.stderr)
        return 1
    # Before the first job: afterwards the load would be our own.
    before = machine()
    print(f"{before['cores']} cores, load before the start {before['load'] or 0:.2f}")
    if (before["load"] or 0) > IDLE:
        print("The machine is not idle: the figures are too low.")
    figures: dict = {"schema": 1, "benchmark": "speed", "machine": before}
    status = 0
    for part, measure in (("animate", _benchmark), ("talk", _talk), ("live", _live)):
        if part in parts:
            try:
                figures |= measure(options)
            except (RuntimeError, MienError) as error:
                print(error, file=sys.stderr)
                status = 1
            print()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return status
