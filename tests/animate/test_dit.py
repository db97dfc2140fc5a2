"""ExpressionDiT: Wan without an expression, each face its own driver with one, and diffusers' services on it.

A network of one layer mixes video tokens before the adapter and not after it, so that what a face's tokens give tells
whom they attended to.
"""

import copy

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import nn

from animate.errors import OptionError
from animate.models.character_mask import CharacterMask, regions_from_boxes
from animate.models.dit import ExpressionDiT
from animate.models.dit_attention import Conditioning, ExpressionAttnProcessor
from animate.models.kept_states import KeptStates

torch.set_num_threads(1)

TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 8,
    "freq_dim": 16,
    "ffn_dim": 16,
    "num_layers": 1,
    "image_dim": 6,
    "added_kv_proj_dim": 24,
    "rope_max_seq_len": 16,
}
GRID = (2, 4, 12)
SIZE = (4 * 16, 12 * 16)
TOKENS = 5


def build(layers=1, trained=True):
    torch.manual_seed(0)
    dit = ExpressionDiT(**TINY | {"num_layers": layers}, expression_dim=10)
    if trained:
        for block in dit.blocks:
            nn.init.normal_(block.attn2.to_v_expression.weight)
            nn.init.normal_(block.attn2.to_k_expression.weight)
    return dit.eval()


@pytest.fixture(scope="module")
def dit():
    return build()


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(batch=1, text=7, **more):
    frames, rows, columns = GRID
    return {
        "hidden_states": draw(batch, 4, frames, 2 * rows, 2 * columns, seed=1),
        "timestep": torch.full((batch,), 300.0),
        "encoder_hidden_states": draw(batch, text, 8, seed=2),
        "encoder_hidden_states_image": draw(batch, 9, 6, seed=3),
    } | more


def expression(number=1, batch=1, seed=4):
    return draw(batch, GRID[0], number * TOKENS, 10, seed=seed)


def regions(number):
    """N faces side by side with gaps between: (N, 1, h, w)."""
    width = SIZE[1] / number
    left = torch.arange(number) * width
    full = torch.full((number,), 0.0)
    boxes = torch.stack([left + 0.2 * width, full, left + 0.8 * width, full + 40], dim=-1)
    return regions_from_boxes(boxes[:, None], SIZE, GRID)


def pixels(where):
    """(h, w) video tokens -> (2h, 2w) of the sample."""
    return where.repeat_interleave(2, 0).repeat_interleave(2, 1)


class TestWan:
    @torch.no_grad()
    @pytest.mark.parametrize("batch", [1, 2])
    def test_bit_for_bit_without_an_expression_or_with_scale_0(self, batch):
        dit = build(layers=2)
        wan = WanTransformer3DModel(**TINY | {"num_layers": 2}).eval()
        wan.load_state_dict({key: value for key, value in dit.state_dict().items() if "_expression" not in key})
        given = inputs(batch, text=512)  # the only length that Wan's own attention takes beside an image
        truth = wan(**given).sample
        assert torch.equal(dit(**given).sample, truth)
        assert torch.equal(dit(**given, expression=expression(), expression_scale=0.0).sample, truth)
        assert not torch.equal(dit(**given, expression=expression()).sample, truth)

    @torch.no_grad()
    def test_text_of_any_length_beside_an_image(self, dit):
        """Tokens are the image's or the text's whatever their number: each goes through its own projections."""
        given = inputs(text=3)
        plain = dit(**given).sample
        changed = copy.deepcopy(dit)
        nn.init.zeros_(changed.blocks[0].attn2.add_v_proj.weight)
        nn.init.zeros_(changed.blocks[0].attn2.add_v_proj.bias)
        dropped = changed(**given | {"encoder_hidden_states_image": draw(1, 9, 6, seed=9)}).sample
        assert torch.equal(changed(**given).sample, dropped) and not torch.equal(plain, dropped)
        without = dit(**given | {"encoder_hidden_states_image": None}).sample
        torch.testing.assert_close(without, dropped)

    @torch.no_grad()
    def test_an_untrained_adapter_changes_nothing(self):
        dit = build(trained=False)
        torch.testing.assert_close(dit(**inputs(), expression=expression()).sample, dit(**inputs()).sample)

    @torch.no_grad()
    def test_tuple(self, dit):
        assert torch.equal(dit(**inputs(), return_dict=False)[0], dit(**inputs()).sample)


