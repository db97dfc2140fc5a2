"""VisemeModel: phones in, mouth curves out. The documented rule that the network is first taught by and has to beat.

Co-articulation is Cohen and Massaro's (1993, "Modeling coarticulation in synthetic visual speech"): each phone i has
a target T_i and
a dominance D_i(t) that is whole over the inner part of its own segment and falls off on both sides; the mouth is the
blend

    c(t) = sum_i D_i(t) T_i / sum_i D_i(t).

A diphthong is two phones in turn. Lips that have to meet (m, b, p) are drawn shut over their segment whatever the
neighbours want. The prior targets below are openings, widths and protrusions as phonetics textbooks order them;
`VisemeModel.fit` moves them
to what tracked speakers do: since c(t) is linear in the targets, that is a ridge regression towards the prior, one
gain per speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from animate import topology as mesh
from talking_face.basis import LowerFaceBasis
from talking_face.curves import RATE
from talking_face.phones import ALL_VOWELS, BILABIALS, Phone
from weights.errors import WeightsError

VISEME_FILE = mesh.FACE_MESH_FILE.with_name("talk") / "visemes.safetensors"


@dataclass(frozen=True)
class Shape:
    """A viseme: opening, change of width and protrusion in IOD; how strongly it insists; how far it reaches, in
    seconds."""

    opening: float
    width: float = 0.0
    protrusion: float = 0.0
    strength: float = 1.0
    before: float = 0.07
    after: float = 0.07


#: Prior by viseme class; see the module's docstring. Every phone of `PHONE_SHAPES` names one or (diphthongs) two of
#: them.
SHAPES: dict[str, Shape] = {
    "rest": Shape(0.0, strength=1.0, before=0.10, after=0.07),
    "closed": Shape(0.0, -0.01, 0.0, strength=4.0, before=0.035, after=0.035),
    "near": Shape(0.03, -0.03, 0.01, strength=2.0, before=0.05, after=0.05),
    "lip-teeth": Shape(0.03, -0.01, -0.01, strength=2.5, before=0.05, after=0.05),
    "tongue-teeth": Shape(0.07, strength=0.8),
    "tongue-ridge": Shape(0.065, 0.01, strength=0.6, before=0.06, after=0.06),
    "hiss": Shape(0.055, 0.03, strength=1.0, before=0.06, after=0.06),
    "hush": Shape(0.085, -0.07, 0.05, strength=1.4, before=0.08),
    "tongue-back": Shape(0.09, strength=0.4),
    "breath": Shape(0.10, strength=0.2),
    "r": Shape(0.075, -0.06, 0.03, strength=0.9, before=0.08),
    "l": Shape(0.085, strength=0.7),
    "y": Shape(0.07, 0.04, strength=0.7),
    "w": Shape(0.035, -0.15, 0.06, strength=1.8, before=0.09),
    "a": Shape(0.20, 0.01, strength=1.2, before=0.08, after=0.08),
    "ae": Shape(0.18, 0.05, strength=1.2),
    "uh": Shape(0.13, 0.0),
    "schwa": Shape(0.09, strength=0.5),
    "e": Shape(0.15, 0.04),
    "i": Shape(0.10, 0.04),
    "ee": Shape(0.085, 0.09, strength=1.1),
    "er": Shape(0.095, -0.05, 0.03),
    "aw": Shape(0.17, -0.07, 0.03, strength=1.2),
    "o": Shape(0.11, -0.12, 0.05, strength=1.3, before=0.09),
    "oo": Shape(0.055, -0.16, 0.07, strength=1.5, before=0.09),
    "u": Shape(0.09, -0.10, 0.04),
}

PHONE_SHAPES: dict[str, tuple[str, ...]] = {
    "SIL": ("rest",),
    **dict.fromkeys(("M", "B", "P"), ("closed",)),
    "PH": ("near",),
    **dict.fromkeys(("F", "V"), ("lip-teeth",)),
    **dict.fromkeys(("TH", "DH"), ("tongue-teeth",)),
    **dict.fromkeys(("T", "D", "N", "RR"), ("tongue-ridge",)),
    **dict.fromkeys(("S", "Z"), ("hiss",)),
    **dict.fromkeys(("SH", "ZH", "CH", "JH"), ("hush",)),
    **dict.fromkeys(("K", "G", "NG", "X"), ("tongue-back",)),
    "HH": ("breath",),
    "R": ("r",),
    "L": ("l",),
    "Y": ("y",),
    "W": ("w",),
    **dict.fromkeys(("AA", "A"), ("a",)),
    "AE": ("ae",),
    "AH": ("uh",),
    "EH": ("e",),
    "E": ("i",),
    "IH": ("i",),
    "IX": ("schwa",),
    "IY": ("ee",),
    "ER": ("er",),
    "AO": ("aw",),
    "O": ("o",),
    "UH": ("u",),
    "UW": ("oo",),
    "Y_ROUND": ("oo",),
    "AW": ("a", "u"),
    "AY": ("a", "ee"),
    "EY": ("e", "ee"),
    "OW": ("o", "oo"),
    "OY": ("aw", "ee"),
}
#: A phone without stress counts by this part of its strength: unstressed vowels give way to their neighbours.
UNSTRESSED = 0.6
INNER = 0.5  # share of the segment over which a dominance is whole
CLOSING = 0.04  # seconds from open to shut and back around m, b, p
REST_AFTER = 0.25  # seconds of silence after which resting lips touch


@dataclass(frozen=True)
class Segment:
    """One target in time: the row of `VisemeModel.targets`, its strength and its stretch in seconds."""

    row: int
    strength: float
    start: float
    end: float


def keys() -> list[str]:
    """The rows of a model's targets: each phone, diphthongs as two ("AW.0", "AW.1")."""
    return [f"{phone}.{i}" for phone, shapes in PHONE_SHAPES.items() for i in range(len(shapes))]


