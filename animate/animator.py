"""PortraitAnimator: a portrait and a motion in, frames out.

    animator = PortraitAnimator.from_pretrained("mini")
    for frame in animator.animate(Portrait.open("portrait.jpg"), Motion.load("smile.safetensors")):
        ...

The result is an iterator: frames are made when they are asked for, so that a long clip needs no more memory than a
short one.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animate.caching import CacheTally, cache_config, check_cache
from animate.errors import FaceError, OptionError
from animate.full_size_options import FullSizeOptions
from animate.group import GroupMixin
from animate.motion import Motion
from animate.movement import in_parts, portrait_facts, survey
from animate.pipelines.windows import Window, overlapping
from animate.portrait import Portrait
from animate.prior import InteriorPrior
from animate.retarget import Retargeter
from animate.segmentation import PersonSegmenter
from animate.warp import PortraitWarp
from animate.work_folder import WorkFolder
from weights.errors import WeightsError

if TYPE_CHECKING:
    from animate.models.expression_encoder import ExpressionEncoder

METHODS = ("mini", "prior", "warp", "still")
EMBEDDED = Path(__file__).resolve().parents[1] / "weights" / "embedded"
CHUNK = 4  # frames that go through the network together
CHUNK_PIXELS = 8_000_000  # fewer of them where the portrait is so large that the frames themselves need the memory
WORKERS = max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


class PortraitAnimator(GroupMixin):
    """Draws a portrait with a motion's expressions.

    Args:
        painter: the network over warp and prior, or None for the methods without one.
        method: "mini" (warp, prior, network), "prior", "warp" or "still" (the benchmark's baselines).

    Attributes:
        cached: what the feature cache did in the last run; None without a network.
        timings: seconds that each stage of the last run took, shared out over the threads that work side by side.
        paints_regions: whether it paints regions of a warped picture, as `mien dub` needs it, or whole pictures.
        looks_ahead: whether it draws better when it knows beforehand how far the landmarks go.
        takes_features: whether expression features of an encoder drive it (`encoder_for`), rather than landmarks.
    """

    paints_regions = True
    looks_ahead = False
    takes_features = False

    def __init__(self, painter=None, method: str = "mini"):
        if method not in METHODS:
            raise OptionError(f"Unknown method {method!r}: choose one of {', '.join(METHODS)}.")
        self.painter, self.method = painter, method
        self.cached: CacheTally | None = painter.cached if painter is not None else None
        self.timings: dict[str, float] = defaultdict(float)
        self._segmenter: PersonSegmenter | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path = "mini",
        method: str = "mini",
        device: str = "cpu",
        steps: int | None = None,
        seed: int = 0,
        full_size: FullSizeOptions | None = None,
        cache: str = "off",
    ) -> PortraitAnimator:
        """The embedded "mini", "follow-your-emoji", "fantasy-portrait", or a folder that `save_pretrained` of
        `LandmarkAnimationPipeline` or `ExpressionPipeline` wrote.

        Args:
            steps: denoising steps a frame, 1 to 50; None takes the model's own.
            seed: of the noise; mini's frames share one, those of the full size have one each.
            full_size: how a full-size model draws; mini takes none of it.
            cache: "off" computes every step; "fast", "balanced" and "exact" forecast what changes little from step to
                step, with ever smaller differences from "off". A run of few steps has little to forecast.

        Raises:
            WeightsError: the folder is not there or does not hold a pipeline.
            OptionError: an unknown method or cache, steps out of range, a device that cannot be used here, options of
                the full size for mini.
        """
        check_cache(cache)
        if method != "mini":
            return cls(None, method)
        if steps is not None and not 1 <= steps <= 50:
            raise OptionError(f"The number of steps must be 1 to 50 but is {steps}.")
        folder = model_folder(name_or_folder)
        if pipeline_class(folder) == "ExpressionPipeline":
            from animate.expression_animator import ExpressionAnimator

            return ExpressionAnimator.load(folder, full_size, device, steps, seed, cache_config(cache))
        if is_full_size(folder):
            from animate.full_size import FullSizeAnimator

            return FullSizeAnimator.load(folder, full_size, device, steps, seed, cache_config(cache))
        if full_size is not None and full_size.changed:
            names = ", ".join(f"--{name}" for name in full_size.changed)
            raise OptionError(f"The model {name_or_folder} is not of the full size: leave out {names}.")
        from animate.painter import RegionPainter

        painter = RegionPainter.from_pretrained(
            folder, device=device, steps=steps, seed=seed, cache=cache_config(cache)
        )
        return cls(painter, method)

    def encoder_for(self, kinds: Collection[str]) -> ExpressionEncoder | None:
        """What is to encode the driving clips; None: their motions drive.

        Args:
            kinds: of the drivers, of `animate.casting.KINDS`.

        Raises:
            WeightsError: the weights that drivers of these kinds need are not there.
        """
        return None

    def animate(
        self,
        portrait: Portrait,
        motion: Motion,
        *,
        mode: str = "relative",
        strengths: dict | None = None,
        regions=None,
        face=0,
        work: WorkFolder | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames (H, W, 3|4) uint8 at the portrait's own size, one for each frame of the motion.

        Args:
            mode: "relative" (the driver's change from its neutral face is added to the portrait) or "absolute".
            strengths, regions: see `animate.retarget.retarget`.
            face: which of the portrait's faces: an index, "largest", "left-to-right:N", ... (`faces.select_face`).
            work: keeps finished windows; those of an earlier run are taken from there.

        Raises:
            FaceError, OptionError: at once, before the first frame; also where `work` belongs to another job.
        """
        from animate.faces import select_face

        if not portrait.faces:
            raise FaceError(f"No face is found in {portrait.name}: use a picture in which a face is seen clearly.")
        chosen = select_face(portrait.faces, face, portrait.image[..., :3])
        self.timings.clear()
        if self.cached is not None:
            self.cached.clear()
        with self.timed("retarget"):
            targets = Retargeter(chosen.landmarks, motion, mode, strengths, regions)
        bounds = None
        if work is not None or self.looks_ahead:
            with self.timed("retarget"):
                bounds, movement = survey(in_parts(targets, len(motion)))
            if work is not None:
                work.claim("movement", {"movement": movement})
        landmarks = chain.from_iterable(in_parts(targets, len(motion)))
        return self.render(portrait, landmarks, chosen.landmarks, bounds=bounds, work=work)

    def render(
        self,
        portrait: Portrait,
        landmarks: Iterable[np.ndarray],
        source: np.ndarray | None = None,
        *,
        bounds: np.ndarray | None = None,
        work: WorkFolder | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames for target landmarks, (478, 3) px each.

        Args:
            source: the portrait's own landmarks, those of face 0 when None.
            bounds: (2, 2) px, the least and the greatest x, y of all targets, where they are known beforehand.
            work: keeps finished windows; those of an earlier run are taken from there.

        Raises:
            OptionError: `work` belongs to another job; at once, or at the first frame whose landmarks differ.
        """
        if self.method == "still":
            return (portrait.image.copy() for _ in landmarks)
        if source is None:
            source = portrait.faces[0].landmarks
        count = self._chunk(portrait)
        if work is not None:
            facts = {"portrait": portrait_facts(portrait, source), "method": self.method, "window": count}
            work.claim("drawing", facts | (self.painter.facts() if self.painter is not None else {}))
        return self._render(portrait, overlapping(landmarks, count, overlap=0), source, work)

    def _render(
        self,
        portrait: Portrait,
        pieces: Iterator[tuple[Window, list[np.ndarray]]],
        source: np.ndarray,
        work: WorkFolder | None,
    ) -> Iterator[np.ndarray]:
        image = portrait.image
        colour = np.ascontiguousarray(image[..., :3])
        with self.timed("prepare"):
            others = [face.landmarks for face in portrait.faces if not np.array_equal(face.landmarks, source)]
            warp = PortraitWarp(colour, source, self._person(image, source), others)
            prior = InteriorPrior(warp) if self.method != "warp" else None
            painting = self.painter.start(warp) if self.painter is not None else None
            warp.render(warp.field(source))  # makes what the worker threads share

        def draw(window: Window, targets: list[np.ndarray], known=None) -> list[np.ndarray]:
            return self._draw(image, targets[-len(window.drawn) :], warp, prior, painting)

        draw_window = draw if work is None else work.remember(draw)
        for frames in self.side_by_side(lambda piece: draw_window(*piece, {}), pieces):
            yield from frames

    def side_by_side(self, draw: Callable, chunks: Iterator[list]) -> Iterator[list[np.ndarray]]:
        """Chunks drawn by a thread a core, in order, no more in flight than threads and one.

        Threads that work on chunks of their own are faster than threads that share each small operation, above all
        where something else keeps a core busy, and the frames do not depend on their number.
        """
        with ThreadPoolExecutor(WORKERS, initializer=_one_thread_each) as pool:
            waiting = deque(pool.submit(draw, chunk) for chunk in islice(chunks, WORKERS + 1))
            try:
                while waiting:
                    frames = waiting.popleft().result()
                    waiting.extend(pool.submit(draw, chunk) for chunk in islice(chunks, 1))
                    yield frames
            finally:
                for future in waiting:
                    future.cancel()

    def _draw(self, image: np.ndarray, targets: list, warp: PortraitWarp, prior, painting) -> list[np.ndarray]:
        fields, frames = [], []
        with self.timed("warp", WORKERS):
            for target in targets:
                fields.append(warp.field(target))
                frames.append(warp.render(fields[-1]))
        if prior is not None:
            with self.timed("prior", WORKERS):
                for target, field, frame in zip(targets, fields, frames, strict=True):
                    prior.fill(frame, target, field.box[:2])
        if painting is not None:
            with self.timed("network", WORKERS):
                painting.paint(frames, targets, warp.box[:2])
        with self.timed("paste", WORKERS):
            return [self._finish(image, frame, field, warp) for field, frame in zip(fields, frames, strict=True)]

    @staticmethod
    def _finish(image: np.ndarray, frame: np.ndarray, field, warp: PortraitWarp) -> np.ndarray:
        out = image.copy()
        x0, y0, x1, y1 = field.box
        out[y0:y1, x0:x1, :3] = frame
        if image.shape[2] == 4:
            out[y0:y1, x0:x1, 3] = warp.carry(image[..., 3], field)
        return out

    def _person(self, image: np.ndarray, source: np.ndarray) -> np.ndarray:
        if image.shape[2] == 4 and image[..., 3].min() < 250:
            return image[..., 3].astype(np.float32) / 255
        if self._segmenter is None:
            self._segmenter = PersonSegmenter()
        points = source[:, :2]
        return self._segmenter.mask(image[..., :3], np.concatenate([points.min(0), points.max(0)]))

    @property
    def workers(self) -> int:
        """Threads that draw side by side."""
        return WORKERS

    @staticmethod
    def _chunk(portrait: Portrait) -> int:
        height, width = portrait.image.shape[:2]
        return max(1, min(CHUNK, CHUNK_PIXELS // (height * width)))

    @contextmanager
    def timed(self, stage: str, workers: int = 1):
        """Adds the time of the block to `timings`; `workers` is how many threads do so side by side."""
        began = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.timings[stage] += (time.perf_counter() - began) / workers


def _one_thread_each() -> None:
    """Called in each worker thread: no threads within an operation, there is one worker a core already."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def model_folder(name_or_folder: str | Path) -> Path:
    """The folder of a model's pipeline. Raises WeightsError, which says how to get it, where there is none."""
    if str(name_or_folder) == "mini":
        return EMBEDDED / "mini"
    from animate.checkpoints import find_pipeline

    return find_pipeline(name_or_folder)


def pipeline_class(folder: Path) -> str:
    """The name of a saved pipeline's class. Raises WeightsError where its index cannot be read."""
    path = folder / "model_index.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"The model in {folder} lacks a readable {path.name}: fetch or export it anew.") from error


def is_full_size(folder: Path) -> bool:
    """Whether a saved pipeline draws whole pictures, rather than residuals on a warped one as mini does.

    Raises:
        WeightsError: its configuration cannot be read.
    """
    path = Path("unet") / "config.json"
    try:
        return not json.loads((folder / path).read_text(encoding="utf-8")).get("condition_channels", 0)
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"The model in {folder} lacks a readable {path}: fetch or export it anew.") from error
