"""Self-reenactment from the command line: ``python -m bench.reenact --data FOLDER``.

Prints a row for each method, the verdict on every bar, and notes on what was not counted; see
``bench.reenact.scoring`` for the protocol and ``bench.metrics`` for the columns.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from animate.errors import MienError
from animate.media import write_image
from animate.motion import Motion
from bench.clips import MAX_SIDE, Clip, find_clips
from bench.command import as_settings, clips_parser, comma_separated, load_systems
from bench.contact_sheet import SheetCollector
from bench.metrics import REENACT_METRICS as METRICS
from bench.metrics import missing_metrics
from bench.redetect import Redetector
from bench.reenact.scoring import METHODS, TRUTH, Score, System, Truth, load_system, prepare, score
from bench.tables import align, versions, write_json
from bench.verdict import Bar, Means, verdict

SCHEMA = 1
"""Version of the JSON report."""

MAX_FRAMES = 150
"""Frames used of each clip: its first ones in a row, because flicker needs neighbours."""

UNFIT = {
    "inner_l1": "no frame opens the mouth enough",
    "inner_detail": "no frame opens the mouth enough",
    "mouth_corr": "the driver's lips hardly move (standard deviation below 0.01 inter-ocular distances)",
    "eye_corr": "the driver's lids hardly move (standard deviation below 0.01 inter-ocular distances)",
}
"""Why a clip may have no value in a column."""

PACKAGES = ("mien", "torch", "diffusers", "mediapipe", "numpy", "opencv-python-headless", "dlib-bin")


@dataclass
class ClipResult:
    """What one clip gave, or why it gave nothing.

    Attributes:
        clip, subject: the clip's name and person.
        frames: frames of the clip from the portrait's on.
        bridged: of these, frames without a face; they are not counted.
        skipped_before: frames before the first face.
        open_frames: counted frames whose mouth is open by 0.06 more than the portrait's.
        size: (width, height) as measured.
        scores: method -> score.
        failures: method, or "clip" for all of them -> sentence.
    """

    clip: str
    subject: str
    frames: int = 0
    bridged: int = 0
    skipped_before: int = 0
    open_frames: int = 0
    size: tuple[int, int] = (0, 0)
    scores: dict[str, Score] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure_clip(
    clip: Clip,
    systems: dict[str, System],
    redetector: Redetector,
    stride: int = 1,
    sheets: Path | None = None,
) -> ClipResult:
    """Run every system on a clip. A failure is recorded and the others go on.

    Args:
        clip: the video.
        systems: name -> system.
        redetector: finds the truth's and the outputs' landmarks.
        stride: every how many frames landmarks are re-detected.
        sheets: folder for a contact sheet of the clip.
    """
    result = ClipResult(clip.name, clip.subject)
    try:
        truth = prepare(clip, redetector, stride)
    except MienError as error:
        result.failures["clip"] = str(error)
        return result
    _describe(result, truth)
    motion = Motion.from_track(truth.track, source=clip.name)
    sheet = SheetCollector(len(truth.track)) if sheets else None
    result.scores[TRUTH] = score(truth, truth.frames(), redetector, TRUTH, sheet)
    for name, system in systems.items():
        try:
            outputs = system(truth.portrait, motion)
            result.scores[name] = score(truth, outputs, redetector, name, sheet)
        except Exception as error:  # a benchmark outlives the systems that it measures
            result.failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if sheet is not None and name in sheet.names:
                sheet.drop(name)
    if sheet is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        write_image(sheets / (clip.name.replace("/", "__") + ".png"), sheet.sheet())
    return result


def means(results: Sequence[ClipResult], methods: Sequence[str]) -> tuple[Means, dict[str, int]]:
    """Mean of every column over clips, each clip with equal weight.

    A clip counts in a column only if every method has a value there, so that all rows speak of the same
    clips. A method that failed on every clip is asked for nothing; its row is empty.

    Returns:
        method -> metric -> mean or None, and metric -> number of clips counted.
    """
    table: Means = {method: dict.fromkeys(METRICS) for method in methods}
    running = [method for method in methods if any(method in r.scores for r in results)]
    counted: dict[str, int] = {}
    for name in METRICS:
        rows = [[r.scores[m].values.get(name) if m in r.scores else None for m in running] for r in results]
        rows = [row for row in rows if None not in row]
        counted[name] = len(rows)
        for i, method in enumerate(running if rows else ()):
            table[method][name] = float(np.mean([row[i] for row in rows]))
    return table, counted


def format_table(table: Means, counted: dict[str, int]) -> str:
    """The report's table: a row per method, a column per metric; arrows say which direction is better."""
    arrow = {"lower": "v", "higher": "^", "one": "1"}
    header = ["", *(f"{name} {arrow[metric.direction]}" for name, metric in METRICS.items())]
    lines = [header]
    for method, values in table.items():
        lines.append([method, *(_figure(name, values[name]) for name in METRICS)])
    lines.append(["clips", *(str(counted[name]) for name in METRICS)])
    return align(lines)


