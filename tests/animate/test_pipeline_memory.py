"""Offloading, narrow storage, attention back ends, compilation; what wants a GPU says so clearly."""

import pytest
import torch

from animate.errors import OptionError
from animate.models.reference_network import ReferenceNetwork
from animate.models.unet import LandmarkUNet
from animate.pipelines.acceleration import compile_blocks, compress, offload, set_attention
from animate.pipelines.noise import FrameNoise

torch.set_num_threads(1)

FRAMES, SIZE = 3, 32


def draw(pipeline) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    portrait = torch.rand(1, 3, SIZE, SIZE, generator=generator) * 2 - 1
    landmark_map = torch.rand(1, 3, FRAMES, SIZE, SIZE, generator=generator)
    return pipeline(portrait, landmark_map, noise=FrameNoise(0, range(FRAMES))).frames


class TestOffload:
    def test_none_puts_everything_on_the_device(self, tiny_pipeline):
        offload(tiny_pipeline, "none", "meta")
        assert {part.device.type for part in (tiny_pipeline.unet, tiny_pipeline.vae, tiny_pipeline.guider)} == {"meta"}

    def test_model_by_model_runs_in_the_declared_order(self, tiny_pipeline):
        """accelerate's hooks work with the CPU as the device too: nothing moves, but each network is called by them."""
        plain = draw(tiny_pipeline)
        tiny_pipeline.enable_model_cpu_offload(device="cpu")
        assert len(tiny_pipeline._all_hooks) == 5
        assert torch.equal(draw(tiny_pipeline), plain)

    def test_layer_by_layer_finds_every_weight(self, tiny_pipeline, tmp_path):
        """Offloaded to disk, a weight that no hook brings back would be missing: the numbers prove that none is."""
        from diffusers.hooks import apply_group_offloading

        plain = draw(tiny_pipeline)
        for name, part in tiny_pipeline.components.items():
            if isinstance(part, torch.nn.Module):  # a folder each: the files bear the layers' names alone
                apply_group_offloading(
                    part,
                    onload_device=torch.device("cpu"),
                    offload_type="leaf_level",
                    offload_to_disk_path=str(tmp_path / name),
                )
                assert list((tmp_path / name).glob("*.safetensors"))
        for _ in range(2):
            torch.testing.assert_close(draw(tiny_pipeline), plain, atol=1e-5, rtol=0)

    def test_block_by_block_runs(self, tiny_pipeline):
        plain = draw(tiny_pipeline)
        tiny_pipeline.enable_group_offload(torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1)
        assert torch.equal(draw(tiny_pipeline), plain)

    @pytest.mark.parametrize("kind", ["model", "group"])
    def test_on_a_cpu_there_is_nothing_to_offload_from(self, tiny_pipeline, kind):
        with pytest.raises(OptionError, match=f"Offloading '{kind}' moves networks between a GPU"):
            offload(tiny_pipeline, kind, "cpu")

    def test_unknown_kind_is_named(self, tiny_pipeline):
        with pytest.raises(OptionError, match="Unknown offloading 'disk': choose one of none, model, group"):
            offload(tiny_pipeline, "disk", "cpu")


class TestCompress:
    def test_weights_are_narrow_and_numbers_near(self, tiny_pipeline):
        plain = draw(tiny_pipeline)
        compress(tiny_pipeline)
        unet = tiny_pipeline.unet
        assert unet.conv_in.weight.dtype == torch.float8_e4m3fn
        assert unet.conv_norm_out.weight.dtype == torch.float32
        assert unet.dtype == torch.float32  # what it computes in
        narrow = draw(tiny_pipeline)
        assert 0 < (narrow - plain).abs().mean() < 0.05

    def test_size_in_memory(self, tiny_pipeline):
        def size():
            return sum(p.numel() * p.element_size() for p in tiny_pipeline.unet.parameters())

        full = size()
        compress(tiny_pipeline)
        assert size() < 0.35 * full  # float8 is a quarter of float32, and the norms stay

    def test_computes_in_bfloat16_where_the_pipeline_does(self, tiny_pipeline):
        tiny_pipeline.to(torch.bfloat16)
        compress(tiny_pipeline)
        assert tiny_pipeline.unet.dtype == torch.bfloat16
        assert draw(tiny_pipeline).isfinite().all()


