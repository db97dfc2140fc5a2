"""Published files become a pipeline folder; every key must fit; what is missing is named."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from animate.checkpoints import check_folder, convert_checkpoint, find_pipeline, load_pipeline
from animate.errors import OptionError, WeightsError
from animate.families import networks
from animate.pipelines.landmark import LandmarkAnimationPipeline

torch.set_num_threads(1)
PARTS = {"unet": "unet.pth", "reference_network": "referencenet.pth", "guider": "lmk_guider.pth"}
TINY_POSE_GUIDER = {
    "conditioning_embedding_channels": 8,
    "block_out_channels": (4, 4, 4, 4),
    "num_attention_heads": 2,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}


def configs_of(pipeline) -> dict[str, dict]:
    parts = {part: dict(getattr(pipeline, part).config) for part in PARTS}
    return {part: {k: v for k, v in config.items() if not k.startswith("_")} for part, config in parts.items()}


def numbered(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) for shape in shapes]


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """No weights of this machine have a part in a test."""
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def published(tmp_path, tiny_pipeline) -> Path:
    """A folder as the authors' files lie in it, and beside them the image encoder and the VAE."""
    folder = tmp_path / "published"
    (folder / "ckpts").mkdir(parents=True)
    for part, file in PARTS.items():
        torch.save(getattr(tiny_pipeline, part).state_dict(), folder / "ckpts" / file)
    tiny_pipeline.image_encoder.save_pretrained(folder / "image_encoder")
    tiny_pipeline.vae.save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def convert(published, tmp_path, tiny_pipeline):
    def run(out="model", **arguments):
        return convert_checkpoint(published, tmp_path / out, configs=configs_of(tiny_pipeline), **arguments)

    return run


def assert_same_state(own, other):
    own, other = own.state_dict(), other.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[key], other[key]) for key in own)


class TestConversion:
    def test_every_network_comes_out_as_it_went_in(self, convert, tiny_pipeline):
        pipeline = load_pipeline(convert())
        for part in (*PARTS, "vae", "image_encoder"):
            assert_same_state(getattr(pipeline, part), getattr(tiny_pipeline, part))

    def test_the_folder_holds_safetensors_and_json_alone(self, convert):
        kinds = {path.suffix for path in convert().rglob("*") if path.is_file()}
        assert kinds == {".safetensors", ".json"}

    def test_others_may_read_the_files_like_any_file_of_ours(self, convert):
        files = [path for path in convert().rglob("*") if path.is_file()]
        assert len({path.stat().st_mode for path in files}) == 1

    def test_the_converted_pipeline_draws_the_same_picture(self, convert, tiny_pipeline):
        inputs = {
            "reference_image": torch.zeros(1, 3, 16, 16),
            "landmark_map": torch.rand(1, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0)),
        }
        pictures = [
            pipeline(**inputs, num_inference_steps=2, generator=torch.Generator().manual_seed(1)).frames
            for pipeline in (tiny_pipeline, load_pipeline(convert()))
        ]
        # mapped files lie otherwise in memory, which changes the last bits of sums
        torch.testing.assert_close(*pictures, atol=1e-4, rtol=0)

    def test_half_precision_is_kept(self, published, convert, tiny_pipeline):
        half = {key: value.half() for key, value in tiny_pipeline.unet.state_dict().items()}
        (published / "ckpts" / "unet.pth").unlink()
        save_file(half, published / "FYE_unet-fp16.safetensors")
        folder = convert()
        assert load_dtype(folder / "unet") == torch.float16 and load_dtype(folder / "guider") == torch.float32

    def test_a_dtype_is_given_to_all_networks(self, convert):
        folder = convert(dtype=torch.bfloat16)
        assert {load_dtype(folder / part) for part in (*PARTS, "vae", "image_encoder")} == {torch.bfloat16}

    def test_large_networks_are_cut_into_files(self, convert):
        folder = convert(shard="200KB")
        assert len(list((folder / "unet").glob("*.safetensors"))) > 1
        assert load_pipeline(folder).unet.dtype == torch.float32

    def test_paths_may_be_given_one_by_one(self, published, tmp_path, tiny_pipeline):
        files = {part: published / "ckpts" / file for part, file in PARTS.items()}
        folder = convert_checkpoint(
            files,
            tmp_path / "model",
            configs=configs_of(tiny_pipeline),
            image_encoder=published / "image_encoder",
            vae=published / "vae",
        )
        assert_same_state(load_pipeline(folder).unet, tiny_pipeline.unet)


