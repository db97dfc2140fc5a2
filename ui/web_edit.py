"""The tab Edit: a portrait with sliders. The warp answers while a slider moves, the network when it is let go."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animate.errors import MienError
from animate.sliders import RANGES, FaceSliders

from .signature import find_credential
from .web_examples import example_portrait, examples
from .web_page import Page, output_name
from .web_parts import PRIVATE, command_output, gr, portrait_input
from .web_values import endpoint

if TYPE_CHECKING:
    from animate.animator import PortraitAnimator
    from animate.still import Still

KEPT = 4  # portraits that stay ready
PREVIEW_SIDE = 640  # px of the preview's longer side
#: The sliders in the order in which they stand on the page, two in a row, and what they are called.
LABELS = {
    "yaw": "Turn head",
    "pitch": "Raise head",
    "roll": "Tilt head",
    "brows": "Brows",
    "smile": "Smile",
    "mouth_open": "Open mouth",
    "blink_left": "Close left eye",
    "blink_right": "Close right eye",
    "gaze_x": "Look sideways",
    "gaze_y": "Look up",
}


class Studio:
    """The portraits that were used last, each ready to be drawn."""

    def __init__(self, page: Page):
        self.page = page
        self._stills: OrderedDict[tuple[str, int], Still] = OrderedDict()
        self._lock = threading.Lock()
        self._animator: PortraitAnimator | None = None
        self._tracker = None
        self._model = page.model

    @property
    def model(self) -> str:
        """What draws, as a video's metadata name it."""
        self.animator  # noqa: B018  (decides)
        return self._model

    @property
    def animator(self) -> PortraitAnimator:
        """mini, or the server's model where it is of mini's kind; loaded once."""
        if self._animator is None:
            from animate.animator import PortraitAnimator

            chosen = PortraitAnimator.from_pretrained(self.page.model, device=self.page.device)
            self._model = self.page.model if chosen.paints_regions else "mini"
            self._animator = chosen if chosen.paints_regions else PortraitAnimator.from_pretrained("mini")
        return self._animator

    def still(self, path: Path, longest: int) -> Still:
        """The portrait at most `longest` px on a side. Raises MediaError, FaceError with a sentence."""
        from animate.faces import create_tracker
        from animate.portrait import Portrait
        from animate.still import Still, shrunk

        with self._lock:
            key = (f"{path}:{path.stat().st_mtime_ns}", longest)
            if key in self._stills:
                self._stills.move_to_end(key)
                return self._stills[key]
            if self._tracker is None:
                self._tracker = create_tracker()
            portrait = shrunk(Portrait.open(path, self._tracker), longest)
            self._stills[key] = Still(portrait, self.animator)
            while len(self._stills) > KEPT:
                self._stills.popitem(last=False)
            return self._stills[key]

    def warm(self) -> None:
        """Loads what the first job or slider would otherwise wait for."""
        from animate.faces import create_tracker
        from talking_face.features import SAMPLE_RATE, audio_features

        try:
            with self._lock:
                self.animator  # noqa: B018
                self._tracker = self._tracker or create_tracker()
        finally:
            self.page.ready.set()
        # librosa's pitch search is compiled at its first use, which takes 20 s.
        audio_features(np.sin(np.arange(SAMPLE_RATE // 2) / 20).astype(np.float32))


def edit_tab(page: Page, studio: Studio) -> None:
    """A portrait, a slider for each part of the face, the picture at once."""

    def picture(portrait: str, values: tuple[float, ...], paint: bool) -> tuple[np.ndarray, FaceSliders, Path]:
        path = page.check(portrait, "picture", "portrait")
        sliders = FaceSliders(**dict(zip(RANGES, map(float, values), strict=True)))
        longest = 16384 if paint else PREVIEW_SIDE
        return studio.still(path, longest).draw(sliders.motion(), paint=paint), sliders, path

    def preview(portrait: str, *values: float):
        """At once, past the queue, whose errors alone the page shows: what draws it well says what is wrong."""
        if not portrait:
            return gr.skip()
        try:
            return _flat(picture(portrait, values, paint=False)[0])
        except MienError:
            return gr.skip()

    def edit(
        portrait: str,
        yaw: float = 0,
        pitch: float = 0,
        roll: float = 0,
        mouth_open: float = 0,
        smile: float = 0,
        blink_left: float = 0,
        blink_right: float = 0,
        gaze_x: float = 0,
        gaze_y: float = 0,
        brows: float = 0,
    ):
        """Set a portrait's face. Angles in degrees; the others from 0, or -1, to 1.

        Returns the picture, the PNG file, the motion file of one frame, and the command line that does the same.
        """
        from animate.media import write_image
        from animate.provenance import Provenance

        values = (yaw, pitch, roll, mouth_open, smile, blink_left, blink_right, gaze_x, gaze_y, brows)
        with page.sentences(), page.workplace() as folder:
            image, sliders, path = picture(portrait, values, paint=True)
            name = output_name(path, "edited")
            made = Provenance("portrait edit", studio.model)
            shown, png, key = (folder / f"{name}{suffix}" for suffix in (".jpg", ".png", ".safetensors"))
            credential = find_credential(png, None, None)
            write_image(png, image, provenance=made, credential=credential)
            write_image(shown, _flat(image), provenance=made, credential=credential)
            sliders.motion().save(key)
            line = f"mien animate -s {path.name} -m {name}.safetensors -o {name}-%05d.png"
            yield str(shown), str(png), str(key), line

    def released(portrait: str, *values: float):
        if not portrait:
            yield gr.skip(), gr.skip(), gr.skip(), gr.skip()
            return
        yield from edit(portrait, *values)

    # the picture stays in sight beside the sliders, on a phone above them
    with gr.Row(elem_id="edit-grid", elem_classes="mien-columns"):
        with gr.Column(min_width=300, elem_id="edit-left"):
            with gr.Column():
                place = gr.Row()  # the examples fill sliders, which come below them
                portrait = portrait_input()
            with gr.Column(elem_id="edit-sliders"):
                by_name, names = {}, list(LABELS)
                for pair in zip(names[::2], names[1::2], strict=True):
                    with gr.Row():
                        by_name |= {name: _slider(name) for name in pair}
                sliders = [by_name[name] for name in RANGES]
        with gr.Column(min_width=300, elem_id="edit-right", elem_classes="mien-out"):
            with gr.Column(elem_id="edit-out"):
                result = gr.Image(label="Result", format="jpeg", interactive=False, height=420, buttons=["fullscreen"])
            with gr.Column(elem_id="edit-files"):
                with gr.Row():
                    reset = gr.Button("Reset", min_width=120)
                    run = gr.Button("Draw", variant="primary", elem_id="edit-run", min_width=120)
                with gr.Row():
                    png = gr.DownloadButton("Save the picture", size="md", elem_id="edit-png", min_width=120)
                    key = gr.DownloadButton("Save the face as a motion", size="md", elem_id="edit-key", min_width=120)
                command = command_output("The same on the command line, with the saved motion", "edit")
    with place:
        example = example_portrait(page.work)
        rows = example and [[str(example)] + [row.get(name, 0) for name in RANGES] for row in EXAMPLES.values()]
        shown = examples(rows, [portrait, *sliders], list(EXAMPLES), "Try it with an astronaut's portrait")

    inputs, outputs = [portrait, *sliders], [result, png, key, command]
    painting = {"concurrency_limit": 1, "concurrency_id": "edit", "trigger_mode": "always_last"}
    quick = PRIVATE | {"trigger_mode": "always_last"}
    run.click(endpoint(edit, inputs), inputs, outputs, api_name="edit", show_progress="minimal", **painting)
    for slider in sliders:
        slider.input(preview, inputs, result, **quick)
        slider.release(released, inputs, outputs, api_visibility="private", show_progress="hidden", **painting)
    drawn = {"api_visibility": "private", "show_progress": "minimal"} | painting
    portrait.input(preview, inputs, result, **quick).then(released, inputs, outputs, **drawn)
    reset.click(lambda: [0] * len(sliders), None, sliders, queue=False, api_visibility="private").then(
        released, inputs, outputs, **drawn
    )
    if shown is not None:
        shown.load_input_event.then(released, inputs, outputs, **drawn)


EXAMPLES = {
    "smiling": {"smile": 1, "yaw": 12},
    "astonished": {"mouth_open": 0.8, "brows": 1},
    "winking": {"blink_left": 1, "smile": 0.6, "roll": -8},
}


def _slider(name: str) -> gr.Slider:
    low, high = RANGES[name]
    step = 1 if high > 1 else 0.05
    both = ["mien-both"] if low == -high else []
    return gr.Slider(
        low, high, 0, step=step, label=LABELS[name], elem_id=f"edit-{name}", elem_classes=both, min_width=200
    )


def _flat(image: np.ndarray) -> np.ndarray:
    from animate.compositing import flatten

    return flatten(image)
