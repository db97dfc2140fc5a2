"""LandmarkAnimationPipeline: landmark-driven portrait animation, full size or `mini`, as a diffusers
pipeline.

Which parts there are decides what it does. With a base picture the network's output is a gated residual on it
(`mini`, design.md section 4); without one the clip is denoised from noise (Follow-Your-Emoji, arXiv
2406.01900).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor

from animate.models.codec import SpaceToDepthCodec, retrieve_latents
from animate.pipelines.inputs import (
    check_clips,
    check_faces,
    check_latents,
    check_sampling,
    image_tensor,
)
from animate.pipelines.residual import predict_clean, residual_condition


@dataclass
class LandmarkAnimationPipelineOutput(BaseOutput):
    """`frames`: (B, T, 3, H, W) tensor ("pt") or (B, T, H, W, 3) array ("np") in [0, 1], lists of PIL images
    ("pil"), or latents (B, C, T, h, w) ("latent")."""

    frames: torch.Tensor | np.ndarray | list[list[PIL.Image.Image]]


@dataclass
class EncodedReference:
    """What the networks know of a portrait; made once by `encode_reference`, used for every clip of it."""

    latents: torch.Tensor  # (B, C, h, w) the portrait through the codec
    tokens: torch.Tensor | None  # (B, 257, D) CLIP hidden states
    features: list[torch.Tensor] | None  # one map for each spatial transformer


class LandmarkAnimationPipeline(DiffusionPipeline):
    """Animate a portrait by landmark maps.

    Args:
        vae: `SpaceToDepthCodec`, `AutoencoderKL` or `AutoencoderTiny`.
        unet: `LandmarkUNet`.
        scheduler: DDIM or another diffusers scheduler; a base picture needs `prediction_type="sample"`.
        reference_network: `ReferenceNetwork`, the portrait's features for self-attention.
        guider: `LandmarkGuider`, which brings landmark maps in.
        expression_tokens: `ExpressionTokens`, which brings motion vectors in.
        image_encoder: transformers' `CLIPVisionModelWithProjection`; all its hidden states become tokens.
        default_num_inference_steps, default_guidance_scale: what `__call__` takes when not told.
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
    ):
        super().__init__()
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
        )
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_scale_factor)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a side of one latent."""
        if isinstance(self.vae, SpaceToDepthCodec):
            return self.vae.config.patch_size
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def guidance_scale(self) -> float:
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        return self._interrupt

    @property
    def reference_in_condition(self) -> bool:
        """Whether the denoiser also sees the portrait's latents beside base and gate (`mini`)."""
        if not isinstance(self.vae, SpaceToDepthCodec):
            return False
        patch, latent = self.vae.config.patch_size**2, self.vae.latent_channels
        return self.unet.config.condition_channels == latent + patch + latent

    @property
    def needs_reference(self) -> bool:
        """Whether any part wants `reference_image`."""
        return self.reference_network is not None or self.image_encoder is not None or self.reference_in_condition

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
    ) -> tuple[int, int, int, int]:
        """(batch, frames, height, width) of the clip; TypeError or ValueError names what does not fit."""
        shape = check_clips(self.vae_scale_factor, landmark_map=landmark_map, base=base, gate=gate)
        batch, frames, height, width = shape

        # 1. The residual mode
        condition_channels = self.unet.config.condition_channels
        if base is None and condition_channels:
            raise ValueError(f"`base` and `gate` are None but this network takes {condition_channels} channels of them")
        if base is not None:
            if not isinstance(self.vae, SpaceToDepthCodec):
                raise ValueError(
                    f"`base` needs a SpaceToDepthCodec, whose latents are pixels, but the codec is a "
                    f"{type(self.vae).__name__}"
                )
            prediction_type = self.scheduler.config.prediction_type
            if prediction_type != "sample":
                raise ValueError(
                    f"`base` needs a scheduler with prediction_type 'sample' but it is {prediction_type!r}"
                )
            latent = self.vae.latent_channels
            without = latent + self.vae.config.patch_size**2
            if condition_channels not in (without, without + latent):
                raise ValueError(
                    f"`condition_channels` of the network must be {without} (base, gate) or "
                    f"{without + latent} "
                    f"(base, gate, portrait) but is {condition_channels}"
                )

        # 2. What a component needs, and what needs a component
        for name, value, component in (
            ("landmark_map", landmark_map, "guider"),
            ("expression", expression, "expression_tokens"),
        ):
            present = getattr(self, component) is not None
            if (value is not None) != present:
                raise ValueError(
                    f"`{name}` is None but the pipeline has `{component}`"
                    if present
                    else f"`{name}` was given but the pipeline has no `{component}`"
                )
        if reference is not None and not isinstance(reference, EncodedReference):
            raise TypeError(f"`reference` must come from `encode_reference` but is a {type(reference).__name__}")
        if reference is not None and reference_image is not None:
            raise ValueError("give `reference_image` or `reference`, not both")
        if self.needs_reference and reference is None and reference_image is None:
            raise ValueError("`reference_image` is None but this pipeline draws from it")

        # 3. Faces, noise, and the rest
        check_faces(batch, frames, expression, face_map, face_ids)
        factor = self.vae_scale_factor
        if latents is not None:
            wanted = (batch, self.unet.config.in_channels, frames, height // factor, width // factor)
            check_latents(latents, wanted)
        check_sampling(
            num_inference_steps,
            output_type,
            self._callback_tensor_inputs,
            callback_on_step_end_tensor_inputs,
        )
        return shape

    def encode_clip(self, clip: torch.Tensor) -> torch.Tensor:
        """Pixels (B, C, T, H, W) in [-1, 1] to scaled latents (B, c, T, h, w), frame by frame for a VAE."""
        if isinstance(self.vae, SpaceToDepthCodec):
            latents = retrieve_latents(self.vae.encode(clip))
        else:
            frames = [retrieve_latents(self.vae.encode(frame.to(self.vae.dtype))) for frame in clip.unbind(2)]
            latents = torch.stack(frames, dim=2)
        return latents * self.vae.config.scaling_factor

    def decode_clip(self, latents: torch.Tensor) -> torch.Tensor:
        """The inverse of `encode_clip`; a VAE decodes one frame at a time, so that memory is one frame's."""
        latents = latents / self.vae.config.scaling_factor
        if isinstance(self.vae, SpaceToDepthCodec):
            return self.vae.decode(latents).sample
        return torch.stack([self.vae.decode(z.to(self.vae.dtype)).sample for z in latents.unbind(2)], dim=2)

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """All hidden states of CLIP's last layer, (B, 257, D), for images (B, 3, H, W) in [-1, 1]."""
        # transformers' default processor wants torchvision; this one gives the same numbers without
        from transformers import CLIPImageProcessorPil

        size = self.image_encoder.config.image_size
        processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
        pictures = self.video_processor.pt_to_numpy(image.float() / 2 + 0.5)
        pictures = self.video_processor.numpy_to_pil(pictures)
        pixels = processor(pictures, return_tensors="pt").pixel_values
        dtype = next(self.image_encoder.parameters()).dtype
        return self.image_encoder(pixels.to(self._execution_device, dtype)).last_hidden_state

    @torch.no_grad()
    def encode_reference(self, reference_image) -> EncodedReference:
        """CLIP tokens and reference features of a portrait, for `__call__(reference=...)`.

        Args:
            reference_image: (B, 3, H, W) tensor in [-1, 1], a PIL image, or a uint8 (H, W, 3) RGB array.
        """
        image = image_tensor(reference_image).to(self._execution_device)
        latents = self.encode_clip(image[:, :, None])[:, :, 0]
        tokens = self.encode_image(image) if self.image_encoder is not None else None
        features = None
        if self.reference_network is not None:
            dtype = self.reference_network.dtype
            features = self.reference_network(latents.to(dtype), tokens.to(dtype) if tokens is not None else None)
        return EncodedReference(latents, tokens, features)

    def prepare_latents(
        self, shape: tuple[int, ...], share_noise: bool, generator, latents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The first noisy sample, float32; `share_noise` gives every frame of a clip the same noise."""
        noise = latents if latents is not None else draw_noise(shape, share_noise, generator)
        return noise.to(self._execution_device, torch.float32).expand(shape) * self.scheduler.init_noise_sigma

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
            output_type: "pt", "np", "pil" or "latent".
            return_dict: a `LandmarkAnimationPipelineOutput` or a tuple.
            callback_on_step_end: called as (pipeline, step, timestep, tensors) and may return changed
                tensors.
            callback_on_step_end_tensor_inputs: names of those tensors.

        Raises:
            TypeError, ValueError: an input does not fit; the message names it and what it is.
        """
        # 0. Check inputs
        batch, frames, height, width = self.check_inputs(
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
        )
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
        inputs = self._prepare_conditions(landmark_map, expression, face_map, face_ids, reference, batch, device, dtype)
        condition = None
        if residual_mode:
            base = self.encode_clip(base.to(device, torch.float32))
            gate = retrieve_latents(self.vae.encode(gate.to(device, torch.float32)))
            portrait = reference.latents.to(device) if self.reference_in_condition else None
            condition = residual_condition(base, gate, portrait).to(dtype)
            if self.do_classifier_free_guidance:
                condition = torch.cat([condition] * 2)

        # 2. Timesteps and noise
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        factor = self.vae_scale_factor
        shape = (batch, self.unet.config.in_channels, frames, height // factor, width // factor)
        latents = self.prepare_latents(shape, share_noise, generator, latents)

        # 3. Denoise
        context = "cfg" if self.do_classifier_free_guidance else "cond"
        with self.progress_bar(total=num_inference_steps) as progress_bar:
            for i, t in enumerate(timesteps):
                if self.interrupt:
                    continue
                sample = torch.cat([latents] * 2) if self.do_classifier_free_guidance else latents
                sample = self.scheduler.scale_model_input(sample, t)
                with self.unet.cache_context(
                    context, step_index=i, num_inference_steps=num_inference_steps, timestep=t
                ):
                    prediction = self.unet(sample.to(dtype), t, condition=condition, **inputs).sample.float()
                if self.do_classifier_free_guidance:
                    unconditional, conditional = prediction.chunk(2)
                    prediction = unconditional + self.guidance_scale * (conditional - unconditional)
                if residual_mode:
                    prediction = predict_clean(prediction, base, gate)
                step_kwargs = self._step_kwargs(eta, shape, share_noise, generator)
                latents = self.scheduler.step(prediction, t, latents, **step_kwargs).prev_sample
                if callback_on_step_end is not None:
                    tensors = {"latents": latents} if "latents" in callback_on_step_end_tensor_inputs else {}
                    latents = callback_on_step_end(self, i, t, tensors).pop("latents", latents)
                progress_bar.update()

        # 4. Decode
        if output_type == "latent":
            result = latents
        else:
            result = self.video_processor.postprocess_video(self.decode_clip(latents).float(), output_type)
        self.maybe_free_model_hooks()
        if not return_dict:
            return (result,)
        return LandmarkAnimationPipelineOutput(frames=result)

    def _prepare_conditions(
        self, landmark_map, expression, face_map, face_ids, reference, batch, device, dtype
    ) -> dict[str, torch.Tensor | list[torch.Tensor] | int | None]:
        """The denoiser's arguments that no step changes; for guidance [unconditional, conditional]."""
        landmark_features = tokens = token_faces = features = None
        if landmark_map is not None:
            landmark_features = self.guider(landmark_map.to(device, self.guider.dtype)).to(dtype)
        if expression is not None:
            tokens = self.expression_tokens(expression.to(device, self.expression_tokens.dtype))
            tokens = tokens.flatten(0, 1).to(dtype)  # (B*T, L, D)
            if face_map is not None:
                faces = expression.shape[1] if expression.ndim == 4 else 1
                ids = list(face_ids) if face_ids is not None else list(range(1, faces + 1))
                token_faces = self.expression_tokens.face_ids(batch, ids)
                face_map = face_map.to(device)
        elif reference is not None and reference.tokens is not None:
            tokens = reference.tokens.to(device, dtype).expand(batch, -1, -1)
        if reference is not None and reference.features is not None:
            features = [feature.to(device, dtype) for feature in reference.features]

        unconditional_batch = 0
        if self.do_classifier_free_guidance:
            unconditional_batch = batch
            tokens = torch.cat([torch.zeros_like(tokens), tokens]) if tokens is not None else None
            landmark_features, face_map, token_faces = (
                torch.cat([x] * 2) if x is not None else None for x in (landmark_features, face_map, token_faces)
            )
        return {
            "encoder_hidden_states": tokens,
            "landmark_features": landmark_features,
            "reference_features": features,
            "face_map": face_map,
            "token_faces": token_faces,
            "unconditional_batch": unconditional_batch,
        }

    def _step_kwargs(self, eta: float, shape: tuple[int, ...], share_noise: bool, generator) -> dict:
        """What this scheduler's `step` takes of eta and noise."""
        known = inspect.signature(self.scheduler.step).parameters
        kwargs = {}
        if "eta" in known:
            kwargs["eta"] = eta
        if "variance_noise" in known and eta > 0:
            kwargs["variance_noise"] = draw_noise(shape, share_noise, generator).to(self._execution_device)
        elif "generator" in known:
            kwargs["generator"] = generator
        return kwargs


def draw_noise(shape: tuple[int, ...], share_noise: bool, generator) -> torch.Tensor:
    """Normal noise (B, C, T, h, w), drawn on the generator's device: a seed means the same everywhere."""
    if share_noise:
        shape = (*shape[:2], 1, *shape[3:])
    first = generator[0] if isinstance(generator, list) else generator
    device = first.device if first is not None else torch.device("cpu")
    return randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
