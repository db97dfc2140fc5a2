"""Older words of the command line: they go on working, and help and completion know the new ones alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand


def renamed(words: Mapping[str, str]) -> type[TyperCommand]:
    """A command class whose options also answer to older names.

    words: old long option to new one, such as {"--start": "--trim-start"}.
    """

    class Renamed(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            end = args.index("--") if "--" in args else len(args)
            return super().parse_args(ctx, [*map(_new, args[:end]), *args[end:]])

    def _new(argument: str) -> str:
        option, equals, value = argument.partition("=")
        return words.get(option, option) + equals + value

    return Renamed
