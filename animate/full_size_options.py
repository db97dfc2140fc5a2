"""What the full-size model can be told; light, so that the command line can name its defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from animate.errors import OptionError

LONG = ("progressive", "overlap")
DTYPES = ("auto", "float32", "float16", "bfloat16")
SCHEDULERS = ("ddim", "dpm++", "lcm")
OFFLOADS = ("none", "model", "group")
ATTENTIONS = ("auto", "sdpa", "xformers", "flash")


@dataclass(frozen=True)
class FullSizeOptions:
    """How the full-size model draws a clip; `mini` takes none of these.

    long: "progressive" (key frames first, then those between them) or "overlap" (one window after the other).
    window: frames that are drawn together. overlap: frames that two windows share, with "overlap"; None is a quarter of
        the window.
    guidance: classifier-free guidance scale, 1 is none; None takes the model's own, 3.5.
    size: side in pixels of the square round the face that is drawn, a multiple of 64.
    dtype: "auto" is float16 on a GPU and float32 elsewhere.
    scheduler: "ddim", "dpm++" or "lcm"; see `animate.pipelines.scheduler.set_scheduler`.
    preview: decode with TAESD, much faster and a little blurred.
    offload: "model" holds one network at a time on the GPU, "group" a few layers; slower, for less memory.
    attention: kernels, "auto" leaves the choice to PyTorch. compile: compile the repeated blocks first.

    Raises OptionError for a value that does not work.
    """

    long: str = "progressive"
    window: int = 16
    overlap: int | None = None
    guidance: float | None = None
    size: int = 512
    dtype: str = "auto"
    scheduler: str = "ddim"
    preview: bool = False
    offload: str = "none"
    attention: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, known in (
            ("long", LONG),
            ("dtype", DTYPES),
            ("scheduler", SCHEDULERS),
            ("offload", OFFLOADS),
            ("attention", ATTENTIONS),
        ):
            if getattr(self, name) not in known:
                raise OptionError(f"Unknown --{name} {getattr(self, name)!r}: choose one of {', '.join(known)}.")
        if self.window < 3:
            raise OptionError(f"--window is {self.window}: a window needs at least 3 frames.")
        if not 0 <= self.shared <= self.window // 2:
            raise OptionError(f"--overlap is {self.shared}: windows of {self.window} frames share 0 to half of them.")
        if self.guidance is not None and not (math.isfinite(self.guidance) and self.guidance >= 1):
            raise OptionError(f"--guidance is {self.guidance:g}: it must be 1 (none) or more.")
        if self.size < 64 or self.size % 64:
            raise OptionError(f"--size is {self.size}: it must be a multiple of 64.")

    @property
    def shared(self) -> int:
        """Frames that two windows share, with "overlap"."""
        return self.window // 4 if self.overlap is None else self.overlap

    @property
    def changed(self) -> list[str]:
        """Names of the options that are not at their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]
