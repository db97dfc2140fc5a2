"""The cache against everything else that saves evaluations: ``python -m bench.cache [--data FOLDER]``.

On `mini` (trained weights) with more steps than it needs, so that there is something to save; sampled with DDIM,
DPM++ 2M and flow matching. Every method paints the same windows of the same clips from the same noise; its frames are
compared with those without a cache. With ``--overhead`` also what the cache costs on networks that are not ours.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from animate.errors import MienError, OptionError
from animate.painter import compute_dtype
from bench.cache.methods import FAMILIES, NONE, Method, methods
from bench.cache.painting import BatchPainter, Costs, Painted
from bench.cache.report import LEGEND, draw, markdown, table
from bench.cache.sampling import SAMPLERS
from bench.cache.scores import Tally, point, score_clip
from bench.cache.verdict import bars
from bench.cache.windows import ClipWindows, clip_windows, load_painter
from bench.clips import Clip, find_clips
from bench.command import as_settings, comma_separated, results_parser
from bench.redetect import Redetector
from bench.reenact.scoring import prepare
from bench.speed.run import IDLE, machine
from bench.tables import versions, write_json

SCHEMA = 1
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HELD_OUT = ("lp_d19", "klobuchar", "vr5", "grid_sbia1a")
"""People in the folder of training clips whom `mini` never saw."""

TRACKED = 75
"""Frames of each clip that are tracked; the liveliest ones of them are painted."""

PACKAGES = ("mien", "torch", "diffusers", "mediapipe", "numpy")
DTYPES = ("auto", "float32", "bfloat16")


class Benchmark:
    """All methods on some clips.

    Args:
        painter: from `load_painter`.
        samplers: of `bench.cache.sampling.SAMPLERS`.
        families: of `bench.cache.methods.FAMILIES`.

    Attributes:
        tallies: (sampler, method) -> what it did.
        absent: method -> why it is left out.
    """

    def __init__(self, painter, samplers: Sequence[str], families: Sequence[str]):
        self.samplers = {name: BatchPainter(painter.pipeline, name) for name in samplers}
        self.costs = {name: Costs(each) for name, each in self.samplers.items()}
        self.methods: dict[str, list[Method]] = {name: methods(name, families) for name in samplers}
        self.tallies: dict[tuple[str, str], Tally] = {
            (name, method.name): Tally() for name, those in self.methods.items() for method in those
        }
        self.absent: dict[str, str] = {}

    def run(self, clip: ClipWindows, redetector: Redetector) -> None:
        """Paint a clip with everything and compare."""
        for sampler in self.samplers:
            frames: dict[str, dict[str, torch.Tensor]] = {}
            for batch in clip.batches:
                reference = None
                for method in self.methods[sampler]:
                    painted = self._paint(sampler, method, batch)
                    if painted is None:
                        continue
                    reference = painted if method.name == NONE else reference
                    frames.setdefault(method.name, {})[batch.name] = painted.frames
                    operations = self.costs[sampler].of(method.name, batch, painted, method.attachment, method.steps)
                    if method.family == "diffusers" and torch.equal(painted.frames, reference.frames):
                        self.absent[method.name] = "runs but does nothing: it finds no part of this network to cache"
                    self.tallies[sampler, method.name].add(painted, reference, batch, operations)
            for name, painted_frames in frames.items():
                if name not in self.absent:
                    values = score_clip(clip, painted_frames, frames[NONE], redetector)
                    self.tallies[sampler, name].add_values(values)

    def _paint(self, sampler: str, method: Method, batch) -> Painted | None:
        if method.name in self.absent:
            return None
        painter = self.samplers[sampler]
        self.costs[sampler].first(batch)  # once for each shape, so that the first timed run is not the first of all
        try:
            return painter(batch, method.attachment, method.steps)
        except Exception as error:  # a benchmark outlives the methods that it measures
            if method.family != "diffusers":
                raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self.absent[method.name] = f"does not run on this network ({reason})"
            return None

    def points(self) -> list[dict]:
        """The report's points, those of each sampler from slow to fast within a family."""
        found = []
        for sampler, those in self.methods.items():
            none = self.tallies[sampler, NONE]
            order = [NONE, *FAMILIES]
            made = [
                point(m.name, m.family, sampler, m.steps or SAMPLERS[sampler], self.tallies[sampler, m.name], none)
                for m in those
                if m.name not in self.absent
            ]
            found += sorted(made, key=lambda p: (order.index(p["family"]), p["speedup"]))
        return found

    def remarks(self) -> list[str]:
        """Which methods do not run or do nothing, and why."""
        return [f"{name} {why}." for name, why in self.absent.items()]


