"""`--config run.yaml`: any option of a command from a file, or a run's report to be replayed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from animate.errors import OptionError

from .cli_errors import marked_for_json
from .command_line import BY_FACE, PATHS, WORDS_OR_PATHS, split_by_face
from .report import SCHEMA_VERSION

#: Options of which the command line's replaces the other in the file too.
RIVALS = ({"driving", "motion"},)
NEVER = {"config", "help"}
#: Options that take several words joined by commas, which a file may write as a list, and a mapping as NAME=VALUE.
LISTED, MAPPED = {"region", "strength", "faces"}, {"strength"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class ConfigCommand(TyperCommand):
    """A command whose option `--config` names a file with values for its other options; the command line wins."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        file = None
        if not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            if given.get("config") is not None and "help" not in given:
                file = Path(given["config"])
                values = read_config(file, str(self.name), self.params)
                for rivals in RIVALS:
                    if rivals & given.keys():
                        values = {name: value for name, value in values.items() if name not in rivals}
                ctx.default_map = values
        with marked_for_json(bool((ctx.default_map or {}).get("as_json"))):
            try:
                rest = super().parse_args(ctx, args)
            except Exception as error:  # typer brings click's classes under other names from version to version
                param, message = getattr(error, "param", None), getattr(error, "message", None)
                if file is None or not message or param is None or param.name not in values.keys() - given.keys():
                    raise
                why = message[0].lower() + message[1:].rstrip(".")
                raise OptionError(f"{file}: {_names(param)[0][0]} is {values[param.name]!r}: {why}.") from error
            if file is not None:
                _spare(file, ctx.params)
            return rest

    def invoke(self, ctx: Any) -> Any:
        with marked_for_json(bool(ctx.params.get("as_json"))):
            try:
                return super().invoke(ctx)
            except OptionError as error:
                # The person wrote no such option on the command line: say where it stands.
                keys = [key for param in _from_file(ctx) for key, _ in _names(param)]
                if any(re.search(rf"--{key}(?![\w-])", str(error)) for key in keys):
                    raise OptionError(f"{ctx.params['config']}: {error}") from error
                raise


def read_config(path: Path, command: str, params: Sequence[Any]) -> dict[str, Any]:
    """The values of a YAML or JSON file by parameter name, as the option parser takes them.

    Keys are the long options' names without dashes in front. A report that `--report` wrote is replayed. Paths are
    relative to the file.

    Args:
        params: the command's own (click's), which say what keys there are.

    Raises OptionError, one sentence, for a file that cannot be read, an unknown key, or a value of the wrong kind.
    """
    content = _read(path)
    if isinstance(content, dict) and isinstance(content.get("options"), dict) and "schema" in content:
        if str(content["schema"]) != str(SCHEMA_VERSION):
            raise OptionError(
                f"{path} is a report of schema {content['schema']}, which this version cannot replay: it knows "
                f"{SCHEMA_VERSION}."
            )
        content = {"command": content.get("command"), **content["options"]}
    if not isinstance(content, dict):
        raise OptionError(f"{path} is no configuration: write one option a line, such as `source: portrait.jpg`.")
    content = dict(content)
    meant = content.pop("command", None)
    if meant not in (None, command):
        raise OptionError(f"{path} is for `mien {meant}`: give it to that command instead of `mien {command}`.")
    known = {name: (param, flag) for param in params for name, flag in _names(param)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name not in known:
            near = [long for long, (param, _) in known.items() if f"-{name}" in param.opts]
            near = near or difflib.get_close_matches(name.lower(), known, 1)
            hint = f"did you mean {near[0]}" if near else f"`mien {command} --help` lists what there is"
            raise OptionError(f"{path} has the unknown option {str(key)!r}: {hint}.")
        param, flag = known[name]
        if param.name in values:
            raise OptionError(f"{path} gives {name} twice: keep one of them.")
        if value is not None:
            values[param.name] = _value(path, name, param, flag, value)
    return values


def _read(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise OptionError(f"The configuration {path} does not exist: check the path.") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"The configuration {path} is no text in UTF-8: save it as UTF-8.") from error
    except OSError as error:
        raise OptionError(f"The configuration {path} cannot be read: give a YAML or JSON file.") from error
    try:
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text, object_pairs_hook=lambda pairs: _unrepeated(path, pairs))
            except json.JSONDecodeError:
                pass  # YAML's short form of a mapping begins with a brace too
        return yaml.load(text, _loader())  # a SafeLoader: it can build nothing but plain values
    except OptionError:  # which is a ValueError too
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or "it must be a small text file"
        if "'\\t'" in what:
            what = "indent with spaces instead of tabs"
        raise OptionError(f"The configuration {path} is no YAML that can be read ({where}{what}).") from error