class TestAdapter:
    """The attention of a block against sums written out."""

    @torch.no_grad()
    @pytest.mark.parametrize("number", [1, 3])
    def test_attention_is_within_a_latent_frame(self, dit, number):
        attn, frames, tokens = dit.blocks[0].attn2, GRID[0], GRID[1] * GRID[2]
        hidden, context, spoken = draw(2, frames * tokens, 24), draw(2, 16, 24, seed=6), expression(number, 2)
        mask = CharacterMask.from_regions(regions(number), GRID, TOKENS) if number > 1 else None
        rows = mask.at(0, frames, "cpu", torch.float32) if mask else None
        conditioning = Conditioning(9, spoken, 0.7, tokens, 0, frames * tokens)
        if rows:
            conditioning.mask, conditioning.lonely = rows.mask, rows.lonely
        with dit.current.use(Conditioning(9)):
            plain = attn(hidden, context)
        with dit.current.use(conditioning):
            ours = attn(hidden, context)

        query = attn.norm_q(attn.to_q(hidden)).reshape(2, frames, tokens, 2, 12)
        key, value = (
            project(spoken).reshape(2, frames, -1, 2, 12) for project in (attn.to_k_expression, attn.to_v_expression)
        )
        logits = torch.einsum("bfshd,bflhd->bfhsl", query, key) / 12**0.5
        if mask:
            owner = mask.weights.flatten(1, 2).repeat_interleave(TOKENS, dim=-1)  # (F, hw, L)
            logits = logits.masked_fill(~owner[None, :, None], -torch.inf)
        weights = logits.softmax(-1).nan_to_num(0)
        adapter = torch.einsum("bfhsl,bflhd->bfshd", weights, value).reshape(2, frames * tokens, 24)
        torch.testing.assert_close(ours, plain + 0.7 * adapter @ attn.to_out[0].weight.T, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_one_expression_for_the_whole_batch(self, dit):
        one = expression()
        given = inputs(2)
        torch.testing.assert_close(
            dit(**given, expression=one).sample, dit(**given, expression=one.repeat(2, 1, 1, 1)).sample
        )

    @torch.no_grad()
    def test_parts_of_frames(self, dit):
        """A process that holds a part of the tokens makes of them what one that holds all does."""
        attn, tokens = dit.blocks[0].attn2, GRID[1] * GRID[2]
        hidden, context, spoken = draw(2, 2 * tokens, 24), draw(2, 16, 24, seed=6), expression(2)
        mask = CharacterMask.from_regions(regions(2), GRID, TOKENS)

        def run(start, stop):
            now = Conditioning(9, spoken, 1.0, tokens, start, stop - start)
            rows = mask.at(*now.frames, "cpu", torch.float32)
            now.mask, now.lonely = rows.mask, rows.lonely
            with dit.current.use(now):
                return attn(hidden[:, start:stop], context)

        whole = run(0, 2 * tokens)
        for start, stop in ((0, tokens), (tokens, 2 * tokens), (0, 30), (30, 70), (70, 2 * tokens), (50, 51)):
            torch.testing.assert_close(run(start, stop), whole[:, start:stop], atol=1e-6, rtol=1e-5)


class TestCharacters:
    @torch.no_grad()
    @pytest.mark.parametrize("number", range(2, 7))
    @pytest.mark.parametrize("background", ["none", "nearest"])
    def test_another_drivers_tokens_change_nothing_bit_for_bit(self, dit, number, background):
        mask = CharacterMask.from_regions(regions(number), GRID, TOKENS, background=background)
        spoken = expression(number)
        plain = dit(**inputs(), expression=spoken, expression_mask=mask).sample
        for driver in range(number):
            other = spoken.clone()
            other[:, :, driver * TOKENS : (driver + 1) * TOKENS] = 10 * expression(seed=driver + 20)
            changed = dit(**inputs(), expression=other, expression_mask=mask).sample
            own = torch.stack([pixels(frame) for frame in mask.weights[..., driver]])  # (F, 2h, 2w)
            assert torch.equal(changed[:, :, ~own], plain[:, :, ~own])
            assert (changed - plain)[:, :, own].abs().amax(1).min() > 0

    @torch.no_grad()
    @pytest.mark.parametrize("number", range(2, 7))
    def test_each_face_is_as_if_it_were_alone(self, dit, number):
        """With a single driver for the whole picture a face's tokens look the same as with N drivers and a mask."""
        mask = CharacterMask.from_regions(regions(number), GRID, TOKENS)
        spoken = expression(number)
        together = dit(**inputs(), expression=spoken, expression_mask=mask).sample
        plain = dit(**inputs()).sample
        owned = torch.zeros(GRID[0], 2 * GRID[1], 2 * GRID[2], dtype=torch.bool)
        for face, tokens in enumerate(spoken.split(TOKENS, dim=2)):
            own = torch.stack([pixels(frame) for frame in mask.weights[..., face]])
            alone = dit(**inputs(), expression=tokens).sample
            torch.testing.assert_close(together[:, :, own], alone[:, :, own], atol=1e-6, rtol=1e-5)
            owned |= own
        assert torch.equal(together[:, :, ~owned], plain[:, :, ~owned])  # background "none"

    @torch.no_grad()
    def test_permuting_drivers_permutes_faces(self, dit):
        masks, spoken = regions(3), expression(3)
        order = [2, 0, 1]
        permuted = torch.cat([spoken.split(TOKENS, dim=2)[face] for face in order], dim=2)

        def run(tokens, regions):
            mask = CharacterMask.from_regions(regions, GRID, TOKENS)
            return dit(**inputs(), expression=tokens, expression_mask=mask).sample

        torch.testing.assert_close(run(permuted, masks[order]), run(spoken, masks), atol=1e-6, rtol=1e-5)
        assert not torch.allclose(run(permuted, masks), run(spoken, masks), atol=1e-3)

    @torch.no_grad()
    def test_background_for_all(self, dit):
        mask = CharacterMask.from_regions(regions(2), GRID, TOKENS, background="all")
        spoken = expression(2)
        together = dit(**inputs(), expression=spoken, expression_mask=mask).sample
        without = dit(**inputs(), expression=spoken).sample  # no mask: each attends to all
        background = torch.stack([pixels(frame) for frame in mask.weights.all(-1)])
        assert background.any()
        torch.testing.assert_close(together[:, :, background], without[:, :, background], atol=1e-6, rtol=1e-5)

    @torch.no_grad()
    def test_padding_is_never_seen(self, dit):
        real = torch.ones(2, GRID[0], TOKENS, dtype=torch.bool)
        real[:, 0, 2:] = False
        spoken = expression(2)
        other = spoken.clone()
        other[:, 0, [2, 3, 4, 7, 8, 9]] = 5
        for padding, same in (("masked", True), ("compat", False)):
            mask = CharacterMask.from_regions(regions(2), GRID, TOKENS, real, padding=padding)
            one, two = (dit(**inputs(), expression=each, expression_mask=mask).sample for each in (spoken, other))
            assert torch.equal(one, two) is same

    @torch.no_grad()
    def test_soft_overlap_is_between_the_two(self, dit):
        masks = torch.zeros(2, 1, *GRID[1:])
        masks[0, ..., :8], masks[1, ..., 4:] = 1, 1
        mask = CharacterMask.from_regions(masks, GRID, TOKENS, overlap="soft")
        spoken = expression(2)
        soft = dit(**inputs(), expression=spoken, expression_mask=mask).sample
        alone = [dit(**inputs(), expression=tokens).sample for tokens in spoken.split(TOKENS, dim=2)]
        both = dit(**inputs(), expression=spoken).sample
        torch.testing.assert_close(soft[..., :8], alone[0][..., :8], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(soft[..., 16:], alone[1][..., 16:], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(soft[..., 8:16], both[..., 8:16], atol=1e-6, rtol=1e-5)  # equal shares

    @torch.no_grad()
    @pytest.mark.parametrize("overlap", ["nearest", "soft"])
    def test_half_precision(self, overlap):
        dit = build().to(torch.bfloat16)
        masks = torch.zeros(2, 1, *GRID[1:])
        masks[0, ..., :8], masks[1, ..., 4:10] = 1, 1
        mask = CharacterMask.from_regions(masks, GRID, TOKENS, overlap=overlap)
        given = {name: value.to(torch.bfloat16) for name, value in inputs().items()}
        output = dit(**given, expression=expression(2).to(torch.bfloat16), expression_mask=mask).sample
        assert output.dtype == torch.bfloat16 and output.isfinite().all()


class TestBadInput:
    @pytest.mark.parametrize(
        "shape", [(1, 2, 5), (1, 3, 5, 10), (3, 2, 5, 10), (1, 2, 5, 11)], ids=["axes", "frames", "batch", "channels"]
    )
    def test_an_expression_that_does_not_fit(self, dit, shape):
        with pytest.raises(OptionError, match=r"must be \(1 or 2, 2, tokens, 10\) for this video but is"):
            dit(**inputs(2), expression=torch.zeros(shape))

    def test_a_mask_that_does_not_fit(self, dit):
        mask = CharacterMask.from_regions(regions(2), GRID, TOKENS)
        with pytest.raises(OptionError, match="2 characters with 5 tokens each but the expression has 15"):
            dit(**inputs(), expression=expression(3), expression_mask=mask)
        with pytest.raises(OptionError, match="for 1 x 4 x 12 video tokens .* 2 x 4 x 12"):
            dit(**inputs(), expression=expression(2), expression_mask=mask.window(0, 1))

    def test_other_processors(self):
        dit = build()
        dit.set_attn_processor(type(dit.blocks[0].attn1.processor)())
        with pytest.raises(ValueError, match="needs `ExpressionAttnProcessor`"):
            dit(**inputs(), expression=expression())

    def test_nothing_stays_after_an_error(self, dit):
        with pytest.raises(RuntimeError):
            dit(**inputs() | {"encoder_hidden_states": torch.zeros(1, 3, 99)}, expression=expression())
        assert dit.current.now is None


class TestKept:
    @torch.no_grad()
    def test_keys_and_values_are_made_once_and_change_nothing(self):
        dit = build(layers=2)
        made = []
        for block in dit.blocks:
            block.attn2.to_k_expression.register_forward_hook(lambda *_: made.append(1))
        spoken, kept = expression(), KeptStates()
        for step in range(3):
            given = inputs() | {"timestep": torch.tensor([900.0 - 300 * step])}
            assert torch.equal(
                dit(**given, expression=spoken, kept=kept).sample, dit(**given, expression=spoken).sample
            )
        assert len(made) == 2 + 3 * 2
        assert kept.memory == 2 * 2 * spoken.shape[1] * TOKENS * 24 * 4

    @torch.no_grad()
    def test_another_expression_is_made_anew(self, dit):
        kept = KeptStates()
        dit(**inputs(), expression=expression(), kept=kept)
        other = expression(seed=11)
        assert torch.equal(
            dit(**inputs(), expression=other, kept=kept).sample, dit(**inputs(), expression=other).sample
        )

    @torch.no_grad()
    def test_nothing_is_kept_in_the_network(self):
        import gc
        import weakref

        dit, spoken, kept = build(), expression(), KeptStates()
        dit(**inputs(), expression=spoken, kept=kept)
        gone = weakref.ref(spoken)
        del spoken, kept
        gc.collect()
        assert gone() is None


class TestTraining:
    def gradients(self, checkpointing):
        dit = build(layers=2).train()
        if checkpointing:
            dit.enable_gradient_checkpointing()
        spoken = expression(2).requires_grad_()
        mask = CharacterMask.from_regions(regions(2), GRID, TOKENS)
        dit(**inputs(), expression=spoken, expression_mask=mask).sample.square().mean().backward()
        assert dit.current.now is None
        return {"expression": spoken.grad} | {key: value.grad for key, value in dit.named_parameters()}

    def test_checkpointing_gives_the_same_gradients(self):
        plain, checkpointed = self.gradients(False), self.gradients(True)
        assert plain.keys() == checkpointed.keys()
        for key, value in plain.items():
            torch.testing.assert_close(checkpointed[key], value, atol=1e-6, rtol=1e-5, msg=key)
        assert plain["expression"].abs().min(-1).values.max() > 0
        assert plain["blocks.1.attn2.to_k_expression.weight"].abs().max() > 0

    def test_checkpointing_is_as_before_afterwards(self):
        dit = build().train()
        dit.enable_gradient_checkpointing()
        function = dit._gradient_checkpointing_func
        dit(**inputs(), expression=expression())
        assert dit._gradient_checkpointing_func is function

    def test_an_untrained_adapter_learns(self):
        dit = build(trained=False).train()
        dit(**inputs(), expression=expression()).sample.square().mean().backward()
        assert dit.blocks[0].attn2.to_v_expression.weight.grad.abs().max() > 0


class TestServices:
    """What diffusers offers for its own models."""

    @torch.no_grad()
    def run(self, dit, number=2):
        mask = CharacterMask.from_regions(regions(number), GRID, TOKENS)
        return dit(**inputs(), expression=expression(number), expression_mask=mask).sample

    def test_saved_and_loaded(self, dit, tmp_path):
        dit.save_pretrained(tmp_path)
        again = ExpressionDiT.from_pretrained(tmp_path)
        assert again.config.expression_dim == 10 and again.config.num_layers == 1
        for key, value in dit.state_dict().items():
            assert torch.equal(again.state_dict()[key], value), key
        torch.testing.assert_close(self.run(again), self.run(dit), atol=1e-6, rtol=1e-5)

    def test_a_copy_has_its_own_conditioning(self, dit):
        twin = copy.deepcopy(dit)
        assert twin.current is not dit.current
        assert all(block.attn2.processor.current is twin.current for block in twin.blocks)
        assert torch.equal(self.run(twin), self.run(dit))

    def test_attention_back_ends_reach_the_adapter(self):
        dit = build()
        plain = self.run(dit)
        dit.set_attention_backend("_native_math")
        try:
            processor = dit.blocks[0].attn2.processor
            assert isinstance(processor, ExpressionAttnProcessor)
            assert processor._attention_backend == "_native_math"
            torch.testing.assert_close(self.run(dit), plain, atol=1e-5, rtol=1e-5)
        finally:
            dit.reset_attention_backend()

    def test_a_back_end_without_masks_takes_what_has_none(self):
        """Flash attention for all but the masked attention to the expression."""
        dit = build()
        plain = self.run(dit)
        dit.set_attention_backend("_native_flash")
        try:
            torch.testing.assert_close(self.run(dit), plain, atol=1e-5, rtol=1e-5)
        finally:
            dit.reset_attention_backend()

    def test_fused_projections(self):
        dit = build()
        plain = self.run(dit)
        dit.fuse_qkv_projections()
        torch.testing.assert_close(self.run(dit), plain, atol=1e-5, rtol=1e-5)
        dit.unfuse_qkv_projections()
        assert torch.equal(self.run(dit), plain)

    @pytest.mark.parametrize("kind", ["leaf_level", "block_level"])
    def test_group_offload(self, kind):
        dit = build(layers=2)
        plain = self.run(dit)
        dit.enable_group_offload(
            onload_device=torch.device("cpu"),
            offload_type=kind,
            num_blocks_per_group=1 if kind == "block_level" else None,
        )
        assert torch.equal(self.run(dit), plain)

    def test_layerwise_casting(self):
        dit = build()
        plain = self.run(dit)
        dit.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
        assert dit.blocks[0].attn2.to_k_expression.weight.dtype == torch.float8_e4m3fn
        assert (self.run(dit) - plain).abs().mean() < 0.2 * plain.abs().mean()

    def test_blocks_compile_whole_and_once(self):
        torch._dynamo.reset()
        dit = build(layers=2)
        plain = self.run(dit)
        with torch._dynamo.config.patch(error_on_recompile=True):
            dit.compile_repeated_blocks(backend="eager", fullgraph=True)
            for _ in range(2):
                torch.testing.assert_close(self.run(dit), plain, atol=1e-5, rtol=1e-5)
        torch._dynamo.reset()
