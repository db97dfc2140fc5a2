"""`mien weights …`: which weights there are, where they lie, fetching, checking and converting them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from animate.errors import OptionError

from . import completion
from .cli_options import PlainJson as Json
from .cli_options import PlainQuiet as Quiet
from .renamed import renamed

if TYPE_CHECKING:
    from weights.store import FileState

EXIT_DAMAGED = 1

app = typer.Typer(
    help="List, get, check and convert the weights that Mien can use.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Look here first (then MIEN_WEIGHTS, ~/.cache/mien, Hugging Face's cache)."),
]


@app.command("list")
def list_weights(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="One of them, with each file's size, SHA-256 and place.",
            autocompletion=completion.weights,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List every weight that Mien can use: source, size, licence, what for, and where it lies."""
    from weights.registry import RECORDS, get

    from .models_table import as_dict, print_records

    records = RECORDS if name is None else (get(name),)
    if as_json:
        print(json.dumps([as_dict(record) for record in records], indent=2))
    else:
        print_records(records, files=name is not None)


@app.command(cls=renamed({"--force": "--overwrite"}))
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="As in `mien weights list`.", autocompletion=completion.weights)
    ],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Put the files here instead of Hugging Face's cache.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Get them again, also when they are here.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Get the files of one model and check them. HF_HOME and HF_HUB_OFFLINE are respected."""
    from weights.registry import get
    from weights.store import pull as fetch

    record = get(name)
    if not record.commercial_use:
        _say(quiet, f"{name}: {record.licence}; not for commercial use.")
    paths = fetch(record, folder, overwrite, lambda file: _say(quiet, f"fetching {file} …"))
    for path in paths:
        _say(quiet, str(path))
    if as_json:
        print(json.dumps({"name": name, "licence": record.licence, "files": [str(path) for path in paths]}, indent=2))


@app.command()
def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="One of them; all that are here if none.", autocompletion=completion.weights
        ),
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Check the files against their published sizes and checksums, or their structure where none is known.

    Exit code 1: a file is damaged, or one of NAME is missing.
    """
    from weights.registry import RECORDS, get
    from weights.store import how_to_get
    from weights.store import verify as check

    if folder is not None and not folder.is_dir():
        raise OptionError(f"There is no folder {folder}: check the path.")
    records = [get(name)] if name is not None else list(RECORDS)
    states = {record.name: check(record, folder) for record in records}
    if name is None:  # what is not on this machine is no fault
        states = {key: files for key, files in states.items() if any(file.path for file in files)}
    wrong = [file for files in states.values() for file in files if file.state in ("damaged", "missing")]
    if as_json:
        print(json.dumps({key: [_as_dict(file) for file in files] for key, files in states.items()}, indent=2))
    else:
        for key, files in states.items():
            for file in files:
                print(f"{key:<24}{file.state:<10}{file.path or file.file}{f': {file.detail}' if file.detail else ''}")
    if wrong:
        if name is not None and not as_json:
            _say(False, f"{name} is not whole: {how_to_get(records[0])}.")
        raise typer.Exit(EXIT_DAMAGED)


@app.command()
def convert(
    family: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY",
            help="follow-your-emoji, aniportrait or fantasy-portrait.",
            autocompletion=completion.words("follow-your-emoji", "aniportrait", "fantasy-portrait"),
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Folder of the published files; what `pull` got if none is given."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write; if none, the one that --model FAMILY is looked for in."),
    ] = None,
    image_encoder: Annotated[
        Path | None, typer.Option("--image-encoder", help="CLIP ViT-L/14, a folder or file (sd-image-variations).")
    ] = None,
    vae: Annotated[Path | None, typer.Option("--vae", help="The VAE, a folder or file (sd-vae-ft-mse).")] = None,
    base: Annotated[
        Path | None, typer.Option("--base", "-b", help="Wan2.1-I2V-14B-720P's folder, for fantasy-portrait.")
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            help="keep, float32, float16 or bfloat16.",
            autocompletion=completion.words("keep", "float32", "float16", "bfloat16"),
        ),
    ] = "keep",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it is there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn published checkpoints into a model folder of safetensors. The only command that opens a pickle."""
    from .weights_job import convert as run

    target = run(
        family, folder, output, image_encoder, vae, base, dtype, overwrite, lambda part: _say(quiet, f"{part} …")
    )
    _say(quiet, f"{target}: ready for `--model {target if output else family}`.")
    if as_json:
        print(json.dumps({"family": family, "folder": str(target)}, indent=2))


def _as_dict(file: FileState) -> dict[str, str | None]:
    path = None if file.path is None else str(file.path)
    return {"file": file.file, "path": path, "state": file.state, "detail": file.detail}


def _say(quiet: bool, sentence: str) -> None:
    if not quiet:
        from .console import err_console

        err_console().print(sentence, markup=False)
