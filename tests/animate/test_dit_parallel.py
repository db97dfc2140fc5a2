"""Context parallelism of ExpressionDiT: two processes (gloo) give what one gives, with and without masks."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# 3 latent frames: two processes hold one and a half each; of 4 they hold two each
WORKER = '''
import sys
import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from diffusers.hooks import apply_context_parallel
from diffusers.models.transformers.transformer_wan import WanAttention
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh

from animate.models.character_mask import CharacterMask, regions_from_boxes
from animate.models.dit import ExpressionDiT
from animate.models.kept_states import KeptStates

torch.set_num_threads(1)
dist.init_process_group("gloo")


def network():
    torch.manual_seed(0)
    dit = ExpressionDiT(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16,
        ffn_dim=16, num_layers=2, image_dim=6, added_kv_proj_dim=24, rope_max_seq_len=16, expression_dim=10,
    )
    for block in dit.blocks:
        torch.nn.init.normal_(block.attn2.to_v_expression.weight)
    return dit.eval()


def spread(dit):
    """What `enable_parallelism` does, which diffusers 0.42 cannot do on a CPU."""
    config = ContextParallelConfig(ulysses_degree=2)
    mesh = init_device_mesh("cpu", config.mesh_shape, mesh_dim_names=config.mesh_dim_names)
    config.setup(dist.get_rank(), dist.get_world_size(), torch.device("cpu"), mesh)
    from diffusers.models._modeling_parallel import ParallelConfig
    for module in dit.modules():
        if isinstance(module, WanAttention):
            module.processor._parallel_config = ParallelConfig(context_parallel_config=config)
    apply_context_parallel(dit, config, dit._cp_plan)
    return dit


def cases(frames, side=4):
    """Name and arguments of each case: latent frames of side x side video tokens."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    grid = (frames, side, side)
    inputs = {
        "hidden_states": draw(2, 4, frames, 2 * side, 2 * side),
        "timestep": torch.tensor([300.0, 300.0]),
        "encoder_hidden_states": draw(2, 5, 8),
        "encoder_hidden_states_image": draw(2, 7, 6),
    }
    expression = draw(1, frames, 10, 10)
    half = 16 * side / 2
    # the faces move by a token over the clip
    boxes = torch.tensor([[[0, 0, half, half]], [[half, half, 2 * half, 2 * half]]]).repeat(1, 4 * frames - 3, 1)
    boxes[:, :, 0::2] += 2 * torch.arange(4 * frames - 3)[None, :, None]
    regions = regions_from_boxes(boxes, (16 * side, 16 * side), grid)
    real = torch.ones(2, frames, 5, dtype=torch.bool)
    real[:, 0, 2:] = False
    yield "plain", inputs
    yield "adapter", inputs | {"expression": expression}
    for options in ({}, {"background": "all"}, {"overlap": "soft", "background": "nearest"}, {"compat": True}):
        mask = CharacterMask.from_regions(regions, grid, 5, real, **options)
        name = "_".join(map(str, options.values()))
        yield f"mask_{name}", inputs | {"expression": expression, "expression_mask": mask}


@torch.inference_mode()
def run(dit, frames):
    made = {}
    for name, inputs in cases(frames):
        kept = KeptStates()
        made[name] = dit(**inputs, kept=kept, return_dict=False)[0]
        made[f"{name}/again"] = dit(**inputs, kept=kept, return_dict=False)[0]
    return made


single = {frames: run(network(), frames) for frames in (3, 4)}
together = spread(network())
parallel = {frames: run(together, frames) for frames in (3, 4)}
if dist.get_rank() == 1:
    for kind, made in (("single", single), ("parallel", parallel)):
        flat = {f"{frames}/{name}": value.contiguous() for frames, by in made.items() for name, value in by.items()}
        save_file(flat, f"{sys.argv[1]}/{kind}.safetensors")
dist.barrier()
dist.destroy_process_group()
'''


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(single, parallel): outputs by case."""
    folder = tmp_path_factory.mktemp("parallel")
    (folder / "worker.py").write_text(WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen(
            [sys.executable, str(folder / "worker.py"), str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    return load_file(folder / "single.safetensors"), load_file(folder / "parallel.safetensors")


CASES = ["plain", "adapter", "mask_", "mask_all", "mask_soft_nearest", "mask_True"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("frames", [3, 4], ids=["parts of frames", "whole frames"])
def test_two_processes_give_what_one_gives(results, frames, case):
    single, parallel = results
    for name in (f"{frames}/{case}", f"{frames}/{case}/again"):
        torch.testing.assert_close(parallel[name], single[name], atol=1e-5, rtol=0)


def test_the_cases_differ(results):
    """Else this file would not see a mask that is lost on the way."""
    single, _ = results
    outputs = [single[f"3/{case}"] for case in CASES]
    for index, one in enumerate(outputs):
        for other in outputs[index + 1 :]:
            assert (one - other).abs().max() > 1e-3
