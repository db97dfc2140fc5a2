"""What the cache must show, each bar with its figures: fidelity at 2.6 times fewer operations, and the best trade."""

from __future__ import annotations

from collections.abc import Sequence

from bench.verdict import Bar

SPEEDUP = 2.6
PSNR = 40.0
LANDMARK_CHANGE = 0.01
SLACK = 5e-4
"""Share of a speed-up by which two methods that compute the same steps may differ."""


def bars(points: Sequence[dict]) -> list[Bar]:
    """The bars of every scheduler that was measured."""
    made = []
    for scheduler in dict.fromkeys(point["scheduler"] for point in points):
        those = [point for point in points if point["scheduler"] == scheduler]
        made += [_fidelity(scheduler, those), _front(scheduler, those)]
    return made


def ours(point: dict) -> bool:
    return point["method"].startswith("taylor")


def covers(mine: dict, other: dict) -> bool:
    """Whether a point is at least as fast and at least as near to the uncached frames as another."""
    return mine["speedup"] >= other["speedup"] * (1 - SLACK) and mine["psnr"] >= other["psnr"]


def front(points: Sequence[dict]) -> list[dict]:
    """The points that no other one covers, slowest first."""
    best: list[dict] = []
    for point in sorted(points, key=lambda point: (-point["speedup"], -point["psnr"])):
        if not best or point["psnr"] > best[-1]["psnr"]:
            best.append(point)
    return best[::-1]


def uncovered(points: Sequence[dict]) -> list[tuple[dict, float]]:
    """Other methods' points that none of ours covers, each with the dB by which the best of ours is below it."""
    mine = [point for point in points if ours(point)]
    left = []
    for other in points:
        if ours(other) or other["family"] == "none" or any(covers(point, other) for point in mine):
            continue
        reached = [point["psnr"] for point in mine if point["speedup"] >= other["speedup"] * (1 - SLACK)]
        left.append((other, other["psnr"] - max(reached, default=0.0)))
    return left


def _fidelity(scheduler: str, points: Sequence[dict]) -> Bar:
    """A point whose landmark error was not measured clears no bar: where no other one does, nothing is shown."""
    claim = (
        f"{scheduler}: at {SPEEDUP} times fewer operations or better, PSNR >= {PSNR:g} dB and landmark error "
        f"within {LANDMARK_CHANGE:.0%}"
    )
    fast = [point for point in points if ours(point) and point["speedup"] >= SPEEDUP]
    if not fast:
        return Bar(f"{claim}: no such point", None)
    sharp = [point for point in fast if point["psnr"] >= PSNR]
    measured = [point for point in sharp if point["landmark_change"] is not None]
    good = [point for point in measured if point["landmark_change"] <= LANDMARK_CHANGE]
    unseen = [point for point in sharp if point["landmark_change"] is None]
    best = max(good or unseen or fast, key=lambda point: point["psnr"])
    change = best["landmark_change"]
    figures = f"{best['method']}: {best['speedup']:.2f}, {best['psnr']:.1f} dB, " + (
        "landmark error not measured" if change is None else f"{change:.2%}"
    )
    if unseen and not good:
        return Bar(f"{claim}: not shown: {figures}", None)
    if good:
        fastest = max(good, key=lambda point: point["speedup"])
        figures += f"; up to {fastest['speedup']:.2f} ({fastest['method']}, {fastest['psnr']:.1f} dB)"
    return Bar(f"{claim}: {figures}", bool(good))


def _front(scheduler: str, points: Sequence[dict]) -> Bar:
    others = [point for point in points if not ours(point) and point["family"] != "none"]
    claim = f"{scheduler}: ours on or above every other point"
    if not others or not any(ours(point) for point in points):
        return Bar(f"{claim}: nothing to compare", None)
    left = uncovered(points)
    if not left:
        return Bar(f"{claim}: all {len(others)}", True)
    detail = ", ".join(
        f"{point['method']} ({point['speedup']:.2f}, {point['psnr']:.1f} dB) by {below:.1f} dB" for point, below in left
    )
    return Bar(f"{claim}: {len(others) - len(left)} of {len(others)}; below {detail}", False)
