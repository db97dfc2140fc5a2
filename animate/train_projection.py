"""Trains `MotionProjection`: what the expression encoder sees in a frame, from the motion that was tracked in it.

    python -m animate.train_projection pairs PAIRS CLIP...           each clip's motion and features, a folder a clip
    python -m animate.train_projection train RUN PAIRS [--resume] [--export-to FOLDER]

A run checkpoints to RUN/checkpoint.pt and goes on from there, with --resume, as if it had never stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer
from torch.nn import functional as F

from animate.errors import MotionError, OptionError, WeightsError
from animate.expression_clip import ExpressionTrack, encode_clip
from animate.models.motion_projection import MotionProjection, motion_vectors
from animate.motion import Motion
from animate.whole_file import whole_file

if TYPE_CHECKING:
    from animate.faces import FaceTracker
    from animate.models.expression_encoder import ExpressionEncoder

MOTION, FEATURES, CHECKPOINT = "motion.safetensors", "features.safetensors", "checkpoint.pt"


@dataclass(frozen=True)
class ProjectionConfig:
    """steps, frames a step, learning rate (cosine decay to 0), weight decay, width of the network, noise added to the
    standardised motion, seed."""

    steps: int = 4000
    batch: int = 128
    rate: float = 1e-3
    weight_decay: float = 0.01
    width: int = 256
    noise: float = 0.05
    seed: int = 0


def make_pairs(clip: Path, out: Path, encoder: ExpressionEncoder, tracker: FaceTracker | None = None) -> int:
    """Writes the motion and the features of a clip's largest face to a folder; returns the number of its frames.

    Raises:
        MediaError, FaceError: the clip cannot be read, or shows no face.
    """
    from animate.faces import create_tracker
    from animate.media import VideoReader

    out.mkdir(parents=True, exist_ok=True)
    with VideoReader(clip) as reader:
        track = (tracker or create_tracker()).track(reader, reader.fps, max_faces=1, name=clip)[0]
    with VideoReader(clip) as reader:
        features = encode_clip(reader, track, encoder)
    Motion.from_track(track, source=clip.name).save(out / MOTION)
    features.save(out / FEATURES)
    return len(features)


def read_pairs(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 1441) motion vectors and (n, 554) features of all clips' frames in which the face was seen.

    Raises:
        MotionError: there are none, or the two files of a clip do not belong together.
    """
    vectors, features = [], []
    for path in sorted(Path(folder).rglob(FEATURES)):
        track, motion = ExpressionTrack.load(path), Motion.load(path.with_name(MOTION))
        if len(track) != len(motion):
            raise MotionError(f"{path.parent} has {len(motion)} frames of motion but {len(track)} of features.")
        seen = track.valid & motion.valid
        vectors.append(motion_vectors(motion.expression, motion.gaze, motion.rotation)[seen])
        features.append(track.features[seen].astype(np.float32))
    if not sum(map(len, vectors)):
        raise MotionError(f"{folder} holds no pairs of motion and features: make them with the command `pairs`.")
    return torch.from_numpy(np.concatenate(vectors)), torch.from_numpy(np.concatenate(features))


def projection_loss(network: MotionProjection, vectors: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Mean over head pose, eyes, emotion and mouth, which count alike, of the smooth error of standardised features."""
    wanted = (features - network.feature_mean) / network.feature_std
    errors = F.smooth_l1_loss(network.predict(vectors), wanted, reduction="none")
    return torch.stack([part.mean() for part in errors.split(tuple(network.config.feature_dims), dim=-1)]).mean()


def train(
    vectors: torch.Tensor,
    features: torch.Tensor,
    run: Path,
    config: ProjectionConfig,
    resume: bool = False,
    every: int = 500,
    until: int | None = None,
) -> MotionProjection:
    """The trained network; a checkpoint lies in `run`, and `log.jsonl` has the mean loss since the line before.

    Args:
        vectors, features: (n, 1441) and (n, 554).
        resume: go on from the checkpoint in `run`.
        every: steps between checkpoints. until: stop after this step, before the end.

    Raises:
        OptionError: the checkpoint is of another configuration or other data.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    draws = torch.Generator().manual_seed(config.seed)
    network = MotionProjection(in_dim=vectors.shape[1], hidden_dim=config.width)
    network.standardise(vectors, features)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    facts = f"{config} {tuple(vectors.shape)}"
    step = 0
    if resume and (run / CHECKPOINT).exists():
        state = torch.load(run / CHECKPOINT, weights_only=True)
        if state["facts"] != facts:
            raise OptionError(f"{run / CHECKPOINT} is of a run with other options or data: choose another folder.")
        step = state["step"]
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        draws.set_state(state["draws"])
    total, last = 0.0, config.steps if until is None else min(until, config.steps)
    network.train()
    while step < last:
        rows = torch.randint(len(vectors), (config.batch,), generator=draws)
        noise = config.noise * network.motion_std * torch.randn(config.batch, vectors.shape[1], generator=draws)
        loss = projection_loss(network, vectors[rows] + noise, features[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        total += float(loss.detach())
        if step % every == 0 or step == last:
            state = {"facts": facts, "step": step, "network": network.state_dict(), "draws": draws.get_state()}
            _save(run / CHECKPOINT, state | {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, "loss": total / ((step - 1) % every + 1)}) + "\n")
            total = 0.0
    return network.eval()


def add_to_pipeline(network: MotionProjection, folder: Path) -> None:
    """Puts the network into a saved pipeline's folder, in place of the one that it may have.

    Raises:
        WeightsError: the folder holds no expression pipeline.
    """
    index_path = Path(folder) / "model_index.json"
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{index_path} cannot be read: give the folder of an expression-driven model.") from error
    if index.get("_class_name") != "ExpressionPipeline":
        raise WeightsError(f"{folder} holds a {index.get('_class_name')}, not an ExpressionPipeline: give another one.")
    network.save_pretrained(Path(folder) / "motion_projection")
    index["motion_projection"] = [MotionProjection.__module__, MotionProjection.__name__]
    with whole_file(index_path) as part:
        part.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _save(path: Path, state: dict) -> None:
    with whole_file(path) as part:
        torch.save(state, part)


app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def pairs(out: Path, clips: list[Path], encoder: Annotated[Path | None, typer.Option()] = None) -> None:
    """Track and encode clips."""
    from animate.models.expression_encoder import load_encoder

    network = load_encoder(encoder)
    for clip in clips:
        print(f"{clip.name}: {make_pairs(clip, out / clip.stem, network)} frames")


@app.command("train")
def train_command(
    run: Path,
    pairs: Path,
    steps: int = ProjectionConfig.steps,
    seed: int = 0,
    resume: bool = False,
    export_to: Annotated[Path | None, typer.Option(help="A saved pipeline's folder that gets the network.")] = None,
) -> None:
    """Train the network."""
    vectors, features = read_pairs(pairs)
    network = train(vectors, features, run, ProjectionConfig(steps=steps, seed=seed), resume)
    network.save_pretrained(run / "motion_projection")
    if export_to is not None:
        add_to_pipeline(network, export_to)
    print(f"{len(vectors)} frames; the network is in {run / 'motion_projection'}")


if __name__ == "__main__":
    app()
