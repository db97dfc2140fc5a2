"""`mien train`: the commands from videos to a model that animates, and two processes that train one model."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--size", 64, "--device", "cpu", "--precision", "no", "--warmup", 1)

# Every process trains two steps and leaves its weights; then each stage's networks, shared out by FSDP2 in the blocks
# that they name, take two steps beside a whole copy.
SCRIPT = """
import copy, json, os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch.distributed.fsdp import fully_shard
from animate.train_base import load_base
from animate.train_recipe import StageConfig, StageNetworks
from animate.train_stages import StageTrainer

data, base, out = map(Path, sys.argv[1:])
rank = int(os.environ["RANK"])
config = StageConfig("motion", steps=2, frames=3, batch=1, size=64, learning_rate=1e-3, warmup=1)
trainer = StageTrainer(data, base, out / "run", config, precision="no", device="cpu")
trainer.train()
facts = {"kind": str(trainer.accelerator.distributed_type), "processes": trainer.accelerator.num_processes}
save_file(trainer.accelerator.unwrap_model(trainer.networks).state_dict(), out / f"weights{rank}.safetensors")

for stage in ("image", "motion"):
    pipeline = load_base(base, stage)
    whole = StageNetworks(pipeline.unet, pipeline.reference_network, pipeline.guider, stage).train()
    shared = copy.deepcopy(whole)
    for module in list(shared.modules()):
        if type(module).__name__ in whole._no_split_modules:
            fully_shard(module)
    fully_shard(shared)
    shared.unet.enable_gradient_checkpointing()
    torch.manual_seed(0)
    frames = 3 if stage == "motion" else 1
    inputs = [torch.randn(2, 4, frames, 8, 8), torch.tensor([500, 20]), torch.randn(2, 4, 8, 8)]
    inputs += [torch.randn(2, 5, 16), torch.rand(2, 3, frames, 64, 64), torch.tensor([True, stage == "image"])]
    for name, networks in (("whole", whole), ("shared", shared)):
        learning = [p for p in networks.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learning, lr=1e-3)
        losses = []
        for _ in range(2):
            loss = networks(*inputs).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        facts[f"{stage} {name}"] = losses
