"""Tiny networks of random weights, ours and diffusers', and a denoising loop over them."""

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, UNetMotionModel, WanTransformer3DModel

from cache import begin_run, cache_context

torch.set_num_threads(1)
UNET_LAYOUT = {
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
}


def make_unet(seed: int = 0) -> UNet2DConditionModel:
    """Three levels, six up layers; samples (B, 4, 8, 8), tokens (B, L, 8)."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(**UNET_LAYOUT).eval()


def make_motion_unet() -> UNetMotionModel:
    """Two levels with motion modules that do something; samples (B, 4, T, 8, 8), tokens (B*T, L, 8)."""
    torch.manual_seed(0)
    return UNetMotionModel(
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        num_attention_heads=2,
        motion_num_attention_heads=2,
    ).eval()


def make_wan(kind: type[WanTransformer3DModel] = WanTransformer3DModel, blocks: int = 3) -> WanTransformer3DModel:
    """Samples (B, 4, T, 8, 8), tokens (B, L, 8); `kind` may be a class of our own."""
    torch.manual_seed(0)
    return kind(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=16,
        num_layers=blocks,
        rope_max_seq_len=32,
    ).eval()


def ddim(**changes) -> DDIMScheduler:
    return DDIMScheduler(
        **{"clip_sample": False, "timestep_spacing": "trailing", "prediction_type": "sample"} | changes
    )


class Loop:
    """A denoising run that is taken one step at a time, so that several may take turns on one network.

    `repeat`: the tokens are those of a clip of so many frames.
    """

    def __init__(
        self, model, scheduler=None, steps=12, batch=1, seed=0, name="cond", shape=(4, 8, 8), repeat=1, **begin
    ):
        self.model, self.name = model, name
        self.scheduler = ddim() if scheduler is None else scheduler
        self.scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(seed)
        self.sample = torch.randn(batch, *shape, generator=generator) * getattr(self.scheduler, "init_noise_sigma", 1.0)
        self.tokens = torch.randn(batch, 3, 8, generator=generator).repeat_interleave(repeat, 0)
        self.step = 0
        begin_run(model, self.scheduler, **begin)

    @property
    def over(self) -> bool:
        return self.step == len(self.scheduler.timesteps)

    @torch.no_grad()
    def advance(self) -> None:
        timestep = self.scheduler.timesteps[self.step]
        scale = getattr(self.scheduler, "scale_model_input", None)
        seen = self.sample if scale is None else scale(self.sample, timestep)
        with cache_context(self.model, self.name, step_index=self.step, timestep=timestep):
            prediction = self.predict(seen, timestep)
        self.sample = self.scheduler.step(prediction, timestep, self.sample, return_dict=False)[0]
        self.step += 1

    def predict(self, sample, timestep):
        return self.model(sample, timestep.expand(sample.shape[0]), self.tokens).sample

    def run(self) -> torch.Tensor:
        while not self.over:
            self.advance()
        return self.sample


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative L2."""
    return float((one - other).norm() / other.norm())


@pytest.fixture
def unet():
    return make_unet()


@pytest.fixture
def motion_unet():
    return make_motion_unet()


@pytest.fixture
def wan():
    return make_wan()


# pytest imports files by path: what a test needs of this file comes as fixtures
@pytest.fixture
def loop():
    return Loop


@pytest.fixture
def build_wan():
    return make_wan


@pytest.fixture
def make_scheduler():
    return ddim
