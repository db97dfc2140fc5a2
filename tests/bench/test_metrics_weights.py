"""Weights that are not shipped: what is missing is named, and what is put in its place is loaded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.metrics import (
    LACKS,
    METRICS,
    Reference,
    create_metrics,
    face_parameters,
    missing_metrics,
    not_computed,
    onnx_network,
)
from bench.metrics import arcface as arcface_module
from bench.metrics.local_weights import load_into, load_state
from weights.errors import WeightsError
from weights.registry import get

NEED_WEIGHTS = {
    "lpips": "alexnet-owt-7be5be79.pth",
    "tlp": "alexnet-owt-7be5be79.pth",
    "fid": "pt_inception-2015-12-05-6726825d.pth",
    "kid": "pt_inception-2015-12-05-6726825d.pth",
    "fvd": "i3d_torchscript.pt",
    "aed": "smirk_encoder.torchscript",
    "apd": "smirk_encoder.torchscript",
    "gaze_l2cs": "L2CSNet_gaze360.pkl",
    "action_units": "action_units.onnx",
    "emotion": "enet_b0_8_best_vgaf.onnx",
    "identity_arcface": "w600k_r50.onnx",
    "matched_identity_arcface": "w600k_r50.onnx",
    "matched_identity_arcface_compat": "w600k_r50.onnx",
    "lse_d": "syncnet_v2.model",
    "lse_c": "syncnet_v2.model",
}


@pytest.fixture
def empty_machine(tmp_path, monkeypatch):
    """A home and a folder of weights with nothing in them."""
    from huggingface_hub import constants

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights"


class TestMissing:
    @pytest.mark.parametrize(("name", "file"), NEED_WEIGHTS.items())
    def test_the_sentence_names_the_file_and_no_place_of_this_machine(self, empty_machine, name, file):
        if name in ("lpips", "tlp"):
            pytest.importorskip("torchmetrics", reason="LPIPS needs the extra bench")
        reason = METRICS[name].missing()
        assert reason.startswith("needs ") and file in reason
        assert str(empty_machine) not in reason
        assert METRICS[name].needs

    def test_what_is_missing_is_left_out_and_told(self, empty_machine):
        assert "emotion" in missing_metrics(METRICS)
        names = [metric.name for metric in create_metrics(Reference(None, None), ["emotion", "l1"])]
        assert names == ["l1"]

    def test_a_case_that_lacks_something_is_told_before_weights_are(self, empty_machine):
        assert not_computed("lpips", {"portrait", "driver"}) == LACKS["truth"]
        assert not_computed("emotion", {"driver"}).startswith("needs ")
        assert not_computed("aed_mesh", {"driver"}) is None
        assert not_computed("warping_error", ()) is None

    def test_an_unknown_name_is_an_error(self):
        with pytest.raises(KeyError):
            create_metrics(Reference(None, None), ["beauty"])

    @pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
    def test_requirements_are_known(self, metric):
        assert metric.requires <= LACKS.keys()
        assert metric.create(Reference(None, None)).name == metric.name

    def test_a_folder_of_weights_is_looked_into(self, empty_machine):
        path = empty_machine / "syncnet" / "syncnet_v2.model"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        assert get("syncnet").find("syncnet_v2.model") == path and METRICS["lse_c"].missing() is None


class TestLoading:
    def test_a_checkpoint_that_runs_code_is_refused(self, tmp_path):
        import pickle

        bad = tmp_path / "evil.pkl"
        bad.write_bytes(pickle.dumps({"a": SimpleNamespace()}))
        with pytest.raises(WeightsError, match="evil.pkl"):
            load_state(bad)

    def test_wrappers_and_prefixes_are_taken_off(self, tmp_path):
        torch.save({"state_dict": {"module.weight": torch.ones(2)}}, tmp_path / "a.pth")
        assert list(load_state(tmp_path / "a.pth")) == ["weight"]

    def test_a_network_gets_its_weights_and_other_files_are_told(self, tmp_path):
        norm = torch.nn.BatchNorm1d(3)
        state = {k: v for k, v in norm.state_dict().items() if not k.endswith("num_batches_tracked")}
        torch.save(state | {"weight": torch.full((3,), 2.0), "fc.bias": torch.zeros(1)}, tmp_path / "a.pth")
        loaded = load_into(torch.nn.BatchNorm1d(3), tmp_path / "a.pth", "the norm", drop=("fc.",))
        assert (loaded.weight == 2).all() and not loaded.training and not loaded.weight.requires_grad
        with pytest.raises(WeightsError, match=r"the norm does not fit.*fc\.bias"):
            load_into(torch.nn.BatchNorm1d(3), tmp_path / "a.pth", "the norm")

    def test_l2cs_has_the_published_keys(self):
        from bench.metrics.l2cs import L2CS

        with torch.device("meta"):
            state = L2CS().state_dict()
        assert state["fc_yaw_gaze.weight"].shape == (90, 2048)
        assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1) and "layer1.0.downsample.1.bias" in state
        # ResNet-50 has 25,557,032 parameters with its 1000 classes (2,049,000).
        trunk = sum(v.numel() for k, v in state.items() if "fc_" not in k and "running" not in k and "tracked" not in k)
        assert trunk == 25_557_032 - 2_049_000

    def test_l2cs_reads_the_angle_of_its_bins(self):
        from bench.metrics.l2cs import L2CS, direction

        torch.manual_seed(0)
        network = L2CS().eval()
        for head, number in ((network.fc_yaw_gaze, 50), (network.fc_pitch_gaze, 40)):
            torch.nn.init.zeros_(head.weight)
            head.bias.data = torch.full((90,), -1e4)
            head.bias.data[number] = 1e4
        assert network(torch.rand(1, 3, 64, 64))[0].tolist() == pytest.approx([20, -20], abs=1e-3)
        assert np.linalg.norm(direction(20, -20)) == pytest.approx(1)


class Parameters(torch.nn.Module):
    """In place of SMIRK: the upper half's colours as expression, the lower half's as pose."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :, :112].mean((2, 3)), x[:, :, 112:].mean((2, 3))


