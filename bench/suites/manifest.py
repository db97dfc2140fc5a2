"""Suites: which cases a benchmark has, as a plain file that anyone can read, share and check.

A ``suite.yaml`` names media below one folder, with their SHA-256 and licences, and cases made of them. The built-in
suites (``bench/suites``) are templates: `bench.suites.prepare` fills them with the media of a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from animate.errors import MienError, OptionError
from bench.tables import write_whole

SCHEMA = 1
TEMPLATES = Path(__file__).parent
PROTOCOLS = ("reenact-self", "reenact-cross", "expression", "expression-multi", "talk", "multi-human", "long", "cache")

SETTINGS: dict[str, Any] = {
    "max_frames": 125,
    "max_side": 512,
    "stride": 1,
    "stride_faces": 10,
    "fps": "25",
    "drivers_per_portrait": 1,
    "seconds": 120,
}
"""Settings of a suite, and what they are where it says nothing.

max_frames: of each clip, from its first face on. max_side: px of a portrait's or clip's longer side; larger ones are
shrunk. stride: every how many frames faces are re-detected. stride_faces: the same where all faces of a picture are
looked for. fps: of cases without a driving clip. drivers_per_portrait: how often each portrait appears. seconds: length
of a looped clip.
"""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class SuiteError(MienError):
    """A suite cannot be used; the sentence says what to do."""


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
        check_settings(self.settings)
        seen: set[str] = set()
        for case in self.cases:
            if not _ID.fullmatch(case.id):
                raise SuiteError(f"The case {case.id!r} needs an id of letters, digits, '.', '_' and '-'.")
            if case.id.lower() in seen:
                raise SuiteError(f"The suite has two cases {case.id!r}: give each an id of its own.")
            seen.add(case.id.lower())
            for file in case.files:
                _check_path(file, case.id)

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
        found = cls._read(path, data)
        return replace(found, settings={**found.settings, **(settings or {})})

    @classmethod
    def _read(cls, path: Path, data: Path | None) -> Suite:
        content = read_yaml(path)
        try:
            if content["schema"] != SCHEMA:
                raise SuiteError(f"{path} is of schema {content['schema']}, which this version cannot read.")
            media: Mapping[str, Mapping] = content.get("media") or {}
            return cls(
                name=str(content["name"]),
                protocol=str(content["protocol"]),
                cases=tuple(Case(**case) for case in content["cases"]),
                licences={file: str(about["licence"]) for file, about in media.items() if about.get("licence")},
                metrics=tuple(content["metrics"]),
                folder=data if data is not None else path.parent / content.get("data", "."),
                hashes={file: str(about["sha256"]) for file, about in media.items() if about.get("sha256")},
                settings=dict(content.get("settings") or {}),
                notes=tuple(content.get("notes") or ()),
                title=str(content.get("title", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SuiteError(
                f"{path} is no suite that can be read ({error}): make it with `mien bench prepare`."
            ) from None

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
        """SHA-256 of everything but where the media lie."""
        content = asdict(self) | {"folder": None}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def check_settings(settings: Mapping[str, Any]) -> None:
    """SuiteError, in one sentence, for settings that no suite has or that are out of range."""
    if unknown := sorted(set(settings) - set(SETTINGS)):
        raise SuiteError(f"A suite has no setting {unknown[0]!r}: it has {', '.join(SETTINGS)}.")
    for key, value in settings.items():
        least = 2 if key == "max_frames" else 32 if key == "max_side" else 1
        if key == "fps":
            from animate.frame_rate import exact_rate

            exact_rate(value)
        elif not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SuiteError(f"The setting {key} must be a whole number from {least} on but is {value!r}.")


def builtin_suites() -> dict[str, dict[str, Any]]:
    """Name -> template: name, title, protocol, about, metrics, settings."""
    return {name: read_yaml(TEMPLATES / f"{name}.yaml") for name in PROTOCOLS}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises SuiteError where it cannot be read."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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


def _check_path(file: object, case: str) -> None:
    parts = PurePosixPath(file).parts if isinstance(file, str) else (os.pardir,)
    if PurePosixPath(str(file)).is_absolute() or os.pardir in parts or "\\" in str(file):
        raise SuiteError(f"The case {case} names {file!r}: a medium's path must lie below the suite's folder.")
