"""MotionProjection: from our motion to the encoder's features, its training, and where it is put."""

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch

from animate.errors import MotionError, OptionError, WeightsError
from animate.expression_clip import ExpressionTrack
from animate.models.motion_projection import INPUTS, MotionProjection, landmark_vectors, motion_vectors
from animate.pipelines.expression import ExpressionPipeline
from animate.retarget import retarget
from animate.train_projection import (
    CHECKPOINT,
    FEATURES,
    MOTION,
    ProjectionConfig,
    add_to_pipeline,
    projection_loss,
    read_pairs,
    train,
)

torch.set_num_threads(1)

TINY = {"batch": 16, "width": 16}


@pytest.fixture(scope="module")
def pairs(talk, tmp_path_factory):
    """A folder of a real motion and made-up features that follow from it."""
    folder = tmp_path_factory.mktemp("pairs")
    vectors = motion_vectors(talk.expression, talk.gaze, talk.rotation)
    mixing = np.random.default_rng(0).normal(size=(INPUTS, 554)) / 10
    features = np.tanh((vectors - vectors.mean(0)) @ mixing).astype(np.float32)
    (folder / "clip").mkdir()
    talk.save(folder / "clip" / MOTION)
    ExpressionTrack(features, np.ones(len(talk), bool), Fraction(25)).save(folder / "clip" / FEATURES)
    return folder


@pytest.fixture(scope="module")
def data(pairs):
    return read_pairs(pairs)


def test_a_motion_retargeted_onto_its_own_driver_says_the_same(talk):
    """What the animator reads off target landmarks is what training reads off a motion."""
    neutral = talk.take(np.array([talk.neutral_index])).landmarks()[0].astype(np.float32)
    wanted = motion_vectors(talk.expression, talk.gaze, talk.rotation)
    made = landmark_vectors(retarget(neutral, talk), neutral)
    assert made.shape == wanted.shape == (len(talk), INPUTS)
    mouth = slice(0, 1434)
    assert np.corrcoef(made[:, mouth].ravel(), wanted[:, mouth].ravel())[0, 1] > 0.95
    assert np.abs(made[:, 1438:] - wanted[:, 1438:]).max() < 0.05  # radians


def test_output_is_standardised_by_its_buffers(data):
    network = MotionProjection(hidden_dim=8).eval()
    network.standardise(*data)
    with torch.no_grad():
        made, raw = network(data[0]), network.predict(data[0])
        assert torch.allclose(made, raw * network.feature_std + network.feature_mean)
    assert torch.allclose(network.feature_mean, data[1].mean(0), atol=1e-5)
    assert (network.motion_std > 0).all()
    with pytest.raises(ValueError, match="1441"):
        network(torch.zeros(2, 7))


def test_each_part_counts_alike(data):
    network = MotionProjection(hidden_dim=8).eval()
    network.standardise(*data)
    wanted = data[1].clone()
    with torch.no_grad():
        perfect = network(data[0])
        for part in (slice(0, 6), slice(6, 12), slice(12, 42), slice(42, 554)):
            wanted = perfect.clone()
            wanted[:, part] += 10 * network.feature_std[part]
            assert float(projection_loss(network, data[0], wanted)) == pytest.approx(9.5 / 4, rel=1e-3)


def test_the_loss_falls(data, tmp_path):
    train(*data, tmp_path, ProjectionConfig(steps=150, rate=5e-3, **TINY), every=25)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 6 and losses[-1] < 0.4 * losses[0]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(data, tmp_path):
    config = ProjectionConfig(steps=30, **TINY)
    whole = train(*data, tmp_path / "whole", config).state_dict()
    train(*data, tmp_path / "halves", config, until=17)
    resumed = train(*data, tmp_path / "halves", config, resume=True).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert torch.load(tmp_path / "halves" / CHECKPOINT, weights_only=True)["step"] == 30
    with pytest.raises(OptionError, match="other options"):
        train(*data, tmp_path / "halves", ProjectionConfig(steps=31, **TINY), resume=True)


def test_frames_that_were_bridged_teach_nothing(pairs, tmp_path, talk):
    shutil.copytree(pairs, tmp_path / "pairs")
    track = ExpressionTrack.load(pairs / "clip" / FEATURES)
    track.valid[:10] = False
    track.save(tmp_path / "pairs" / "clip" / FEATURES)
    vectors, features = read_pairs(tmp_path / "pairs")
    assert len(vectors) == len(features) == talk.valid[10:].sum()


def test_folders_that_hold_no_pairs_are_one_sentence(pairs, tmp_path, talk):
    with pytest.raises(MotionError, match="no pairs"):
        read_pairs(tmp_path)
    shutil.copytree(pairs, tmp_path / "pairs")
    talk.take(slice(0, 5)).save(tmp_path / "pairs" / "clip" / MOTION)
    with pytest.raises(MotionError, match="5 frames of motion but 75"):
        read_pairs(tmp_path / "pairs")


def test_a_pipeline_gets_the_network(data, tiny_expression_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_expression_folder, folder)
    network = train(*data, tmp_path / "run", ProjectionConfig(steps=1, **TINY))
    add_to_pipeline(network, folder)
    loaded = ExpressionPipeline.from_pretrained(folder).motion_projection
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    with pytest.raises(WeightsError, match="model_index"):
        add_to_pipeline(network, tmp_path)
