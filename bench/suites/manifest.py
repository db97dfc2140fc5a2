"""Suites: which cases a benchmark has, as a plain file that anyone can read, share and check.

A ``suite.yaml`` names media below one folder, with their SHA-256 and licences, and cases made of them. The built-in
suites (``bench/suites``) are templates: `bench.suites.prepare` fills them with the media of a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from animate.errors import OptionError
from bench.suites.checks import (
    FIXED,
    PROTOCOLS,
    SETTINGS,
    SuiteError,
    check_ids,
    check_path,
    check_settings,
    check_suite_name,
)
from bench.tables import write_whole

SCHEMA = 1
TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One task that every system gets.

    Attributes:
        id: unique in the suite; also the name of files.
        protocol: "reenact-self", "reenact-cross", "talk" or "multi-human".
        portrait: picture, a path below the suite's folder; None: the driver's or truth's first frame with a face.
        driver: video whose expression is to be shown.
        audio: sound, or video with sound, that is to be spoken.
        truth: video that the output should equal.
        groups: what its results are reported by: style, gender, age, tone, ...
        options: "portraits" and "drivers" (several people side by side or in one picture, left to right), "loop"
            (seconds that the driver is looped to), "people" and "prompt" (multi-human), "faces".
    """

    id: str
    protocol: str
    portrait: str | None = None
    driver: str | None = None
    audio: str | None = None
    truth: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Every medium that it needs, each once."""
        several = (self.options.get(key) or () for key in ("portraits", "drivers", "people"))
        named = [self.portrait, self.driver, self.audio, self.truth, *(file for files in several for file in files)]
        return tuple(dict.fromkeys(file for file in named if file))


@dataclass(frozen=True)
class Suite:
    """Cases and the media that they are made of.

    Attributes:
        name, title: what it is called.
        protocol: one of `PROTOCOLS`.
        cases: in the order in which they run; the first few are as unlike each other as can be.
        licences: medium -> licence, as far as known.
        metrics: names of the metrics that are reported.
        folder: what the media's paths start from.
        hashes: medium -> SHA-256 when the suite was made.
        settings: see `SETTINGS`.
        notes: sentences on what was left out and why.
    """

    name: str
    protocol: str
    cases: tuple[Case, ...]
    licences: dict[str, str]
    metrics: tuple[str, ...]
    folder: Path
    hashes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise SuiteError(f"There is no protocol {self.protocol!r}: choose one of {', '.join(PROTOCOLS)}.")
        check_suite_name(self.name)
        check_settings(self.settings)
        check_ids(case.id for case in self.cases)
        for case in self.cases:
            for file in case.files:
                check_path(file, case.id)

    @classmethod
    def load(
        cls,
        name: str | Path,
        data: Path | None = None,
        metadata: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Suite:
        """A suite from its file, or a built-in one made of the media of a folder.

        Args:
            name: a built-in suite's name, or a ``suite.yaml``.
            data: folder of the media. A built-in suite needs one; of a file it takes the place of the file's own.
            metadata: folder of the multi-human benchmark's metadata, which may stand for ``data``.
            settings: in place of the suite's own (`SETTINGS`).

        Raises:
            SuiteError: there is no such suite, or the file is damaged.
        """
        if str(name) in builtin_suites():
            from bench.suites.prepare import fill

            if data is None and metadata is None:
                raise SuiteError(f"The suite {name} needs media: give a folder of portraits and videos with --data.")
            return fill(str(name), data, metadata=metadata, settings=settings)
        path = Path(name)
        if path.is_dir():
            path = path / "suite.yaml"
        if not path.is_file():
            known = ", ".join(builtin_suites())
            raise SuiteError(f"There is no suite {name}: give one of {known}, or a suite.yaml.")
        return cls._read(path, data).with_settings(settings or {})

    def with_settings(self, settings: Mapping[str, Any]) -> Suite:
        """The same cases with other settings.

        Raises:
            SuiteError: a setting is unknown, out of range, or one that the cases were made by.
        """
        if fixed := [key for key in FIXED if settings.get(key, self.settings.get(key)) != self.settings.get(key)]:
            raise SuiteError(f"{fixed[0]} is fixed when the suite is prepared: give it to `mien bench prepare`.")
        return replace(self, settings={**self.settings, **settings})

    @classmethod
    def _read(cls, path: Path, data: Path | None) -> Suite:
        from bench.suites.reading import read_suite

        values = read_suite(path)
        if data is not None:
            values["folder"] = data
        try:
            return cls(**values)
        except (SuiteError, OptionError) as error:
            raise SuiteError(f"{path}: {error}") from None

    def save(self, path: Path) -> Path:
        """Write a ``suite.yaml``; its media stay where they are."""
        import yaml

        files = sorted({file for case in self.cases for file in case.files})
        media = {
            file: {key: of[file] for key, of in (("sha256", self.hashes), ("licence", self.licences)) if file in of}
            for file in files
        }
        content = {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "protocol": self.protocol,
            "data": Path(os.path.relpath(self.folder.resolve(), path.resolve().parent)).as_posix(),
            "metrics": list(self.metrics),
            "settings": self.settings,
            "notes": list(self.notes),
            "media": media,
            "cases": [{key: value for key, value in asdict(case).items() if value} for case in self.cases],
        }
        write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
        return path

    def take(self, limit: int | None) -> Suite:
        """The suite of the first cases alone."""
        if limit is not None and limit < 1:
            raise OptionError(f"A limit of {limit} leaves no case: give 1 or more.")
        return replace(self, cases=self.cases[:limit])

    def setting(self, key: str) -> Any:
        """A setting, or its default."""
        return self.settings.get(key, SETTINGS[key])

    def file(self, medium: str | None) -> Path | None:
        """Where a medium lies; None for None."""
        return None if medium is None else self.folder / medium

    def check(self, files: Iterable[str] | None = None) -> dict[str, str]:
        """Medium -> "ok", "wrong" (another content than when the suite was made) or "missing"."""
        wanted = {file for case in self.cases for file in case.files} if files is None else files
        return {file: self._state(file) for file in sorted(wanted)}

    def _state(self, file: str) -> str:
        path = self.folder / file
        if not path.is_file():
            return "missing"
        expected = self.hashes.get(file)
        return "ok" if expected in (None, sha256(path)) else "wrong"

    @property
    def digest(self) -> str:
        """SHA-256 of everything but where the media lie and what was noted when they were looked at."""
        content = asdict(self) | {"folder": None, "notes": None}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def builtin_suites() -> dict[str, dict[str, Any]]:
    """Name -> template: name, title, protocol, about, metrics, settings."""
    return {name: read_yaml(TEMPLATES / f"{name}.yaml") for name in PROTOCOLS}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises SuiteError where it cannot be read."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SuiteError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise SuiteError(f"{path} holds no mapping: make it with `mien bench prepare`.")
    return content


def sha256(path: Path) -> str:
    """SHA-256 of a file's content; read once as long as the file does not change."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
