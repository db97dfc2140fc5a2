"""The full-size animator: a square round the face is drawn whole by `LandmarkAnimationPipeline` and laid back.

    targets ─► landmark maps in the square ─► windows (`animate.pipelines.windows`), each denoised to latents
            ─► latents decoded frame by frame ─► laid over the portrait under a mask with a soft edge

The portrait's reference features are made once. The noise of frame n depends on the seed and on n alone. Finished
windows are kept as latents; decoding them again gives the same pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from animate.animator import PortraitAnimator
from animate.caching import CacheTally, has_work
from animate.compositing import flatten
from animate.device import check_device
from animate.errors import OptionError, WeightsError
from animate.full_size_options import FullSizeOptions
from animate.landmark_map import draw, expression_mask
from animate.loading import undisturbed
from animate.losses import facial_weights
from animate.movement import portrait_facts
from animate.pipelines.acceleration import compile_blocks, offload, set_attention
from animate.pipelines.noise import FrameNoise
from animate.pipelines.scheduler import set_scheduler
from animate.pipelines.windows import Window, draw_windows, overlapping, progressive
from animate.portrait import Portrait
from animate.square_crop import SquareCrop
from animate.work_folder import WorkFolder, model_facts

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny

    from animate.group import Part
    from animate.pipelines.landmark import LandmarkAnimationPipeline
    from cache import TaylorCacheConfig


class FullSizeAnimator(PortraitAnimator):
    """Draws a portrait with Follow-Your-Emoji or a network of its kind.

    Args:
        pipeline: a `LandmarkAnimationPipeline` that draws whole pictures by landmark maps.
        options: how it draws.
        steps: denoising steps; None takes the pipeline's own.
        seed: of the noise.
        folder: where the pipeline came from, for what a work folder says of it.
        decoder: draws the frames from latents instead of the pipeline's own VAE; the portrait is encoded by that one.
        cache: what the denoiser computes and forecasts; None computes everything.

    Raises:
        OptionError: more frames a window than the network knows, a size that it cannot draw.
    """

    paints_regions = False
    looks_ahead = True

    def __init__(
        self,
        pipeline: LandmarkAnimationPipeline,
        options: FullSizeOptions | None = None,
        steps: int | None = None,
        seed: int = 0,
        folder: Path | None = None,
        decoder: AutoencoderTiny | None = None,
        cache: TaylorCacheConfig | None = None,
    ):
        super().__init__()
        self.cached = CacheTally()
        self.pipeline, self.options, self.seed, self.folder = pipeline, options or FullSizeOptions(), seed, folder
        self.steps = pipeline.config.default_num_inference_steps if steps is None else steps
        guidance = self.options.guidance
        self.guidance = pipeline.config.default_guidance_scale if guidance is None else guidance
        known = pipeline.unet.config
        if known.use_motion_module and self.options.window > known.motion_max_frames:
            raise OptionError(
                f"--window is {self.options.window}: this model knows windows of at most {known.motion_max_frames} "
                "frames."
            )
        pipeline.set_progress_bar_config(disable=True)
        self.decoding = pipeline
        if decoder is not None:
            self.decoding = copy.copy(pipeline)
            self.decoding.register_modules(vae=decoder)
        self.cache = cache if has_work(cache, self.steps) else None
        if self.cache is not None:
            pipeline.unet.enable_cache(self.cache)

    @classmethod
    def load(
        cls,
        folder: Path,
        options: FullSizeOptions | None = None,
        device: str = "cpu",
        steps: int | None = None,
        seed: int = 0,
        cache: TaylorCacheConfig | None = None,
    ) -> FullSizeAnimator:
        """The animator of a saved pipeline, on a device and with the memory and speed settings asked for.

        Raises:
            WeightsError: something of the pipeline is missing; the sentence says what and where to get it.
            OptionError: a device, attention kernel or option that cannot be used here.
        """
        from animate.checkpoints import load_pipeline

        options = options or FullSizeOptions()
        place = check_device(device)
        pipeline = load_pipeline(folder, dtype=compute_dtype(options.dtype, place), device="cpu")
        decoder = load_preview_decoder(pipeline.vae.dtype, place) if options.preview else None
        set_scheduler(pipeline, options.scheduler)
        offload(pipeline, options.offload, place)
        if options.attention != "auto":
            set_attention(pipeline, options.attention, place)
        if options.compile:
            compile_blocks(pipeline)
        return cls(pipeline, options, steps, seed, folder, decoder, cache)

    def render(
        self,
        portrait: Portrait,
        landmarks: Iterable[np.ndarray],
        source: np.ndarray | None = None,
        *,
        bounds: np.ndarray | None = None,
        work: WorkFolder | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames (H, W, 3|4) uint8 for target landmarks, (478, 3) px each; see `PortraitAnimator.render`."""
        if source is None:
            source = portrait.faces[0].landmarks
        image = portrait.image
        crop = SquareCrop.around(source, image.shape[1::-1], self.options.size, bounds)
        if work is not None:
            work.claim("drawing", self._facts(portrait, source) | {"square": (crop.left, crop.top, crop.side)})
        return self._film(image, crop, landmarks, work)

    def animate_group(self, portrait: Portrait, parts: Sequence[Part], **options) -> Iterator[np.ndarray]:
        """Each face is drawn by itself and the results are joined; see `PortraitAnimator.animate_group`."""
        from animate.group_joined import animate_joined

        return animate_joined(self, portrait, parts, **options)

    def _film(
        self, image: np.ndarray, crop: SquareCrop, targets: Iterable[np.ndarray], work: WorkFolder | None
    ) -> Iterator[np.ndarray]:
        options = self.options
        with self.timed("prepare"):
            film = _Film(self, crop, flatten(image))
        draw_window = film.draw if work is None else work.remember(film.draw)
        if options.long == "overlap":
            pieces = overlapping(targets, options.window, options.shared)
        else:
            pieces = progressive(targets, options.window)
        for _, latents in draw_windows(pieces, draw_window):
            with self.timed("decode"):
                drawn = film.decode(latents)
            with self.timed("paste"):
                frame = crop.lay(image, drawn)
            yield frame

    def _facts(self, portrait: Portrait, source: np.ndarray) -> dict[str, object]:
        """All that the frames depend on but the targets."""
        options, unet = self.options, self.pipeline.unet
        facts = {
            "portrait": portrait_facts(portrait, source),
            "model": "" if self.folder is None else model_facts(self.folder),
            "steps": self.steps,
            "seed": self.seed,
            "guidance": self.guidance,
            "dtype": unet.dtype,
            "device": self.pipeline._execution_device.type,
            "PyTorch": torch.__version__,
        }
        if options.long == "overlap":
            facts["overlap"] = options.shared
        if self.cache is not None:
            facts["cache"] = self.cache
        if facts["device"] == "cpu":
            facts["threads"] = torch.get_num_threads()  # sums of floats depend on it
        names = ("long", "window", "size", "scheduler", "preview", "attention", "compile")
        return facts | {name: getattr(options, name) for name in names}


