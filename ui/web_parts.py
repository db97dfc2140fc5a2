"""The page's own components, looks and examples."""

from __future__ import annotations

import functools
import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr  # noqa: E402
from gradio.components.base import Component  # noqa: E402
from gradio.data_classes import FileData, ListFiles  # noqa: E402

from animate.errors import MienError  # noqa: E402

NOT_UPLOADED = "Only files that were uploaded to this page are read: upload the file first."
STRENGTHS = ("eyes", "brows", "lips", "jaw", "gaze", "rotation", "translation")

CSS = """
.gradio-container {
  overflow: clip !important; max-width: min(1400px, 100vw) !important; min-width: 0 !important;
  margin: 0 auto !important;
}
.mien-head h1 { margin: 0; }
.mien-head p { margin: 0 0 .3em; opacity: .8; }
.mien-status { min-height: 2.6em; overflow-wrap: anywhere; }
.mien-status progress { width: 100%; height: .6em; }
.mien-status progress.idle { visibility: hidden; }
.mien-live { display: flex; flex-wrap: wrap; gap: 12px; }
.mien-live video, .mien-live canvas { flex: 1 1 280px; min-width: 0; width: 100%; max-width: 640px; background: #0003; }
#edit-right { position: sticky !important; top: 0; align-self: flex-start !important; }
@media (max-width: 640px) {
  .gradio-container, .gradio-container .app, .gradio-container :has(> main.contain) { padding: 4px !important; }
  #edit-left, #edit-right { display: contents; }
  #edit-sliders { order: 3; }
  #edit-files { order: 4; }
  #edit-out { order: 2; position: sticky; top: 0; z-index: 5; }
  #edit-out .block { height: 38vh !important; }
  .tab-wrapper button { padding: 0 6px !important; font-size: .85rem !important; }
}
"""


def theme() -> gr.themes.Base:
    """Fonts of the system: the page asks nobody else for anything."""
    return gr.themes.Soft(
        primary_hue="indigo",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


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
        raise gr.Error(NOT_UPLOADED, print_exception=False)
    return file.path


def sound_input(label: str) -> Component:
    return as_uploaded(gr.Audio(label=label, type="filepath", sources=["upload", "microphone"]))


def files_input(label: str, count: str) -> Component:
    return as_uploaded(gr.File(label=label, file_count=count, height=110))


def portrait_input() -> Component:
    picture = gr.Image(
        label="Portrait", type="filepath", image_mode=None, sources=["upload", "webcam", "clipboard"], height=300
    )
    return as_uploaded(picture)


def clip_input(label: str) -> Component:
    return as_uploaded(gr.Video(label=label, sources=["upload", "webcam"], height=280, include_audio=True))


def strength_sliders(names: tuple[str, ...] = STRENGTHS) -> list[gr.Slider]:
    """One a region; 1 is unchanged."""
    return [gr.Slider(0, 3, 1, step=0.05, label=name.capitalize()) for name in names]


def strength_words(values: tuple[float, ...], names: tuple[str, ...] = STRENGTHS) -> str:
    """The command line's `--strength` for sliders; "" where all stand at 1."""
    return ",".join(f"{name}={value:g}" for name, value in zip(names, values, strict=True) if value != 1)


def command_output(label: str, name: str) -> gr.Textbox:
    """A line to copy."""
    return gr.Textbox(
        "", label=label, elem_id=f"{name}-command", interactive=False, lines=1, max_lines=4, buttons=["copy"]
    )


#: JavaScript that reads from a status how much of the stage is done; null where it does not say.
SHARE = "((m) => (m ? m[1] / m[2] : null))((value || '').match(/frame (\\d+) of (\\d+)/))"


class Outputs:
    """What every tab that draws a video shows: the result, how far it is, the command, the report."""

    def __init__(self, name: str) -> None:
        self.video = gr.Video(
            label="Result", interactive=False, autoplay=True, loop=True, height=420, buttons=["download"]
        )
        self.status = gr.HTML(
            value="",
            label="Status",
            html_template=(
                '<div class="mien-status" role="status"><progress max="1" '
                f"class=\"${{{SHARE} === null ? 'idle' : ''}}\" value=\"${{{SHARE} || 0}}\"></progress>"
                "<div>{{value}}</div></div>"
            ),
            js_on_load="",
        )
        self.command = command_output("The same on the command line", name)
        with gr.Accordion("Report", open=False):
            self.report = gr.JSON(label="Report", show_label=False)

    @property
    def all(self) -> list:
        return [self.video, self.status, self.command, self.report]


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


def example_speech() -> Path | None:
    """The sentence that comes with Mien."""
    import talking_face

    path = Path(talking_face.__file__).parent / "speech" / "hello.flac"
    return path if path.is_file() else None


NO_EXAMPLE = "An example portrait comes with `pip install 'mien[demo]'`; any picture with a face will do."
