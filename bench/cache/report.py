"""The cache benchmark's table, and its plot of fidelity over speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from bench.cache.scores import IDENTICAL
from bench.cache.verdict import front, ours
from bench.tables import align

COLUMNS = {
    "speedup": ("speedup", "{:.2f}"),
    "evaluations": ("computed", "{:d}"),
    "seconds_ratio": ("time", "{:.2f}"),
    "cpu_ratio": ("cpu", "{:.2f}"),
    "psnr": ("psnr", "{:.1f}"),
    "face_psnr": ("face", "{:.1f}"),
    "face_ssim": ("ssim", "{:.5f}"),
    "mouth_l1": ("mouth", "{:.5f}"),
    "eyes_l1": ("eyes", "{:.5f}"),
    "landmark_change": ("landmark", "{:.2%}"),
    "flicker": ("flicker", "{:.4f}"),
    "memory": ("MB", "{:.1f}"),
}
LEGEND = (
    "speedup: times fewer operations of the network; computed: full evaluations; time, cpu: times faster by the clock "
    "and by the processor; psnr: dB to the uncached frames over the painted pixels (100: identical); face: the same "
    "inside the face oval (60 at most); ssim, mouth, eyes: SSIM of the face, L1 round mouth and eyes to the uncached "
    "frames; landmark: change of the landmark error; flicker: over the uncached frames'; MB: cached tensors of a batch."
)
STYLES = {
    "fewer": ("fewer steps", "tab:gray", "s"),
    "reuse": ("DeepCache (reuse)", "tab:orange", "^"),
    "diffusers": ("diffusers' caches", "tab:green", "D"),
    "taylor": ("taylor (ours)", "tab:blue", "o"),
}


def rows(points: Sequence[dict]) -> list[list[str]]:
    """The table's cells, a header first."""
    made = [["scheduler", "method", *(title for title, _ in COLUMNS.values())]]
    for point in points:
        made.append([point["scheduler"], point["method"], *(_cell(point, name) for name in COLUMNS)])
    return made


def _cell(point: dict, name: str) -> str:
    value = point[name]
    if value is None:
        return "-"
    return COLUMNS[name][1].format(value / 1e6 if name == "memory" else value)


def table(points: Sequence[dict]) -> str:
    """For a terminal."""
    return align(rows(points))


def markdown(points: Sequence[dict], paragraphs: Sequence[str], plot: str | None = None) -> str:
    """The whole report as a page.

    Args:
        points: of the table.
        paragraphs: above it.
        plot: a picture's name beside the page.
    """
    head, *body = rows(points)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "---:|" * (len(head) - 2)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    picture = [f"![fidelity over speed]({plot})", ""] if plot else []
    text = [line for paragraph in paragraphs for line in (paragraph, "")]
    return "\n".join(["# Caches on `mini`", "", *text, *picture, LEGEND, "", *lines, ""])


def draw(points: Sequence[dict], path: Path) -> bool:
    """The plot as a PNG, a panel for each scheduler; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    schedulers = list(dict.fromkeys(point["scheduler"] for point in points))
    figure = Figure(figsize=(5.4 * len(schedulers), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, scheduler in zip(figure.subplots(1, len(schedulers), squeeze=False)[0], schedulers, strict=True):
        those = [p for p in points if p["scheduler"] == scheduler and p["family"] != "none" and p["psnr"] < IDENTICAL]
        for family, (label, colour, marker) in STYLES.items():
            some = [point for point in those if point["family"] == family]
            axes.plot(
                [p["speedup"] for p in some], [p["psnr"] for p in some], marker, color=colour, label=label, markersize=5
            )
        edge = front([point for point in those if ours(point)])
        axes.step([p["speedup"] for p in edge], [p["psnr"] for p in edge], "-", where="pre", color="tab:blue", lw=1)
        axes.axhline(40, color="black", lw=0.6, ls=":")
        axes.axvline(2.6, color="black", lw=0.6, ls=":")
        axes.set(title=scheduler, xlabel="times fewer operations", ylabel="PSNR to the uncached frames, dB")
        axes.set_xscale("log")
        most = max((p["speedup"] for p in those), default=2.0)
        ticks = [tick for tick in (1, 1.5, 2, 3, 4, 6, 8, 12) if tick <= math.ceil(most)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return True
