"""One portrait, drawn by `ExpressionPipeline` window by window: frames of features and boxes in, latents out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from animate.compositing import flatten
from animate.pipelines.latent_film import window_frames
from animate.pipelines.noise import FrameNoise

if TYPE_CHECKING:
    from animate.expression_animator import ExpressionAnimator
    from animate.pipelines.windows import Window
    from animate.portrait import Portrait


class Film:
    """One portrait: windows to latents.

    Args:
        first: (N, 554 + 4) features and boxes in portrait pixels that belong to the picture, of the faces that move.
    """

    def __init__(self, animator: ExpressionAnimator, portrait: Portrait, first: np.ndarray):
        self.animator, self.pipeline = animator, animator.pipeline
        image = flatten(portrait.image)
        height, width = image.shape[:2]
        self.width, self.height = self.pipeline.fit_size(width, height, animator.options.longest)
        self.scale = np.array([self.width / width, self.height / height] * 2, np.float32)
        self.first = first
        # one face alone attends as the network was trained; with others in the picture each sees its own driver
        self.masked = len(portrait.faces) > 1 or len(first) > 1
        self.picture = self.pipeline.encode_picture(image, animator.options.window, self.width, self.height)
        self.prompt = animator.prompt if animator.prompt is not None else self.pipeline.encode_prompt()

    def draw(self, window: Window, items: list[np.ndarray], known: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Latents (C, h, w) float32 of the latent frames that the window draws."""
        anchored = window.index > 0
        frames = window_frames(window, items)  # (T, N, 554 + 4)
        if anchored:
            frames[0, :, -4:] = self.first[:, -4:]
        features = torch.from_numpy(frames[..., :-4]).transpose(0, 1)  # (N, T, 554)
        boxes = torch.from_numpy(frames[..., -4:] * self.scale).transpose(0, 1) if self.masked else None
        numbers = (0, *window.frames) if anchored else window.frames
        with self.animator.timed("network"):
            result = self.pipeline(
                picture=self.picture,
                expression=features,
                boxes=boxes,
                first_expression=torch.from_numpy(self.first[:, :-4]) if anchored else None,
                prompt_embeds=self.prompt,
                noise=FrameNoise(self.animator.seed, numbers),
                name=str(window.index),
                num_inference_steps=self.animator.steps,
                expression_guidance_scale=self.animator.guidance,
                output_type="latent",
                **self._known(window, known, len(numbers)),
            )
            drawn = result.frames[0, :, anchored:].float().cpu()
        self.animator.cached.add(result.cache)
        return [drawn[:, at].numpy().copy() for at, is_known in enumerate(window.known) if not is_known]

    def _known(self, window: Window, known: Mapping[int, np.ndarray], count: int) -> dict[str, torch.Tensor]:
        """The picture, and what the window before has drawn."""
        if window.index == 0:
            return {}
        picture = self.picture.latents.float().cpu()
        latents = picture.new_zeros(1, picture.shape[1], count, *picture.shape[3:])
        latents[:, :, :1] = picture
        for at, frame in enumerate(window.frames, 1):
            if frame in known:
                latents[0, :, at] = torch.from_numpy(known[frame])
        return {"known_latents": latents, "known_frames": torch.tensor((True, *window.known))}


def as_large(picture: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The picture (h, w, 3) at the size of the portrait (H, W, 3|4), whose transparency stays."""
    height, width = image.shape[:2]
    if picture.shape[:2] != (height, width):
        shrinking = width < picture.shape[1]
        way = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        picture = cv2.resize(picture, (width, height), interpolation=way)
    return picture if image.shape[2] == 3 else np.dstack([picture, image[..., 3]])
