"""Where on its way from noise to picture each evaluation of a run stands, read from the scheduler.

Nothing is counted: a scheduler's own arrays say which noise level the network is asked about at each turn of the loop,
also where steps are uneven (Karras, shifted flows), where a step takes two evaluations (Heun) and where the first level
is pure noise (zero terminal SNR).
"""

from dataclasses import dataclass

import numpy as np
import torch

# squares below which signal and noise count as this: pure noise would have an infinite log-SNR, and polynomials on an
# axis that long are worthless; soft, so that two levels never fall on one place
SIGNAL_FLOOR = 0.02**2
NOISE_FLOOR = 0.001**2


@dataclass(frozen=True)
class Nodes:
    """One number for each turn of the denoising loop, float64 arrays of one length.

    `step`: 0, 1, 2, ...; `timestep`: what the network is told; `sigma`: the noise's share, 0 to 1, where signal and
    noise have been scaled to unit variance (flow matching: its own sigma); `log_snr`: log of signal over noise, squared
    both, softly limited to about -7.8 to 13.8. `influence`: how much an error of this turn's prediction counts in the
    result, with a geometric mean of 1; None where that is not known.
    """

    step: np.ndarray
    timestep: np.ndarray
    sigma: np.ndarray
    log_snr: np.ndarray
    influence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.step)

    def at(self, coordinate: str, step_index: int) -> float:
        """The coordinate of one turn of the loop; IndexError beyond its end."""
        return float(getattr(self, coordinate)[step_index])

    def find(self, timestep: float, after: int = -1) -> int | None:
        """The first turn later than `after` with this timestep, else `after` itself if it has it, else None."""
        matches = np.flatnonzero(np.isclose(self.timestep, timestep, rtol=1e-5, atol=1e-4))
        later = matches[matches > after]
        if len(later):
            return int(later[0])
        return after if after in matches else None


def schedule_nodes(scheduler, prediction_type: str | None = None) -> Nodes:
    """The nodes of a diffusers scheduler, after its `set_timesteps`.

    Args:
        scheduler: whose arrays are read.
        prediction_type: what the network predicts, where it is not what the scheduler's configuration says.

    Raises:
        ValueError: the noise levels of this scheduler cannot be read.
    """
    timesteps = getattr(scheduler, "timesteps", None)
    if timesteps is None or len(timesteps) == 0:
        raise ValueError(f"{type(scheduler).__name__} has no timesteps yet: call `set_timesteps` first.")
    timesteps = _array(timesteps)
    signal, noise = _levels(scheduler, timesteps)  # squares
    total = signal + noise
    log_snr = np.log((signal / total + SIGNAL_FLOOR) / (noise / total + NOISE_FLOOR))
    sigma = np.sqrt(noise) if _is_flow(scheduler) else np.sqrt(noise / total)
    prediction_type = prediction_type or getattr(scheduler, "config", {}).get("prediction_type")
    known = prediction_type == "sample" and len(timesteps) > 1
    influence = _clean_influence(np.sqrt(signal / np.maximum(noise, 1e-12))) if known else None
    return Nodes(np.arange(len(timesteps), dtype=np.float64), timesteps, sigma, log_snr, influence)


def _clean_influence(ratio: np.ndarray) -> np.ndarray:
    """The share of each predicted clean sample in the last sample.

    A step moves sample / noise scale by (r' - r) times the clean sample, r = `ratio` of signal to noise scale (DDIM's
    rule, arXiv 2010.02502, equation 12, rearranged), so that early predictions are a thousandth of the result and late
    ones a third; the last prediction is the result.
    """
    share = np.append(np.abs(np.diff(ratio)), ratio[-1])
    share = np.maximum(share, 1e-6 * share.max())  # two evaluations at one level
    return share / np.exp(np.mean(np.log(share)))


def _levels(scheduler, timesteps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares of the signal's and of the noise's scale at each turn of the loop."""
    sigmas = getattr(scheduler, "sigmas", None)
    # with these the second half of a step is asked at a level between two sigmas: only the timestep knows it
    between = hasattr(scheduler, "sigmas_interpol")
    if sigmas is not None and len(sigmas) >= len(timesteps) and not between:
        sigmas = _array(sigmas)[: len(timesteps)]
        if _is_flow(scheduler):
            return (1 - sigmas) ** 2, sigmas**2
        return np.ones_like(sigmas), sigmas**2
    cumprod = getattr(scheduler, "alphas_cumprod", None)
    if cumprod is None:
        raise ValueError(
            f"The noise levels of {type(scheduler).__name__} are unknown: it has neither sigmas nor alphas_cumprod; "
            "use coordinate='timestep' or 'step'."
        )
    cumprod = np.clip(_array(cumprod), 0.0, 1.0)
    signal = np.interp(timesteps, np.arange(len(cumprod)), cumprod)
    return signal, 1 - signal


def _is_flow(scheduler) -> bool:
    """Whether the sample is (1 - sigma) * clean + sigma * noise."""
    config = getattr(scheduler, "config", {})
    if config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        return True
    if getattr(scheduler, "alphas_cumprod", None) is not None:
        return False
    sigmas = getattr(scheduler, "sigmas", None)
    return sigmas is not None and float(_array(sigmas).max()) <= 1.0 + 1e-6


def _array(values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
