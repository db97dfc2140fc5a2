"""What one training step of the full size is: the networks that learn, what is drawn, and the loss.

v-prediction with min-SNR weights (Hang et al. 2023, arXiv 2303.09556), noise offset and dropped conditions as in
AniPortrait's recipe (arXiv 2403.17694), and Follow-Your-Emoji's facial fine-grained loss (arXiv 2406.01900, section
3.4) on the latents. `mini`'s own recipe is `animate.recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from animate.errors import OptionError
from animate.losses import facial_weights

STAGES = ("image", "motion")


@dataclass(frozen=True)
class StageConfig:
    """What a stage needs to be repeated; kept with each checkpoint. Defaults are AniPortrait's where it has them.

    stage: "image" (pairs; everything but the motion modules learns) or "motion" (clips; the motion modules alone).
    batch: samples on one process at once; a step is `batch * accumulate * processes` of them.
    frames, longest_stride: see `animate.train_data.TrainingClips`; image pairs have one frame.
    snr_gamma: bound of the min-SNR weights; 0 weighs every level alike. noise_offset: of each channel's mean.
    uncond_ratio: share of samples without reference and image tokens, which makes guidance possible.
    facial: whether the facial fine-grained loss weighs the face more.
    ema: decay of the averaged weights that are exported; 0 for none.
    Raises OptionError for what is not usable.
    """

    stage: str = "image"
    steps: int = 300_000
    batch: int = 2
    accumulate: int = 1
    size: int = 512
    frames: int = 1
    longest_stride: int = 1
    style: str = "follow-your-emoji"
    learning_rate: float = 1e-5
    warmup: int = 500
    decay: float = 0.1
    weight_decay: float = 0.01
    largest_gradient: float = 1.0
    snr_gamma: float = 5.0
    noise_offset: float = 0.05
    uncond_ratio: float = 0.1
    facial: bool = True
    ema: float = 0.0
    gradient_checkpointing: bool = True
    eight_bit_adam: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise OptionError(f"Unknown training stage {self.stage!r}: choose from {', '.join(STAGES)}.")
        if self.stage == "image" and self.frames != 1:
            raise OptionError(f"Image pairs have one frame, not {self.frames}: train clips with `mien train motion`.")
        if self.stage == "motion" and self.frames < 2:
            raise OptionError(f"Motion needs clips of 2 frames or more, not {self.frames}.")
        for name in ("steps", "batch", "accumulate", "longest_stride"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: it must be 1 or more.")
        for name in ("uncond_ratio", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name):g}: it must be at least 0 and less than 1.")
        if self.snr_gamma < 0 or self.noise_offset < 0 or self.learning_rate <= 0:
            raise OptionError("snr_gamma and noise_offset cannot be negative, and learning_rate must be positive.")


class StageNetworks(nn.Module):
    """The networks of a full-size pipeline in one module, so that DDP, FSDP and DeepSpeed wrap one thing.

    unet, reference_network, guider: of the pipeline. stage decides what learns (`requires_grad`).
    """

    def __init__(self, unet, reference_network, guider, stage: str):
        super().__init__()
        self.unet, self.reference_network, self.guider = unet, reference_network, guider
        self.stage = stage
        # What accelerate's FSDP shares out one by one: it asks for blocks that are there.
        there = {type(module).__name__ for module in self.modules()}
        self._no_split_modules = [name for name in unet._no_split_modules if name in there]
        if stage == "motion":
            self.requires_grad_(False)
            for name, parameter in unet.named_parameters():
                parameter.requires_grad_("motion_modules" in name)
        else:
            # nothing reads it (see ReferenceNetwork): DDP waits for a gradient of every weight that learns
            last = max(i for i, block in enumerate(reference_network.up_blocks) if block.attentions is not None)
            reference_network.up_blocks[last].attentions[-1].proj_out.requires_grad_(False)

    def forward(
        self,
        noisy: torch.Tensor,
        timestep: torch.Tensor,
        reference_latents: torch.Tensor,
        tokens: torch.Tensor,
        landmark_map: torch.Tensor,
        dropped: torch.Tensor,
    ) -> torch.Tensor:
        """The prediction (B, C, T, h, w) of the UNet's `sample`.

        Args:
            noisy: (B, C, T, h, w). timestep: (B,). reference_latents: (B, C, h, w). landmark_map: (B, 3, T, H, W).
            tokens: (B, L, D) of the image encoder.
            dropped: (B,) bool, samples that see neither tokens (zeros, as in guidance) nor reference.
        """
        learns = self.stage == "image"
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            features = self.reference_network(reference_latents, tokens)
            landmarks = self.guider(landmark_map)
        # The UNet wants the unconditional samples first.
        order = torch.argsort(dropped.logical_not(), stable=True)
        tokens = tokens * dropped.logical_not().view(-1, 1, 1)
        prediction = self.unet(
            noisy[order],
            timestep[order],
            encoder_hidden_states=tokens[order],
            landmark_features=landmarks[order],
            reference_features=[feature[order] for feature in features],
            unconditional_batch=int(dropped.sum()),
        ).sample
        if learns and dropped.all():
            # No sample of this batch saw the reference: its weights still need a gradient, of nothing.
            prediction = prediction + 0 * sum(feature.mean() for feature in features)
        return prediction[torch.argsort(order)]


@dataclass(frozen=True)
class Draws:
    """What a batch is trained with: noise (B, C, T, h, w), timestep (B,), dropped (B,) bool."""

    noise: torch.Tensor
    timestep: torch.Tensor
    dropped: torch.Tensor


def draws(config: StageConfig, indices: torch.Tensor, shape: tuple[int, ...], levels: int = 1000) -> Draws:
    """Noise, level and drop of each sample, on the CPU; those of sample n are a function of (seed, n) alone.

    indices: (B,) numbers of the samples. shape: (C, T, h, w) of one sample's latents.
    """
    noise, timestep, dropped = [], [], []
    for index in indices.tolist():
        rng = torch.Generator().manual_seed(_mixed(config.seed, index))
        timestep.append(torch.randint(0, levels, (), generator=rng))
        dropped.append(torch.rand((), generator=rng) < config.uncond_ratio)
        offset = torch.randn((shape[0], 1, 1, 1), generator=rng)
        noise.append(torch.randn(shape, generator=rng) + config.noise_offset * offset)
    return Draws(torch.stack(noise), torch.stack(timestep), torch.stack(dropped))


def _mixed(seed: int, index: int) -> int:
    """A seed of 63 bits from two numbers; neighbours share nothing."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]) >> 1


