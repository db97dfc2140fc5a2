"""Options that several commands share, each with one name and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MOVE, FACES, OUTPUT, MODEL = "Movement", "Faces", "Output", "Model"

VideoOutput = Annotated[
    Path,
    typer.Option("--output", "-o", help="Video to write: .mp4, .mov, .webm, .gif, or frames as name-%05d.png."),
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
        rich_help_panel=MOVE,
    ),
]
PortraitFace = Annotated[
    str,
    typer.Option(
        "--face",
        help="The face of the portrait that moves: number (0 is the largest), largest, left, right, "
        "left-to-right:N, or a reference picture of the person.",
        rich_help_panel=FACES,
    ),
]
Tracker = Annotated[
    str,
    typer.Option(
        "--tracker",
        help="What finds faces: auto, mediapipe, mediapipe-tasks, insightface, face-alignment.",
        rich_help_panel=FACES,
    ),
]
Crf = Annotated[int, typer.Option("--crf", min=0, max=63, help="Quality: smaller is better.", rich_help_panel=OUTPUT)]
Codec = Annotated[
    str,
    typer.Option("--codec", help="auto (by suffix), h264, vp9, prores, png, gif.", rich_help_panel=OUTPUT),
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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=OUTPUT)]
Model = Annotated[str, typer.Option("--model", help="mini, or a folder with a trained model.", rich_help_panel=MODEL)]
SpeechModel = Annotated[
    str, typer.Option("--speech-model", help="mini, or a folder with a trained speech model.", rich_help_panel=MODEL)
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, max=50, help="Denoising steps a frame.", rich_help_panel=MODEL),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed and input: same frames.", rich_help_panel=MODEL)]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ….", rich_help_panel=MODEL)]
Method = Annotated[
    str,
    typer.Option("--method", help="mini, or for comparison prior, warp, still.", hidden=True),
]
SpeechMethod = Annotated[
    str,
    typer.Option("--speech-method", help="mini, or for comparison viseme, loudness, mean.", hidden=True),
]


def run_job(run, options, quiet: bool) -> None:
    """Runs a command's work and says at its end what it did."""
    from .console import Progress, err_console

    result = run(options, Progress(quiet))
    if not quiet:
        err_console().print(result.paragraph(), markup=False)
