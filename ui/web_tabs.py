"""The tabs Animate, Talk and Dub: what goes in on the left, what comes out on the right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import animate_job, dub_job, talk_job
from .animate_job import AnimateOptions
from .dub_job import DubJob
from .paths import builtin_motions
from .talk_job import TalkJob
from .web_page import Page, output_name, quick_animation, quick_talk
from .web_parts import (
    NO_EXAMPLE,
    Outputs,
    clip_input,
    example_portrait,
    example_speech,
    files_input,
    gr,
    portrait_input,
    sound_input,
    strength_sliders,
    strength_words,
)

DRAWING = {"concurrency_limit": 1, "concurrency_id": "drawing"}
EMOTIONS = ["neutral", "happy", "sad", "angry", "surprised"]
STYLES = ["calm", "neutral", "lively"]
METHODS = [("Network (mini)", "mini"), ("Warp and prior alone, faster", "prior")]


class Buttons:
    """The button that starts a job and the one that ends it."""

    def __init__(self, name: str, what: str):
        self.name = name
        with gr.Row():
            self.start = gr.Button(what, variant="primary", elem_id=f"{name}-run")
            self.stop = gr.Button("Cancel", variant="stop", elem_id=f"{name}-cancel")

    def bind(self, page: Page, fn: Callable, inputs: list, outputs: Outputs, shown: gr.Examples | None = None) -> None:
        """Both at work; a click on an example fills the inputs and starts as well."""
        drawing = {"trigger_mode": "once", "show_progress": "minimal", **DRAWING}
        events = [self.start.click(fn, inputs, outputs.all, api_name=self.name, **drawing)]
        if shown is not None:
            filled = shown.load_input_event
            events.append(filled.then(fn, inputs, outputs.all, api_visibility="private", **drawing))
        self.stop.click(page.cancel, None, outputs.status, cancels=events, queue=False, api_visibility="private")


def examples(rows: list[list] | None, into: list, labels: list[str], what: str = "Try it") -> gr.Examples | None:
    """A button for each row; None, and a sentence on the page, where there is no portrait to show."""
    if rows is None:
        gr.Markdown(NO_EXAMPLE)
        return None
    return gr.Examples(rows, into, label=what, example_labels=labels, api_visibility="private", cache_examples=False)


def animate_tab(page: Page) -> None:
    """A portrait moved by a clip, a camera, a motion file or a motion that comes with Mien."""

    def animate(
        portrait: str,
        motion: str,
        clip: str | None,
        motion_file: str | None,
        region: str,
        relative: bool,
        eyes: float,
        brows: float,
        lips: float,
        jaw: float,
        gaze: float,
        rotation: float,
        translation: float,
        trim_start: float,
        trim_end: float,
        side_by_side: bool,
        method: str,
        seed: int,
        request: gr.Request,
    ):
        """Animate a portrait. A clip, or else a motion file, counts instead of the built-in motion.

        Returns the video, a sentence, the command line that does the same, and the report.
        """

        def make(folder) -> AnimateOptions:
            source = page.check(portrait, "picture", "portrait")
            moves: dict[str, Any] = {"motion": motion}
            if clip:
                moves = {"driving": page.check(clip, "video", "driving video")}
            elif motion_file:
                moves = {"motion": str(page.check(motion_file, "motion", "motion file"))}
            name = output_name(source, *(str(value) for value in moves.values()))
            return AnimateOptions(
                source=source,
                output=folder / f"{name}.mp4",
                region=region,
                relative=relative,
                strength=strength_words((eyes, brows, lips, jaw, gaze, rotation, translation)),
                trim_start=trim_start,
                trim_end=trim_end or None,
                side_by_side=side_by_side,
                method=method,
                seed=int(seed),
                **moves,
                **page.drawing(),
            )

        yield from page.draw(request, make, animate_job.run, quick_animation)

    with gr.Row():
        with gr.Column(min_width=300):
            portrait = portrait_input()
            motion = gr.Dropdown(
                list(builtin_motions()), value="smile", label="Motion that comes with Mien", filterable=False
            )
            picture = example_portrait(page.work)
            rows = picture and [[str(picture), name] for name in builtin_motions()]
            shown = examples(rows, [portrait, motion], list(builtin_motions()), "Try it: an astronaut who makes a …")
            with gr.Accordion("Move it with a video, the camera or a motion file instead", open=False):
                clip = clip_input("Driving video")
                motion_file = files_input("Motion file (.safetensors)", "single")
            with gr.Accordion("What moves, and how much", open=False):
                region = gr.Radio(["all", "exp", "pose", "lips", "eyes"], value="all", label="Region")
                relative = gr.Checkbox(True, label="Relative: add the driver's movement to the portrait's own pose")
                strengths = strength_sliders()
            with gr.Accordion("More", open=False):
                trim_start = gr.Number(0, label="Begin at second", minimum=0)
                trim_end = gr.Number(0, label="End at second (0: the clip's end)", minimum=0)
                side_by_side = gr.Checkbox(False, label="Side by side: portrait, driver and result in a row")
                method = gr.Radio(METHODS, value="mini", label="Drawn by")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            start = Buttons("animate", "Animate")
        with gr.Column(min_width=300):
            outputs = Outputs("animate")
            inputs = [portrait, motion, clip, motion_file, region, relative, *strengths, trim_start, trim_end]
            inputs += [side_by_side, method, seed]
    start.bind(page, animate, inputs, outputs, shown)


def talk_tab(page: Page) -> None:
    """A portrait that says what is said in a sound."""

    def talk(
        portrait: str,
        speech: str,
        emotion: str,
        style: str,
        mouth: float,
        head_motion: float,
        blinks: bool,
        side_by_side: bool,
        method: str,
        seed: int,
        request: gr.Request,
    ):
        """Make a portrait say what is said in a sound.

        Returns the video, a sentence, the command line that does the same, and the report.
        """

        def make(folder) -> TalkJob:
            source = page.check(portrait, "picture", "portrait")
            audio = page.check(speech, "sound", "speech")
            return TalkJob(
                source=source,
                audio=audio,
                output=folder / f"{output_name(source, audio)}.mp4",
                emotion=emotion,
                style=style,
                mouth=mouth,
                head_motion=head_motion,
                blinks=blinks,
                side_by_side=side_by_side,
                method=method,
                seed=int(seed),
                **page.drawing(),
            )

        yield from page.draw(request, make, talk_job.run, quick_talk)

    with gr.Row():
        with gr.Column(min_width=300):
            portrait = portrait_input()
            speech = sound_input("Speech")
            emotion = gr.Radio(EMOTIONS, value="neutral", label="Emotion")
            picture, sentence = example_portrait(page.work), example_speech()
            moods = ["neutral", "happy", "surprised"]
            rows = picture and sentence and [[str(picture), str(sentence), mood] for mood in moods]
            shown = examples(rows, [portrait, speech, emotion], moods, "Try it: an astronaut who says hello, …")
            with gr.Accordion("How it is said", open=False):
                style = gr.Radio(STYLES, value="neutral", label="Style")
                mouth = gr.Slider(0, 3, 1, step=0.05, label="Mouth")
                head_motion = gr.Slider(0, 1, 0.5, step=0.05, label="Head motion")
                blinks = gr.Checkbox(True, label="Blinks")
            with gr.Accordion("More", open=False):
                side_by_side = gr.Checkbox(False, label="Side by side: portrait and result in a row")
                method = gr.Radio(METHODS, value="mini", label="Drawn by")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            start = Buttons("talk", "Talk")
        with gr.Column(min_width=300):
            outputs = Outputs("talk")
            inputs = [portrait, speech, emotion, style, mouth, head_motion, blinks, side_by_side, method, seed]
    start.bind(page, talk, inputs, outputs, shown)


def dub_tab(page: Page) -> None:
    """A video whose person says something else."""

    def dub(
        video: str,
        speech: str,
        longer: str,
        shorter: str,
        style: str,
        mouth: float,
        lips: float,
        jaw: float,
        face: str,
        side_by_side: bool,
        method: str,
        seed: int,
        request: gr.Request,
    ):
        """Make the person in a video say what is said in a sound.

        Returns the video, a sentence, the command line that does the same, and the report.
        """

        def make(folder) -> DubJob:
            clip = page.check(video, "video", "video")
            audio = page.check(speech, "sound", "speech")
            return DubJob(
                video=clip,
                audio=audio,
                output=folder / f"{output_name(clip, audio)}.mp4",
                longer=longer,
                shorter=shorter,
                style=style,
                mouth=mouth,
                strength=strength_words((lips, jaw), ("lips", "jaw")),
                face=face,
                side_by_side=side_by_side,
                method=method,
                seed=int(seed),
                **page.drawing(),
            )

        yield from page.draw(request, make, dub_job.run)

    with gr.Row():
        with gr.Column(min_width=300):
            video = clip_input("Video of the person")
            speech = sound_input("What is to be said")
            with gr.Accordion("Length", open=False):
                longer = gr.Radio(["loop", "hold", "trim"], value="loop", label="Where the sound is longer")
                shorter = gr.Radio(["rest", "keep", "trim"], value="rest", label="Where the sound is shorter")
            with gr.Accordion("How it is said", open=False):
                style = gr.Radio(STYLES, value="neutral", label="Style")
                mouth = gr.Slider(0, 3, 1, step=0.05, label="Mouth")
                lips, jaw = strength_sliders(("lips", "jaw"))
            with gr.Accordion("More", open=False):
                face = gr.Dropdown(
                    ["largest", "left", "right"], value="largest", label="The person to dub", allow_custom_value=True
                )
                side_by_side = gr.Checkbox(False, label="Side by side: the video and the result in a row")
                method = gr.Radio(METHODS, value="mini", label="Drawn by")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            start = Buttons("dub", "Dub")
        with gr.Column(min_width=300):
            outputs = Outputs("dub")
            gr.Markdown("The video is followed first and then drawn, so there is no preview.")
    inputs = [video, speech, longer, shorter, style, mouth, lips, jaw, face, side_by_side, method, seed]
    start.bind(page, dub, inputs, outputs)
