"""The tabs Animate, Talk and Dub: each turns what was put in into the options of a command, and runs it."""

from __future__ import annotations

from typing import Any

from . import animate_job, dub_job, talk_job
from .animate_job import AnimateOptions
from .dub_job import DubJob
from .paths import builtin_motions
from .talk_job import TalkJob
from .web_drawing import drawing_tab, how_drawn, how_said
from .web_examples import NO_EXAMPLE, example_clip, example_portrait, example_speech, examples
from .web_page import Page, output_name
from .web_parts import (
    PRIVATE,
    clip_input,
    files_input,
    gr,
    portrait_input,
    sound_input,
    strength_sliders,
    strength_words,
)
from .web_preview import quick_animation, quick_dub, quick_talk

EMOTIONS = ["neutral", "happy", "sad", "angry", "surprised"]


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
                trim_start=trim_start or 0,
                trim_end=trim_end or None,
                **moves,
                **page.drawing(side_by_side, method, seed),
            )

        yield from page.draw("animate", request, make, animate_job.run, quick_animation)

    hint = "Put a portrait in, choose a motion and press Animate; or click an example."
    with drawing_tab(page, "animate", "Animate", hint) as tab:
        portrait = portrait_input()
        motion = gr.Dropdown(list(builtin_motions()), value="smile", label="Motion", filterable=False)
        with gr.Accordion("Move it with a video of your own instead", open=False):
            clip = clip_input("Driving video")
            motion_file = files_input("Motion file (.safetensors)", "single")
        with gr.Accordion("What moves, and how much", open=False):
            region = gr.Radio(["all", "exp", "pose", "lips", "eyes"], value="all", label="Region")
            relative = gr.Checkbox(True, label="Relative: add the driver's movement to the portrait's own pose")
            strengths = strength_sliders()
        with gr.Accordion("More", open=False):
            trim_start = gr.Number(0, label="Begin at second", minimum=0)
            trim_end = gr.Number(0, label="End at second (0: the clip's end)", minimum=0)
            drawn = how_drawn("portrait, driver and result in a row")
        with tab.top:
            picture = example_portrait(page.work)
            rows = picture and [[str(picture), name] for name in builtin_motions()]
            shown = examples(rows, [portrait, motion], list(builtin_motions()), "Try it with an astronaut's portrait")
        tab.fn = animate
        tab.inputs = [portrait, motion, clip, motion_file, region, relative, *strengths, trim_start, trim_end, *drawn]
        if shown:  # a clip that lies there would count before the example's motion
            tab.filled = [shown.load_input_event.then(lambda: (None, None), None, [clip, motion_file], **PRIVATE)]


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
                **page.drawing(side_by_side, method, seed),
            )

        yield from page.draw("talk", request, make, talk_job.run, quick_talk)

    hint = "Put a portrait and a sound in and press Talk; or click an example."
    with drawing_tab(page, "talk", "Talk", hint) as tab:
        portrait = portrait_input()
        speech = sound_input("Speech")
        emotion = gr.Radio(EMOTIONS, value="neutral", label="Emotion")
        with gr.Accordion("How it is said", open=False):
            said = how_said()
            head_motion = gr.Slider(0, 1, 0.5, step=0.05, label="Head motion")
            blinks = gr.Checkbox(True, label="Blinks")
        with gr.Accordion("More", open=False):
            drawn = how_drawn("portrait and result in a row")
        with tab.top:
            picture, sentence = example_portrait(page.work), example_speech()
            moods = ["neutral", "happy", "surprised"]
            rows = picture and sentence and [[str(picture), str(sentence), mood] for mood in moods]
            shown = examples(rows, [portrait, speech, emotion], moods, "Try it with an astronaut who says hello")
        tab.fn = talk
        tab.inputs = [portrait, speech, emotion, *said, head_motion, blinks, *drawn]
        tab.filled = [shown.load_input_event] if shown else []


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
                **page.drawing(side_by_side, method, seed),
            )

        yield from page.draw("dub", request, make, dub_job.run, quick_dub)

    hint = "Put a video of a person and a sound in and press Dub; or click the example."
    with drawing_tab(page, "dub", "Dub", hint) as tab:
        video = clip_input("Video of the person")
        speech = sound_input("New speech")
        with gr.Accordion("How it is said", open=False):
            said = how_said()
            strengths = strength_sliders(("lips", "jaw"))
        with gr.Accordion("More", open=False):
            longer = gr.Radio(["loop", "hold", "trim"], value="loop", label="Where the sound is longer than the video")
            shorter = gr.Radio(["rest", "keep", "trim"], value="rest", label="Where the sound is shorter")
            face = gr.Dropdown(
                ["largest", "left", "right"], value="largest", label="The person to dub", allow_custom_value=True
            )
            drawn = how_drawn("the video and the result in a row")
        tab.fn = dub
        tab.inputs = [video, speech, longer, shorter, *said, *strengths, face, *drawn]
        with tab.top:
            sentence = example_speech()
            if example_portrait(page.work) is None or sentence is None:
                gr.Markdown(NO_EXAMPLE)
            else:
                with gr.Column(elem_classes="mien-try"):
                    gr.Markdown("Try it with a clip of an astronaut")
                    try_it = gr.Button("let her say hello", size="sm", elem_id="dub-example")

                def example() -> tuple[str, str]:
                    page.ready.wait()
                    return str(example_clip(page.work)), str(sentence)

                tab.filled = [try_it.click(example, None, [video, speech], **PRIVATE)]
