"""`mien train …`: training of the full size. Option parsing only; the work is in `animate.train_…`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from animate.errors import MienError, OptionError

from . import completion
from .cli_options import LAST_SEED, PlainJson, PlainQuiet
from .paths import check_output_folder
from .renamed import renamed

CONFIGS = ("multi_gpu", "fsdp", "deepspeed_zero2")
RUN, LOSS, SPEED = "Run", "Loss", "Speed and memory"

app = typer.Typer(
    help="Train the full-size model: prepare clips, then image pairs, then motion.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Interrupted(MienError):
    """Ctrl-C or SIGTERM in work that can be gone on with."""

    exit_code = 130


Data = Annotated[Path, typer.Argument(help="Folder that `mien train prepare` made.")]
Base = Annotated[
    Path, typer.Option("--base", "-b", help="Model folder to start from, or a run's folder (its last checkpoint).")
]
Run = Annotated[Path, typer.Option("--output", "-o", help="Folder for checkpoints and the log.")]
Batch = Annotated[int, typer.Option("--batch", help="Samples on one process at once.", rich_help_panel=SPEED)]
Accumulate = Annotated[int, typer.Option("--accumulate", help="Batches that make one step.", rich_help_panel=SPEED)]
Size = Annotated[int, typer.Option("--size", help="Side of the pictures, px.")]
Style = Annotated[
    str,
    typer.Option(
        "--map-style",
        help="Landmark maps: follow-your-emoji, aniportrait.",
        autocompletion=completion.words("follow-your-emoji", "aniportrait"),
    ),
]
Rate = Annotated[float, typer.Option("--learning-rate", help="The highest learning rate.")]
Warmup = Annotated[int, typer.Option("--warmup", help="Steps in which the learning rate rises.")]
Gamma = Annotated[
    float, typer.Option("--snr-gamma", help="Bound of the min-SNR weights; 0: none.", rich_help_panel=LOSS)
]
Offset = Annotated[float, typer.Option("--noise-offset", help="Noise of each channel's mean.", rich_help_panel=LOSS)]
Uncond = Annotated[
    float, typer.Option("--uncond-ratio", help="Share of samples without the portrait.", rich_help_panel=LOSS)
]
Facial = Annotated[
    bool, typer.Option("--facial/--no-facial", help="Weigh eyes, mouth and face more.", rich_help_panel=LOSS)
]
Ema = Annotated[float, typer.Option("--ema", help="Decay of averaged weights; 0: none.", rich_help_panel=LOSS)]
Checkpointing = Annotated[
    bool,
    typer.Option(
        "--gradient-checkpointing/--no-gradient-checkpointing",
        help="Compute activations twice instead of keeping them.",
        rich_help_panel=SPEED,
    ),
]
EightBit = Annotated[
    bool, typer.Option("--eight-bit-adam", help="Optimizer states of 8 bits (bitsandbytes).", rich_help_panel=SPEED)
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, no, bf16, fp16.",
        autocompletion=completion.words("auto", "no", "bf16", "fp16"),
        rich_help_panel=SPEED,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", help="auto, or cpu.", autocompletion=completion.words("auto", "cpu"), rich_help_panel=SPEED
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read samples.", rich_help_panel=SPEED)]
Seed = Annotated[int, typer.Option("--seed", min=0, max=LAST_SEED, help="Same seed, data and settings: same weights.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.", rich_help_panel=RUN)]
SaveEvery = Annotated[int, typer.Option("--save-every", min=1, help="Steps between checkpoints.", rich_help_panel=RUN)]
Keep = Annotated[int, typer.Option("--keep", min=1, help="Checkpoints that stay.", rich_help_panel=RUN)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.", rich_help_panel=RUN)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=RUN)]
Minutes = Annotated[
    float, typer.Option("--minutes", help="Stop after so many, with a checkpoint.", rich_help_panel=RUN)
]


@app.command()
def prepare(
    videos: Annotated[list[Path], typer.Argument(metavar="FOLDER…", help="Folders of videos, or videos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the dataset; an older one goes on.")],
    size: Annotated[int, typer.Option("--size", help="Side of the face crops, px.")] = 512,
    picture: Annotated[
        str,
        typer.Option(
            "--picture",
            help="Kind of the frames: jpg, webp, png.",
            autocompletion=completion.words("jpg", "webp", "png"),
        ),
    ] = "jpg",
    shortest: Annotated[int, typer.Option("--shortest", help="Leave out shots of fewer frames.")] = 16,
    smallest_face: Annotated[int, typer.Option("--smallest-face", help="Leave out smaller faces, px.")] = 96,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Videos at the same time.")] = 1,
    as_json: PlainJson = False,
    quiet: PlainQuiet = False,
) -> None:
    """Cut the faces out of videos and find their landmarks.

    People and licences are taken from a manifest.csv (columns file, subject, licence) in a folder that has one.
    """
    check_output_folder(output)
    from animate.train_prepare import PrepareConfig
    from animate.train_prepare import prepare as build

    from .console import Progress, err_console

    config = PrepareConfig(size, picture, shortest, smallest_face)
    progress = Progress(quiet)
    try:
        summary = build(videos, output, config, workers, lambda items, total: progress.follow(items, "videos", total))
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: the same command goes on with what is in {output}.") from None
    if as_json:
        print(json.dumps({"folder": str(output), **asdict(summary)}, indent=2, ensure_ascii=False))
    if not quiet:
        for sentence in summary.skipped:
            err_console().print(f"left out: {sentence}", markup=False)
        err_console().print(f"{output}: {summary.clips} clips, {summary.frames} frames", markup=False)


@app.command()
def start(
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write.")],
    unet: Annotated[Path, typer.Option("--unet", help="Folder of Stable Diffusion 1.5's UNet (diffusers).")],
    image_encoder: Annotated[
        Path, typer.Option("--image-encoder", help="Folder of the image encoder (CLIP ViT-L/14 with projection).")
    ],
    vae: Annotated[Path, typer.Option("--vae", help="Folder of the autoencoder (sd-vae-ft-mse).")],
    as_json: PlainJson = False,
    quiet: PlainQuiet = False,
) -> None:
    """Make the model folder that training from Stable Diffusion begins with."""
    check_output_folder(output)
    from animate.train_base import start_from_stable_diffusion

    from .console import err_console

    start_from_stable_diffusion(unet, image_encoder, vae, output)
    if as_json:
        print(json.dumps({"folder": str(output)}, indent=2))
    if not quiet:
        err_console().print(f"{output}: train it with `mien train image`", markup=False)


@app.command(cls=renamed({"--style": "--map-style"}))
def image(
    data: Data,
    base: Base,
    output: Run,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the whole stage.")] = 300_000,
    batch: Batch = 2,
    accumulate: Accumulate = 1,
    size: Size = 512,
    style: Style = "follow-your-emoji",
    learning_rate: Rate = 1e-5,
    warmup: Warmup = 500,
    snr_gamma: Gamma = 5.0,
    noise_offset: Offset = 0.05,
    uncond_ratio: Uncond = 0.1,
    facial: Facial = True,
    ema: Ema = 0.0,
    gradient_checkpointing: Checkpointing = True,
    eight_bit_adam: EightBit = False,
    precision: Precision = "auto",
    device: Device = "auto",
    workers: Workers = 0,
    seed: Seed = 0,
    resume: Resume = False,
    save_every: SaveEvery = 1000,
    keep: Keep = 2,
    minutes: Minutes = 1e9,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stage 1: image pairs; everything learns but the motion modules."""
    _train(dict(locals()), "image", None)


