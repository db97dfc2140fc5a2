"""What no step changes is made once a run, and the result is bit for bit what it was."""

from contextlib import contextmanager

import pytest
import torch

from animate.models.attention import LandmarkAttention
from animate.models.kept_states import KeptStates, keep

torch.set_num_threads(1)


@contextmanager
def counting(network):
    """{name of an attention's projection: how often it was called}."""
    calls, handles = {}, []
    for name, module in network.named_modules():
        if name.endswith(("to_k", "to_v", "clip_fc")):

            def count(module, arguments, output, name=name):
                calls[name] = calls.get(name, 0) + 1

            handles.append(module.register_forward_hook(count))
    yield calls
    for handle in handles:
        handle.remove()


def inputs(guided: bool) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "reference_image": torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1,
        "landmark_map": torch.rand(1, 3, 3, 32, 32, generator=generator),
        "guidance_scale": 3.5 if guided else 1.0,
        "generator": torch.Generator().manual_seed(2),
        "num_inference_steps": 4,
        "output_type": "latent",
    }


@pytest.mark.parametrize("guided", [True, False])
def test_tokens_and_reference_are_projected_once_a_run(tiny_pipeline, guided):
    with counting(tiny_pipeline.unet) as calls:
        tiny_pipeline(**inputs(guided))
    tokens = {count for name, count in calls.items() if ".attn2." in name}
    own = {count for name, count in calls.items() if ".attn1." in name}
    assert calls["clip_fc"] == 1 and tokens == {1}
    # each step projects the pixels' own keys (with guidance in two halves), and one call in the run is the reference's
    assert own == {9 if guided else 5}


@pytest.mark.parametrize("guided", [True, False])
def test_the_result_is_bit_for_bit_the_same(tiny_pipeline, monkeypatch, guided):
    made = tiny_pipeline(**inputs(guided)).frames
    monkeypatch.setattr(KeptStates, "get", lambda self, key, make, *sources: make(*sources))
    monkeypatch.setattr(LandmarkAttention, "keep", lambda self, states, kept: states)
    assert torch.equal(made, tiny_pipeline(**inputs(guided)).frames)


def test_the_next_run_keeps_nothing_of_the_last(tiny_pipeline):
    one = tiny_pipeline(**inputs(True)).frames
    other = inputs(True) | {"reference_image": torch.zeros(1, 3, 32, 32)}
    different = tiny_pipeline(**other).frames
    assert not torch.equal(one, different)
    assert torch.equal(tiny_pipeline(**inputs(True)).frames, one)


@torch.no_grad()
def test_only_the_very_same_unchanged_tensor_is_used_again():
    kept, made = KeptStates(), []

    def double(x):
        made.append(1)
        return 2 * x

    x = torch.ones(3)
    assert torch.equal(kept.get("key", double, x), kept.get("key", double, x)) and len(made) == 1
    assert kept.memory == 12
    assert torch.equal(kept.get("key", double, torch.ones(3)), 2 * x) and len(made) == 2  # equal, but another one
    kept.get("key", double, x)
    x += 1
    assert torch.equal(kept.get("key", double, x), 2 * x) and len(made) == 4


def test_nothing_is_kept_while_gradients_are_on():
    kept, x = KeptStates(), torch.ones(3, requires_grad=True)
    for _ in range(2):
        kept.get("key", lambda x: 2 * x, x).sum().backward()  # a kept graph would be gone the second time
    assert kept.memory == 0 and torch.equal(x.grad, torch.full((3,), 4.0))
    attention = LandmarkAttention(8, 2, 4)
    states = torch.randn(1, 5, 4)
    assert attention.keep(states, kept) is states


@torch.no_grad()
def test_without_an_object_to_keep_in_everything_is_made_anew():
    x = torch.ones(3)
    assert keep(None, "key", torch.neg, x) is not keep(None, "key", torch.neg, x)


@torch.no_grad()
def test_an_attention_of_somebody_elses_gets_the_states_themselves():
    """A processor that is not ours knows no kept keys."""

    class Other:
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, reference_states=None):
            return encoder_hidden_states

    attention, states = LandmarkAttention(8, 2, 4), torch.randn(1, 5, 4)
    assert isinstance(attention.keep(states, KeptStates()), tuple)
    attention.processor = Other()
    assert attention.keep(states, KeptStates()) is states
