"""What the cache may do: one frozen record, checked when it is made."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PLACEMENTS = ("auto", "branch", "blocks", "output")
COORDINATES = ("log_snr", "sigma", "timestep", "step")
MAX_ORDER = 3


@dataclass(frozen=True)
class TaylorCacheConfig:
    """Settings of the Taylor-interpolated cache; ValueError names a setting that cannot be.

    Args:
        placement (default "auto"): what is forecast. "branch": a UNet's deep part, the tensor that enters its
            shallowest up layers, which always run. "blocks": what a transformer's stack of blocks adds to the hidden
            states. "output": the whole prediction. "auto": branch for a UNet, blocks for a transformer, else output.
        coordinate (default "log_snr"): the axis on which the polynomial runs. "log_snr", "sigma" (the noise's share),
            "timestep" or "step" (the place in the loop). Features move most evenly along log-SNR.
        order (default 2): the highest order of the polynomial, 0 (reuse) to 3. A context keeps `order` + 1 tensors for
            each thing that it forecasts. The order of a step is the one whose forecasts have been best.
        tolerance (default 0.01): how wrong a forecast may be expected to be, as the relative L2 error of what is
            forecast. Larger is faster. 0: nothing is forecast and results are bit for bit those without a cache.
        floor (default 0.5): errors of an "output" are relative to its RMS or to this, whichever is larger, in the unit
            of the sample: where a network adds little, a forecast of it can do little harm. 0: always relative to
            itself, as the other placements are.
        influence (default 0.5): how far the tolerance of an "output" follows what an error does to the result, as a
            power. Known for networks that predict the clean sample, whose early steps count little; all steps are alike
            for others, and for other placements (measured: it does no good there). 0: one tolerance for all steps.
        interval (default None): one full step in so many, whatever the errors. None: the errors decide.
        max_interval (default 6): never more than so many steps from one full step to the next.
        warmup (default 2): so many first steps are always computed.
        last_steps (default 1): so many last steps are always computed, where the run's length is known.
        branch_depth (default 1): how many of a UNet's up layers (a resnet with its attention and motion module) always
            run, with the down layers whose skip connections they read. More is dearer and closer.
        temporal_interval (default None): motion modules that a step reaches are computed once in so many steps, and
            what they add is forecast in between, with order 1 at most. None: whenever a step reaches them. It keeps up
            to two tensors for each motion module.
        lookahead (default False): compute the next full step first and interpolate the steps before it. Needs a loop
            that can go back: `cache.lookahead`.
        dtype (default None): what cached tensors are kept in; None for the dtype that they have.
    """

    placement: str = "auto"
    coordinate: str = "log_snr"
    order: int = 2
    tolerance: float = 0.01
    floor: float = 0.5
    influence: float = 0.5
    interval: int | None = None
    max_interval: int = 6
    warmup: int = 2
    last_steps: int = 1
    branch_depth: int = 1
    temporal_interval: int | None = None
    lookahead: bool = False
    dtype: "torch.dtype | None" = None

    def __post_init__(self):
        for name, allowed in (("placement", PLACEMENTS), ("coordinate", COORDINATES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` must be one of {', '.join(allowed)} but is {getattr(self, name)!r}.")
        if not _is_whole(self.order) or not 0 <= self.order <= MAX_ORDER:
            raise ValueError(f"`order` must be 0, 1, 2 or {MAX_ORDER} but is {self.order!r}.")
        for name in ("tolerance", "floor", "influence"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ValueError(f"`{name}` must be a number of at least 0 but is {value!r}.")
        for name, least in (("max_interval", 1), ("warmup", 1), ("last_steps", 0), ("branch_depth", 1)):
            if not _is_whole(getattr(self, name)) or getattr(self, name) < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least} but is {getattr(self, name)!r}.")
        for name in ("interval", "temporal_interval"):
            value = getattr(self, name)
            if value is not None and (not _is_whole(value) or value < 1):
                raise ValueError(f"`{name}` must be None or a whole number of at least 1 but is {value!r}.")

    @classmethod
    def preset(cls, name: str, **changes) -> "TaylorCacheConfig":
        """The settings that `mien animate --cache NAME` stands for; ValueError for an unknown name."""
        if name not in PRESETS:
            raise ValueError(f"Unknown cache preset {name!r}: choose one of {', '.join(PRESETS)}.")
        return replace(PRESETS[name], **changes)


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Measured on `mini` with 20 and 25 steps (bench/results). There the output is worth more than the branch, whose
# forecast steps cost a fifth of a full one. Runs of few steps have little use of them: in `mini`'s four, three are
# first or last ones.
PRESETS: dict[str, TaylorCacheConfig] = {
    "fast": TaylorCacheConfig(placement="output", tolerance=0.04, lookahead=True),
    "balanced": TaylorCacheConfig(placement="output", tolerance=0.01, lookahead=True),
    "exact": TaylorCacheConfig(tolerance=0.0),
}
