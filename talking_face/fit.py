"""The tables that training starts from: `python -m talking_face.fit CLIPS_PACK FOLDER [--leave-out PEOPLE]`.

Writes FOLDER/basis.safetensors (the lower-face basis of the pack's people) and FOLDER/visemes.safetensors (the viseme
model moved from its prior to what these people do).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from talking_face.basis import LowerFaceBasis
from talking_face.dataset import SpeechClip, read_pack
from talking_face.visemes import VisemeModel, directions_of

COEFFICIENTS = 12  # with 12 the opening of the mouth comes back to 0.002 IOD, with 8 to 0.009
RIDGE = 50.0


def fit_tables(clips: Sequence[SpeechClip]) -> tuple[LowerFaceBasis, VisemeModel, dict[str, float]]:
    """Basis, viseme model, and each clip's gain over it."""
    seen = [c.expression[c.valid].astype(np.float32) for c in clips]
    basis = LowerFaceBasis.fit(seen, COEFFICIENTS)
    coefficients = [np.where(c.valid[:, None], basis.encode(c.expression.astype(np.float32)), 0) for c in clips]
    prior = VisemeModel.prior(directions_of(basis, [c[k.valid] for c, k in zip(coefficients, clips, strict=True)]))
    model, gains = prior.fit([(k.phones, c) for c, k in zip(coefficients, clips, strict=True)], RIDGE)
    return basis, model, dict(zip((c.name for c in clips), gains, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leave-out", default="", help="people that are not fitted to, joined by commas")
    options = parser.parse_args()
    clips = read_pack(options.clips, options.leave_out)
    basis, model, gains = fit_tables(clips)
    basis.save(options.folder / "basis.safetensors")
    model.save(options.folder / "visemes.safetensors")
    for name, gain in gains.items():
        print(f"{gain:5.2f}  {name}")


if __name__ == "__main__":
    main()
