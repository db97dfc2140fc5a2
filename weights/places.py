"""Where weight files may lie on this machine, in the order in which they are looked for.

A folder that is given; the folder in the environment variable MIEN_WEIGHTS; `~/.cache/mien`; Hugging Face's cache
(which HF_HOME and HF_HUB_CACHE move). Nothing here downloads.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "MIEN_WEIGHTS"
CACHE = Path("~/.cache/mien")


def roots(given: str | Path | None = None) -> list[Path]:
    """The folders to look through, first to last."""
    named = [given, os.environ.get(VARIABLE), CACHE]
    return [Path(folder).expanduser() for folder in named if folder]


def own_root() -> Path:
    """Where Mien writes: MIEN_WEIGHTS, or `~/.cache/mien`."""
    return roots()[0]


def find_file(
    name: str,
    file: str,
    repository: str | None = None,
    revision: str | None = None,
    given: str | Path | None = None,
) -> Path | None:
    """The path of a file of the weights `name`, or None.

    Args:
        file: its path in the repository; under a folder also its bare name is found.
        repository, revision: on Hugging Face, to look into its cache.
        given: a folder to look into first: of these weights, or one that holds a folder `name`.
    """
    for root in roots(given):
        for folder in (root / name, root) if root == Path(given or "").expanduser() else (root / name,):
            for place in (folder / file, folder / Path(file).name):
                if place.is_file():
                    return place
    return in_hugging_face_cache(repository, file, revision) if repository else None


def in_hugging_face_cache(repository: str, file: str, revision: str | None = None) -> Path | None:
    """The file in Hugging Face's cache, if it was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None
