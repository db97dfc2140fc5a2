"""What `mini` is and what it learns: its networks, the tensors of a batch, the loss of one step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from animate.dataset import CHANNELS
from animate.expression import FEATURES
from animate.losses import facial_loss, facial_weights
from animate.models.expression_tokens import ExpressionTokens
from animate.models.guider import LandmarkGuider
from animate.models.unet import LandmarkUNet
from animate.pipelines.residual import predict_clean, residual_condition

PATCH = 4
LATENT = 3 * PATCH**2
DEFAULT_STEPS = 4


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
    base, gate, reference = (F.pixel_unshuffle(parts[k], PATCH).unsqueeze(2) for k in ("base", "gate", "reference"))
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
    return F.pixel_unshuffle(picture, PATCH).unsqueeze(2)


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
    picture, truth = (F.pixel_shuffle(x.squeeze(2).float(), PATCH) for x in (predicted, clean))
    # The gate is 1 over the opening and a little beyond: that core is the expression mask, the rest the facial mask.
    weights = parts["gate"] * facial_weights((parts["gate"] > 0.9).float())
    return facial_loss(picture, truth, weights)


def learning_rate(step: int, config: TrainConfig) -> float:
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    left = (config.steps - step) / max(1, config.decay * config.steps)
    return config.learning_rate * min(1.0, max(left, 0.0) + 1e-3)