@app.command(cls=renamed({"--style": "--map-style"}))
def motion(
    data: Data,
    base: Base,
    output: Run,
    motion_from: Annotated[
        Path | None, typer.Option("--motion-from", help="Model folder whose motion modules are the start.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the whole stage.")] = 40_000,
    frames: Annotated[int, typer.Option("--frames", help="Frames of a clip.")] = 16,
    longest_stride: Annotated[
        int, typer.Option("--longest-stride", help="Clips of every frame up to every so-many-th.")
    ] = 2,
    batch: Batch = 1,
    accumulate: Accumulate = 1,
    size: Size = 512,
    style: Style = "follow-your-emoji",
    learning_rate: Rate = 1e-5,
    warmup: Warmup = 500,
    snr_gamma: Gamma = 5.0,
    noise_offset: Offset = 0.05,
    uncond_ratio: Uncond = 0.1,
    facial: Facial = True,
    ema: Ema = 0.0,
    gradient_checkpointing: Checkpointing = True,
    eight_bit_adam: EightBit = False,
    precision: Precision = "auto",
    device: Device = "auto",
    workers: Workers = 0,
    seed: Seed = 0,
    resume: Resume = False,
    save_every: SaveEvery = 1000,
    keep: Keep = 2,
    minutes: Minutes = 1e9,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stage 2: clips; the motion modules learn, all else stays."""
    arguments = dict(locals())
    _train(arguments, "motion", arguments.pop("motion_from"))


@app.command()
def config(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(CONFIGS)}.", autocompletion=completion.words(*CONFIGS))
    ] = CONFIGS[0],
) -> None:
    """Print where an accelerate configuration lies.

    accelerate launch --config_file "$(mien train config fsdp)" -m ui.cli train image …
    """
    if name not in CONFIGS:
        raise OptionError(f"Unknown configuration {name!r}: choose from {', '.join(CONFIGS)}.")
    import animate

    print(Path(animate.__file__).parent / "configs" / f"{name}.yaml")


def _train(arguments: dict, stage: str, motion_from: Path | None) -> None:
    """Splits the options into the recipe's and the run's, and trains."""
    from animate.train_recipe import StageConfig
    from animate.train_stages import StageTrainer, last_checkpoint

    from .console import err_console

    data, base, output = (arguments.pop(name) for name in ("data", "base", "output"))
    as_json, quiet = arguments.pop("as_json"), arguments.pop("quiet")
    machine = {name: arguments.pop(name) for name in ("precision", "device", "workers")}
    loop = {name: arguments.pop(name) for name in ("resume", "save_every", "keep", "minutes")}
    recipe = StageConfig(stage=stage, **arguments)
    check_output_folder(output)
    trainer = StageTrainer(data, base, output, recipe, motion_from, **machine)
    try:
        step = trainer.train(**loop, quiet=quiet)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted at step {trainer.step}: the same command with --resume goes on from the last checkpoint."
        ) from None
    if trainer.main:
        found = last_checkpoint(output)
        if not quiet:
            err_console().print(f"step {step} of {recipe.steps}: {found / 'pipeline'}", markup=False)
        if as_json:
            print(json.dumps({"step": step, "steps": recipe.steps, "model": str(found / "pipeline")}, indent=2))
    trainer.accelerator.end_training()
