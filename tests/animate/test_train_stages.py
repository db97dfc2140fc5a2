"""Both stages of full-size training on tiny real networks and real pictures: runs, checkpoints, what comes out."""

import importlib.util
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import animate
from animate.errors import MediaError, OptionError, WeightsError
from animate.train_base import load_base, start_from_stable_diffusion
from animate.train_data import SampleNumbers, TrainingClips, expression_mask
from animate.train_recipe import StageConfig, StageNetworks
from animate.train_stages import StageTrainer, checkpoints, make_optimizer

CONFIGS = Path(animate.__file__).parent / "configs"
IMAGE = StageConfig(steps=2, size=64, learning_rate=1e-3, warmup=1, gradient_checkpointing=False)
MOTION = replace(IMAGE, stage="motion", frames=3, batch=1)


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """accelerate keeps one configuration a process; other tests train with another."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="module")
def data(tmp_path_factory, astronaut):
    """A prepared clip: 12 frames of 64 px of a face that moves to the right."""
    from animate.media import VideoWriter
    from animate.train_prepare import PrepareConfig, prepare

    folder = tmp_path_factory.mktemp("data")
    face = np.ascontiguousarray(astronaut[0:256, 96:352])
    with VideoWriter(folder / "clip.mp4", Fraction(25)) as writer:
        for t in range(12):
            writer.write(np.roll(face, 4 * t, axis=1))
    prepare([folder / "clip.mp4"], folder / "out", PrepareConfig(size=64, shortest=8, smallest_face=32))
    return folder / "out"


def trainer(data, base, run, config=IMAGE, **changes) -> StageTrainer:
    return StageTrainer(data, base, run, config, precision="no", device="cpu", **changes)


def weights(folder) -> dict[str, torch.Tensor]:
    """All weights of a pipeline folder, by component and name."""
    paths = Path(folder).rglob("*.safetensors")
    return {f"{path.parent.name}.{name}": value for path in paths for name, value in load_file(path).items()}


class TestSamples:
    def test_a_sample_holds_clip_reference_maps_and_masks(self, data):
        sample = TrainingClips(data, frames=3, size=64)[0]
        shapes = {name: tuple(value.shape) for name, value in sample.items()}
        assert shapes == {
            "reference": (3, 64, 64),
            "clip": (3, 3, 64, 64),
            "landmark_map": (3, 3, 64, 64),
            "expression_mask": (1, 3, 64, 64),
            "facial_mask": (1, 3, 64, 64),
            "index": (),
        }
        assert sample["clip"].min() < -0.5 and sample["clip"].max() > 0.5
        assert sample["landmark_map"].min() == 0 and 0 < sample["landmark_map"].max() <= 1

    def test_a_sample_is_a_function_of_seed_and_number(self, data):
        one, same, other = (TrainingClips(data, frames=3, size=64, seed=seed)[5] for seed in (0, 0, 1))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not torch.equal(one["clip"], other["clip"])

    def test_a_pair_is_not_two_neighbours(self, data):
        clips = TrainingClips(data, size=64)
        rng = np.random.default_rng(0)
        distances = [abs(chosen[0] - reference) for chosen, reference in (clips._choose(12, rng) for _ in range(50))]
        assert min(distances) >= 4

    def test_strides_make_other_speeds_and_never_leave_the_clip(self, data):
        clips = TrainingClips(data, frames=4, size=64, longest_stride=5)
        rng = np.random.default_rng(0)
        steps = set()
        for _ in range(100):
            chosen, _ = clips._choose(12, rng)
            steps.add(chosen[1] - chosen[0])
            assert chosen == list(range(chosen[0], chosen[-1] + 1, chosen[1] - chosen[0]))[:4] and chosen[-1] < 12
        assert steps == {1, 2, 3}

    def test_landmarks_follow_the_picture_when_it_is_resized_and_mirrored(self, data):
        clips = TrainingClips(data, size=32)
        points = clips.clips[0].landmarks(3)
        _, plain = clips._frame(clips.clips[0], 3, mirrored=False)
        picture, mirrored = clips._frame(clips.clips[0], 3, mirrored=True)
        assert picture.shape == (32, 32, 3)
        assert np.allclose((plain + 0.5) * 2 - 0.5, points, atol=0.51)
        assert np.allclose(mirrored[33, 0], 31 - plain[263, 0], atol=1e-4)

    def test_the_expression_mask_covers_eyes_brows_and_lips_and_no_cheek(self, astronaut_landmarks):
        mask = expression_mask(astronaut_landmarks, (512, 512))
        at = lambda n: mask[tuple(np.rint(astronaut_landmarks[n, 1::-1]).astype(int))]  # noqa: E731
        assert all(at(n) == 255 for n in (468, 473, 105, 334, 13, 14, 61, 291))
        assert all(at(n) == 0 for n in (50, 280, 152, 4, 10))

    def test_processes_share_the_samples_out(self):
        first, second = (list(SampleNumbers(1, 2, 3, rank, 2)) for rank in (0, 1))
        assert first == [[6, 7, 8], [12, 13, 14]] and second == [[9, 10, 11], [15, 16, 17]]

    def test_a_folder_that_is_not_prepared_is_refused(self, tmp_path, data):
        with pytest.raises(MediaError, match="mien train prepare"):
            TrainingClips(tmp_path)
        with pytest.raises(MediaError, match="has 40 frames"):
            TrainingClips(data, frames=40)


@pytest.fixture(scope="module")
def run(data, tiny_pipeline_folder, tmp_path_factory):
    """A finished image stage of two steps."""
    folder = tmp_path_factory.mktemp("image")
    assert trainer(data, tiny_pipeline_folder, folder).train() == 2
    return folder


class TestImageStage:
    def test_a_checkpoint_is_a_pipeline_without_motion_modules(self, run):
        from animate.pipelines.landmark import LandmarkAnimationPipeline

        pipeline = LandmarkAnimationPipeline.from_pretrained(run / "checkpoint-000002" / "pipeline")
        assert not pipeline.unet.config.use_motion_module
        pipeline.set_progress_bar_config(disable=True)
        image, maps = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 1, 64, 64)
        assert pipeline(image, maps, num_inference_steps=1).frames.shape == (1, 1, 3, 64, 64)

    def test_unet_reference_network_and_guider_learn_and_the_rest_stays(self, run, tiny_pipeline_folder):
        before, after = weights(tiny_pipeline_folder), weights(run / "checkpoint-000002" / "pipeline")
        changed = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
        assert changed == {"unet", "reference_network", "guider"}

    def test_the_log_tells_the_loss(self, run):
        (line,) = (run / "log.jsonl").read_text().splitlines()
        assert json.loads(line)["step"] == 2 and json.loads(line)["loss"] > 0

    def test_a_run_is_not_overwritten(self, run, data, tiny_pipeline_folder):
        with pytest.raises(OptionError, match="--resume"):
            trainer(data, tiny_pipeline_folder, run).train()

    def test_a_run_is_not_resumed_with_another_recipe(self, run, data, tiny_pipeline_folder):
        with pytest.raises(OptionError, match="another noise_offset"):
            trainer(data, tiny_pipeline_folder, run, replace(IMAGE, noise_offset=0.0)).train(resume=True)

    def test_the_motion_stage_goes_on_from_the_run_and_changes_motion_modules_alone(self, run, data, tmp_path):
        trainer(data, run, tmp_path / "run", MOTION).train()
        before, after = (
            weights(run / "checkpoint-000002/pipeline"),
            weights(tmp_path / "run/checkpoint-000002/pipeline"),
        )
        assert all("motion_modules" in name for name in after.keys() - before.keys())
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert any(
            after[name].abs().max() > 0 for name in after if name.endswith("temporal_transformer.proj_out.weight")
        )


class TestResume:
    def test_a_resumed_run_is_an_uninterrupted_one_bit_for_bit(self, data, tiny_pipeline_folder, tmp_path):
        config = replace(MOTION, steps=4, accumulate=2, ema=0.9)
        trainer(data, tiny_pipeline_folder, tmp_path / "a", config).train()
        trainer(data, tiny_pipeline_folder, tmp_path / "b", config).train(minutes=0)  # stops after one step
        assert [path.name for path in checkpoints(tmp_path / "b")] == ["checkpoint-000001"]
        trainer(data, tiny_pipeline_folder, tmp_path / "b", config).train(resume=True)
        a, b = (weights(tmp_path / name / "checkpoint-000004") for name in "ab")
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        one, two = (load_file(tmp_path / "b" / f"checkpoint-{step:06d}/model.safetensors") for step in (1, 4))
        assert any(not torch.equal(one[name], two[name]) for name in one)

    def test_only_the_last_checkpoints_stay_and_no_half_written_one_counts(self, data, tiny_pipeline_folder, tmp_path):
        (tmp_path / ".checkpoint-000001.part").mkdir()
        trainer(data, tiny_pipeline_folder, tmp_path, replace(IMAGE, steps=3, batch=1)).train(save_every=1, keep=2)
        assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-000002", "checkpoint-000003"]
        assert not list(tmp_path.glob(".*.part"))

    def test_averaged_weights_are_what_is_exported(self, data, tiny_pipeline_folder, tmp_path):
        trainer(data, tiny_pipeline_folder, tmp_path, replace(MOTION, steps=3, ema=0.9)).train()
        folder = tmp_path / "checkpoint-000003"
        averages = load_file(folder / "ema.safetensors")
        exported, last = weights(folder / "pipeline"), load_file(folder / "model.safetensors")
        assert all(torch.equal(exported[name], value) for name, value in averages.items())
        assert any(not torch.equal(last[name], value) for name, value in averages.items())


def test_the_loss_falls_on_one_tiny_clip(data, tiny_pipeline_folder, tmp_path):
    config = replace(IMAGE, steps=40, batch=4, learning_rate=1e-2, uncond_ratio=0.0)
    run = trainer(data, tiny_pipeline_folder, tmp_path, config)
    probes = torch.utils.data.default_collate([run.data[1_000_000 + n] for n in range(24)])

    def loss() -> float:
        with torch.no_grad():
            return float(run.loss(probes))

    before = loss()
    run.train()
    assert loss() < 0.7 * before


class TestBase:
    def test_mini_is_no_base(self):
        from weights.registry import EMBEDDED

        with pytest.raises(OptionError, match="no full-size model"):
            load_base(EMBEDDED / "mini", "image")

    def test_a_folder_without_a_model_is_refused(self, tmp_path):
        with pytest.raises(WeightsError, match="mien weights convert"):
            load_base(tmp_path, "image")

    def test_fresh_motion_modules_change_nothing_and_given_ones_are_taken(self, run, tiny_pipeline_folder):
        fresh = load_base(run, "motion").unet
        still = load_base(run, "image").unet
        sample, tokens = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 5, 16)
        with torch.no_grad():
            difference = fresh(sample, 500, tokens).sample - still(sample, 500, tokens).sample
        assert difference.abs().max() < 1e-6
        given = load_base(run, "motion", motion_from=tiny_pipeline_folder).unet.state_dict()
        source = weights(tiny_pipeline_folder)
        assert all(torch.equal(given[n], source[f"unet.{n}"]) for n in given if "motion_modules" in n)

    def test_stable_diffusions_weights_become_both_networks(self, tiny_pipeline, tmp_path):
        from diffusers import UNet2DConditionModel

        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        parts = {"unet": unet, "image_encoder": tiny_pipeline.image_encoder, "vae": tiny_pipeline.vae}
        for name, part in parts.items():
            part.save_pretrained(tmp_path / name)
        out = start_from_stable_diffusion(*(tmp_path / name for name in parts), tmp_path / "out")
        pipeline = load_base(out, "image")
        for network in (pipeline.unet, pipeline.reference_network):
            taken = {n: v for n, v in network.state_dict().items() if "clip_fc" not in n}
            assert all(torch.equal(value, unet.state_dict()[name]) for name, value in taken.items())
        sample, tokens = torch.randn(1, 4, 8, 8), torch.zeros(1, 5, 8)
        pipeline.unet.clip_fc = None
        with torch.no_grad():
            ours = pipeline.unet(sample[:, :, None], 500, tokens).sample[:, :, 0]
            torch.testing.assert_close(ours, unet(sample, 500, tokens).sample, atol=1e-5, rtol=1e-4)

    def test_a_folder_that_is_no_stable_diffusion_is_named(self, tmp_path):
        with pytest.raises(WeightsError, match="UNet2DConditionModel"):
            start_from_stable_diffusion(tmp_path / "a", tmp_path / "b", tmp_path / "c", tmp_path / "out")


class TestMachine:
    @pytest.mark.parametrize("name", ["multi_gpu", "fsdp", "deepspeed_zero2"])
    def test_accelerate_understands_the_configurations(self, name):
        from accelerate.commands.config.config_args import load_config_from_file

        config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
        assert config.mixed_precision == "bf16" and config.num_processes == 8

    @pytest.mark.parametrize("stage", ["image", "motion"])
    def test_accelerates_fsdp_finds_the_blocks_of_each_stage(self, run, stage):
        from accelerate.utils import FullyShardedDataParallelPlugin

        pipeline = load_base(run, stage)
        networks = StageNetworks(pipeline.unet, pipeline.reference_network, pipeline.guider, stage)
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="TRANSFORMER_BASED_WRAP")
        plugin.set_auto_wrap_policy(networks)
        wrapped = {kind.__name__ for kind in plugin.auto_wrap_policy.keywords["transformer_layer_cls"]}
        blocks = {"ResnetBlock2D", "SpatialTransformerBlock"}
        assert wrapped == (blocks | {"TemporalTransformerBlock"} if stage == "motion" else blocks)

    @pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
    def test_without_bitsandbytes_eight_bit_adam_says_what_to_do(self, tiny_pipeline):
        with pytest.raises(OptionError, match="pip install bitsandbytes"):
            make_optimizer(tiny_pipeline.guider, replace(IMAGE, eight_bit_adam=True))

    def test_bfloat16_trains_and_exports_halves(self, data, tiny_pipeline_folder, tmp_path):
        config = replace(IMAGE, steps=1, batch=1)
        StageTrainer(data, tiny_pipeline_folder, tmp_path, config, precision="bf16", device="cpu").train()
        folder = tmp_path / "checkpoint-000001"
        assert load_file(folder / "model.safetensors")["unet.conv_in.weight"].dtype == torch.float32
        assert weights(folder / "pipeline")["unet.conv_in.weight"].dtype == torch.float16

    @pytest.mark.parametrize("wrong", [{"precision": "int8"}, {"device": "tpu"}], ids=str)
    def test_unknown_words_are_refused(self, data, tiny_pipeline_folder, tmp_path, wrong):
        with pytest.raises(OptionError, match="Unknown"):
            StageTrainer(data, tiny_pipeline_folder, tmp_path, IMAGE, **wrong)


def test_a_damaged_frame_is_named(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    for picture in (tmp_path / "data").rglob("*.jpg"):
        picture.write_bytes(b"")
    with pytest.raises(MediaError, match="jpg is missing or damaged"):
        TrainingClips(tmp_path / "data", size=64)[0]
