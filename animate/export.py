"""From checkpoints to a model that ships.

    python -m animate.export FOLDER CHECKPOINT...

Several checkpoints of one run are averaged (Wortsman et al. 2022, "Model soups"): late weights that have begun to
learn their people by heart disagree about that, and agree about the rest.
"""

from __future__ import annotations

from pathlib import Path

import torch

from animate.models.codec import SpaceToDepthCodec
from animate.pipelines.landmark import LandmarkAnimationPipeline
from animate.pipelines.scheduler import mini_scheduler
from animate.recipe import DEFAULT_STEPS, PATCH, TrainConfig, build_networks


def export(checkpoints: list[Path], folder: Path) -> None:
    """The mean of the checkpoints' averaged (EMA) weights as a pipeline folder, safetensors in half precision."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in checkpoints]
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in states[-1]["config"].items()}
    networks = build_networks(TrainConfig(**fields))
    averages = zip(*(state["ema"]["shadow_params"] for state in states), strict=True)
    with torch.no_grad():
        for parameter, values in zip(networks.parameters(), averages, strict=True):
            parameter.copy_(torch.stack(values).mean(0))
    pipeline = LandmarkAnimationPipeline(
        vae=SpaceToDepthCodec(PATCH),
        scheduler=mini_scheduler(),
        default_num_inference_steps=DEFAULT_STEPS,
        default_guidance_scale=1.0,
        **{name: network.half() for name, network in networks.items()},
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in Path(folder).rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read


def main(folder: Path, checkpoints: list[Path]) -> None:
    """Write the model FOLDER from one or more checkpoints."""
    export(checkpoints, folder)
    print(f"the mean of {len(checkpoints)} checkpoints -> {folder}")


if __name__ == "__main__":
    import typer

    typer.run(main)
