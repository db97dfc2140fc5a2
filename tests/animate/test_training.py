"""Data, loss and training loop, small but real: a pack is made from a real portrait, a run is stopped and resumed."""

import json

import numpy as np
import pytest
import torch

from animate import dataset, losses
from animate.dataset import CHANNELS, Clip, Pack, PackWriter
from animate.expression import FEATURES, expression_features, mirror_features
from animate.pose import inter_ocular


@pytest.fixture(scope="module")
def pack(tmp_path_factory, astronaut, astronaut_landmarks):
    from animate.media import write_image

    folder = tmp_path_factory.mktemp("pack")
    write_image(folder / "astronaut.png", astronaut)
    clip = Clip(folder / "astronaut.png", "astronaut", astronaut_landmarks[None], np.ones(1, bool))
    rng = np.random.default_rng(0)
    offsets = [rng.normal(0, 0.005, (478, 3)).astype(np.float32)]
    writer = PackWriter(folder / "pack")
    for sample in dataset.portrait_pairs(clip, offsets, 6, rng):
        writer.add(*sample)
    writer.close()
    return folder / "pack"


def test_a_pack_holds_what_was_written(pack):
    read = Pack(pack)
    assert len(read) == 6 and set(read.subjects) == {"astronaut"}
    assert read.windows["mouth"].shape == (6, 128, 128, sum(CHANNELS.values()))
    assert read.features.shape == (6, 2 * FEATURES) and np.isfinite(read.features).all()


def test_outside_the_gate_base_and_target_nearly_agree(pack):
    window = Pack(pack).windows["mouth"][0].astype(int)
    base, target, gate = window[..., :3], window[..., 3:6], window[..., 6]
    error = np.abs(base - target).mean(-1)
    assert error[gate < 5].mean() < 6


def test_a_pack_without_an_index_is_not_read(tmp_path):
    PackWriter(tmp_path / "half").files["mouth"].close()
    with pytest.raises(FileNotFoundError):
        Pack(tmp_path / "half")


def test_mirroring_a_face_mirrors_its_features(astronaut, astronaut_landmarks):
    image, points = dataset.mirror_face(astronaut, astronaut_landmarks)
    assert np.array_equal(image[:, ::-1], astronaut)
    mirrored = expression_features(points)
    assert np.abs(mirrored - mirror_features(expression_features(astronaut_landmarks))).max() < 0.03
    assert np.allclose(mirror_features(mirror_features(mirrored)), mirrored)


def test_closing_the_mouth_closes_it_and_keeps_the_corners(astronaut_landmarks):
    closed = dataset.close_mouth(astronaut_landmarks, 0.0)
    gap = np.abs(closed[[13, 82, 312], 1] - closed[[14, 87, 317], 1]).max()
    assert gap < 0.01 * inter_ocular(astronaut_landmarks)
    assert np.array_equal(closed[[78, 308]], astronaut_landmarks[[78, 308]])


def test_a_face_crop_is_never_enlarged(astronaut, astronaut_landmarks):
    small, points = dataset.face_crop(astronaut, astronaut_landmarks)
    assert inter_ocular(points) <= inter_ocular(astronaut_landmarks) + 1e-3
    assert inter_ocular(points) <= 96.01 and small.shape[0] == small.shape[1]


def test_the_loss_counts_the_expression_more_and_is_zero_at_the_truth():
    truth = torch.zeros(1, 3, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    weights = losses.facial_weights(mask)
    inside, outside = truth.clone(), truth.clone()
    inside[..., 1], outside[..., 6] = 1, 1
    loss = lambda x: losses.facial_loss(x, truth, weights, 0, 0)  # noqa: E731
    assert loss(truth) == 0
    assert loss(inside) == pytest.approx(float(loss(outside)) * (1 + losses.EXPRESSION_WEIGHT), rel=1e-5)


@pytest.mark.parametrize("term", ["gradient_weight", "texture_weight"])
def test_gradient_and_texture_terms_punish_lost_detail_and_not_a_shift_of_light(term):
    x = torch.linspace(0, 20, 32).sin().view(1, 1, 1, 32).expand(1, 3, 32, 32)
    weights = torch.ones(1, 1, 32, 32)
    off = {"gradient_weight": 0.0, "texture_weight": 0.0}

    def share(prediction):
        with_term = losses.facial_loss(prediction, x, weights, **(off | {term: 1.0}))
        return float(with_term - losses.facial_loss(prediction, x, weights, **off))

    assert share(torch.zeros_like(x)) > 0.05
    assert share(x + 0.5) == pytest.approx(0, abs=1e-6)


def test_the_texture_term_does_not_mind_where_an_edge_lies():
    x = torch.zeros(1, 3, 16, 16)
    moved = x.clone()
    x[..., 3], moved[..., 5] = 1, 1
    assert torch.allclose(losses.local_texture(x), losses.local_texture(moved), atol=1e-4)


@pytest.fixture(scope="module")
def config():
    from animate.recipe import TrainConfig

    return TrainConfig(steps=4, mouths=1, eyes=1, channels=(16, 16, 16), warmup=1)


def run(pack, folder, config, **changes):
    from animate.train import train

    settings = dict(validation=None, resume=False, every=2, minutes=9) | changes
    return train([Pack(pack)], folder, config, **settings)


def test_training_resumed_is_training_uninterrupted(pack, tmp_path, config):
    from dataclasses import replace

    run(pack, tmp_path / "a", config)
    run(pack, tmp_path / "b", config, minutes=0)  # stops after one step
    run(pack, tmp_path / "b", config, resume=True)
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in "ab"]
    assert states[0]["step"] == states[1]["step"] == replace(config).steps
    for key, value in states[0]["networks"].items():
        assert torch.allclose(value, states[1]["networks"][key], atol=1e-6), key


def test_validation_writes_a_strip_and_an_untrained_network_gives_its_base(pack, tmp_path, config):
    from animate.recipe import alphas_cumprod, build_networks
    from animate.validation import validate

    torch.manual_seed(0)
    figures = validate(build_networks(config), Pack(pack), alphas_cumprod(), count=4, strip=tmp_path / "strip.png")
    assert figures["mouth"] == pytest.approx(figures["mouth_base"], abs=1e-6)
    assert (tmp_path / "strip.png").stat().st_size > 1000


def test_an_exported_run_is_a_pipeline_folder(pack, tmp_path, config):
    from animate.export import export
    from animate.painter import RegionPainter

    run(pack, tmp_path / "run", config)
    export([tmp_path / "run" / "checkpoint.pt"], tmp_path / "folder")
    index = json.loads((tmp_path / "folder" / "model_index.json").read_text())
    assert index["unet"][1] == "LandmarkUNet"
    painter = RegionPainter.from_pretrained(tmp_path / "folder")
    assert painter.pipeline.config.default_guidance_scale == 1.0


def test_several_checkpoints_are_averaged(pack, tmp_path, config):
    from safetensors.torch import load_file

    from animate.export import export

    run(pack, tmp_path / "run", config, keep=2)
    kept = [tmp_path / "run" / f"checkpoint_{step:06d}.pt" for step in (2, 4)]
    exported = []
    for name, chosen in (("a", kept[:1]), ("b", kept[1:]), ("both", kept)):
        export(chosen, tmp_path / name)
        exported.append(load_file(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors"))
    for key, value in exported[2].items():
        assert torch.allclose(value.float(), (exported[0][key].float() + exported[1][key].float()) / 2, atol=2e-3), key
    assert any(not torch.equal(exported[0][key], exported[1][key]) for key in exported[0])
