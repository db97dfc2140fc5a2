"""Windows to measure caches on: all that the denoiser of `mini` needs to paint some frames, prepared once.

What comes before the network (tracking, warp, prior, landmark maps, tokens) and what comes after it (pasting the
residuals back) is the same for every method, so that a method is nothing but calls of the denoiser.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from animate.animator import CHUNK, model_folder
from animate.faces import select_face
from animate.motion import Motion
from animate.painter import RegionPainter
from animate.pipelines.landmark import LandmarkAnimationPipelineOutput
from animate.prior import InteriorPrior
from animate.retarget import Retargeter
from animate.segmentation import PersonSegmenter
from animate.warp import PortraitWarp
from bench.metrics.opening import mouth_opening
from bench.redetect import Redetector
from bench.reenact.scoring import Truth

PAINTED = 0.5
"""Pixels whose gate is above this count as painted: inside lips and lids, where caches can do harm."""


@dataclass
class Batch:
    """Windows of one size that go through the denoiser together, as in the product.

    Attributes:
        name: unique among all batches; the name of its cache context.
        noise: (B, C, T, h, w) float32, the first sample.
        base, gate, condition: encoded, see `animate.pipelines.residual`.
        inputs: the denoiser's other arguments.
        painted: (B, 1, T, H, W) bool, pixels that count.
        error_weight: (B, 1, T, H, W), how much errors of forecasts count where, as the pipeline says.
    """

    name: str
    noise: torch.Tensor
    base: torch.Tensor
    gate: torch.Tensor
    condition: torch.Tensor
    inputs: dict
    painted: torch.Tensor
    error_weight: torch.Tensor


@dataclass
class Chunk:
    """Some frames in a row: the pictures before the network, and the batches of windows it paints in them.

    Attributes:
        frames: (h, w, 3) uint8 each, warped and filled.
        targets: (478, 3) px target landmarks of each.
        box: where the frames lie in the picture (x0, y0, x1, y1).
        batches: of each window size, in the order in which they are pasted.
    """

    frames: list[np.ndarray]
    targets: list[np.ndarray]
    box: tuple[int, int, int, int]
    batches: list[Batch] = field(default_factory=list)


@dataclass
class ClipWindows:
    """The windows of one clip, and how painted ones become frames.

    Attributes:
        truth: the clip.
        numbers: of the frames in it, in a row.
        redetected: frame -> (478, 3) px landmarks re-detected on the truth, or None.
        chunks: in order.
        painter: of the windows.
        picture: (H, W, 3) uint8, the portrait.
    """

    truth: Truth
    numbers: range
    redetected: dict[int, np.ndarray | None]
    chunks: list[Chunk]
    painter: WindowPainter
    picture: np.ndarray

    @property
    def batches(self) -> Iterator[Batch]:
        """Of all chunks."""
        return (batch for chunk in self.chunks for batch in chunk.batches)

    def frames(self, painted: dict[str, torch.Tensor]) -> Iterator[np.ndarray]:
        """Whole frames (H, W, 3) uint8.

        Args:
            painted: batch -> (B, T, 3, H, W) in [0, 1], as the pipeline gives them.
        """
        for chunk in self.chunks:
            frames = [frame.copy() for frame in chunk.frames]
            self.painter.replay([painted[batch.name] for batch in chunk.batches])
            self.painter.painting.paint(frames, chunk.targets, chunk.box[:2])
            x0, y0, x1, y1 = chunk.box
            for frame in frames:
                whole = self.picture.copy()
                whole[y0:y1, x0:x1] = frame
                yield whole


class WindowPainter(RegionPainter):
    """A `RegionPainter` whose pipeline paints nothing: it keeps what it is called with, or hands out what is there."""

    painting = None
    _calls: list[dict]
    _answers: list[torch.Tensor] | None = None

    @property
    def own_pipeline(self):
        return self._call

    def record(self, frames: list[np.ndarray], targets: list[np.ndarray], offset: tuple[int, int]) -> list[dict]:
        """The pipeline's arguments of each batch that these frames give."""
        self._calls, self._answers = [], None
        self.painting.paint([frame.copy() for frame in frames], targets, offset)
        return self._calls

    def replay(self, painted: list[torch.Tensor]) -> None:
        """Sets what the pipeline seems to give in its next calls, (B, T, 3, H, W) in [0, 1] each."""
        self._answers = list(painted)

    def _call(self, **arguments):
        if self._answers is None:
            self._calls.append(arguments)
            return LandmarkAnimationPipelineOutput((arguments["base"] / 2 + 0.5).transpose(1, 2))
        return LandmarkAnimationPipelineOutput(self._answers.pop(0))


