"""The check of FantasyPortrait's numbers, on vectors of our own networks; the published ones are in test_golden."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from animate.errors import WeightsError
from animate.models.dit import ExpressionDiT
from animate.models.portrait_tokens import PortraitTokens
from bench.golden.expression import build_expression_networks, run_expression, scales
from bench.golden.run import main
from weights.wan_keys import IN_BLOCK, WHOLE

torch.set_num_threads(1)


def published(key):
    begin, names = "", WHOLE
    if key.startswith("blocks."):
        _, number, key = key.split(".", 2)
        begin, names = f"blocks.{number}.", IN_BLOCK
    inverse = {ours: theirs for theirs, ours in names.items()}
    stem, dot, last = key.rpartition(".")
    return begin + (inverse[key] if key in inverse else f"{inverse[stem]}{dot}{last}")


def make_config():
    """As little as the published layout allows: one block of 24 channels, tokens of 8, resamplers of 64."""
    with torch.device("meta"):
        transformer = ExpressionDiT(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=6,
            out_channels=3,
            text_dim=8,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
            image_dim=10,
            added_kv_proj_dim=24,
            expression_dim=8,
        )
        tokens = PortraitTokens(
            (2, 3, 4, 5), 8, dim=12, depth=1, heads=1, head_dim=64, mouth_tokens=3, emotion_tokens=2
        )
    keys = {"dit": {published(key): list(value.shape) for key, value in transformer.state_dict().items()}}
    for part in ("proj_model", "mouth_proj_model", "emo_proj_model"):
        state = getattr(tokens, part).state_dict()
        keys[part] = {key: list(value.shape) for key, value in state.items()}
    return {"dit": {"model_type": "i2v", "dim": 24, "num_heads": 2, "num_layers": 1, "text_len": 6}, "keys": keys}


@pytest.fixture(scope="module")
def config():
    return make_config()


@torch.no_grad()
def make_vectors(path, config, latent_frames=2, height=4, width=6, batch=1, missing=0, text=4, outputs=("0", "1")):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    stored = {
        "features": draw(batch, 4 * latent_frames - 3 - missing, 14),
        "latent": draw(batch, 3, latent_frames, height, width),
        "condition": draw(3, latent_frames, height, width),
        "text": draw(1, text, 8),
        "clip": draw(1, 5, 10),
        "timestep": torch.tensor([300.0]),
    }
    wanted = {f"dit_ip{scale}": torch.zeros(1) for scale in outputs}
    stored |= run_expression(build_expression_networks(config), stored | wanted)
    save_file({name: value.contiguous() for name, value in stored.items()}, path)
    return stored


@pytest.fixture
def folder(tmp_path, config):
    (tmp_path / "fp_small_config.json").write_text(json.dumps(config))
    make_vectors(tmp_path / "fp_small.safetensors", config)
    return tmp_path


def change(path, **values):
    """Replace stored tensors; None takes one away."""
    stored = load_file(path) | values
    save_file({name: value for name, value in stored.items() if value is not None}, path)


class TestNumbers:
    @pytest.mark.parametrize(
        ("case", "count"),
        [
            ({}, 4),
            ({"latent_frames": 1, "height": 2, "width": 2}, 4),
            ({"batch": 2, "latent_frames": 3}, 4),
            ({"missing": 2, "text": 6}, 4),
            ({"outputs": ("0", "1", "0.5")}, 5),
        ],
        ids=str,
    )
    def test_any_size_and_scale(self, folder, config, capsys, case, count):
        make_vectors(folder / "fp_small.safetensors", config, **case)
        assert main([str(folder)]) == 0
        assert f"pass  {count} of {count} tensors within 0.0001" in capsys.readouterr().out

    @pytest.mark.parametrize("name", ["dit_ip0", "dit_ip1", "adapter_tokens", "adapter_tokens_per_latent_frame"])
    def test_one_value_too_far_off_fails(self, folder, capsys, name):
        path = folder / "fp_small.safetensors"
        value = load_file(path)[name]
        value.view(-1)[3] += 2e-4
        change(path, **{name: value})
        assert main([str(folder)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[1] for line in lines if "too far" in line] == [name]

    def test_scales_are_read_from_the_names(self):
        assert scales(dict.fromkeys(["dit_ip0", "dit_ip0.25", "dit_ipmask", "latent"])) == {
            "dit_ip0": 0,
            "dit_ip0.25": 0.25,
        }

    def test_the_adapter_changes_the_output(self, folder):
        stored = load_file(folder / "fp_small.safetensors")
        assert (stored["dit_ip0"] - stored["dit_ip1"]).abs().max() > 1e-2


class TestBadInput:
    def check(self, folder, capsys, *words):
        assert main([str(folder)]) == 2
        sentence = capsys.readouterr().err.strip().splitlines()[-1]
        assert sentence.endswith(".") and all(word in sentence for word in words), sentence

    @pytest.mark.parametrize("name", ["features", "clip", "timestep"])
    def test_a_missing_input_is_named(self, folder, capsys, name):
        change(folder / "fp_small.safetensors", **{name: None})
        self.check(folder, capsys, "fp_small.safetensors", f"it lacks {name}")

    def test_no_output(self, folder, capsys):
        change(folder / "fp_small.safetensors", dit_ip0=None, dit_ip1=None)
        self.check(folder, capsys, "it lacks dit_ip1")

    def test_no_configuration(self, folder, capsys):
        (folder / "fp_small_config.json").unlink()
        self.check(folder, capsys, "no configuration beside it")

    def test_inputs_of_another_configuration(self, folder, capsys):
        change(folder / "fp_small.safetensors", text=torch.zeros(1, 4, 9))
        self.check(folder, capsys, "do not fit its configuration")

    def test_another_kind_of_network(self, config):
        with pytest.raises(WeightsError, match="model_type 't2v'"):
            build_expression_networks(config | {"dit": config["dit"] | {"model_type": "t2v"}})

    def test_keys_that_are_not_ours(self, config):
        keys = config["keys"] | {"dit": config["keys"]["dit"] | {"odd.weight": [3]}}
        with pytest.raises(WeightsError, match="1 unexpected: odd.weight"):
            build_expression_networks(config | {"keys": keys})
        with pytest.raises(WeightsError, match="cannot be built"):
            build_expression_networks({"dit": {}})