def _loader() -> type:
    import yaml

    class Loader(yaml.SafeLoader):
        """Words stay as they are written, but for true, false and null; and no key stands twice.

        So `cache: off` is a word, `output: 2026-01-01` a name, `face: 010` no octal number and `trim-end: 1:30` no 90.
        """

        yaml_implicit_resolvers = {
            first: [
                (tag, regexp)
                for tag, regexp in resolvers
                if tag.endswith((":null", ":merge")) or (tag.endswith(":bool") and first in "tTfF")
            ]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    problem = f"{key!r} stands there twice"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
            return super().construct_mapping(node, deep)

    return Loader


def _unrepeated(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise OptionError(f"The configuration {path} gives {key!r} twice: keep one of them.")
    return dict(pairs)


def _from_file(ctx: Any) -> list[Any]:
    """The parameters of a command whose values the configuration gave."""
    if ctx.params.get("config") is None:
        return []
    return [param for param in ctx.command.params if ctx.get_parameter_source(param.name).name == "DEFAULT_MAP"]


def _names(param: Any) -> list[tuple[str, bool]]:
    """The keys that a parameter goes by, and what they say: False for the name that turns a flag off."""
    if param.name in NEVER or not all(option.startswith("-") for option in param.opts):
        return []
    on = [(option[2:], True) for option in param.opts if option.startswith("--")]
    return on + [(option[2:], False) for option in param.secondary_opts if option.startswith("--")]


def _value(path: Path, name: str, param: Any, flag: bool, value: Any) -> Any:
    """What the file says of one option, as the parser takes it."""
    if param.is_flag:
        if not isinstance(value, bool):
            raise OptionError(f"{path}: {name} must be true or false, not {_said(value)}.")
        return value == flag
    if isinstance(value, bool):
        raise OptionError(f"{path}: {name} must be a word or a number, not {str(value).lower()}.")
    if isinstance(value, Mapping):
        if param.name not in MAPPED and not (param.name in BY_FACE and param.multiple):
            raise OptionError(f"{path}: {name} takes one {_kind(param)}, not a mapping.")
        value = [f"{key}={_scalar(path, name, part)}" for key, part in value.items()]
    elif isinstance(value, list):
        value = [_scalar(path, name, part) for part in value]
    else:
        value = [_scalar(path, name, value)]
    if param.name in PATHS and "" in value:
        raise OptionError(f"{path}: {name} is empty: give a file or folder.")
    value = [_resolve(path, param.name, part) for part in value]
    if param.multiple:
        return value
    if param.name not in LISTED and len(value) != param.nargs:
        wanted = f"{param.nargs} {_kind(param)}s" if param.nargs > 1 else f"one {_kind(param)}"
        raise OptionError(f"{path}: {name} takes {wanted}, not {len(value)}.")
    return value if param.nargs > 1 else ",".join(value)


def _kind(param: Any) -> str:
    return "file" if param.name in PATHS else "value"


def _scalar(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise OptionError(f"{path}: {name} has a value that is neither a word nor a number: {_said(value)}.")
    return str(value)


def _said(value: Any) -> str:
    """A value for a sentence; never the whole of a list, which references may make endless."""
    kinds = {"dict": "a mapping", "list": "a list", "NoneType": "null", "bool": str(value is True).lower()}
    return kinds.get(type(value).__name__) or f"the text {str(value)!r}"


def _resolve(path: Path, name: str, text: str) -> str:
    """A path relative to the file, where the option takes one."""
    if name not in PATHS | WORDS_OR_PATHS:
        return text
    head, text, tail = split_by_face(text, path.absolute().parent) if name in BY_FACE else ("", text, "")
    beside = path.absolute().parent / Path(text).expanduser()
    if name in PATHS or beside.exists() or (name == "face" and beside.suffix.lower() in PICTURES):
        text = str(beside) + "/" * text.endswith("/")
    return head + text + tail


def _spare(file: Path, params: Mapping[str, Any]) -> None:
    """Refuses an output that would replace the configuration."""
    for name in ("output", "report", "save_motion"):
        target = params.get(name)
        if isinstance(target, Path) and target.absolute() == file.absolute():
            raise OptionError(f"{target} is also the configuration and would be overwritten: choose another output.")
