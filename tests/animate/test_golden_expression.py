"""Key names, shapes and numbers of FantasyPortrait's networks; the data is in `golden/` (README there)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from animate.models.dit import ExpressionDiT
from animate.models.portrait_tokens import PortraitTokens
from bench.golden.expression import TOKEN_NETWORKS, build_expression_networks, run_expression
from weights.wan_keys import to_diffusers

torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"
BAR = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def config():
    return json.loads((GOLDEN / "fp_tiny_config.json").read_text())


@pytest.fixture(scope="module")
def truth():
    with safe_open(GOLDEN / "fp_tiny.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()} | {  # noqa: SIM118
            name: int(value) for name, value in file.metadata().items()
        }


@pytest.fixture(scope="module")
def inputs(truth):
    generator = torch.Generator().manual_seed(truth["seed"])
    shapes = {
        "features": (1, 9, 554),
        "latent": (1, 16, 3, 8, 8),
        "condition": (20, 3, 8, 8),
        "text": (1, 10, 32),
        "clip": (1, 257, 1280),
    }
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return drawn | {"timestep": truth["timestep"]}


@pytest.fixture(scope="module")
def ours(config, inputs, truth):
    wanted = {name: truth[name] for name in ("dit_ip0", "dit_ip1")}
    with torch.inference_mode():
        return run_expression(build_expression_networks(config), inputs | wanted)


class TestKeys:
    @pytest.mark.parametrize(
        ("part", "count", "millions"), [*zip(TOKEN_NETWORKS, (6, 51, 51), (1.14, 81.98, 81.35), strict=True)]
    )
    def test_token_networks_have_the_published_keys_and_shapes(self, config, part, count, millions):
        with torch.device("meta"):
            network = getattr(PortraitTokens(), part)
        own = {key: list(value.shape) for key, value in network.state_dict().items()}
        assert own == config["keys"][part] and len(own) == count
        assert sum(value.numel() for value in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)

    def test_the_default_transformer_has_the_published_adapter(self):
        with torch.device("meta"):
            own = {key: tuple(value.shape) for key, value in ExpressionDiT().state_dict().items()}
        adapter = to_diffusers(
            {
                f"blocks.{block}.cross_attn.processor.ip_adapter_single_stream_{part}_proj.weight": (5120, 2048)
                for block in range(40)
                for part in "kv"
            }
        )
        assert len(adapter) == 80 and adapter.items() <= own.items()

    def test_the_rest_is_wan(self):
        from diffusers import WanTransformer3DModel

        with torch.device("meta"):
            ours, wan = ExpressionDiT(), WanTransformer3DModel(in_channels=36, image_dim=1280, added_kv_proj_dim=5120)
        own = {key for key in ours.state_dict() if "_expression" not in key}
        assert own == wan.state_dict().keys()


class TestNumbers:
    @pytest.mark.parametrize("name", ["features", "latent", "condition", "text", "clip"])
    def test_inputs_are_those_that_the_numbers_were_made_of(self, inputs, truth, name):
        few = inputs[name].flatten()[:: max(1, inputs[name].numel() // 32)]
        torch.testing.assert_close(few, truth[f"input.{name}"], atol=1e-6, rtol=0)

    @pytest.mark.parametrize("name", ["adapter_tokens", "adapter_tokens_per_latent_frame"])
    def test_tokens(self, ours, truth, name):
        torch.testing.assert_close(ours[name].flatten()[:: truth["stride"]], truth[name], **BAR)

    @pytest.mark.parametrize("name", ["dit_ip0", "dit_ip1"])
    def test_transformer(self, ours, truth, name):
        torch.testing.assert_close(ours[name], truth[name], **BAR)

    def test_the_adapter_is_seen(self, truth):
        assert (truth["dit_ip1"] - truth["dit_ip0"]).abs().max() > 1000 * BAR["atol"]
