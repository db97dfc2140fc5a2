"""The whole full-size pipeline on a GPU: a part of ``python -m bench.backbone``.

Every part has its published size and random weights, which cost as much as trained ones. A clip of one window is drawn
with each attention back end in turn, then ten seconds in overlapping windows with the fastest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from animate.pipelines.landmark import LandmarkAnimationPipeline
from animate.pipelines.noise import FrameNoise
from animate.pipelines.windows import draw_windows, overlapping
from bench.backbone.networks import materialise
from bench.speed.run import peak_memory
from bench.tables import align

BACK_ENDS = ("native", "_native_flash", "_native_efficient", "_native_cudnn", "xformers", "flash")
"""diffusers' names. ``native`` is torch's scaled dot product, which chooses among its own kernels."""

WINDOW, OVERLAP = 16, 4
"""Frames of a window, and how many it shares with the one before."""


@dataclass(frozen=True)
class Clip:
    """What is drawn: frames in pixels, and how.

    Attributes:
        side: of a square frame in pixels.
        steps: of DDIM. guidance: its scale.
        fps: of the long clip. seconds: its length.
    """

    side: int = 512
    steps: int = 30
    guidance: float = 3.5
    fps: int = 25
    seconds: float = 10.0


@dataclass
class PipelineRun:
    """A clip drawn with one attention back end.

    Attributes:
        back_end: diffusers' name. frames: drawn and decoded.
        seconds: for them, the portrait's features already there.
        portrait: seconds for those features.
        peak_mib: highest memory in MiB, of the GPU where there is one, else resident.
        finite: whether all pixels are numbers; random weights may leave float16's range, which costs no time.
        failure: why there is nothing to tell, "" where there is.
    """

    back_end: str
    frames: int = 0
    seconds: float = 0.0
    portrait: float = 0.0
    peak_mib: float = 0.0
    finite: bool = True
    failure: str = ""

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0


def build_pipeline(device: str, dtype: torch.dtype = torch.float16) -> LandmarkAnimationPipeline:
    """The pipeline at full size with random weights."""
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from animate.models.guider import LandmarkGuider
    from animate.models.reference_network import ReferenceNetwork
    from animate.models.unet import LandmarkUNet
    from animate.pipelines.scheduler import landmark_scheduler

    with torch.device("meta"):
        networks = LandmarkUNet(), ReferenceNetwork(), LandmarkGuider()
    unet, reference_network, guider = (materialise(network, dtype, device) for network in networks)
    with torch.device(device):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
        )
        image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                patch_size=14,
                projection_dim=768,
            )
        )
    pipeline = LandmarkAnimationPipeline(
        vae=torch.nn.Module.to(vae, dtype).eval(),
        unet=unet,
        scheduler=landmark_scheduler(),
        reference_network=reference_network,
        guider=guider,
        image_encoder=image_encoder.to(dtype).eval(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def measure_window(pipeline: LandmarkAnimationPipeline, back_end: str, clip: Clip, frames: int = WINDOW) -> PipelineRun:
    """Draw one window with a back end, after a window of one step that warms up; failures are told, not raised."""
    run = PipelineRun(back_end)
    try:
        pipeline.unet.set_attention_backend(back_end)
        _draw(pipeline, _reference(pipeline, clip)[0], clip, range(frames), steps=1)
        _reset_peak(pipeline)
        reference, run.portrait = _reference(pipeline, clip)
        began = _now(pipeline)
        drawn = _draw(pipeline, reference, clip, range(frames))
        run.seconds = _now(pipeline) - began
    except Exception as error:  # a benchmark outlives the back ends that it measures
        run.failure = " ".join(str(error).split()) or type(error).__name__
        return run
    run.frames, run.peak_mib, run.finite = drawn.shape[1], _peak(pipeline), bool(drawn.isfinite().all())
    return run


def measure_windows(pipeline: LandmarkAnimationPipeline, back_end: str, clip: Clip) -> PipelineRun:
    """Draw the long clip in overlapping windows, each beginning with known frames, decoded as they are finished."""
    pipeline.unet.set_attention_backend(back_end)
    run = PipelineRun(f"{back_end}, windows")
    _reset_peak(pipeline)
    reference, run.portrait = _reference(pipeline, clip)

    def draw(window, _, known):
        latents = None
        if known:
            latents = torch.zeros(pipeline.latent_shape(1, len(window.frames), clip.side, clip.side))
            for place, frame in enumerate(window.frames):
                if frame in known:
                    latents[0, :, place] = known[frame]
        drawn = _draw(pipeline, reference, clip, window.frames, latents, window.known, output_type="latent")
        return [drawn[0, :, place].cpu() for place, is_known in enumerate(window.known) if not is_known]

    began = _now(pipeline)
    device = pipeline.unet.device
    for _, latents in draw_windows(overlapping(range(round(clip.fps * clip.seconds)), WINDOW, OVERLAP), draw):
        with torch.inference_mode():
            frame = pipeline.decode_clip(latents[None, :, None].to(device))
        run.finite = run.finite and bool(frame.isfinite().all())
        run.frames += 1
    run.seconds = _now(pipeline) - began
    run.peak_mib = _peak(pipeline)
    return run


def measure_pipeline(pipeline: LandmarkAnimationPipeline, clip: Clip, back_ends: Sequence[str]) -> list[PipelineRun]:
    """One window with each back end, then the long clip with the fastest (left out where ``seconds`` is 0)."""
    runs = [measure_window(pipeline, back_end, clip) for back_end in back_ends]
    worked = [run for run in runs if not run.failure]
    if worked and clip.seconds > 0:
        runs.append(measure_windows(pipeline, max(worked, key=lambda run: run.rate).back_end, clip))
    return runs


def format_pipeline_runs(runs: Sequence[PipelineRun]) -> str:
    """A row for each run that worked, and a line for each that did not."""
    rows = [["", "frames", "seconds", "fps", "portrait s", "peak MiB"]]
    for run in runs:
        if not run.failure:
            figures = [f"{run.seconds:.2f}", f"{run.rate:.2f}", f"{run.portrait:.2f}", f"{run.peak_mib:.0f}"]
            rows.append([run.back_end, str(run.frames), *figures])
    lines = [align(rows)] if len(rows) > 1 else []
    lines += [f"{run.back_end}: some pixels are not finite (random weights)" for run in runs if not run.finite]
    lines += [f"{run.back_end}: not run: {run.failure}" for run in runs if run.failure]
    return "\n".join(lines)


def _reference(pipeline: LandmarkAnimationPipeline, clip: Clip):
    """A portrait's features and the seconds that they took."""
    generator = torch.Generator().manual_seed(0)
    portrait = torch.rand((1, 3, clip.side, clip.side), generator=generator) * 2 - 1
    began = _now(pipeline)
    reference = pipeline.encode_reference(portrait.to(pipeline.unet.device, pipeline.unet.dtype))
    return reference, _now(pipeline) - began


def _draw(pipeline, reference, clip, frames, known_latents=None, known=(), steps=None, output_type="pt"):
    generator = torch.Generator().manual_seed(1)
    landmarks = torch.rand((1, 3, len(frames), clip.side, clip.side), generator=generator)
    return pipeline(
        reference=reference,
        landmark_map=landmarks,
        num_inference_steps=steps or clip.steps,
        guidance_scale=clip.guidance,
        noise=FrameNoise(0, frames),
        known_latents=known_latents,
        known_frames=torch.tensor(known) if known_latents is not None else None,
        output_type=output_type,
    ).frames


def _now(pipeline) -> float:
    """Seconds, once the device has done all that it was told."""
    if pipeline.unet.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _reset_peak(pipeline) -> None:
    if pipeline.unet.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(pipeline) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if pipeline.unet.device.type == "cuda" else peak_memory()
