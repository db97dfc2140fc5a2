"""Samplers for a network that predicts the clean sample at DDIM's noise levels: DDIM, DPM++ 2M and flow matching.

A level of one family is a level of the other when their signal-to-noise ratios agree: the sample of flow matching,
x = (1 - s) x0 + s n, divided by sqrt((1 - s)^2 + s^2) is DDIM's sample of the level whose SNR is ((1 - s) / s)^2, and
the network is told the timestep of that level, between two training timesteps where it lies between them.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from animate.pipelines.sampling import scheduler_step
from animate.pipelines.scheduler import SCHEDULERS

SAMPLERS = {"ddim": 25, "dpm++": 20, "flow": 25}
"""Sampler -> steps without a cache."""


class Sampler:
    """DDIM or DPM++ 2M, which take the clean sample as the network's prediction.

    Args:
        scheduler: the model's own, of `prediction_type` "sample".
        steps: of the network.

    Attributes:
        scheduler: a copy with its timesteps set; a solver's memory of earlier steps is in it.
        timesteps: of each step.
    """

    kind: type | None = None

    def __init__(self, scheduler, steps: int):
        self.trained = scheduler
        self.scheduler = self._make(scheduler)
        self.scheduler.set_timesteps(steps)
        self.steps = len(self.scheduler.timesteps)

    def _make(self, scheduler):
        return copy.deepcopy(scheduler)

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """The first sample from normal noise."""
        return noise * self.scheduler.init_noise_sigma

    def network_input(self, sample: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network is shown: the sample as DDIM has it, and its timestep."""
        timestep = self.scheduler.timesteps[step]
        return self.scheduler.scale_model_input(sample, timestep), timestep

    def advance(self, clean: torch.Tensor, step: int, sample: torch.Tensor) -> torch.Tensor:
        """The next sample, from the clean one that the network predicts."""
        return scheduler_step(self.scheduler, clean, step, sample)


class DPMSampler(Sampler):
    def _make(self, scheduler):
        return DPMSolverMultistepScheduler.from_config(scheduler.config, **SCHEDULERS["dpm++"][1])


class FlowSampler(Sampler):
    """Flow matching: Euler steps on sigmas s of x = (1 - s) x0 + s n."""

    def _make(self, scheduler):
        kept = scheduler.alphas_cumprod.double().numpy().clip(1e-12, 1 - 1e-12)
        self._log_snr = np.log(kept / (1 - kept))  # falls with the timestep
        return FlowMatchEulerDiscreteScheduler()

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def network_input(self, sample: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        sigma = self._sigma(step)
        return sample / float(np.hypot(1 - sigma, sigma)), torch.tensor(self.timestep(sigma))

    def advance(self, clean: torch.Tensor, step: int, sample: torch.Tensor) -> torch.Tensor:
        velocity = (sample - clean) / self._sigma(step)
        return super().advance(velocity, step, sample)

    def timestep(self, sigma: float) -> float:
        """The training timestep of the level with this sigma's SNR; the nearest where training has no such level."""
        log_snr = 2 * np.log(max(1 - sigma, 1e-12) / sigma)
        return float(np.interp(log_snr, self._log_snr[::-1], np.arange(len(self._log_snr))[::-1]))

    def _sigma(self, step: int) -> float:
        return float(self.scheduler.sigmas[step])


KINDS = {"ddim": Sampler, "dpm++": DPMSampler, "flow": FlowSampler}


def make_sampler(name: str, scheduler, steps: int | None = None) -> Sampler:
    """A fresh sampler, for one batch.

    Args:
        name: one of `SAMPLERS`.
        scheduler: the model's own.
        steps: `SAMPLERS`' number when None.
    """
    return KINDS[name](scheduler, steps or SAMPLERS[name])
