"""The page's own components."""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr  # noqa: E402
from gradio.components.base import Component  # noqa: E402
from gradio.data_classes import FileData, ListFiles  # noqa: E402

#: How what the page does for itself is run: at once, past the queue, unseen, and not in the API.
PRIVATE = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
NOT_UPLOADED = "Only files that were uploaded to this page are read: upload the file first."
STRENGTHS = ("eyes", "brows", "lips", "jaw", "gaze", "rotation", "translation")


def as_uploaded(component: Component) -> Component:
    """Makes it hand on the path of an uploaded file as it came: our own reader looks at it first, gradio opens
    nothing."""

    def preprocess(payload):
        if payload is None:
            return None
        if isinstance(payload, ListFiles):
            return [_path(file) for file in payload.root]
        return _path(getattr(payload, "video", payload))

    component.preprocess = preprocess
    return component


def _path(file: FileData) -> str:
    if not file.path or "://" in file.path:
        raise gr.Error(NOT_UPLOADED, duration=None, print_exception=False)
    return file.path


def sound_input(label: str) -> Component:
    sound = gr.Audio(
        label=label,
        type="filepath",
        sources=["upload", "microphone"],
        buttons=[],
        elem_classes=["mien-in", "mien-sound"],
    )
    return as_uploaded(sound)


def files_input(label: str, count: str) -> Component:
    return as_uploaded(gr.File(label=label, file_count=count, height=130))


def portrait_input(
    label: str = "Portrait", what: str = "Drop a portrait here", elem_id: str | None = None
) -> Component:
    picture = gr.Image(
        label=label,
        elem_id=elem_id,
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        height=240,
        buttons=["fullscreen"],
        placeholder=f"{what}\nor click to choose a file",
        elem_classes="mien-in",
    )
    return as_uploaded(picture)


def clip_input(label: str) -> Component:
    clip = gr.Video(
        label=label,
        sources=["upload", "webcam"],
        height=280,
        include_audio=True,
        buttons=[],
        elem_classes="mien-in",
    )
    return as_uploaded(clip)


def strength_sliders(names: tuple[str, ...] = STRENGTHS) -> list[gr.Slider]:
    """One a region; 1 is unchanged."""
    return [gr.Slider(0, 3, 1, step=0.05, label=name.capitalize()) for name in names]


def strength_words(values: tuple[float, ...], names: tuple[str, ...] = STRENGTHS) -> str:
    """The command line's `--strength` for sliders; "" where all stand at 1."""
    return ",".join(f"{name}={value:g}" for name, value in zip(names, values, strict=True) if value != 1)


def command_output(label: str, name: str) -> gr.Textbox:
    """A line to copy; seen once there is one."""
    return gr.Textbox(
        "",
        label=label,
        elem_id=f"{name}-command",
        elem_classes="mien-command",
        placeholder=" ",
        interactive=False,
        lines=1,
        max_lines=4,
        buttons=["copy"],
    )


#: JavaScript that reads from a status how much of the stage is done; null where it does not say.
SHARE = "((m) => (m ? m[1] / m[2] : null))((value || '').match(/frame (\\d+) of (\\d+)/))"


class Outputs:
    """What every tab that draws a video shows: the result, how far it is, the command, the report.

    hint: what the status says before anything was drawn.
    """

    def __init__(self, name: str, hint: str) -> None:
        self.video = gr.Video(
            label="Result",
            interactive=False,
            autoplay=True,
            loop=True,
            height=420,
            buttons=["download"],
            elem_classes="mien-result",
        )
        self.status = gr.HTML(
            value=hint,
            label="Status",
            html_template=(
                '<div class="mien-status" role="status"><progress max="1" '
                f"class=\"${{{SHARE} === null ? 'idle' : ''}}\" value=\"${{{SHARE} || 0}}\"></progress>"
                "<div>{{value}}</div></div>"
            ),
            js_on_load="",
        )
        self.command = command_output("The same on the command line", name)
        with gr.Accordion("Report", open=False, elem_classes="mien-report"):
            self.report = gr.JSON(label="Report", show_label=False)

    @property
    def all(self) -> list:
        return [self.video, self.status, self.command, self.report]
