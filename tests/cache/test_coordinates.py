"""Where each turn of the loop stands, read from diffusers' schedulers."""

import diffusers
import numpy as np
import pytest
import torch

from cache import schedule_nodes

MAKERS = {
    "ddim": lambda: diffusers.DDIMScheduler(),
    "zero terminal SNR": lambda: diffusers.DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
    "dpm++": lambda: diffusers.DPMSolverMultistepScheduler(),
    "dpm++ karras": lambda: diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True),
    "dpm++ zero terminal SNR": lambda: diffusers.DPMSolverMultistepScheduler(
        rescale_betas_zero_snr=True, timestep_spacing="trailing"
    ),
    "euler karras": lambda: diffusers.EulerDiscreteScheduler(use_karras_sigmas=True),
    "heun": lambda: diffusers.HeunDiscreteScheduler(),
    "kdpm2": lambda: diffusers.KDPM2DiscreteScheduler(),
    "lcm": lambda: diffusers.LCMScheduler(),
    "unipc": lambda: diffusers.UniPCMultistepScheduler(),
    "unipc flow": lambda: diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
    "flow": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow heun": lambda: diffusers.FlowMatchHeunDiscreteScheduler(),
    "edm": lambda: diffusers.EDMEulerScheduler(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_goes_from_noise_to_picture(name):
    scheduler = MAKERS[name]()
    scheduler.set_timesteps(10)
    nodes = schedule_nodes(scheduler)
    assert len(nodes) == len(scheduler.timesteps)
    assert np.isfinite(nodes.log_snr).all()
    assert (np.diff(nodes.log_snr) >= -1e-9).all() and nodes.log_snr[-1] > nodes.log_snr[0] + 3
    assert (np.diff(nodes.sigma) <= 1e-9).all() and nodes.sigma.max() <= 1 and nodes.sigma.min() >= 0
    assert np.allclose(nodes.timestep, scheduler.timesteps.double().numpy())


def test_log_snr_is_what_the_training_noise_says():
    scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(10)
    kept = scheduler.alphas_cumprod[scheduler.timesteps].double().numpy()
    nodes = schedule_nodes(scheduler)
    plain = (kept > 0.02) & (kept < 0.98)  # the ends are limited
    assert plain.sum() > 5 and np.allclose(nodes.log_snr[plain], np.log(kept / (1 - kept))[plain], atol=0.02)
    assert np.allclose(nodes.sigma, np.sqrt(1 - kept))


def test_families_agree_on_a_level():
    ddim, solver = MAKERS["ddim"](), MAKERS["dpm++"]()
    solver.set_timesteps(10)
    ddim.set_timesteps(10)
    ddim.timesteps = solver.timesteps
    assert np.allclose(schedule_nodes(ddim).log_snr, schedule_nodes(solver).log_snr, atol=1e-3)


def test_pure_noise_has_a_place_of_its_own():
    scheduler = MAKERS["zero terminal SNR"]()
    scheduler.set_timesteps(50)
    steps = np.diff(schedule_nodes(scheduler).log_snr)
    assert (steps > 0.001).all() and steps.max() < 3


def test_flow_matching_has_its_own_signal_to_noise_ratio():
    scheduler = MAKERS["flow"]()
    scheduler.set_timesteps(10)
    nodes = schedule_nodes(scheduler)
    s = scheduler.sigmas[:-1].double().numpy()
    assert np.allclose(nodes.sigma, s)
    plain = (s > 0.1) & (s < 0.85)  # the ends are limited
    expected = 2 * np.log((1 - s[plain]) / s[plain])
    assert plain.sum() > 3 and np.allclose(nodes.log_snr[plain], expected, atol=0.02)


def test_both_evaluations_of_a_heun_step_are_there():
    scheduler = MAKERS["heun"]()
    scheduler.set_timesteps(5)
    nodes = schedule_nodes(scheduler)
    assert len(nodes) == 9
    assert nodes.log_snr[1] == nodes.log_snr[2] > nodes.log_snr[0]
    assert nodes.find(nodes.timestep[1]) == 1 and nodes.find(nodes.timestep[1], after=1) == 2
    assert nodes.find(nodes.timestep[1], after=2) == 2 and nodes.find(-3.0) is None


def test_influence_is_the_share_of_a_prediction_in_ddims_result():
    scheduler = diffusers.DDIMScheduler(clip_sample=False, prediction_type="sample", timestep_spacing="trailing")
    scheduler.set_timesteps(6)
    nodes = schedule_nodes(scheduler)
    last = []
    for wrong in range(5):
        sample = torch.ones(1, dtype=torch.float64)
        for step, timestep in enumerate(scheduler.timesteps[:5]):
            sample = scheduler.step(torch.tensor([1.0 * (step == wrong)]), timestep, sample).prev_sample
        base = torch.ones(1, dtype=torch.float64)
        for timestep in scheduler.timesteps[:5]:
            base = scheduler.step(torch.zeros(1), timestep, base).prev_sample
        last.append(float(sample - base))
    share = np.array(last) / last[-1]
    assert np.allclose(nodes.influence[:5] / nodes.influence[4], share, rtol=0.05)
    assert schedule_nodes(scheduler, "epsilon").influence is None


def test_what_cannot_be_read_is_said():
    with pytest.raises(ValueError, match="set_timesteps"):
        fresh = MAKERS["ddim"]()
        fresh.timesteps = []
        schedule_nodes(fresh)

    class Unknown:
        timesteps = [3, 2, 1]

    with pytest.raises(ValueError, match="Unknown are unknown"):
        schedule_nodes(Unknown())
