"""`mien check`: what will go wrong with a portrait and a driving video, told before the work begins.

The thresholds were set on the CC0 training portraits, as they are and with painted-on masks, sunglasses and
blur; each constant says what was seen there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import FaceError, MienError

from .console import Progress
from .look import FaceLook, look_at

if TYPE_CHECKING:
    import numpy as np

    from animate.faces import FaceTrack, FaceTracker

# Inter-ocular distances in pixels. The model draws faces at about 100; below 24 the mesh begins to tremble.
SMALL_PORTRAIT, SMALL_DRIVER = 32, 24
# Degrees. Beyond them the far cheek and eye are hidden, so that nobody can know what they look like.
YAW_LIMIT, PITCH_LIMIT = 32, 28
# Edge energy over contrast: sharp portraits have 0.18 to 0.66, blurred by 0.04 inter-ocular distances 0.05 to
# 0.12.
SHARPNESS_LIMIT = 0.12
# Edges inside lips and eyes over the whole face's: seen faces have 1.1 and 0.45 at least, covered ones near
# 0.
COVERED_LIPS, COVERED_EYES = 0.6, 0.3
# Mesh of the picture against the mesh of its mirror image, inter-ocular distances: seen faces agree to 0.010.
DISAGREEMENT_LIMIT = 0.015
# Lip gap in inter-ocular distances and eye opening over eye width of a face at rest.
OPEN_MOUTH, CLOSED_EYES = 0.10, 0.12
MISSING_SHARE = 0.10
SAMPLES = 8


@dataclass(frozen=True)
class Finding:
    """One line of the table. level: "ok", "warning" (a poor result) or "problem" (the job will fail)."""

    subject: str
    topic: str
    level: str
    advice: str


def examine(
    portrait: Path, driving: Path | None, face: str, driving_face: str, tracker: str, progress: Progress
) -> list[Finding]:
    """Looks at both files. A file that cannot be used is a finding, not an error.

    Raises OptionError for options that are not understood.
    """
    from animate.faces import create_tracker

    with progress.stage("loading the models"):
        follower = create_tracker(tracker)
    try:
        findings = _examine_portrait(portrait, face, follower)
        if driving is not None:
            findings += _examine_driving(driving, driving_face, follower, progress)
    finally:
        follower.close()
    return findings


def _examine_portrait(path: Path, selector: str, tracker: FaceTracker) -> list[Finding]:
    from animate.compositing import flatten

    from .people import read_portrait

    try:
        picture, index = read_portrait(path, selector, tracker)
    except MienError as error:
        return [Finding("portrait", _topic(error), "problem", str(error))]
    image = flatten(picture.image)
    look = look_at(image, picture.faces[index], tracker)
    findings = [Finding("portrait", "face", "ok", _count(len(picture.faces), "portrait"))]
    findings += _about_picture("portrait", [look], SMALL_PORTRAIT)
    findings.append(_about_border(image, picture.faces[index].landmarks))
    resting = look.lip_gap < OPEN_MOUTH and look.eye_opening > CLOSED_EYES
    findings.append(
        _judge(
            "portrait",
            "neutral face",
            resting,
            "The face is at rest.",
            "The mouth is open or the eyes are closed: motion is added to that, a face at rest is better.",
        )
    )
    return findings


def _examine_driving(path: Path, selector: str, tracker: FaceTracker, progress: Progress) -> list[Finding]:
    from animate.media import VideoReader

    from .people import choose_track

    try:
        with VideoReader(path) as reader:
            frames = progress.follow(reader, "looking", reader.frames)
            track = choose_track(tracker, frames, reader.fps, selector, path)
            notes = list(reader.warnings)
            if reader.info.variable_frame_rate:
                notes.append(f"The frame rate varies: it will be resampled by time to {reader.fps} frames/s.")
    except MienError as error:
        return [Finding("driving", _topic(error), "problem", str(error))]
    findings = [_about_missing(track)]
    looks = [look_at(image, face, tracker) for image, face in _samples(path, track, tracker)]
    if looks:
        findings += _about_picture("driving", looks, SMALL_DRIVER)
    findings.append(_about_neutral(track))
    findings += [Finding("driving", "file", "warning", note) for note in notes]
    return findings


def _samples(path: Path, track: FaceTrack, tracker: FaceTracker) -> Iterator[tuple[np.ndarray, object]]:
    """A few frames, evenly spaced, that show the face, with the face found anew in each."""
    import numpy as np

    from animate.media import VideoReader

    seen = np.flatnonzero(track.valid)
    wanted = set(seen[np.linspace(0, len(seen) - 1, SAMPLES).round().astype(int)].tolist())
    with VideoReader(path) as reader:
        for number, image in enumerate(islice(reader, max(wanted) + 1)):
            if number not in wanted:
                continue
            points = track.landmarks[number]
            faces = tracker.detect(image)
            if faces:
                yield image, min(faces, key=lambda face: float(np.abs(face.landmarks - points).mean()))


def _about_picture(subject: str, looks: list[FaceLook], smallest: float) -> list[Finding]:
    """Size, turn, sharpness and cover: the median over the looks, so that one odd frame is no verdict."""
    import numpy as np

    def median(name: str) -> float:
        return float(np.median([getattr(look, name) for look in looks]))

    size, yaw, pitch = median("inter_ocular"), median("yaw"), median("pitch")
    where = "picture" if subject == "portrait" else "clip"
    covered = np.mean([_is_covered(look) for look in looks]) >= 0.5
    return [
        _judge(
            subject,
            "size",
            size >= smallest,
            f"The eyes are {size:.0f} px apart.",
            f"The face is too small, its eyes are {size:.0f} px apart: {smallest} or more are needed.",
        ),
        _judge(
            subject,
            "turn",
            abs(yaw) <= YAW_LIMIT and abs(pitch) <= PITCH_LIMIT,
            f"The head is turned by {abs(yaw):.0f}° and tilted by {abs(pitch):.0f}°.",
            f"The head is turned too far ({abs(yaw):.0f}° sideways, {abs(pitch):.0f}° up or down): "
            f"use a {where} that shows the face from the front.",
        ),
        _judge(
            subject,
            "sharpness",
            median("sharpness") >= SHARPNESS_LIMIT,
            "The face is sharp.",
            f"The face is blurred: use a sharper {where}.",
        ),
        _judge(
            subject,
            "cover",
            not covered,
            "Nothing covers the face.",
            f"Something covers the mouth or eyes (a hand, a mask, dark glasses): use a {where} without it.",
        ),
    ]


def _is_covered(look: FaceLook) -> bool:
    flat = look.lip_detail < COVERED_LIPS
    # Closed eyes have few edges too: they are no sign of glasses.
    flat |= look.eye_detail < COVERED_EYES and look.eye_opening > CLOSED_EYES
    return flat or look.disagreement > DISAGREEMENT_LIMIT


def _about_border(image: np.ndarray, landmarks: np.ndarray) -> Finding:
    height, width = image.shape[:2]
    x, y = landmarks[:468, 0], landmarks[:468, 1]
    inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height)).mean()
    return _judge(
        "portrait",
        "frame",
        inside > 0.98,
        "The whole face is in the picture.",
        "The picture's border cuts the face: use a picture that shows all of it.",
    )


def _about_missing(track: FaceTrack) -> Finding:
    missing = int((~track.valid).sum())
    share = missing / len(track.valid)
    return _judge(
        "driving",
        "face",
        share <= MISSING_SHARE,
        f"{len(track.valid) - missing} of {len(track.valid)} frames show a face.",
        f"{missing} of {len(track.valid)} frames show no face and will be bridged: trim the clip.",
    )


def _about_neutral(track: FaceTrack) -> Finding:
    """Relative motion is measured from the driver's neutral frame: a face at rest that looks ahead."""
    from animate.motion import Motion

    from .look import expression_of

    motion = Motion.from_track(track)
    rest = expression_of(track.landmarks[motion.neutral_index])
    neutral = rest.lip_gap < OPEN_MOUTH and rest.eye_opening > CLOSED_EYES and abs(rest.yaw) <= YAW_LIMIT
    return _judge(
        "driving",
        "neutral frame",
        neutral,
        f"Frame {motion.neutral_index} shows the face at rest.",
        "No frame shows the face at rest and from the front: relative motion will be off; "
        "use a clip that has one, or --absolute.",
    )


def _judge(subject: str, topic: str, fine: bool, good: str, bad: str) -> Finding:
    return Finding(subject, topic, "ok" if fine else "warning", good if fine else bad)


def _count(faces: int, subject: str) -> str:
    return "One face was found." if faces == 1 else f"{faces} faces were found: --face chooses one in the {subject}."


def _topic(error: MienError) -> str:
    return "face" if isinstance(error, FaceError) else "file"


def print_findings(findings: list[Finding], as_json: bool = False) -> None:
    """Prints the findings as a table, or as JSON."""
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
        return
    from rich.table import Table

    from .console import out_console

    colours = {"ok": "green", "warning": "yellow", "problem": "red"}
    table = Table()
    for column in ("", "what", "verdict", "advice"):
        table.add_column(column, overflow="fold", no_wrap=column == "verdict")
    for finding in findings:
        colour = colours[finding.level]
        table.add_row(finding.subject, finding.topic, f"[{colour}]{finding.level}[/{colour}]", _escape(finding.advice))
    out_console().print(table)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
