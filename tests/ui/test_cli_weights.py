"""`mien weights list | pull | verify | convert` at the terminal."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """An empty machine; the weights inside Mien stay."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


class TestList:
    def test_json_tells_source_size_checksum_licence_and_place(self, mien):
        code, out, _ = mien("weights", "list", "--json")
        records = {record["name"]: record for record in json.loads(out)}
        official = records["follow-your-emoji"]
        assert code == 0 and official["repository"] == "YueMafighting/FollowYourEmoji"
        assert len(official["revision"]) == 40 and not official["commercial_use"] and not official["available"]
        unet = next(entry for entry in official["details"] if entry["file"] == "ckpts/unet.pth")
        assert unet["size"] == 5259498847 and unet["sha256"].startswith("05daa70f") and unet["path"] is None
        assert {"sd-image-variations", "sd-vae-ft-mse", "taesd", "animatediff", "aniportrait"} <= records.keys()

    def test_a_paragraph_tells_source_licence_and_how_to_get_it(self, mien):
        code, out, _ = mien("weights", "list")
        lines = out.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("follow-your-emoji "))
        assert code == 0 and "non-commercial" in lines[first]
        assert "YueMafighting/FollowYourEmoji @ 9ed6749, 8,696.0 MB" in lines[first + 2]
        assert lines[first + 3].endswith("mien weights pull follow-your-emoji")

    def test_one_record_lists_its_files(self, mien):
        code, out, _ = mien("weights", "list", "follow-your-emoji")
        (line,) = (line for line in out.splitlines() if "ckpts/unet.pth" in line)
        assert code == 0 and "5,259,498,847 bytes, sha256 05daa70f" in line and line.endswith("not here")

    def test_a_file_in_the_store_is_seen(self, mien, machine):
        folder = machine / "store" / "animatediff"
        folder.mkdir(parents=True)
        (folder / "mm_sd_v15_v2.ckpt").write_bytes(b"x")
        records = {record["name"]: record for record in json.loads(mien("weights", "list", "--json")[1])}
        assert records["animatediff"]["available"] and records["animatediff"]["path"] == str(folder)


class TestPull:
    def test_offline_one_sentence_names_file_repository_and_folder(self, mien, machine):
        code, out, err = mien("weights", "pull", "taesd", "-q")
        assert code == 2 and not out and err.count("\n") == 1
        assert all(said in err for said in ("config.json", "madebyollin/taesd", str(machine / "store" / "taesd")))

    def test_the_licence_is_told_before(self, mien):
        code, _, err = mien("weights", "pull", "follow-your-emoji")
        assert code == 2 and "not for commercial use" in err

    def test_an_unknown_name_lists_the_known_ones(self, mien):
        code, _, err = mien("weights", "pull", "nothing")
        assert code == 2 and "sd-vae-ft-mse" in err


class TestVerify:
    def test_what_comes_with_mien_is_sound(self, mien):
        code, out, _ = mien("weights", "verify")
        assert code == 0 and "visemes.safetensors" in out and "damaged" not in out and "missing" not in out

    def test_a_damaged_file_gives_one(self, mien, machine):
        folder = machine / "store" / "animatediff"
        folder.mkdir(parents=True)
        (folder / "mm_sd_v15_v2.ckpt").write_bytes(b"PK cut off")
        code, out, _ = mien("weights", "verify")
        assert code == 1 and "10 bytes instead of 1817888431" in out

    def test_a_missing_one_that_was_asked_for_gives_one(self, mien):
        code, out, err = mien("weights", "verify", "taesd")
        assert code == 1 and "missing" in out and "mien weights pull taesd" in err

    def test_json(self, mien):
        code, out, _ = mien("weights", "verify", "prior", "--json")
        assert code == 0 and json.loads(out)["prior"][0]["state"] == "readable"


class TestConvert:
    def test_missing_files_are_one_sentence(self, mien, tmp_path):
        code, _, err = mien("weights", "convert", "aniportrait", tmp_path, "-o", tmp_path / "out")
        assert code == 2 and "pose_guider.pth" in err and err.count("\n") == 1

    def test_nothing_pulled_is_one_sentence(self, mien):
        code, _, err = mien("weights", "convert", "follow-your-emoji")
        assert code == 2 and "mien weights pull follow-your-emoji-fp16" in err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [(["something"], "no family"), (["aniportrait", "--dtype", "int8"], "keep, float32, float16, bfloat16")],
    )
    def test_wrong_options_are_told(self, mien, arguments, said):
        code, _, err = mien("weights", "convert", *arguments)
        assert code == 2 and said in err

    def test_files_become_the_model_that_its_name_finds(self, mien, machine, tiny_pipeline, monkeypatch):
        from animate import families
        from animate.checkpoints import load_pipeline

        published = machine / "store" / "follow-your-emoji"
        published.mkdir(parents=True)
        parts = {"unet": "unet.pth", "reference_network": "referencenet.pth", "guider": "lmk_guider.pth"}
        for part, file in parts.items():
            torch.save(getattr(tiny_pipeline, part).state_dict(), published / file)
        tiny_pipeline.image_encoder.save_pretrained(published / "image_encoder")
        tiny_pipeline.vae.save_pretrained(machine / "store" / "sd-vae-ft-mse")
        whole = families.networks
        tiny = {
            part: {k: v for k, v in getattr(tiny_pipeline, part).config.items() if not k.startswith("_")}
            for part in parts
        }
        monkeypatch.setattr(families, "networks", lambda name, changes: whole(name, tiny))  # the published are 9 GB

        code, _, err = mien("weights", "convert", "follow-your-emoji", "--dtype", "float16")
        assert code == 0 and "ready for `--model follow-your-emoji`" in " ".join(err.split())
        pipeline = load_pipeline("follow-your-emoji", torch.float16)
        assert torch.equal(pipeline.unet.conv_in.weight, tiny_pipeline.unet.conv_in.weight.half())

    def test_fantasy_portrait_says_what_it_needs(self, mien, machine):
        code, _, err = mien("weights", "convert", "fantasy-portrait")
        assert code == 2 and "mien weights pull fantasy-portrait" in err
        published = machine / "store" / "fantasy-portrait"
        published.mkdir(parents=True)
        torch.save({}, published / "fantasyportrait_model.ckpt")
        code, _, err = mien("weights", "convert", "fantasy-portrait")
        assert code == 2 and "mien weights pull wan-i2v-720p" in err
        code, _, err = mien("weights", "convert", "fantasy-portrait", "--base", str(machine))
        assert code == 2 and "holds none of it" in err


def test_models_and_weights_list_print_the_same(mien):
    assert mien("models", "--json")[1] == mien("weights", "list", "--json")[1]


def test_the_command_is_light():
    import subprocess
    import sys

    root = Path(__file__).resolve().parents[2]
    code = "import sys, ui.cli_weights; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "huggingface_hub", "diffusers", "safetensors"} & set(loaded.split())
