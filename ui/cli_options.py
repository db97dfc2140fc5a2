"""Options that several commands share, each with one name and one meaning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from animate.outputs import SEQUENCE_NAME

from . import completion

MOVE, FACES, OUTPUT, MODEL, FULL_SIZE = "Movement", "Faces", "Output", "Model", "Full-size models"


def video_output(text: str) -> Path:
    """A name that ends in a slash, which a Path forgets, is a folder for PNG frames."""
    return Path(text) / SEQUENCE_NAME if text.endswith(("/", os.sep)) else Path(text)


VideoOutput = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        parser=video_output,
        help="Video to write: .mp4, .mov, .webm, .gif; or PNG frames: folder/ or name-%05d.png.",
    ),
]
Drivers = Annotated[
    list[str] | None,
    typer.Option(
        "--driving",
        "-d",
        metavar="[FACE=]CLIP",
        help="Video whose movements the portrait makes; for several faces once each: left=a.mp4, 1=duo.mp4@right.",
    ),
]
Motions = Annotated[
    list[str] | None,
    typer.Option(
        "--motion",
        "-m",
        metavar="[FACE=]NAME",
        help="Motion file, or a built-in motion's name (`mien motion list`); for several faces once each: left=smile.",
        autocompletion=completion.motions,
    ),
]
Speeches = Annotated[
    list[str] | None,
    typer.Option(
        "--audio",
        "-a",
        metavar="[FACE=]FILE",
        help="Speech: any sound file, or a video with sound; in a dialogue once for each: left=a.wav, right=b.wav.",
    ),
]
Speech = Annotated[Path, typer.Option("--audio", "-a", help="Speech: any sound file, or a video with sound.")]
Strength = Annotated[
    str,
    typer.Option(
        "--strength",
        help="How much each region moves, 1 is unchanged: eyes=1.2,jaw=0.8 "
        "(eyes, brows, lips, jaw, gaze, rotation, translation, all).",
        rich_help_panel=MOVE,
    ),
]
Mouth = Annotated[
    float,
    typer.Option(
        "--mouth",
        help="How far the mouth moves, 0 to 3, 1 is natural; lips that meet still meet.",
        rich_help_panel=MOVE,
    ),
]
Style = Annotated[
    str,
    typer.Option(
        "--style",
        help="How lively the speaker is: calm, neutral, lively, or a number from -1 to 1.",
        autocompletion=completion.words("calm", "neutral", "lively"),
        rich_help_panel=MOVE,
    ),
]
Fps = Annotated[
    str | None,
    typer.Option(
        "--fps",
        help="Frames per second, such as 25 or 30000/1001; unless given the (fastest) driver's own, or 25 with "
        "fantasy-portrait.",
        rich_help_panel=OUTPUT,
    ),
]
PortraitFace = Annotated[
    str,
    typer.Option(
        "--face",
        help="The face of the portrait that moves: number (0 is the largest), largest, left, right, "
        "left-to-right:N, or a reference picture of the person.",
        autocompletion=completion.people,
        rich_help_panel=FACES,
    ),
]
Faces = Annotated[
    str | None,
    typer.Option(
        "--faces",
        help="Several faces: all, largest, left-to-right, right-to-left, best-match, or numbers such as 0,2.",
        autocompletion=completion.words("all", "largest", "left-to-right", "right-to-left", "best-match"),
        rich_help_panel=FACES,
    ),
]
CastFile = Annotated[
    Path | None,
    typer.Option("--cast", help="YAML file that names the faces and what drives them.", rich_help_panel=FACES),
]
Ends = Annotated[
    str | None,
    typer.Option(
        "--ends",
        help="What the shorter of several drivers do: hold (the last frame, easing to rest; unless given), loop, or "
        "trim (all end with the shortest).",
        autocompletion=completion.words("hold", "loop", "trim"),
        rich_help_panel=FACES,
    ),
]
Sound = Annotated[
    str | None,
    typer.Option(
        "--sound",
        help="Of several clips: first (the first that has sound; unless given), mix, none.",
        autocompletion=completion.words("first", "mix", "none"),
        rich_help_panel=FACES,
    ),
]
Turns = Annotated[
    bool,
    typer.Option(
        "--turns", help="Several sounds one after the other, not all from the beginning.", rich_help_panel=FACES
    ),
]
Tracker = Annotated[
    str,
    typer.Option(
        "--tracker",
        help="What finds faces: auto, mediapipe, mediapipe-tasks, insightface, face-alignment.",
        autocompletion=completion.trackers,
        rich_help_panel=FACES,
    ),
]
Crf = Annotated[int, typer.Option("--crf", min=0, max=63, help="Quality: smaller is better.", rich_help_panel=OUTPUT)]
Codec = Annotated[
    str,
    typer.Option(
        "--codec",
        help="auto (by suffix), h264, vp9, prores, png, gif.",
        autocompletion=completion.codecs,
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite/--no-overwrite",
        "-y/-n",
        help="Whether an older output may be replaced; an input never is.",
        rich_help_panel=OUTPUT,
    ),
]
Report = Annotated[
    Path | None, typer.Option("--report", help="Write the run's report as JSON.", rich_help_panel=OUTPUT)
]
_QUIET, _JSON = "Say nothing but errors.", "Print JSON on standard output."
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=_QUIET, rich_help_panel=OUTPUT)]
Json = Annotated[bool, typer.Option("--json", help=_JSON, rich_help_panel=OUTPUT)]
PlainQuiet = Annotated[bool, typer.Option("--quiet", "-q", help=_QUIET)]  # of commands whose options have no headings
PlainJson = Annotated[bool, typer.Option("--json", help=_JSON)]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML or JSON file with any of these options, or a run's report to be replayed; the command line wins.",
    ),
]
Sign = Annotated[
    bool | None,
    typer.Option(
        "--sign/--no-sign",
        help="Sign the output (C2PA); unless given, where the extra `provenance` is installed.",
        rich_help_panel=OUTPUT,
    ),
]
SignWith = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--sign-with",
        metavar="CERT.pem KEY.pem",
        help="Your certificate with its chain, and its key; without them a test certificate that nobody trusts. "
        "MIEN_SIGN_CERT and MIEN_SIGN_KEY do the same.",
        rich_help_panel=OUTPUT,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="mini, follow-your-emoji or fantasy-portrait (large, for a GPU), or a folder with a trained model.",
        autocompletion=completion.models,
        rich_help_panel=MODEL,
    ),
]
SpeechModel = Annotated[
    str,
    typer.Option(
        "--speech-model",
        help="mini, or a folder with a trained speech model.",
        autocompletion=completion.words("mini"),
        rich_help_panel=MODEL,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, max=50, help="Denoising steps a frame.", rich_help_panel=MODEL),
]
LAST_SEED = 2**32 - 1
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=LAST_SEED, help="Same seed and input: same frames.", rich_help_panel=MODEL),
]
Device = Annotated[
    str,
    typer.Option("--device", help="cpu, cuda, cuda:1, ….", autocompletion=completion.devices, rich_help_panel=MODEL),
]
Cache = Annotated[
    str,
    typer.Option(
        "--cache",
        help="Forecast what changes little from step to step: off, fast, balanced, exact (nearest to off); "
        "for 10 steps and more.",
        autocompletion=completion.words("off", "fast", "balanced", "exact"),
        rich_help_panel=MODEL,
    ),
]
WorkFolder = Annotated[
    Path | None,
    typer.Option(
        "--work-folder",
        help="Keep finished parts here: the same command goes on where a killed one stopped.",
        rich_help_panel=OUTPUT,
    ),
]
Long = Annotated[
    str,
    typer.Option(
        "--long",
        help="Order of a long video's windows: progressive (key frames first) or overlap (one after the other).",
        autocompletion=completion.words("progressive", "overlap"),
        rich_help_panel=FULL_SIZE,
    ),
]
Window = Annotated[int, typer.Option("--window", help="Frames drawn together.", rich_help_panel=FULL_SIZE)]
Overlap = Annotated[
    int | None,
    typer.Option(
        "--overlap",
        help="Frames that windows share, with --long overlap; a quarter of the window unless given.",
        rich_help_panel=FULL_SIZE,
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        help="How strongly portrait and landmarks are followed, 1 or more; the model's own is 3.5.",
        rich_help_panel=FULL_SIZE,
    ),
]
Size = Annotated[
    int,
    typer.Option("--size", help="Pixels a side of the square round the face that is drawn.", rich_help_panel=FULL_SIZE),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="auto (float16 on a GPU, float32 elsewhere), float32, float16, bfloat16.",
        autocompletion=completion.words("auto", "float32", "float16", "bfloat16"),
        rich_help_panel=FULL_SIZE,
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        help="ddim, dpm++, or lcm for distilled models.",
        autocompletion=completion.words("ddim", "dpm++", "lcm"),
        rich_help_panel=FULL_SIZE,
    ),
]
Preview = Annotated[
    bool, typer.Option("--preview", help="Decode fast and a little blurred (TAESD).", rich_help_panel=FULL_SIZE)
]
Offload = Annotated[
    str,
    typer.Option(
        "--offload",
        help="Less GPU memory: none, model (one network at a time), group (a few layers).",
        autocompletion=completion.words("none", "model", "group"),
        rich_help_panel=FULL_SIZE,
    ),
]
Attention = Annotated[
    str,
    typer.Option(
        "--attention",
        help="auto, sdpa, xformers, flash.",
        autocompletion=completion.words("auto", "sdpa", "xformers", "flash"),
        rich_help_panel=FULL_SIZE,
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Compile first: worth it for long videos.", rich_help_panel=FULL_SIZE),
]
Method = Annotated[
    str,
    typer.Option("--method", help="mini, or for comparison prior, warp, still.", hidden=True),
]
SpeechMethod = Annotated[
    str,
    typer.Option("--speech-method", help="mini, or for comparison viseme, loudness, mean.", hidden=True),
]


def run_job(run, options, quiet: bool, as_json: bool = False) -> None:
    """Runs a command's work; says at its end what it did on standard error, and as JSON on standard output."""
    import json

    from .console import Progress, err_console

    result = run(options, Progress(quiet))
    if as_json:
        print(json.dumps(result.as_dict(), indent=2, ensure_ascii=False))
    if not quiet:
        err_console().print(result.paragraph(), markup=False)
