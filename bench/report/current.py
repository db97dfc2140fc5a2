"""Which records of a folder belong together: those of the suite, media and settings of its newest run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.report.runs import Run

STALE = "records of other cases, media or settings than the newest run's are not counted: run it again"


def current(runs: Sequence[Run]) -> list[Run]:
    """Runs without the records that do not belong to the newest run.

    Runs of the same suite belong together, also where some were asked for its first cases alone. Of runs of another
    suite (its file was changed, a folder has other media, a setting is another one) those cases count that the newest
    one has, too, and that were made of the same inputs. What a run loses is told in its notes. Folders of older
    versions, whose runs do not tell, stay as they are.
    """
    newest = max(runs, key=lambda run: run.facts.get("started") or "")
    whole = _suite(newest).get("whole")
    if whole is None:
        return list(runs)
    family = sorted((run for run in runs if _suite(run).get("whole") == whole), key=lambda run: run is newest)
    inputs = {case: key for run in family for case, key in (run.facts.get("inputs") or {}).items()}
    return [_kept(run, inputs) for run in runs]


def _kept(run: Run, inputs: Mapping[str, str]) -> Run:
    records = {
        case: record
        for case, record in run.records.items()
        if case in inputs and record.data.get("inputs") in (None, inputs[case])
    }
    suite = _suite(run) | {"cases": [case for case in _suite(run).get("cases") or () if case in inputs]}
    facts = run.facts | {"suite": suite}
    if stale := len(run.records) - len(records):
        facts["notes"] = [*(run.facts.get("notes") or ()), f"{stale} {STALE}."]
    return replace(run, facts=facts, records=records)


def _suite(run: Run) -> dict[str, Any]:
    return run.facts["suite"] if isinstance(run.facts.get("suite"), dict) else {}
