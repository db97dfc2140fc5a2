"""The network's part of a frame: windows are cut, painted by the diffusion pipeline and pasted back as residuals."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from animate.caching import CacheTally, has_work, with_own_hooks
from animate.compositing import paste
from animate.device import check_device
from animate.expression import expression_features, mirror_features
from animate.regions import REGIONS, Region, cut, gate, region_map, window_matrix
from animate.warp import PortraitWarp
from animate.work_folder import model_facts
from weights.errors import WeightsError

if TYPE_CHECKING:
    from cache import TaylorCacheConfig


class RegionPainter:
    """A `LandmarkAnimationPipeline` in its window configuration (`mini`), ready to paint.

    Args:
        pipeline: with a codec, a denoiser, a guider and expression tokens.
        steps: denoising steps; None takes the pipeline's own.
        seed: of the noise, which is the same for every frame and every clip.
        folder: where the pipeline came from.
        cache: what the denoiser computes and forecasts; None computes everything.

    Attributes:
        cached: what the cache did since this was last cleared.
    """

    def __init__(
        self,
        pipeline,
        steps: int | None = None,
        seed: int = 0,
        folder: Path | None = None,
        cache: TaylorCacheConfig | None = None,
    ):
        self.pipeline, self.steps, self.seed, self.folder = pipeline, steps, seed, folder
        taken = pipeline.config.default_num_inference_steps if steps is None else steps
        self.cache, self.cached = (cache if has_work(cache, taken) else None), CacheTally()
        pipeline.set_progress_bar_config(disable=True)
        self._threads = threading.local()

    @classmethod
    def from_pretrained(
        cls,
        folder: Path,
        device: str = "cpu",
        steps: int | None = None,
        seed: int = 0,
        cache: TaylorCacheConfig | None = None,
    ) -> RegionPainter:
        from diffusers.utils import logging

        from animate.pipelines.landmark import LandmarkAnimationPipeline

        logging.disable_progress_bar()
        place = check_device(device)
        try:
            pipeline = LandmarkAnimationPipeline.from_pretrained(
                folder, dtype=compute_dtype(device), low_cpu_mem_usage=False
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise WeightsError(f"The model in {folder} cannot be loaded ({error}); fetch or export it anew.") from error
        pipeline.to(place)
        return cls(pipeline, steps, seed, folder, cache)

    def facts(self) -> dict[str, object]:
        """All of the painter that frames depend on, for a work folder."""
        facts = {
            "model": "" if self.folder is None else model_facts(self.folder),
            "steps": self.steps,
            "seed": self.seed,
            "dtype": self.pipeline.unet.dtype,
            "device": self.pipeline.device,
            "PyTorch": torch.__version__,
        }
        return facts if self.cache is None else facts | {"cache": self.cache}

    @property
    def own_pipeline(self):
        """The pipeline; what a run changes, the scheduler's steps and the cache's states, is the thread's own."""
        if not hasattr(self._threads, "pipeline"):
            own = copy.copy(self.pipeline)
            own.scheduler = copy.deepcopy(self.pipeline.scheduler)
            if self.cache is not None:
                own.unet = with_own_hooks(self.pipeline.unet)
                own.unet.enable_cache(self.cache)
            self._threads.pipeline = own
        return self._threads.pipeline

    def start(self, warp: PortraitWarp, regions: tuple[Region, ...] = REGIONS) -> Painting:
        """What one portrait needs is made once; `regions` are the windows to paint."""
        return Painting(self, warp, regions)


class Painting:
    """One portrait's windows and expression; `paint` works on chunks of frames."""

    def __init__(self, painter: RegionPainter, warp: PortraitWarp, regions: tuple[Region, ...] = REGIONS):
        self.painter, self.regions = painter, regions
        self.source_features = expression_features(warp.source)
        self.references = {
            region.name: _picture(cut(warp.image, window_matrix(warp.source, region), region)) for region in REGIONS
        }

    def paint(self, frames: list[np.ndarray], targets: list[np.ndarray], offset: tuple[int, int]) -> None:
        """Adds the network's residuals to warped and filled frames, in place.

        Args:
            frames: (h, w, 3) uint8 each, whose pixel (0, 0) is the picture's pixel `offset`.
            targets: (478, 3) target landmarks in picture pixels, one set a frame.
        """
        features = [np.concatenate([expression_features(t), self.source_features]) for t in targets]
        for regions in _by_size(self.regions):
            jobs = [
                (frame, target, f, r)
                for frame, target, f in zip(frames, targets, features, strict=True)
                for r in regions
            ]
            matrices = [window_matrix(target, region) for _, target, _, region in jobs]
            gates = [gate(target, m, region) for (_, target, _, region), m in zip(jobs, matrices, strict=True)]
            bases = []
            for (frame, _, _, region), matrix in zip(jobs, matrices, strict=True):
                shifted = matrix.copy()
                shifted[:, 2] += matrix[:, :2] @ offset
                bases.append(_picture(cut(frame, shifted, region)))
            maps = [region_map(t, m, r) for (_, t, _, r), m in zip(jobs, matrices, strict=True)]
            vectors = [mirror_features(f) if r.mirrored else f for _, _, f, r in jobs]
            base = torch.stack(bases).unsqueeze(2)
            result = self.painter.own_pipeline(
                reference_image=torch.stack([self.references[r.name] for *_, r in jobs]),
                landmark_map=torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).unsqueeze(2).float() / 255,
                base=base,
                gate=torch.from_numpy(np.stack(gates))[:, None, None],
                expression=torch.from_numpy(np.stack(vectors))[:, None],
                num_inference_steps=self.painter.steps,
                guidance_scale=1.0,
                latents=self._noise(regions[0]),
            )
            self.painter.cached.add(result.cache)
            residuals = (result.frames.float().transpose(1, 2) * 2 - 1 - base).squeeze(2).permute(
                0, 2, 3, 1
            ).numpy() * 127.5
            for (frame, _, _, _), matrix, residual in zip(jobs, matrices, residuals, strict=True):
                paste(frame, np.ascontiguousarray(residual), matrix, offset)

    def _noise(self, region: Region) -> torch.Tensor:
        unet = self.painter.pipeline.unet
        side = region.size // self.painter.pipeline.vae_scale_factor
        generator = torch.Generator().manual_seed(self.painter.seed)
        return torch.randn((1, unet.config.in_channels, 1, side, side), generator=generator)


def compute_dtype(device: str) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    if str(device).startswith("cuda"):
        return torch.bfloat16
    return torch.bfloat16 if getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() else torch.float32


def _picture(window: np.ndarray) -> torch.Tensor:
    """(S, S, 3) uint8 to (3, S, S) float32 in [-1, 1]."""
    return torch.from_numpy(window).permute(2, 0, 1).float() / 127.5 - 1


def _by_size(regions: tuple[Region, ...]) -> list[list[Region]]:
    sizes = sorted({region.size for region in regions})
    return [[region for region in regions if region.size == size] for size in sizes]
