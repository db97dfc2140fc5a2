"""Trains the full size in two stages: image pairs, then the motion modules (AniPortrait's recipe, arXiv 2403.17694).

    RUN/log.jsonl                    loss and speed
    RUN/checkpoint-000500/           what a run goes on from: accelerate's state, state.json, ema.safetensors
    RUN/checkpoint-000500/pipeline/  the model so far, a folder for `LandmarkAnimationPipeline.from_pretrained`

Stage "image" trains UNet (without motion modules), reference network and guider on pairs of pictures; stage "motion"
trains the motion modules alone on clips. VAE and image encoder never learn. How many processes there are, and whether
they copy (DDP) or share out (FSDP, DeepSpeed) the weights, is accelerate's configuration: see `animate/configs`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from animate.errors import OptionError
from animate.recipe import learning_rate
from animate.train_base import export_pipeline, load_base
from animate.train_data import SampleNumbers, TrainingClips, loader
from animate.train_recipe import StageConfig, StageNetworks, draws, stage_loss

PRECISIONS = ("auto", "no", "bf16", "fp16")


class StageTrainer:
    """One stage on one process of however many.

    Args:
        data: folder of `mien train prepare`.
        base: pipeline folder that training starts from, or a run's folder (its last checkpoint).
        run: folder for checkpoints and the log.
        config: what is trained, and how.
        motion_from: pipeline folder whose motion modules stage "motion" starts from; None: base's, or fresh ones.
        precision: auto (accelerate's configuration, else bf16 on a GPU), no, bf16 or fp16.
        device: auto or cpu. workers: processes that read samples.

    Raises OptionError, MediaError or WeightsError, a sentence each, for what is not there or does not fit.
    """

    def __init__(
        self,
        data: Path,
        base: Path,
        run: Path,
        config: StageConfig,
        motion_from: Path | None = None,
        precision: str = "auto",
        device: str = "auto",
        workers: int = 0,
    ):
        self.run, self.config, self.workers, self.step = Path(run), config, workers, 0
        self.data = TrainingClips(data, config.frames, config.size, config.style, config.longest_stride, config.seed)
        self.accelerator = make_accelerator(config, precision, device)
        torch.manual_seed(config.seed)  # fresh motion modules are the same on every process
        self.pipeline = load_base(base, config.stage, motion_from)
        self.pipeline.register_to_config(landmark_style=config.style)
        parts = (self.pipeline.unet, self.pipeline.reference_network, self.pipeline.guider)
        networks = StageNetworks(*parts, config.stage).train()
        if config.gradient_checkpointing:
            networks.unet.enable_gradient_checkpointing()
            networks.reference_network.enable_gradient_checkpointing()
        self.names = [name for name, parameter in networks.named_parameters() if parameter.requires_grad]
        self.networks, self.optimizer = self.accelerator.prepare(networks, make_optimizer(networks, config))
        self.pipeline.vae.to(self.accelerator.device).requires_grad_(False)
        self.pipeline.image_encoder.to(self.accelerator.device).requires_grad_(False)
        self.ema = self._make_ema()

    @property
    def main(self) -> bool:
        return self.accelerator.is_main_process

    def _learning(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.networks.parameters() if parameter.requires_grad]

    def _make_ema(self):
        """The averaged weights, on the main process alone; None without."""
        if not self.config.ema:
            return None
        if self.accelerator.distributed_type.name in ("FSDP", "DEEPSPEED"):
            raise OptionError(
                "Averaged weights (--ema) need whole copies of the networks: leave --ema out, or use DDP."
            )
        from diffusers.training_utils import EMAModel

        return EMAModel(self._learning(), decay=self.config.ema, use_ema_warmup=True, power=0.75) if self.main else None

    def train(
        self, resume: bool = False, save_every: int = 1000, keep: int = 2, minutes: float = 1e9, quiet: bool = False
    ) -> int:
        """Runs until `config.steps` or `minutes` are over; returns the last step.

        resume: go on from the run's last checkpoint where there is one. save_every: steps between checkpoints, of which
        the last `keep` stay. quiet: show no progress.
        """
        config, accelerator = self.config, self.accelerator
        self._begin(resume)
        count = (config.steps - self.step) * config.accumulate
        numbers = SampleNumbers(
            self.step * config.accumulate, count, config.batch, accelerator.process_index, accelerator.num_processes
        )
        samples = iter(loader(self.data, numbers, self.workers))
        began, running = time.time(), None
        with self._progress(quiet) as tell:
            while self.step < config.steps:
                loss = self._one_step(samples)
                self.step += 1
                loss, out_of_time = self._agree(loss, time.time() - began >= 60 * minutes)
                running = loss if running is None else 0.95 * running + 0.05 * loss
                last = self.step == config.steps or out_of_time
                if self.step % save_every == 0 or last:
                    self.save(keep)
                if self.step % 10 == 0 or last:
                    self._log({"step": self.step, "loss": running, "seconds": round(time.time() - began, 1)})
                tell(running)
                if out_of_time:
                    break
        return self.step

    def _begin(self, resume: bool) -> None:
        found = last_checkpoint(self.run)
        if resume and found:
            self.load(found)
        elif found:
            raise OptionError(f"{self.run} holds a run already: add --resume to go on with it, or give a new folder.")
        if self.main:
            self.run.mkdir(parents=True, exist_ok=True)
            for half_written in self.run.glob(".checkpoint-*.part"):
                shutil.rmtree(half_written)
        self.accelerator.wait_for_everyone()

    def _one_step(self, samples: Iterator[dict[str, torch.Tensor]]) -> float:
        """One step of the optimizer; the mean loss of this process's samples."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        total = 0.0
        for _ in range(self.config.accumulate):
            batch = {name: value.to(self.accelerator.device) for name, value in next(samples).items()}
            with self.accelerator.accumulate(self.networks):
                loss = self.loss(batch)
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self._learning(), self.config.largest_gradient)
                self.optimizer.step()
                self.optimizer.zero_grad()
            total += float(loss.detach())
        if self.ema is not None:
            self.ema.step(self._learning())
        return total / self.config.accumulate

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of a batch of `TrainingClips` on the device."""
        with torch.no_grad():
            clean = self.pipeline.encode_clip(batch["clip"])
            reference = self.pipeline.encode_clip(batch["reference"][:, :, None])[:, :, 0]
            tokens = self.pipeline.encode_image(batch["reference"])
        drawn = draws(self.config, batch["index"], tuple(clean.shape[1:]))
        with self.accelerator.autocast():
            scheduler = self.pipeline.scheduler
            return stage_loss(self.networks, batch, clean, reference, tokens, drawn, scheduler, self.config)

    def save(self, keep: int = 2) -> Path:
        """Writes a checkpoint with its pipeline beside its final name and moves it there; removes all but `keep`."""
        folder = self.run / f"checkpoint-{self.step:06d}"
        part = self.run / f".{folder.name}.part"
        if self.main:
            shutil.rmtree(part, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(part))
        state = self.accelerator.get_state_dict(self.networks)
        if self.main:
            facts = {"step": self.step, "config": asdict(self.config), "processes": self.accelerator.num_processes}
            if self.ema is not None:
                from safetensors.torch import save_file

                facts["ema_step"] = self.ema.optimization_step
                averages = dict(zip(self.names, (x.cpu() for x in self.ema.shadow_params), strict=True))
                save_file(averages, part / "ema.safetensors")
                state = state | averages
            half = self.accelerator.mixed_precision != "no"
            export_pipeline(self.pipeline, state, part / "pipeline", torch.float16 if half else torch.float32)
            (part / "state.json").write_text(json.dumps(facts, indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
            for old in checkpoints(self.run)[:-keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()
        return folder

    def load(self, folder: Path) -> None:
        """Goes back to a checkpoint. Raises OptionError where it was made by another recipe."""
        facts = json.loads((folder / "state.json").read_text())
        wanted = asdict(self.config)
        other = [name for name in wanted if name != "steps" and facts["config"].get(name) != wanted[name]]
        if facts["processes"] != self.accelerator.num_processes:
            other.append(f"processes ({facts['processes']})")
        if other:
            raise OptionError(f"{folder} was made with another {', '.join(other)}: give the same, or a new run folder.")
        self.accelerator.load_state(str(folder))
        self.step = facts["step"]
        if self.ema is not None:
            from safetensors.torch import load_file

            averages = load_file(folder / "ema.safetensors")
            for name, value in zip(self.names, self.ema.shadow_params, strict=True):
                value.copy_(averages[name])
            self.ema.optimization_step = facts["ema_step"]

    def _agree(self, loss: float, out_of_time: bool) -> tuple[float, bool]:
        """The mean loss and the main process's clock, the same on every process: all must stop at one step."""
        told = torch.tensor([loss, float(out_of_time and self.main)], device=self.accelerator.device)
        total = self.accelerator.reduce(told, "sum").tolist()
        return total[0] / self.accelerator.num_processes, total[1] > 0

    def _log(self, record: dict) -> None:
        if self.main:
            with (self.run / "log.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")

    @contextmanager
    def _progress(self, quiet: bool):
        from rich.console import Console
        from rich.progress import Progress

        shown = self.main and not quiet and sys.stderr.isatty()
        with Progress(console=Console(stderr=True), disable=not shown) as progress:
            bar = progress.add_task("training", total=self.config.steps, completed=self.step)
            yield lambda loss: progress.update(bar, completed=self.step, description=f"loss {loss:.4f}")


