"""What a report says about several faces: who moved which, what was held or looped, which faces stayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from animate.casting import Role, place

if TYPE_CHECKING:
    from animate.portrait import Portrait

    from .cast_job import Play
    from .cast_options import Cast
    from .report import RunReport


def note_cast(report: RunReport, portrait: Portrait, cast: Cast, play: Play, moving: set[int]) -> None:
    """Says in the report which driver moved which face, how drivers were made to fit, and which faces stayed."""
    faces = portrait.faces
    labels = cast.labels or {}
    who = []
    for seat in play.seats:
        where = place(faces, seat.face)
        label = seat.role.face if seat.role.face in labels else None
        who.append(f"{seat.role.name} → {f'{label} ({where})' if label else where}")
        report.cast.append(
            {
                "face": seat.face,
                "place": where,
                "label": label,
                "kind": seat.role.kind,
                "driver": seat.role.name,
                "fit": _fit(seat.role, cast, play)[0],
            }
        )
    report.note(f"Faces that moved, {len(moving)} of {len(faces)}: {', '.join(who)}.")
    driven = {seat.face for seat in play.seats}
    if listeners := [place(faces, face) for face in sorted(moving - driven)]:
        report.note(f"Without a driver of their own lived: {', '.join(listeners)}.")
    if still := [place(faces, face) for face in range(len(faces)) if face not in moving]:
        report.note(f"As before stayed: {', '.join(still)}.")
    for role in dict.fromkeys(seat.role for seat in play.seats):
        if sentence := _fit(role, cast, play)[1]:
            report.note(sentence)


def describe_sound(names: Sequence[str], factor: float) -> str:
    """Whose sound it is, and whether it was made quieter."""
    names = list(dict.fromkeys(names))
    if len(names) == 1:
        return f"The sound is that of {names[0]}."
    quieter = "" if factor == 1 else f", made quieter ({factor:.0%}) so that it does not clip"
    return f"The sound is the mix of {' and '.join([', '.join(names[:-1]), names[-1]])}{quieter}."


def _fit(role: Role, cast: Cast, play: Play) -> tuple[str, str | None]:
    """How a driver was made to fit: a word for programs and, where something was changed, a sentence."""
    fitting = play.fittings.get(role)
    if fitting is None:
        saying = next(saying for saying in play.sayings if saying.role == role)
        return ("spoken", f"{role.name} begins at {saying.start / 16_000:.1f} s." if saying.start else None)
    own, whole = float(fitting.frames / play.fps), float(play.frames / play.fps)
    rate = (
        "" if fitting.rate == play.fps else f", resampled from {float(fitting.rate):g} to {float(play.fps):g} frames/s"
    )
    if fitting.missing > 0 and cast.ends == "loop":
        return "looped", f"{role.name} lasts {own:.1f} of {whole:.1f} s and was played again from its start{rate}."
    if fitting.missing > 0:
        eased = "" if play.movements[role].features is not None else " and eased to rest"
        return "held", f"{role.name} lasts {own:.1f} of {whole:.1f} s: its last frame was held{eased}{rate}."
    if fitting.missing < 0:
        return "trimmed", f"{role.name} was cut from {own:.1f} to {whole:.1f} s{rate}."
    return "whole", f"{role.name} was{rate[1:]}." if rate else None
