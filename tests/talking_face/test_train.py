import numpy as np
import pytest
import torch

from animate.motion import Motion
from talking_face.basis import LowerFaceBasis
from talking_face.dataset import SpeechClip, Utterance, read_pack, write_pack
from talking_face.export import export
from talking_face.features import ENERGY, FEATURES
from talking_face.fit import fit_tables
from talking_face.phones import INDEX, Phone
from talking_face.talker import Talker
from talking_face.train import SampleMaker, TrainConfig, Trainer, losses, phone_rows, stack, stretched
from talking_face.visemes import VisemeModel

CONFIG = TrainConfig(steps=6, batch=2, seconds=1.0, clips_share=0.5, width=16, layers=1, warmup=2, stretch=0.0)


def phones(seconds):
    names = ["SIL", *["M", "AA", "T", "IY"] * round(seconds * 2)]
    return [Phone(n, i * 0.12, (i + 1) * 0.12, int(n in ("AA", "IY"))) for i, n in enumerate(names)]


def sound(seed, rows=100):
    features = np.random.default_rng(seed).normal(0, 0.5, (rows, FEATURES)).astype(np.float32)
    features[:, ENERGY] = np.sin(np.arange(rows) / 5)
    return features


@pytest.fixture(scope="module")
def speech():
    return [Utterance(sound(i), phones(2), f"voice{i % 2}") for i in range(3)]


@pytest.fixture(scope="module")
def clips():
    expression = Motion.builtin("talk").expression
    expression = np.repeat(expression, 2, axis=0)[:100].astype(np.float16)
    return [SpeechClip(sound(9 + i), phones(2), f"p{i}", expression, np.ones(100, bool), f"{i}.mp4") for i in range(2)]


@pytest.fixture(scope="module")
def maker():
    return SampleMaker(CONFIG, LowerFaceBasis.load(), VisemeModel.load())


def make(folder, maker, speech, clips, config=CONFIG):
    return Trainer(folder, config, maker, speech, clips)


def test_packs_come_back_as_they_were(speech, clips, tmp_path):
    write_pack(tmp_path / "s.safetensors", speech)
    write_pack(tmp_path / "c.safetensors", clips)
    again, films = read_pack(tmp_path / "s.safetensors"), read_pack(tmp_path / "c.safetensors")
    assert [u.voice for u in again] == [u.voice for u in speech]
    assert again[2].phones == speech[2].phones
    np.testing.assert_allclose(again[1].features, speech[1].features, atol=2e-3)
    assert films[1].name == "1.mp4"
    np.testing.assert_array_equal(films[1].expression, clips[1].expression)


def test_a_row_is_told_the_phone_that_is_spoken(speech):
    rows, bilabial = phone_rows(speech[0], 5, 20)
    assert rows[3] == INDEX["M"] and bilabial[3] == 1  # row 8 is 0.16 s
    assert rows[8] == INDEX["AA"] and bilabial[8] == 0


def test_windows_shorter_than_asked_for_are_padded_without_weight(maker, speech):
    short = Utterance(sound(1, 20), phones(0.3), "v")
    sample = maker.utterance(short, np.random.default_rng(0))
    assert len(sample.features) == len(sample.coefficients) == 50
    assert sample.weight.sum() == 20


def test_a_faster_tempo_keeps_values_and_labels():
    rows = np.arange(20, dtype=np.float32)
    np.testing.assert_allclose(stretched(rows, 1.25, 100), np.arange(0, 19.1, 1.25))
    assert stretched(np.array([3, 3, 7, 7]), 0.5, 100).tolist() == [3, 3, 3, 7, 7, 7, 7]
    assert len(stretched(rows, 0.8, 10)) == 10


def test_a_clips_targets_are_its_own_movements(maker, clips):
    coefficients, closure, style = maker.facts(clips[0])
    given = maker.basis.encode(clips[0].expression.astype(np.float32))
    np.testing.assert_allclose(coefficients, given, atol=1e-5)
    assert 0 <= closure.min() and closure.max() <= 1 and np.isfinite(style).all()


