"""The expression-driven animator: whole pictures of one or several people, drawn by `ExpressionPipeline`.

    driving clip ─► aligned faces ─► `ExpressionEncoder` ─────► expression features ┐
    target landmarks ─► motion vectors ─► `MotionProjection` ─► expression features ┤
                    └─► boxes of the faces that move ─► whose features count where  ├─► windows of latents ─► frames
    portrait ───────────────────────────────────────────────────────────────────────┘

A clip drives through the encoder, as the model was trained; motions and speech through the projection, and clips as
well where the encoder's weights are missing.

The video model draws the whole picture, at its own size; the frames have the portrait's. Faces without a part see no
driver. Finished windows are kept as latents; decoding them again gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from animate.animator import PortraitAnimator
from animate.caching import CacheTally, has_work
from animate.errors import FaceError, OptionError, WeightsError
from animate.expression_film import Film, as_large
from animate.expression_options import ExpressionOptions
from animate.group import ExpressionPart, Part, check_faces
from animate.models.motion_projection import landmark_vectors
from animate.movement import in_parts, portrait_facts
from animate.pipelines.expression import ExpressionPipeline
from animate.pipelines.latent_film import LatentItems, StreamingDecoder, latent_windows
from animate.pipelines.windows import draw_windows
from animate.portrait import Portrait
from animate.retarget import Retargeter
from animate.work_folder import WorkFolder, checksum, model_facts
from weights.registry import get
from weights.store import how_to_get

if TYPE_CHECKING:
    from animate.full_size_options import FullSizeOptions
    from animate.models.expression_encoder import ExpressionEncoder
    from cache import TaylorCacheConfig

CHUNK = 32  # frames whose features are made together
NO_PROJECTION = (
    "This model is driven by expression features and has no motion projection, which makes them of a motion or speech: "
    "train one with `python -m animate.train_projection`, or drive the model with a video."
)
MARGINS = np.array([0.25, 0.45, 0.25, 0.15])  # round a face, of its width and height: left, top (hair), right, bottom


class ExpressionAnimator(PortraitAnimator):
    """Draws portraits with FantasyPortrait or a network of its kind.

    Args:
        pipeline: an `ExpressionPipeline`.
        options: how it draws.
        steps: denoising steps; None takes the pipeline's own.
        seed: of the noise.
        folder: where the pipeline came from, for what a work folder says of it.
        cache: what the transformer computes and forecasts; None computes everything.
        prompt: (1, L, D) states of the empty text; None lets the pipeline's text encoder make them.
    """

    paints_regions = False
    takes_features = True

    def __init__(
        self,
        pipeline: ExpressionPipeline,
        options: ExpressionOptions | None = None,
        steps: int | None = None,
        seed: int = 0,
        folder: Path | None = None,
        cache: TaylorCacheConfig | None = None,
        prompt: torch.Tensor | None = None,
    ):
        super().__init__()
        self.cached = CacheTally()
        self.pipeline, self.options, self.seed, self.folder = pipeline, options or ExpressionOptions(), seed, folder
        self.steps = pipeline.config.default_num_inference_steps if steps is None else steps
        own = pipeline.config.default_expression_guidance_scale
        self.guidance = own if self.options.guidance is None else self.options.guidance
        self.prompt = prompt
        pipeline.set_progress_bar_config(disable=True)
        self.cache = cache if has_work(cache, self.steps) else None
        if self.cache is not None:
            pipeline.transformer.enable_cache(self.cache)

    @classmethod
    def load(
        cls,
        folder: Path,
        options: FullSizeOptions | None = None,
        device: str = "cpu",
        steps: int | None = None,
        seed: int = 0,
        cache: TaylorCacheConfig | None = None,
    ) -> ExpressionAnimator:
        """The animator of a saved pipeline, on a device and with the memory and speed settings asked for.

        Raises:
            WeightsError: something of the pipeline is missing or damaged.
            OptionError: a device, attention kernel or option that cannot be used here.
        """
        from animate.expression_loading import load_for_animation

        options = ExpressionOptions.of(options)
        pipeline, prompt = load_for_animation(folder, options, device)
        return cls(pipeline, options, steps, seed, folder, cache, prompt)

    def encoder_for(self, kinds: Collection[str]) -> ExpressionEncoder | None:
        """PD-FGC's encoder, for driving clips; None where none drives, or where it is not on this machine and the model
        has a motion projection.

        Args:
            kinds: of the drivers, of `animate.casting.KINDS`.

        Raises:
            WeightsError: there is neither of both, a motion or a sound has no projection, or the encoder is damaged.
        """
        from animate.models.expression_encoder import RECORD, find_encoder, load_encoder

        projected = self.pipeline.motion_projection is not None
        if not projected and any(kind != "driving" for kind in kinds):
            raise WeightsError(NO_PROJECTION)
        if "driving" not in kinds:
            return None
        if find_encoder() is None:
            if projected:
                return None
            raise WeightsError(
                "A video drives this model through PD-FGC's encoder, whose file pd_fpg.pth is not on this machine: "
                f"{how_to_get(get(RECORD))}; or give the model a motion projection, trained with `python -m "
                "animate.train_projection` where the encoder is."
            )
        return load_encoder(device=self.pipeline._execution_device)

    def animate_group(
        self,
        portrait: Portrait,
        parts: Sequence[Part | ExpressionPart],
        *,
        mode: str = "relative",
        strengths: dict | None = None,
        regions=None,
        work: WorkFolder | None = None,
    ) -> Iterator[np.ndarray]:
        """As `PortraitAnimator.animate_group`; parts may be `ExpressionPart`s.

        To those mode, strengths and regions mean nothing, and beside them all faces stay near where they are.
        """
        if not any(isinstance(part, ExpressionPart) for part in parts):
            return super().animate_group(portrait, parts, mode=mode, strengths=strengths, regions=regions, work=work)
        if not portrait.faces:
            raise FaceError(f"No face is found in {portrait.name}: use a picture in which a face is seen clearly.")
        check_faces(parts, len(portrait.faces), portrait.name)
        features = []
        for part in parts:
            if isinstance(part, ExpressionPart):
                features.append(part.features)
                continue
            source = portrait.faces[part.face].landmarks
            targets = Retargeter(source, part.motion, mode, strengths, regions)
            made = [self._frames(some[:, None], source[None]) for some in in_parts(targets, len(part.motion))]
            features.append(np.concatenate(made)[:, 0, :-4])
        return self.animate_features(portrait, features, [part.face for part in parts], work)

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
        return self._start(portrait, (one[None] for one in landmarks), source[None], work)

    def render_group(
        self, portrait: Portrait, landmarks: Iterable[np.ndarray], faces: Sequence[int], work: WorkFolder | None = None
    ) -> Iterator[np.ndarray]:
        """Frames for target landmarks, (N, 478, 3) px each, of N of the portrait's faces."""
        sources = np.stack([portrait.faces[face].landmarks for face in faces])
        return self._start(portrait, landmarks, sources, work)

    def animate_features(
        self,
        portrait: Portrait,
        features: Sequence[np.ndarray],
        faces: Sequence[int] = (0,),
        work: WorkFolder | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames for expression features of an encoder (`animate.expression_clip`), without a motion projection.

        Args:
            features: (T, 554) for each face. faces: whose, indices into the portrait's faces, which stay near where
                they are. work: keeps finished windows; those of an earlier run are taken from there.

        Raises:
            OptionError: the numbers of faces or frames differ, or `work` belongs to another job; at once.
        """
        self.timings.clear()
        self.cached.clear()
        if not faces or len(features) != len(faces) or len({len(one) for one in features}) != 1:
            lengths = ", ".join(str(len(one)) for one in features)
            raise OptionError(f"{len(faces)} faces need as many features of one length but there are {lengths} frames.")
        sources = np.stack([portrait.faces[face].landmarks for face in faces])
        if work is not None:
            work.claim("movement", {"movement": checksum(*features)})
        boxes = face_boxes(sources)
        frames = (
            np.concatenate([np.stack(row), boxes], axis=-1, dtype=np.float32) for row in zip(*features, strict=True)
        )
        first = np.concatenate([np.stack([one[0] for one in features]), boxes], axis=-1, dtype=np.float32)
        return self._play(portrait, frames, first, sources, work)

    def _start(
        self, portrait: Portrait, landmarks: Iterable[np.ndarray], sources: np.ndarray, work: WorkFolder | None
    ) -> Iterator[np.ndarray]:
        first = self._frames(sources[None], sources)[0]
        return self._play(portrait, self._all_frames(landmarks, sources), first, sources, work)

    def _all_frames(self, landmarks: Iterable[np.ndarray], sources: np.ndarray) -> Iterator[np.ndarray]:
        """What `_frames` makes, frame by frame."""
        waiting: list[np.ndarray] = []
        for one in landmarks:
            waiting.append(one)
            if len(waiting) == CHUNK:
                yield from self._frames(np.stack(waiting), sources)
                waiting = []
        if waiting:
            yield from self._frames(np.stack(waiting), sources)

    @torch.no_grad()
    def _frames(self, landmarks: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """(T, N, 554 + 4) float32, features and box in portrait pixels, of landmarks (T, N, 478, 3).

        Raises:
            WeightsError: the model has no motion projection.
        """
        projection = self.pipeline.motion_projection
        if projection is None:
            raise WeightsError(NO_PROJECTION)
        parts = []
        with self.timed("features"):
            for number, source in enumerate(sources):
                vectors = torch.from_numpy(landmark_vectors(landmarks[:, number], source))
                features = projection(vectors.to(projection.device)).float().cpu().numpy()
                parts.append(np.concatenate([features, face_boxes(landmarks[:, number])], axis=-1, dtype=np.float32))
        return np.stack(parts, axis=1)

    def _play(
        self,
        portrait: Portrait,
        frames: Iterable[np.ndarray],
        first: np.ndarray,
        sources: np.ndarray,
        work: WorkFolder | None,
    ) -> Iterator[np.ndarray]:
        if work is not None:
            work.claim("drawing", self._facts(portrait, sources))
        return self._film(portrait, frames, first, work)

    def _film(
        self, portrait: Portrait, frames: Iterable[np.ndarray], first: np.ndarray, work: WorkFolder | None
    ) -> Iterator[np.ndarray]:
        image = portrait.image
        with self.timed("prepare"):
            film = Film(self, portrait, first)
        items = LatentItems(frames)
        draw_window = film.draw if work is None else work.remember(film.draw)
        pieces = latent_windows(items, self.options.window, self.options.overlap)
        decode, made = StreamingDecoder(self.pipeline), 0
        for _, latents in draw_windows(pieces, draw_window):
            with self.timed("decode"):
                pictures = decode(latents)
            for picture in pictures[: items.frames - made]:
                made += 1
                with self.timed("paste"):
                    frame = as_large(picture, image)
                yield frame

    def _facts(self, portrait: Portrait, sources: np.ndarray) -> dict[str, object]:
        """All that the frames depend on but the targets."""
        facts = {
            "portrait": checksum(*(portrait_facts(portrait, source) for source in sources)),
            "model": "" if self.folder is None else model_facts(self.folder),
            "steps": self.steps,
            "seed": self.seed,
            "guidance": self.guidance,
            "dtype": self.pipeline.transformer.dtype,
            "device": self.pipeline._execution_device.type,
            "PyTorch": torch.__version__,
        }
        if self.cache is not None:
            facts["cache"] = self.cache
        if facts["device"] == "cpu":
            facts["threads"] = torch.get_num_threads()  # sums of floats depend on it
        return facts | self.options.facts()


def face_boxes(landmarks: np.ndarray) -> np.ndarray:
    """(..., 4) float32 left, top, right, bottom px round landmarks (..., 478, 3), with hair and chin."""
    points = landmarks[..., :2]
    low, high = points.min(-2), points.max(-2)
    size = high - low
    return np.concatenate([low - MARGINS[:2] * size, high + MARGINS[2:] * size], axis=-1, dtype=np.float32)
