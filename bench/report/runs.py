"""Run folders as they are read for a report: one system each, with the record of every case."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animate.errors import MediaError

BASELINES = ("still", "warp", "copy")
"""Systems that every report compares with; `copy` shows the driver."""

TRUTH = "truth"

ROLES = (TRUTH, "system", "baseline")

PART = "part"
"""Group of a case that is no attribute of its face."""

# A path from the root on, up to its last part; not the inside of an address, of a relative path or of one
# that begins at home.
_PLACE = re.compile(r"(?<![\w.:/~-])/(?:[^\s/'\":;,]+/)+")


@dataclass(frozen=True)
class Record:
    """What one system gave on one case.

    Attributes:
        case: its name.
        status: "ok", "failed" or "left out".
        values: metric -> value of the clip, or None.
        not_computed: metric -> why it has none.
        data: the whole record.
    """

    case: str
    status: str
    values: dict[str, float | None] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, str]:
        """Attribute -> value, as the suite's manifest names them, without the part."""
        return {name: str(value) for name, value in (self.data.get("groups") or {}).items() if name != PART}

    @property
    def part(self) -> str | None:
        """Part of the suite whose cases are reported by themselves: the manifest's, else the case's protocol."""
        return (self.data.get("groups") or {}).get(PART) or self.data.get("protocol")

    @property
    def portrait(self) -> str:
        """Name of the face that was animated; the case's own where the record does not tell."""
        return self.data.get("portrait") or self.case

    @property
    def error(self) -> str | None:
        """Why it failed, one line."""
        return self.data.get("error")

    @property
    def seconds_a_frame(self) -> float | None:
        """Time inside the system over the frames it drew; None where it drew none or its time is unknown."""
        frames = self.data.get("frames_asked") or self.data.get("frames") or 0
        seconds = self.data.get("seconds") or 0.0
        return seconds / frames if frames and seconds > 0 else None


@dataclass(frozen=True)
class Run:
    """One system's run of a suite.

    Attributes:
        folder: its run folder.
        name: as the user called the system.
        role: "truth", "system" or "baseline".
        facts: run.json.
        records: case -> record.
    """

    folder: Path
    name: str
    role: str
    facts: dict[str, Any]
    records: dict[str, Record]

    def file(self, kind: str, case: str, *endings: str) -> Path | None:
        """A case's file under ``kind`` (videos, features) with one of the endings, if it is there."""
        return next((p for end in endings if (p := self.folder / kind / f"{case}{end}").is_file()), None)


def load_runs(out: Path) -> list[Run]:
    """Every run under a folder: the truth first, then the systems by name, then the baselines.

    Raises:
        MediaError: there is none, one's run.json is damaged, or they are of several suites.
    """
    files = sorted(path for path in [out / "run.json", *out.glob("*/run.json")] if path.is_file())
    if not files:
        raise MediaError(f"There is no run in {out}: give a folder that `mien bench run` has filled.")
    runs = [_load(file) for file in files]
    suites = sorted({str(_suite(run.facts).get("name", "?")) for run in runs})
    if len(suites) > 1:
        raise MediaError(f"{out} holds runs of several suites ({', '.join(suites)}): give each a folder of its own.")
    order = {"truth": 0, "system": 1, "baseline": 2}
    return sorted(runs, key=lambda run: (order.get(run.role, 1), _place(run.name), run.name))


def plain(data: Any) -> Any:
    """Data fit for a report that others read: no number that JSON lacks, and of paths only the last part."""
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return _PLACE.sub("", data) if isinstance(data, str) else data


def _place(name: str) -> int:
    return BASELINES.index(name) if name in BASELINES else -1


def _load(file: Path) -> Run:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        name = facts["system"]
        if isinstance(name, dict):
            name = name["name"]
        if not isinstance(name, str) or facts.get("role") not in (None, *ROLES) or not isinstance(_suite(facts), dict):
            raise ValueError(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{file} is damaged: remove its folder and run that system again.") from error
    role = facts.get("role") or ("truth" if name == TRUTH else "baseline" if name in BASELINES else "system")
    records = [_record(path) for path in sorted((file.parent / "cases").glob("*.json"))]
    return Run(file.parent, name, role, facts, {record.case: record for record in records})


def _suite(facts: dict[str, Any]) -> Any:
    return facts.get("suite") or {}


def _record(path: Path) -> Record:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        values = {name: _number(value) for name, value in (data.get("values") or {}).items()}
        return Record(data["case"], data["status"], values, data.get("not_computed") or {}, data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        error = f"its record {path.name} is damaged: run the suite again"
        return Record(path.stem, "failed", data={"case": path.stem, "status": "failed", "error": error})


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
