"""Speed and memory of the way from sound to motion: a part of ``python -m bench.speed``.

A minute of sound is turned into a motion in one go and, pushed in small chunks, live; one and ten minutes of it are
turned into motions stretch by stretch, for memory. Every job runs in a fresh process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.speed.run import Stopwatch, peak_memory
from bench.tables import align

if TYPE_CHECKING:
    from talking_face.talker import Talker

FPS = Fraction(25)
SAMPLE_RATE = 16_000

TIMES_REAL = 50.0
"""Bar: seconds of sound turned into motion per second, on two idle cores."""

LATENCY_MS = 300.0
"""Bar: milliseconds from a moment of the sound to its frame, beside the model's look-ahead."""

GROWTH = 1.05
"""Bar: peak memory of the long sound over the short one's."""

CHUNKS_MS = (20, 40)
"""Milliseconds of the chunks in which live sound arrives."""

WARM_UP = 1.0
"""Seconds of sound that every job turns into motion before its clock starts: libraries load when first used."""


@dataclass
class BatchRun:
    """A whole sound turned into motion.

    Attributes:
        what: "motion" (in one go) or "motions" (stretch by stretch).
        sound: its length in seconds. frames: of the motion.
        seconds: that it took, without the start.
        start: seconds for loading the model and libraries, with a first second of sound.
        stages: stage -> seconds, each measured by itself; ``rest`` is what they leave of ``seconds``: the smoothing
            and dressing of the curves.
        peak_mib: highest resident memory of the process in MiB.
        cpu: seconds of all cores together, which other work on the machine hardly changes.
    """

    what: str
    sound: float
    frames: int
    seconds: float
    start: float
    stages: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0
    cpu: float = 0.0

    @property
    def times_real(self) -> float:
        """Seconds of sound a second."""
        return self.sound / self.seconds


@dataclass
class StreamRun:
    """A sound pushed in chunks.

    Attributes:
        chunk_ms: length of a chunk. look_ahead_ms: what the model waits for by design.
        frames: that came out, all in all.
        push_ms: wall time of a push: median, 95th percentile, worst.
        latency_ms: from the moment that a frame shows to the frame, less the look-ahead, were the chunks to come
            in real time: median, 95th percentile, worst.
        sound: length in seconds.
    """

    chunk_ms: int
    look_ahead_ms: float
    frames: int
    push_ms: tuple[float, float, float]
    latency_ms: tuple[float, float, float]
    sound: float


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """A made-up sound that costs a speech model what speech costs: voiced syllables, hisses, pauses.

    Args:
        seconds: length.
        seed: of the syllables.

    Returns:
        (N,) float32 at 16 kHz, peak 0.5.
    """
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        if rng.random() < 0.25:
            parts.append(np.zeros(int(rng.uniform(0.1, 0.5) * SAMPLE_RATE)))
            continue
        count = int(rng.uniform(0.12, 0.28) * SAMPLE_RATE)
        turns = np.cumsum(np.linspace(*rng.uniform(90, 220, 2), count)) / SAMPLE_RATE
        source = np.diff(np.floor(turns), prepend=0) + 0.01 * rng.normal(size=count)
        for formant, width in zip(rng.uniform((250, 900, 2200), (800, 2300, 3000)), (80, 100, 150), strict=True):
            radius = np.exp(-np.pi * width / SAMPLE_RATE)
            source = lfilter(
                [1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / SAMPLE_RATE), radius**2], source
            )
        voiced = source / np.abs(source).max() * np.hanning(count)
        hiss = np.diff(rng.normal(size=int(rng.uniform(0, 0.09) * SAMPLE_RATE) + 2)) * 0.05
        parts += [hiss, voiced]
    sound = np.concatenate(parts)[: round(seconds * SAMPLE_RATE)]
    sound = sound + 1e-4 * rng.normal(size=len(sound))
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def load_talker(method: str) -> Talker:
    """One of `talking_face.talker.METHODS`, or a model folder.

    Raises:
        WeightsError: the model's weights are not there.
    """
    from talking_face.talker import METHODS, Talker

    return Talker.from_pretrained(**({"method": method} if method in METHODS else {"name_or_folder": method}))


