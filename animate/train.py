"""Trains `mini` from a pack of windows (see `animate.dataset`).

    python -m animate.train PACK --run runs/mini --steps 20000 [--validation PACK] [--resume]

x0-prediction at random noise levels, half of them pure noise (the only level that a one-step sampler sees), EMA of
the weights, a checkpoint every `--save-every` steps that `--resume` goes on from, and a validation strip (base,
prediction, truth) as PNG beside the figures in `log.jsonl`. Learning rate: warm-up, constant, linear decay over the
last `decay` share of the steps.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from animate.dataset import CHANNELS, Pack
from animate.expression import FEATURES, mirror_features
from animate.losses import facial_loss, facial_weights
from animate.models.expression_tokens import ExpressionTokens
from animate.models.guider import LandmarkGuider
from animate.models.unet import LandmarkUNet
from animate.pipelines.residual import predict_clean, residual_condition

PATCH = 4
LATENT = 3 * PATCH**2
DEFAULT_STEPS = 2


@dataclass(frozen=True)
class TrainConfig:
    """What a run needs to be repeated; stored in each checkpoint.

    `mouths`, `eyes`: windows of each kind in a batch (both eyes count as one `eyes` window pair).
    """

    steps: int = 20000
    mouths: int = 12
    eyes: int = 10
    learning_rate: float = 4e-4
    warmup: int = 200
    decay: float = 0.3
    weight_decay: float = 0.01
    ema: float = 0.999
    pure_noise: float = 0.5
    seed: int = 0
    channels: tuple[int, ...] = (48, 96, 144)
    layers: int = 1


def build_networks(config: TrainConfig) -> torch.nn.ModuleDict:
    """`mini`'s learned components, freshly initialised; the residual is zero at first."""
    levels = len(config.channels)
    plain = ("DownBlock3D",) * (levels - 1)
    unet = LandmarkUNet(
        in_channels=LATENT,
        out_channels=LATENT,
        condition_channels=2 * LATENT + PATCH**2,
        down_block_types=(*plain, "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", *(("UpBlock3D",) * (levels - 1))),
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        num_attention_heads=4,
        cross_attention_dim=128,
        image_embedding_dim=None,
        norm_num_groups=16,
        use_motion_module=False,
        zero_init_output=True,
    )
    guider = LandmarkGuider(config.channels[0], 3, block_out_channels=(32, 64), strides=(1,), patch_size=PATCH)
    tokens = ExpressionTokens(feature_dim=2 * FEATURES, num_tokens=4, token_dim=128, hidden_dim=128)
    return torch.nn.ModuleDict({"unet": unet, "guider": guider, "expression_tokens": tokens})


def alphas_cumprod() -> torch.Tensor:
    """(1000,) of the shipped scheduler: scaled-linear betas with zero terminal SNR."""
    from animate.pipelines.scheduler import mini_scheduler

    return mini_scheduler().alphas_cumprod


def split(windows: torch.Tensor) -> dict[str, torch.Tensor]:
    """(B, S, S, 13) uint8 of a pack to named float (B, C, S, S): pictures in [-1, 1], gate and map in [0, 1]."""
    parts = torch.split(windows.permute(0, 3, 1, 2).float() / 255, list(CHANNELS.values()), dim=1)
    named = dict(zip(CHANNELS, parts, strict=True))
    for key in ("base", "target", "reference"):
        named[key] = named[key] * 2 - 1
    return named


def augment(parts: dict[str, torch.Tensor], rng: torch.Generator) -> dict[str, torch.Tensor]:
    """The same light for base, target and reference: exposure, white balance, gamma, saturation."""
    batch = parts["base"].shape[0]
    device = parts["base"].device

    def uniform(low: float, high: float, channels: int = 1) -> torch.Tensor:
        return (torch.rand(batch, channels, 1, 1, generator=rng) * (high - low) + low).to(device)

    gain = uniform(0.65, 1.25) * uniform(0.9, 1.1, 3)
    gamma, saturation = uniform(0.8, 1.25), uniform(0.4, 1.3)
    saturation = saturation * (uniform(0, 1) > 0.15)  # statues and old photos have no colour
    for key in ("base", "target", "reference"):
        picture = (parts[key] * 0.5 + 0.5).clamp(0, 1) ** gamma * gain
        grey = picture.mean(1, keepdim=True)
        parts[key] = (grey + (picture - grey) * saturation).clamp(0, 1) * 2 - 1
    return parts


def denoise(networks, parts, features, noisy, timestep):
    """Predicted clean latents (B, 48, 1, h, w) for named window tensors; also the latents it should give."""
    base, gate, reference = (
        torch.nn.functional.pixel_unshuffle(parts[k], PATCH).unsqueeze(2) for k in ("base", "gate", "reference")
    )
    tokens = networks["expression_tokens"](features.unsqueeze(1)).flatten(0, 1)
    landmark_features = networks["guider"](parts["map"].unsqueeze(2))
    output = networks["unet"](
        noisy,
        timestep,
        encoder_hidden_states=tokens,
        landmark_features=landmark_features,
        condition=residual_condition(base, gate, reference),
    ).sample
    return predict_clean(output, base, gate)