def notes(results: Sequence[ClipResult], counted: dict[str, int], stride: int) -> list[str]:
    """What was not counted and why, one sentence each."""
    measured = [r for r in results if r.scores]
    uncounted = sum(r.bridged + r.skipped_before for r in measured)
    total = sum(r.frames + r.skipped_before for r in measured)
    lines = [
        f"Clips above {MAX_SIDE} px are shrunk to {MAX_SIDE} px on their longer side; clips weigh the same; "
        "v lower, ^ higher, 1 nearer to one is better.",
        f"{uncounted} of {total} frames show no face and are not counted, nor is the portrait's own frame.",
    ]
    if stride > 1:
        lines.append(f"Landmarks were re-detected on every {stride}th frame only.")
    absent = missing_metrics()
    for name, count in counted.items():
        if name in absent:
            lines.append(f"{name}: not computed: {absent[name]}.")
            continue
        unfit = sum(r.scores[TRUTH].values.get(name) is None for r in measured)
        failed = len(measured) - unfit - count
        if unfit:
            lines.append(f"{name}: {unfit} of {len(measured)} clips left out: {UNFIT.get(name, 'no face to measure')}.")
        if failed:
            lines.append(f"{name}: {failed} of {len(measured)} clips left out: a method gave nothing to measure.")
    for r in measured:
        lost = {name: s.lost for name, s in r.scores.items() if s.lost}
        if lost:
            detail = ", ".join(f"{name} {count}" for name, count in lost.items())
            lines.append(f"{r.clip}: frames whose output shows no face to re-detect: {detail}.")
    lines += [f"{r.clip}: {name} failed: {text}" for r in results for name, text in r.failures.items()]
    return lines


def report(
    results: Sequence[ClipResult],
    table: Means,
    counted: dict[str, int],
    bars: list[Bar],
    remarks: list[str],
    settings: dict,
) -> dict:
    """The whole report as plain data for JSON."""
    return {
        "schema": SCHEMA,
        "benchmark": "reenact-self",
        "settings": settings,
        "versions": versions(PACKAGES),
        "metrics": {
            name: {key: getattr(metric, key) for key in ("direction", "unit", "source", "needs")}
            for name, metric in METRICS.items()
        },
        "mean": table,
        "clips_counted": counted,
        "verdict": [asdict(bar) for bar in bars],
        "notes": remarks,
        "clips": [asdict(result) for result in results],
    }


def _describe(result: ClipResult, truth: Truth) -> None:
    result.frames = len(truth.track)
    result.bridged = truth.track.bridged
    result.skipped_before = truth.start
    result.open_frames = int((truth.mouth_open & truth.track.valid).sum())
    result.size = truth.track.size


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name == "face_psnr" else f"{value:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = clips_parser("bench.reenact", __doc__, "folder of clips, searched recursively", METHODS)
    parser.add_argument("--max-frames", type=int, default=MAX_FRAMES, help="frames of each clip, from its beginning")
    parser.add_argument("--stride", type=int, default=1, help="re-detect landmarks on every so many frames")
    parser.add_argument("--sheets", type=Path, default=None, help="folder for a contact sheet of each clip")
    parser.add_argument("--seed", type=int, default=0, help="seed of the method mini")
    parser.add_argument("--steps", type=int, default=None, help="denoising steps of the method mini")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when clips were measured, whatever the verdict."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.max_frames < 2 or options.stride < 1:
        parser.error("--max-frames must be at least 2 and --stride at least 1")
    results: list[ClipResult] = []
    try:
        subjects = comma_separated(options.subjects) or None
        clips = find_clips(options.data, options.max_frames, subjects, options.limit)
        names = comma_separated(options.methods)
        systems, absent = load_systems(names, lambda name: load_system(name, options.seed, options.steps))
        redetector = Redetector()
        for i, clip in enumerate(clips, 1):
            results.append(measure_clip(clip, systems, redetector, options.stride, options.sheets))
            done = results[-1]
            state = "; ".join(done.failures.values()) or f"{done.frames} frames, {done.open_frames} with an open mouth"
            print(f"[{i}/{len(clips)}] {clip.name}: {state}", file=sys.stderr, flush=True)
    except MienError as error:
        print(error, file=sys.stderr)
        return 1
    if not any(result.scores for result in results):
        print(f"No clip in {options.data} could be measured.", file=sys.stderr)
        return 1
    table, counted = means(results, [TRUTH, *systems])
    failures = Counter(name for result in results for name in result.failures if name != "clip")
    bars = verdict(table, failures)
    remarks = [
        *(f"{name}: not run: {why}" for name, why in absent.items()),
        *notes(results, counted, options.stride),
    ]
    print(format_table(table, counted), "", *bars, "", *remarks, sep="\n")
    if options.json:
        told = as_settings(options) | {"max_side": MAX_SIDE}
        write_json(options.json, report(results, table, counted, bars, remarks, told))
    return 0