def make_accelerator(config: StageConfig, precision: str, device: str):
    """accelerate's `Accelerator`, configured by its launcher where the arguments (see `StageTrainer`) leave that open.

    Raises OptionError for an unknown word, or where accelerate is missing.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"Unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}.")
    if device not in ("auto", "cpu"):
        raise OptionError(f"Unknown training device {device!r}: choose auto (accelerate decides) or cpu.")
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise OptionError("Training needs accelerate: pip install 'mien[train]'.") from error
    chosen = None if precision == "auto" else precision
    if chosen is None and "ACCELERATE_MIXED_PRECISION" not in os.environ:
        chosen = "bf16" if device == "auto" and torch.cuda.is_available() else "no"
    accelerator = Accelerator(
        mixed_precision=chosen,
        gradient_accumulation_steps=config.accumulate,
        cpu=device == "cpu",
    )
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if plugin is not None:
        # Our loader shares the samples out itself, so that DeepSpeed never sees it.
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = config.batch
    return accelerator


def make_optimizer(networks: torch.nn.Module, config: StageConfig) -> torch.optim.Optimizer:
    """AdamW of what learns, with 8-bit states where asked for. Raises OptionError where bitsandbytes is missing."""
    learning = [parameter for parameter in networks.parameters() if parameter.requires_grad]
    kind = torch.optim.AdamW
    if config.eight_bit_adam:
        try:
            from bitsandbytes.optim import AdamW8bit as kind
        except ImportError as error:
            raise OptionError(
                "8-bit Adam needs bitsandbytes: pip install bitsandbytes, or leave --eight-bit-adam out."
            ) from error
    return kind(learning, lr=config.learning_rate, weight_decay=config.weight_decay)


def checkpoints(run: Path) -> list[Path]:
    """A run's complete checkpoints, oldest first."""
    return sorted(path.parent for path in Path(run).glob("checkpoint-*/state.json"))


def last_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run."""
    return (checkpoints(run) or [None])[-1]
