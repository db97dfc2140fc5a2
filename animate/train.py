"""Trains `mini` from a pack of windows (see `animate.dataset`).

    python -m animate.train PACK --run runs/mini --steps 20000 [--validation PACK] [--resume]

x0-prediction at random noise levels, half of them pure noise (the only level that a one-step sampler sees), EMA of
the weights, a checkpoint every `--save-every` steps that `--resume` goes on from, and a validation strip (base,
prediction, truth) as PNG beside the figures in `log.jsonl`. Learning rate: warm-up, constant, linear decay over the
last `decay` share of the steps.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from animate.dataset import Pack
from animate.export import export
from animate.expression import mirror_features
from animate.recipe import (
    TrainConfig,
    alphas_cumprod,
    build_networks,
    learning_rate,
    training_step,
)
from animate.validation import validate
from animate.whole_file import whole_file


class Batches:
    """Random batches of a pack: mouths (B, 128, 128) and eyes (B, 64, 64) with their expression vectors."""

    def __init__(self, packs: list[Pack], config: TrainConfig):
        self.packs, self.config = packs, config
        self.rng = np.random.default_rng(config.seed)
        self.shares = np.array([len(p) for p in packs], float)
        self.weights = [_person_weights(p.subjects) for p in packs]

    def draw(self, name: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        pack_index = self.rng.choice(len(self.packs), p=self.shares / self.shares.sum())
        pack = self.packs[pack_index]
        rows = np.sort(self.rng.choice(len(pack), count, p=self.weights[pack_index]))
        features = np.array(pack.features[rows])
        if name == "left_eye":
            features = mirror_features(features)
        return torch.from_numpy(np.array(pack.windows[name][rows])), torch.from_numpy(features)

    def mouths(self):
        return self.draw("mouth", self.config.mouths)

    def eyes(self):
        halves = [self.draw(name, self.config.eyes) for name in ("right_eye", "left_eye")]
        return tuple(torch.cat(parts) for parts in zip(*halves, strict=True))


def _person_weights(subjects: np.ndarray) -> np.ndarray:
    """Each person counts with the square root of the number of samples, so that long clips do not drown the rest."""
    _, inverse, counts = np.unique(subjects, return_inverse=True, return_counts=True)
    weights = counts[inverse] ** -0.5
    return weights / weights.sum()


def save(path: Path, networks, ema, optimizer, step: int, config: TrainConfig, rng, batches, keep: bool) -> None:
    """Writes the checkpoint beside its final name and moves it there, so that a killed run keeps the last one; `keep`
    leaves a copy with the step in its name."""
    state = {
        "networks": networks.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "config": asdict(config),
        "rng": rng.get_state(),
        "numpy_rng": json.dumps(batches.rng.bit_generator.state),
    }
    with whole_file(path) as part:
        torch.save(state, part)
        if keep:
            shutil.copyfile(part, path.with_name(f"{path.stem}_{step:06d}.pt"))


def train(
    packs,
    run: Path,
    config: TrainConfig,
    validation: Pack | None,
    resume: bool,
    every: int,
    minutes: float,
    keep: int = 0,
):
    """Runs until `config.steps` or `minutes` are over, saves every `every` steps and keeps a copy every `keep`; returns
    the last step."""
    from accelerate import Accelerator
    from diffusers.training_utils import EMAModel
    from rich.progress import Progress

    run.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision="bf16")
    torch.manual_seed(config.seed)
    rng = torch.Generator().manual_seed(config.seed)
    networks = build_networks(config)
    optimizer = torch.optim.AdamW(networks.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    ema = EMAModel(networks.parameters(), decay=config.ema, use_ema_warmup=True, power=0.75)
    batches = Batches(packs, config)
    checkpoint, step = run / "checkpoint.pt", 0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        networks.load_state_dict(state["networks"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        rng.set_state(state["rng"])
        batches.rng.bit_generator.state = json.loads(state["numpy_rng"])
    networks, optimizer = accelerator.prepare(networks, optimizer)
    ema.to(accelerator.device)
    alphas, log, began, running = alphas_cumprod(), (run / "log.jsonl").open("a"), time.time(), None
    plain = accelerator.unwrap_model(networks)
    with Progress(disable=not (accelerator.is_main_process and sys.stdout.isatty())) as progress:
        bar = progress.add_task("training", total=config.steps, completed=step)
        while step < config.steps and time.time() - began < 60 * minutes:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            optimizer.zero_grad(set_to_none=True)
            losses = []
            for draw in (batches.mouths, batches.eyes):
                windows, features = (x.to(accelerator.device) for x in draw())
                with accelerator.autocast():
                    loss = training_step(networks, windows, features, alphas, config, rng)
                accelerator.backward(loss)
                losses.append(float(loss.detach()))
            accelerator.clip_grad_norm_(networks.parameters(), 1.0)
            optimizer.step()
            ema.step(networks.parameters())
            step += 1
            running = losses if running is None else [0.98 * a + 0.02 * b for a, b in zip(running, losses, strict=True)]
            progress.update(bar, completed=step, description=f"mouth {running[0]:.4f} eyes {running[1]:.4f}")
            if step % 50 == 0:
                print(
                    f"step {step} {time.time() - began:.0f} s mouth {running[0]:.4f} eyes {running[1]:.4f}",
                    flush=True,
                )
            finished = step == config.steps or time.time() - began >= 60 * minutes
            if (step % every == 0 or finished) and accelerator.is_main_process:
                kept = bool(keep) and step % keep == 0
                save(checkpoint, plain, ema, optimizer, step, config, rng, batches, kept)
                record = {
                    "step": step,
                    "mouth_loss": running[0],
                    "eyes_loss": running[1],
                    "seconds": time.time() - began,
                }
                if validation is not None:
                    ema.store(plain.parameters())
                    ema.copy_to(plain.parameters())
                    with accelerator.autocast():
                        record |= validate(plain, validation, alphas, strip=run / f"strip_{step:06d}.png")
                    ema.restore(plain.parameters())
                log.write(json.dumps(record) + "\n")
                log.flush()
    return step


def main(
    packs: list[Path],
    run: Path = Path("runs/mini"),
    steps: int = 20000,
    validation: Path | None = None,
    resume: bool = False,
    save_every: int = 500,
    keep_every: int = 0,
    minutes: float = 1e9,
    seed: int = 0,
    mouths: int = 12,
    eyes: int = 10,
    learning_rate: float = 4e-4,
    threads: int = 0,
    export_to: Path | None = None,
) -> None:
    """Train `mini`; `--export-to FOLDER` afterwards writes the pipeline folder."""
    if threads:
        torch.set_num_threads(threads)
    config = TrainConfig(steps=steps, seed=seed, mouths=mouths, eyes=eyes, learning_rate=learning_rate)
    held_out = Pack(validation) if validation else None
    done = train([Pack(p) for p in packs], run, config, held_out, resume, save_every, minutes, keep_every)
    print(f"step {done} of {steps}; checkpoint in {run}")
    if export_to:
        export([run / "checkpoint.pt"], export_to)


if __name__ == "__main__":
    import typer

    typer.run(main)
