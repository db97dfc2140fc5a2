"""Training of AudioToExpression.

    python -m talking_face.train RUN --speech PACK... [--clips PACK] [--steps N] [--resume] [--start CHECKPOINT]

Synthetic speech teaches phones and what the viseme model makes of them, in many voices and rooms; tracked clips
correct it with what speakers really do. A run checkpoints to RUN/checkpoint.pt (weights, their moving average,
optimiser, step) and goes on from there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from animate import topology as mesh
from talking_face.augment import augment
from talking_face.basis import LowerFaceBasis
from talking_face.curves import RATE
from talking_face.dataset import SpeechClip, Utterance, read_pack
from talking_face.features import FEATURES
from talking_face.measures import articulation
from talking_face.model import AudioToExpression
from talking_face.phones import BILABIALS, INDEX, PHONES
from talking_face.visemes import VisemeModel

STYLE = 3
GAIN_UNIT, WIDTH_UNIT, TEMPO_UNIT = 0.25, 0.03, 0.25  # one unit of each style number: log gain, IOD of width, log tempo
CLOSED_GAP = 0.012  # IOD under which tracked lips count as touching


@dataclass(frozen=True)
class TrainConfig:
    """What a run is: seconds of a window, windows a step, the shares of them from tracked clips and from recorded
    speech, how far their tempo is changed (log), and the losses' weights."""

    steps: int = 4000
    batch: int = 12
    seconds: float = 3.6
    clips_share: float = 0.0
    recorded_share: float = 0.0
    rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.02
    average: float = 0.998
    augment: float = 1.0
    stretch: float = 0.15
    vertices: float = 1.0
    velocity: float = 2.0
    acceleration: float = 1.0
    closure: float = 0.15
    bilabial: float = 0.3
    jaw: float = 0.3
    phones: float = 0.15
    width: int = 160
    layers: int = 4
    dropout: float = 0.1
    seed: int = 0


@dataclass
class Sample:
    """features (n, C); style (S,); coefficients (n, K); closure, jaw, weight, bilabial (n,); phones (n,) int64."""

    features: np.ndarray
    style: np.ndarray
    coefficients: np.ndarray
    closure: np.ndarray
    jaw: np.ndarray
    weight: np.ndarray
    bilabial: np.ndarray
    phones: np.ndarray


