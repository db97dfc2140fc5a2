"""`mien motion …`: motion files in and out. They are safetensors with a JSON header and can run no code."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from animate.errors import OptionError

from . import completion
from .cli_options import PlainJson as Json
from .cli_options import PlainQuiet as Quiet
from .paths import builtin_motions, check_output, find_motion, require_file
from .renamed import renamed

if TYPE_CHECKING:
    from animate.motion import Motion

SUFFIX = ".safetensors"

app = typer.Typer(
    help="Extract, look at, cut, join and convert motion files.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MotionArgument = Annotated[
    str,
    typer.Argument(
        metavar="MOTION", help="Motion file, or a built-in motion's name.", autocompletion=completion.motions
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write (.safetensors).")]
Credit = Annotated[str, typer.Option("--credit", help="Who made it; kept in the file as its source.")]
Licence = Annotated[str, typer.Option("--licence", help="Under which licence; kept in the file.")]


@app.command(cls=renamed({"--source": "--credit"}))
def extract(
    driving: Annotated[Path, typer.Argument(help="Driving video.")],
    output: Output,
    trim_start: Annotated[float, typer.Option("--trim-start", help="Begin at this second.")] = 0.0,
    trim_end: Annotated[float | None, typer.Option("--trim-end", help="End at this second.")] = None,
    face: Annotated[
        str,
        typer.Option(
            "--face", help="The person to follow: number, largest, left, ….", autocompletion=completion.people
        ),
    ] = "largest",
    tracker: Annotated[
        str, typer.Option("--tracker", help="As in `mien animate`.", autocompletion=completion.trackers)
    ] = "auto",
    smooth: Annotated[float | None, typer.Option("--smooth", min=0, max=1, help="Steady it, 0 to 1.")] = None,
    credit: Credit = "",
    licence: Licence = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Save the movements of a video as a motion file."""
    from .console import Progress
    from .options import parse_trim
    from .people import choose_track

    parse_trim(trim_start, trim_end)
    require_file(driving, "driving video")
    check_output(output, [driving], suffix=SUFFIX)
    from animate.faces import create_tracker
    from animate.media import VideoReader
    from animate.motion import Motion

    follower = create_tracker(tracker)
    try:
        with VideoReader(driving, start=trim_start, end=trim_end) as reader:
            frames = Progress(quiet).follow(reader, "tracking", reader.frames)
            track = choose_track(follower, frames, reader.fps, face, driving)
    finally:
        follower.close()
    motion = Motion.from_track(track)
    if smooth is not None:
        motion = motion.smooth(smooth)
    motion.source, motion.licence = credit or driving.name, licence
    motion.save(output)
    _tell(output, motion, quiet, as_json)


@app.command()
def info(motion: MotionArgument, as_json: Json = False) -> None:
    """Print what a motion file holds."""
    path = find_motion(motion)
    loaded = _load(path)
    facts = {"file": str(path), **facts_of(loaded)}
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


@app.command(cls=renamed({"--start": "--trim-start", "--end": "--trim-end"}))
def trim(
    motion: MotionArgument,
    output: Output,
    start: Annotated[float, typer.Option("--trim-start", help="Begin at this second.")] = 0.0,
    end: Annotated[float | None, typer.Option("--trim-end", help="End at this second.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut a stretch out of a motion file."""
    from .options import parse_trim

    parse_trim(start, end)
    path = find_motion(motion)
    check_output(output, [path], suffix=SUFFIX)
    trimmed = _load(path).trim(start, end)
    trimmed.save(output)
    _tell(output, trimmed, quiet, as_json)


@app.command()
def join(
    motions: Annotated[
        list[str],
        typer.Argument(metavar="MOTION…", help="Two or more motions, in order.", autocompletion=completion.motions),
    ],
    output: Output,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put motions one after the other; the first one's frame rate holds."""
    if len(motions) < 2:
        raise OptionError("Joining needs two motions or more: mien motion join A B -o OUT.")
    paths = [find_motion(name) for name in motions]
    check_output(output, paths, suffix=SUFFIX)
    from animate.motion import Motion

    joined = Motion.join([_load(path) for path in paths])
    joined.save(output)
    _tell(output, joined, quiet, as_json)


@app.command("list")
def list_motions(as_json: Json = False) -> None:
    """List the motions that come with Mien."""
    rows = {name: facts_of(_load(path)) for name, path in builtin_motions().items()}
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.table import Table

    from .console import out_console

    table = Table()
    for column in ("name", "seconds", "frames/s", "licence", "source"):
        table.add_column(column, overflow="fold")
    for name, facts in rows.items():
        table.add_row(name, *(str(facts[key]) for key in ("seconds", "fps", "licence", "source")))
    out_console().print(table)


@app.command("to-arkit")
def to_arkit(
    motion: MotionArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file to write.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a motion as ARKit's 52 curves (CSV, one row a frame)."""
    path = find_motion(motion)
    check_output(output, [path], suffix=".csv")
    from animate import arkit

    loaded = _load(path)
    arkit.motion_to_arkit_csv(loaded, output)
    _tell(output, loaded, quiet, as_json)


@app.command("from-arkit", cls=renamed({"--source": "--credit"}))
def from_arkit(
    curves: Annotated[Path, typer.Argument(help="CSV file with ARKit's 52 curves, one row a frame.")],
    output: Output,
    fps: Annotated[str, typer.Option("--fps", help="Frame rate of the curves, such as 60 or 30000/1001.")] = "60",
    credit: Credit = "",
    licence: Licence = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a motion file from ARKit's 52 curves."""
    rate = parse_fps(fps)
    require_file(curves, "curve file")
    check_output(output, [curves], suffix=SUFFIX)
    from animate import arkit

    motion = arkit.motion_from_arkit_csv(curves, rate, source=credit or curves.name, licence=licence)
    motion.save(output)
    _tell(output, motion, quiet, as_json)


def parse_fps(text: str) -> Fraction:
    """An exact frame rate from "25", "29.97" or "30000/1001".

    Raises OptionError when it is no positive number up to 1000.
    """
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"--fps is {text!r}: give a number such as 25 or 30000/1001.") from None
    if not 0 < rate <= 1000:
        raise OptionError(f"--fps is {text!r}: it must lie above 0 and not above 1000.")
    return rate


def facts_of(motion: Motion) -> dict[str, object]:
    """What `mien motion info` tells of a motion: JSON-ready."""
    return {
        "frames": len(motion),
        "fps": str(motion.fps),
        "seconds": round(float(len(motion) / motion.fps), 3),
        "bridged": int((~motion.valid).sum()),
        "neutral_frame": int(motion.neutral_index),
        "source": motion.source,
        "licence": motion.licence,
    }


def _load(path: Path) -> Motion:
    from animate.motion import Motion

    return Motion.load(path)


def _summary(motion: Motion) -> str:
    facts = facts_of(motion)
    bridged = f", {facts['bridged']} of them bridged" if facts["bridged"] else ""
    noun = "frame" if facts["frames"] == 1 else "frames"
    return f"{facts['frames']} {noun}{bridged}, {facts['seconds']} s at {facts['fps']} frames/s."


def _tell(output: Path, motion: Motion, quiet: bool, as_json: bool) -> None:
    """Says what was written: to a person on standard error, as JSON on standard output."""
    if as_json:
        print(json.dumps({"file": str(output), **facts_of(motion)}, indent=2, ensure_ascii=False))
    _say(quiet, f"{output}: {_summary(motion)}")


def _say(quiet: bool, sentence: str) -> None:
    if not quiet:
        from .console import err_console

        err_console().print(sentence, markup=False)