def run_batch(method: str, sound: Path, stretches: bool) -> BatchRun:
    """Turn a sound file into motion, in one go or stretch by stretch, with every default option."""
    began = time.perf_counter()
    talker = load_talker(method)
    talker.motion(speech_like(WARM_UP), FPS, rate=SAMPLE_RATE)
    start = time.perf_counter() - began
    began, worked = time.perf_counter(), time.process_time()
    frames = sum(len(part) for part in talker.motions(sound, FPS)) if stretches else len(talker.motion(sound, FPS))
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    peak = peak_memory()
    length = _length(sound)
    stages = {} if stretches else time_stages(talker, sound)
    if stages:
        stages["rest"] = max(seconds - sum(stages.values()), 0.0)
    return BatchRun("motions" if stretches else "motion", length, frames, seconds, start, stages, peak, cpu)


def time_stages(talker: Talker, sound: Path) -> dict[str, float]:
    """Seconds for reading a sound file, its features, and the network, each done once more by itself."""
    from talking_face.audio import load_audio
    from talking_face.features import RATE, audio_features
    from talking_face.talker import BLOCK, TalkOptions

    watch, options = Stopwatch(), TalkOptions()
    samples = watch.measure("read", load_audio, sound)
    features = watch.measure("features", audio_features, samples)
    for first in range(0, len(features), BLOCK * RATE):
        watch.measure("network", talker.curves, features[first : first + BLOCK * RATE], first, options)
    return watch.seconds


