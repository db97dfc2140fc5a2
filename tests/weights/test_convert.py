"""Checkpoint files are read safely, and what does not fit is listed."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from weights.convert import (
    FAMILIES,
    check_shapes,
    file_shapes,
    find_files,
    fit,
    motion_module_state,
    network_state,
    read_parts,
    read_state,
    stored_shapes,
    vae_state,
)
from weights.errors import WeightsError


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"a.weight": torch.randn(2, 3, generator=generator), "a.bias": torch.randn(2, generator=generator).half()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one
    )


class TestReading:
    @pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
    def test_pickled_tensors(self, tmp_path, state, suffix):
        torch.save(state, tmp_path / f"a{suffix}")
        assert same(read_state(tmp_path / f"a{suffix}"), state)

    def test_safetensors(self, tmp_path, state):
        save_file(state, tmp_path / "a.safetensors")
        assert same(read_state(tmp_path / "a.safetensors"), state)

    def test_files_from_before_the_zip_format(self, tmp_path, state):
        torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
        assert same(read_state(tmp_path / "a.pth"), state)

    def test_a_training_checkpoint_is_unwrapped(self, tmp_path, state):
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "a.ckpt")
        assert same(read_state(tmp_path / "a.ckpt"), state)

    def test_a_prefix_of_some_keys_stays(self, tmp_path):
        torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "a.pth")
        assert set(read_state(tmp_path / "a.pth")) == {"module.a", "b"}

    def test_code_in_a_pickle_is_not_run(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        torch.save({"a": Trap()}, tmp_path / "a.pth")
        with pytest.raises(WeightsError, match="can run code"):
            read_state(tmp_path / "a.pth")
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_file_cut_off_is_a_sentence(self, tmp_path, state, suffix):
        path = tmp_path / f"a{suffix}"
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(WeightsError, match="damaged"):
            read_state(path)

    @pytest.mark.parametrize("content", [[1, 2], {"a": 3}, 5])
    def test_what_is_no_state_dict_is_told(self, tmp_path, content):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(WeightsError, match="no state dict"):
            read_state(tmp_path / "a.pth")

    def test_plain_pickles_are_told(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(WeightsError):
            read_state(tmp_path / "a.bin")

    @pytest.mark.parametrize("name", ["nowhere.pth", "a.onnx"])
    def test_other_files_are_told(self, tmp_path, name):
        (tmp_path / "a.onnx").write_text("x")
        with pytest.raises(WeightsError, match="There is no checkpoint|is no checkpoint"):
            read_state(tmp_path / name)


class TestParts:
    """A file with several state dicts."""

    def test_pickled(self, tmp_path, state):
        torch.save({"one": state, "two": {"c": torch.ones(1)}}, tmp_path / "a.ckpt")
        parts = read_parts(tmp_path / "a.ckpt", ["one", "two"])
        assert set(parts) == {"one", "two"} and same(parts["one"], state)

    def test_safetensors(self, tmp_path, state):
        save_file({f"one.{key}": value for key, value in state.items()}, tmp_path / "a.safetensors")
        assert same(read_parts(tmp_path / "a.safetensors", ["one"])["one"], state)

    @pytest.mark.parametrize("content", [{}, {"one": {}}, {"one": {}, "two": {}, "three": {}}, [1], {"a": 3}])
    def test_other_parts_are_told(self, tmp_path, content):
        torch.save(content, tmp_path / "a.ckpt")
        with pytest.raises(WeightsError, match="must hold one, two, but it holds"):
            read_parts(tmp_path / "a.ckpt", ["one", "two"])

    def test_a_part_that_is_no_state_dict(self, tmp_path):
        torch.save({"one": {"a": 3}}, tmp_path / "a.ckpt")
        with pytest.raises(WeightsError, match="no state dict"):
            read_parts(tmp_path / "a.ckpt", ["one"])

    def test_no_file(self, tmp_path):
        with pytest.raises(WeightsError, match="There is no checkpoint"):
            read_parts(tmp_path / "a.ckpt", ["one"])

    def test_shapes_of_a_file(self, tmp_path, state):
        save_file(state, tmp_path / "a.safetensors")
        assert file_shapes(tmp_path / "a.safetensors") == {"a.weight": (2, 3), "a.bias": (2,)}


class TestFitting:
    def test_the_networks_order_is_taken(self, state):
        expected = {"a.bias": (2,), "a.weight": (2, 3)}
        assert list(fit(state, expected, "x")) == ["a.bias", "a.weight"]

    def test_all_three_faults_stand_in_one_sentence(self, state):
        with pytest.raises(WeightsError) as error:
            fit(state, {"a.weight": (3, 2), "b": (1,)}, "file.pth")
        assert str(error.value) == (
            "file.pth does not fit the network: 1 missing: b; 1 unexpected: a.bias; "
            "1 of another shape: a.weight is (2, 3), not (3, 2)."
        )

    def test_twenty_keys_are_listed_and_the_rest_counted(self):
        with pytest.raises(WeightsError, match=r"25 missing: k0, .*, k19 and 5 more"):
            check_shapes({}, {f"k{i}": (1,) for i in range(25)}, "x")

    def test_shapes_come_from_the_headers_of_all_files(self, tmp_path):
        save_file({"a": torch.zeros(2, 3)}, tmp_path / "1.safetensors")
        save_file({"b": torch.zeros(())}, tmp_path / "2.safetensors")
        assert stored_shapes(tmp_path) == {"a": (2, 3), "b": ()}


class TestFamilies:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("unet.pth", "referencenet.pth", "lmk_guider.pth"):
            torch.save({"w": torch.ones(1)}, tmp_path / name)
        return tmp_path

    def test_the_authors_files_are_preferred_to_the_mirrors(self, folder):
        save_file({"w": torch.zeros(1)}, folder / "FYE_unet-fp16.safetensors")
        assert find_files(folder, "follow-your-emoji")["unet"] == folder / "unet.pth"

    def test_half_a_set_of_mirrors_fills_in(self, folder):
        (folder / "unet.pth").unlink()
        save_file({"w": torch.zeros(1)}, folder / "FYE_unet-fp16.safetensors")
        assert find_files(folder, "follow-your-emoji")["unet"].name == "FYE_unet-fp16.safetensors"

    def test_no_folder_is_told(self, tmp_path):
        with pytest.raises(WeightsError, match="There is no folder"):
            find_files(tmp_path / "nowhere", "aniportrait")

    def test_all_missing_parts_are_named_at_once(self, tmp_path):
        with pytest.raises(WeightsError) as error:
            find_files(tmp_path, "aniportrait")
        assert all(file in str(error.value) for file in ("denoising_unet.pth", "reference_unet.pth", "pose_guider.pth"))

    def test_what_nothing_reads_is_left_out_by_name_only(self, tmp_path):
        keys = ["conv_in.weight", "conv_out.bias", "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_q.weight"]
        keys += ["up_blocks.3.attentions.2.transformer_blocks.0.norm1.weight", "stray"]
        torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "reference_unet.pth")
        state = network_state(
            {"reference_network": tmp_path / "reference_unet.pth"}, "reference_network", "aniportrait"
        )
        assert set(state) == {keys[0], keys[3], keys[4]}

    def test_nothing_of_follow_your_emoji_is_left_out(self):
        assert not FAMILIES["follow-your-emoji"].unread

    def test_a_file_without_motion_modules_is_told(self, tmp_path):
        with pytest.raises(WeightsError, match="no motion modules"):
            motion_module_state({"conv_in.weight": torch.zeros(1)}, tmp_path / "a.ckpt")

    def test_old_names_of_the_vaes_attention(self):
        old = {f"decoder.mid_block.attentions.0.{name}.weight": None for name in ("query", "key", "value", "proj_attn")}
        new = {f"decoder.mid_block.attentions.0.{name}.weight" for name in ("to_q", "to_k", "to_v", "to_out.0")}
        assert set(vae_state(old)) == new
        assert set(vae_state(dict.fromkeys(new))) == new