def shape_of(key: str) -> Shape:
    """The prior of a row."""
    phone, _, part = key.partition(".")
    return SHAPES[PHONE_SHAPES[phone][int(part)]]


_KEYS = tuple(keys())
_ROWS = {key: row for row, key in enumerate(_KEYS)}


def segments_of(phones: Sequence[Phone]) -> list[Segment]:
    """Targets in time. Where the labels mark no stress at all, every vowel but the schwa counts as stressed."""
    out = []
    marked = any(phone.stress for phone in phones)
    for phone in phones:
        parts = len(PHONE_SHAPES[phone.name])
        for i in range(parts):
            key = f"{phone.name}.{i}"
            strength = shape_of(key).strength
            if phone.name in ALL_VOWELS and not (phone.stress if marked else phone.name != "AH"):
                strength *= UNSTRESSED
            length = (phone.end - phone.start) / parts
            out.append(Segment(_ROWS[key], strength, phone.start + i * length, phone.start + (i + 1) * length))
    return out


@dataclass
class VisemeModel:
    """targets (rows, K) in coefficients of a `LowerFaceBasis`; directions (3, K): coefficients per IOD of opening,
    width, protrusion.

    lead: seconds by which the lips are ahead of the sound. spread: factor on every reach.
    """

    targets: np.ndarray
    directions: np.ndarray
    lead: float = 0.03
    spread: float = 0.8

    @classmethod
    def prior(cls, directions: np.ndarray) -> VisemeModel:
        """From SHAPES; directions: see `directions_of`."""
        shapes = [shape_of(key) for key in _KEYS]
        return cls(np.array([[s.opening, s.width, s.protrusion] for s in shapes]) @ directions, directions)

    def blend(self, phones: Sequence[Phone], count: int, start: int = 0) -> np.ndarray:
        """Each target's share (count, rows) at rows start..start+count of 1/RATE s; sums to 1."""
        times = (start + np.arange(count)) / RATE + self.lead
        total = np.full((count, len(self.targets)), 0.0)
        total[:, _ROWS["SIL.0"]] = 1e-6  # where nothing reaches, the mouth rests
        for s in segments_of(phones):
            shape = shape_of(_KEYS[s.row])
            middle, half = 0.5 * (s.start + s.end), 0.5 * INNER * (s.end - s.start)
            before, after = shape.before * self.spread, shape.after * self.spread
            reach = 6 * max(before, after) + half
            a = np.searchsorted(times, middle - reach)
            b = np.searchsorted(times, middle + reach)
            away = times[a:b] - middle
            fall = np.where(away < 0, (-away - half) / before, (away - half) / after)
            total[a:b, s.row] += s.strength * np.exp(-np.maximum(fall, 0.0))
        return total / total.sum(axis=1, keepdims=True)

    def closure(self, phones: Sequence[Phone], count: int, start: int = 0) -> np.ndarray:
        """How far the lips are shut (count,) in [0, 1]: over m, b, p and in silences that last."""
        times = (start + np.arange(count)) / RATE + self.lead
        shut = np.zeros(count)
        for phone in phones:
            if phone.name in BILABIALS:
                first, last, ramp = phone.start + 0.01, max(phone.end - 0.015, phone.start + 0.025), CLOSING
            elif phone.name == "SIL" and phone.end - phone.start > 2 * REST_AFTER:
                first, last, ramp = phone.start + REST_AFTER, phone.end - REST_AFTER, 0.5 * REST_AFTER
            else:
                continue
            level = np.minimum((times - first) / ramp + 1, (last - times) / ramp + 1)
            np.maximum(shut, np.clip(level, 0.0, 1.0), out=shut)
        return shut * shut * (3 - 2 * shut)

    def curves(self, phones: Sequence[Phone], count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (count, K) and closure (count,) float32 at rows start..start+count."""
        blended = self.blend(phones, count, start) @ self.targets
        shut = self.closure(phones, count, start)
        closed = self.targets[[_ROWS[f"{p}.0"] for p in sorted(BILABIALS)]].mean(axis=0)
        return (blended + shut[:, None] * (closed - blended)).astype(np.float32), shut.astype(np.float32)

    def fit(
        self, clips: Sequence[tuple[Sequence[Phone], np.ndarray]], ridge: float = 50.0, rounds: int = 4
    ) -> tuple[VisemeModel, list[float]]:
        """The model moved towards tracked clips, each (phones, coefficients (n, K) from the clip's first frame on);
        and their gains.

        ridge: rows of evidence at which a phone's target lies half way between prior and data. A clip counts by the
        root of
        its length.
        """
        prior = self.targets
        gains = [1.0] * len(clips)
        model = self
        blends = [self.blend(phones, len(c)) * (1 - self.closure(phones, len(c)))[:, None] for phones, c in clips]
        for _ in range(rounds):
            rows = [b * g for b, g in zip(blends, gains, strict=True)]
            gram = sum(r.T @ r for r in rows) + ridge * np.eye(len(prior))
            goal = sum(r.T @ c for r, (_, c) in zip(rows, clips, strict=True)) + ridge * prior
            model = replace(model, targets=np.linalg.solve(gram, goal))
            gains = []
            for b, (_, c) in zip(blends, clips, strict=True):
                said = b @ model.targets
                # By size, not by regression: what phones do not explain must not make every speaker mumble.
                gains.append(float(np.clip(np.sqrt((c * c).sum() / max((said * said).sum(), 1e-9)), 0.4, 2.5)))
            scale = float(np.exp(np.mean(np.log(gains))))
            gains = [g / scale for g in gains]
        return model, gains

    def save(self, path: str | Path) -> None:
        """Write a safetensors file."""
        from safetensors.numpy import save_file

        tables = {"targets": self.targets, "directions": self.directions, "times": np.array([self.lead, self.spread])}
        tables = {key: np.ascontiguousarray(value, np.float32) for key, value in tables.items()}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(tables, str(path), {"rows": " ".join(keys())})

    @classmethod
    def load(cls, path: str | Path = VISEME_FILE) -> VisemeModel:
        """Read one; raises WeightsError where it is missing, damaged or of other phones."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                rows = (file.metadata() or {}).get("rows", "").split()
                targets, directions, times = (file.get_tensor(key) for key in ("targets", "directions", "times"))
        except (OSError, SafetensorError, KeyError) as error:
            raise WeightsError(f"{path} holds no viseme model: {error}.") from error
        if rows != keys() or len(targets) != len(rows):
            raise WeightsError(f"{path} holds visemes of other phones than this Mien knows.")
        return cls(targets.astype(np.float64), directions.astype(np.float64), float(times[0]), float(times[1]))


def directions_of(basis: LowerFaceBasis, clips: Sequence[np.ndarray], ridge: float = 1e-3) -> np.ndarray:
    """Coefficients per IOD (3, K) of opening, change of width, protrusion: regression over real clips' coefficients
    (n, K)."""
    from talking_face.measures import articulation

    wanted = np.concatenate(clips)
    seen = articulation(basis.neutral + basis.decode(wanted)) - articulation(basis.neutral[None])
    return np.linalg.solve(seen.T @ seen + ridge * len(seen) * np.diag(seen.var(axis=0)), seen.T @ wanted)
