"""Key names, shapes and numbers of the published networks; the data is in `golden/` (README there)."""

import zlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from animate.models.guider import LandmarkGuider
from animate.models.reference_network import ReferenceNetwork
from animate.models.unet import LandmarkUNet

torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"
TINY = {"block_out_channels": (32, 64, 64, 64), "norm_num_groups": 8}
REFERENCE_NAMES = [
    *(f"reference_down_{i}" for i in range(6)),
    "reference_mid",
    *(f"reference_up_{i}" for i in range(9)),
]
BAR = {"atol": 1e-4, "rtol": 0}


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Weights that are a function of their keys: matrices N(0, 0.05), vectors N(0, 0.1), norms' weights about 1."""
    for key, value in network.state_dict().items():
        if key.endswith(".pe"):
            continue
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
        if value.ndim > 1:
            value.copy_(0.05 * noise)
        else:
            value.copy_(0.1 * noise + (1.0 if key.endswith("weight") else 0.0))
    return network.eval()


@pytest.fixture(scope="module")
def networks():
    """(unet, reference network, guider), filled."""
    return fill(LandmarkUNet(**TINY)), fill(ReferenceNetwork(**TINY)), fill(LandmarkGuider(32))


class Case:
    """The stored numbers and the inputs that belong to them."""

    def __init__(self, name: str, frames: int, height: int, width: int):
        with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
            self.truth = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            seed, self.stride = int(file.metadata()["seed"]), int(file.metadata()["stride"])
        generator = torch.Generator().manual_seed(seed)
        self.clip = torch.randn(1, 257, 1024, generator=generator)
        self.reference_latent = torch.randn(1, 4, height // 8, width // 8, generator=generator)
        self.landmark_map = torch.rand(1, 3, frames, height, width, generator=generator)
        self.sample = torch.randn(1, 4, frames, height // 8, width // 8, generator=generator)
        self.timestep = self.truth["timestep"]

    def sampled(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.flatten()[:: self.stride]


@pytest.fixture(scope="module", params=["guidance", "no guidance, not square"])
def case(request):
    if request.param == "guidance":
        return Case("fye_tiny_cfg", 3, 128, 128)
    return Case("fye_tiny_nocfg", 2, 64, 128)


class TestKeys:
    @pytest.mark.parametrize(
        ("network", "name", "count"),
        [
            (LandmarkUNet, "unet", 1276),
            (ReferenceNetwork, "referencenet", 666),
            (LandmarkGuider, "lmk_guider", 16),
        ],
    )
    def test_default_configuration_has_the_published_keys_and_shapes(self, network, name, count):
        lines = (line.split() for line in (GOLDEN / "fye_state_dict_shapes.txt").read_text().splitlines())
        published = {key: [int(size) for size in shape] for net, key, *shape in lines if net == name}
        with torch.device("meta"):
            own = {key: list(value.shape) for key, value in network().state_dict().items()}
        assert own == published
        assert len(own) == count


class TestNumbers:
    def test_inputs_are_those_that_the_numbers_were_made_of(self, case):
        for name, tensor in (
            ("clip_last_hidden_state", case.clip),
            ("reference_latent", case.reference_latent),
            ("landmark_map", case.landmark_map),
            ("sample", case.sample),
        ):
            few = tensor.flatten()[:: tensor.numel() // 32]
            torch.testing.assert_close(few, case.truth[f"input.{name}"], atol=1e-6, rtol=0, msg=name)

    @torch.no_grad()
    def test_guider(self, case, networks):
        torch.testing.assert_close(case.sampled(networks[2](case.landmark_map)), case.truth["guider"], **BAR)

    @torch.no_grad()
    def test_reference_network(self, case, networks):
        copies = case.truth["unet"].shape[0]
        tokens = torch.cat([torch.zeros_like(case.clip), case.clip])[-copies:]
        features = networks[1](case.reference_latent.repeat(copies, 1, 1, 1), tokens)
        assert len(features) == networks[0].num_reference_features == len(REFERENCE_NAMES)
        for feature, name in zip(features, REFERENCE_NAMES, strict=True):
            torch.testing.assert_close(case.sampled(feature), case.truth[name], **BAR)

    @torch.no_grad()
    def test_unet(self, case, networks):
        unet, reference_network, guider = networks
        copies = case.truth["unet"].shape[0]
        tokens = torch.cat([torch.zeros_like(case.clip), case.clip])[-copies:]
        output = unet(
            case.sample.repeat(copies, 1, 1, 1, 1),
            case.timestep,
            tokens,
            landmark_features=guider(case.landmark_map).repeat(copies, 1, 1, 1, 1),
            # only the conditional half is ever read
            reference_features=reference_network(case.reference_latent, case.clip),
            unconditional_batch=copies - 1,
        ).sample
        torch.testing.assert_close(output, case.truth["unet"], **BAR)

    @torch.no_grad()
    def test_norms_are_of_one_frame(self, case, networks):
        """With norms over the clip's frames the numbers would be others: this bar sees a fault of that kind."""
        from animate.models import motion_module

        unet = networks[0]
        inputs = (case.sample, case.timestep, case.clip)
        plain = unet(*inputs).sample
        with pytest.MonkeyPatch.context() as patch:

            def across_frames(norm, hidden_states):  # (T, C, H, W), one clip
                clip = hidden_states.transpose(0, 1)[None]
                return torch.nn.functional.group_norm(clip, norm.num_groups, norm.weight, norm.bias, norm.eps)[
                    0
                ].transpose(0, 1)

            for module in unet.modules():
                if isinstance(module, motion_module.TemporalTransformer):
                    patch.setattr(module.norm, "forward", across_frames.__get__(module.norm))
            assert (unet(*inputs).sample - plain).abs().max() > 100 * BAR["atol"]
