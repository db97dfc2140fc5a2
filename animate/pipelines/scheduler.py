"""The noise schedule of both sizes: DDIM over 1000 steps, zero terminal SNR, trailing timesteps.

Betas and spacing are Follow-Your-Emoji's; zero terminal SNR and trailing timesteps are those of "Common
Diffusion Noise Schedules and Sample Steps Are Flawed" (arXiv 2305.08891). Timestep 999 is pure noise.
"""

from diffusers import DDIMScheduler


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
