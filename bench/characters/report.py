"""The group benchmark's means, its verdict, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bench.tables import align
from bench.verdict import Bar

OWN = 0.9
"""Correlation of the mouth's opening with the own driver's, mean over faces."""

MARGIN = 0.3
"""By how much each face's correlation with its own driver is above what it has of any other's alone."""

COLUMNS = {
    "mouth": ("mouth", "{:.3f}"),
    "eyes": ("eyes", "{:.3f}"),
    "head": ("head", "{:.3f}"),
    "mouth_other": ("other", "{:.3f}"),
    "mouth_leak": ("leak", "{:.3f}"),
    "landmark_own": ("landmark", "{:.4f}"),
    "landmark_other": ("other's", "{:.4f}"),
    "change": ("change", "{:.4f}"),
    "largest": ("largest", "{:d}"),
    "staying": ("staying", "{:.4%}"),
    "outside": ("outside", "{:.4%}"),
    "lost": ("lost", "{:d}"),
}
LEGEND = (
    "mouth, eyes, head: correlation of mouth opening, eye opening and head angles (mean of those that the driver "
    "moves) with the own driver's; other: largest correlation of the mouth with another's driver; leak: the same with "
    "what only the other's driver does (part correlation, in size); landmark, other's: mean distance of the landmarks "
    "to where the own driver, and the nearest of the others, would bring them, in inter-ocular distances; change, "
    "largest: mean and largest change in grey levels inside a face, where no nearer head can hide it, when all the "
    "other drivers are exchanged; staying: share of the pixels of faces that are not to move, where no nearer head can "
    "hide them, that are exactly the portrait's while the nearest face moves; outside: the same for the pixels that no "
    "head, neck or shoulder can reach; lost: frames without a face in its place."
)
ANGLES = ("pitch", "yaw", "roll")


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are there."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def means(results: Sequence[dict], name: str) -> dict:
    """A method's row over some cases: every face has the same weight, or every case where figures are a case's."""
    cases = [result["methods"][name] for result in results]
    faces = [face for case in cases for face in case["faces"]]

    def of(measure: str, kind: str) -> Iterable[float | None]:
        return (face.get(measure, {}).get(kind) for face in faces)

    leaks = [face["leak"] for face in faces]
    return {
        "mouth": mean(of("mouth", "own")),
        "eyes": mean(of("eyes", "own")),
        "head": mean(mean(face.get(angle, {}).get("own") for angle in ANGLES) for face in faces),
        "mouth_other": mean(of("mouth", "other")),
        "mouth_leak": mean(of("mouth", "leak")),
        "landmark_own": mean(face.get("landmark_own") for face in faces),
        "landmark_other": mean(face.get("landmark_other") for face in faces),
        "change": mean(leak["mean"] for leak in leaks),
        "largest": max((leak["largest"] for leak in leaks if leak["largest"] is not None), default=None),
        "staying": mean(case["staying"] for case in cases),
        "outside": mean(case["outside"] for case in cases),
        "lost": sum(face["lost"] for face in faces),
    }


def bars(results: Sequence[dict], name: str) -> list[Bar]:
    """What a method must show, in all cases."""
    row = means(results, name)
    faces = [face for result in results for face in result["methods"][name]["faces"]]
    return [
        _bar(f"mouths follow their own driver: mean correlation >= {OWN:g}", row["mouth"], lambda v: v >= OWN),
        _above(faces),
        _landmarks(faces),
        _bar("no face lost", row["lost"], lambda v: v == 0, "{:d} frames"),
        _bar("exchanging the others' drivers changes nothing inside a face", row["largest"], lambda v: v == 0,
             "{:d} grey levels at most"),
        _bar("faces that stay do so bit for bit", row["staying"], lambda v: v == 1, "{:.4%} of their pixels"),
        _bar("nothing changes outside of the heads", row["outside"], lambda v: v == 1, "{:.4%} of the pixels"),
        _time(results),
    ]  # fmt: skip


def _bar(claim: str, value: float | None, good: Callable[[float], bool], figures: str = "{:.3f}") -> Bar:
    if value is None:
        return Bar(f"{claim}: not computed", None)
    return Bar(f"{claim}: {figures.format(value)}", good(value))


def _above(faces: Sequence[dict]) -> Bar:
    claim = f"each mouth's own correlation at least {MARGIN:g} above its leak"
    margins = [
        face["mouth"]["own"] - face["mouth"]["leak"]
        for face in faces
        if "mouth" in face and None not in (face["mouth"]["own"], face["mouth"]["leak"])
    ]
    if not margins:
        return Bar(f"{claim}: not computed", None)
    good = sum(margin >= MARGIN for margin in margins)
    return Bar(f"{claim}: {good} of {len(margins)} faces, the least {min(margins):.3f}", good == len(margins))


def _landmarks(faces: Sequence[dict]) -> Bar:
    claim = "each face nearer to where its own driver brings it than to any other's"
    pairs = [(face["landmark_own"], face["landmark_other"]) for face in faces if face.get("landmark_other") is not None]
    if not pairs:
        return Bar(f"{claim}: not computed", None)
    good = sum(own < other for own, other in pairs)
    return Bar(f"{claim}: {good} of {len(pairs)}", good == len(pairs))


def _time(results: Sequence[dict]) -> Bar:
    claim = "N faces take at most N times one face's time of the processor"
    ratios = [(result["time"]["processor"] / len(result["drivers"]), result) for result in results if result["time"]]
    if not ratios:
        return Bar(f"{claim}: not computed", None)
    worst, result = max(ratios, key=lambda pair: pair[0])
    figures = f"{result['time']['processor']:.2f} for {len(result['drivers'])} ({result['case']}) is the most"
    return Bar(f"{claim}: {figures}", worst <= 1)


def rows(results: Sequence[dict], names: Sequence[str]) -> list[list[str]]:
    """The table over all cases, a header first."""
    made = [["method", *(title for title, _ in COLUMNS.values())]]
    return made + [[name, *_cells(means(results, name))] for name in names]


def case_rows(results: Sequence[dict], name: str) -> list[list[str]]:
    """A method's table of cases with times, a header first."""
    made = [["case", *(title for title, _ in COLUMNS.values()), "s/frame", "x clock", "x cpu"]]
    for result in results:
        spent = result["time"]
        times = [f"{spent[key]:.2f}" for key in ("seconds", "clock", "processor")] if spent else ["-"] * 3
        made.append([result["case"], *_cells(means([result], name)), *times])
    return made


def _cells(row: dict) -> list[str]:
    return ["-" if row[key] is None else form.format(row[key]) for key, (_, form) in COLUMNS.items()]


def tables(results: Sequence[dict], names: Sequence[str]) -> str:
    """For a terminal."""
    judged = names[0]
    return "\n\n".join([align(rows(results, names)), f"{judged}, case by case:\n" + align(case_rows(results, judged))])


def markdown(results: Sequence[dict], names: Sequence[str], paragraphs: Sequence[str]) -> str:
    """The report as a page."""
    text = [line for paragraph in paragraphs for line in (paragraph, "")]
    made = ["# Several faces at once", "", *text, LEGEND, "", *_markdown_table(rows(results, names)), ""]
    about = (
        f"`{names[0]}`, case by case. s/frame: seconds for a frame with all faces; x clock, x cpu: times as long as "
        "one face of the same picture drawn alone takes on average, by the clock and by the processor."
    )
    return "\n".join([*made, about, "", *_markdown_table(case_rows(results, names[0])), ""])


def _markdown_table(cells: list[list[str]]) -> list[str]:
    head, *body = cells
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in body]