def load_dtype(folder: Path) -> torch.dtype:
    """The dtype that a component's file holds."""
    from safetensors import safe_open

    with safe_open(next(folder.glob("*.safetensors")), framework="pt") as file:
        return file.get_tensor(next(iter(file.keys()))).dtype


class TestJoining:
    def test_a_clip_fc_file_serves_both_networks(self, published, convert, tiny_pipeline):
        for part, file in list(PARTS.items())[:2]:
            state = getattr(tiny_pipeline, part).state_dict()
            bare = {key: value for key, value in state.items() if not key.startswith("clip_fc.")}
            torch.save(bare, published / "ckpts" / file)
        weight, bias = numbered((8, 16), (8,))
        save_file({"weight": weight, "bias": bias}, published / "FYE_clip_fc.safetensors")
        pipeline = load_pipeline(convert())
        for network in (pipeline.unet, pipeline.reference_network):
            assert torch.equal(network.clip_fc.weight, weight) and torch.equal(network.clip_fc.bias, bias)

    def test_motion_modules_come_from_their_own_file(self, published, convert, tiny_pipeline):
        state = tiny_pipeline.unet.state_dict()
        motion = {key: value + 1 for key, value in state.items() if "motion_modules." in key}
        torch.save({k: v for k, v in state.items() if k not in motion}, published / "ckpts" / "unet.pth")
        torch.save({f"module.{k}": v for k, v in motion.items()}, published / "mm_sd_v15_v2.ckpt")
        own = load_pipeline(convert()).unet.state_dict()
        assert all(torch.equal(own[key], value) for key, value in motion.items())

    def test_the_denoisers_own_motion_modules_win(self, published, convert, tiny_pipeline):
        state = tiny_pipeline.unet.state_dict()
        torch.save({k: v + 1 for k, v in state.items() if "motion_modules." in k}, published / "mm_sd_v15_v2.ckpt")
        assert_same_state(load_pipeline(convert()).unet, tiny_pipeline.unet)

    def test_an_image_encoder_of_older_versions_loads(self, published, convert, tiny_pipeline):
        state = tiny_pipeline.image_encoder.state_dict()
        state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
        (published / "image_encoder" / "model.safetensors").unlink()
        torch.save(state, published / "image_encoder" / "pytorch_model.bin")
        assert_same_state(load_pipeline(convert()).image_encoder, tiny_pipeline.image_encoder)


class TestWhatDoesNotFit:
    def change(self, published, tiny_pipeline, **changes):
        state = {**tiny_pipeline.unet.state_dict(), **changes}
        torch.save({k: v for k, v in state.items() if v is not None}, published / "ckpts" / "unet.pth")

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"conv_in.bias": None}, r"1 missing: conv_in\.bias"),
            ({"extra.weight": torch.zeros(1)}, r"1 unexpected: extra\.weight"),
            ({"conv_in.bias": torch.zeros(3)}, r"1 of another shape: conv_in\.bias is \(3,\), not \(8,\)"),
        ],
        ids=["missing", "unexpected", "misshaped"],
    )
    def test_keys_are_listed_and_nothing_is_written(self, published, convert, tiny_pipeline, tmp_path, changes, said):
        self.change(published, tiny_pipeline, **changes)
        with pytest.raises(WeightsError, match=said):
            convert()
        assert not (tmp_path / "model").exists()

    def test_a_network_of_another_size_does_not_pass(self, published, tmp_path):
        with pytest.raises(WeightsError, match="of another shape"):
            convert_checkpoint(published, tmp_path / "model")

    def test_missing_files_are_named_with_what_they_may_be_called(self, published, convert):
        (published / "ckpts" / "lmk_guider.pth").unlink()
        with pytest.raises(WeightsError, match=r"guider \(lmk_guider\.pth or FYE_lmk_guider\.safetensors\)"):
            convert()

    @pytest.mark.parametrize(
        ("part", "said"), [("vae", "mien weights pull sd-vae-ft-mse"), ("image_encoder", "sd-image-variations")]
    )
    def test_a_missing_part_of_another_repository_is_told(self, published, convert, part, said):
        shutil.rmtree(published / part)
        with pytest.raises(WeightsError, match=said):
            convert()

    def test_an_unknown_family_lists_the_known_ones(self, convert):
        with pytest.raises(WeightsError, match="follow-your-emoji or aniportrait"):
            convert(family="something")

    def test_a_folder_is_replaced_only_when_told(self, convert):
        first = convert()
        with pytest.raises(WeightsError, match="is there already"):
            convert()
        assert convert(overwrite=True) == first and load_pipeline(first)

    def test_a_conversion_that_breaks_off_leaves_nothing(self, convert, tmp_path, monkeypatch):
        def full(self, folder, **arguments):
            (Path(folder) / "half").write_text("")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(LandmarkAnimationPipeline, "save_pretrained", full)
        with pytest.raises(WeightsError, match="No space left"):
            convert()
        assert not [path for path in tmp_path.iterdir() if "model" in path.name]


