"""Long video for an expression-driven video model: latent frames in overlapping windows, each anchored on the picture.

    frames    0 │ 1 2 3 4 │ 5 6 7 8 │ ...         a latent frame is four video frames, the first one is a single frame
    latents   0 │    1    │    2    │ ...
    window 0  0 1 2 ... 19
    window 1  P 10 11 ... 19 20 ... 29            P: the picture; half of what is shared is known, half is blended

A window begins as the network knows clips to begin: with the picture, held at its own latents. What two windows share
is handed on as known latents and cross-faded (`animate.pipelines.windows`), so that each window is a function of the
windows before it: any length in constant memory, and a job that was killed goes on where it stopped. (FlashPortrait
has windows of 21 latents that share 10, too, but cross-fades them inside each step, for which the latents of the whole
clip must be at hand.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np
import torch

from animate.errors import OptionError
from animate.pipelines.windows import Window, overlapping

WINDOW, OVERLAP = 21, 10  # latent frames: 81 frames are drawn together, as the model was trained
PER_LATENT = 4


class LatentItems:
    """A clip's frames, four to a latent frame.

    Iterating gives for each latent frame the arrays of its video frames and, first, of the frame before them: (5, ...).
    Latent frame 0 is frame 0, five times. The last one is filled up with the last frame.

    Attributes:
        frames: how many have been read so far.
    """

    def __init__(self, frames: Iterable[np.ndarray]):
        self._source = iter(frames)
        self.frames = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        first = list(islice(self._source, 1))
        if not first:
            return
        self.frames = 1
        yield np.stack(first * (PER_LATENT + 1))
        last = first[0]
        while some := list(islice(self._source, PER_LATENT)):
            self.frames += len(some)
            filled = some + some[-1:] * (PER_LATENT - len(some))
            yield np.stack([last, *filled])
            last = filled[-1]


def check_latent_windows(window: int, overlap: int) -> None:
    """Raises OptionError for windows that cannot be drawn or cannot share so much."""
    if window < 3:
        raise OptionError(f"--window holds {window} latent frames: it needs at least 3, which are 9 frames.")
    if not 0 <= overlap <= (window - 1) // 2:
        raise OptionError(
            f"--overlap holds {overlap} latent frames: windows of {window} share 0 to {(window - 1) // 2}, of four "
            "frames each."
        )


def latent_windows(
    items: Iterable[np.ndarray], window: int = WINDOW, overlap: int = OVERLAP
) -> Iterator[tuple[Window, list[np.ndarray]]]:
    """The plan of a clip: one window where it fits into one, else windows that leave a place for the picture.

    Args:
        items: `LatentItems`. window: latent frames that the network sees at once. overlap: that two windows share.

    Raises:
        OptionError: at the first window, see `check_latent_windows`.
    """
    check_latent_windows(window, overlap)
    items = iter(items)
    head = list(islice(items, window + 1))
    if len(head) <= window:
        yield from overlapping(head, window, 0)
    else:
        yield from overlapping(chain(head, items), window - 1, overlap)


def window_frames(window: Window, items: list[np.ndarray]) -> np.ndarray:
    """The video frames (4F - 3, ...) that a window's network sees; with the picture, its place is the first frame's.

    That first frame is the one before the window's own: the network's second latent frame looks back at it.
    """
    own = np.concatenate([item[1:] for item in items[1:]]) if len(items) > 1 else items[0][:0]
    if window.index == 0:
        return np.concatenate([items[0][-1:], own])
    return np.concatenate([items[0], own])


class StreamingDecoder:
    """Wan's autoencoder decodes latent frames as they come; the video is bit for bit that of `vae.decode`.

    Its convolutions look back in time alone. What they have seen is kept here between latent frames.

    Args:
        pipeline: an `ExpressionPipeline`.
    """

    def __init__(self, pipeline):
        if pipeline.vae.config.patch_size is not None:
            raise ValueError("the autoencoder must be Wan 2.1's: that of Wan 2.2 cuts pictures into patches")
        self.pipeline = pipeline
        self._seen: list = [None] * pipeline.vae._cached_conv_counts["decoder"]
        self._first = True

    @torch.no_grad()
    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """(n, H, W, 3) uint8 of the next latent frame (C, h, w): one picture of the first, then four each."""
        vae = self.pipeline.vae
        if hasattr(vae, "_hf_hook"):  # offloading moves a network when it is called as a whole
            vae._hf_hook.pre_forward(vae)
        z = torch.from_numpy(latents)[None, :, None].to(self.pipeline._execution_device)
        states = vae.post_quant_conv(self.pipeline.denormalise(z).to(vae.dtype))
        made = vae.decoder(states, feat_cache=self._seen, feat_idx=[0], first_chunk=self._first)[0]
        self._first = False
        pictures = (made.float().clamp(-1, 1) / 2 + 0.5) * 255  # (3, n, H, W)
        return pictures.round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
