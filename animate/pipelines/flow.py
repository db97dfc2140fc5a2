"""Flow matching as FantasyPortrait and Wan use it: x = (1 - sigma) * clean + sigma * noise, levels shifted by 5.

sigma' = shift * sigma / (1 + (shift - 1) * sigma), for sigma = 1, 1 - 1/n, ..., 1/n: 30 steps visit the timesteps
1000, 993.15, ..., 263.16, 147.06. The network predicts noise - clean.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from animate.errors import OptionError
from animate.pipelines.sampling import KnownFrames

SHIFT = 5.0
SOLVERS = {
    "unipc": (UniPCMultistepScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
}
FLOW_SCHEDULERS = ("euler", *SOLVERS)


def flow_scheduler(shift: float = SHIFT) -> FlowMatchEulerDiscreteScheduler:
    """The published checkpoints' scheduler: Euler steps, the noisier levels longer by `shift`."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)


def set_flow_scheduler(pipeline, name: str) -> None:
    """Give a pipeline another solver of the same flow, with the same shift.

    Args:
        pipeline: its `scheduler` is replaced.
        name: "euler"; "unipc" (arXiv 2302.04867) or "dpm++" (arXiv 2211.01095), which need about half of its steps.

    Raises:
        OptionError: an unknown name.
    """
    if name not in FLOW_SCHEDULERS:
        raise OptionError(f"Unknown scheduler {name!r} for this model: choose one of {', '.join(FLOW_SCHEDULERS)}.")
    config = pipeline.scheduler.config
    shift = config.get("flow_shift") if "flow_shift" in config else config.get("shift", SHIFT)
    if name == "euler":
        pipeline.register_modules(scheduler=flow_scheduler(shift))
        return
    kind, settings = SOLVERS[name]
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    pipeline.register_modules(scheduler=kind(num_train_timesteps=1000, **flow, **settings))


def is_flow(scheduler) -> bool:
    """Whether a diffusers scheduler goes along straight lines from noise to picture."""
    return type(scheduler).__name__.startswith("FlowMatch") or bool(scheduler.config.get("use_flow_sigmas"))


def set_flow_timesteps(scheduler, steps: int, device: torch.device | str | None = None) -> None:
    """The levels of a run; Euler's are the published ones, which diffusers' own spacing misses at the lower end."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1], device=device)
    else:
        scheduler.set_timesteps(steps, device=device)


class KnownLatents(KnownFrames):
    """`KnownFrames` of a flow: clean latents on the straight line to their own first noise.

    Args:
        latents: (B, C, F, h, w), read only where `frames` is True.
        frames: (F,) bool.
        noise: (B, C, F, h, w), the first noise.
    """

    def at_step(self, latents: torch.Tensor, scheduler, step: int) -> torch.Tensor:
        """`latents` with the known frames at the level at which `step` begins."""
        sigma = scheduler.sigmas[step].to(self.noise)
        return torch.where(self.frames, (1 - sigma) * self.latents + sigma * self.noise, latents)
