"""The command `mien`: option parsing only. What a command does is in the module that it imports when run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from animate.full_size_options import FullSizeOptions

from . import cli_bench, cli_doctor, cli_motion, cli_talk, cli_train, cli_verify, cli_weights, completion
from . import cli_options as shared
from .cli_errors import EXIT_BUG, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_PROBLEM, asks_for_json, ends_cleanly, tell
from .cli_options import FACES, MOVE, OUTPUT
from .command_line import refuse_empty_paths
from .config_file import ConfigCommand

app = typer.Typer(
    name="mien",
    help="Animates a portrait with a driving video, makes it talk with a sound file, and dubs videos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_motion.app, name="motion")
app.add_typer(cli_weights.app, name="weights")
app.add_typer(cli_train.app, name="train")
app.add_typer(cli_bench.app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        from .report import mien_version

        print(f"mien {mien_version()}")
        raise typer.Exit()


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole stack of an error.")] = False,
) -> None:
    if debug:
        os.environ["MIEN_DEBUG"] = "1"


@app.command(cls=ConfigCommand)
def animate(
    source: Annotated[Path, typer.Option("--source", "-s", help="Portrait: any picture with a face.")],
    output: shared.VideoOutput,
    driving: shared.Drivers = None,
    motion: shared.Motions = None,
    config: shared.Config = None,
    relative: Annotated[
        bool,
        typer.Option(
            "--relative/--absolute",
            help="Add the driver's head movement to the portrait's pose, or take the driver's pose as it is.",
            rich_help_panel=MOVE,
        ),
    ] = True,
    region: Annotated[
        str,
        typer.Option(
            "--region",
            help="What moves: all, exp, pose, lips, eyes; or several.",
            autocompletion=completion.words("all", "exp", "pose", "lips", "eyes"),
            rich_help_panel=MOVE,
        ),
    ] = "all",
    strength: shared.Strength = "",
    smooth: Annotated[
        float | None,
        typer.Option("--smooth", help="Steady the movement, 0 to 1; blinks stay.", rich_help_panel=MOVE),
    ] = None,
    trim_start: Annotated[
        float, typer.Option("--trim-start", help="Begin at this second of the clip.", rich_help_panel=MOVE)
    ] = 0.0,
    trim_end: Annotated[
        float | None, typer.Option("--trim-end", help="End at this second of the clip.", rich_help_panel=MOVE)
    ] = None,
    fps: shared.Fps = None,
    face: shared.PortraitFace = "largest",
    faces: shared.Faces = None,
    cast: shared.CastFile = None,
    ends: shared.Ends = None,
    sound: shared.Sound = None,
    driving_face: Annotated[
        str,
        typer.Option(
            "--driving-face",
            help="The person of the clip to follow: number, largest, left, ….",
            autocompletion=completion.people,
            rich_help_panel=FACES,
        ),
    ] = "largest",
    tracker: shared.Tracker = "auto",
    crf: shared.Crf = 18,
    codec: shared.Codec = "auto",
    side_by_side: Annotated[
        bool,
        typer.Option("--side-by-side", help="Show portrait, driver and result in a row.", rich_help_panel=OUTPUT),
    ] = False,
    overwrite: shared.Overwrite = True,
    sign: shared.Sign = None,
    sign_with: shared.SignWith = None,
    report: shared.Report = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    model: shared.Model = "mini",
    steps: shared.Steps = None,
    seed: shared.Seed = 0,
    device: shared.Device = "cpu",
    method: shared.Method = "mini",
    cache: shared.Cache = "off",
    work_folder: shared.WorkFolder = None,
    long: shared.Long = FullSizeOptions.long,
    window: shared.Window = FullSizeOptions.window,
    overlap: shared.Overlap = FullSizeOptions.overlap,
    guidance: shared.Guidance = FullSizeOptions.guidance,
    size: shared.Size = FullSizeOptions.size,
    dtype: shared.Dtype = FullSizeOptions.dtype,
    scheduler: shared.Scheduler = FullSizeOptions.scheduler,
    preview: shared.Preview = FullSizeOptions.preview,
    offload: shared.Offload = FullSizeOptions.offload,
    attention: shared.Attention = FullSizeOptions.attention,
    compile: shared.Compile = FullSizeOptions.compile,
) -> None:
    """Animate a portrait, or several faces of a picture, with driving videos or motion files."""
    arguments = dict(locals())
    from .animate_job import AnimateOptions, run
    from .cast_options import animate_cast

    for name in ("quiet", "as_json", "config"):
        arguments.pop(name)
    clips, motions = (arguments.pop(name) or [] for name in ("driving", "motion"))
    arguments["cast"] = animate_cast(
        clips, motions, *(arguments.pop(name) for name in ("faces", "cast", "ends", "sound"))
    )
    if arguments["cast"] is None:
        arguments["driving"] = Path(clips[0]) if clips else None
        arguments["motion"] = motions[0] if motions else None
    arguments["full_size"] = FullSizeOptions(
        **{field.name: arguments.pop(field.name) for field in fields(FullSizeOptions)}
    )
    shared.run_job(run, AnimateOptions(**arguments), quiet, as_json)


app.command(cls=ConfigCommand)(cli_talk.talk)
app.command(cls=ConfigCommand)(cli_talk.dub)
app.command()(cli_verify.verify)
app.command()(cli_doctor.doctor)


@app.command()
def check(
    portrait: Annotated[Path, typer.Argument(help="Portrait: any picture with a face.")],
    driving: Annotated[Path | None, typer.Argument(help="Driving video.")] = None,
    face: Annotated[
        str, typer.Option("--face", help="As in `mien animate`.", autocompletion=completion.people)
    ] = "largest",
    driving_face: Annotated[
        str, typer.Option("--driving-face", help="As in `mien animate`.", autocompletion=completion.people)
    ] = "largest",
    tracker: Annotated[
        str, typer.Option("--tracker", help="As in `mien animate`.", autocompletion=completion.trackers)
    ] = "auto",
    as_json: shared.PlainJson = False,
) -> None:
    """Tell beforehand what will go wrong with a portrait and a driving video.

    Exit code 0: nothing stands in the way (warnings may). Exit code 1: the job would fail.
    """
    from .check import examine, print_findings
    from .console import Progress

    findings = examine(portrait, driving, face, driving_face, tracker, Progress(quiet=as_json))
    print_findings(findings, as_json)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(EXIT_PROBLEM)


@app.command()
def models(as_json: shared.PlainJson = False) -> None:
    """List every weight that Mien can use, with its licence and where it lies."""
    from .cli_weights import list_weights

    list_weights(as_json=as_json)


@app.command()
def ui(
    host: Annotated[str, typer.Option("--host", help="Address to serve at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port; unless given the first free one from 7860 on.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    max_upload: Annotated[int, typer.Option("--max-upload", min=1, help="Largest file, MB.")] = 512,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Longest clip or sound.")] = 120.0,
    max_waiting: Annotated[int, typer.Option("--max-waiting", min=1, help="Jobs that may wait in the queue.")] = 32,
    model: shared.Model = "mini",
    device: shared.Device = "cpu",
) -> None:
    """Open the web page: portraits, talking, dubbing, sliders and the camera in a browser, on this machine alone."""
    from .address import check_host
    from .web import Settings, run
    from .web_limits import Limits

    check_host(host)
    limits = Limits(upload_mb=max_upload, seconds=max_seconds, waiting=max_waiting)
    run(Settings(host, port, browser, model, device, limits))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. A MienError becomes one sentence on standard error."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    with ends_cleanly():
        try:
            refuse_empty_paths(arguments)
            code = app(args=arguments, prog_name="mien", standalone_mode=False)
            if code == EXIT_INTERRUPTED:  # newer typer turns Ctrl-C into this code, older ones into Abort
                raise KeyboardInterrupt
            if sys.stdout is not None:
                sys.stdout.flush()  # what cannot be written is to be told here, not by Python at its end
            return code if isinstance(code, int) else 0
        except (Exception, KeyboardInterrupt) as error:
            return tell(error, asks_for_json(arguments))


def run() -> None:
    """Entry point of the script `mien`."""
    sys.exit(main())


__all__ = ["EXIT_BUG", "EXIT_ERROR", "EXIT_INTERRUPTED", "EXIT_PROBLEM", "app", "main"]

if __name__ == "__main__":
    run()