class SampleMaker:
    """Cuts windows from utterances and clips and says what the network should make of them."""

    def __init__(self, config: TrainConfig, basis: LowerFaceBasis, visemes: VisemeModel):
        self.config, self.basis, self.visemes = config, basis, visemes
        self.rows = round(config.seconds * RATE)
        lips = sorted({*mesh.LIPS, *mesh.CHIN_POINTS})
        self.vertices = basis.components[:, lips].reshape(len(basis), -1)
        self.voices: list[Utterance] = []
        self._clips: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def utterance(self, item: Utterance, rng: np.random.Generator) -> Sample:
        """A window of speech with phones; the viseme model, in a style of its own, says how the mouth moves."""
        first, features = self._window(item, rng)
        style = rng.normal(0, 1, STYLE).clip(-2, 2)
        tempo = float(np.exp(TEMPO_UNIT * style[2]))
        model = replace(self.visemes, spread=self.visemes.spread / tempo)
        target, closure = model.curves(item.phones, len(features), first)
        target = target * float(np.exp(GAIN_UNIT * style[0]))
        target = target + (1 - closure[:, None]) * (style[1] * WIDTH_UNIT * self.visemes.directions[1]).astype(
            np.float32
        )
        weight = np.ones(len(features), np.float32)
        return self._sample(item, first, features, style, target, closure, weight, rng)

    def clip(self, item: SpeechClip, rng: np.random.Generator) -> Sample:
        """A window of a tracked clip."""
        first, features = self._window(item, rng)
        coefficients, closure, style = self.facts(item)
        last = first + len(features)
        weight = item.valid[first:last].astype(np.float32)
        return self._sample(item, first, features, style, coefficients[first:last], closure[first:last], weight, rng)

    def facts(self, item: SpeechClip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A clip's coefficients (n, K), closure (n,) and style (S,), which is measured against the viseme model."""
        if id(item) not in self._clips:
            expression = item.expression.astype(np.float32)
            coefficients = self.basis.encode(expression)
            seen = articulation(self.basis.neutral + expression)
            gap = seen[:, 0] - np.percentile(seen[item.valid, 0], 2)
            closure = (1 / (1 + np.exp(np.minimum((gap - CLOSED_GAP) / 0.004, 50)))).astype(np.float32)
            said, _ = self.visemes.curves(item.phones, len(coefficients))
            told = articulation(self.basis.neutral + self.basis.decode(said))
            ok = item.valid
            gain = np.log(np.clip(seen[ok, 0].std() / max(told[ok, 0].std(), 1e-6), 0.4, 2.5)) - np.log(1.15)
            width = seen[ok, 1].mean() - told[ok, 1].mean()
            style = np.array([gain / GAIN_UNIT, width / WIDTH_UNIT, 0.0]).clip(-3, 3)
            self._clips[id(item)] = coefficients, closure, style
        return self._clips[id(item)]

    def _window(self, item: Utterance, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        most = int(self.rows * np.exp(self.config.stretch)) + 2
        first = int(rng.integers(0, max(1, len(item.features) - most + 1)))
        return first, item.features[first : first + most]

    def _sample(self, item, first, features, style, coefficients, closure, weight, rng) -> Sample:
        phones, bilabial = phone_rows(item, first, len(features))
        tempo = float(np.exp(rng.uniform(-1, 1) * self.config.stretch))
        rows = [stretched(a, tempo, self.rows) for a in (features, coefficients, closure, weight, bilabial, phones)]
        features, coefficients, closure, weight, bilabial, phones = rows
        others = None
        if self.voices:
            other = self.voices[int(rng.integers(len(self.voices)))].features
            start = int(rng.integers(0, max(1, len(other) - len(features))))
            others = np.resize(other[start : start + len(features)], features.shape)
        features = augment(features, rng, others, self.config.augment)
        jaw = np.maximum(coefficients @ self.basis.opening, 0.0)
        parts = [style.astype(np.float32), coefficients, closure, jaw, weight, bilabial, phones]
        missing = self.rows - len(features)
        if missing:
            features = np.pad(features, ((0, missing), (0, 0)), mode="edge")
            parts[1:] = [np.pad(p, ((0, missing),) + ((0, 0),) * (p.ndim - 1), mode="edge") for p in parts[1:]]
            parts[4][-missing:] = 0.0
        return Sample(features, *parts)


def stretched(rows: np.ndarray, tempo: float, most: int) -> np.ndarray:
    """Rows (n, ...) spoken `tempo` times as fast, at most `most` of them; labels (integers) are not blended."""
    at = np.arange(min(most, int((len(rows) - 1) / tempo) + 1)) * tempo
    left = at.astype(int)
    if np.issubdtype(rows.dtype, np.integer):
        return rows[np.minimum((at + 0.5).astype(int), len(rows) - 1)]
    share = (at - left).reshape(-1, *(1,) * (rows.ndim - 1)).astype(np.float32)
    right = np.minimum(left + 1, len(rows) - 1)
    return (rows[left] * (1 - share) + rows[right] * share).astype(np.float32)


def phone_rows(item: Utterance, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The phone (count,) int64 spoken at each row from `first` on, and 1.0 inside bilabials."""
    starts = np.array([p.start for p in item.phones] or [0.0])
    names = [p.name for p in item.phones] or ["SIL"]
    at = np.clip(np.searchsorted(starts, (first + np.arange(count)) / RATE + 1e-6, side="right") - 1, 0, len(names) - 1)
    phones = np.array([INDEX[names[i]] for i in at], np.int64)
    return phones, np.isin(phones, [INDEX[p] for p in BILABIALS]).astype(np.float32)


def losses(
    out: dict, batch: dict, vertices: torch.Tensor, opening: torch.Tensor, config: TrainConfig
) -> dict[str, torch.Tensor]:
    """The loss's parts: coefficients, mesh vertices of lips and chin, their velocity and acceleration, closure, lips
    that stay apart in bilabials, jaw and phones."""
    weight = batch["weight"]
    total = weight.sum().clamp_min(1)
    error = out["coefficients"] - batch["coefficients"]
    parts = {"coefficients": 0.1 * (error.square().mean(-1) * weight).sum() / total}
    moved = error @ vertices / 0.05
    speed, pair = moved.diff(dim=1), weight[:, 1:] * weight[:, :-1]
    change, triple = speed.diff(dim=1), pair[:, 1:] * pair[:, :-1]
    parts["vertices"] = config.vertices * (moved.square().mean(-1) * weight).sum() / total
    parts["velocity"] = config.velocity * (speed.square().mean(-1) * pair).sum() / total
    parts["acceleration"] = config.acceleration * (change.square().mean(-1) * triple).sum() / total
    said = F.binary_cross_entropy_with_logits(out["closure"], batch["closure"], reduction="none")
    parts["closure"] = config.closure * (said * weight).sum() / total
    apart = (out["coefficients"] @ opening).clamp_min(0) / 0.05 * batch["closure"] * batch["bilabial"]
    parts["bilabial"] = config.bilabial * (apart.square() * weight).sum() / total
    jaw = F.smooth_l1_loss(out["jaw"] / 0.05, batch["jaw"] / 0.05, reduction="none")
    parts["jaw"] = config.jaw * (jaw * weight).sum() / total
    if "phones" in out:
        logits = out["phones"].flatten(0, 1)
        wrong = F.cross_entropy(logits, batch["phones"].flatten(), reduction="none", label_smoothing=0.05)
        parts["phones"] = config.phones * (wrong * weight.flatten()).sum() / total
    return parts


def stack(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """A batch of equal windows."""
    return {key: torch.from_numpy(np.stack([getattr(s, key) for s in samples])) for key in Sample.__dataclass_fields__}


class Trainer:
    """One run: draws batches, steps, averages, checkpoints."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        maker: SampleMaker,
        speech: Sequence[Utterance],
        clips: Sequence[SpeechClip],
        recorded: Sequence[Utterance] = (),
    ):
        self.folder, self.config, self.maker = folder, config, maker
        self.speech, self.clips, self.recorded = list(speech), list(clips), list(recorded)
        maker.voices = self.speech + self.recorded
        torch.manual_seed(config.seed)
        size = {"width": config.width, "layers": config.layers, "dropout": config.dropout}
        self.model = AudioToExpression(FEATURES, len(maker.basis), len(PHONES), STYLE, **size)
        self.mean = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), config.rate, (0.9, 0.98), weight_decay=config.decay)
        self.step = 0
        self._shares: dict[int, np.ndarray] = {}
        self.vertices, self.opening = torch.from_numpy(maker.vertices), torch.from_numpy(maker.basis.opening)

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """Reproducible from the seed and the step alone, so that a resumed run sees what an unbroken one would have."""
        rng = np.random.default_rng((self.config.seed, step))
        sources = [
            (self.maker.clip, self.clips),
            (self.maker.utterance, self.recorded),
            (self.maker.utterance, self.speech),
        ]
        shares = [self.config.clips_share, self.config.recorded_share, 1.0]
        shares = np.cumsum([share if items else 0.0 for share, (_, items) in zip(shares, sources, strict=True)])
        samples = []
        for _ in range(self.config.batch):
            which = int(np.searchsorted(shares, rng.random() * min(shares[-1], 1.0), side="right"))
            make, items = sources[which]
            samples.append(make(items[rng.choice(len(items), p=self._share(items))], rng))
        return stack(samples)

    def _share(self, items: Sequence[Utterance]) -> np.ndarray:
        """Chance of each item: between "every voice the same" and "as much as there is of it"."""
        if id(items) not in self._shares:
            _, index = np.unique([u.voice for u in items], return_inverse=True)
            length = np.array([len(u.features) for u in items], float)
            heard = np.bincount(index, length)[index]
            share = length / heard * heard**0.5
            self._shares[id(items)] = share / share.sum()
        return self._shares[id(items)]

    def train(self, steps: int, log_every: int = 50, save_every: int = 250) -> None:
        """Go on until step `steps`; the rate falls towards `config.steps`."""
        self.model.train()
        seen, began = [], time.perf_counter()
        while self.step < steps:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(self.step)
            batch = self.batch(self.step)
            parts = losses(
                self.model(batch["features"], batch["style"]), batch, self.vertices, self.opening, self.config
            )
            loss = sum(parts.values())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
            keep = min(self.config.average, self.step / (self.step + 10))
            for key, value in self.model.state_dict().items():
                self.mean[key].lerp_(value, 1 - keep)
            seen.append({k: float(v.detach()) for k, v in parts.items()})
            if self.step % log_every == 0:
                mean = {k: np.mean([s[k] for s in seen]) for k in seen[0]}
                pace = (time.perf_counter() - began) / len(seen)
                print(
                    f"{self.step} {sum(mean.values()):.4f} {pace:.2f}s",
                    *(f"{k[:5]} {v:.4f}" for k, v in mean.items()),
                    flush=True,
                )
                seen, began = [], time.perf_counter()
            if self.step % save_every == 0 or self.step == steps:
                self.save()

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / self.config.warmup)
        return float(self.config.rate * warm * (0.02 + 0.49 * (1 + np.cos(np.pi * min(1.0, step / self.config.steps)))))

    def save(self) -> None:
        """RUN/checkpoint.pt, replaced in one go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / ".checkpoint.part"
        state = {"model": self.model.state_dict(), "mean": self.mean, "optimizer": self.optimizer.state_dict()}
        torch.save(state | {"step": self.step, "config": asdict(self.config)}, part)
        part.replace(self.folder / "checkpoint.pt")

    def start_from(self, path: Path, tables: Path | None = None) -> None:
        """Start anew from a checkpoint's averaged weights; `tables`: its folder of tables, where its basis was
        another one."""
        mean = torch.load(path, weights_only=True)["mean"]
        if tables is not None:
            old, new = LowerFaceBasis.load(tables / "basis.safetensors"), self.maker.basis
            change = torch.from_numpy(new.encode(old.decode(np.eye(len(old), dtype=np.float32)), faded=True))
            for name in ("expression.weight", "expression.bias"):
                mean[name] = change.T @ mean[name]
        self.model.load_state_dict(mean)
        self.mean = {k: v.clone() for k, v in mean.items()}

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same run."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.mean, self.step = state["mean"], state["step"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--speech", type=Path, nargs="*", default=[], help="packs of utterances")
    parser.add_argument("--clips", type=Path, help="pack of tracked clips")
    parser.add_argument("--leave-out", default="", help="people of the clips that are not trained on, joined by commas")
    parser.add_argument("--tables", type=Path, required=True, help="folder with basis, visemes (talking_face.fit)")
    parser.add_argument("--recorded", type=Path, help="pack of recorded speech without a picture")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to start from")
    parser.add_argument("--start-tables", type=Path, help="the tables that checkpoint was trained with, if others")
    parser.add_argument("--resume", action="store_true")
    for name, default in asdict(TrainConfig()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = parser.parse_args()
    config = TrainConfig(**{name: getattr(options, name) for name in asdict(TrainConfig())})
    basis, visemes = (
        LowerFaceBasis.load(options.tables / "basis.safetensors"),
        VisemeModel.load(options.tables / "visemes.safetensors"),
    )
    speech = [item for pack in options.speech for item in read_pack(pack)]
    clips = read_pack(options.clips, options.leave_out) if options.clips else []
    recorded = read_pack(options.recorded) if options.recorded else []
    trainer = Trainer(options.run, config, SampleMaker(config, basis, visemes), speech, clips, recorded)
    if options.resume and (options.run / "checkpoint.pt").is_file():
        trainer.load(options.run / "checkpoint.pt")
    elif options.start:
        trainer.start_from(options.start, options.start_tables)
    hours = sum(len(u.features) for u in speech) / RATE / 3600
    print(json.dumps({"hours": round(hours, 2), "utterances": len(speech), "clips": len(clips)}), flush=True)
    trainer.train(config.steps)


if __name__ == "__main__":
    main()
