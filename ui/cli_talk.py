"""`mien talk` and `mien dub`: option parsing only; the work is in `talk_job` and `dub_job`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import cli_options as shared
from . import completion
from .cli_options import MOVE, OUTPUT


def talk(
    source: Annotated[Path, typer.Option("--source", "-s", help="Portrait: any picture with a face.")],
    output: shared.VideoOutput,
    audio: shared.Speeches = None,
    config: shared.Config = None,
    pose_from: Annotated[
        Path | None,
        typer.Option(
            "--pose-from",
            help="Video whose head movement the portrait makes; played there and back where the speech is longer.",
            rich_help_panel=MOVE,
        ),
    ] = None,
    emotion: Annotated[
        str,
        typer.Option(
            "--emotion",
            help="Mood of the face: neutral, happy, sad, angry, surprised.",
            autocompletion=completion.words("neutral", "happy", "sad", "angry", "surprised"),
            rich_help_panel=MOVE,
        ),
    ] = "neutral",
    style: shared.Style = "neutral",
    mouth: shared.Mouth = 1.0,
    head_motion: Annotated[
        float,
        typer.Option(
            "--head-motion",
            help="How much the head moves: 0 (not at all) to 1 (lively); no effect with --pose-from.",
            rich_help_panel=MOVE,
        ),
    ] = 0.5,
    blinks: Annotated[
        bool, typer.Option("--blinks/--no-blinks", help="Whether the eyes blink.", rich_help_panel=MOVE)
    ] = True,
    strength: shared.Strength = "",
    face: shared.PortraitFace = "largest",
    faces: shared.Faces = None,
    cast: shared.CastFile = None,
    turns: shared.Turns = False,
    tracker: shared.Tracker = "auto",
    fps: Annotated[
        str, typer.Option("--fps", help="Frames per second, such as 25 or 30000/1001.", rich_help_panel=OUTPUT)
    ] = "25",
    crf: shared.Crf = 18,
    codec: shared.Codec = "auto",
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Show portrait and result in a row.", rich_help_panel=OUTPUT)
    ] = False,
    overwrite: shared.Overwrite = True,
    save_motion: Annotated[
        Path | None,
        typer.Option("--save-motion", help="Write the movement as a motion file as well.", rich_help_panel=OUTPUT),
    ] = None,
    sign: shared.Sign = None,
    sign_with: shared.SignWith = None,
    report: shared.Report = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    model: shared.Model = "mini",
    speech_model: shared.SpeechModel = "mini",
    steps: shared.Steps = None,
    seed: shared.Seed = 0,
    device: shared.Device = "cpu",
    method: shared.Method = "mini",
    speech_method: shared.SpeechMethod = "mini",
) -> None:
    """Make a portrait say what is said in a sound file, or several faces hold a dialogue.

    Lips, brows, eyes and head follow the sound; the video is as long as the sound and carries it.
    """
    arguments = dict(locals())
    from .cast_options import talk_cast
    from .talk_job import TalkJob, run

    for name in ("quiet", "as_json", "config"):
        arguments.pop(name)
    sounds = arguments.pop("audio") or []
    arguments["cast"] = talk_cast(sounds, *(arguments.pop(name) for name in ("faces", "cast", "turns")))
    arguments["audio"] = Path(sounds[0]) if arguments["cast"] is None else None
    shared.run_job(run, TalkJob(**arguments), quiet, as_json)


def dub(
    video: Annotated[Path, typer.Option("--video", "-v", help="Video of the person who is to say something else.")],
    audio: shared.Speech,
    output: shared.VideoOutput,
    config: shared.Config = None,
    longer: Annotated[
        str,
        typer.Option(
            "--longer",
            help="For a sound longer than the picture: loop (play it backwards and forwards again, without a jump), "
            "hold (keep the last frame, whose eyes go on blinking), trim (end with the picture).",
            autocompletion=completion.words("loop", "hold", "trim"),
            rich_help_panel=MOVE,
        ),
    ] = "loop",
    shorter: Annotated[
        str,
        typer.Option(
            "--shorter",
            help="For a sound shorter than the picture: rest (the mouth rests to the picture's end), "
            "keep (it goes back to its own movement), trim (end with the sound).",
            autocompletion=completion.words("rest", "keep", "trim"),
            rich_help_panel=MOVE,
        ),
    ] = "rest",
    style: shared.Style = "neutral",
    mouth: shared.Mouth = 1.0,
    strength: Annotated[
        str,
        typer.Option(
            "--strength", help="How much lips and jaw move, 1 is unchanged: lips=1.2,jaw=0.8.", rich_help_panel=MOVE
        ),
    ] = "",
    face: Annotated[
        str,
        typer.Option(
            "--face",
            help="The person to dub: number (0 is the largest), largest, left, right, left-to-right:N.",
            autocompletion=completion.people,
            rich_help_panel=shared.FACES,
        ),
    ] = "largest",
    tracker: shared.Tracker = "auto",
    crf: shared.Crf = 18,
    codec: shared.Codec = "auto",
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Show the video and the result in a row.", rich_help_panel=OUTPUT)
    ] = False,
    overwrite: shared.Overwrite = True,
    sign: shared.Sign = None,
    sign_with: shared.SignWith = None,
    report: shared.Report = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    model: shared.Model = "mini",
    speech_model: shared.SpeechModel = "mini",
    steps: shared.Steps = None,
    seed: shared.Seed = 0,
    device: shared.Device = "cpu",
    method: shared.Method = "mini",
    speech_method: shared.SpeechMethod = "mini",
) -> None:
    """Make the person in a video say what is said in a sound file.

    Only the lower face changes: head, eyes, background, size and frame rate stay the video's.
    """
    arguments = dict(locals())
    from .dub_job import DubJob, run

    for name in ("quiet", "as_json", "config"):
        arguments.pop(name)
    shared.run_job(run, DubJob(**arguments), quiet, as_json)
