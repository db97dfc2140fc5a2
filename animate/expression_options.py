"""How the expression-driven model draws a clip; made of the command line's options for large models."""

from __future__ import annotations

from dataclasses import dataclass, fields

from animate.errors import OptionError
from animate.full_size_options import FullSizeOptions

PER_LATENT = 4
SOLVERS = {"ddim": "euler", "dpm++": "dpm++"}  # what the options' names mean for a flow


@dataclass(frozen=True)
class ExpressionOptions:
    """The defaults are the ones that the model was published with.

    window: latent frames that are drawn together, 81 frames. overlap: latent frames that two windows share.
    longest: longer side in pixels at which the picture is drawn. guidance: by expression; None takes the model's own.
    dtype: "auto" is bfloat16 on a GPU and float32 elsewhere. scheduler: "euler", "unipc" or "dpm++".
    offload, attention, compile: as in `FullSizeOptions`.
    """

    window: int = 21
    overlap: int = 10
    longest: int = 720
    guidance: float | None = None
    dtype: str = "auto"
    scheduler: str = "euler"
    offload: str = "none"
    attention: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        from animate.pipelines.latent_film import check_latent_windows

        check_latent_windows(self.window, self.overlap)
        if self.longest < 16:
            raise OptionError(f"--size is {self.longest}: this model needs at least 16 pixels.")

    @classmethod
    def of(cls, options: FullSizeOptions | None) -> ExpressionOptions:
        """What was asked for of a large model, with this one's defaults for the rest.

        Raises:
            OptionError: something that this model does not have.
        """
        if options is None:
            return cls()
        changed = options.changed
        if "preview" in changed:
            raise OptionError("This model has no preview decoder: leave out --preview.")
        if options.scheduler not in SOLVERS:
            raise OptionError(f"This model cannot be drawn with --scheduler {options.scheduler}: choose dpm++ or none.")
        given = {name: getattr(options, name) for name in ("guidance", "dtype", "offload", "attention", "compile")}
        given["scheduler"] = SOLVERS[options.scheduler]
        if "size" in changed:
            given["longest"] = options.size
        if "window" in changed:
            given["window"] = (options.window - 1) // PER_LATENT + 1
            given["overlap"] = (given["window"] - 1) // 2
        if options.overlap is not None:
            given["overlap"] = options.overlap // PER_LATENT
        return cls(**given)

    def facts(self) -> dict[str, object]:
        """What the frames depend on, for a work folder."""
        names = ("window", "overlap", "longest", "scheduler", "attention", "compile")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}