def run_stream(method: str, sound: Path, chunk_ms: int) -> StreamRun:
    """Push a sound file in chunks, as fast as they are taken, and work out what that means in real time."""
    from talking_face.audio import load_audio

    talker = load_talker(method)
    samples = load_audio(sound)
    warm = talker.stream(FPS)
    warm.push(speech_like(WARM_UP))
    warm.finish()
    stream = talker.stream(FPS)
    walls, counts = _push_all(stream.push, samples, chunk_ms * SAMPLE_RATE // 1000)
    last = stream.finish()
    latency = live_latency(walls, counts, chunk_ms / 1000, FPS) - talker.look_ahead
    return StreamRun(
        chunk_ms=chunk_ms,
        look_ahead_ms=1000 * talker.look_ahead,
        frames=sum(counts) + (len(last) if last is not None else 0),
        push_ms=_spread(1000 * np.array(walls)),
        latency_ms=_spread(1000 * latency),
        sound=len(samples) / SAMPLE_RATE,
    )


def live_latency(walls: Sequence[float], counts: Sequence[int], chunk: float, fps: Fraction) -> np.ndarray:
    """Seconds from each frame's moment in the sound to its coming out, were the chunks to arrive in real time.

    A chunk is there when its last sample was spoken, and is taken when the push before it has ended.

    Args:
        walls: seconds that each push took.
        counts: frames that each push gave.
        chunk: seconds of sound in a chunk.
        fps: frames per second; frame n shows the moment n / fps.

    Returns:
        (sum(counts),) seconds.
    """
    ends, end = [], 0.0
    for k, wall in enumerate(walls, 1):
        end = max(end, k * chunk) + wall
        ends.append(end)
    moments = np.arange(sum(counts)) / float(fps)
    return np.repeat(ends, counts) - moments


def benchmark(method: str, seconds: float, long: float, sound: Path | None = None) -> dict:
    """Run every job in a process of its own.

    Args:
        method: judged method, or a model folder.
        seconds, long: lengths of the sound; `long` 0 leaves the memory's growth out.
        sound: speech to repeat to these lengths; None makes up a sound.

    Returns:
        The figures and verdict as plain data, for `format_figures` and JSON.

    Raises:
        RuntimeError: a job failed.
    """
    with tempfile.TemporaryDirectory(prefix="mien-speed-") as folder:
        paths = {length: Path(folder, f"{length:g}.wav") for length in (seconds, long) if length > 0}
        for length, path in paths.items():
            write_sound(path, length, sound)
        runs = [_in_child("motion", method, paths[seconds]), _in_child("motions", method, paths[seconds])]
        if long > 0:
            runs.append(_in_child("motions", method, paths[long]))
        streams = [_in_child("stream", method, paths[seconds], chunk) for chunk in CHUNKS_MS]
    runs, streams = [BatchRun(**run) for run in runs], [StreamRun(**run) for run in streams]
    return {
        "benchmark": "speed-talk",
        "method": method,
        "sound": str(sound) if sound else "made up",
        "runs": [asdict(run) | {"times_real": run.times_real} for run in runs],
        "streams": [asdict(run) for run in streams],
        "verdict": bars(runs, streams),
        "tables": [format_runs(runs), format_streams(streams)],
    }


def format_runs(runs: Sequence[BatchRun]) -> str:
    """A table of batch jobs: times real time, milliseconds per stage and second of sound, peak memory."""
    stages = list(dict.fromkeys(stage for run in runs for stage in run.stages))
    rows = [["", "sound s", "frames", "x real", "start s", "ms/s", "cpu ms/s", *stages, "peak MiB"]]
    for run in runs:
        whole = [f"{run.sound:.0f}", str(run.frames), f"{run.times_real:.1f}", f"{run.start:.1f}"]
        cells = [f"{1000 * run.stages[stage] / run.sound:.2f}" if stage in run.stages else "-" for stage in stages]
        spent = [f"{1000 * seconds / run.sound:.2f}" for seconds in (run.seconds, run.cpu)]
        rows.append([run.what, *whole, *spent, *cells, f"{run.peak_mib:.0f}"])
    return align(rows)


def format_streams(streams: Sequence[StreamRun]) -> str:
    """A table of live jobs: wall time of a push, latency beside the look-ahead."""
    spread = ("median", "95 %", "worst")
    rows = [["chunk ms", *(f"push {s}" for s in spread), "look-ahead", *(f"latency {s}" for s in spread), "frames"]]
    for run in streams:
        cells = [f"{value:.1f}" for value in (*run.push_ms, run.look_ahead_ms, *run.latency_ms)]
        rows.append([str(run.chunk_ms), *cells, str(run.frames)])
    return align(rows)


def bars(runs: Sequence[BatchRun], streams: Sequence[StreamRun]) -> list[str]:
    """The verdict, one line a bar."""
    checks = [
        (run.times_real >= TIMES_REAL, f"speech to {run.what}: {run.times_real:.1f} x real time >= {TIMES_REAL:g}")
        for run in runs[:1]
    ]
    for run in streams:
        text = f"streaming in {run.chunk_ms} ms: worst latency beside the look-ahead {run.latency_ms[2]:.0f} ms"
        checks.append((run.latency_ms[2] < LATENCY_MS, f"{text} < {LATENCY_MS:g} ms"))
    if len(runs) > 2:
        growth = runs[2].peak_mib / runs[1].peak_mib
        text = f"peak of {runs[2].sound:.0f} s of sound over {runs[1].sound:.0f} s: {growth:.3f} <= {GROWTH:g}"
        checks.append((growth <= GROWTH, text))
    return [f"{'pass' if passed else 'FAIL'}  {text}" for passed, text in checks]


def print_figures(figures: dict) -> None:
    """Print what `benchmark` gave."""
    runs, streams = figures["tables"]
    print(f"Speech to motion at {FPS} frames a second, method {figures['method']}, sound: {figures['sound']}.")
    print("Stages in milliseconds per second of sound, without the start, which loads and warms up.")
    print(runs)
    print("Live, in milliseconds; latency: from a moment of the sound to its frame, beside the look-ahead.")
    print(streams, "", *figures["verdict"], sep="\n")


def _push_all(push: Callable, samples: np.ndarray, size: int) -> tuple[list[float], list[int]]:
    walls, counts = [], []
    for first in range(0, len(samples), size):
        began = time.perf_counter()
        part = push(samples[first : first + size])
        walls.append(time.perf_counter() - began)
        counts.append(len(part) if part is not None else 0)
    return walls, counts


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return tuple(float(value) for value in (np.median(values), np.percentile(values, 95), values.max()))


def write_sound(path: Path, seconds: float, source: Path | None) -> None:
    """Write a WAV file of 16 kHz that repeats `source`, or a minute of `speech_like`, to a length."""
    from scipy.io import wavfile

    if source is None:
        sound = speech_like(min(seconds, 60.0))
    else:
        from talking_face.audio import load_audio

        sound = load_audio(source)
    count = round(seconds * SAMPLE_RATE)
    sound = np.tile(sound, -(-count // len(sound)))[:count]
    wavfile.write(path, SAMPLE_RATE, (sound * 32767).clip(-32768, 32767).astype(np.int16))


def _length(path: Path) -> float:
    import wave

    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def _in_child(job: str, *arguments: object) -> dict:
    command = [sys.executable, "-m", "bench.speed.talk", job, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise RuntimeError(f"speech: {job} was not run: {words[-1].split(': ', 1)[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _job(job: str, method: str, sound: str, chunk: str = "0") -> None:
    run = (
        run_stream(method, Path(sound), int(chunk))
        if job == "stream"
        else run_batch(method, Path(sound), job != "motion")
    )
    print(json.dumps(asdict(run)))


if __name__ == "__main__":
    _job(*sys.argv[1:])
