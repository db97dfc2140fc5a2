"""Into latents and tokens and out of them again: what the expression pipeline knows of a picture, a text, a motion.

Conventions of the picture, of CLIP's and of the text's states are those of diffusers' `WanImageToVideoPipeline`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch

from animate.models.character_mask import CharacterMask, regions_from_boxes
from animate.models.codec import retrieve_latents
from animate.models.portrait_tokens import join_characters, per_latent_frame

TEXT_TOKENS = 512
MASK_CHANNELS = 4  # one for each video frame of a latent frame


@dataclass
class EncodedPicture:
    """What the network is told of a picture; made once by `encode_picture`, used for every window of a clip.

    condition: (1, 4 + C, F, h, w): mask channels, 1 at latent frame 0, and the latents of a clip that begins with the
        picture and is grey after it. The first frames of a longer one are those of a shorter one.
    image_embeds: (1, 257, D) CLIP states; None for a network without them.
    """

    condition: torch.Tensor
    image_embeds: torch.Tensor | None

    @property
    def latents(self) -> torch.Tensor:
        """(1, C, 1, h, w) of the picture itself."""
        return self.condition[:, MASK_CHANNELS:, :1]

    def take(self, frames: int) -> EncodedPicture:
        """The same for a clip of so many latent frames, at most its own."""
        return EncodedPicture(self.condition[:, :, :frames], self.image_embeds)


class ExpressionEncodingMixin:
    """Encoding and decoding of a pipeline with `vae`, `tokens`, `image_encoder` and `text_encoder`."""

    @property
    def frames_per_latent(self) -> int:
        """Video frames of a latent frame; the first one is a single video frame."""
        return self.vae.config.scale_factor_temporal

    @property
    def size_multiple(self) -> int:
        """Height and width are multiples of so many pixels."""
        return self.vae.config.scale_factor_spatial * self.transformer.config.patch_size[1]

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of so many frames, which must be 1 more than a multiple of `frames_per_latent`."""
        return (frames - 1) // self.frames_per_latent + 1

    def fit_size(self, width: int, height: int, longest: int = 720) -> tuple[int, int]:
        """(width, height) to draw a picture at: its shape as nearly as multiples allow, its longer side `longest`."""
        multiple, scale = self.size_multiple, longest / max(width, height)
        return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))

    @torch.no_grad()
    def encode_prompt(
        self, prompt: str = "", device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """(1, 512, D) states of a text, zeros behind its end. Raises ValueError without a text encoder."""
        if self.text_encoder is None or self.tokenizer is None:
            raise ValueError(
                "this pipeline has no text encoder: give `prompt_embeds` (and `negative_prompt_embeds` with guidance)"
            )
        device = device or self._execution_device
        given = self.tokenizer(
            [" ".join(prompt.split())],
            padding="max_length",
            max_length=TEXT_TOKENS,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        mask = given.attention_mask.to(device)
        states = self.text_encoder(given.input_ids.to(device), mask).last_hidden_state
        return (states * mask[..., None].to(states.dtype)).to(dtype or self.transformer.dtype)

    @torch.no_grad()
    def encode_picture(
        self,
        image: torch.Tensor | PIL.Image.Image | np.ndarray,
        latent_frames: int,
        width: int | None = None,
        height: int | None = None,
    ) -> EncodedPicture:
        """A picture as the beginning of a clip.

        Args:
            image: (1, 3, H, W) in [-1, 1], PIL, or uint8 (H, W, 3) RGB; resized where that is needed.
            latent_frames: length of the clip.
            width, height: the clip's; `fit_size` of the picture when None.
        """
        image = as_pil(image)
        if width is None or height is None:
            width, height = self.fit_size(*image.size)
        device = self._execution_device
        picture = self.video_processor.preprocess(image, height=height, width=width).to(device, torch.float32)
        frames = self.frames_per_latent * (latent_frames - 1) + 1
        video = picture.new_zeros(1, 3, frames, height, width)
        video[:, :, 0] = picture
        latents = self._normalise(retrieve_latents(self.vae.encode(video.to(self.vae.dtype))).float())
        mask = torch.zeros(1, MASK_CHANNELS, *latents.shape[2:], device=device)
        mask[:, :, 0] = 1
        return EncodedPicture(torch.cat([mask, latents], dim=1), self.encode_image(image))

    @torch.no_grad()
    def encode_image(self, image: PIL.Image.Image) -> torch.Tensor | None:
        """(1, 257, D): the last but one layer of CLIP's states; None for a network that takes none."""
        if self.transformer.config.image_dim is None:
            return None
        if self.image_encoder is None or self.image_processor is None:
            raise ValueError(
                "this network takes a picture's CLIP states: the pipeline needs `image_encoder` and `image_processor`"
            )
        pixels = self.image_processor(images=image, return_tensors="pt").pixel_values
        pixels = pixels.to(self._execution_device, self.image_encoder.dtype)
        return self.image_encoder(pixels, output_hidden_states=True).hidden_states[-2]

    @torch.no_grad()
    def encode_expression(
        self, expression: torch.Tensor, latent_frames: int, first: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Expression features of N characters as the transformer's tokens.

        Args:
            expression: (N, T, 554), a row a character.
            latent_frames: F; tokens that a shorter clip lacks are padding.
            first: (N, 554), what latent frame 0 shows instead of frame 0's own expression.

        Returns:
            (1, F, N * 97, D), character 0's tokens first, and (N, F, 97) bool, False for padding.
        """
        device = self._execution_device
        chosen, real = per_latent_frame(self.tokens(expression.to(device)), latent_frames)
        if first is not None:
            start, _ = per_latent_frame(self.tokens(first.to(device)[:, None]), 1)
            chosen = torch.cat([start, chosen[:, 1:]], dim=1)
        return join_characters(chosen), real

    def character_mask(
        self,
        masks: torch.Tensor | np.ndarray | None,
        boxes: torch.Tensor | np.ndarray | None,
        shape: tuple[int, ...],
        real: torch.Tensor,
        padding: str = "compat",
        **options,
    ) -> CharacterMask | None:
        """Whose expression counts where.

        Args:
            masks, boxes: (N, T, H, W), or (N, T, 4) in pixels of the clip; both None: everything is everybody's.
            shape: of the latents, (1, C, F, h, w).
            real: of `encode_expression`.
            padding: "compat", as the published checkpoint was trained, or "masked".
            options: the other ones of `CharacterMask.from_regions`.

        Returns:
            None where each video token attends to all.

        Raises:
            OptionError: sizes that do not fit, an unknown option.
        """
        patch = self.transformer.config.patch_size
        grid = tuple(size // of for size, of in zip(shape[2:], patch, strict=True))
        if masks is None and boxes is None:
            return CharacterMask.everywhere(real, grid) if padding == "masked" else None
        if masks is not None:
            regions = torch.as_tensor(masks)
        else:
            factor = self.vae.config.scale_factor_spatial
            regions = regions_from_boxes(torch.as_tensor(boxes), (shape[3] * factor, shape[4] * factor), grid)
        return CharacterMask.from_regions(regions, grid, real.shape[-1], real, padding=padding, **options)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (1, C, F, h, w) of a whole clip to pixels (1, 3, T, H, W) in [-1, 1]."""
        return self.vae.decode(self.denormalise(latents).to(self.vae.dtype), return_dict=False)[0]

    def denormalise(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents as the autoencoder has them."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def _normalise(self, latents: torch.Tensor) -> torch.Tensor:
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def _statistics(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.vae.config
        return tuple(
            torch.tensor(values, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )


def as_pil(image: torch.Tensor | PIL.Image.Image | np.ndarray) -> PIL.Image.Image:
    """An RGB picture. Raises TypeError or ValueError for another kind or shape."""
    if isinstance(image, PIL.Image.Image):
        return image.convert("RGB")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"`image` as an array must be uint8 (H, W, 3) but is {image.dtype} of shape {image.shape}")
        return PIL.Image.fromarray(image)
    if not isinstance(image, torch.Tensor):
        raise TypeError(f"`image` must be a torch.Tensor, a PIL image or an array but is a {type(image).__name__}")
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"`image` must be (1, 3, H, W) but has shape {tuple(image.shape)}")
    levels = (image[0].float().clamp(-1, 1) + 1) * 127.5
    return PIL.Image.fromarray(levels.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())
