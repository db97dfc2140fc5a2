"""One step of a scheduler, whichever it is, and frames of a clip that are known beforehand."""

import inspect

import torch

from animate.pipelines.noise import FrameNoise, draw_noise


class NoiseSource:
    """Where a clip's noise comes from: a generator, noise that was given, or the frames' own numbers.

    Args:
        shape: (B, C, T, h, w).
        share_noise: the same noise for every frame.
        generator: of torch, one or a list; None is torch's own.
        latents: the first noise instead of a drawn one; axes of length 1 are repeated.
        numbered: noise of numbered frames instead of all that.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        share_noise: bool,
        generator=None,
        latents: torch.Tensor | None = None,
        numbered: FrameNoise | None = None,
    ):
        self.shape, self.share_noise, self.generator = shape, share_noise, generator
        self.latents, self.numbered = latents, numbered

    def first(self, device: torch.device) -> torch.Tensor:
        """The noise that the clip starts from, (B, C, T, h, w) float32."""
        if self.numbered is not None:
            noise = self.numbered(self.shape)
        else:
            noise = self.latents if self.latents is not None else self._draw()
        return noise.to(device, torch.float32).expand(self.shape)

    @property
    def repeatable(self) -> bool:
        """Whether a step that is repeated gets the same noise again."""
        return self.numbered is not None

    def fresh(self, step: int, device: torch.device) -> torch.Tensor:
        """The noise that a scheduler adds in a step."""
        noise = self.numbered(self.shape, draw=step + 1) if self.numbered is not None else self._draw()
        return noise.to(device).expand(self.shape)

    def _draw(self) -> torch.Tensor:
        return draw_noise(self.shape, self.share_noise, self.generator)


def adds_noise(scheduler, eta: float) -> bool:
    """Whether a scheduler's step draws fresh noise."""
    known = inspect.signature(scheduler.step).parameters
    if "eta" in known:
        return eta > 0
    if "algorithm_type" in scheduler.config:
        return scheduler.config["algorithm_type"].startswith("sde")
    return "generator" in known and "s_churn" not in known  # with churn, which is off unless asked for


def scheduler_step(
    scheduler,
    prediction: torch.Tensor,
    step: int,
    latents: torch.Tensor,
    eta: float = 0.0,
    noise: NoiseSource | None = None,
) -> torch.Tensor:
    """The sample after a step, float32 (B, C, T, h, w).

    Args:
        scheduler: a diffusers scheduler with its timesteps set.
        prediction: the network's, of the scheduler's `prediction_type`.
        step: index of the step.
        eta: DDIM's share of fresh noise; other schedulers ignore it.
        noise: for schedulers that add some.
    """
    known = inspect.signature(scheduler.step).parameters
    stochastic = eta > 0 or str(scheduler.config.get("algorithm_type", "")).startswith("sde")
    # where a level's signal is zero, DDIM with exactly 1 takes the root of a rounding error, below zero at times
    kwargs = {"eta": min(eta, 0.9999)} if "eta" in known else {}
    if "variance_noise" in known and stochastic:
        kwargs["variance_noise"] = noise.fresh(step, latents.device)
    elif "generator" in known and noise is not None:
        kwargs["generator"] = noise.generator
    output = scheduler.step(prediction, scheduler.timesteps[step], latents, **kwargs)
    last = step + 1 == len(scheduler.timesteps)
    if last and "eta" in known and scheduler.config.set_alpha_to_one:
        # DDIM takes 1000 // steps for a step's length: with 6 steps it would stop at timestep 0, which is not clean
        return output.pred_original_sample
    if (
        "denoised" in output
        and "variance_noise" not in known
        and noise is not None
        and noise.numbered is not None
        and not last
    ):
        # LCM adds noise of its own, which would depend on the window; the same formula with the frames' noise
        level = scheduler.timesteps[step + 1].reshape(1)
        return scheduler.add_noise(output.denoised, noise.fresh(step, latents.device), level)
    return output.prev_sample


class KnownFrames:
    """Frames of a clip whose clean latents are known: noised to each level for the network, exact at the end.

    The network sees them as it would see them had it drawn them itself, so that the frames beside them agree with them
    (the replacement method of inpainting, RePaint, arXiv 2201.09865, without its repeats).

    Args:
        latents: (B, C, T, h, w), read only where `frames` is True.
        frames: (T,) bool.
        noise: (B, C, T, h, w), the first noise, which is each frame's own.
    """

    def __init__(self, latents: torch.Tensor, frames: torch.Tensor, noise: torch.Tensor):
        self.noise = noise
        self.latents = latents.to(noise.device, noise.dtype).expand(noise.shape)
        self.frames = frames.to(noise.device)[:, None, None]  # over (B, C, T, h, w)

    def noised(self, latents: torch.Tensor, scheduler, timestep: torch.Tensor) -> torch.Tensor:
        """`latents` with the known frames at the level of `timestep`."""
        return torch.where(self.frames, scheduler.add_noise(self.latents, self.noise, timestep.reshape(1)), latents)

    def exact(self, latents: torch.Tensor) -> torch.Tensor:
        """`latents` with the known frames as they are."""
        return torch.where(self.frames, self.latents, latents)
