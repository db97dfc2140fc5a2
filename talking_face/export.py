"""From checkpoints to the speech model that ships: `python -m talking_face.export FOLDER TABLES CHECKPOINT...
[--clips PACK]`.

Several checkpoints are averaged, as in `animate.export`. The phone head of the training is left out. With a pack of
clips the output's
gain is set so that predicted openings spread as far as tracked ones: a mean over what is possible is smaller than any
of it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from talking_face.basis import LowerFaceBasis
from talking_face.dataset import read_pack
from talking_face.features import FEATURES
from talking_face.model import AudioToExpression
from talking_face.train import STYLE
from talking_face.validation import follow


def export(folder: Path, tables: Path, checkpoints: list[Path], clips: list | None = None) -> AudioToExpression:
    """Write config.json, the weights in half precision, basis.safetensors and visemes.safetensors."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in checkpoints]
    config = states[-1]["config"]
    basis = LowerFaceBasis.load(tables / "basis.safetensors")
    mean = {
        key: torch.stack([s["mean"][key].float() for s in states]).mean(0)
        for key in states[0]["mean"]
        if not key.startswith("phone.")
    }

    def network(gain: float) -> AudioToExpression:
        size = {"width": config["width"], "layers": config["layers"], "dropout": config["dropout"]}
        model = AudioToExpression(FEATURES, len(basis), 0, STYLE, **size, gain=gain)
        model.load_state_dict(mean)
        return model.eval()

    gain = 1.0
    if clips:
        gain = float(np.median([c["gain"] for c in follow(network(1.0), basis, clips).values()]))
    model = network(round(gain, 3))
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    for name in ("basis.safetensors", "visemes.safetensors"):
        if (tables / name).resolve() != (folder / name).resolve():
            shutil.copyfile(tables / name, folder / name)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    return model.float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tables", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--clips", type=Path, help="pack of clips that set the gain")
    parser.add_argument("--leave-out", default="", help="people of the clips that are not looked at, joined by commas")
    options = parser.parse_args()
    clips = read_pack(options.clips, options.leave_out) if options.clips else []
    model = export(options.folder, options.tables, options.checkpoints, clips)
    print(f"{len(options.checkpoints)} checkpoints -> {options.folder}, gain {model.config.gain}")


if __name__ == "__main__":
    main()