class TestAniPortrait:
    def test_the_guiders_file_has_the_published_size(self):
        # 670 MB are told of pose_guider.pth; a second attention would make it 800
        network, config = networks("aniportrait", {})["guider"]
        with torch.device("meta"):
            state = network(**config).state_dict()
        assert round(sum(value.numel() * value.element_size() for value in state.values()) / 1e6) == 670

    def test_the_denoiser_has_stable_diffusions_size_and_animatediffs_motion_modules(self):
        network, config = networks("aniportrait", {})["unet"]
        with torch.device("meta"):
            state = network(**config).state_dict()
        motion = sum(value.numel() for key, value in state.items() if "motion_modules." in key)
        rest = sum(value.numel() for value in state.values()) - motion
        assert round(4 * rest / 1e9, 2) == 3.44 and round(4 * motion / 1e9, 2) == 1.82

    def test_its_files_become_a_pipeline_of_its_kind(self, published, tmp_path, tiny_pipeline):
        configs = configs_of(tiny_pipeline)
        configs["guider"] = TINY_POSE_GUIDER
        for part in ("unet", "reference_network"):
            configs[part] |= {"image_embedding_dim": None, "block_out_channels": (8, 16, 32, 32)}
        torch.manual_seed(0)
        built = {part: network(**config) for part, (network, config) in networks("aniportrait", configs).items()}
        state = built["unet"].state_dict()
        motion = {key: value for key, value in state.items() if "motion_modules." in key}
        torch.save({k: v for k, v in state.items() if k not in motion}, published / "denoising_unet.pth")
        torch.save(motion, published / "motion_module.pth")
        torch.save(built["guider"].state_dict(), published / "pose_guider.pth")
        whole = built["reference_network"].state_dict() | {"conv_out.weight": torch.zeros(1)}
        torch.save(whole, published / "reference_unet.pth")

        folder = convert_checkpoint(published, tmp_path / "model", "aniportrait", configs=configs)
        pipeline = load_pipeline(folder)
        for part, network in built.items():
            assert_same_state(getattr(pipeline, part), network)
        assert pipeline.scheduler.config.beta_schedule == "linear"
        assert pipeline.config.image_token_mode == "embedding"
        assert pipeline.config.landmark_style == "aniportrait"
        frames = pipeline(
            reference_image=torch.zeros(1, 3, 64, 64), landmark_map=torch.rand(1, 3, 2, 64, 64), num_inference_steps=2
        ).frames
        assert frames.shape == (1, 2, 3, 64, 64) and frames.isfinite().all()

    @torch.no_grad()
    def test_the_guider_gives_a_feature_for_every_level(self):
        from animate.models.pose_guider import PoseGuider

        torch.manual_seed(0)
        guider = PoseGuider(**TINY_POSE_GUIDER).eval()
        maps = torch.rand(2, 3, 3, 64, 128)
        features = guider(maps)
        sizes = [(8, 8, 16), (8, 4, 8), (16, 2, 4), (32, 1, 2), (32, 1, 2)]
        assert [tuple(feature.shape) for feature in features] == [(2, c, 3, h, w) for c, h, w in sizes]
        alone = guider(maps[:1, :, 1:2])
        for feature, one in zip(features, alone, strict=True):
            torch.testing.assert_close(feature[:1, :, 1:2], one)  # a frame knows nothing of the others


