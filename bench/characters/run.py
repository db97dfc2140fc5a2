"""Several faces of one picture, each with its own driver: ``python -m bench.characters [--data FOLDER]``.

Group photos and portraits that are pasted beside one another (whole, cheek to cheek, three to six in a row) are moved
by people that `mini` never saw, a different one for each face. Measured anew on the finished frames: whom each face
follows, what leaks from one to another, what stays as it was, and what N faces cost. See `bench.characters.report` for
the columns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from animate.errors import MienError, OptionError
from animate.group import Part
from animate.media import write_image
from animate.motion import Motion
from animate.pose import inter_ocular
from animate.retarget import retarget
from bench.cache.run import DATA, PACKAGES, TRACKED, validation_clips
from bench.characters.cases import FPS, SECONDS, Case, cases, find_drivers, find_portraits
from bench.characters.methods import METHODS, Draw, Naive, Spent, methods, timed
from bench.characters.report import LEGEND, bars, markdown, means, tables
from bench.characters.scores import HAIR_REACH, equal_share, exact_leak, face_scores, outside, oval
from bench.characters.sheet import sheet
from bench.clips import find_clips
from bench.command import comma_separated, results_parser
from bench.redetect import Redetector
from bench.speed.run import IDLE, machine
from bench.tables import versions, write_json

SCHEMA = 1
LEAK_FRAMES = 4
"""Frames, spread over the clip, that are drawn again and again to see what changes."""


def measure_case(case: Case, systems: dict[str, Draw], redetector: Redetector, sheets: Path | None = None) -> dict:
    """All methods on one case.

    Args:
        case: what is drawn.
        systems: from `methods`; the group is timed against one face alone where it is the first and naive is there.
        redetector: finds the faces of the frames.
        sheets: folder for a picture to look at.

    Returns:
        The case's part of the report.
    """
    portrait = case.portrait
    sources = [face.landmarks for face in portrait.faces]
    motions = [driver.motion for driver in case.drivers]
    frames: dict[str, list[np.ndarray]] = {}
    spent: dict[str, Spent] = {}
    results: dict[str, dict] = {}
    for name, draw in systems.items():
        parts = [Part(face, motion) for face, motion in enumerate(motions)]
        frames[name], spent[name] = timed(lambda draw=draw, parts=parts: draw(portrait, parts))
    first = next(iter(systems))
    naive = systems.get("naive")  # draws each face alone, with the network that the group is drawn with
    alone = dict(naive.spent) if first == "group" and isinstance(naive, Naive) else {}
    for name, draw in systems.items():
        faces = [face_scores(frames[name], source, motions, face, redetector) for face, source in enumerate(sources)]
        for face, leak in enumerate(leaks(case, draw)):
            faces[face]["leak"] = leak
        beyond = outside(sources, portrait.image.shape[:2])
        results[name] = {
            "faces": faces,
            "outside": equal_share(frames[name], portrait.image, beyond),
            "outside_share": float(beyond.mean()),
            "staying": staying(case, draw),
        }
    if sheets is not None:
        targets = [retarget(source, motion) for source, motion in zip(sources, motions, strict=True)]
        name = "".join(letter if letter.isalnum() else "_" for letter in case.name)
        sheets.mkdir(parents=True, exist_ok=True)
        shown = {name: made for name, made in frames.items() if name != "still"}
        write_image(sheets / f"{name}.png", sheet(case, shown, targets))
    return {
        "case": case.name,
        "size": portrait.image.shape[1::-1],
        "drivers": [driver.name for driver in case.drivers],
        "time": _times(spent[first], alone, len(motions[0])),
        "methods": results,
    }


def _few(motion: Motion) -> Motion:
    return motion.take(np.linspace(0, len(motion) - 1, LEAK_FRAMES).round().astype(int))


def _times(spent: Spent, alone: dict[int, Spent], count: int) -> dict | None:
    if not alone:
        return None
    one = {key: float(np.mean([getattr(each, key) for each in alone.values()])) for key in ("clock", "processor")}
    return {"seconds": spent.clock / count, "seconds_one": one["clock"] / count} | {
        key: getattr(spent, key) / value for key, value in one.items()
    }


def nearer(sources: Sequence[np.ndarray], face: int) -> list[int]:
    """The faces with larger heads than a face's."""
    sizes = inter_ocular(np.stack(sources))
    return [number for number in range(len(sources)) if sizes[number] > sizes[face]]


def leaks(case: Case, draw: Draw) -> Iterator[dict]:
    """For each face what changes in it when all the others' drivers are exchanged."""
    sources = [face.landmarks for face in case.portrait.faces]
    own = [_few(driver.motion) for driver in case.drivers]
    other = [_few(driver.motion) for driver in case.others]
    places = [[retarget(a, b) for a, b in zip(sources, some, strict=True)] for some in (own, other)]
    before = draw(case.portrait, [Part(number, motion) for number, motion in enumerate(own)])
    for face in range(len(sources)):
        mixed = [own[number] if number == face else other[number] for number in range(len(sources))]
        after = draw(case.portrait, [Part(number, motion) for number, motion in enumerate(mixed)])
        yield exact_leak(before, after, places[0], places[1], face, nearer(sources, face))


