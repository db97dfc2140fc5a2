"""The network's part of a frame: windows are cut, painted by the diffusion pipeline and pasted back as residuals."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from animate.caching import CacheTally, has_work, with_own_hooks
from animate.compositing import paste
from animate.device import check_device
from animate.expression import expression_features, mirror_features
from animate.loading import undisturbed
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
            with undisturbed():
                pipeline = LandmarkAnimationPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise WeightsError(f"The model in {folder} cannot be loaded ({error}); fetch or export it anew.") from error
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                torch.nn.Module.to(part, dtype=compute_dtype(device))  # nothing of it has to stay in float32
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

    def noise(self, side: int) -> torch.Tensor:
        """(1, C, 1, side, side), the same for every window of that size."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn((1, self.pipeline.unet.config.in_channels, 1, side, side), generator=generator)

    def start(self, warp: PortraitWarp, regions: tuple[Region, ...] = REGIONS, side_by_side: bool = False) -> Painting:
        """What one portrait needs is made once; `regions` are the windows to paint. side_by_side: for pictures that are
        drawn one by one, see `Painting`."""
        return Painting(self, warp, regions, side_by_side)

    @cached_property
    def pool(self) -> Executor:
        """Threads for passes that run side by side; two for all that are drawn at the moment."""
        return ThreadPoolExecutor(2, thread_name_prefix="painter", initializer=partial(torch.set_num_threads, 1))


@dataclass
class Job:
    """One window of one frame.

    Attributes:
        painting: of the face that the window follows.
        region: which of its windows.
        frame: (h, w, 3) uint8 whose pixel (0, 0) is the picture's pixel `offset`; the residual is added to it.
        target: (478, 3) px.
        features: (F,) what `target` expresses.
        matrix: (2, 3), picture to window.
        gate: (S, S) float32 in [0, 1].
        faces: (S, S) integers, which face each pixel belongs to, 1 for the first of `others`; None: all to this one.
        others: (N, F) features of all faces that `faces` may name.
    """

    painting: Painting
    region: Region
    frame: np.ndarray
    offset: tuple[int, int]
    target: np.ndarray
    features: np.ndarray
    matrix: np.ndarray
    gate: np.ndarray
    faces: np.ndarray | None = None
    others: np.ndarray | None = None


class Painting:
    """One portrait's windows and expression; `paint` works on chunks of frames.

    side_by_side: windows of different sizes are painted at the same time. Where one picture is waited for, that takes a
    quarter less time; where other threads draw other frames, it gives nothing.
    """

    def __init__(
        self,
        painter: RegionPainter,
        warp: PortraitWarp,
        regions: tuple[Region, ...] = REGIONS,
        side_by_side: bool = False,
    ):
        self.painter, self.regions = painter, regions
        self.side_by_side = side_by_side and painter.pipeline.device.type == "cpu"
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
        jobs = [self.jobs(frame, target, offset) for frame, target in zip(frames, targets, strict=True)]
        pool = self.painter.pool if self.side_by_side else None
        paint_jobs(self.painter, [job for those in jobs for job in those], pool)

    def jobs(self, frame: np.ndarray, target: np.ndarray, offset: tuple[int, int]) -> list[Job]:
        """The windows of one frame."""
        features = np.concatenate([expression_features(target), self.source_features])
        jobs = []
        for region in self.regions:
            matrix = window_matrix(target, region)
            jobs.append(Job(self, region, frame, offset, target, features, matrix, gate=gate(target, matrix, region)))
        return jobs


def paint_jobs(painter: RegionPainter, jobs: Sequence[Job], pool: Executor | None = None) -> None:
    """Paints windows of any frames and faces, in place: those of one size in one pass. Every window is painted from
    what the frame was before, so their order does not matter, nor does `pool`, whose threads take a pass each."""
    kinds = {(job.region.size, job.faces is not None) for job in jobs}
    passes = [[job for job in jobs if (job.region.size, job.faces is not None) == kind] for kind in sorted(kinds)]
    each = map if pool is None else pool.map
    for alike, residuals in zip(passes, list(each(partial(_residuals, painter), passes)), strict=True):
        for job, residual in zip(alike, residuals, strict=True):
            paste(job.frame, np.ascontiguousarray(residual), job.matrix, job.offset)


def _residuals(painter: RegionPainter, jobs: Sequence[Job]) -> np.ndarray:
    """(B, S, S, 3) float32, what is to be added to the windows of one pass."""
    bases, maps, vectors = [], [], []
    for job in jobs:
        shifted = job.matrix.copy()
        shifted[:, 2] += job.matrix[:, :2] @ job.offset
        bases.append(_picture(cut(job.frame, shifted, job.region)))
        maps.append(region_map(job.target, job.matrix, job.region))
        features = job.features if job.others is None else job.others
        vectors.append(mirror_features(features) if job.region.mirrored else features)
    base = torch.stack(bases).unsqueeze(2)
    expression = torch.from_numpy(np.stack(vectors)).unsqueeze(-2)  # (B, 1, F), or (B, N, 1, F)
    side = jobs[0].region.size // painter.pipeline.vae_scale_factor
    masks = {}
    if jobs[0].faces is not None:
        masks["face_map"] = torch.from_numpy(np.stack([_shrink(job.faces, side) for job in jobs]))[:, None]
    result = painter.own_pipeline(
        reference_image=torch.stack([job.painting.references[job.region.name] for job in jobs]),
        landmark_map=torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).unsqueeze(2).float() / 255,
        base=base,
        gate=torch.from_numpy(np.stack([job.gate for job in jobs]))[:, None, None],
        expression=expression,
        num_inference_steps=painter.steps,
        guidance_scale=1.0,
        latents=painter.noise(side),
        **masks,
    )
    painter.cached.add(result.cache)
    return (result.frames.float().transpose(1, 2) * 2 - 1 - base).squeeze(2).permute(0, 2, 3, 1).numpy() * 127.5


def _shrink(faces: np.ndarray, side: int) -> np.ndarray:
    """(side, side) int64 of a window's face map: the face in the middle of each cell."""
    cell = faces.shape[0] // side
    return np.ascontiguousarray(faces[cell // 2 :: cell, cell // 2 :: cell].astype(np.int64))


def compute_dtype(device: str) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    if str(device).startswith("cuda"):
        return torch.bfloat16
    return torch.bfloat16 if getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() else torch.float32


def _picture(window: np.ndarray) -> torch.Tensor:
    """(S, S, 3) uint8 to (3, S, S) float32 in [-1, 1]."""
    return torch.from_numpy(window).permute(2, 0, 1).float() / 127.5 - 1
