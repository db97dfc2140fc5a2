"""cast.yaml: the faces of a picture by name, and what drives each.

    order: left-to-right        # what bare numbers count in; largest first without it
    faces:
      anna: {face: left, driving: a.mp4}
      ben: {face: 1, audio: b.wav}
      carl: {face: carl.jpg}    # a reference picture; driven by `-d carl=c.mp4` on the command line

Of `driving` (a clip; `person` says whom of it), `motion` (a file or built-in name) and `audio` a face has at most one.
Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from animate.casting import KINDS, ORDERS, Role
from animate.errors import OptionError

_KEYS = ("face", *KINDS, "person")
_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class CastFile:
    """labels: name → selector of a face, or the path of a reference picture. roles: who is driven by what."""

    labels: Mapping[str, str | Path]
    roles: tuple[Role, ...]
    order: str | None


def read_cast(path: str | Path) -> CastFile:
    """Reads a cast. Raises OptionError, one sentence that names the file and the place, for whatever does not fit."""
    path = Path(path)
    content = _read_yaml(path)
    faces = _mapping(content, ("faces", "order"), path, "the file")
    order = faces.get("order")
    if order is not None and order not in ORDERS:
        raise OptionError(f"{path} has the order {order!r}: choose from {', '.join(ORDERS)}.")
    entries = faces.get("faces")
    if not isinstance(entries, dict) or not entries:
        raise OptionError(f"{path} names no faces: write `faces:` and under it, for example, `anna: {{face: left}}`.")
    labels, roles = {}, []
    for label, entry in entries.items():
        label = _word(label)
        if label is None:
            raise OptionError(f"{path} has a face whose name is no text: put it in quotes.")
        values = _mapping(entry, _KEYS, path, f"the face {label!r}")
        labels[label] = _face(values.get("face"), path, label)
        roles += _roles(values, path, label)
    return CastFile(labels, tuple(roles), order)


def _read_yaml(path: Path) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Numbers, text, lists and mappings, and no key twice."""

        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{key!r} stands there twice", problem_mark=node.start_mark
                    )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(
            path.read_text(encoding="utf-8"), Loader
        )  # a SafeLoader: it can build nothing but plain values
    except FileNotFoundError as error:
        raise OptionError(f"The cast {path} does not exist: check the path.") from error
    except OSError as error:
        raise OptionError(f"The cast {path} cannot be read ({error.strerror}): give a YAML file.") from error
    except yaml.MarkedYAMLError as error:
        mark = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        what = f"{mark}{error.problem or error.context}"
        raise OptionError(f"The cast {path} is no YAML that can be read ({what}).") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise OptionError(f"The cast {path} is no YAML that can be read: it must be a small text file.") from error


def _mapping(value: object, known: tuple[str, ...], path: Path, what: str) -> dict:
    if not isinstance(value, dict):
        raise OptionError(f"{path}: {what} must be a mapping with the keys {', '.join(known)}.")
    for key in value:
        if key not in known:
            raise OptionError(f"{path}: {what} has the unknown key {str(key)!r}: there are {', '.join(known)}.")
    return value


def _word(value: object) -> str | None:
    """Text or a whole number as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _face(value: object, path: Path, label: str) -> str | Path:
    word = _word(value)
    if word is None:
        raise OptionError(f"{path}: {label!r} has no face: add, for example, `face: left` or `face: 0`.")
    return path.parent / word if Path(word).suffix.lower() in _PICTURES else word


def _roles(values: dict, path: Path, label: str) -> list[Role]:
    given = [kind for kind in KINDS if kind in values]
    if len(given) > 1:
        raise OptionError(f"{path}: {label!r} has {' and '.join(given)}: a face has one driver.")
    if not given:
        if "person" in values:
            raise OptionError(f"{path}: {label!r} has a person but no clip: add `driving`.")
        return []
    kind, source = given[0], _word(values[given[0]])
    if source is None:
        raise OptionError(f"{path}: the {kind} of {label!r} must be a file's name.")
    person = _word(values.get("person"))
    if "person" in values and (kind != "driving" or person is None):
        raise OptionError(
            f"{path}: the person of {label!r} must be a number or an order, such as left, of a driving clip."
        )
    beside = path.parent / source
    if kind != "motion" or beside.exists():  # motions may be built in
        source = str(beside)
    return [Role(kind, source, label, person, f"{label} in {path.name}")]
