"""Into latents and out of them: clips, and what the networks know of a portrait."""

from dataclasses import dataclass, field

import torch

from animate.models.codec import SpaceToDepthCodec, retrieve_latents
from animate.pipelines.inputs import image_tensor

IMAGE_TOKEN_MODES = ("hidden_states", "embedding")


@dataclass
class EncodedReference:
    """What the networks know of a portrait; made once by `encode_reference`, used for every clip of it."""

    latents: torch.Tensor  # (B, C, h, w) the portrait through the codec
    tokens: torch.Tensor | None  # (B, 257, D) CLIP hidden states, or (B, 1, P) its embedding
    features: list[torch.Tensor] | None  # one map for each spatial transformer
    _kept: dict = field(default_factory=dict, repr=False, compare=False)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "EncodedReference":
        """The same on another device, tokens and features in `dtype`; moved once and then kept."""
        key = torch.device(device), dtype
        if key not in self._kept:
            self._kept[key] = EncodedReference(
                self.latents.to(device),
                self.tokens.to(device, dtype) if self.tokens is not None else None,
                [feature.to(device, dtype) for feature in self.features] if self.features is not None else None,
            )
        return self._kept[key]


class EncodingMixin:
    """Encoding and decoding of a pipeline that has `vae`, `image_encoder` and `reference_network`."""

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a side of one latent."""
        if isinstance(self.vae, SpaceToDepthCodec):
            return self.vae.config.patch_size
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_clip(self, clip: torch.Tensor) -> torch.Tensor:
        """Pixels (B, C, T, H, W) in [-1, 1] to scaled latents (B, c, T, h, w), frame by frame for a VAE."""
        if isinstance(self.vae, SpaceToDepthCodec):
            latents = retrieve_latents(self.vae.encode(clip))
        else:
            frames = [retrieve_latents(self.vae.encode(frame.to(self.vae.dtype))) for frame in clip.unbind(2)]
            latents = torch.stack(frames, dim=2)
        return latents * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode_clip(self, latents: torch.Tensor) -> torch.Tensor:
        """The inverse of `encode_clip`; a VAE decodes one frame at a time, so that memory is one frame's."""
        latents = latents / self.vae.config.scaling_factor
        if isinstance(self.vae, SpaceToDepthCodec):
            return self.vae.decode(latents).sample
        return torch.stack([self.vae.decode(z.to(self.vae.dtype)).sample for z in latents.unbind(2)], dim=2)

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """CLIP's tokens for images (B, 3, H, W) in [-1, 1], as `image_token_mode` says.

        "hidden_states": all of the last layer, (B, 257, D), as Follow-Your-Emoji; "embedding": the projected
        one, (B, 1, P), as AniPortrait.
        """
        # transformers' default processor wants torchvision; this one gives the same numbers without
        from transformers import CLIPImageProcessorPil

        size = self.image_encoder.config.image_size
        processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
        pictures = self.video_processor.pt_to_numpy(image.float() / 2 + 0.5)
        pictures = self.video_processor.numpy_to_pil(pictures)
        pixels = processor(pictures, return_tensors="pt").pixel_values
        dtype = next(self.image_encoder.parameters()).dtype
        output = self.image_encoder(pixels.to(self._execution_device, dtype))
        if self.config.image_token_mode == "embedding":
            return output.image_embeds[:, None]
        return output.last_hidden_state

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
