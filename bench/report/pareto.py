"""Quality against time as a drawing: a point for each system, and the edge that nobody beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bench.report.columns import TARGETS, rank
from bench.report.text import heading, seconds, topics

WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 30, 40

MOST = 4
"""Drawings of a report."""

FAVOURITES = ("identity", "mouth_corr", "aed", "aed_mesh", "lmd", "landmark", "face_ssim", "psnr", "count_accuracy")
"""Metrics that are drawn where they were computed; elsewhere the first of a table."""


@dataclass(frozen=True)
class Point:
    """A system.

    Attributes:
        name: of the system.
        role: "system" or "baseline".
        time: seconds a frame.
        value: mean of the metric; low, high: its interval, or None.
        rank: smaller for better systems, see `bench.report.columns.rank`.
    """

    name: str
    role: str
    time: float
    value: float
    low: float | None
    high: float | None
    rank: float


def chosen_metrics(data: Mapping[str, Any]) -> list[str]:
    """At most ``MOST`` metrics to draw, no two of one table unless both are favourites."""
    timed = [name for name in data["metrics"] if len(points_of(data, name)) > 1]
    picked = [name for name in FAVOURITES if name in timed]
    for names in topics(data).values():
        if not set(names) & set(picked):
            picked += [name for name in names if name in timed][:1]
    return picked[:MOST]


def points_of(data: Mapping[str, Any], metric: str) -> list[Point]:
    """The systems that have both a time and a figure; the truth has no time of its own."""
    direction = data["metrics"][metric]["direction"]
    if direction is None:
        return []
    found = []
    for name, facts in data["systems"].items():
        time, figure = facts["seconds_a_frame"], data["table"][name].get(metric)
        if facts["role"] != "truth" and time and figure:
            ends = figure["low"], figure["high"]
            found.append(Point(name, facts["role"], time["mean"], figure["mean"], *ends, rank(direction, figure)))
    return found


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both time and quality, fastest first."""
    edge: list[Point] = []
    for point in sorted(points, key=lambda p: (p.time, p.rank)):
        if not edge or point.rank < edge[-1].rank:
            edge.append(point)
    return edge


def drawing(data: Mapping[str, Any], metric: str) -> str:
    """An SVG: time on a logarithmic scale to the right, better values up, intervals as whiskers."""
    points = points_of(data, metric)
    direction = data["metrics"][metric]["direction"]
    truth = [data["table"][name].get(metric) for name, facts in data["systems"].items() if facts["role"] == "truth"]
    truth_value = truth[0]["mean"] if truth and truth[0] else None
    x = _Scale([math.log10(point.time) for point in points], LEFT, WIDTH - RIGHT, least=1.0)
    heights = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    heights += [value for value in (truth_value, TARGETS.get(direction)) if value is not None]
    up = (TOP, HEIGHT - BOTTOM) if direction == "lower" else (HEIGHT - BOTTOM, TOP)
    y = _Scale(heights, *up, least=1e-9)
    name = escape(heading(data, metric))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(metric)} against time a frame">',
        f'<text x="{LEFT}" y="16" class="title">{name}</text>',
        *_axes(x, y),
    ]
    if truth_value is not None:
        parts.append(_level(y(truth_value), "truth", "truth"))
    if direction in TARGETS:
        parts.append(_level(y(TARGETS[direction]), "target", "best"))
    if direction in ("lower", "higher"):
        drawn = [point for point in points if point.name not in ("still", "copy")]  # these draw nothing
        parts.append(_edge(front(drawn), x, y) if drawn else "")
    parts += _points(points, x, y)
    return "".join([*parts, "</svg>"])


class _Scale:
    """Values to px along one axis, with a margin; wider than ``least``."""

    def __init__(self, values: Sequence[float], start: float, end: float, least: float) -> None:
        low, high = min(values), max(values)
        margin = max(0.12 * (high - low), (least - (high - low)) / 2, 0.02 * abs(high), 1e-9)
        self.low, self.high, self.start, self.end = low - margin, high + margin, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers inside a range."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * part for part in (5.0, 2.0, 1.0, 0.5, 0.2) if (high - low) / (step * part) >= 3)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _times(low: float, high: float) -> list[float]:
    """Powers of ten, and twice and five times these where they are few; logarithms."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    parts = (1,) if high - low > 2.5 else (1, 2, 5)
    return [at for power in powers for part in parts if low <= (at := power + math.log10(part)) <= high]


def _axes(x: _Scale, y: _Scale) -> list[str]:
    floor = HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}" class="axis"/>']
    for power in _times(x.low, x.high):
        at = x(power)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{floor}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{floor + 15}" text-anchor="middle">{seconds(10.0**power)}</text>')
    ticks = _ticks(y.low, y.high)
    places = min(max(-math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9), 0), 6)
    for value in ticks:
        at = y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{value:.{places}f}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">time a frame (better to the left)</text>')
    return parts


def _level(at: float, kind: str, word: str) -> str:
    """A dashed line across; its word stands at the left for the best value and at the right for the truth."""
    place = f'x="{LEFT + 4}"' if kind == "target" else f'x="{WIDTH - RIGHT}" text-anchor="end"'
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="{kind}"/>'
    return f'{line}<text {place} y="{at - 4:.1f}" class="{kind}">{word}</text>'


def _edge(edge: Sequence[Point], x: _Scale, y: _Scale) -> str:
    places = [(x(math.log10(point.time)), y(point.value)) for point in edge]
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    path += "".join(f"H{px:.1f}V{py:.1f}" for px, py in places[1:])
    return f'<path d="{path}H{WIDTH - RIGHT}" class="front"/>'


def _points(points: Sequence[Point], x: _Scale, y: _Scale) -> list[str]:
    parts = []
    labels: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: y(p.value)):
        px, py = x(math.log10(point.time)), y(point.value)
        told = escape(f"{point.name}: {point.value:.4g}, {seconds(point.time)} a frame")
        if point.low is not None:
            ends = f'y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"'
            parts.append(f'<line x1="{px:.1f}" x2="{px:.1f}" {ends} class="whisker {point.role}"/>')
        shape = f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" class="{point.role}"><title>{told}</title></circle>'
        right = px > (LEFT + WIDTH) / 2
        ly = py + 4
        while any(abs(ly - other) < 12 and right == side for other, side in labels):
            ly += 12
        labels.append((ly, right))
        anchor, lx = ("end", px - 9) if right else ("start", px + 9)
        parts.append(
            f'{shape}<text x="{lx:.1f}" y="{ly:.1f}" text-anchor="{anchor}" class="name">{escape(point.name)}</text>'
        )
    return parts