def validation_clips(data: Sequence[Path] | None, limit: int | None) -> list[Clip]:
    """The clips of the folders that were given, or those of the data folder that training never saw.

    Raises:
        MienError: there is no folder or no clip in it.
    """
    if data:
        clips = [clip for folder in data for clip in find_clips(folder, TRACKED)]
    elif (DATA / "examples" / "video").is_dir():
        clips = find_clips(DATA / "examples" / "video", TRACKED)
        if (DATA / "train").is_dir():
            clips += find_clips(DATA / "train", TRACKED, list(HELD_OUT))
    else:
        raise OptionError("There is no data folder beside the checkout: give one that holds video clips with --data.")
    return clips[:limit]


def _parser() -> argparse.ArgumentParser:
    parser = results_parser(
        "bench.cache", __doc__, "folder of clips, searched recursively", "only the first so many clips"
    )
    parser.add_argument("--frames", type=int, default=8, help="frames of each clip, its liveliest ones in a row")
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="comma-separated")
    parser.add_argument("--families", default=",".join(FAMILIES), help="comma-separated; which methods are run")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="of the network; auto: as `mien animate` does")
    parser.add_argument("--threads", type=int, default=1, help="of torch; mini draws with one thread for each worker")
    parser.add_argument("--overhead", action="store_true", help="also measure networks that are not ours")
    return parser


def measure(options: argparse.Namespace) -> dict:
    """The report as plain data.

    Raises:
        MienError: a folder, an option or the model does not fit.
    """
    samplers = comma_separated(options.samplers)
    if unknown := sorted(set(samplers) - set(SAMPLERS)):
        raise OptionError(f"There is no sampler {', '.join(unknown)}: choose from {', '.join(SAMPLERS)}.")
    torch.set_num_threads(options.threads)
    before = machine()
    clips = validation_clips(options.data, options.limit)
    painter = load_painter(options.model)
    dtype = compute_dtype("cpu") if options.dtype == "auto" else getattr(torch, options.dtype)
    torch.nn.Module.to(painter.pipeline.unet, dtype)
    benchmark = Benchmark(painter, samplers, comma_separated(options.families))
    redetector, failures = Redetector(), []
    for number, clip in enumerate(clips, 1):
        try:
            truth = prepare(clip, redetector, stride=TRACKED)
        except MienError as error:
            failures.append(f"{clip.name} is left out: {error}")
            continue
        windows = clip_windows(copy.copy(painter), truth, redetector, options.frames)
        benchmark.run(windows, redetector)
        print(f"[{number}/{len(clips)}] {clip.name}: {len(windows.numbers)} frames", file=sys.stderr, flush=True)
    if len(failures) == len(clips):
        raise MienError(f"No clip could be measured: {' '.join(failures)}")
    points = benchmark.points()
    return {
        "schema": SCHEMA,
        "benchmark": "cache",
        "settings": {name: value for name, value in as_settings(options).items() if name not in ("json", "results")}
        | {"data": [folder.name for folder in options.data or ()]},
        "versions": versions(PACKAGES),
        "machine": before,
        "dtype": str(dtype).removeprefix("torch."),
        "clips": [clip.name for clip in clips],
        "points": points,
        "verdict": [asdict(bar) for bar in bars(points)],
        "notes": [*benchmark.remarks(), *failures],
    }


def _show(report: dict) -> None:
    print(table(report["points"]), "", LEGEND, *report["notes"], "", *bars(report["points"]), sep="\n")


def _write_results(report: dict, folder: Path) -> None:
    write_json(folder / "cache.json", report)
    plot = "cache.png" if draw(report["points"], folder / "cache.png") else None
    if plot is None:
        print("The plot is not drawn: install matplotlib.", file=sys.stderr)
    about = (
        f"`python -m bench.cache` on {len(report['clips'])} clips of people that `mini` never saw, "
        f"{report['settings']['frames']} frames of each, {report['dtype']}, {report['settings']['threads']} thread."
    )
    verdict = "\n".join(f"- {bar}" for bar in bars(report["points"]))
    notes = "\n".join(f"- {note}" for note in report["notes"])
    page = markdown(report["points"], [about, verdict, notes], plot)
    if "overhead" in report:
        from bench.cache.overhead import overhead_markdown

        page += "\n" + overhead_markdown(report["overhead"])
    (folder / "cache.md").write_text(page, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when clips were measured, whatever the verdict."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.frames < 1 or options.threads < 1 or (options.limit is not None and options.limit < 1):
        parser.error("--frames, --threads and --limit must be at least 1")
    try:
        report = measure(options)
    except MienError as error:
        print(error, file=sys.stderr)
        return 1
    if (report["machine"]["load"] or 0) > IDLE:
        print("The machine is not idle: seconds are rough; operations and processor time are not.")
    _show(report)
    if options.overhead:
        from bench.cache.overhead import measure_overhead, overhead_table

        report["overhead"] = measure_overhead()
        print("", overhead_table(report["overhead"]), sep="\n")
    if options.json:
        write_json(options.json, report)
    if options.results:
        _write_results(report, options.results)
    return 0