(out / f"facts{rank}.json").write_text(json.dumps(facts))
trainer.accelerator.end_training()
"""


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """accelerate keeps one configuration a process; other tests train with another."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="module")
def data(files, tmp_path_factory):
    """The tests' clip, prepared by the real command: two shots of four frames."""
    from ui.cli import main

    folder = tmp_path_factory.mktemp("prepared") / "data"
    options = ["--size", "64", "--shortest", "4", "--smallest-face", "32", "-q"]
    assert main(["train", "prepare", str(files / "clip.mp4"), "-o", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def two_processes(data, tiny_pipeline_folder, tmp_path_factory):
    """What SCRIPT left after it ran on two processes that talk over gloo."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(SCRIPT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    arguments = [folder / "script.py", data, tiny_pipeline_folder, folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


class TestTwoProcesses:
    def test_two_processes_train_one_model(self, two_processes):
        facts = json.loads((two_processes / "facts0.json").read_text())
        assert facts["processes"] == 2 and facts["kind"].endswith("MULTI_CPU")
        first, second = (load_file(two_processes / f"weights{rank}.safetensors") for rank in (0, 1))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_they_have_learned(self, two_processes, tiny_pipeline_folder):
        before = load_file(tiny_pipeline_folder / "unet" / "diffusion_pytorch_model.safetensors")
        after = load_file(two_processes / "weights1.safetensors")
        changed = {name for name in before if not torch.equal(before[name], after[f"unet.{name}"])}
        assert changed and all("motion_modules" in name for name in changed)

    def test_two_processes_see_what_one_sees_in_a_batch_twice_as_large(
        self, two_processes, data, tiny_pipeline_folder, tmp_path, mien
    ):
        options = ("--steps", 2, "--frames", 3, "--batch", 2, "--learning-rate", 1e-3, "--longest-stride", 1, *TINY)
        code, _, err = mien("train", "motion", data, "-b", tiny_pipeline_folder, "-o", tmp_path, *options)
        assert code == 0, err
        two, one = (
            json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["loss"]
            for folder in (two_processes / "run", tmp_path)
        )
        assert two == pytest.approx(one, rel=1e-4)

    @pytest.mark.parametrize("stage", ["image", "motion"])
    def test_networks_that_fsdp_shares_out_learn_the_same(self, two_processes, stage):
        for rank in (0, 1):
            facts = json.loads((two_processes / f"facts{rank}.json").read_text())
            assert facts[f"{stage} shared"] == pytest.approx(facts[f"{stage} whole"], rel=1e-5)
            assert facts[f"{stage} whole"][0] != facts[f"{stage} whole"][1]


class TestInterrupted:
    """Ctrl-C as the loop sees it, in the middle of the second of many steps."""

    @pytest.fixture
    def ctrl_c(self, monkeypatch):
        from animate.train_stages import StageTrainer

        one_step = StageTrainer._one_step

        def press(trainer, samples):
            if trainer.step == 1:
                raise KeyboardInterrupt
            return one_step(trainer, samples)

        monkeypatch.setattr(StageTrainer, "_one_step", press)

    def test_it_says_how_to_go_on(self, mien, data, tiny_pipeline_folder, tmp_path, ctrl_c):
        options = ("--steps", 5, "--save-every", 1, *TINY)
        code, _, err = mien("train", "image", data, "-b", tiny_pipeline_folder, "-o", tmp_path, *options)
        assert code == 130
        assert "interrupted at step 1" in err and "--resume" in err and "nothing was written" not in err


class TestCommands:
    def test_from_a_prepared_folder_to_a_model_with_motion(self, mien, data, tiny_pipeline_folder, tmp_path):
        from animate.pipelines.landmark import LandmarkAnimationPipeline

        first, second = tmp_path / "image", tmp_path / "motion"
        code, out, err = mien("train", "image", data, "-b", tiny_pipeline_folder, "-o", first, "--steps", 1, *TINY)
        assert code == 0 and f"{first / 'checkpoint-000001' / 'pipeline'}" in err
        code, out, err = mien("train", "motion", data, "-b", first, "-o", second, "--steps", 1, "--frames", 3, *TINY)
        assert code == 0, err
        pipeline = LandmarkAnimationPipeline.from_pretrained(second / "checkpoint-000001" / "pipeline")
        assert pipeline.unet.config.use_motion_module

    def test_prepare_says_what_it_made_and_what_it_left_out(self, mien, files, tmp_path):
        arguments = ("--size", 64, "--shortest", 4, "--smallest-face", 32)
        code, _, err = mien("train", "prepare", files, "-o", tmp_path / "out", *arguments)
        assert code == 0
        assert "left out: faceless.mp4" in err and "2 clips, 8 frames" in err

    @pytest.mark.parametrize("name", ["multi_gpu", "fsdp", "deepspeed_zero2"])
    def test_config_prints_a_file_for_accelerate(self, mien, name):
        code, out, _ = mien("train", "config", name)
        assert code == 0 and Path(out.strip()).is_file() and Path(out.strip()).name == f"{name}.yaml"

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (("config", "tpu"), "tpu"),
            (("prepare", "nowhere", "-o", "out"), "nowhere"),
            (("image", "nowhere", "-b", "base", "-o", "out"), "mien train prepare"),
            (("image", "nowhere", "-b", "base", "-o", "out", "--batch", 0), "batch"),
            (("motion", "nowhere", "-b", "base", "-o", "out", "--frames", 1), "2 frames"),
        ],
        ids=str,
    )
    def test_a_mistake_is_one_sentence(self, mien, tmp_path, monkeypatch, arguments, word):
        monkeypatch.chdir(tmp_path)
        code, _, err = mien("train", *arguments)
        assert code == 2 and err.count("\n") == 1 and word in err
