"""The tab Group: click a face of a picture, say what moves it; the others stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from animate.errors import OptionError

from . import animate_job
from .animate_job import AnimateOptions
from .cast_options import Cast
from .paths import builtin_motions
from .web_drawing import drawing_tab, how_drawn
from .web_examples import example_group, examples
from .web_page import Page, output_name
from .web_parts import PRIVATE, files_input, gr, portrait_input
from .web_preview import quick_animation

if TYPE_CHECKING:
    import numpy as np

    from animate.faces import Face
    from animate.portrait import Portrait

    from .web_edit import Studio


def read_cast(text: str, clips: dict[str, Path], ends: str, sound: str) -> Cast:
    """The cast from lines such as `left-to-right:0=smile`; a name of `clips` is that clip, any other a motion that
    comes with Mien. Raises OptionError for a line that is not understood."""
    from animate.casting import Role

    roles = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        face, separator, what = (part.strip() for part in line.partition("="))
        if not separator or not face or not what:
            raise OptionError(f"The line {line!r} is not understood: write FACE=MOVEMENT, for example left=smile.")
        name, _, person = what.partition("@")
        if what in clips or name in clips:
            path = clips.get(what) or clips[name]
            person = None if what in clips else person
            kind = "motion" if path.suffix == ".safetensors" else "driving"
            roles.append(Role(kind, str(path), face, person or None, line))
        elif what in builtin_motions():
            roles.append(Role("motion", what, face, None, line))
        else:
            known = ", ".join([*clips, *builtin_motions()])
            raise OptionError(f"Nothing here is called {what!r}: upload a clip of that name, or choose from {known}.")
    if not roles:
        raise OptionError("Nobody is moved yet: click a face and choose what moves it.")
    return Cast(tuple(roles), ends=ends, sound=sound)


def with_driver(text: str, face: str, driver: str) -> str:
    """The lines of a cast with one face's driver set, or taken out where the driver is ""."""
    lines = [line for line in text.splitlines() if line.strip() and line.partition("=")[0].strip() != face]
    return "\n".join([*lines, *([f"{face}={driver}"] if driver else [])])