def clean_latents(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    """What is to be learned: the target inside the gate, the base outside."""
    picture = parts["base"] + parts["gate"] * (parts["target"] - parts["base"])
    return torch.nn.functional.pixel_unshuffle(picture, PATCH).unsqueeze(2)


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


def training_step(networks, windows, features, alphas, config, rng) -> torch.Tensor:
    """Loss of one batch of windows of one size."""
    parts = augment(split(windows), rng)
    batch = len(windows)
    clean = clean_latents(parts)
    timestep = torch.randint(0, 1000, (batch,), generator=rng)
    timestep[torch.rand(batch, generator=rng) < config.pure_noise] = 999
    noise = torch.randn(clean.shape, generator=rng).to(clean.device)
    level = alphas[timestep].view(-1, 1, 1, 1, 1).to(clean.device)
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    predicted = denoise(networks, parts, features, noisy, timestep.to(clean.device))
    picture, truth = (torch.nn.functional.pixel_shuffle(x.squeeze(2).float(), PATCH) for x in (predicted, clean))
    # The gate is 1 over the opening and a little beyond: that core is the expression mask, the rest the facial mask.
    weights = parts["gate"] * facial_weights((parts["gate"] > 0.9).float())
    return facial_loss(picture, truth, weights)


def learning_rate(step: int, config: TrainConfig) -> float:
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    left = (config.steps - step) / max(1, config.decay * config.steps)
    return config.learning_rate * min(1.0, max(left, 0.0) + 1e-3)


@torch.no_grad()
def validate(networks, pack: Pack, alphas, count: int = 192, steps: int = 1, strip: Path | None = None) -> dict:
    """Error inside the gate on a fixed choice of windows: {"mouth", "eyes"} of the network and of its base."""
    rows = np.linspace(0, len(pack) - 1, min(count, len(pack))).astype(int)
    figures, sheets = {}, []
    for name in ("mouth", "right_eye"):
        windows = torch.from_numpy(np.array(pack.windows[name][rows]))
        features = torch.from_numpy(np.array(pack.features[rows]))
        outputs = []
        for start in range(0, len(rows), 32):
            parts = split(windows[start : start + 32])
            shape = (1, LATENT, 1, parts["base"].shape[2] // PATCH, parts["base"].shape[3] // PATCH)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).expand(
                len(parts["base"]), *shape[1:]
            )
            sample = noise
            for i in range(steps):
                t = round(999 * (1 - i / steps))
                clean = denoise(networks, parts, features[start : start + 32], sample, torch.full((len(sample),), t))
                clean = clean.float()
                following = round(999 * (1 - (i + 1) / steps))
                if i + 1 < steps:
                    a, b = alphas[t], alphas[following]
                    eps = (sample - a.sqrt() * clean) / (1 - a).sqrt()
                    sample = b.sqrt() * clean + (1 - b).sqrt() * eps
            outputs.append(torch.nn.functional.pixel_shuffle(clean.squeeze(2), PATCH))
        parts = split(windows)
        output, gate = torch.cat(outputs), parts["gate"]
        weight = gate.sum() * 3

        def error(picture, gate=gate, weight=weight, parts=parts):
            return float((gate * (picture - parts["target"]).abs()).sum() / weight / 2)

        figures[name], figures[name + "_base"] = error(output), error(parts["base"])
        if strip is not None:
            chosen = torch.arange(0, len(rows), max(1, len(rows) // 14))[:14]
            grid = [torch.cat(list(x[chosen]), dim=2) for x in (parts["base"], output, parts["target"])]
            sheet = ((torch.cat(grid, dim=1) * 0.5 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
            sheets.append(sheet)
    if strip is not None:
        width = max(s.shape[1] for s in sheets)
        sheets = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in sheets]
        cv2.imwrite(str(strip), np.vstack(sheets)[..., ::-1])
    return figures


def save(path: Path, networks, ema, optimizer, step: int, config: TrainConfig, rng, batches) -> None:
    """Writes the checkpoint beside its final name and moves it there, so that a killed run keeps the last one."""
    state = {
        "networks": networks.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "config": asdict(config),
        "rng": rng.get_state(),
        "numpy_rng": json.dumps(batches.rng.bit_generator.state),
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def train(packs, run: Path, config: TrainConfig, validation: Pack | None, resume: bool, every: int, minutes: float):
    """Runs until `config.steps` or `minutes` are over; returns the last step."""
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
                save(checkpoint, plain, ema, optimizer, step, config, rng, batches)
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


def export(checkpoint: Path, folder: Path) -> None:
    """The EMA weights of a checkpoint as a pipeline folder (safetensors in half precision)."""
    from diffusers.training_utils import EMAModel

    from animate.pipelines.landmark import LandmarkAnimationPipeline
    from animate.pipelines.scheduler import mini_scheduler

    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in state["config"].items()}
    networks = build_networks(TrainConfig(**fields))
    networks.load_state_dict(state["networks"])
    ema = EMAModel(networks.parameters())
    ema.load_state_dict(state["ema"])
    ema.copy_to(networks.parameters())
    from animate.models.codec import SpaceToDepthCodec

    pipeline = LandmarkAnimationPipeline(
        vae=SpaceToDepthCodec(PATCH),
        scheduler=mini_scheduler(),
        default_num_inference_steps=DEFAULT_STEPS,
        default_guidance_scale=1.0,
        **{name: network.half() for name, network in networks.items()},
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def main(
    packs: list[Path],
    run: Path = Path("runs/mini"),
    steps: int = 20000,
    validation: Path | None = None,
    resume: bool = False,
    save_every: int = 500,
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
    done = train([Pack(p) for p in packs], run, config, held_out, resume, save_every, minutes)
    print(f"step {done} of {steps}; checkpoint in {run}")
    if export_to:
        export(run / "checkpoint.pt", export_to)


if __name__ == "__main__":
    import typer

    typer.run(main)
