"""The speech benchmark's report: figures over clips, table, verdict, notes, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from bench.metrics import SPEECH_METRICS
from bench.metrics.speech import Figure, MouthCurves
from bench.metrics.speech_correlation import MAX_LAG
from bench.tables import align, versions
from bench.talk.clips import SpeechClip
from bench.talk.scoring import MISMATCHED, TRUTH, Score
from bench.verdict import Bar
from talking_face.phones import BILABIALS

SCHEMA = 1
"""Version of the JSON report."""

MARGIN_OVER_LOUDNESS = 0.1
"""Bar: open_corr of the judged method over the loudness-driven jaw's."""

LAG_BAR = 1.0
"""Bar: frames by which the judged method's median lag may differ from 0."""

PACKAGES = ("mien", "torch", "diffusers", "librosa", "mediapipe", "pocketsphinx", "numpy", "scipy")

Means = dict[str, dict[str, float | None]]


@dataclass
class ClipResult:
    """What one clip gave.

    Attributes:
        clip, subject: the clip's name and person.
        scores: method -> score.
        failures: method, or "clip" for all of them -> sentence.
        left_out: why the clip is not measured, "" when it is.
        prepared: the clip with its truth, None when it is not measured.
        curves: method -> the curves of its mouth.
    """

    clip: str
    subject: str
    scores: dict[str, Score] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: str = ""
    prepared: SpeechClip | None = None
    curves: dict[str, MouthCurves] = field(default_factory=dict)

    def figure(self, method: str, metric: str) -> Figure | None:
        """A method's figure on this clip."""
        return self.scores[method].figures.get(metric) if method in self.scores else None

    def plain(self) -> dict:
        """As plain data for JSON."""
        data: dict = {"clip": self.clip, "subject": self.subject}
        if self.left_out:
            data["left_out"] = self.left_out
        if self.failures:
            data["failures"] = self.failures
        if self.prepared is None:
            return data
        truth = self.prepared.truth
        return data | {
            "seconds": self.prepared.seconds,
            "fps": str(truth.curves.fps),
            "frames": len(truth.curves),
            "counted": int(truth.counted.sum()),
            "bridged": self.prepared.bridged,
            "loud": self.prepared.loud,
            "voiced": self.prepared.voiced,
            "own_lag": self.prepared.own_lag,
            "closed_opening": truth.curves.closed,
            "bilabials": sum(p.name in BILABIALS for p in truth.phones) if truth.phones is not None else None,
            "scores": {
                method: {
                    "values": {name: f.value if f else None for name, f in result.figures.items()},
                    "weights": {name: f.weight for name, f in result.figures.items() if f},
                    "seconds": result.seconds,
                }
                for method, result in self.scores.items()
            },
        }


def summarise(results: Sequence[ClipResult], methods: Sequence[str]) -> tuple[Means, Means, dict[str, int]]:
    """Every column over clips.

    A clip counts in a column only if every method that has a value on any clip has one there, so that all rows
    speak of the same clips; of the row ``mismatched`` those count of them that it has.

    Returns:
        method -> metric -> figure as the metric summarises it; the same with the median of clips; and metric ->
        number of clips counted.
    """
    means: Means = {method: dict.fromkeys(SPEECH_METRICS) for method in methods}
    medians: Means = {method: dict.fromkeys(SPEECH_METRICS) for method in methods}
    counted: dict[str, int] = {}
    for name, metric in SPEECH_METRICS.items():
        running = [m for m in methods if m != MISMATCHED and any(r.figure(m, name) for r in results)]
        fit = [r for r in results if running and all(r.figure(m, name) for m in running)]
        counted[name] = len(fit)
        for method in methods:
            if figures := [figure for r in fit if (figure := r.figure(method, name))]:
                means[method][name] = metric.summarise(figures)
                medians[method][name] = float(np.median([figure.value for figure in figures]))
    return means, medians, counted


def verdict(means: Means, judged: str) -> list[Bar]:
    """The bars of the judged method, those whose methods were run.

    Args:
        means: method -> metric -> figure over clips.
        judged: the method.
    """
    mine = means[judged]["open_corr"]
    bars = []
    if "viseme" in means and judged != "viseme":
        theirs = means["viseme"]["open_corr"]
        passed = None if None in (mine, theirs) else mine > theirs
        bars.append(Bar(f"open_corr: {judged} {_cell(mine)} beats viseme {_cell(theirs)}", passed))
    if "loudness" in means and judged != "loudness":
        theirs = means["loudness"]["open_corr"]
        gain = None if None in (mine, theirs) else mine - theirs
        text = f"open_corr: {judged} over loudness {_cell(gain, signed=True)} >= {MARGIN_OVER_LOUDNESS:+g}"
        bars.append(Bar(text, None if gain is None else round(gain, 4) >= MARGIN_OVER_LOUDNESS))
    lag = means[judged]["lag"]
    text = f"lag: {judged}'s median {_cell(lag, signed=True)} frames, within {LAG_BAR:g}"
    bars.append(Bar(text, None if lag is None else abs(lag) <= LAG_BAR))
    return bars


