"""LandmarkAnimationPipeline: landmark-driven portrait animation, full size or `mini`, as a diffusers
pipeline.

Which parts there are decides what it does. With a base picture the network's output is a gated residual on it
(`mini`, design.md section 4); without one the clip is denoised from noise (Follow-Your-Emoji, arXiv
2406.01900).
"""

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
import animate.models.expression_tokens
import animate.models.guider
import animate.models.pose_guider
import animate.models.reference_network
import animate.models.unet  # noqa: F401
from animate.pipelines.conditions import ConditionsMixin
from animate.pipelines.denoising import Denoising
from animate.pipelines.encoding import IMAGE_TOKEN_MODES, EncodedReference, EncodingMixin
from animate.pipelines.inputs import (
    check_clips,
    check_faces,
    check_known,
    check_latents,
    check_noise,
    check_parts,
    check_residual,
    check_sampling,
)
from animate.pipelines.noise import FrameNoise
from animate.pipelines.run_state import RunStateMixin
from animate.pipelines.sampling import KnownFrames, NoiseSource

if TYPE_CHECKING:
    from cache import CacheReport

__all__ = ["EncodedReference", "FrameNoise", "LandmarkAnimationPipeline", "LandmarkAnimationPipelineOutput"]


@dataclass
class LandmarkAnimationPipelineOutput(BaseOutput):
    """`frames`: (B, T, 3, H, W) tensor ("pt") or (B, T, H, W, 3) array ("np") in [0, 1], lists of PIL images
    ("pil"), or latents (B, C, T, h, w) ("latent"). `cache`: what a `TaylorCacheConfig` on the denoiser computed and
    forecast; None without one."""

    frames: torch.Tensor | np.ndarray | list[list[PIL.Image.Image]]
    cache: "CacheReport | None" = None