def staying(case: Case, draw: Draw) -> float | None:
    """Share of the other faces' pixels that are exactly the portrait's while the nearest face alone moves."""
    sources = [face.landmarks for face in case.portrait.faces]
    moving = int(np.argmax(inter_ocular(np.stack(sources))))
    made = draw(case.portrait, [Part(moving, _few(case.drivers[moving].motion))])
    shape = case.portrait.image.shape[:2]
    still = np.any([oval(each, shape) for number, each in enumerate(sources) if number != moving], axis=0)
    return equal_share(made, case.portrait.image, still & ~oval(sources[moving], shape, HAIR_REACH))


def _parser() -> argparse.ArgumentParser:
    about = "folder of pictures and clips, searched recursively"
    parser = results_parser("bench.characters", __doc__, about, "only the first so many cases")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated; the first is judged")
    parser.add_argument("--sheet", type=Path, default=None, help="folder for a picture of each case")
    return parser


def measure(options: argparse.Namespace) -> dict:
    """The report as plain data.

    Raises:
        MienError: a folder, an option or the model does not fit.
    """
    names = comma_separated(options.methods)
    if not names or (unknown := sorted(set(names) - set(METHODS))):
        wrong = ", ".join(unknown) if names else "without a name"
        raise OptionError(f"There is no method {wrong}: choose from {', '.join(METHODS)}.")
    before, redetector = machine(), Redetector()
    clips = validation_clips(None, None) if not options.data else _clips(options.data)
    drivers, notes = find_drivers(clips, redetector.tracker)
    groups, singles = find_portraits(options.data or [DATA / "examples"], redetector.tracker)
    systems = methods(names, options.model)
    results: list[dict] = []
    for case in cases(groups, singles, drivers, redetector.tracker):
        if options.limit is not None and len(results) >= options.limit:
            break
        if isinstance(case, str):
            notes.append(case)
            continue
        if not results:  # so that the first timed run is not the first of all
            warm = [Part(face, driver.motion.take(slice(0, 2))) for face, driver in enumerate(case.drivers)]
            for draw in systems.values():
                draw(case.portrait, warm)
        results.append(measure_case(case, systems, redetector, options.sheet))
        row = means(results[-1:], names[0])
        figures = ", ".join(f"{key} {row[key]}" for key in ("mouth", "landmark_own", "largest", "staying"))
        print(f"[{len(results)}] {case.name}: {figures}", file=sys.stderr, flush=True)
    if not results:
        raise MienError(f"No case could be measured: {' '.join(notes)}")
    return {
        "schema": SCHEMA,
        "benchmark": "characters",
        "settings": {
            "data": [folder.name for folder in options.data or ()],
            "limit": options.limit,
            "methods": names,
            "model": Path(options.model).name,
        },
        "frames": round(SECONDS * FPS),
        "versions": versions(PACKAGES),
        "machine": before,
        "cases": results,
        "verdict": [asdict(bar) for bar in bars(results, names[0])],
        "notes": notes,
    }


def _clips(folders: Sequence[Path]) -> list:
    return [clip for folder in folders for clip in find_clips(folder, TRACKED)]


def _write_results(report: dict, folder: Path) -> None:
    write_json(folder / "characters.json", report)
    faces = sum(len(case["drivers"]) for case in report["cases"])
    about = (
        f"`python -m bench.characters`: {len(report['cases'])} pictures with {faces} faces, {report['frames']} frames "
        f"at {float(FPS):g} a second each, drivers that `mini` never saw."
    )
    judged = bars(report["cases"], report["settings"]["methods"][0])
    paragraphs = [about, "\n".join(f"- {bar}" for bar in judged), "\n".join(f"- {note}" for note in report["notes"])]
    page = markdown(
        report["cases"], report["settings"]["methods"], [paragraph for paragraph in paragraphs if paragraph]
    )
    (folder / "characters.md").write_text(page, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when a case was measured, whatever the verdict."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    try:
        report = measure(options)
    except MienError as error:
        print(error, file=sys.stderr)
        return 1
    if (report["machine"]["load"] or 0) > IDLE:
        print("The machine is not idle: times by the clock are rough.")
    print(tables(report["cases"], report["settings"]["methods"]), "", LEGEND, *report["notes"], "", sep="\n")
    print(*bars(report["cases"], report["settings"]["methods"][0]), sep="\n")
    if options.json:
        write_json(options.json, report)
    if options.results:
        _write_results(report, options.results)
    return 0