class _Film:
    """One portrait in its square: windows to latents, latents to pictures."""

    def __init__(self, animator: FullSizeAnimator, crop: SquareCrop, image: np.ndarray):
        self.animator, self.pipeline, self.crop = animator, animator.pipeline, crop
        self.style = self.pipeline.config.landmark_style
        self.reference = self.pipeline.encode_reference(crop.cut(image))

    def draw(self, window: Window, targets: list[np.ndarray], known: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Latents (C, h, w) float32 of the frames that the window draws."""
        pipeline, size = self.pipeline, self.crop.size
        with self.animator.timed("map"):
            maps = np.stack([draw(self.crop.landmarks(target), (size, size), self.style) for target in targets])
        given = {}
        if known:
            latents = torch.zeros(pipeline.latent_shape(1, len(maps), size, size))
            for at, frame in enumerate(window.frames):
                if frame in known:
                    latents[0, :, at] = torch.from_numpy(known[frame])
            given = {"known_latents": latents, "known_frames": torch.tensor(window.known)}
        if self.animator.cache is not None:
            given["error_weight"] = self._error_weight(targets)
        with self.animator.timed("network"):
            result = pipeline(
                landmark_map=torch.from_numpy(maps).permute(3, 0, 1, 2)[None].float() / 255,
                reference=self.reference,
                noise=FrameNoise(self.animator.seed, window.frames),
                name=str(window.index),
                num_inference_steps=self.animator.steps,
                guidance_scale=self.animator.guidance,
                output_type="latent",
                **given,
            )
            drawn = result.frames[0].float().cpu()
        self.animator.cached.add(result.cache)
        return [drawn[:, at].numpy().copy() for at, is_known in enumerate(window.known) if not is_known]

    def _error_weight(self, targets: list[np.ndarray]) -> torch.Tensor:
        """(1, 1, T, size, size): forecasts must be right above all where the expression is."""
        size = (self.crop.size, self.crop.size)
        masks = np.stack([expression_mask(self.crop.landmarks(target), size) for target in targets])
        return facial_weights(torch.from_numpy(masks).float() / 255)[None, None]

    @torch.no_grad()
    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(size, size, 3) uint8 of one frame's latents (C, h, w)."""
        clip = torch.from_numpy(latents)[None, :, None].to(self.pipeline._execution_device)
        picture = self.animator.decoding.decode_clip(clip)[0, :, 0].float()
        picture = (picture / 2 + 0.5).clamp(0, 1) * 255
        return picture.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a name of `FullSizeOptions.dtype` on a device."""
    if name == "auto":
        name = "float32" if device.type == "cpu" else "float16"
    return getattr(torch, name)


def load_preview_decoder(dtype: torch.dtype, device: torch.device) -> AutoencoderTiny:
    """TAESD. Raises WeightsError where it is not on this machine."""
    from diffusers import AutoencoderTiny

    from weights.registry import get
    from weights.store import find_folder, how_to_get

    record = get("taesd")
    folder = find_folder(record)
    if folder is None:
        raise WeightsError(f"--preview needs TAESD, which is not on this machine: {how_to_get(record)}.")
    with undisturbed():
        return AutoencoderTiny.from_pretrained(folder, dtype=dtype).to(device)