class TestLoading:
    def test_without_transformers_one_sentence_says_what_to_install(self, tiny_pipeline_folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(WeightsError, match=r"pip install 'mien\[cuda\]'"):
            load_pipeline(tiny_pipeline_folder)

    def test_a_saved_pipeline_loads_with_its_dtype(self, tiny_pipeline_folder):
        pipeline = load_pipeline(tiny_pipeline_folder, torch.bfloat16, "cpu")
        assert pipeline.unet.dtype == pipeline.vae.dtype == torch.bfloat16

    @pytest.fixture
    def broken(self, tiny_pipeline_folder, tmp_path):
        folder = tmp_path / "broken"
        shutil.copytree(tiny_pipeline_folder, folder)
        return folder

    @pytest.mark.parametrize(("part", "pull"), [("vae", "sd-vae-ft-mse"), ("image_encoder", "sd-image-variations")])
    def test_a_missing_component_is_named_with_its_repository(self, broken, part, pull):
        shutil.rmtree(broken / part)
        with pytest.raises(WeightsError, match=rf"lacks {part}/config\.json: run `mien weights pull {pull}`"):
            load_pipeline(broken)

    def test_missing_weights_are_named(self, broken):
        next((broken / "unet").glob("*.safetensors")).unlink()
        with pytest.raises(WeightsError, match=r"lacks unet/\*\.safetensors"):
            load_pipeline(broken)

    def test_damaged_weights_are_a_sentence(self, broken):
        path = next((broken / "unet").glob("*.safetensors"))
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(WeightsError, match="convert it again"):
            load_pipeline(broken)

    def test_weights_without_a_key_are_refused(self, broken):
        path = next((broken / "guider").glob("*.safetensors"))
        save_file({"conv_in.weight": torch.zeros(4, 3, 3, 3)}, path, metadata={"format": "pt"})
        with pytest.raises(WeightsError, match=r"guider does not fit the network: 15 missing: conv_in\.bias"):
            load_pipeline(broken)

    def test_weights_with_another_key_are_refused(self, broken, tiny_pipeline):
        path = next((broken / "guider").glob("*.safetensors"))
        save_file({**tiny_pipeline.guider.state_dict(), "more": torch.zeros(1)}, path, metadata={"format": "pt"})
        with pytest.raises(WeightsError, match="1 unexpected: more"):
            load_pipeline(broken)

    def test_a_pickle_is_not_loaded(self, broken):
        path = next((broken / "guider").glob("*.safetensors"))
        torch.save({}, path.with_suffix(".bin"))
        path.unlink()
        with pytest.raises(WeightsError, match="guider"):
            load_pipeline(broken)

    def test_another_pipeline_is_refused(self, broken):
        (broken / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
        with pytest.raises(WeightsError, match="holds a StableDiffusionPipeline"):
            check_folder(broken)

    def test_a_name_without_files_says_what_to_run(self):
        with pytest.raises(WeightsError, match="mien weights pull follow-your-emoji.*mien weights convert"):
            load_pipeline("follow-your-emoji")

    def test_a_name_finds_what_was_converted(self, tiny_pipeline_folder, tmp_path):
        target = tmp_path / "store" / "pipelines" / "follow-your-emoji"
        target.parent.mkdir(parents=True)
        shutil.copytree(tiny_pipeline_folder, target)
        assert find_pipeline("follow-your-emoji") == target

    def test_no_model_in_a_folder_is_a_sentence(self, tmp_path):
        with pytest.raises(WeightsError, match="There is no model in .* mini, follow-your-emoji"):
            load_pipeline(tmp_path / "nowhere")

    def test_an_unknown_device_is_told(self, tiny_pipeline_folder):
        with pytest.raises(OptionError, match="cannot be used here"):
            load_pipeline(tiny_pipeline_folder, device="cuda:99")
