"""PortraitTokens and the tokens of a latent frame; numbers of the published networks are in test_golden_expression."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from animate.models.portrait_tokens import PortraitTokens, join_characters, per_latent_frame

torch.set_num_threads(1)

TINY = {
    "feature_dims": (2, 3, 4, 5),
    "token_dim": 8,
    "dim": 12,
    "depth": 2,
    "heads": 2,
    "head_dim": 6,
    "mouth_tokens": 3,
    "emotion_tokens": 2,
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return PortraitTokens(**TINY).eval()


class TestTokens:
    @torch.no_grad()
    def test_frames_and_characters_do_not_mix(self, network):
        features = torch.randn(2, 5, 14, generator=torch.Generator().manual_seed(0))
        tokens = network(features)
        assert tokens.shape == (2, 5, 9, 8)
        torch.testing.assert_close(network(features[1:, 3:4]), tokens[1:, 3:4])

    @torch.no_grad()
    @pytest.mark.parametrize(
        ("part", "moved"),
        [
            (slice(0, 2), [0]),
            (slice(2, 5), [1]),
            (slice(5, 9), [2, 7, 8]),
            (slice(9, 14), [3, 4, 5, 6]),
        ],
        ids=["head", "eyes", "emotion", "mouth"],
    )
    def test_which_tokens_a_part_of_the_features_moves(self, network, part, moved):
        features = torch.randn(1, 1, 14, generator=torch.Generator().manual_seed(0))
        other = features.clone()
        other[..., part] += 1
        changed = (network(features) - network(other)).abs().amax((0, 1, 3)) > 1e-6
        assert changed.nonzero().flatten().tolist() == moved

    def test_other_features_are_refused(self, network):
        with pytest.raises(ValueError, match=r"must be \(B, T, 14\) but has shape \(1, 5, 13\)"):
            network(torch.zeros(1, 5, 13))

    @torch.no_grad()
    def test_saved_and_loaded(self, network, tmp_path):
        network.save_pretrained(tmp_path)
        features = torch.randn(1, 2, 14)
        assert torch.equal(PortraitTokens.from_pretrained(tmp_path)(features), network(features))


class TestLatentFrames:
    def test_published_ranges(self):
        """[-73, 23], [23, 119], [119, 215]: both ends count."""
        tokens = torch.arange(1, 9 * 24 + 1).reshape(1, 9, 24, 1).float()  # token i is i + 1
        chosen, real = per_latent_frame(tokens, 3)
        assert chosen.shape == (1, 3, 97, 1) and real.shape == (1, 3, 97)
        assert chosen[0, 0, :, 0].tolist() == [*range(1, 25)] + [0] * 73
        assert real[0, 0].tolist() == [True] * 24 + [False] * 73
        assert chosen[0, 1, :, 0].tolist() == [*range(24, 121)]
        assert chosen[0, 2, :, 0].tolist() == [*range(120, 217)]
        assert real[0, 1:].all()

    @given(latents=st.integers(1, 6), count=st.integers(1, 5), missing=st.integers(0, 30))
    def test_every_token_of_a_latent_frame_is_there(self, latents, count, missing):
        frames = max(4 * (latents - 1) + 1 - missing, 1)
        tokens = torch.arange(1, frames * count + 1).reshape(1, frames, count, 1).float()
        chosen, real = per_latent_frame(tokens, latents)
        assert chosen.shape == (1, latents, 4 * count + 1, 1)
        assert not chosen[~real].any() and chosen[real].all()
        for latent in range(latents):
            own = [latent] if latent == 0 else range(4 * latent - 3, 4 * latent + 1)
            wanted = {frame * count + part + 1 for frame in own if frame < frames for part in range(count)}
            wanted |= {(4 * latent - 3) * count} if 0 < latent and 4 * latent - 3 <= frames else set()
            assert set(chosen[0, latent][real[0, latent]].flatten().int().tolist()) == wanted

    def test_more_frames_than_the_video_are_refused(self):
        with pytest.raises(ValueError, match="10 frames are more than 3 latent frames hold"):
            per_latent_frame(torch.zeros(1, 10, 24, 2), 3)

    def test_characters_lie_side_by_side(self):
        tokens = torch.arange(2 * 3 * 5).reshape(2, 3, 5, 1)
        joined = join_characters(tokens)
        assert joined.shape == (1, 3, 10, 1)
        assert torch.equal(joined[0, :, :5], tokens[0]) and torch.equal(joined[0, :, 5:], tokens[1])
