"""LowerFaceBasis: the few directions in which speech moves the lower face.

Principal components of tracked people's expressions (`animate.motion`: canonical offsets from each one's neutral
face, IOD 1),
made left-right symmetric (sound says nothing of a lopsided mouth), faded out towards nose and eyes, with the mouth's
points
counting 1.8 times in the squared error (GSmoothFace, sec. 3.2). One unit of a coefficient is its standard deviation
over speech.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate import closure, measures, pose
from animate import topology as mesh
from animate.retarget import region_weights
from weights.errors import WeightsError

BASIS_FILE = mesh.FACE_MESH_FILE.with_name("talk") / "basis.safetensors"
MOUTH_WEIGHT = 1.8
#: Opening between the inner lips, IOD, of the neutral face that all talking motions start from: just touching.
NEUTRAL_GAP = 0.01


@functools.cache
def lower_face() -> np.ndarray:
    """How far each point (478,) takes part in speech: lips, jaw and chin 1, cheeks fading out to 0 at the eyes and
    nose tip."""
    face = pose.canonical_face().astype(np.float64)
    weights = region_weights()
    top, full = face[mesh.NOSE_TIP, 1], face[mesh.OUTER_LIPS_UPPER[5], 1] - 0.06
    fade = np.clip((face[:, 1] - top) / (full - top), 0.0, 1.0)
    fade = fade * fade * (3 - 2 * fade)
    out = np.maximum(weights["lips"] + weights["jaw"], 0) + weights["rest"]
    out = out * fade
    out[list(mesh.LIPS)] = 1.0
    out[list(mesh.RIGHT_IRIS + mesh.LEFT_IRIS)] = 0.0
    return out


def symmetric(offsets: np.ndarray) -> np.ndarray:
    """The left-right symmetric part of canonical offsets (..., 478, 3)."""
    return 0.5 * (offsets + offsets[..., mesh.MIRROR, :] * np.array([-1.0, 1.0, 1.0]))


def neutral_face() -> np.ndarray:
    """The mean face (478, 3) with IOD 1, symmetric and its lips just touching (`NEUTRAL_GAP`)."""
    face = pose.canonical_face().astype(np.float64)
    face = 0.5 * (face + face[mesh.MIRROR] * np.array([-1.0, 1.0, 1.0]))
    return set_lip_gaps(face[None], np.full((1, len(mesh.LIP_PAIRS)), NEUTRAL_GAP))[0]


def set_lip_gaps(shapes: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Shapes (T, 478, 3) whose inner-lip openings are `gaps` (T, 9) IOD; both lips and the skin around give way."""
    out = np.array(shapes, np.float64)
    for _ in range(3):  # pairs share points of the lip's red: what one moves, its neighbours feel
        out[..., 1] += (gaps - measures.lip_gaps(out)) @ closure.lip_spread().T
    return out


@dataclass
class LowerFaceBasis:
    """neutral (478, 3), components (K, 478, 3) IOD per unit, database (M, K) coefficients of real frames (for the LLE).

    All float32; `components` vanish where `lower_face` does.
    """

    neutral: np.ndarray
    components: np.ndarray
    database: np.ndarray

    def __post_init__(self) -> None:
        self._encoder: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.components)

    @functools.cached_property
    def opening(self) -> np.ndarray:
        """(K,) float32: IOD by which the inner lips part, per unit of each coefficient."""
        return measures.mouth_opening(self.components)

    def decode(self, coefficients: np.ndarray) -> np.ndarray:
        """Offsets (n, 478, 3) float32, IOD, of coefficients (n, K)."""
        flat = np.asarray(coefficients, np.float32) @ self.components.reshape(len(self), -1)
        return flat.reshape(-1, mesh.POINTS, 3)

    def encode(self, expression: np.ndarray, faded: bool = False) -> np.ndarray:
        """Coefficients (n, K) float32 of the weighted least-squares fit to offsets (n, 478, 3) of a whole face.

        faded: the offsets already fade out as `lower_face` does, as those of `decode` do.
        """
        if self._encoder is None:
            root = np.sqrt(_point_weights())[:, None]
            table = (self.components * root).reshape(len(self), -1).astype(np.float64)
            self._encoder = np.linalg.solve(table @ table.T, table) * np.repeat(root[:, 0], 3)
        wanted = symmetric(np.asarray(expression, np.float64))
        if not faded:
            wanted *= lower_face()[:, None]
        return (wanted.reshape(len(wanted), -1) @ self._encoder.T).astype(np.float32)

    @classmethod
    def fit(cls, expressions: Sequence[np.ndarray], count: int, database: int = 1500, seed: int = 0) -> LowerFaceBasis:
        """From the offsets (T, 478, 3) of several clips; each counts by the root of its length, so that none
        outweighs the rest."""
        root = np.repeat(np.sqrt(_point_weights()), 3)
        rows = [(symmetric(e) * lower_face()[:, None]).reshape(len(e), -1) for e in expressions]
        share = [np.full(len(r), len(r) ** -0.5) for r in rows]
        table, share = np.concatenate(rows), np.concatenate(share)
        share /= share.mean()
        _, _, axes = np.linalg.svd(table * root * np.sqrt(share)[:, None], full_matrices=False)
        scores = table * root @ axes[:count].T
        spread = np.sqrt((share[:, None] * scores**2).mean(axis=0))
        # Positive is the direction that opens the mouth.
        parts = (axes[:count] / root).reshape(count, mesh.POINTS, 3) * spread[:, None, None]
        sign = np.sign([measures.mouth_opening(part) or 1.0 for part in parts])
        parts = parts * sign[:, None, None]
        picked = np.random.default_rng(seed).permutation(len(table))[:database]
        basis = cls(neutral_face().astype(np.float32), parts.astype(np.float32), np.zeros((0, count), np.float32))
        basis.database = basis.encode(table[np.sort(picked)].reshape(-1, mesh.POINTS, 3), faded=True)
        return basis

    def save(self, path: str | Path) -> None:
        """Write a safetensors file."""
        from safetensors.numpy import save_file

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file({name: getattr(self, name) for name in ("neutral", "components", "database")}, str(path))

    @classmethod
    def load(cls, path: str | Path = BASIS_FILE) -> LowerFaceBasis:
        """Read one; raises WeightsError where it is missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tables = load_file(str(path))
            basis = cls(*(tables[name].astype(np.float32) for name in ("neutral", "components", "database")))
        except (OSError, SafetensorError, KeyError) as error:
            raise WeightsError(f"{path} holds no lower-face basis: {error}.") from error
        if basis.components.shape[1:] != (mesh.POINTS, 3) or basis.database.shape[1:] != (len(basis),):
            raise WeightsError(f"{path} holds a lower-face basis of the wrong shape {basis.components.shape}.")
        return basis


@functools.cache
def _point_weights() -> np.ndarray:
    """(478,) weight of each point's squared error; points that do not take part keep a trace, so that the fit is
    unique."""
    weights = np.where(np.isin(np.arange(mesh.POINTS), mesh.LIPS), MOUTH_WEIGHT, 1.0)
    return weights * np.maximum(lower_face(), 1e-6)