def test_every_part_of_the_loss_counts(maker, speech, clips):
    trainer = make(None, maker, speech, clips)
    batch = trainer.batch(0)
    parts = losses(trainer.model(batch["features"], batch["style"]), batch, trainer.vertices, trainer.opening, CONFIG)
    assert set(parts) == {
        *("coefficients", "vertices", "velocity", "acceleration", "closure", "bilabial", "jaw", "phones")
    }
    assert all(float(value.detach()) > 0 for name, value in parts.items() if name != "bilabial")


def test_lips_apart_in_a_bilabial_cost(maker, speech, clips):
    trainer = make(None, maker, speech, clips)
    batch = trainer.batch(0) | {
        "bilabial": torch.ones(2, 50),
        "closure": torch.ones(2, 50),
        "weight": torch.ones(2, 50),
    }
    out = trainer.model(batch["features"], batch["style"])
    cost = []
    for opening in (0.0, 0.1):
        row = trainer.opening / trainer.opening.square().sum()
        out["coefficients"] = (opening * row).expand(2, 50, -1)
        cost.append(float(losses(out, batch, trainer.vertices, trainer.opening, CONFIG)["bilabial"]))
    assert cost[0] < 1e-6 < cost[1]


def test_training_goes_down(maker, speech, clips, tmp_path):
    config = TrainConfig(**{**CONFIG.__dict__, "steps": 60, "rate": 5e-3, "augment": 0.0, "dropout": 0.0})
    trainer = make(tmp_path, maker, speech, clips, config)
    batch = trainer.batch(0)

    def cost():
        with torch.no_grad():
            out = trainer.model(batch["features"], batch["style"])
            return float(sum(losses(out, batch, trainer.vertices, trainer.opening, config).values()))

    before = cost()
    trainer.train(60, log_every=100, save_every=100)
    assert cost() < 0.8 * before


def test_a_resumed_run_is_the_run_that_was_not_broken(maker, speech, clips, tmp_path):
    config = TrainConfig(**{**CONFIG.__dict__, "dropout": 0.0})
    whole = make(tmp_path / "a", maker, speech, clips, config)
    whole.train(6)
    first = make(tmp_path / "b", maker, speech, clips, config)
    first.train(3)
    second = make(tmp_path / "b", maker, speech, clips, config)
    second.load(tmp_path / "b" / "checkpoint.pt")
    assert second.step == 3
    second.train(6)
    wanted = whole.model.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in second.model.state_dict().items())


def test_starting_with_another_basis_keeps_what_is_said(maker, speech, clips, tmp_path):
    trainer = make(tmp_path, maker, speech, clips)
    trainer.train(2)
    _, visemes, _ = fit_tables(clips)
    old = tmp_path / "tables"
    maker.basis.save(old / "basis.safetensors")
    turned = LowerFaceBasis(maker.basis.neutral, maker.basis.components[::-1].copy(), maker.basis.database)
    other = make(tmp_path, SampleMaker(CONFIG, turned, maker.visemes), speech, clips)
    other.start_from(tmp_path / "checkpoint.pt", old)
    with torch.no_grad():
        x = torch.from_numpy(speech[0].features)[None].float()
        trainer.model.load_state_dict(trainer.mean)
        a = trainer.model.eval()(x)["coefficients"][0].numpy()
        b = other.model.eval()(x)["coefficients"][0].numpy()
    np.testing.assert_allclose(b, a[:, ::-1], atol=1e-2)


def test_an_exported_model_talks(maker, speech, clips, tmp_path):
    trainer = make(tmp_path / "run", maker, speech, clips)
    trainer.train(2)
    maker.basis.save(tmp_path / "tables" / "basis.safetensors")
    maker.visemes.save(tmp_path / "tables" / "visemes.safetensors")
    export(tmp_path / "model", tmp_path / "tables", [tmp_path / "run" / "checkpoint.pt"], clips)
    motion = Talker.from_pretrained(tmp_path / "model").motion(np.zeros(8000, np.float32))
    assert len(motion) == round(0.5 * 25)


def test_batches_hold_finite_numbers(maker, speech, clips):
    rng = np.random.default_rng(0)
    batch = stack([maker.utterance(speech[0], rng), maker.clip(clips[0], rng)])
    assert all(torch.isfinite(value.float()).all() for value in batch.values())
