"""`mien bench …`: suites, runs of any system, reports, comparisons."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from animate.errors import OptionError

from . import completion
from .cli_options import PlainJson as Json
from .cli_options import PlainQuiet as Quiet
from .cli_train import Interrupted
from .paths import check_output_folder
from .renamed import renamed

if TYPE_CHECKING:
    from bench.suites.manifest import Suite

EXIT_NOTHING = 1  # not one case of a system could be measured
RUNS = Path("runs/bench")

app = typer.Typer(
    help="Measure any system on a suite of cases, and compare systems.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many cases.")]
Metadata = Annotated[
    Path | None, typer.Option("--metadata", help="Folder of the multi-human benchmark's own metadata.")
]
Suites = Annotated[
    str,
    typer.Argument(
        metavar="SUITE",
        help="A built-in suite (`mien bench list`) or a suite.yaml.",
        autocompletion=completion.suites,
    ),
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the media.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="KEY=VALUE, may be repeated: max_frames, max_side (px), fps, seconds, drivers_per_portrait, stride, "
        "stride_faces.",
    ),
]
Clips = Annotated[int, typer.Option("--clips", min=0, help="Cases whose clips the page shows.")]


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """Show the suites, and every metric with its source, the licence of what it needs, and whether it is here."""
    from .bench_list import print_list

    print_list(as_json)


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of portraits, videos and sounds; a manifest.csv tells more.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write suite.yaml to.")],
    protocol: Annotated[
        str,
        typer.Option("--protocol", help="A built-in suite: see `mien bench list`.", autocompletion=completion.suites),
    ],
    name: Annotated[str | None, typer.Option("--name", help="What to call the suite.")] = None,
    limit: Limit = None,
    metadata: Metadata = None,
    setting: Settings = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a suite of a folder of media: pairs, checksums, licences, groups."""
    from bench.suites.manifest import Suite
    from bench.suites.prepare import prepare as build

    check_output_folder(output.parent if output.suffix in (".yaml", ".yml") else output)
    path = build(
        folder, protocol, output, name=name, limit=limit, metadata=metadata, settings=parse_settings(setting or [])
    )
    made = Suite.load(path)
    if as_json:
        facts = {"file": str(path), "suite": made.name, "cases": len(made.cases), "notes": list(made.notes)}
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    for note in made.notes:
        _say(quiet, note)
    _say(quiet, f"{path}: {len(made.cases)} cases; run it with `mien bench run {path} --system …`.")


