"""MultiHuman-Testbench's items as cases: its metadata comes from a folder that the user has; none of it is ours.

The folder is that of its repository, or one laid out alike: ``multihuman_metadata.json`` (in it or in ``data/``) and
the faces that it names, fetched with its own script. Item n is the case n, whose picture is ``<n>.png``.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from bench.suites.manifest import Case, SuiteError

NAMES = ("multihuman_metadata.json", "data/multihuman_metadata.json", "metadata.json")
GENDERS = {1: "male", 2: "female"}


def read_cases(folder: Path) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """The items as cases, and sentences on what is missing.

    Raises:
        SuiteError: there is no metadata, or it is not of the known form.
    """
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        raise SuiteError(f"There is no {NAMES[0]} in {folder}: give the folder of MultiHuman-Testbench's repository.")
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
        cases = tuple(_case(number, item) for number, item in enumerate(items))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SuiteError(f"{path} is not of MultiHuman-Testbench's form ({error!r}): fetch it anew.") from None
    files = {file for case in cases for file in case.files}
    missing = sum(not (folder / file).is_file() for file in files)
    notes = [f"{missing} of {len(files)} people's pictures are missing: fetch them with the testbench's own script."]
    return cases, tuple(notes[: bool(missing)])


def _case(number: int, item: dict) -> Case:
    people = [PurePosixPath(file).as_posix() for file in item["people"]]
    groups = {"people": str(len(people))}
    attributes = item.get("attributes") or []
    for name, position in (("age code", 0), ("ethnicity code", 1), ("gender", 2)):
        values = {row[position] for row in attributes}
        if len(values) == 1:
            (value,) = values
            groups[name] = GENDERS.get(value, str(value)) if name == "gender" else str(value)
    return Case(
        id=str(number),
        protocol="multi-human",
        groups=groups,
        options={"people": people, "prompt": str(item["prompt"]), "identifier": list(item.get("identifier") or ())},
    )
