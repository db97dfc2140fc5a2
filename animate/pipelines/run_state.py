"""What diffusers' pipelines tell of the run that is going on, for callbacks."""


class RunStateMixin:
    """Of a pipeline whose `__call__` sets `_guidance_scale`, `_num_timesteps` and `_interrupt`."""

    @property
    def guidance_scale(self) -> float:
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        return self._interrupt