@app.command()
def inputs(
    suite: Suites,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    data: Data = None,
    limit: Limit = None,
    metadata: Metadata = None,
    setting: Settings = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write what every case gives to a system, for one that runs elsewhere: portrait.png, driver.mp4, audio.wav.

    Put its outputs into a folder as CASE.mp4 and measure them with `mien bench run SUITE --system folder:PATH`.
    """
    from bench.runner.export import export_inputs

    found = _suite(suite, data, metadata, limit, setting)
    check_output_folder(output)
    try:
        left_out = export_inputs(found, output)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: the same command writes {output} anew.") from None
    if as_json:
        print((output / "inputs.json").read_text(encoding="utf-8"), end="")
    for case, why in left_out.items():
        _say(quiet, f"left out: {case}: {why}")
    _say(quiet, f"{output}: inputs.json lists the cases.")


@app.command(cls=renamed({"--out": "--output", "--jobs": "--workers"}))
def run(
    suite: Suites,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            help="What is measured; may be repeated; if none, the baselines alone. mien:mini, mien:FOLDER; "
            'folder:PATH, with finished videos PATH/CASE.mp4; command:"PROGRAM {portrait} {driver} {output}", '
            "started for each case, which may also ask for {audio}, {case}, {fps}, {frames} and {prompt}. "
            "NAME= in front names it in the report.",
        ),
    ] = None,
    data: Data = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"Folder of the results; an older one goes on; if none, {RUNS}/SUITE."),
    ] = None,
    limit: Limit = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Cases at the same time.")] = 1,
    ray: Annotated[str | None, typer.Option("--ray", help="Run on a Ray cluster: auto or its address.")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds that a case may take; if none, any.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed cases again.")] = False,
    metadata: Metadata = None,
    setting: Settings = None,
    clips: Clips = 12,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run systems on a suite, beside the baselines and the truth, and write the report.

    What is finished is not run again; Ctrl-C and the same command go on. A case on which a system fails is counted
    as failed. Exit code 1: not one case of a system could be measured.
    """
    from bench.runner.run import run_suite

    from .bench_progress import CaseProgress

    found = _suite(suite, data, metadata, None, setting)
    if timeout is not None and not timeout < math.inf:
        raise OptionError(f"--timeout is {timeout:g}: give seconds, such as 60.")
    output = check_output_folder(RUNS / found.name if output is None else output)
    try:
        with CaseProgress(quiet) as progress:
            told = run_suite(
                found,
                system or [],
                output,
                limit=limit,
                jobs=workers,
                ray=ray,
                timeout=timeout,
                retry=retry,
                progress=progress,
            )
        figures = _report(output, None, clips, as_json, quiet)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: the same command goes on with what is in {output}.") from None
    for note in told["notes"]:
        _say(quiet, note)
    if told["reused"] and told["failed"] and not retry:
        _say(quiet, "Cases that failed before were not tried again: --retry does that.")
    facts = {name: figures["systems"][name] for name in told["names"]}
    own = [name for name, one in facts.items() if one["role"] == "system"]
    hopeless = [name for name in own if not facts[name]["ok"]]
    if not own and not any(one["ok"] for one in facts.values()):
        hopeless = list(facts)
    if hopeless:
        _say(False, f"Not one case could be measured: {', '.join(hopeless)}.")
        raise typer.Exit(EXIT_NOTHING)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder that `mien bench run` filled.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the report's files.")] = None,
    clips: Clips = 12,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write report.html, report.md, report.json and report.csv from a folder of runs."""
    _report(folder, output, clips, as_json, quiet)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="A report.json, or the folder that holds it.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="The same again, or another one.")],
    a: Annotated[str | None, typer.Option("--a", help="System of A, where it has several.")] = None,
    b: Annotated[str | None, typer.Option("--b", help="System of B, where it has several.")] = None,
    as_json: Json = False,
) -> None:
    """Test whether one system is better than another on the cases that both have."""
    from bench.report.compare import choose_system, format_comparison, read_report
    from bench.report.compare import compare as test

    reports = [read_report(first), read_report(second)]
    names = choose_system(reports[0], a, str(first), "--a"), choose_system(reports[1], b, str(second), "--b")
    found = test(*reports, *names)
    if not found["cases"]["same"]:
        if other := found["cases"]["other_inputs"]:
            raise OptionError(
                f"What {first} and {second} share has other media or settings (cases: {other}): run both with the same."
            )
        raise OptionError(f"{first} and {second} share no case: compare reports of one suite.")
    print(json.dumps(found, indent=1) if as_json else format_comparison(found))


def parse_settings(words: list[str]) -> dict[str, Any]:
    """KEY=VALUE words; whole numbers become numbers.

    Raises:
        OptionError: a word has no "=".
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise OptionError(f"--set {word}: give KEY=VALUE, such as max_frames=50.")
        found[key.strip()] = int(value) if re.fullmatch(r"\s*-?[0-9]{1,12}\s*", value) else value.strip()
    return found


def _suite(name: str, data: Path | None, metadata: Path | None, limit: int | None, words: list[str] | None) -> Suite:
    from bench.suites.manifest import Suite

    found = Suite.load(name, data=data, metadata=metadata, settings=parse_settings(words or [])).take(limit)
    if not found.cases:
        raise OptionError(f"The suite {name} has no case: make it again with `mien bench prepare`.")
    return found


def _report(folder: Path, target: Path | None, clips: int, as_json: bool, quiet: bool) -> dict[str, Any]:
    from bench.report.files import write_report
    from bench.report.markdown import terminal

    from .console import Progress

    progress = Progress(quiet)
    figures, files = write_report(
        folder, target, clips, follow=lambda cases, total: progress.follow(cases, "clips", total)
    )
    if as_json:
        print(files["json"].read_text(encoding="utf-8"), end="")
        _say(quiet, terminal(figures))
    elif not quiet:
        print(terminal(figures))
    _say(quiet, f"report: {files['html']} (and .md, .json, .csv)")
    return figures


def _say(quiet: bool, sentence: str) -> None:
    if not quiet:
        from .console import err_console

        err_console().print(sentence, markup=False)
