"""SpaceToDepthCodec: the lossless stand-in for a VAE, (B, 3, H, W) <-> (B, 48, H/4, W/4).

It only moves numbers, so a round trip gives back the very bits. Its interface is diffusers' autoencoders'.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook


@dataclass
class CodecEncoderOutput(BaseOutput):
    """`latents`: (B, C*p*p, H/p, W/p), or with a time axis (B, C*p*p, T, H/p, W/p)."""

    latents: torch.Tensor


@dataclass
class CodecDecoderOutput(BaseOutput):
    """`sample`: (B, C, H, W), or with a time axis (B, C, T, H, W)."""

    sample: torch.Tensor


class SpaceToDepthCodec(ModelMixin, ConfigMixin):
    """Folds each `patch_size` x `patch_size` square of pixels into channels; it has no parameters.

    Latent channel `c * p * p + i * p + j` is colour c of the pixel in row i and column j of the square.
    Values keep their range ([-1, 1] for images) and their dtype.
    """

    @register_to_config
    def __init__(self, patch_size: int = 4, in_channels: int = 3, scaling_factor: float = 1.0):
        super().__init__()
        if patch_size < 1:
            raise ValueError(f"`patch_size` must be 1 or more but is {patch_size}")
        # diffusers asks a component for its device and dtype, and saves no file for one without tensors
        self.register_buffer("anchor", torch.zeros(1))

    @property
    def latent_channels(self) -> int:
        return self.config.in_channels * self.config.patch_size**2

    @apply_forward_hook
    def encode(self, x: torch.Tensor, return_dict: bool = True) -> CodecEncoderOutput | tuple[torch.Tensor]:
        """Images (B, C, H, W) or clips (B, C, T, H, W) to latents; H and W must be multiples of `patch_size`.

        Any number of channels is taken, so that a mask of one channel is brought to the latents' grid the
        same way.
        """
        patch = self.config.patch_size
        if x.ndim not in (4, 5) or x.shape[-1] % patch or x.shape[-2] % patch:
            raise ValueError(
                f"`x` must be (B, C, H, W) or (B, C, T, H, W) with H and W multiples of {patch} "
                f"but has shape {tuple(x.shape)}"
            )
        latents = _per_frame(x, lambda frames: F.pixel_unshuffle(frames, patch))
        return CodecEncoderOutput(latents=latents) if return_dict else (latents,)

    @apply_forward_hook
    def decode(self, z: torch.Tensor, return_dict: bool = True) -> CodecDecoderOutput | tuple[torch.Tensor]:
        """The exact inverse of `encode`."""
        patch = self.config.patch_size
        if z.ndim not in (4, 5) or z.shape[1] % patch**2:
            raise ValueError(
                f"`z` must be (B, C, H, W) or (B, C, T, H, W) with C a multiple of {patch**2} "
                f"but has shape {tuple(z.shape)}"
            )
        sample = _per_frame(z, lambda frames: F.pixel_shuffle(frames, patch))
        return CodecDecoderOutput(sample=sample) if return_dict else (sample,)

    def forward(self, sample: torch.Tensor, return_dict: bool = True) -> CodecDecoderOutput | tuple[torch.Tensor]:
        """Encode and decode: the identity."""
        return self.decode(self.encode(sample).latents, return_dict=return_dict)


def _per_frame(clip: torch.Tensor, function) -> torch.Tensor:
    if clip.ndim == 4:
        return function(clip)
    # pixel_(un)shuffle takes any leading axes: (B, T, C, H, W)
    return function(clip.transpose(1, 2)).transpose(1, 2)


def retrieve_latents(encoder_output) -> torch.Tensor:
    """The latents of any diffusers autoencoder's `encode`: the mean of a distribution, or the latents
    themselves.

    Raises:
        TypeError: the output has neither `latent_dist` nor `latents`.
    """
    if hasattr(encoder_output, "latent_dist"):
        return encoder_output.latent_dist.mode()
    if hasattr(encoder_output, "latents"):
        return encoder_output.latents
    raise TypeError(
        f"an encoder's output must have `latent_dist` or `latents` but is a {type(encoder_output).__name__}"
    )
