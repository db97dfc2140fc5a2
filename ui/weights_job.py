"""What `mien weights convert` does, once the options are parsed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from animate.checkpoints import convert_checkpoint
from animate.errors import OptionError, WeightsError
from weights import store
from weights.convert import family as family_named
from weights.registry import RECORDS

DTYPES = ("keep", "float32", "float16", "bfloat16")


def convert(
    family: str,
    folder: Path | None,
    output: Path | None,
    image_encoder: Path | None,
    vae: Path | None,
    base: Path | None,
    dtype: str,
    overwrite: bool,
    report: Callable[[str], None],
) -> Path:
    """The written folder; None for `folder` takes what was pulled, None for `output` the place of the family.

    Raises:
        OptionError: an unknown dtype.
        WeightsError: as `animate.checkpoints.convert_checkpoint`.
    """
    if dtype not in DTYPES:
        raise OptionError(f"Unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}.")
    family_named(family)
    import torch

    return convert_checkpoint(
        folder if folder is not None else _pulled(family),
        output if output is not None else store.pipeline_folder(family),
        family,
        dtype=None if dtype == "keep" else getattr(torch, dtype),
        image_encoder=image_encoder,
        vae=vae,
        base=base,
        overwrite=overwrite,
        report=report,
    )


def _pulled(family: str) -> Path:
    """The folder of a family's files on this machine: the originals or a mirror (`follow-your-emoji-fp16`)."""
    records = [record for record in RECORDS if record.repository and record.name.startswith(family)]
    for record in records:
        folder = store.find_folder(record)
        if folder is not None:
            return folder
    ways = " or ".join(f"`mien weights pull {record.name}`" for record in records)
    raise WeightsError(f"The files of {family} are not on this machine: run {ways}, or name their folder.")