def format_bar(bar: Bar) -> str:
    """A bar as a line that ends with its verdict."""
    return f"{bar.text}: { {True: 'ok', False: 'falls short', None: 'not measured'}[bar.passed] }"


def format_table(means: Means, counted: dict[str, int]) -> str:
    """The report's table: a row per method, a column per metric; marks say which direction is better."""
    mark = {"lower": "v", "higher": "^", "one": "1", "zero": "0"}
    rows = [["", *(f"{name} {mark[metric.direction]}" for name, metric in SPEECH_METRICS.items())]]
    rows += [
        [method, *(_cell(values[name], name == "lag") for name in SPEECH_METRICS)] for method, values in means.items()
    ]
    return align([*rows, ["clips", *(str(counted[name]) for name in SPEECH_METRICS)]])


def format_clips(results: Sequence[ClipResult], methods: Sequence[str]) -> str:
    """A row per measured clip: its length, bilabials, share of these in which its own lips meet, and its own lag; each
    method's opening correlation and lag; its name."""
    measured = [r for r in results if r.prepared is not None]
    rows = [["seconds", "m/b/p", "met", "own lag", *(f"{method} (lag)" for method in methods)]]
    for r in measured:
        own = r.figure(TRUTH, "closures_met")
        row = [f"{r.prepared.seconds:.1f}", f"{own.weight:.0f}" if own else "-", _cell(own.value if own else None)]
        own_lag = r.prepared.own_lag
        row.append("-" if own_lag is None else f"{own_lag:+d}")
        for method in methods:
            found, lag = r.figure(method, "open_corr"), r.figure(method, "lag")
            row.append(_cell(found.value if found else None) + (f" ({lag.value:+.0f})" if lag else " (-)"))
        rows.append(row)
    names = ["clip", *(r.clip for r in measured)]
    return "\n".join(f"{line}  {name}" for line, name in zip(align(rows).splitlines(), names, strict=True))


def notes(results: Sequence[ClipResult], counted: dict[str, int], absent: dict[str, str]) -> list[str]:
    """What the figures mean and what was not counted, one sentence each."""
    measured = [r for r in results if r.prepared is not None]
    lines = [
        "v lower, ^ higher, 1 nearer to one, 0 nearer to zero is better; clips weigh the same, but bilabials and "
        "silent seconds are counted over all clips, and lag is the median.",
        f"A positive lag says that the predicted mouth is late against the clip's picture; looked for within {MAX_LAG} "
        "frames. It is not corrected: clips whose own sound and picture are out of step count as they are.",
        "own lag: frames by which a clip's picture seems to come after its own sound, from where its lips meet its "
        "m, b and p best; a mouth that is in step with the sound then shows the opposite lag.",
        f"Row {TRUTH} is the tracked face itself; row {MISMATCHED}, if any, is the judged method's mouth for the sound "
        "of another clip: what chance gives.",
        "A mouth that never opens meets every closure and is still in silence: read these columns beside open_corr.",
    ]
    lines += [f"{name}: not run: {why}" for name, why in absent.items()]
    for name, metric in SPEECH_METRICS.items():
        if reason := metric.missing():
            lines.append(f"{name}: not computed: {reason}.")
            continue
        unfit = sum(r.figure(TRUTH, name) is None for r in measured)
        failed = len(measured) - unfit - counted[name]
        if unfit:
            lines.append(f"{name}: {unfit} of {len(measured)} clips not counted: {metric.unfit}.")
        if failed:
            lines.append(f"{name}: {failed} of {len(measured)} clips not counted: a method has no value there.")
    uncounted = sum(int((~r.prepared.truth.counted).sum()) for r in measured)
    total = sum(len(r.prepared.truth.counted) for r in measured)
    lines.append(f"{uncounted} of {total} frames show no face or lie beyond the sound and are not counted.")
    lines += [f"{r.clip}: left out: {r.left_out}" for r in results if r.left_out]
    lines += [f"{r.clip}: {name} failed: {text}" for r in results for name, text in r.failures.items()]
    return lines


def report(
    results: Sequence[ClipResult],
    means: Means,
    medians: Means,
    counted: dict[str, int],
    bars: Sequence[Bar],
    remarks: Sequence[str],
    settings: Mapping[str, object],
) -> dict:
    """The whole report as plain data for JSON."""
    return {
        "schema": SCHEMA,
        "benchmark": "talk",
        "settings": dict(settings),
        "versions": versions(PACKAGES),
        "metrics": {
            name: {key: getattr(metric, key) for key in ("direction", "unit", "source", "needs", "summary")}
            for name, metric in SPEECH_METRICS.items()
        },
        "mean": means,
        "median": medians,
        "clips_counted": counted,
        "verdict": [asdict(bar) for bar in bars],
        "notes": list(remarks),
        "clips": [result.plain() for result in results],
    }


def _cell(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f}" if signed else f"{value:.3f}"
