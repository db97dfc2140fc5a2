"""A tab that draws a video: what goes in on the left, what comes out on the right, buttons that start and end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gradio.components.base import Component

from .cli_options import LAST_SEED
from .web_page import Page
from .web_parts import PRIVATE, Outputs, gr
from .web_values import endpoint

DRAWING = {"concurrency_limit": 1, "concurrency_id": "drawing", "trigger_mode": "once", "show_progress": "minimal"}
METHODS = [("Network (mini)", "mini"), ("Warp and prior alone, faster", "prior")]
STYLES = ["calm", "neutral", "lively"]


@dataclass
class DrawingTab:
    """What a tab says of itself while it is laid out.

    Attributes:
        top: the row above the inputs; examples stand there, but fill components that come later.
        fn: what draws; its parameters' names are the API's. inputs: a component for each.
        filled: events after which all inputs are there, so that it can start: clicks on examples.
    """

    top: Any
    fn: Callable | None = None
    inputs: list[Component] = field(default_factory=list)
    filled: list[Any] = field(default_factory=list)


@contextmanager
def drawing_tab(page: Page, name: str, what: str, hint: str) -> Iterator[DrawingTab]:
    """The inputs are laid out inside the block; the rest of the tab is the same for all.

    name: of the endpoint. what: on the button that starts. hint: what to do first.
    """
    with gr.Row(elem_classes="mien-columns"):
        with gr.Column(min_width=300):
            tab = DrawingTab(gr.Row())
            yield tab
            with gr.Row(elem_classes="mien-go"):
                start = gr.Button(what, variant="primary", elem_id=f"{name}-run")
                stop = gr.Button("Cancel", variant="stop", elem_id=f"{name}-cancel")
        with gr.Column(min_width=300, elem_classes="mien-out", elem_id=f"{name}-out"):
            outputs = Outputs(name, hint)
    show = {"fn": None, "js": to_the_result(name), "api_visibility": "private"}
    endpoint(tab.fn, tab.inputs)
    events = [start.click(tab.fn, tab.inputs, outputs.all, api_name=name, **DRAWING)]
    start.click(**show)
    for filled in tab.filled:
        events.append(filled.then(tab.fn, tab.inputs, outputs.all, api_visibility="private", **DRAWING))
        filled.then(**show)

    def cancel(request: gr.Request) -> tuple[Any, str]:
        return page.cancel(name, request)

    ended = stop.click(
        cancel, None, [outputs.video, outputs.status], cancels=events, queue=False, api_visibility="private"
    )
    ended.then(page.cancelled, None, outputs.status, **PRIVATE)


def to_the_result(name: str) -> str:
    """JavaScript that shows the result where it lies far below, on a phone."""
    return (
        "() => { if (window.innerWidth <= 640) "
        f"{{ document.getElementById('{name}-out').scrollIntoView({{ behavior: 'smooth' }}); }} }}"
    )


def how_drawn(row: str) -> list[Component]:
    """Side by side, method and seed. row: what a side-by-side video shows."""
    return [
        gr.Checkbox(False, label=f"Side by side: {row}"),
        gr.Radio(METHODS, value="mini", label="Drawn by"),
        gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LAST_SEED),
    ]


def how_said() -> list[Component]:
    """Style and strength of the mouth's movement."""
    return [
        gr.Radio(STYLES, value="neutral", label="Style"),
        gr.Slider(0, 3, 1, step=0.05, label="Mouth"),
    ]