def group_tab(page: Page, studio: Studio) -> None:
    """A picture of several people, each with a driver of their own."""

    def group(
        portrait: str,
        cast: str,
        clips: list[str] | None,
        ends: str,
        sound: str,
        side_by_side: bool,
        method: str,
        seed: int,
        request: gr.Request,
    ):
        """Animate several faces of a picture: one line a face, FACE=MOVEMENT.

        FACE is left, right, left-to-right:N or a number (0 is the largest); MOVEMENT the file name of an uploaded clip
        or motion, or a built-in motion. Returns the video, a sentence, the command line and the report.
        """

        def make(folder: Path) -> AnimateOptions:
            source = page.check(portrait, "picture", "picture of several people")
            files = {}
            for path in clips or []:
                kind, name = "motion" if path.endswith(".safetensors") else "video", Path(path).name
                if name in files:
                    raise OptionError(f"Two clips are called {name}: rename one of them.")
                files[name] = page.check(path, kind, "clip")
            return AnimateOptions(
                source=source,
                output=folder / f"{output_name(source, 'group')}.mp4",
                cast=read_cast(cast, files, ends, sound),
                **page.drawing(side_by_side, method, seed),
            )

        yield from page.draw("group", request, make, animate_job.run, quick_animation)

    def look(path: str | None) -> tuple[Any, Any]:
        if not path:
            return gr.update(value=None, visible=False), gr.Radio([], value=None, visible=False)
        with page.sentences():
            people = portrait_of(path)
            places = [place for place, _ in in_places(people.faces)]
            return (
                gr.update(value=marked(people, places[0]), visible=True),
                gr.Radio([(title(place), place) for place in places], value=places[0], visible=True),
            )

    def portrait_of(path: str) -> Portrait:
        return studio.still(page.check(path, "picture", "picture"), 1280).portrait

    def chosen(path: str | None, event: gr.SelectData) -> Any:
        """The face that was clicked, or the nearest one."""
        if not path:
            return gr.skip()
        with page.sentences():
            people = portrait_of(path)
            x, y = event.index
            place = min(in_places(people.faces), key=lambda pair: _distance(pair[1].box, x, y))[0]
            return place

    def show(path: str | None, place: str | None) -> Any:
        if not path or not place:
            return gr.skip()
        with page.sentences():
            return marked(portrait_of(path), place)

    hint = "Put a picture of several people in, click a face, choose what moves it, then the next face; or click the "
    hint += "example. Faces that you do not choose stay as they are."
    with drawing_tab(page, "group", "Animate the group", hint) as tab:
        portrait = portrait_input("Picture of several people", "Drop a picture here", "group-portrait")
        faces = gr.Image(
            label="Click a face",
            interactive=False,
            format="jpeg",
            height=300,
            elem_id="group-faces",
            visible=False,
            buttons=[],
        )
        place = gr.Radio([], label="Face", visible=False)
        driver = gr.Dropdown(["", *builtin_motions()], value="", label="What moves this face", filterable=False)
        with gr.Accordion("Move it with a video of your own instead", open=False):
            clips = files_input("Clips or motion files, to be chosen above", "multiple")
        cast = gr.Textbox(
            "",
            lines=2,
            label="Who does what",
            placeholder="left=smile\nright=clip.mp4",
            info="One line a face; your choices write them.",
            elem_id="group-cast",
        )
        with gr.Accordion("More", open=False):
            ends = gr.Radio(["hold", "loop", "trim"], value="hold", label="What the shorter of several drivers do")
            sound = gr.Radio(["first", "mix", "none"], value="first", label="Sound of several clips")
            drawn = how_drawn("picture and result in a row")
        with tab.top:
            picture = example_group(page.work)
            rows = picture and [[str(picture), "left=smile\nright=wink"], [str(picture), "left=nod\nright=laugh"]]
            labels = ["a smile and a wink", "a nod and a laugh"]
            shown = examples(rows, [portrait, cast], labels, "Try it with two astronauts")
        tab.fn = group
        tab.inputs = [portrait, cast, clips, ends, sound, *drawn]
        tab.filled = [shown.load_input_event] if shown else []

    queued = PRIVATE | {"queue": True, "concurrency_limit": 1, "concurrency_id": "edit"}  # the page shows its errors
    portrait.input(lambda path: (*look(path), ""), portrait, [faces, place, cast], **queued)
    for filled in tab.filled:
        filled.then(look, portrait, [faces, place], **queued)
    faces.select(chosen, portrait, place, **PRIVATE)
    place.change(show, [portrait, place], faces, **PRIVATE)
    place.change(lambda text, face: _driver_of(text, face), [cast, place], driver, **PRIVATE)
    clips.change(
        lambda paths: gr.Dropdown(choices=["", *(Path(path).name for path in paths or []), *builtin_motions()]),
        clips,
        driver,
        **PRIVATE,
    )
    driver.input(with_driver_chosen, [cast, place, driver], cast, **PRIVATE)


def with_driver_chosen(text: str, face: str | None, driver: str) -> Any:
    return with_driver(text, face, driver) if face else gr.skip()


def _driver_of(text: str, face: str | None) -> str:
    for line in text.splitlines():
        name, _, driver = line.partition("=")
        if name.strip() == face:
            return driver.strip()
    return ""


def in_places(faces: list[Face]) -> list[tuple[str, Face]]:
    """Each face with a selector that finds it again, from left to right."""
    from animate.casting import in_order

    order = in_order(faces, "left-to-right")
    if len(order) == 2:
        return [(name, faces[index]) for name, index in zip(("left", "right"), order, strict=True)]
    return [(f"left-to-right:{number}", faces[index]) for number, index in enumerate(order)]


def title(place: str) -> str:
    """What people call a face: "left", "right", or its number from the left, which also stands beside it."""
    return str(int(place.partition(":")[2]) + 1) if ":" in place else place


def marked(people: Portrait, place: str) -> np.ndarray:
    """The picture with a frame and a title at each face, coloured at the chosen one."""
    import cv2
    import numpy as np

    from animate.compositing import flatten

    image = np.ascontiguousarray(flatten(people.image)).copy()
    thick = max(2, max(image.shape) // 250)
    for name, face in in_places(people.faces):
        x0, y0, x1, y1 = (int(value) for value in face.box)
        colour = (255, 190, 0) if name == place else (255, 255, 255)
        cv2.rectangle(image, (x0, y0), (x1, y1), (0, 0, 0), thick + 2)
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, thick)
        size = thick / 2.5
        cv2.putText(image, title(name), (x0 + thick, y0 - 2 * thick), 0, size, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.putText(image, title(name), (x0 + thick, y0 - 2 * thick), 0, size, colour, thick, cv2.LINE_AA)
    return image


def _distance(box: np.ndarray, x: float, y: float) -> float:
    dx = max(box[0] - x, 0, x - box[2])
    dy = max(box[1] - y, 0, y - box[3])
    return float(dx * dx + dy * dy)
