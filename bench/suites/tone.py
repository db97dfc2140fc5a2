"""Skin tone of a portrait, measured: the individual typology angle of its cheeks.

Where nobody says how light a person's skin is, a suite can only be reported by what the picture shows. The angle
depends on the light of the photograph as well as on the skin: groups found so are named "tone (measured)".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from animate import pose
from animate.errors import MienError
from animate.media import read_image
from bench.clips import shrink
from bench.suites.manifest import Case

MEASURED_TONE = "tone (measured)"
"""The group that a case gets."""

CHEEKS = ((50, 101, 205), (280, 330, 425))
"""Mesh points in the middle of the right and the left cheek."""

RADIUS = 0.12
"""Inter-ocular distances round the middle of a cheek that are measured."""

TONES = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-math.inf, "dark"),
)
"""Angle in degrees above which a tone begins: Chardon et al. 1991, Skin colour typology and suntanning pathways."""


def typology_angle(image: np.ndarray, landmarks: np.ndarray) -> float:
    """The individual typology angle atan2(L* - 50, b*) of both cheeks' median colour, in degrees.

    Both together, because on one alone a gloss or a shadow moved portraits by two tones.

    Args:
        image: (H, W, 3) uint8 sRGB.
        landmarks: (478, 3) px of the face in it.
    """
    lab = cv2.cvtColor(np.ascontiguousarray(image[..., :3]).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    radius = max(1, round(RADIUS * float(pose.inter_ocular(landmarks))))
    mask = np.zeros(image.shape[:2], np.uint8)
    for points in CHEEKS:
        x, y = landmarks[list(points), :2].mean(0)
        cv2.circle(mask, (round(float(x)), round(float(y))), radius, 1, -1)
    lightness, _, yellow = np.median(lab[mask > 0], axis=0)
    return math.degrees(math.atan2(lightness - 50, yellow))


def tone(angle: float) -> str:
    """The name of an angle's tone."""
    return next(name for least, name in TONES if angle > least)


def with_tones(folder: Path, cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Cases of people whose tone nobody tells, with the one that their picture shows."""
    wanted = {
        case.portrait: None for case in cases if case.portrait and case.groups.get("style") == "human"
        and "tone" not in case.groups
    }  # fmt: skip
    if not wanted:
        return tuple(cases), ()
    from animate.faces import create_tracker

    with create_tracker() as tracker:
        found = {file: _measured(folder / file, tracker) for file in wanted}
    told = [
        replace(case, groups={**case.groups, MEASURED_TONE: found[case.portrait]}) if found.get(case.portrait) else case
        for case in cases
    ]
    note = f"Skin tones of {sum(map(bool, found.values()))} portraits are measured in the picture, light and all."
    return tuple(told), (note,)


def _measured(path: Path, tracker) -> str | None:
    try:
        image = np.ascontiguousarray(shrink(read_image(path)[..., :3]))
    except MienError:
        return None
    faces = tracker.detect(image)
    return tone(typology_angle(image, faces[0].landmarks)) if faces else None
