"""Closures met: do the lips meet for m, b and p?"""

from __future__ import annotations

from collections.abc import Sequence

from bench.metrics.speech import Figure, MouthCurves, SpeechMetric, SpeechTruth, aligner_missing
from talking_face.phones import BILABIALS, SILENCE, Phone

MEET = 0.015
"""Inter-ocular distances of opening above the closed level below which lips meet: a millimetre on an adult's
face, three times the tracker's noise on closed lips."""

MARGIN = 1
"""Frames beside a phone in which its closure may also lie: alignments are exact to 10 to 20 ms, and a closure of
50 ms falls between two frames of a slow clip."""


LEAST_BILABIALS = 5
"""With fewer, where a clip's own lips meet them best is chance."""


class ClosuresMet(SpeechMetric):
    """Share of the bilabials in which the lips meet; all clips' bilabials are counted together.

    The tracked clip's own share (row ``truth``) is what alignment and tracker let through; the share of another
    sentence's lips (row ``mismatched``) is chance. A mouth that stays shut meets them all: read it beside `open_corr`.
    """

    name = "closures_met"
    direction = "higher"
    unit = "share in [0, 1]"
    source = "ours; phones by pocketsphinx's forced alignment, lips meet within the phone or one frame beside it"
    needs = "pocketsphinx (BSD-2-Clause, its English models are inside the wheel)"
    unfit = "no m, b or p in it"

    @classmethod
    def missing(cls) -> str | None:
        return aligner_missing()

    def measure(self, truth: SpeechTruth, predicted: MouthCurves) -> Figure | None:
        return share_met(truth, predicted)


def apart(phones: Sequence[Phone]) -> list[Phone]:
    """Phones in which lips need not meet, and beside which neither: no bilabial, silence, or neighbour of one."""
    shut = [True, *(phone.name in BILABIALS or phone.name == SILENCE for phone in phones), True]
    return [phone for n, phone in enumerate(phones) if not any(shut[n : n + 3])]


def share_met(
    truth: SpeechTruth, mouth: MouthCurves, shift: int = 0, phones: Sequence[Phone] | None = None
) -> Figure | None:
    """Share of some phones, or of the bilabials, that a mouth meets when it is `shift` frames late; weight: how many
    there are."""
    late = float(shift / truth.curves.fps)
    wanted = [p for p in truth.phones or () if p.name in BILABIALS] if phones is None else phones
    spans = (truth.frames(p.start + late, p.end + late, MARGIN) for p in wanted)
    met = [bool((mouth.gap[frames] < MEET).any()) for frames in spans if len(frames)]
    return Figure(sum(met) / len(met), len(met)) if met else None


def own_lag(truth: SpeechTruth, reach: int) -> int | None:
    """Frames by which a clip's picture seems to come after its own sound: where its lips meet its bilabials best.

    Negative where the picture runs ahead. Of shifts up to `reach` that are equally good the smallest; None where the
    clip has too few bilabials to tell.
    """
    here = share_met(truth, truth.curves)
    if here is None or here.weight < LEAST_BILABIALS:
        return None
    shifts = sorted(range(-reach, reach + 1), key=lambda shift: (abs(shift), shift))
    found = {shift: share_met(truth, truth.curves, shift) for shift in shifts}
    # Bilabials that a shift moves out of the clip must not make the rest look better.
    return max(shifts, key=lambda shift: found[shift].value * found[shift].weight if found[shift] else 0.0)
