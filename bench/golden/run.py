"""Numbers of the published networks, checked: ``python -m bench.golden FOLDER``.

A folder holds vectors (``fye_*.safetensors`` of Follow-Your-Emoji, ``fp_*.safetensors`` of FantasyPortrait: inputs, and
what the published implementation made of them in float32) and configurations (``fye_*_config.json``, ``fp_*``). Both
sides have the same weights, because these are a function of the keys' names (``bench.golden.networks``). Prints the
largest absolute difference of each stored tensor.

Exit status: 0, all within the tolerance; 1, some are not; 2, something cannot be checked, which one sentence says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from animate.errors import MienError, WeightsError
from animate.models.unet import LandmarkUNet
from bench.golden import expression as golden_expression
from bench.golden.networks import TINY, Networks, build_networks
from bench.tables import align, write_json

TOLERANCE = 1e-4
"""Bar: largest absolute difference in float32."""

NOT_STORED, NOT_CHECKED = "not stored", "not checked"
"""Remarks on tensors that say nothing for or against the networks."""

INPUTS = ("clip_last_hidden_state", "reference_latent", "landmark_map", "sample", "timestep")


@dataclass(frozen=True)
class Difference:
    """A stored tensor beside ours.

    Attributes:
        file: the vectors' file name. tensor: the stored tensor's name.
        shape: of the stored tensor.
        largest: largest absolute difference; None where there is none to tell, which ``remark`` explains.
    """

    file: str
    tensor: str
    shape: tuple[int, ...]
    largest: float | None
    remark: str = ""

    @property
    def compared(self) -> bool:
        """Whether both sides have the tensor, or ours lacks what it should have."""
        return self.remark not in (NOT_STORED, NOT_CHECKED)

    def passes(self, tolerance: float) -> bool:
        """Whether ours is as near as that; a difference that is not a number is never."""
        return self.largest is not None and self.largest <= tolerance


def find_config(vectors: Path) -> Path | None:
    """The configuration of a file of vectors, among those of its family in its folder; None where there is none.

    It is the one whose name, without ``_config.json``, begins the vectors' name, the longest if several do:
    ``fye_tiny_cfg.safetensors`` has ``fye_tiny_config.json``. A single one serves all.

    Raises:
        WeightsError: there are several and none fits.
    """
    family = vectors.stem.split("_")[0]
    configs = {path.name.removesuffix("_config.json"): path for path in vectors.parent.glob(f"{family}*_config.json")}
    fitting = [name for name in configs if vectors.stem == name or vectors.stem.startswith(f"{name}_")]
    if fitting:
        return configs[max(fitting, key=len)]
    if len(configs) > 1:
        raise WeightsError(f"none of the {len(configs)} configurations beside it bears the beginning of its name")
    return next(iter(configs.values()), None)


def check_follow_your_emoji(vectors: Path) -> Iterator[Difference]:
    """Run the three networks on stored inputs and compare every stored output.

    Raises:
        WeightsError: the file or its configuration cannot be used.
    """
    stored = _read_vectors(vectors)
    if lacking := [name for name in (*INPUTS, "unet") if name not in stored]:
        raise WeightsError(f"it lacks {', '.join(lacking)}")
    config = _read_config(vectors)
    if config is None:
        print(f"{vectors.name}: no configuration beside it, so the tiny one is taken", file=sys.stderr)
    networks = build_networks(TINY if config is None else config, stored["clip_last_hidden_state"].shape[-1])
    ours = _run(run_follow_your_emoji, networks, stored)
    yield from compare(vectors.name, stored, ours, INPUTS)


def check_fantasy_portrait(vectors: Path) -> Iterator[Difference]:
    """Run token networks and transformer on stored inputs and compare every stored output.

    Raises:
        WeightsError: the file or its configuration cannot be used.
    """
    stored = _read_vectors(vectors)
    golden_expression.check_inputs(stored)
    config = _read_config(vectors)
    if config is None:
        raise WeightsError("there is no configuration beside it")
    ours = _run(golden_expression.run_expression, golden_expression.build_expression_networks(config), stored)
    yield from compare(vectors.name, stored, ours, golden_expression.INPUTS)


def _read_config(vectors: Path) -> dict | None:
    """The configuration of a file of vectors; None where there is none."""
    path = find_config(vectors)
    if path is None:
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"its configuration {path.name} cannot be read as JSON") from error
    if not isinstance(config, dict):
        raise WeightsError(f"its configuration {path.name} is not a mapping")
    return config


def _run(run: Callable, networks: object, stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a family's networks make of stored inputs."""
    try:
        with torch.inference_mode():
            return run(networks, stored)
    except (IndexError, RuntimeError, ValueError) as error:
        raise WeightsError(f"its inputs do not fit its configuration: {str(error).splitlines()[0]}") from error


