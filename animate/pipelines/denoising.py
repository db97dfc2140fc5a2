"""The denoising loop: each step's prediction, in full or from the cache, and the sample after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from diffusers.hooks.group_offloading import _is_group_offload_enabled

from animate.models.kept_states import KeptStates
from animate.pipelines.residual import predict_clean
from animate.pipelines.sampling import KnownFrames, NoiseSource, adds_noise, scheduler_step
from cache import CacheReport, LookAheadRun, TaylorCacheConfig, begin_run, end_run, next_key_step, set_weight

if TYPE_CHECKING:
    from animate.pipelines.landmark import LandmarkAnimationPipeline


class Denoising:
    """One clip on its way from noise.

    Args:
        pipeline: its scheduler's timesteps are set.
        inputs: the denoiser's arguments that no step changes.
        residual: (base, gate) of a residual, see `animate.pipelines.residual`; None draws the clip whole.
        known: frames that are known beforehand.
        noise: what the scheduler may add.
        eta: DDIM's share of it.
        name: of the clip among those that are drawn by turns; a cache keeps them apart.
        error_weight: (B or 1, 1, T, H, W), how much errors of a cache's forecasts count where.

    Attributes:
        report: what the cache computed and forecast, after `run`; None without a cache of ours.
    """

    def __init__(
        self,
        pipeline: LandmarkAnimationPipeline,
        inputs: dict,
        residual: tuple[torch.Tensor, torch.Tensor] | None,
        known: KnownFrames | None,
        noise: NoiseSource,
        eta: float = 0.0,
        name: str = "",
        error_weight: torch.Tensor | None = None,
    ):
        self.pipeline, self.unet, self.scheduler = pipeline, pipeline.unet, pipeline.scheduler
        self.dtype = self.unet.dtype  # which diffusers looks for in all modules anew each time
        self.inputs, self.residual, self.known, self.noise, self.eta = inputs, residual, known, noise, eta
        self.guided = pipeline.do_classifier_free_guidance
        self.name = ("cfg" if self.guided else "cond") + (f"/{name}" if name else "")
        # where layers take turns on a GPU, leaving one out would break the order in which they are fetched
        self.kept = None if _is_group_offload_enabled(self.unet) else KeptStates()
        config = getattr(self.unet, "_cache_config", None)
        self.config = config if isinstance(config, TaylorCacheConfig) else None
        self.error_weight = error_weight
        self.report: CacheReport | None = None

    def run(self, sample: torch.Tensor) -> Iterator[int]:
        """The steps, each when it is finished; `self.sample` is then the sample after it and may be changed."""
        begin_run(self.unet, self.scheduler, contexts=[self.name])
        set_weight(self.unet, self.error_weight, contexts=[self.name])
        config = self.config or TaylorCacheConfig()
        if config.lookahead and not self.noise.repeatable and adds_noise(self.scheduler, self.eta):
            config = replace(config, lookahead=False)
        loop = LookAheadRun(
            self.scheduler,
            self._predict,
            config,
            self._advance,
            lambda step: next_key_step(self.unet, self.name, step),
        )
        try:
            for step in loop(sample):
                self.sample = loop.sample
                yield step
                loop.sample = self.sample
        finally:
            report = end_run(self.unet, [self.name])
            self.report = report if report.enabled else None

    def _predict(self, sample: torch.Tensor, step: int, mode: str | None = None) -> torch.Tensor:
        """What the scheduler wants to know at a step, (B, C, T, h, w) float32."""
        timestep = self.scheduler.timesteps[step]
        sample = self._with_known(sample, timestep)
        if self.guided:
            sample = torch.cat([sample] * 2)
        sample = self.scheduler.scale_model_input(sample, timestep).to(self.dtype)
        steps = len(self.scheduler.timesteps)
        with self.unet.cache_context(
            self.name, step_index=step, timestep=timestep, num_inference_steps=steps, mode=mode
        ):
            prediction = self.unet(sample, timestep, kept=self.kept, **self.inputs).sample.float()
        if self.guided:
            unconditional, conditional = prediction.chunk(2)
            prediction = unconditional + self.pipeline.guidance_scale * (conditional - unconditional)
        return prediction if self.residual is None else predict_clean(prediction, *self.residual)

    def _advance(self, prediction: torch.Tensor, step: int, sample: torch.Tensor) -> torch.Tensor:
        sample = self._with_known(sample, self.scheduler.timesteps[step])
        return scheduler_step(self.scheduler, prediction, step, sample, self.eta, self.noise)

    def _with_known(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return sample if self.known is None else self.known.noised(sample, self.scheduler, timestep)