class LandmarkAnimationPipeline(EncodingMixin, ConditionsMixin, RunStateMixin, DiffusionPipeline):
    """Animate a portrait by landmark maps.

    Args:
        vae: `SpaceToDepthCodec`, `AutoencoderKL` or `AutoencoderTiny`.
        unet: `LandmarkUNet`.
        scheduler: DDIM or another diffusers scheduler (`pipelines.scheduler.set_scheduler`); a base picture
            needs `prediction_type="sample"`.
        reference_network: `ReferenceNetwork`, the portrait's features for self-attention.
        guider: `LandmarkGuider` or `PoseGuider`, which brings landmark maps in.
        expression_tokens: `ExpressionTokens`, which brings motion vectors in.
        image_encoder: transformers' `CLIPVisionModelWithProjection`.
        default_num_inference_steps, default_guidance_scale: what `__call__` takes when not told.
        image_token_mode: which tokens the image encoder gives: "hidden_states", all of the last layer
            (Follow-Your-Emoji), or "embedding", the projected one alone (AniPortrait).
        landmark_style: of the maps that it was trained with, see `animate.landmark_map.draw`.
    """

    model_cpu_offload_seq = "image_encoder->expression_tokens->guider->reference_network->unet->vae"
    _optional_components = ["reference_network", "guider", "expression_tokens", "image_encoder"]
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        vae,
        unet,
        scheduler,
        reference_network=None,
        guider=None,
        expression_tokens=None,
        image_encoder=None,
        default_num_inference_steps: int = 30,
        default_guidance_scale: float = 3.5,
        image_token_mode: str = "hidden_states",
        landmark_style: str = "follow-your-emoji",
    ):
        super().__init__()
        if image_token_mode not in IMAGE_TOKEN_MODES:
            raise ValueError(
                f"`image_token_mode` must be one of {', '.join(IMAGE_TOKEN_MODES)} but is {image_token_mode!r}"
            )
        self.register_modules(
            vae=vae,
            unet=unet,
            scheduler=scheduler,
            reference_network=reference_network,
            guider=guider,
            expression_tokens=expression_tokens,
            image_encoder=image_encoder,
        )
        self.register_to_config(
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=default_guidance_scale,
            image_token_mode=image_token_mode,
            landmark_style=landmark_style,
        )
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_scale_factor)

    def latent_shape(self, batch: int, frames: int, height: int, width: int) -> tuple[int, int, int, int, int]:
        """(B, C, T, h, w) of the latents of a clip of this size in pixels."""
        factor = self.vae_scale_factor
        return (batch, self.unet.config.in_channels, frames, height // factor, width // factor)

    def check_inputs(
        self,
        reference_image=None,
        landmark_map=None,
        base=None,
        gate=None,
        expression=None,
        face_map=None,
        face_ids=None,
        reference=None,
        latents=None,
        num_inference_steps=None,
        output_type="pt",
        callback_on_step_end_tensor_inputs=(),
        generator=None,
        noise=None,
        known_latents=None,
        known_frames=None,
    ) -> tuple[int, int, int, int]:
        """(batch, frames, height, width) of the clip; TypeError or ValueError names what does not fit."""
        # 1. Clips, and the parts that read them
        shape = check_clips(self.vae_scale_factor, landmark_map=landmark_map, base=base, gate=gate)
        check_residual(self.vae, self.unet, self.scheduler, base)
        check_parts(
            landmark_map=(landmark_map, self.guider),
            expression=(expression, self.expression_tokens),
        )

        # 2. The portrait
        if reference is not None and not isinstance(reference, EncodedReference):
            raise TypeError(f"`reference` must come from `encode_reference` but is a {type(reference).__name__}")
        if reference is not None and reference_image is not None:
            raise ValueError("give `reference_image` or `reference`, not both")
        if self.needs_reference and reference is None and reference_image is None:
            raise ValueError("`reference_image` is None but this pipeline draws from it")

        # 3. Faces, noise, known frames, and the rest
        batch, frames = shape[:2]
        check_faces(batch, frames, expression, face_map, face_ids)
        latent_shape = self.latent_shape(*shape)
        if latents is not None:
            check_latents(latents, latent_shape)
        check_noise(latent_shape, noise, generator, latents)
        check_known(latent_shape, known_latents, known_frames)
        check_sampling(
            num_inference_steps,
            output_type,
            self._callback_tensor_inputs,
            callback_on_step_end_tensor_inputs,
        )
        return shape

    @torch.no_grad()
    def __call__(
        self,
        reference_image: torch.Tensor | PIL.Image.Image | np.ndarray | None = None,
        landmark_map: torch.Tensor | None = None,
        base: torch.Tensor | None = None,
        gate: torch.Tensor | None = None,
        expression: torch.Tensor | None = None,
        face_map: torch.Tensor | None = None,
        face_ids: Sequence[int] | None = None,
        reference: EncodedReference | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        share_noise: bool | None = None,
        noise: FrameNoise | None = None,
        known_latents: torch.Tensor | None = None,
        known_frames: torch.Tensor | None = None,
        name: str = "",
        error_weight: torch.Tensor | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Callable[["LandmarkAnimationPipeline", int, int, dict], dict] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> LandmarkAnimationPipelineOutput | tuple:
        """Draw a clip.

        With `base` and `gate` the result is the base plus a gated residual; without them it is drawn whole.

        Args:
            reference_image: the portrait, (B, 3, H, W) in [-1, 1], PIL or uint8 (H, W, 3) RGB.
            landmark_map: (B, 3, T, H, W) RGB in [0, 1].
            base: (B, 3, T, H, W) in [-1, 1], the warped picture to which a residual is added.
            gate: (B, 1, T, H, W) in [0, 1], where the residual may act.
            expression: (B, T, F) motion vectors, or (B, N, T, F) of N faces.
            face_map: (B, T, H, W) integer id of the face each pixel belongs to; needed for several faces.
            face_ids: the N ids in `face_map`; 1 to N when None.
            reference: from `encode_reference`, instead of `reference_image`, to encode a portrait once.
            num_inference_steps, guidance_scale: the pipeline's defaults when None; a scale of 1 or less is no
                guidance.
            eta: DDIM's share of fresh noise, 0 to 1; other schedulers ignore it.
            generator: seeds the noise, which is drawn on the generator's device (the CPU when None).
            latents: first noise instead of `generator`'s; axes of length 1 are repeated.
            share_noise: the same noise for every frame; None: with a base yes, without no.
            noise: noise of numbered frames, for the first sample and for what the scheduler adds, instead of
                `generator`, `latents` and `share_noise`.
            known_latents: (B, C, T, h, w) clean latents, as `output_type="latent"` gives them; read where
                `known_frames` is True. At each step these frames are the clean ones noised to its level with
                their own first noise; in the result they are exact.
            known_frames: (T,) bool.
            name: of the clip, for a cache: clips that are drawn by turns must have different ones.
            error_weight: (B or 1, 1, T, H, W), 0 or more: how much errors of a cache's forecasts count where. None:
                with a base as much as its gate is open, else everywhere alike.
            output_type: "pt", "np", "pil" or "latent".
            return_dict: a `LandmarkAnimationPipelineOutput` or a tuple.
            callback_on_step_end: called as (pipeline, step, timestep, tensors) and may return changed
                tensors.
            callback_on_step_end_tensor_inputs: names of those tensors.

        Raises:
            TypeError, ValueError: an input does not fit; the message names it and what it is.
        """
        # 0. Check inputs
        clip = self.check_inputs(
            reference_image,
            landmark_map,
            base,
            gate,
            expression,
            face_map,
            face_ids,
            reference,
            latents,
            num_inference_steps,
            output_type,
            callback_on_step_end_tensor_inputs,
            generator,
            noise,
            known_latents,
            known_frames,
        )
        batch, shape = clip[0], self.latent_shape(*clip)
        if num_inference_steps is None:
            num_inference_steps = self.config.default_num_inference_steps
        self._guidance_scale = self.config.default_guidance_scale if guidance_scale is None else guidance_scale
        self._interrupt = False
        device, dtype = self._execution_device, self.unet.dtype
        residual_mode = base is not None
        share_noise = residual_mode if share_noise is None else share_noise

        # 1. What does not change from step to step: portrait, landmarks, tokens, base
        if reference is None and self.needs_reference:
            reference = self.encode_reference(reference_image)
        inputs = self.prepare_conditions(landmark_map, expression, face_map, face_ids, reference, batch, device, dtype)
        if residual_mode:
            # what the gate keeps out of the picture cannot go wrong there
            error_weight = gate + 1e-3 if error_weight is None else error_weight
            base, gate, inputs["condition"] = self.prepare_residual(base, gate, reference, device, dtype)

        # 2. Timesteps, noise, known frames
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        source = NoiseSource(shape, share_noise, generator, latents, noise)
        first_noise = source.first(device)
        latents = first_noise * self.scheduler.init_noise_sigma
        known = KnownFrames(known_latents, known_frames, first_noise) if known_frames is not None else None

        # 3. Denoise
        residual = (base, gate) if residual_mode else None
        denoising = Denoising(self, inputs, residual, known, source, eta, name, error_weight)
        with self.progress_bar(total=len(timesteps)) as progress_bar:
            for i in denoising.run(latents):
                if callback_on_step_end is not None:
                    tensors = {"latents": denoising.sample} if "latents" in callback_on_step_end_tensor_inputs else {}
                    changed = callback_on_step_end(self, i, timesteps[i], tensors)
                    denoising.sample = changed.pop("latents", denoising.sample)
                progress_bar.update()
                if self.interrupt:
                    break
        latents, report = denoising.sample, denoising.report
        if known is not None:
            latents = known.exact(latents)

        # 4. Decode
        if output_type == "latent":
            result = latents
        else:
            result = self.video_processor.postprocess_video(self.decode_clip(latents).float(), output_type)
        self.maybe_free_model_hooks()
        if not return_dict:
            return (result,)
        return LandmarkAnimationPipelineOutput(frames=result, cache=report)
