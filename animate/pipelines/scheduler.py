"""The noise schedule of both sizes: DDIM over 1000 steps, zero terminal SNR, trailing timesteps.

Betas and spacing are Follow-Your-Emoji's; zero terminal SNR and trailing timesteps are those of "Common
Diffusion Noise Schedules and Sample Steps Are Flawed" (arXiv 2305.08891). Timestep 999 is pure noise.
"""

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, LCMScheduler

from animate.errors import OptionError

SCHEDULERS = {
    "ddim": (DDIMScheduler, {}),
    "dpm++": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero", "lower_order_final": True},
    ),
    "lcm": (LCMScheduler, {}),
}


def landmark_scheduler(prediction_type: str = "v_prediction") -> DDIMScheduler:
    """The published checkpoints' scheduler; 30 steps visit 999, 966, 932, ..., 66, 32."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def mini_scheduler() -> DDIMScheduler:
    """The same levels, for a network whose output is turned into the clean sample (x0-prediction)."""
    return landmark_scheduler(prediction_type="sample")


def set_scheduler(pipeline, name: str) -> None:
    """Give a pipeline another sampler of the same noise levels: betas, zero terminal SNR, trailing, prediction type.

    Args:
        pipeline: its `scheduler` is replaced.
        name: "ddim"; "dpm++", the second-order multistep solver of DPM-Solver++ (arXiv 2211.01095), which needs
            about half of DDIM's steps; or "lcm", which is for networks distilled to a few steps (arXiv 2310.04378):
            another network gives blurred or broken pictures with it, and it takes at most 50 steps.

    Raises:
        OptionError: an unknown name.
    """
    if name not in SCHEDULERS:
        raise OptionError(f"Unknown scheduler {name!r}: choose one of {', '.join(SCHEDULERS)}.")
    kind, settings = SCHEDULERS[name]
    pipeline.register_modules(scheduler=kind.from_config(pipeline.scheduler.config, **settings))
