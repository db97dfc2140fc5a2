"""Errors of forecasts: right, cheap, and counting more where a mask says so."""

import pytest
import torch

from cache import TaylorCacheConfig, apply_taylor_cache, cache_report, set_weight
from cache.measure import SAMPLES, ErrorMeter, fit_weight


def test_each_order_is_measured_against_the_truth():
    values = [torch.full((2, 8), x) for x in (2.0, 1.0)]  # at 2 and 1, newest first
    errors = ErrorMeter().errors(torch.full((2, 8), 4.0), values, [2.0, 1.0], 4.0, batch=2)
    assert errors.tolist() == pytest.approx([0.5, 0.0])


def test_the_worst_sample_counts():
    truth = torch.ones(2, 8)
    value = torch.stack([torch.full((8,), 0.9), torch.full((8,), 0.7)])
    assert ErrorMeter().errors(truth, [value], [0.0], 1.0, batch=2).tolist() == pytest.approx([0.3])
    frames = ErrorMeter().errors(truth, [value], [0.0], 1.0, batch=1)  # both rows are one sample's
    assert frames.item() == pytest.approx((0.5 * (0.01 + 0.09)) ** 0.5)


def test_a_floor_makes_errors_of_small_values_small():
    truth, value = torch.full((1, 8), 0.01), torch.zeros(1, 8)
    assert ErrorMeter().errors(truth, [value], [0.0], 1.0, 1).item() == pytest.approx(1.0)
    assert ErrorMeter().errors(truth, [value], [0.0], 1.0, 1, floor=0.5).item() == pytest.approx(0.02)


def test_a_sample_of_many_numbers_stands_for_all():
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(1, 8 * SAMPLES, generator=generator)
    value = truth + 0.1 * torch.randn(truth.shape, generator=generator)
    meter = ErrorMeter()
    assert meter.errors(truth, [value], [0.0], 1.0, 1).item() == pytest.approx(0.1, rel=0.03)
    assert meter._index.numel() == SAMPLES


@pytest.mark.parametrize("shape", [(2, 3, 4, 8, 8), (8, 3, 8, 8), (2, 4 * 8 * 8, 3)], ids=["clip", "unet", "tokens"])
def test_errors_in_the_mask_count_more(shape):
    mask = torch.zeros(1, 1, 4, 16, 16)
    mask[..., :8] = 1  # the left half
    wrong = torch.zeros(2, 4, 8, 8)
    wrong[..., 4:] = 1  # the right half
    layouts = {
        5: lambda: wrong[:, None].expand(2, 3, 4, 8, 8),
        4: lambda: wrong.flatten(0, 1)[:, None].expand(8, 3, 8, 8),
        3: lambda: wrong.flatten(1)[..., None].expand(2, -1, 3),
    }
    truth = torch.ones(shape)
    value = truth + layouts[len(shape)]()
    patch = (1, 2, 2)
    assert ErrorMeter().errors(truth, [value], [0.0], 1.0, 2, mask, patch).item() == 0
    assert ErrorMeter().errors(truth, [value], [0.0], 1.0, 2, 1 - mask, patch).item() == pytest.approx(1.0)


def test_tokens_are_laid_out_by_the_clips_form():
    mask = torch.rand(1, 1, 8, 32, 64)
    weight = fit_weight(mask, torch.zeros(2, 2 * 8 * 16, 5), 2, (4, 4, 4))
    assert weight.shape == (2, 2 * 8 * 16, 1)
    assert fit_weight(mask, torch.zeros(2, 77, 5), 2, (1, 2, 2)) is None
    assert fit_weight(mask, torch.zeros(2, 256, 5), 2, None) is None


def test_a_mask_changes_what_is_computed(unet, loop):
    def computed(mask):
        run = loop(unet)
        set_weight(unet, mask)
        run.run()
        return cache_report(unet).contexts["cond"].errors

    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", tolerance=0.1, floor=0.0))
    mask = torch.full((1, 1, 1, 8, 8), 1e-6)
    mask[..., 0, 0] = 1
    plain, weighted, same = computed(None), computed(mask), computed(torch.ones(1, 1, 8, 8))
    assert weighted != plain
    assert dict(same) == pytest.approx(dict(plain), rel=1e-4)


def test_a_mask_belongs_to_its_contexts(unet, loop):
    apply_taylor_cache(unet, TaylorCacheConfig(placement="output", tolerance=0.1, floor=0.0))
    mask = torch.full((1, 1, 1, 8, 8), 1e-6)
    mask[..., 0, 0] = 1
    errors = {}
    for name in ("a", "b"):
        run = loop(unet, name=name, contexts=[name])
        if name == "a":
            set_weight(unet, mask, contexts=["a"])
        run.run()
        errors[name] = cache_report(unet).contexts[name].errors
    assert errors["a"][0] != errors["b"][0]


@pytest.mark.parametrize("mask", [torch.zeros(1, 1, 2, 4, 4), -torch.ones(1, 1, 2, 4, 4), torch.ones(1, 3, 2, 4, 4)])
def test_masks_that_cannot_be_are_refused(unet, mask):
    apply_taylor_cache(unet, TaylorCacheConfig())
    with pytest.raises(ValueError, match="mask"):
        set_weight(unet, mask)
