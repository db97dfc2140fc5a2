"""One training step of the full size: weights of noise levels and of faces, what is drawn, where gradients flow."""

import pytest
import torch

from animate.errors import OptionError
from animate.losses import EXPRESSION_WEIGHT, FACIAL_WEIGHT
from animate.pipelines.scheduler import landmark_scheduler
from animate.train_recipe import StageConfig, StageNetworks, draws, loss_weights, snr_weights, stage_loss

IMAGE = StageConfig(steps=2)
MOTION = StageConfig("motion", steps=2, frames=3)


@pytest.fixture
def networks(tiny_pipeline):
    def make(stage: str) -> StageNetworks:
        parts = tiny_pipeline.unet, tiny_pipeline.reference_network, tiny_pipeline.guider
        return StageNetworks(*parts, stage).train()

    return make


@pytest.fixture
def inputs():
    """The arguments of StageNetworks for three samples of three frames; 64 px, 257 tokens as CLIP gives."""
    rng = torch.Generator().manual_seed(1)
    return {
        "noisy": torch.randn(3, 4, 3, 8, 8, generator=rng),
        "timestep": torch.tensor([999, 400, 20]),
        "reference_latents": torch.randn(3, 4, 8, 8, generator=rng),
        "tokens": torch.randn(3, 5, 16, generator=rng),
        "landmark_map": torch.rand(3, 3, 3, 64, 64, generator=rng),
        "dropped": torch.tensor([False, True, False]),
    }


@pytest.fixture
def batch():
    expression = torch.zeros(2, 1, 3, 64, 64)
    expression[..., :16, :16] = 1
    facial = torch.zeros(2, 1, 3, 64, 64)
    facial[..., :32, :32] = 1
    return {"expression_mask": expression, "facial_mask": facial, "landmark_map": torch.zeros(2, 3, 3, 64, 64)}


class TestNoiseLevels:
    def test_weights_are_min_snr_with_one_more(self):
        alphas = landmark_scheduler().alphas_cumprod
        timestep = torch.tensor([0, 100, 500, 900])
        snr = alphas[timestep] / (1 - alphas[timestep])
        truth = (snr + 1).clamp(max=5) / (snr + 1)
        torch.testing.assert_close(snr_weights(alphas, timestep, 5), truth)
        assert truth[0] < 0.01 < truth[-1]

    def test_pure_noise_is_learned(self):
        assert snr_weights(landmark_scheduler().alphas_cumprod, torch.tensor([999]), 5) == 1

    def test_without_a_bound_all_levels_count_alike(self):
        assert snr_weights(landmark_scheduler().alphas_cumprod, torch.tensor([0, 999]), 0).tolist() == [1, 1]


class TestDraws:
    SHAPE = (4, 3, 8, 8)

    def test_a_samples_draws_depend_on_seed_and_number_alone(self):
        one = draws(MOTION, torch.tensor([7, 8]), self.SHAPE)
        other = draws(MOTION, torch.tensor([8]), self.SHAPE)
        assert torch.equal(one.noise[1], other.noise[0]) and one.timestep[1] == other.timestep[0]
        changed = draws(StageConfig("motion", frames=3, seed=1), torch.tensor([8]), self.SHAPE)
        assert not torch.equal(other.noise, changed.noise)

    def test_noise_is_normal_and_its_channels_are_offset(self):
        many = torch.arange(400)
        plain = draws(StageConfig(noise_offset=0.0), many, (2, 1, 8, 8)).noise
        shifted = draws(StageConfig(noise_offset=0.5), many, (2, 1, 8, 8)).noise
        assert plain.mean().abs() < 0.02 and abs(plain.std() - 1) < 0.01
        assert plain.mean(dim=(2, 3, 4)).std() == pytest.approx(1 / 8, rel=0.15)
        assert shifted.mean(dim=(2, 3, 4)).std() == pytest.approx((1 / 64 + 0.25) ** 0.5, rel=0.15)

    def test_so_many_samples_lose_their_portrait(self):
        dropped = draws(IMAGE, torch.arange(2000), (1, 1, 1, 1)).dropped
        assert dropped.float().mean() == pytest.approx(0.1, abs=0.02)

    def test_every_level_comes(self):
        timestep = draws(IMAGE, torch.arange(2000), (1, 1, 1, 1)).timestep
        assert timestep.min() < 10 and timestep.max() > 990


