"""ExpressionPipeline: portraits of one or several people, driven by expression, as a diffusers pipeline.

Wan2.1's image-to-video transformer with FantasyPortrait's adapter (arXiv 2507.12956). Inputs and outputs are those of
diffusers' `WanImageToVideoPipeline`, with expression features, and the characters' places, beside the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.video_processor import VideoProcessor

# diffusers looks a saved pipeline's components up among the modules that are already imported
import animate.models.dit
import animate.models.motion_projection
import animate.models.portrait_tokens  # noqa: F401
from animate.models.character_mask import CharacterMask
from animate.pipelines import expression_inputs as inputs
from animate.pipelines.expression_denoising import ExpressionDenoising, ExpressionInputs
from animate.pipelines.expression_encoding import EncodedPicture, ExpressionEncodingMixin
from animate.pipelines.flow import KnownLatents, is_flow, set_flow_timesteps
from animate.pipelines.inputs import check_known, check_latents, check_noise, check_sampling
from animate.pipelines.noise import FrameNoise
from animate.pipelines.run_state import RunStateMixin
from animate.pipelines.sampling import NoiseSource

if TYPE_CHECKING:
    from cache import CacheReport

__all__ = ["EncodedPicture", "ExpressionPipeline", "ExpressionPipelineOutput"]


@dataclass
class ExpressionPipelineOutput(BaseOutput):
    """`frames`: (1, T, 3, H, W) tensor ("pt") or (1, T, H, W, 3) array ("np") in [0, 1], a list of a list of PIL
    images ("pil"), or latents (1, C, F, h, w) ("latent"). `cache`: what a `TaylorCacheConfig` on the transformer
    computed and forecast; None without one."""

    frames: torch.Tensor | np.ndarray | list[list[PIL.Image.Image]]
    cache: CacheReport | None = None


class ExpressionPipeline(ExpressionEncodingMixin, RunStateMixin, DiffusionPipeline):
    """Animate the faces of a picture by expression features.

    Args:
        transformer: `ExpressionDiT`.
        tokens: `PortraitTokens`, which makes tokens of expression features.
        vae: `AutoencoderKLWan`.
        scheduler: of a flow, see `pipelines.flow`.
        image_encoder, image_processor: CLIP's vision model and its preprocessing, where the transformer takes a
            picture's states.
        text_encoder, tokenizer: UMT5; not needed where `prompt_embeds` are given.
        motion_projection: `MotionProjection`, which makes expression features of a `Motion`; the pipeline carries it
            for the animator.
        default_num_inference_steps, default_expression_guidance_scale: what `__call__` takes when not told.
    """

    model_cpu_offload_seq = "text_encoder->image_encoder->tokens->transformer->vae"
    _optional_components = ["image_encoder", "image_processor", "text_encoder", "tokenizer", "motion_projection"]
    _exclude_from_cpu_offload = ["motion_projection"]
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        transformer,
        tokens,
        vae,
        scheduler,
        image_encoder=None,
        image_processor=None,
        text_encoder=None,
        tokenizer=None,
        motion_projection=None,
        default_num_inference_steps: int = 30,
        default_expression_guidance_scale: float = 4.5,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer,
            tokens=tokens,
            vae=vae,
            scheduler=scheduler,
            image_encoder=image_encoder,
            image_processor=image_processor,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            motion_projection=motion_projection,
        )
        self.register_to_config(
            default_num_inference_steps=default_num_inference_steps,
            default_expression_guidance_scale=default_expression_guidance_scale,
        )
        factor = vae.config.scale_factor_spatial if vae is not None else 8
        self.video_processor = VideoProcessor(vae_scale_factor=factor)

    @property
    def expression_guidance_scale(self) -> float:
        return self._expression_guidance_scale

    @property
    def features(self) -> int:
        """Numbers of a frame's expression."""
        return sum(self.tokens.config.feature_dims)

    def check_inputs(
        self,
        image=None,
        expression=None,
        masks=None,
        boxes=None,
        picture=None,
        expression_embeds=None,
        expression_mask=None,
        prompt=None,
        negative_prompt=None,
        prompt_embeds=None,
        negative_prompt_embeds=None,
        width=None,
        height=None,
        num_inference_steps=None,
        expression_guidance_scale=1.0,
        guidance_scale=1.0,
        output_type="pt",
        callback_on_step_end_tensor_inputs=(),
    ) -> None:
        """TypeError or ValueError names what does not fit."""
        inputs.check_picture(image, picture, width, height, self.size_multiple)
        inputs.check_expression(expression, expression_embeds, self.tokens.config.token_dim)
        characters = None
        if expression is not None:
            characters, frames = inputs.as_characters(expression, self.features).shape[:2]
            inputs.check_frames(frames, self.frames_per_latent)
        inputs.check_regions(masks, boxes, expression_mask, characters)
        inputs.check_prompts(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds)
        inputs.check_scale(expression_guidance_scale=expression_guidance_scale, guidance_scale=guidance_scale)
        check_sampling(num_inference_steps, output_type, self._callback_tensor_inputs, ())
        inputs.check_callback(self._callback_tensor_inputs, callback_on_step_end_tensor_inputs)
        if not is_flow(self.scheduler):
            raise ValueError(
                f"the scheduler must be of a flow but is a {type(self.scheduler).__name__}: see `set_flow_scheduler`"
            )

    @torch.no_grad()
    def __call__(
        self,
        image: torch.Tensor | PIL.Image.Image | np.ndarray | None = None,
        expression: torch.Tensor | np.ndarray | None = None,
        masks: torch.Tensor | np.ndarray | None = None,
        boxes: torch.Tensor | np.ndarray | None = None,
        region_options: dict | None = None,
        first_expression: torch.Tensor | np.ndarray | None = None,
        picture: EncodedPicture | None = None,
        expression_embeds: torch.Tensor | None = None,
        expression_mask: CharacterMask | None = None,
        prompt: str | None = None,
        negative_prompt: str | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        width: int | None = None,
        height: int | None = None,
        num_inference_steps: int | None = None,
        expression_guidance_scale: float | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | None = None,
        latents: torch.Tensor | None = None,
        noise: FrameNoise | None = None,
        known_latents: torch.Tensor | None = None,
        known_frames: torch.Tensor | None = None,
        name: str = "",
        attention_kwargs: dict | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Callable[[ExpressionPipeline, int, int, dict], dict] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ExpressionPipelineOutput | tuple:
        """Draw a clip of T frames, T = 4n + 1.

        Args:
            image: the picture that the clip begins with: PIL, uint8 (H, W, 3) RGB or (1, 3, H, W) in [-1, 1].
            expression: (T, 554), or (N, T, 554) for N characters: head pose 6, eyes 6, emotion 30, mouth 512.
            masks: (N, T, H, W) bool or float, where each character is; or
            boxes: (N, T, 4) x0, y0, x1, y1 in pixels of the clip. One of them is needed for several characters.
            region_options: of `CharacterMask`: what holds where regions overlap, in the background, for padding.
            first_expression: (N, 554), what latent frame 0 shows instead of frame 0's own expression: a window of a
                long clip begins with the picture, not with what its frames begin with.
            picture: from `encode_picture`, instead of `image`, to encode a picture once.
            expression_embeds, expression_mask: ready tokens (1, F, L, 2048) and whose count where, instead of
                `expression`, `masks` and `boxes`.
            prompt, negative_prompt: texts; both empty when None. The negative one counts with `guidance_scale` alone.
            prompt_embeds, negative_prompt_embeds: (1, L, D) states of them, from `encode_prompt`.
            width, height: of the clip; the picture's shape with a longer side of 720 when None.
            num_inference_steps, expression_guidance_scale: the pipeline's defaults when None.
            guidance_scale: by text; 1 is none.
            generator: seeds the noise, which is drawn on the generator's device (the CPU when None).
            latents: first noise (1, C, F, h, w) instead of `generator`'s.
            noise: noise of numbered latent frames instead of both.
            known_latents: (1, C, F, h, w) clean latents, as `output_type="latent"` gives them; read where
                `known_frames`, (F,) bool, is True. These frames are held at the level of each step, and are exact in
                the result.
            name: of the clip, for a cache: clips that are drawn by turns must have different ones.
            attention_kwargs: for the transformer's LoRA layers.
            output_type: "pt", "np", "pil" or "latent".
            return_dict: an `ExpressionPipelineOutput` or a tuple.
            callback_on_step_end: called as (pipeline, step, timestep, tensors) and may return changed tensors.
            callback_on_step_end_tensor_inputs: names of those tensors.

        Raises:
            TypeError, ValueError: an input does not fit; the message names it and what it is.
        """
        # 0. Check inputs
        if expression_guidance_scale is None:
            expression_guidance_scale = self.config.default_expression_guidance_scale
        if num_inference_steps is None:
            num_inference_steps = self.config.default_num_inference_steps
        self.check_inputs(
            image,
            expression,
            masks,
            boxes,
            picture,
            expression_embeds,
            expression_mask,
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            width,
            height,
            num_inference_steps,
            expression_guidance_scale,
            guidance_scale,
            output_type,
            callback_on_step_end_tensor_inputs,
        )
        self._guidance_scale, self._expression_guidance_scale = guidance_scale, expression_guidance_scale
        self._interrupt = False
        device, dtype = self._execution_device, self.transformer.dtype

        # 1. Texts and picture
        if prompt_embeds is None:
            prompt_embeds = self.encode_prompt(prompt or "", device)
        if negative_prompt_embeds is None and self.do_classifier_free_guidance:
            negative_prompt_embeds = self.encode_prompt(negative_prompt or "", device)
        if expression_embeds is not None:
            frames = expression_embeds.shape[1]
        else:
            expression = inputs.as_characters(expression, self.features)
            frames = self.latent_frames(expression.shape[1])
        if picture is None:
            picture = self.encode_picture(image, frames, width, height)
        shape = self._latent_shape(picture, frames)

        # 2. Expression, and whose counts where
        if expression_embeds is None:
            first = inputs.check_first(first_expression, len(expression), self.features)
            expression_embeds, real = self.encode_expression(expression, frames, first)
            expression_mask = self.character_mask(masks, boxes, shape, real, **(region_options or {}))
        conditions = ExpressionInputs(
            condition=picture.condition[:, :, :frames].to(device),
            prompt=prompt_embeds.to(device, dtype),
            negative_prompt=negative_prompt_embeds.to(device, dtype) if self.do_classifier_free_guidance else None,
            image=picture.image_embeds.to(device, dtype) if picture.image_embeds is not None else None,
            expression=expression_embeds.to(device, dtype),
            mask=expression_mask,
        )

        # 3. Timesteps, noise, known frames
        if latents is not None:
            check_latents(latents, shape)
        check_noise(shape, noise, generator, latents)
        check_known(shape, known_latents, known_frames)
        set_flow_timesteps(self.scheduler, num_inference_steps, device)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        first_noise = NoiseSource(shape, False, generator, latents, noise).first(device)
        known = KnownLatents(known_latents, known_frames, first_noise) if known_frames is not None else None

        # 4. Denoise
        denoising = ExpressionDenoising(
            self, conditions, known, name, expression_guidance_scale, guidance_scale, attention_kwargs
        )
        with self.progress_bar(total=len(timesteps)) as progress_bar:
            for i in denoising.run(first_noise):
                if callback_on_step_end is not None:
                    tensors = {"latents": denoising.sample} if "latents" in callback_on_step_end_tensor_inputs else {}
                    changed = callback_on_step_end(self, i, timesteps[i], tensors)
                    denoising.sample = changed.pop("latents", denoising.sample)
                progress_bar.update()
                if self.interrupt:
                    break
        result = denoising.sample if known is None else known.exact(denoising.sample)

        # 5. Decode
        if output_type != "latent":
            result = self.video_processor.postprocess_video(self.decode(result).float(), output_type)
        self.maybe_free_model_hooks()
        if not return_dict:
            return (result,)
        return ExpressionPipelineOutput(frames=result, cache=denoising.report)

    def _latent_shape(self, picture: EncodedPicture, frames: int) -> tuple[int, int, int, int, int]:
        """(1, C, F, h, w) of a clip that begins with the picture."""
        have, height, width = picture.condition.shape[2:]
        if frames > have:
            raise ValueError(f"`picture` was encoded for {have} latent frames but the clip has {frames}")
        return (1, self.transformer.config.out_channels, frames, height, width)