def test_smirks_place_is_taken_by_a_traced_network(empty_machine, face, follow):
    folder = empty_machine / "smirk"
    folder.mkdir(parents=True)
    torch.jit.trace(Parameters().eval(), torch.rand(1, 3, 224, 224)).save(folder / "smirk_encoder.torchscript")
    face_parameters.network.cache_clear()
    darker = (face[0] * 0.5).astype(np.uint8)
    low, high = face[1][:, 1].min(), face[1][:, 1].max()
    half = face[0].copy()
    half[int((low + high) / 2) :] //= 2
    found = {
        name: [follow(name, [face[1]], [face[1]], pictures=[p]) for p in (face[0], half, darker)]
        for name in ("aed", "apd")
    }
    face_parameters.network.cache_clear()
    assert found["aed"][0] == found["apd"][0] == 0
    assert found["aed"][1] < 0.1 * found["aed"][2] and found["apd"][1] == pytest.approx(found["apd"][2], rel=0.05)


def flattening_network(shape) -> bytes:
    """A model file whose network lays its input of a shape out in a row; ONNX's protocol buffers, written by hand."""

    def entry(number, value):
        if isinstance(value, int):
            return _varint(number << 3) + _varint(value)
        value = value.encode() if isinstance(value, str) else value
        return _varint(number << 3 | 2) + _varint(len(value)) + value

    def tensor(name, sides):
        dimensions = b"".join(entry(1, entry(1, side)) for side in sides)
        return entry(1, name) + entry(2, entry(1, entry(1, 1) + entry(2, dimensions)))

    node = entry(1, "x") + entry(2, "y") + entry(3, "flat") + entry(4, "Flatten")
    node += entry(5, entry(1, "axis") + entry(3, 1) + entry(20, 2))
    graph = entry(1, node) + entry(2, "g") + entry(11, tensor("x", shape))
    graph += entry(12, tensor("y", (shape[0], int(np.prod(shape[1:])))))
    return entry(1, 8) + entry(7, graph) + entry(8, entry(2, 13))


def _varint(value: int) -> bytes:
    found = b""
    while value >= 128:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


class TestONNX:
    def put(self, folder, name, file, side):
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_bytes(flattening_network((1, 3, side, side)))

    def test_runs_a_network(self, tmp_path):
        path = tmp_path / "flat.onnx"
        path.write_bytes(flattening_network((1, 3, 4, 4)))
        batch = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
        assert np.allclose(onnx_network.run(path, batch), batch.reshape(1, -1))

    def test_arcface_sees_an_aligned_face(self, empty_machine, face, follow, noise):
        self.put(empty_machine, "insightface-buffalo_l", "w600k_r50.onnx", 112)
        picture, mesh = face
        found = [follow("identity_arcface", [mesh], [mesh], pictures=noise([picture], s)) for s in (0, 10, 40)]
        assert found[0] == pytest.approx(1) and found == sorted(found, reverse=True) and found[2] < 0.99

    def test_five_points_land_on_the_template(self, face):
        matrix = arcface_module.similarity(arcface_module.TEMPLATE * 2 + 5, arcface_module.TEMPLATE)
        assert matrix == pytest.approx(np.array([[0.5, 0, -2.5], [0, 0.5, -2.5]]))
        turned = arcface_module.TEMPLATE @ np.array([[0, -1.0], [1, 0]])
        assert arcface_module.similarity(turned, arcface_module.TEMPLATE)[:, :2] == pytest.approx(
            np.array([[0, -1.0], [1, 0]])
        )
        chip = arcface_module.aligned(*face)
        assert chip.shape == (112, 112, 3)

    def test_classifiers_agree_with_themselves(self, empty_machine, face, follow):
        self.put(empty_machine, "hsemotion", "enet_b0_8_best_vgaf.onnx", 224)
        self.put(empty_machine, "action-units", "action_units.onnx", 224)
        picture, mesh = face
        for name in ("emotion", "action_units"):
            found = [follow(name, [mesh], [mesh], pictures=[p]) for p in (picture, 255 - picture)]
            assert found[0] == 1 > found[1]
