"""CharacterMask: face i attends to driver i alone, whatever the number of faces; policies; bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animate.errors import OptionError
from animate.models.character_mask import CharacterMask, regions_from_boxes

torch.set_num_threads(1)

GRID = (3, 8, 12)
SIZE = (8 * 16, 12 * 16)
TOKENS = 5


def side_by_side(number, frames=1):
    """Boxes of N faces in one row, two tokens high, with a gap between them: (N, T, 4) pixels."""
    width = SIZE[1] / number
    left = torch.arange(number) * width
    boxes = torch.stack(
        [left + 0.2 * width, torch.full((number,), 32.0), left + 0.8 * width, torch.full((number,), 96.0)]
    )
    return boxes.T[:, None].repeat(1, frames, 1)


def make(boxes, **options):
    return CharacterMask.from_regions(regions_from_boxes(boxes, SIZE, GRID), GRID, TOKENS, **options)


def allowed(mask, first=0, last=GRID[0]):
    """(frames, h*w, N) bool: whether a video token attends to any token of a character, and to all of it."""
    rows = mask.at(first, last, "cpu", torch.float32)
    attend = rows.mask[:, 0] if rows.mask.dtype == torch.bool else rows.mask[:, 0] > -torch.inf
    if rows.lonely is not None:
        attend = attend & ~rows.lonely[..., None]
    by_face = attend.unflatten(-1, (mask.characters, TOKENS))
    assert torch.equal(by_face.any(-1), by_face.all(-1))
    return by_face.any(-1)


class TestFaces:
    @pytest.mark.parametrize("background", ["none", "all", "nearest"])
    @pytest.mark.parametrize("number", range(1, 7))
    def test_a_face_attends_to_its_own_driver_alone(self, number, background):
        boxes = side_by_side(number)
        if number == 1 and background != "none":  # nothing to mask
            assert make(boxes, background=background).at(0, 3, "cpu", torch.float32).mask is None
            return
        attend = allowed(make(boxes, background=background))
        cover = regions_from_boxes(boxes, SIZE, GRID)[:, 0].flatten(1)  # (N, h*w)
        for face in range(number):
            inside = (cover[face] > 0) & ((cover > 0).sum(0) == 1)
            own = torch.arange(number) == face
            assert inside.any()
            assert (attend[:, inside] == own).all()

    @given(data=st.data(), number=st.integers(1, 6))
    @settings(deadline=None, max_examples=60)
    def test_any_boxes(self, data, number):
        """Whatever the boxes: without overlap policy "soft" a token has at most one driver, and one that covers it."""
        numbers = st.floats(-40, 240)
        boxes = torch.tensor(data.draw(st.lists(st.tuples(*[numbers] * 4), min_size=number, max_size=number)))[:, None]
        cover = regions_from_boxes(boxes, SIZE, GRID).expand(-1, 3, -1, -1).flatten(2).permute(1, 2, 0)  # (F, hw, N)
        nobody = make(boxes).weights.flatten(1, 2)
        assert nobody.dtype == torch.bool and nobody.sum(-1).max() <= 1
        assert torch.equal(nobody.any(-1), (cover > 0).any(-1)) and not (nobody & (cover == 0)).any()
        soft = make(boxes, overlap="soft").weights.flatten(1, 2)
        assert torch.equal(soft > 0, cover > 0)
        nearest = make(boxes, background="nearest").weights.flatten(1, 2)
        present = (cover > 0).any(1).any(-1)
        assert torch.equal(nearest[nobody.any(-1)], nobody[nobody.any(-1)])
        assert (nearest[present].sum(-1) == 1).all()

    @pytest.mark.parametrize("number", range(2, 7))
    def test_permuting_drivers_permutes_faces(self, number):
        boxes = side_by_side(number)
        order = torch.randperm(number, generator=torch.Generator().manual_seed(number))
        for background in ("none", "all", "nearest"):
            plain, permuted = (make(each, background=background) for each in (boxes, boxes[order]))
            assert torch.equal(permuted.weights, plain.weights[..., order])

    def test_the_mask_follows_a_face_that_moves(self):
        boxes = side_by_side(2, frames=9)
        boxes[:, 5:, [1, 3]] += 48  # in the third latent frame both are three tokens lower
        attend = allowed(make(boxes)).unflatten(1, GRID[1:])
        assert torch.equal(attend[0], attend[1]) and not torch.equal(attend[1], attend[2])
        assert torch.equal(attend[2, 5:7], attend[0, 2:4])

    def test_a_face_that_is_not_there_has_no_token(self):
        boxes = side_by_side(2, frames=9)
        boxes[1, 5:] = torch.nan
        attend = allowed(make(boxes, background="all"))
        assert attend[:2, :, 1].any() and not attend[2, :, 1].any()
        assert attend[2, :, 0].all()  # the background attends to who is there


class TestPolicies:
    def test_background(self):
        boxes = side_by_side(2)
        outside = ~(regions_from_boxes(boxes, SIZE, GRID) > 0).any(0).any(0)  # (h, w)
        none, everybody, nearest = (
            allowed(make(boxes, background=policy)).unflatten(1, GRID[1:])[0] for policy in ("none", "all", "nearest")
        )
        assert not none[outside].any()
        assert everybody[outside].all()
        left = torch.arange(12).expand(8, 12) < 6
        assert nearest[outside & left][:, 0].all() and not nearest[outside & left][:, 1].any()
        assert nearest[outside & ~left][:, 1].all() and not nearest[outside & ~left][:, 0].any()

    def test_overlap_goes_to_the_nearest_in_units_of_its_size(self):
        boxes = torch.tensor(
            [[[0.0, 0, 128, 128]], [[96, 48, 144, 96]]]
        )  # 8 tokens wide, and 3; columns 6 and 7 overlap
        row = make(boxes).weights[0, 4]
        # column 6 is 2.5 of 8 from the large one's middle and 1 of 3 from the small one's; column 7 is 3.5 of 8 and 0
        assert row[:, 0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 6]
        assert row[:, 1].nonzero().flatten().tolist() == [7, 8]

    def test_soft_overlap_shares_by_what_covers(self):
        boxes = torch.tensor([[[0.0, 0, 104, 128]], [[100.0, 0, 192, 128]]])  # in column 6: 8 and 12 of 16 pixels
        mask = make(boxes, overlap="soft")
        rows = mask.at(0, 1, "cpu", torch.float32)
        logits = rows.mask[0, 0].unflatten(0, GRID[1:])[0]  # (w, L)
        shares = logits[6].softmax(0).unflatten(0, (2, TOKENS)).sum(-1)
        assert shares.tolist() == pytest.approx([8 / 20, 12 / 20])
        assert logits[0, :TOKENS].tolist() == [0.0] * TOKENS and logits[0, TOKENS:].tolist() == [-math.inf] * TOKENS

    def test_padding_is_left_out(self):
        real = torch.ones(2, 3, TOKENS, dtype=torch.bool)
        real[:, 0, 2:] = False
        boxes = side_by_side(2)
        masked = make(boxes, real=real).at(0, 3, "cpu", torch.float32)
        attend = masked.mask[:, 0] & ~masked.lonely[..., None]
        assert not attend[0].unflatten(-1, (2, TOKENS))[..., 2:].any()
        assert attend[1].unflatten(-1, (2, TOKENS))[..., 2:].any()
        unmasked = make(boxes, real=real, padding="compat").at(0, 3, "cpu", torch.float32)
        assert torch.equal(unmasked.mask[0], unmasked.mask[1])

    def test_everywhere_masks_padding_alone(self):
        real = torch.ones(2, 3, TOKENS, dtype=torch.bool)
        assert CharacterMask.everywhere(real, GRID).at(0, 3, "cpu", torch.float32) == CharacterMask.everywhere(
            real, GRID
        ).at(1, 2, "cpu", torch.float32)
        real[1, 2] = False
        rows = CharacterMask.everywhere(real, GRID).at(0, 3, "cpu", torch.float32)
        assert rows.lonely is None and rows.mask[:2].all()
        assert rows.mask[2, 0, :, :TOKENS].all() and not rows.mask[2, 0, :, TOKENS:].any()


class TestReleased:
    """What the public code does, as it was observed: reference-details 4.5."""

    @pytest.mark.parametrize(
        ("number", "drivers"),
        [
            (2, [{0}, {1}]),
            (3, [{0, 1}, {0, 2}, {1, 2}]),
            (4, [{0, 1, 2}, {0, 1, 3}, {0, 2, 3}, {1, 2, 3}]),
        ],
    )
    def test_whom_a_face_attends_to(self, number, drivers):
        boxes = side_by_side(number)
        attend = allowed(make(boxes, compat=True))
        cover = regions_from_boxes(boxes, SIZE, GRID)[:, 0].flatten(1) > 0
        for face in range(number):
            # on a shared token the larger number wins
            own = cover[face] & ~cover[face + 1 :].any(0)
            seen = {tuple(row.nonzero().flatten().tolist()) for row in attend[0, own]}
            assert seen == {tuple(sorted(drivers[face]))}

    def test_the_background_attends_to_all(self):
        boxes = side_by_side(3)
        outside = ~(regions_from_boxes(boxes, SIZE, GRID)[:, 0].flatten(1) > 0).any(0)
        assert allowed(make(boxes, compat=True))[:, outside].all()

    def test_two_faces_are_right(self):
        boxes = side_by_side(2)
        ours, theirs = make(boxes, background="all"), make(boxes, compat=True)
        assert torch.equal(ours.weights, theirs.weights)

    def test_where_regions_overlap_the_last_wins(self):
        boxes = torch.tensor([[[0.0, 0, 120, 128]], [[72.0, 0, 192, 128]]])
        weights = make(boxes, compat=True).weights[0]
        assert weights[:, 4:8, 1].all() and not weights[:, 4:8, 0].any()


class TestRegions:
    def test_boxes_and_their_masks_say_the_same(self):
        boxes = torch.tensor([[[10.0, 20, 90, 70]], [[64, 0, 192, 33]]])
        masks = torch.zeros(2, 1, *SIZE)
        masks[0, 0, 20:70, 10:90] = 1
        masks[1, 0, 0:33, 64:192] = 1
        ours = CharacterMask.from_regions(masks, GRID, TOKENS, overlap="soft").weights
        torch.testing.assert_close(ours, make(boxes, overlap="soft").weights)

    def test_a_latent_frame_has_the_mean_of_its_four_frames(self):
        masks = torch.zeros(1, 9, *GRID[1:])
        masks[0, 0, 0, 0] = 1  # latent frame 0 is frame 0 alone
        masks[0, 1, 0, 1] = 1  # one of four
        masks[0, 5:, 0, 2] = 1
        two = torch.cat([masks, torch.ones_like(masks)])  # a second region, so that coverage is kept
        weights = CharacterMask.from_regions(two, GRID, TOKENS, overlap="soft").weights[..., 0]
        assert weights[:, 0, :3].tolist() == [[1, 0, 0], [0, 0.25, 0], [0, 0, 1]]

    def test_masks_of_latent_frames_and_a_single_one(self):
        masks = torch.rand(2, 3, *GRID[1:], generator=torch.Generator().manual_seed(0)) > 0.5
        by_frame = CharacterMask.from_regions(masks, GRID, TOKENS)
        still = CharacterMask.from_regions(masks[:, 1:2], GRID, TOKENS)
        assert torch.equal(still.weights[0], by_frame.weights[1]) and torch.equal(still.weights[2], by_frame.weights[1])

    def test_a_window(self):
        boxes = side_by_side(2, frames=9)
        boxes[:, :, [1, 3]] += torch.arange(9)[None, :, None] * 4
        real = torch.rand(2, 3, TOKENS, generator=torch.Generator().manual_seed(0)) > 0.5
        mask = make(boxes, real=real)
        part = mask.window(1, 3)
        assert part.grid == (2, 8, 12)
        assert torch.equal(part.at(0, 2, "cpu", torch.float32).mask, mask.at(1, 3, "cpu", torch.float32).mask)

    def test_made_once(self):
        mask = make(side_by_side(2))
        assert mask.at(0, 3, "cpu", torch.float32) is mask.at(0, 3, torch.device("cpu"), torch.float32)
        assert mask.at(0, 3, "cpu", torch.float32) is not mask.at(1, 3, "cpu", torch.float32)


class TestBadInput:
    """One clear sentence each."""

    def check(self, sentence, call, *args, **options):
        with pytest.raises(OptionError, match=sentence) as error:
            call(*args, **options)
        text = str(error.value)
        assert text.endswith(".") and "\n" not in text

    @pytest.mark.parametrize(
        ("shape", "sentence"),
        [
            ((2, 9, 100, 192), "Masks of 100 x 192 do not fit 8 x 12 video tokens"),
            ((2, 9, 128, 384), "Masks of 128 x 384 do not fit 8 x 12 video tokens"),
            ((2, 7, 128, 192), r"7 masks a character .* give 9 \(one a frame\), 3 \(one a latent frame\) or 1"),
            ((9, 128, 192), r"must be \(characters, frames, H, W\) but are 9 x 128 x 192"),
        ],
    )
    def test_masks_of_the_wrong_size(self, shape, sentence):
        self.check(sentence, CharacterMask.from_regions, torch.zeros(shape), GRID)

    def test_boxes_of_the_wrong_size(self):
        self.check("must be .* but are 2 x 4", regions_from_boxes, torch.zeros(2, 4), SIZE, GRID)
        self.check("100 x 192 pixels cannot be cut", regions_from_boxes, torch.zeros(2, 1, 4), (100, 192), GRID)

    @pytest.mark.parametrize("option", ["overlap", "background", "padding"])
    def test_unknown_policies(self, option):
        self.check(f"no {option} policy 'odd'", make, side_by_side(2), **{option: "odd"})

    def test_real_tokens_of_another_size(self):
        self.check("2 x 3 x 5", make, side_by_side(2), real=torch.ones(1, 3, TOKENS, dtype=torch.bool))

    def test_another_video_or_expression(self):
        mask = make(side_by_side(2))
        self.check("3 x 8 x 12 video tokens .* 4 x 8 x 12", mask.check, (4, 8, 12), 10)
        self.check("2 characters with 5 tokens each .* 15 tokens", mask.check, GRID, 15)
