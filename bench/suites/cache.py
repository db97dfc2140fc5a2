"""The suite cache: the records that ``python -m bench.cache --json`` wrote, as runs of the same form as all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.runner.claim import SUITE_FILE
from bench.runner.record import RunFolder
from bench.suites.manifest import Case, Suite, SuiteError
from bench.systems.system import SystemSpec
from bench.tables import write_json

COLUMNS: dict[str, tuple[str, str]] = {
    "speedup": ("higher", "times fewer operations of the network"),
    "seconds_ratio": ("higher", "times faster by the clock"),
    "psnr": ("higher", "dB to the frames without a cache"),
    "face_psnr": ("higher", "dB inside the face"),
    "face_ssim": ("higher", "[-1, 1] inside the face"),
    "mouth_l1": ("lower", "[0, 1]"),
    "eyes_l1": ("lower", "[0, 1]"),
    "landmark_change": ("zero", "share of the landmark error"),
    "flicker": ("one", "ratio to the frames without a cache"),
}
"""A point's figure -> which values are better, and its unit."""


def find_report(folder: Path) -> Path:
    """The JSON report of `bench.cache.run` in a folder. Raises SuiteError where there is none."""
    for path in sorted(folder.rglob("*.json")) if folder.is_dir() else [folder]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["benchmark"] == "cache" and _complete(content):
                return path
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise SuiteError(
        f"There is no record of the cache benchmark in {folder}: make one with `python -m bench.cache --json`."
    )


def read_cases(folder: Path) -> tuple[Case, ...]:
    """A case for each scheduler of the report."""
    path = find_report(folder)
    points = json.loads(path.read_text(encoding="utf-8"))["points"]
    record = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
    names = list(dict.fromkeys(point["scheduler"] for point in points))
    slugs = {name: "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-._") for name in names}
    return tuple(Case(slugs[name], "cache", groups={"scheduler": name}, options={"record": record}) for name in names)


def _complete(content: dict[str, Any]) -> bool:
    """Whether a report has all that is read here."""
    points = content["points"]
    known = all(isinstance(point["scheduler"], str) and isinstance(point["method"], str) for point in points)
    return bool(points) and known and not {"notes", "versions", "machine", "settings"} - set(content)


def import_records(suite: Suite, out: Path) -> dict[str, Any]:
    """Write a run for every method of the report; counts as of `bench.runner.run.run_suite`."""
    report = json.loads(find_report(suite.folder).read_text(encoding="utf-8"))
    names = {case.groups["scheduler"]: case for case in suite.cases}
    methods = list(dict.fromkeys(point["method"] for point in report["points"]))
    specs = [SystemSpec(method, method, "truth" if method == "none" else "system") for method in methods]
    suite.save(out / SUITE_FILE)
    counts: dict[str, Any] = {"ok": 0, "failed": 0, "left out": 0, "reused": 0}
    for spec in specs:
        write_json(out / spec.folder / "run.json", _about(suite, spec, report))
        for point in report["points"]:
            if point["method"] == spec.name and point["scheduler"] in names:
                values = {column: point.get(column) for column in COLUMNS}
                record = _record(names[point["scheduler"]], spec, values)
                RunFolder(out / spec.folder).write(record, {})
                counts["ok"] += 1
    return counts | {"systems": [spec.folder for spec in specs], "names": methods, "notes": list(report["notes"])}


def _about(suite: Suite, spec: SystemSpec, report: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": 1,
        "suite": {
            "name": suite.name,
            "title": suite.title,
            "protocol": suite.protocol,
            "metrics": list(COLUMNS),
            "cases": [case.id for case in suite.cases],
            "licences": {},
            "notes": list(report["notes"]),
            "sha256": suite.digest,
        },
        "system": spec.name,
        "spec": spec.word,
        "role": spec.role,
        "versions": report["versions"],
        "weights": [],
        "machine": report["machine"],
        "settings": {key: value for key, value in report["settings"].items() if key not in ("json", "results", "data")},
        "hashes": {},
        "metrics_known": {
            name: {"direction": direction, "unit": unit, "source": "bench.cache", "needs": "", "missing": None}
            for name, (direction, unit) in COLUMNS.items()
        },
        "notes": list(report["notes"]),
    }


def _record(case: Case, spec: SystemSpec, values: dict[str, float | None]) -> dict[str, Any]:
    absent = {name: "the report has no such figure" for name, value in values.items() if value is None}
    return {
        "case": case.id,
        "system": spec.name,
        "protocol": case.protocol,
        "status": "ok",
        "error": None,
        "values": values,
        "not_computed": absent,
        "frames": 0,
        "lost": 0,
        "seconds": 0.0,
        "groups": dict(case.groups),
        "notes": [],
        "video": None,
    }
