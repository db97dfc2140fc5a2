"""How well a network follows tracked clips: correlations of mouth opening, width and closure, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from talking_face.basis import LowerFaceBasis
from talking_face.dataset import SpeechClip
from talking_face.measures import articulation
from talking_face.model import AudioToExpression


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, 0 where one of them does not vary."""
    if len(a) < 2 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def predict(model: AudioToExpression, clip: SpeechClip) -> np.ndarray:
    """Coefficients (n, K) in the mean speaker's style."""
    with torch.inference_mode():
        return model(torch.from_numpy(clip.features.astype(np.float32))[None])["coefficients"][0].numpy()


def follow(model: AudioToExpression, basis: LowerFaceBasis, clips: Sequence[SpeechClip]) -> dict[str, dict[str, float]]:
    """Per clip: open, width (correlations), gain (spread of the tracked opening over the predicted one), lag in
    rows."""
    was_training = model.training
    model.eval()
    out = {}
    for clip in clips:
        said = articulation(basis.neutral + basis.decode(predict(model, clip)))
        seen = articulation(basis.neutral + clip.expression.astype(np.float32))
        ok = clip.valid
        shifts = range(-10, 11)
        rows = np.flatnonzero(ok)
        rows = rows[(rows >= 10) & (rows < len(said) - 10)]
        by_shift = [correlation(said[rows + s, 0], seen[rows, 0]) for s in shifts]
        out[clip.name] = {
            "open": correlation(said[ok, 0], seen[ok, 0]),
            "width": correlation(said[ok, 1], seen[ok, 1]),
            "gain": float(seen[ok, 0].std() / max(said[ok, 0].std(), 1e-6)),
            "lag": float(shifts[int(np.argmax(by_shift))]),
        }
    model.train(was_training)
    return out
