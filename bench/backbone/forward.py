"""Seconds and memory of a forward pass, ours and diffusers': a part of ``python -m bench.backbone``.

The networks take turns, each time in a fresh process: memory is each one's own, and a machine that grows busy is
unfair to both. What counts is the best time of all turns. Where the machine is busy all the same, processor seconds
tell more than the clock's, and are therefore told beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.backbone.networks import (
    BARE,
    BRANCH,
    DIFFUSERS,
    FORWARDS,
    GUIDED,
    OURS,
    Size,
    build_network,
    count_operations,
    forwards,
)
from bench.speed.run import peak_memory
from bench.tables import align
from bench.verdict import Bar

SLOWER = 1.10
"""Bar: our seconds over diffusers'."""

GUIDANCE = 2.0
"""Bar: operations with guidance over those of one branch."""

GUIDANCE_SECONDS = 2.125
"""Bar: seconds with guidance over those of one branch, half-way between 2 and the 2.25 of computing a half twice."""


@dataclass
class Turns:
    """One kind of forward pass of one network.

    Attributes:
        network: `OURS` or `DIFFUSERS`. forward: which pass.
        operations: floating-point operations of one.
        seconds: of each one measured, by the clock.
        cpu: of each one measured, of all cores together, which other work on the machine changes less.
        peak_mib: highest resident memory of the process until then in MiB, weights and libraries included.
    """

    network: str
    forward: str
    operations: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mib: float = 0.0

    @property
    def best(self) -> float:
        """Seconds of the fastest."""
        return min(self.seconds)

    @property
    def best_cpu(self) -> float:
        """Processor seconds of the one that took fewest."""
        return min(self.cpu)


def run_job(network: str, size: Size, repeats: int) -> list[Turns]:
    """Build a network and time its forward passes in this process, after one that warms up.

    The bare pass comes first, so that its peak memory is its own; the others alternate.
    """
    import torch

    passes = forwards(network, build_network(network, size), size)
    turns = {name: Turns(network, name) for name in FORWARDS[network]}
    with torch.inference_mode():
        passes[BARE]()
        for group in ([BARE], [name for name in turns if name != BARE]):
            for _ in range(repeats):
                for name in group:
                    cpu, began = time.process_time(), time.perf_counter()
                    result = passes[name]()
                    turns[name].seconds.append(time.perf_counter() - began)
                    turns[name].cpu.append(time.process_time() - cpu)
                    turns[name].peak_mib = peak_memory()
                    if not result.isfinite().all():
                        raise RuntimeError(f"the {name} pass gave values that are not finite")
    return list(turns.values())


def run_in_child(network: str, size: Size, repeats: int, threads: int | None = None) -> list[Turns]:
    """`run_job` in a fresh process.

    Raises:
        RuntimeError: it failed; the message is a sentence.
    """
    command = [sys.executable, "-m", "bench.backbone.forward", network, json.dumps(asdict(size)), str(repeats)]
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode < 0:
        raise RuntimeError(f"{network}: not run: the system ended it, likely for want of memory")
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise RuntimeError(f"{network}: not run: {words[-1].split(': ', 1)[-1]}")
    return [Turns(**turns) for turns in json.loads(done.stdout.splitlines()[-1])]


def measure(size: Size, rounds: int, repeats: int, threads: int | None = None) -> list[Turns]:
    """Let the networks take turns, A B A B, and put all rounds together.

    Args:
        size: network and clip.
        rounds: processes of each network.
        repeats: times that each forward pass is measured in a process.
        threads: of each process; torch's choice when None.
    """
    whole = {(network, name): Turns(network, name) for network in FORWARDS for name in FORWARDS[network]}
    for network in FORWARDS:
        for name, operations in count_operations(network, size).items():
            whole[network, name].operations = operations
    for number in range(rounds):
        for network in FORWARDS:
            for turns in run_in_child(network, size, repeats, threads):
                all_turns = whole[turns.network, turns.forward]
                all_turns.seconds += turns.seconds
                all_turns.cpu += turns.cpu
                all_turns.peak_mib = max(all_turns.peak_mib, turns.peak_mib)
            print(f"[{number + 1}/{rounds}] {network}", file=sys.stderr, flush=True)
    return list(whole.values())


def format_turns(turns: Sequence[Turns]) -> str:
    """A row for each kind of forward pass: best and median seconds, processor seconds, operations, memory."""
    rows = [["", "forward", "seconds", "median", "cpu s", "GFLOP", "GFLOP/s", "peak MiB"]]
    for item in turns:
        middle = sorted(item.seconds)[len(item.seconds) // 2]
        giga = item.operations / 1e9
        figures = [item.best, middle, item.best_cpu]
        rows.append(
            [
                item.network,
                item.forward,
                *(f"{value:.2f}" for value in figures),
                f"{giga:.0f}",
                f"{giga / item.best:.0f}",
                f"{item.peak_mib:.0f}",
            ]
        )
    return align(rows)


def bars(turns: Sequence[Turns]) -> list[Bar]:
    """The verdict: our time beside diffusers', bare and with all that only ours takes, and what guidance costs."""
    by_name: Mapping = {(item.network, item.forward): item for item in turns}
    theirs, branch, guided = by_name[DIFFUSERS, BARE], by_name[OURS, BRANCH], by_name[OURS, GUIDED]
    lines = []
    for item, words in ((by_name[OURS, BARE], "the same work"), (branch, "with landmarks and portrait")):
        ratio = item.best / theirs.best
        text = f"{words}: {item.best:.2f} s over diffusers' {theirs.best:.2f} s = {ratio:.3f} <= {SLOWER:.2f}"
        lines.append(Bar(f"{text} {_of_processor(item, theirs)}", ratio <= SLOWER))
    ratio = guided.operations / branch.operations
    lines.append(Bar(f"guidance: {ratio:.3f} times the operations of one branch <= {GUIDANCE:.1f}", ratio <= GUIDANCE))
    ratio = guided.best / branch.best
    text = f"guidance: {ratio:.3f} times the seconds of one branch < {GUIDANCE_SECONDS}"
    lines.append(Bar(f"{text} {_of_processor(guided, branch)}", ratio < GUIDANCE_SECONDS))
    return lines


def _of_processor(item: Turns, other: Turns) -> str:
    return f"({item.best_cpu / other.best_cpu:.3f} in processor seconds)"


def _job(network: str, size: str, repeats: str) -> None:
    settings = json.loads(size)
    settings["channels"] = tuple(settings["channels"])
    print(json.dumps([asdict(turns) for turns in run_job(network, Size(**settings), int(repeats))]))


if __name__ == "__main__":
    _job(*sys.argv[1:])