class TestAttention:
    @pytest.mark.parametrize("name", ["auto", "sdpa"])
    def test_torchs_own_changes_nothing(self, tiny_pipeline, name):
        plain = draw(tiny_pipeline)
        set_attention(tiny_pipeline, name)
        assert torch.equal(draw(tiny_pipeline), plain)

    def test_back_end_reaches_every_attention_of_both_networks(self, tiny_pipeline):
        plain = draw(tiny_pipeline)
        for network in (tiny_pipeline.unet, tiny_pipeline.reference_network):
            network.set_attention_backend("_native_math")
            assert {p._attention_backend for p in network.attn_processors.values()} == {"_native_math"}
        torch.testing.assert_close(draw(tiny_pipeline), plain, atol=1e-4, rtol=0)

    def test_other_models_of_the_process_keep_theirs(self, tiny_pipeline):
        from diffusers.models.attention_dispatch import _AttentionBackendRegistry

        before = _AttentionBackendRegistry.get_active_backend()
        _AttentionBackendRegistry.set_active_backend("_native_math")
        try:
            set_attention(tiny_pipeline, "sdpa")
            assert _AttentionBackendRegistry.get_active_backend()[0] == "_native_math"
        finally:
            _AttentionBackendRegistry.set_active_backend(before[0])

    @pytest.mark.parametrize("name", ["xformers", "flash"])
    def test_on_a_cpu_a_gpus_back_end_is_refused(self, tiny_pipeline, name):
        with pytest.raises(OptionError, match=f"back end '{name}' runs on NVIDIA GPUs only: choose sdpa on the cpu"):
            set_attention(tiny_pipeline, name)

    def test_flash_wants_half_precision(self, tiny_pipeline):
        with pytest.raises(OptionError, match="'flash' wants float16 or bfloat16"):
            set_attention(tiny_pipeline, "flash", device="cuda")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="the packages may be installed here")
    @pytest.mark.parametrize("name", ["xformers", "flash"])
    def test_package_that_is_not_there_is_named(self, tiny_pipeline, name):
        tiny_pipeline.to(torch.bfloat16)
        with pytest.raises(OptionError, match=f"back end '{name}' is not installed or too old"):
            set_attention(tiny_pipeline, name, device="cuda")

    def test_unknown_name_is_named(self, tiny_pipeline):
        with pytest.raises(OptionError, match="Unknown attention back end 'sage': choose one of auto, sdpa"):
            set_attention(tiny_pipeline, "sage")


class TestCompile:
    """With torch's "eager" back end: graphs are captured as for a real one, but nothing is generated."""

    @pytest.fixture(autouse=True)
    def fresh(self):
        torch._dynamo.reset()
        limit = torch._dynamo.config.recompile_limit
        yield
        torch._dynamo.config.recompile_limit = limit
        torch._dynamo.reset()

    @torch.no_grad()
    def test_published_layout_has_no_graph_break_and_compiles_once(self):
        """The published layout, narrow: 4 levels, 2 layers, attention in three. `fullgraph` makes a break an error."""
        from torch._dynamo.testing import CompileCounter

        torch.manual_seed(0)
        layout = {"block_out_channels": (8, 16, 32, 32), "norm_num_groups": 4, "num_attention_heads": 2}
        layout |= {"cross_attention_dim": 8, "image_embedding_dim": 16}
        unet = LandmarkUNet(**layout, motion_norm_num_groups=4, motion_num_attention_heads=2).eval()
        tokens = torch.randn(1, 5, 16)
        features = ReferenceNetwork(**layout).eval()(torch.randn(1, 4, 16, 16), tokens)
        inputs = {
            "sample": torch.randn(2, 4, 3, 16, 16),
            "encoder_hidden_states": tokens.repeat(2, 1, 1),
            "landmark_features": torch.randn(2, 8, 3, 16, 16),
            "reference_features": features,
            "unconditional_batch": 1,
        }
        plain = unet(timestep=torch.tensor(999), **inputs).sample

        class Holder:
            pass

        holder, counter = Holder(), CompileCounter()
        holder.unet = unet
        compile_blocks(holder, backend=counter, fullgraph=True)
        assert torch.equal(unet(timestep=torch.tensor(999), **inputs).sample, plain)
        graphs = counter.frame_count
        assert 10 < graphs < 30  # one for each width and resolution, not one for each of 60 blocks
        for timestep in (966, 932):
            unet(timestep=torch.tensor(timestep), **inputs)
        assert counter.frame_count == graphs

    def test_pipeline_draws_the_same_compiled(self, tiny_pipeline):
        plain = draw(tiny_pipeline)
        compile_blocks(tiny_pipeline, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(draw(tiny_pipeline), plain, atol=1e-5, rtol=0)


class TestMemory:
    def test_clip_needs_one_frames_decoder_memory(self, tiny_pipeline):
        """The codec's largest feature map exists for one frame at a time, however long the clip."""
        alive, peak = set(), []

        def hook(module, arguments, output):
            import weakref

            key = id(output)
            alive.add(key)
            weakref.finalize(output, alive.discard, key)
            peak.append(len(alive))

        tiny_pipeline.vae.decoder.conv_norm_out.register_forward_hook(hook)
        tiny_pipeline.decode_clip(torch.randn(1, 4, 6, 4, 4))
        assert len(peak) == 6
        assert max(peak) == 1
