"""tLP: does the picture change from frame to frame as much as the truth does, to the eye?"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.metrics.base import FrameMean, Sample
from bench.metrics.lpips import LPIPS, lpips


@dataclass
class TLP(FrameMean):
    """Absolute difference of the LPIPS of neighbouring frames, output against truth, mean over pairs, times 100."""

    name = "tlp"
    direction = "lower"
    unit = "1e-2 LPIPS"
    source = "Chu et al. 2020, Learning temporal coherence via self-supervision (TecoGAN), section 4"
    needs = LPIPS.needs
    unfit = "no two frames in a row"

    before: Sample | None = field(default=None, init=False)

    @classmethod
    def missing(cls) -> str | None:
        return LPIPS.missing()

    def measure(self, sample: Sample) -> float | None:
        before, self.before = self.before, sample
        if before is None or sample.index != before.index + 1:
            return None
        output = lpips(before.output, sample.output)
        truth = lpips(before.truth, sample.truth)
        return 100 * abs(output - truth)