def snr_weights(alphas_cumprod: torch.Tensor, timestep: torch.Tensor, gamma: float) -> torch.Tensor:
    """Min-SNR weights (B,) for v-prediction: min(SNR + 1, gamma) / (SNR + 1); all 1 for gamma 0.

    SNR + 1 is 1 / (1 - alpha_cumprod). The common form min(SNR, gamma) / (SNR + 1) is 0 at zero terminal SNR: pure
    noise, from which every picture starts, would never be learned.
    """
    if gamma == 0:
        return torch.ones(len(timestep), device=timestep.device)
    rest = (1 - alphas_cumprod.to(timestep.device)[timestep]).clamp(min=1e-8)
    return (gamma * rest).clamp(max=1.0)


def loss_weights(batch: dict[str, torch.Tensor], latent_size: tuple[int, int]) -> torch.Tensor:
    """The facial fine-grained loss's weights on latents, (B, 1, T, h, w), mean 1 in each sample."""
    masks = []
    for name in ("expression_mask", "facial_mask"):
        mask = batch[name]
        shrunk = F.adaptive_avg_pool2d(mask.transpose(1, 2).flatten(0, 1), latent_size)
        masks.append(shrunk.unflatten(0, (mask.shape[0], mask.shape[2])).transpose(1, 2))
    weights = facial_weights(*masks)
    return weights / weights.mean(dim=(1, 2, 3, 4), keepdim=True)


def stage_loss(
    networks: nn.Module,
    batch: dict[str, torch.Tensor],
    clean: torch.Tensor,
    reference_latents: torch.Tensor,
    tokens: torch.Tensor,
    drawn: Draws,
    scheduler,
    config: StageConfig,
) -> torch.Tensor:
    """The loss of one batch: the weighted squared error of v.

    Args:
        networks: `StageNetworks`, wrapped or not. batch: of `TrainingClips`, on the device.
        clean: (B, C, T, h, w) latents of the clip. reference_latents: (B, C, h, w). tokens: (B, L, D).
        scheduler: of the pipeline; it must predict v.
    """
    noise, timestep = drawn.noise.to(clean), drawn.timestep.to(clean.device)
    noisy = scheduler.add_noise(clean, noise, timestep)
    truth = scheduler.get_velocity(clean, noise, timestep)
    dropped = drawn.dropped.to(clean.device)
    prediction = networks(noisy, timestep, reference_latents, tokens, batch["landmark_map"], dropped)
    error = (prediction.float() - truth.float()).square()
    if config.facial:
        error = error * loss_weights(batch, tuple(clean.shape[-2:]))
    weights = snr_weights(scheduler.alphas_cumprod, timestep, config.snr_gamma)
    return (error.mean(dim=(1, 2, 3, 4)) * weights).mean()
