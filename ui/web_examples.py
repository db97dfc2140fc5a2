"""What the page can be tried with at one click: NASA's portrait of an astronaut, and a sentence of Mien's own."""

from __future__ import annotations

import functools
from pathlib import Path

from animate.errors import MienError

from .web_parts import gr

NO_EXAMPLE = "An example portrait comes with `pip install 'mien[demo]'`; any picture with a face will do."
CLIP_FRAMES = 40


def examples(rows: list[list] | None, into: list, labels: list[str], what: str) -> gr.Examples | None:
    """A button for each row; None, and a sentence on the page, where there is no portrait to show."""
    if rows is None:
        gr.Markdown(NO_EXAMPLE)
        return None
    return gr.Examples(rows, into, label=what, example_labels=labels, api_visibility="private", cache_examples=False)


@functools.cache
def example_portrait(folder: Path) -> Path | None:
    """A portrait to try the page with, None where the extra `demo` is not installed."""
    from .demo import write_portrait

    path = folder / "astronaut.png"
    try:
        write_portrait(path)
    except MienError:
        return None
    return path


@functools.cache
def example_group(folder: Path) -> Path | None:
    """A picture of two people: the astronaut beside her mirror image."""
    import numpy as np

    from animate.media import read_image, write_image

    portrait = example_portrait(folder)
    if portrait is None:
        return None
    image = read_image(portrait)[:, 40:420]
    path = folder / "two-astronauts.png"
    write_image(path, np.concatenate([image, image[:, ::-1]], axis=1))
    return path


@functools.cache
def example_clip(folder: Path) -> Path:
    """A clip of the astronaut who nods, made by the warp alone in two or three seconds."""
    from animate.animator import PortraitAnimator
    from animate.media import VideoWriter
    from animate.motion import Motion
    from animate.portrait import Portrait
    from animate.provenance import Provenance

    motion = Motion.builtin("nod")
    motion = motion.take(slice(0, CLIP_FRAMES))
    portrait = Portrait.open(example_portrait(folder))
    path = folder / "astronaut.mp4"
    with VideoWriter(path, motion.fps, provenance=Provenance("portrait animation", "warp")) as writer:
        for frame in PortraitAnimator.from_pretrained(method="warp").animate(portrait, motion):
            writer.write(frame)
    return path


def example_speech() -> Path | None:
    """The sentence that comes with Mien."""
    import talking_face

    path = Path(talking_face.__file__).parent / "speech" / "hello.flac"
    return path if path.is_file() else None
