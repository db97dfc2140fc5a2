"""Speed and memory of the full-size backbone with random weights: ``python -m bench.backbone``.

On the CPU one forward pass of the denoiser beside diffusers' ``UNetMotionModel`` of the same size, and what guidance
costs, see ``bench.backbone.forward``. On a GPU also the whole pipeline, see ``bench.backbone.pipeline``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from animate.errors import MienError
from bench.backbone.forward import bars, format_turns, measure
from bench.backbone.networks import Size
from bench.command import as_settings, comma_separated
from bench.speed.run import IDLE, machine
from bench.tables import versions, write_json

PARTS = ("forward", "pipeline")
PACKAGES = ("torch", "diffusers", "transformers", "xformers", "flash-attn")
DTYPES = ("float32", "bfloat16", "float16")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.backbone", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated; what to measure")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    forward = parser.add_argument_group("forward: one pass on the CPU")
    forward.add_argument("--frames", type=_positive, default=4, help="of the clip")
    forward.add_argument("--side", type=_side, default=32, help="of a frame in latents, a multiple of 8")
    forward.add_argument("--dtype", choices=DTYPES, default="float32")
    forward.add_argument("--rounds", type=_positive, default=3, help="processes of each network, which take turns")
    forward.add_argument("--repeats", type=_positive, default=3, help="passes measured in each process")
    forward.add_argument("--threads", type=_positive, default=None, help="of each process; torch's choice if not given")
    pipeline = parser.add_argument_group("pipeline: clips on a GPU")
    pipeline.add_argument("--device", default="cuda", help="a CUDA device")
    pipeline.add_argument("--back-ends", default=None, help="comma-separated; diffusers' names of attention back ends")
    pipeline.add_argument("--pipeline-dtype", choices=DTYPES, default="float16")
    pipeline.add_argument("--steps", type=_positive, default=30, help="of DDIM")
    pipeline.add_argument("--seconds", type=float, default=10.0, help="of the long clip; 0 leaves it out")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _side(text: str) -> int:
    if (number := int(text)) < 8 or number % 8:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of 8")
    return number


def _forward(options: argparse.Namespace) -> dict:
    before = machine()  # before the first pass: afterwards the load would be our own
    print(f"{before['cores']} cores, load before the start {before['load'] or 0:.2f}")
    if (before["load"] or 0) > IDLE:
        print("The machine is not idle: seconds are too high, and their ratios are rough.")
    size = Size(frames=options.frames, side=options.side, dtype=options.dtype)
    turns = measure(size, options.rounds, options.repeats, options.threads)
    verdict = bars(turns)
    print(f"One pass over {size.frames} frames of {size.side} x {size.side} latents, {size.dtype}; the best of all.")
    print(format_turns(turns), "", *verdict, sep="\n")
    return {"machine": before, "size": asdict(size), "forward": [asdict(t) for t in turns], "verdict": _plain(verdict)}


def _pipeline(options: argparse.Namespace) -> dict:
    import torch

    if not torch.cuda.is_available():
        print("There is no CUDA GPU here: the pipeline is not measured.")
        return {"pipeline": None}
    from bench.backbone.pipeline import (
        BACK_ENDS,
        WINDOW,
        Clip,
        build_pipeline,
        format_pipeline_runs,
        measure_pipeline,
    )

    clip = Clip(steps=options.steps, seconds=options.seconds)
    pipeline = build_pipeline(options.device, getattr(torch, options.pipeline_dtype))
    runs = measure_pipeline(pipeline, clip, comma_separated(options.back_ends) or BACK_ENDS)
    name = torch.cuda.get_device_name(options.device)
    print(
        f"{name}: {clip.side} x {clip.side} px, {options.pipeline_dtype}, {clip.steps} steps, guidance {clip.guidance}"
    )
    print(f"Windows of {WINDOW} frames; decoding included, the portrait's features apart.")
    print(format_pipeline_runs(runs))
    return {"gpu": name, "clip": asdict(clip), "pipeline": [asdict(run) | {"fps": run.rate} for run in runs]}


def _plain(verdict: Sequence) -> list[dict]:
    return [asdict(bar) for bar in verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when all was measured, whatever the verdict."""
    options = _parser().parse_args(arguments)
    parts = comma_separated(options.parts)
    if unknown := sorted(set(parts) - set(PARTS)):
        print(f"There is no part {', '.join(unknown)}: choose from {', '.join(PARTS)}.", file=sys.stderr)
        return 1
    figures = {"schema": 1, "benchmark": "backbone", "settings": as_settings(options), "packages": versions(PACKAGES)}
    status = 0
    for part, run in (("forward", _forward), ("pipeline", _pipeline)):
        if part in parts:
            try:
                figures |= run(options)
            except (RuntimeError, MienError) as error:
                print(error, file=sys.stderr)
                status = 1
            print()
    if options.json:
        write_json(options.json, figures)
    return status
