import pytest
import torch

from talking_face.model import AudioToExpression


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = AudioToExpression(
        features=7, coefficients=3, phones=5, width=16, layers=2, heads=2, past=6, ahead=2
    ).eval()
    for block in network.blocks:
        torch.nn.init.normal_(block.distance)
        torch.nn.init.normal_(block.style.weight)
    return network


@pytest.fixture(scope="module")
def sound():
    return torch.randn(1, 80, 7, generator=torch.Generator().manual_seed(1))


def ask(model, sound, **more):
    with torch.inference_mode():
        return model(sound, **more)["coefficients"]


def test_shapes(model, sound):
    with torch.inference_mode():
        out = model(sound)
    assert out["coefficients"].shape == (1, 80, 3)
    assert out["closure"].shape == out["jaw"].shape == (1, 80)
    assert out["phones"].shape == (1, 80, 5)
    assert (out["jaw"] >= 0).all()


def test_nothing_beyond_the_look_ahead_matters(model, sound):
    changed = sound.clone()
    changed[:, 40 + model.look_ahead + 1 :] += 1
    torch.testing.assert_close(ask(model, changed)[:, :41], ask(model, sound)[:, :41])


def test_the_last_row_of_the_look_ahead_matters(model, sound):
    changed = sound.clone()
    changed[:, 40 + model.look_ahead] += 1
    assert (ask(model, changed)[:, 40] - ask(model, sound)[:, 40]).abs().max() > 1e-6


def test_chunks_agree_with_the_whole_where_their_context_is_complete(model, sound):
    part = ask(model, sound[:, 20:70])
    torch.testing.assert_close(
        part[:, model.reach : -model.look_ahead], ask(model, sound)[:, 20 + model.reach : 70 - model.look_ahead]
    )


def test_frames_have_positions_of_their_own(model):
    """A constant sound but for one moment: its neighbours at different distances must not look alike."""
    sound = torch.zeros(1, 40, 7)
    sound[:, 20] = 3
    out = ask(model, sound)[0]
    assert (out[22] - out[25]).abs().max() > 1e-4


def test_style_changes_what_is_said(model, sound):
    assert (ask(model, sound, style=torch.ones(1, 3)) - ask(model, sound)).abs().max() > 1e-3


def test_saved_and_loaded(model, sound, tmp_path):
    model.save_pretrained(tmp_path)
    again = AudioToExpression.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    torch.testing.assert_close(ask(again, sound), ask(model, sound))
