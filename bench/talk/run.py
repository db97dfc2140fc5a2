"""Speech to mouth, measured on clips of people who speak: ``python -m bench.talk --data FOLDER``.

Every method hears a clip's sound and its mouth is compared with the mouth that the clip's tracked face shows; see
``bench.talk.scoring`` for the protocol and ``bench.metrics`` for the columns. Prints a row for each method, the
verdict, each clip's correlation and lag, and what was left out.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from animate.errors import MienError
from animate.faces import FaceTracker, create_tracker
from bench.clips import Clip, find_clips
from bench.command import as_settings, clips_parser, comma_separated, load_systems
from bench.tables import write_json
from bench.talk.clips import LeftOut, prepare
from bench.talk.report import (
    ClipResult,
    format_bar,
    format_clips,
    format_table,
    notes,
    report,
    summarise,
    verdict,
)
from bench.talk.scoring import METHODS, MISMATCHED, TRUTH, Score, System, load_system, mismatched, predict, score

MAX_SECONDS = 60.0
"""Seconds used of each clip, from its beginning."""


def measure_clip(
    clip: Clip,
    systems: dict[str, System],
    tracker: FaceTracker,
    max_seconds: float,
    cache: Path | None = None,
    any_sound: bool = False,
) -> ClipResult:
    """Run every system on a clip; arguments as of `prepare`. A failure is recorded and the others go on."""
    result = ClipResult(clip.name, clip.subject)
    try:
        result.prepared = prepared = prepare(clip, tracker, max_seconds, cache, any_sound)
    except LeftOut as error:
        result.left_out = str(error)
        return result
    except MienError as error:
        result.failures["clip"] = str(error)
        return result
    result.scores[TRUTH] = Score(score(prepared.truth, prepared.truth.curves))
    for name, system in systems.items():
        try:
            result.curves[name], seconds = predict(system, prepared, name)
            result.scores[name] = Score(score(prepared.truth, result.curves[name]), seconds)
        except Exception as error:  # a benchmark outlives the systems that it measures
            result.failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return result


def add_mismatched(results: Sequence[ClipResult], judged: str) -> None:
    """Give every measured clip a score of the judged method's mouth for another clip's sound."""
    measured = [r for r in results if r.prepared is not None]
    chance = mismatched([r.prepared for r in measured], [r.curves.get(judged) for r in measured])
    for result, found in zip(measured, chance, strict=True):
        if found is not None:
            result.scores[MISMATCHED] = found


def _parser() -> argparse.ArgumentParser:
    parser = clips_parser("bench.talk", __doc__, "folder of clips with sound, searched recursively", METHODS)
    parser.add_argument("--max-seconds", type=float, default=MAX_SECONDS, help="of each clip, from its beginning")
    parser.add_argument("--any-sound", action="store_true", help="also clips whose sound does not look like speech")
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps tracks and phones for the next run")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when clips were measured, whatever the verdict."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 < options.max_seconds < math.inf:
        parser.error("--max-seconds must be more than 0")
    results: list[ClipResult] = []
    try:
        clips = find_clips(options.data, sys.maxsize, comma_separated(options.subjects) or None, options.limit)
        systems, absent = load_systems(comma_separated(options.methods), load_system)
        with create_tracker() as tracker:
            for i, clip in enumerate(clips, 1):
                results.append(
                    measure_clip(clip, systems, tracker, options.max_seconds, options.cache, options.any_sound)
                )
                print(f"[{i}/{len(clips)}] {clip.name}: {_state(results[-1])}", file=sys.stderr, flush=True)
    except MienError as error:
        print(error, file=sys.stderr)
        return 1
    if not any(result.scores for result in results):
        reasons = [f"{r.clip}: {r.left_out or r.failures.get('clip')}" for r in results]
        print(f"No clip in {options.data} could be measured.", *reasons, sep="\n", file=sys.stderr)
        return 1
    judged = "mini" if "mini" in systems else list(systems)[-1]
    add_mismatched(results, judged)
    rows = [*systems, *([MISMATCHED] if any(MISMATCHED in r.scores for r in results) else [])]
    means, medians, counted = summarise(results, [TRUTH, *rows])
    bars = verdict(means, judged)
    remarks = notes(results, counted, absent)
    print(format_table(means, counted), "", *map(format_bar, bars), "", sep="\n")
    print(format_clips(results, rows), "", *remarks, sep="\n")
    if options.json:
        told = as_settings(options) | {"judged": judged}
        write_json(options.json, report(results, means, medians, counted, bars, remarks, told))
    return 0


def _state(result: ClipResult) -> str:
    if result.prepared is None:
        return result.left_out or result.failures["clip"]
    failed = "".join(f"; {name}: {text}" for name, text in result.failures.items())
    return f"{result.prepared.seconds:.1f} s{failed}"
