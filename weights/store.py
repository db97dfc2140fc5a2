"""Weights fetched, found and checked: what `mien weights` does.

Fetching goes through huggingface_hub, so that HF_HOME, HF_HUB_OFFLINE and its tokens hold. Every failure is a sentence
that names the repository, the file and the folder to put it into.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import places
from .errors import WeightsError
from .registry import WeightRecord

BLOCK = 1 << 22


@dataclass(frozen=True)
class FileState:
    """One file of a record on this machine. state: "whole" (size or checksum are the published ones), "readable" (no
    checksum is known, its structure is sound), "damaged" or "missing"; detail: why it is damaged."""

    file: str
    path: Path | None
    state: str
    detail: str = ""


def pipeline_folder(name: str) -> Path:
    """Where `mien weights convert` writes the pipeline of a family, and the animator looks for it."""
    for root in places.roots():
        if (root / "pipelines" / name / "model_index.json").is_file():
            return root / "pipelines" / name
    return places.own_root() / "pipelines" / name


def find_folder(record: WeightRecord) -> Path | None:
    """The folder that holds all files of a record, or None."""
    return record.path if record.available else None


def how_to_get(record: WeightRecord) -> str:
    """Half a sentence, without a full stop, that says how the weights come onto this machine."""
    if record.repository is not None:
        return (
            f"run `mien weights pull {record.name}`, or get {', '.join(record.files)} of {where_published(record)} "
            f"elsewhere and put them into {places.own_root() / record.name}"
        )
    if record.origin == "trained here":
        return "it comes with Mien: install Mien again"
    if record.package is not None:
        extra = f"pip install 'mien[{record.extra}]'" if record.extra else f"pip install {record.package}"
        return f"run {extra}"
    return f"get {', '.join(record.files)} ({record.source}) and put them into {record.path}"


def where_published(record: WeightRecord) -> str:
    """The repository with its revision."""
    return f"the Hugging Face repository {record.repository} (revision {record.revision})"


def pull(
    record: WeightRecord,
    folder: Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda file: None,
) -> list[Path]:
    """Fetch the files of a record that are not here, and check them.

    Args:
        folder: put them there; None is Hugging Face's cache.
        force: fetch also what is here.
        report: called with each file's name before it is fetched.

    Raises:
        WeightsError: not published in a repository, no network, offline mode, not found there, or damaged on the way.
    """
    if record.repository is None:
        raise WeightsError(f"{record.name} cannot be pulled: {how_to_get(record)}.")
    paths = []
    for file in record.files:
        path = None if force else record.find(file, folder)
        if path is None:
            report(file)
            path = _download(record, file, folder, force)
        state = check_file(record, file, path)
        if state.state == "damaged":
            raise WeightsError(
                f"{path} is damaged ({state.detail}): remove it and run `mien weights pull --overwrite {record.name}`."
            )
        paths.append(path)
    return paths


def _download(record: WeightRecord, file: str, folder: Path | None, force: bool) -> Path:
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download, logging

    logging.set_verbosity_error()  # its own retries, one line each
    target = folder if folder is not None else places.own_root() / record.name
    by_hand = f"get {file} of {where_published(record)} on another machine and put it into {target}"
    try:
        return Path(
            hf_hub_download(record.repository, file, revision=record.revision, local_dir=folder, force_download=force)
        )
    except (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError) as error:
        raise WeightsError(f"There is no network or HF_HUB_OFFLINE is set: {by_hand}.") from error
    except hub.HfHubHTTPError as error:
        raise WeightsError(f"{file} of {where_published(record)} is not given out: look there for why.") from error
    except OSError as error:  # connection errors are OSErrors too
        raise WeightsError(f"{file} could not be fetched ({type(error).__name__}): {by_hand}.") from error
    except Exception as error:
        # The library's own network errors come under classes that change from version to version.
        if "connect" not in type(error).__name__.lower() and "timeout" not in type(error).__name__.lower():
            raise
        raise WeightsError(f"{file} could not be fetched ({type(error).__name__}): {by_hand}.") from error


def verify(record: WeightRecord, folder: Path | None = None) -> list[FileState]:
    """The state of each file of a record; `folder` is looked into first."""
    states = []
    for file in record.files:
        path = record.find(file, folder)
        states.append(FileState(file, None, "missing") if path is None else check_file(record, file, path))
    return states


def check_file(record: WeightRecord, file: str, path: Path) -> FileState:
    """A file against what is known of it: size and SHA-256 where published, else the structure of its format."""
    facts = record.facts.get(file)
    if facts is not None and facts.size is not None and path.stat().st_size != facts.size:
        return FileState(file, path, "damaged", f"{path.stat().st_size} bytes instead of {facts.size}")
    fault = structure_fault(path)
    if fault:
        return FileState(file, path, "damaged", fault)
    if facts is None or facts.sha256 is None:
        return FileState(file, path, "readable")
    if sha256(path) != facts.sha256:
        return FileState(file, path, "damaged", "its SHA-256 is another than the published one")
    return FileState(file, path, "whole")


def sha256(path: Path) -> str:
    """The file's SHA-256, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def structure_fault(path: Path) -> str:
    """What is wrong with a file's outer structure; empty when it looks sound. Nothing in it is unpickled."""
    if path.stat().st_size == 0:
        return "it is empty"
    if path.suffix == ".safetensors":
        return _safetensors_fault(path)
    if path.suffix == ".json":
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return "it is no JSON"
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        with path.open("rb") as file:
            start = file.read(2)
        if start == b"PK" and not zipfile.is_zipfile(path):  # the list of contents stands at the end
            return "its end is missing"
        if start != b"PK" and not start.startswith(b"\x80"):
            return "it is no checkpoint"
    return ""


def _safetensors_fault(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            file.keys()
    except (SafetensorError, OSError):
        return "its header does not fit the file"
    return ""