class TestFacialLoss:
    def test_eyes_and_mouth_count_most_then_the_face(self, batch):
        weights = loss_weights(batch, (8, 8))
        assert weights.shape == (2, 1, 3, 8, 8)
        mouth, face, rest = (weights[0, 0, 0, i, i] for i in (0, 3, 7))
        assert mouth / rest == pytest.approx(1 + EXPRESSION_WEIGHT + FACIAL_WEIGHT)
        assert face / rest == pytest.approx(1 + FACIAL_WEIGHT)

    def test_it_does_not_change_the_size_of_the_loss(self, batch):
        torch.testing.assert_close(loss_weights(batch, (8, 8)).mean(dim=(1, 2, 3, 4)), torch.ones(2))

    def test_an_error_in_the_mouth_costs_more_than_one_beside(self, batch):
        scheduler = landmark_scheduler()
        clean = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        drawn = draws(MOTION, torch.tensor([0, 1]), tuple(clean.shape[1:]))
        truth = scheduler.get_velocity(clean, drawn.noise, drawn.timestep)

        def loss(row: int | None, config: StageConfig = MOTION) -> float:
            wrong = truth.clone()
            if row is not None:
                wrong[..., row, row] += 1
            arguments = (batch, clean, None, None, drawn, scheduler, config)
            return float(stage_loss(lambda *_: wrong, *arguments))

        assert loss(None) == 0
        assert loss(0) == pytest.approx(5 * loss(7), rel=1e-4)
        plain = StageConfig("motion", frames=3, facial=False)
        assert loss(0, plain) == pytest.approx(loss(7, plain))


class TestNetworks:
    @torch.no_grad()
    def test_a_dropped_sample_sees_what_the_unconditional_half_of_guidance_sees(self, networks, inputs):
        model = networks("motion")
        together = model(**inputs)
        for row, dropped in enumerate((False, True, False)):
            own = {name: value[row : row + 1] for name, value in inputs.items()}
            features = model.reference_network(own["reference_latents"], own["tokens"])
            alone = model.unet(
                own["noisy"],
                own["timestep"],
                encoder_hidden_states=own["tokens"] * (not dropped),
                landmark_features=model.guider(own["landmark_map"]),
                reference_features=None if dropped else features,
            ).sample
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("dropped", [[0, 1, 0], [1, 1, 1], [0, 0, 0]], ids=["some", "all", "none"])
    @pytest.mark.parametrize("stage", ["image", "motion"])
    def test_what_learns_has_a_gradient_and_nothing_else_has(self, networks, inputs, stage, dropped):
        model = networks(stage)
        model(**(inputs | {"dropped": torch.tensor(dropped).bool()})).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name

    def test_the_motion_stage_trains_the_motion_modules_alone(self, networks):
        learning = {name for name, parameter in networks("motion").named_parameters() if parameter.requires_grad}
        assert learning and all(name.startswith("unet.") and "motion_modules" in name for name in learning)

    @pytest.mark.parametrize("stage", ["image", "motion"])
    def test_gradient_checkpointing_changes_no_gradient(self, networks, inputs, stage):
        model = networks(stage)
        gradients = []
        for _ in range(2):
            model.zero_grad()
            model(**inputs).square().mean().backward()
            gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            model.unet.enable_gradient_checkpointing()
            model.reference_network.enable_gradient_checkpointing()
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": "sound"},
        {"frames": 4},
        {"stage": "motion"},
        {"steps": 0},
        {"uncond_ratio": 1.0},
        {"learning_rate": 0.0},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_work_is_refused(wrong):
    with pytest.raises(OptionError):
        StageConfig(**wrong)