def run_follow_your_emoji(networks: Networks, stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What our networks make of stored inputs, under the names of the stored outputs.

    Args:
        networks: of the configuration that the vectors belong to.
        stored: the inputs (`INPUTS`), and ``unet`` (B or 2B, C, T, H, W), whose batch tells guidance: then it is
            [unconditional, conditional], the unconditional CLIP tokens are zeros, and all else is the same for both.

    Raises:
        WeightsError: the batches do not fit.
    """
    batch = stored["sample"].shape[0]
    copies, rest = divmod(stored["unet"].shape[0], batch)
    if rest or copies not in (1, 2):
        raise WeightsError(f"its unet has a batch of {stored['unet'].shape[0]}, which {batch} samples do not give")

    def both(value: torch.Tensor) -> torch.Tensor:
        return torch.cat([value] * copies)

    timestep = stored["timestep"].reshape(-1)
    tokens = stored["clip_last_hidden_state"].expand(batch, -1, -1)
    tokens = torch.cat([torch.zeros_like(tokens), tokens]) if copies == 2 else tokens
    landmarks = networks.guider(stored["landmark_map"])
    features = networks.reference_network(both(stored["reference_latent"].expand(batch, -1, -1, -1)), tokens)
    output = networks.unet(
        both(stored["sample"]),
        both(timestep) if len(timestep) == batch else timestep,
        tokens,
        landmark_features=both(landmarks.expand(batch, -1, -1, -1, -1)),
        # as the pipeline does: the unconditional half never reads the reference
        reference_features=[feature[-batch:] for feature in features],
        unconditional_batch=batch if copies == 2 else 0,
    ).sample
    return {**dict(zip(reference_names(networks.unet), features, strict=True)), "guider": landmarks, "unet": output}


def reference_names(unet: LandmarkUNet) -> list[str]:
    """Stored names of the feature maps that a denoiser takes, in its order."""

    def count(blocks) -> int:
        return sum(len(block.attentions) for block in blocks if block.attentions is not None)

    down = [f"reference_down_{index}" for index in range(count(unet.down_blocks))]
    middle = ["reference_mid"] * count([unet.mid_block])
    return [*down, *middle, *(f"reference_up_{index}" for index in range(count(unet.up_blocks)))]


def compare(
    file: str, stored: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor], inputs: Sequence[str]
) -> Iterator[Difference]:
    """Every output, in our order, and last what is stored under a name that is neither ours nor an input's."""
    for name, value in ours.items():
        if name not in stored:
            yield Difference(file, name, tuple(value.shape), None, NOT_STORED)
        elif value.shape != stored[name].shape:
            yield Difference(file, name, tuple(stored[name].shape), None, f"ours is {_size(value.shape)}")
        else:
            largest = (value.double() - stored[name].double()).abs().max() if value.numel() else torch.zeros(())
            yield Difference(file, name, tuple(value.shape), float(largest))
    for name in sorted(stored.keys() - ours.keys() - set(inputs)):
        remark = "ours has none" if name.startswith("reference_") else NOT_CHECKED
        yield Difference(file, name, tuple(stored[name].shape), None, remark)


CHECKS: dict[str, Callable[[Path], Iterator[Difference]]] = {
    "fye": check_follow_your_emoji,
    "fp": check_fantasy_portrait,
}
"""Family, which is the beginning of a file's name, and what checks its vectors."""


def _read_vectors(path: Path) -> dict[str, torch.Tensor]:
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError("it cannot be read as safetensors") from error
    return {name: value if name == "timestep" else value.float() for name, value in stored.items()}


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def format_differences(differences: Sequence[Difference], tolerance: float) -> str:
    """A table with a row for each tensor."""
    rows = [["file", "tensor", "shape", "largest difference", ""]]
    for item in differences:
        largest = f"{item.largest:.2e}" if item.largest is not None else ""
        word = item.remark or ("" if item.passes(tolerance) else "too far")
        rows.append([item.file, item.tensor, _size(item.shape), largest, word])
    return align(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.golden", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with vectors and configurations")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="largest absolute difference that passes")
    parser.add_argument("--json", type=Path, default=None, help="write the differences here")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    differences: list[Difference] = []
    broken = []
    try:
        files = _find_vectors(options.folder)
    except MienError as error:
        print(error, file=sys.stderr)
        return 2
    for path in files:
        try:
            differences += CHECKS[path.stem.split("_")[0]](path)
        except MienError as error:
            broken.append(f"{path} cannot be checked: {error}.")
    print(*broken, sep="\n", end="\n" if broken else "", file=sys.stderr)
    compared = [item for item in differences if item.compared]
    far = [item for item in compared if not item.passes(options.tolerance)]
    if differences:
        print(format_differences(differences, options.tolerance), "", sep="\n")
        near = len(compared) - len(far)
        print(f"{'FAIL' if far else 'pass'}  {near} of {len(compared)} tensors within {options.tolerance:g}")
    if options.json:
        verdict = {"tolerance": options.tolerance, "passed": not far and not broken, "cannot_be_checked": broken}
        write_json(options.json, verdict | {"differences": [_finite(asdict(item)) for item in differences]})
    return 2 if broken else int(bool(far))


def _finite(row: dict) -> dict:
    """JSON has no word for what is not a number."""
    largest = row["largest"]
    return row if largest is None or abs(largest) < float("inf") else row | {"largest": None, "remark": str(largest)}


def _find_vectors(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder: name one that holds golden vectors.")
    files = [path for path in sorted(folder.glob("*.safetensors")) if path.stem.split("_")[0] in CHECKS]
    if not files:
        wanted = " and no ".join(f"{family}_*.safetensors" for family in CHECKS)
        raise WeightsError(f"{folder} holds no {wanted}: name a folder with golden vectors.")
    return files
