"""The denoising loop of the expression pipeline: guidance by expression and by text, each half in a context of the
cache of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers.hooks.group_offloading import _is_group_offload_enabled

from animate.models.kept_states import KeptStates
from animate.pipelines.flow import KnownLatents
from cache import CacheReport, LookAheadRun, TaylorCacheConfig, begin_run, cache_context, end_run, next_key_step

if TYPE_CHECKING:
    from animate.models.character_mask import CharacterMask


@dataclass
class ExpressionInputs:
    """What no step changes.

    condition: (1, 4 + C, F, h, w) mask channels and the portrait's latents, beside the noisy ones.
    prompt: (1, L, D) text states. negative_prompt: likewise, None without guidance by text.
    image: (1, 257, D) CLIP states of the portrait, None for a network without them.
    expression: (1, F, N * 97, D) tokens. mask: whose tokens count where, None for one face everywhere.
    """

    condition: torch.Tensor
    prompt: torch.Tensor
    negative_prompt: torch.Tensor | None
    image: torch.Tensor | None
    expression: torch.Tensor
    mask: CharacterMask | None


class ExpressionDenoising:
    """One clip, or one window of it, on its way from noise.

    Args:
        pipeline: its scheduler's timesteps are set.
        inputs: what no step changes.
        known: latent frames that are known beforehand.
        name: of the clip among those that are drawn by turns; a cache keeps them apart.
        expression_guidance_scale, guidance_scale: by expression and by text; 1 is none.

    Attributes:
        sample: (1, C, F, h, w) after the step that was finished last.
        report: what the cache computed and forecast, after `run`; None without a cache of ours.
    """

    def __init__(
        self,
        pipeline,
        inputs: ExpressionInputs,
        known: KnownLatents | None,
        name: str,
        expression_guidance_scale: float,
        guidance_scale: float,
        attention_kwargs: dict | None = None,
    ):
        self.pipeline, self.transformer, self.scheduler = pipeline, pipeline.transformer, pipeline.scheduler
        self.inputs, self.known = inputs, known
        self.expression_guidance_scale, self.guidance_scale = expression_guidance_scale, guidance_scale
        self.attention_kwargs = attention_kwargs
        # where layers take turns on a GPU, leaving one out would break the order in which they are fetched
        self.kept = None if _is_group_offload_enabled(self.transformer) else KeptStates()
        behind = f"/{name}" if name else ""
        self.contexts = [f"cond{behind}"]
        if expression_guidance_scale != 1 or guidance_scale != 1:
            self.contexts.append(f"uncond{behind}")
        if guidance_scale != 1:
            self.contexts.append(f"negative{behind}")
        config = getattr(self.transformer, "_cache_config", None)
        self.config = config if isinstance(config, TaylorCacheConfig) else TaylorCacheConfig()
        self.report: CacheReport | None = None

    def run(self, sample: torch.Tensor) -> Iterator[int]:
        """The steps, each when it is finished; `self.sample` is then the sample after it and may be changed."""
        begin_run(self.transformer, self.scheduler, contexts=self.contexts)
        loop = LookAheadRun(
            self.scheduler,
            self._predict,
            self.config,
            self._advance,
            lambda step: next_key_step(self.transformer, self.contexts[0], step),
        )
        try:
            for step in loop(sample):
                self.sample = loop.sample
                yield step
                loop.sample = self.sample
        finally:
            report = end_run(self.transformer, self.contexts)
            self.report = report if report.enabled else None

    def _predict(self, sample: torch.Tensor, step: int, mode: str | None = None) -> torch.Tensor:
        """The flow at a step, (1, C, F, h, w) float32.

        With n the negative prompt's prediction, u the prompt's without expression and c with it:
        n + text * (u - n) + expression * (c - u). Without guidance by text this is u + expression * (c - u).
        """
        sample = self._with_known(sample, step)
        hidden = torch.cat([sample, self.inputs.condition.to(sample)], dim=1).to(self.transformer.dtype)
        with_expression = self._call(0, hidden, step, self.inputs.prompt, 1.0, mode)
        if len(self.contexts) == 1:
            return with_expression
        without = self._call(1, hidden, step, self.inputs.prompt, 0.0, mode)
        flow = without + self.expression_guidance_scale * (with_expression - without)
        if len(self.contexts) == 3:
            negative = self._call(2, hidden, step, self.inputs.negative_prompt, 0.0, mode)
            flow = flow + (self.guidance_scale - 1) * (without - negative)
        return flow

    def _call(
        self, half: int, hidden: torch.Tensor, step: int, prompt: torch.Tensor, scale: float, mode: str | None
    ) -> torch.Tensor:
        timestep, inputs = self.scheduler.timesteps[step], self.inputs
        with cache_context(
            self.transformer,
            self.contexts[half],
            step_index=step,
            timestep=timestep,
            sigma=float(self.scheduler.sigmas[step]),
            num_inference_steps=len(self.scheduler.timesteps),
            mode=mode,
        ):
            return self.transformer(
                hidden_states=hidden,
                timestep=timestep.expand(hidden.shape[0]),
                encoder_hidden_states=prompt,
                encoder_hidden_states_image=inputs.image,
                expression=inputs.expression,
                expression_mask=inputs.mask,
                expression_scale=scale,
                kept=self.kept,
                attention_kwargs=self.attention_kwargs,
                return_dict=False,
            )[0].float()

    def _advance(self, prediction: torch.Tensor, step: int, sample: torch.Tensor) -> torch.Tensor:
        sample = self._with_known(sample, step)
        return self.scheduler.step(prediction, self.scheduler.timesteps[step], sample, return_dict=False)[0]

    def _with_known(self, sample: torch.Tensor, step: int) -> torch.Tensor:
        return sample if self.known is None else self.known.at_step(sample, self.scheduler, step)