def load_painter(model: str = "mini") -> WindowPainter:
    """The painter of a model of `mini`'s kind: its name, or the folder of its pipeline.

    Raises:
        WeightsError: the model is not there or cannot be read.
    """
    return WindowPainter.from_pretrained(model_folder(model))


def clip_windows(
    painter: WindowPainter, truth: Truth, redetector: Redetector, frames: int, chunk: int = CHUNK
) -> ClipWindows:
    """The windows of a clip's liveliest frames, its own motion on its own first frame in absolute mode.

    Args:
        painter: from `load_painter`.
        truth: the clip.
        redetector: finds landmarks on the truth's frames.
        frames: so many in a row at most.
        chunk: frames that go through the denoiser together.
    """
    painter = copy.copy(painter)
    portrait = truth.portrait
    source = select_face(portrait.faces, "largest", portrait.image).landmarks
    image = np.ascontiguousarray(portrait.image[..., :3])
    points = source[:, :2]
    with PersonSegmenter() as segmenter:
        person = segmenter.mask(image, np.concatenate([points.min(0), points.max(0)]))
    warp = PortraitWarp(image, source, person)
    prior = InteriorPrior(warp)
    painter.painting = painter.start(warp)
    numbers = liveliest(truth.track.landmarks, frames)
    redetected = {
        number: redetector(frame, truth.track.landmarks[number]) if truth.track.valid[number] else None
        for number, frame in zip(numbers, islice(truth.frames(), numbers.start, None), strict=False)
    }
    motion = Motion.from_track(truth.track, source=truth.clip.name)
    targets = iter(Retargeter(source, motion, "absolute")(slice(numbers.start, numbers.stop)))
    result = ClipWindows(truth, numbers, redetected, [], painter, image)
    while some := list(islice(targets, chunk)):
        result.chunks.append(_chunk(painter, warp, prior, some, f"{truth.clip.name}:{len(result.chunks)}"))
    return result


def liveliest(landmarks: np.ndarray, frames: int) -> range:
    """The `frames` frames in a row in which the mouth is farthest from the first frame's, without that frame.

    Args:
        landmarks: (T, 478, 3) px; T is at least 2.
    """
    openings = np.abs(mouth_opening(landmarks) - mouth_opening(landmarks)[0])[1:]
    frames = min(frames, len(openings))
    sums = np.convolve(openings, np.ones(frames), mode="valid")
    first = 1 + int(sums.argmax())
    return range(first, first + frames)


def _chunk(
    painter: WindowPainter, warp: PortraitWarp, prior: InteriorPrior, targets: list[np.ndarray], name: str
) -> Chunk:
    frames = []
    for target in targets:
        warped = warp.field(target)
        frames.append(prior.fill(warp.render(warped), target, warped.box[:2]))
    chunk = Chunk(frames, targets, warp.box)
    calls = painter.record(frames, targets, warp.box[:2])
    chunk.batches = [batch(painter.pipeline, call, f"{name}:{i}") for i, call in enumerate(calls)]
    return chunk


@torch.no_grad()
def batch(pipeline, call: dict, name: str) -> Batch:
    """What the pipeline would hand to the denoiser when called so (`LandmarkAnimationPipeline.__call__`)."""
    base, gate = call["base"], call["gate"]
    device, dtype = pipeline._execution_device, pipeline.unet.dtype
    pipeline._guidance_scale = 1.0
    reference = pipeline.encode_reference(call["reference_image"])
    inputs = pipeline.prepare_conditions(
        call["landmark_map"], call["expression"], None, None, reference, base.shape[0], device, dtype
    )
    encoded, encoded_gate, condition = pipeline.prepare_residual(base, gate, reference, device, dtype)
    noise = call["latents"].to(device).expand(encoded.shape).contiguous()
    return Batch(name, noise, encoded, encoded_gate, condition, inputs, gate > PAINTED, gate + 1e-3)
