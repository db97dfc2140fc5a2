"""The check of the published networks' numbers, on vectors of our own networks and on the published ones."""

import importlib.util
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from animate.errors import WeightsError
from bench.golden.networks import build_networks, fill_by_name
from bench.golden.run import find_config, main, run_follow_your_emoji

torch.set_num_threads(1)

# As little as motion modules with 32 groups allow: two levels of 32 channels, 8 CLIP tokens of 16 channels.
CONFIG = {
    "unet": {
        "block_out_channels": [32, 32],
        "attention_head_dim": 4,
        "cross_attention_dim": 8,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
        "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
        "motion_module_resolutions": [1, 2],
        "motion_module_kwargs": {
            "num_attention_heads": 2,
            "attention_block_types": ["Temporal_Self"],
            "temporal_position_encoding_max_len": 5,
        },
        "use_inflated_groupnorm": True,
    },
    "referencenet": {
        "block_out_channels": [32, 32],
        "attention_head_dim": 4,
        "cross_attention_dim": 8,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    },
    "guider": {"conditioning_embedding_channels": 32, "block_out_channels": [4, 4, 4, 4]},
}


@torch.no_grad()
def make_vectors(path, guidance=False, batch=1, frames=2, height=4, width=8, timestep=500, config=CONFIG):
    """Write vectors whose outputs are our own networks'."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    stored = {
        "clip_last_hidden_state": draw(batch, 8, 16),
        "reference_latent": draw(batch, 4, height, width),
        "landmark_map": draw(batch, 3, frames, 8 * height, 8 * width),
        "sample": draw(batch, 4, frames, height, width),
        "timestep": torch.tensor([timestep]),
        "unet": torch.zeros(batch * (1 + guidance), 4, frames, height, width),
    }
    stored |= run_follow_your_emoji(build_networks(config, 16), stored)
    save_file({name: value.contiguous() for name, value in stored.items()}, path)
    return stored


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fye_small_config.json").write_text(json.dumps(CONFIG))
    make_vectors(tmp_path / "fye_small_nocfg.safetensors")
    return tmp_path


def change(path, **values):
    """Replace stored tensors; None takes one away."""
    stored = load_file(path) | values
    save_file({name: value for name, value in stored.items() if value is not None}, path)


class TestPublished:
    def test_the_published_vectors_pass(self, shared, capsys):
        assert main([str(shared / "golden")]) == 0
        printed = capsys.readouterr().out
        assert "dit_ip0" in printed and "adapter_tokens_per_latent_frame" in printed
        assert "pass  40 of 40 tensors within 0.0001" in printed

    def test_the_filling_is_the_published_one(self, shared):
        spec = importlib.util.spec_from_file_location("golden_fill", shared / "golden" / "fill.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        ours, theirs = (build_networks(CONFIG, 16).unet for _ in range(2))
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.zero_()
        module.fill_(theirs.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


class TestFilling:
    def test_values_depend_on_name_and_shape_alone(self):
        first, second = nn.Linear(3, 5), nn.Sequential(nn.Linear(3, 5))
        for network in (first, second, again := nn.Linear(3, 5)):
            fill_by_name(network)
        assert torch.equal(first.weight, again.weight)
        assert not torch.equal(first.weight, second[0].weight)  # "0.weight"

    def test_kinds_of_tensors(self):
        norm, linear, other = nn.BatchNorm1d(2000), nn.Linear(50, 40), nn.Module()
        other.register_buffer("pe", torch.zeros(1, 2, 3))
        other.add_module("table", nn.Module())
        other.table.register_buffer("pe", torch.zeros(1, 2, 3))
        for network in (norm, linear, other):
            fill_by_name(network)
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.02)
        assert norm.bias.mean().item() == pytest.approx(0, abs=0.02)
        assert norm.weight.std().item() == pytest.approx(0.1, abs=0.01)
        assert norm.num_batches_tracked == 0
        assert linear.weight.std().item() == pytest.approx(0.05, abs=0.005)
        assert not other.table.pe.any()


class TestNumbers:
    @pytest.mark.parametrize(
        "case",
        [
            {},
            {"guidance": True},
            {"guidance": True, "batch": 2, "frames": 1, "height": 6, "width": 4},
            {"batch": 2, "frames": 5, "height": 3, "width": 5, "timestep": 0},
        ],
        ids=str,
    )
    def test_any_size_guidance_and_timestep(self, folder, capsys, case):
        make_vectors(folder / "fye_small_nocfg.safetensors", **case)
        assert main([str(folder)]) == 0
        printed = capsys.readouterr().out
        # one map of the way down, one of the middle, two of the way up; the guider's; the denoiser's
        assert "pass  6 of 6 tensors within 0.0001" in printed and "reference_up_1" in printed

    @pytest.mark.parametrize("name", ["unet", "guider", "reference_mid"])
    def test_one_value_too_far_off_fails(self, folder, capsys, name):
        path = folder / "fye_small_nocfg.safetensors"
        value = load_file(path)[name]
        value.view(-1)[3] += 2e-4
        change(path, **{name: value})
        assert main([str(folder)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[1] for line in lines if "too far" in line] == [name]
        assert lines[-1] == "FAIL  5 of 6 tensors within 0.0001"
        assert main([str(folder), "--tolerance", "1e-3"]) == 0

    def test_what_is_not_a_number_is_too_far(self, folder):
        path = folder / "fye_small_nocfg.safetensors"
        value = load_file(path)["unet"]
        value.view(-1)[0] = torch.nan
        change(path, unet=value)
        assert main([str(folder), "--json", str(folder / "out.json")]) == 1
        rows = json.loads((folder / "out.json").read_text())["differences"]
        assert [row["largest"] for row in rows if row["tensor"] == "unet"] == [None]

    def test_another_shape_is_told(self, folder, capsys):
        change(folder / "fye_small_nocfg.safetensors", reference_mid=torch.zeros(1, 7, 32))
        assert main([str(folder)]) == 1
        assert "ours is 1 x 8 x 32" in capsys.readouterr().out

    def test_a_missing_output_is_told_and_the_others_are_checked(self, folder, capsys):
        change(folder / "fye_small_nocfg.safetensors", guider=None, extra=torch.zeros(2))
        assert main([str(folder)]) == 0
        printed = capsys.readouterr().out
        assert "not stored" in printed and "not checked" in printed and "pass  5 of 5" in printed

    def test_a_feature_map_that_ours_lacks_fails(self, folder, capsys):
        change(folder / "fye_small_nocfg.safetensors", reference_down_1=torch.zeros(1, 8, 32))
        assert main([str(folder)]) == 1
        assert "ours has none" in capsys.readouterr().out


class TestConfigurations:
    @pytest.mark.parametrize(
        ("vectors", "config"),
        [
            ("fye_tiny_cfg", "fye_tiny_config.json"),
            ("fye_tiny", "fye_tiny_config.json"),
            ("fye_tiny_wide_nocfg", "fye_tiny_wide_config.json"),
            ("fp_tiny", "fp_tiny_config.json"),
        ],
    )
    def test_the_name_tells_which(self, tmp_path, vectors, config):
        for name in ("fye_tiny", "fye_tiny_wide", "fp_tiny"):
            (tmp_path / f"{name}_config.json").touch()
        assert find_config(tmp_path / f"{vectors}.safetensors").name == config

    def test_a_single_one_serves_all_and_none_is_none(self, tmp_path):
        assert find_config(tmp_path / "fye_a.safetensors") is None
        (tmp_path / "fye_tiny_config.json").touch()
        assert find_config(tmp_path / "fye_a.safetensors").name == "fye_tiny_config.json"

    def test_several_that_do_not_fit_are_an_error(self, tmp_path):
        for name in ("fye_b_config.json", "fye_c_config.json"):
            (tmp_path / name).touch()
        with pytest.raises(WeightsError, match="none of the 2 configurations"):
            find_config(tmp_path / "fye_a.safetensors")

    def test_settings_reach_the_networks(self):
        unet = build_networks(CONFIG, 16).unet
        assert unet.config.num_attention_heads == 4 and unet.config.motion_module_levels == [0, 1]
        assert unet.config.motion_num_attentions == 1 and unet.config.motion_max_frames == 5

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"use_linear_projection": True}, "use_linear_projection True"),
            ({"motion_module_kwargs": {"num_transformer_block": 2}}, "num_transformer_block 2"),
            ({"motion_module_kwargs": {"attention_block_types": ["Spatial_Self"]}}, "Spatial_Self"),
            ({"down_block_types": ["DownBlock3D", "Odd"]}, "unknown block type 'Odd'"),
        ],
    )
    def test_another_network_is_named(self, change, message):
        with pytest.raises(WeightsError, match=message):
            build_networks(CONFIG | {"unet": CONFIG["unet"] | change}, 16)


class TestBadInput:
    def check(self, folder, capsys, *words):
        assert main([str(folder)]) == 2
        sentence = capsys.readouterr().err.strip().splitlines()[-1]
        assert sentence.endswith(".") and all(word in sentence for word in words), sentence

    def test_folders_without_vectors(self, tmp_path, capsys):
        self.check(tmp_path / "none", capsys, "is not a folder")
        (tmp_path / "other_tiny.safetensors").touch()
        self.check(tmp_path, capsys, "holds no fye_*.safetensors and no fp_*.safetensors")

    def test_a_damaged_file_does_not_hide_the_others(self, folder, capsys):
        (folder / "fye_a.safetensors").write_bytes(b"no safetensors")
        assert main([str(folder), "--json", str(folder / "out.json")]) == 2
        printed = capsys.readouterr()
        assert "fye_a.safetensors cannot be checked: it cannot be read as safetensors." in printed.err
        assert "pass  6 of 6" in printed.out
        assert json.loads((folder / "out.json").read_text())["passed"] is False

    @pytest.mark.parametrize("name", ["sample", "unet", "timestep"])
    def test_a_missing_input_is_named(self, folder, capsys, name):
        change(folder / "fye_small_nocfg.safetensors", **{name: None})
        self.check(folder, capsys, "fye_small_nocfg.safetensors", f"it lacks {name}")

    def test_a_batch_that_no_guidance_explains(self, folder, capsys):
        change(folder / "fye_small_nocfg.safetensors", unet=torch.zeros(3, 4, 2, 4, 8))
        self.check(folder, capsys, "batch of 3")

    def test_inputs_of_another_configuration(self, folder, capsys):
        change(folder / "fye_small_nocfg.safetensors", sample=torch.zeros(1, 9, 2, 4, 8))
        self.check(folder, capsys, "do not fit its configuration")

    @pytest.mark.parametrize("text", ["{", "[]", "{}"])
    def test_a_configuration_that_is_none(self, folder, capsys, text):
        (folder / "fye_small_config.json").write_text(text)
        self.check(folder, capsys, "configuration")
