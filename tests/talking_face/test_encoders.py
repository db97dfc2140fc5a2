"""Speech encoders: one interface for the own features and for a HuBERT or wav2vec 2.0 network from a folder."""

import json
import sys

import numpy as np
import pytest

from animate.errors import OptionError
from talking_face.encoders import BLOCK, CONTEXT, LogMel, load_encoder
from talking_face.features import FEATURES, HOP, audio_features

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def hiss(samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def save(folder, kind: str, **changes):
    """A tiny network with random weights, as transformers saves it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = SIZES | changes
    network = {
        "hubert": lambda: transformers.HubertModel(transformers.HubertConfig(**sizes)),
        "wav2vec2": lambda: transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes)),
        "bert": lambda: transformers.BertModel(
            transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
        ),
    }[kind]()
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    return save(tmp_path_factory.mktemp("hubert"), "hubert")


def test_log_mel_is_the_features():
    encoder = load_encoder("log-mel")
    assert isinstance(encoder, LogMel) and encoder.dimensions == FEATURES
    np.testing.assert_array_equal(encoder.encode(hiss(5000)), audio_features(hiss(5000)))


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
@pytest.mark.parametrize("samples", [0, 1, 320, 321, 16000])
def test_a_network_gives_as_many_rows_as_the_features(tmp_path, kind, samples):
    encoder = load_encoder(save(tmp_path, kind))
    rows = encoder.encode(hiss(samples))
    assert rows.shape == (max(1, -(-samples // HOP)), 16) and encoder.dimensions == 16
    assert rows.dtype == np.float32 and np.isfinite(rows).all()


def test_rows_are_the_network_s_own(hubert):
    import torch
    from transformers import HubertModel

    sound = hiss(16000)
    (hubert / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    rows = load_encoder(hubert).encode(sound)
    (hubert / "preprocessor_config.json").unlink()
    padded = torch.from_numpy(np.pad(sound, 200)[:16080])[None]  # the field of 400 samples, centred on the first
    with torch.inference_mode():
        wanted = HubertModel.from_pretrained(hubert).eval()(padded).last_hidden_state[0].numpy()
    np.testing.assert_allclose(rows, wanted, atol=1e-5)


def test_loudness_does_not_matter_to_a_network_of_normalised_sound(hubert):
    encoder = load_encoder(hubert)
    np.testing.assert_allclose(encoder.encode(hiss(8000)), encoder.encode(hiss(8000) * 0.1), atol=1e-3)


def test_a_long_sound_is_read_in_blocks_at_absolute_times(hubert):
    encoder = load_encoder(hubert)
    sound = hiss((2 * BLOCK + 30) * HOP)
    rows = encoder.encode(sound)
    assert len(rows) == 2 * BLOCK + 30
    changed = sound.copy()
    changed[(BLOCK + CONTEXT) * HOP + 400 :] = 0  # beyond what the first block sees
    np.testing.assert_array_equal(encoder.encode(changed)[:BLOCK], rows[:BLOCK])
    assert not np.allclose(encoder.encode(changed)[BLOCK:], rows[BLOCK:])


def test_missing_transformers_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OptionError, match=r"transformers: pip install 'mien\[train\]'"):
        load_encoder(tmp_path)
    assert load_encoder("log-mel").encode(hiss(10)).shape == (1, FEATURES)


@pytest.mark.parametrize(
    "content", [{}, {"config.json": "{}"}, {"config.json": "no json"}], ids=["empty", "bare", "text"]
)
def test_a_folder_that_holds_no_encoder_is_said(tmp_path, content):
    pytest.importorskip("transformers")
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(OptionError, match="speech encoder") as caught:
        load_encoder(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_another_kind_of_network_is_said(tmp_path):
    with pytest.raises(OptionError, match="type 'bert'.*hubert"):
        load_encoder(save(tmp_path, "bert"))


def test_another_rate_of_rows_is_said(tmp_path):
    folder = save(tmp_path, "hubert", conv_stride=[5, 2, 2, 2, 2, 2, 1])
    with pytest.raises(OptionError, match="a row every 160 samples"):
        load_encoder(folder)


def test_pickled_weights_are_never_read(tmp_path):
    torch = pytest.importorskip("torch")
    (save(tmp_path, "hubert") / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(OptionError, match="cannot be read as a speech encoder"):
        load_encoder(tmp_path)


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    path = save(tmp_path, "hubert") / "model.safetensors"
    weights = load_file(path)
    weights.pop("feature_projection.projection.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(OptionError, match="lack feature_projection.projection.weight"):
        load_encoder(tmp_path)
