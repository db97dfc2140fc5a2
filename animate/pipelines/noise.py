"""The noise that a clip is drawn from: of a generator, or of each frame's own number.

A generator's noise depends on how many frames are drawn together. `FrameNoise` depends on the seed and on the frame
alone, so that windows of a long video share the noise of the frames they share, and a resumed job draws what it would
have drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor


def draw_noise(shape: tuple[int, ...], share_noise: bool, generator) -> torch.Tensor:
    """Normal noise (B, C, T, h, w), drawn on the generator's device: a seed means the same everywhere."""
    if share_noise:
        shape = (*shape[:2], 1, *shape[3:])
    first = generator[0] if isinstance(generator, list) else generator
    device = first.device if first is not None else torch.device("cpu")
    return randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)


def frame_noise(seed: int, frames: Iterable[int], shape: tuple[int, int, int], draw: int = 0) -> torch.Tensor:
    """Normal noise (1, C, T, h, w) float32 on the CPU; frame n's is a function of (seed, n, draw) alone.

    Args:
        seed: 0 or more.
        frames: the frames' numbers in the whole video, 0 or more, in any order.
        shape: (C, h, w) of one frame's latents.
        draw: 0 for the first noise, i + 1 for the fresh noise of step i.

    Raises:
        ValueError: a negative number, or no frames.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("`frames` names no frame to draw noise for")
    if min(seed, draw, *frames) < 0:
        raise ValueError(f"`seed`, `draw` and `frames` must be 0 or more but are {seed}, {draw} and {frames}")
    # a counter-based generator: any two (seed, frame, draw) give unrelated streams, and every machine the same bits
    streams = (np.random.Generator(np.random.Philox(np.random.SeedSequence([draw, n, seed]))) for n in frames)
    noise = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams], axis=1)
    return torch.from_numpy(noise)[None]


@dataclass(frozen=True)
class FrameNoise:
    """Noise of numbered frames, for `LandmarkAnimationPipeline(noise=...)`.

    Attributes:
        seed: 0 or more.
        frames: the number in the whole video of each frame of the clip, for example `range(12, 28)`.
    """

    seed: int
    frames: range | tuple[int, ...]

    def __call__(self, shape: tuple[int, ...], draw: int = 0) -> torch.Tensor:
        """(1, C, T, h, w) for a clip of `shape` (B, C, T, h, w); `draw` as in `frame_noise`."""
        if len(self.frames) != shape[2]:
            raise ValueError(f"`noise` is of {len(self.frames)} frames but the clip has {shape[2]}")
        return frame_noise(self.seed, self.frames, (shape[1], *shape[3:]), draw)
