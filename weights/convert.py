"""Published checkpoint files as state dicts: read safely, joined, held against what a network expects.

This module knows files and keys and no network class. It is the one place where a pickle is opened, and then with
`weights_only=True`, which refuses everything but tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from .errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = (".pth", ".pt", ".ckpt", ".bin")
WRAPPERS = ("state_dict", "model_state_dict", "model")
LISTED = 20  # so many keys of each kind stand in an error
TRUNCATED = "up_blocks.3.attentions.2.transformer_blocks.0."


@dataclass(frozen=True)
class Family:
    """The files of one published model.

    files: for each part the names that it goes by, preferred first. optional: parts that another file may hold
    already. unread: for each part the keys (or beginnings of keys, with a dot at the end) that its file has and
    nothing ever reads.
    """

    files: dict[str, tuple[str, ...]]
    optional: tuple[str, ...] = ()
    unread: dict[str, tuple[str, ...]] = field(default_factory=dict)


FAMILIES = {
    # The authors' three files, or the half-precision mirrors. The mirror of the denoiser is whole (1314.7 M values, as
    # many as the original); the motion module and `clip_fc` that were split off it for other programs only fill gaps.
    "follow-your-emoji": Family(
        files={
            "unet": ("unet.pth", "FYE_unet-fp16.safetensors", "FYE_unet.safetensors"),
            "reference_network": (
                "referencenet.pth",
                "FYE_referencenet-fp16.safetensors",
                "FYE_referencenet.safetensors",
            ),
            "guider": ("lmk_guider.pth", "FYE_lmk_guider.safetensors"),
            "motion_module": (
                "fye_motion_module-fp16.safetensors",
                "fye_motion_module.safetensors",
                "mm_sd_v15_v2.ckpt",
            ),
            "clip_fc": ("FYE_clip_fc.safetensors",),
        },
        optional=("motion_module", "clip_fc"),
    ),
    # What is assumed of AniPortrait's files beyond their public code: `denoising_unet.pth` and `reference_unet.pth`
    # (3.44 GB each) are Stable Diffusion's UNet without motion modules, these being `motion_module.pth` (1.82 GB);
    # the reference UNet may or may not hold the end of the network, which nothing reads.
    "aniportrait": Family(
        files={
            "unet": ("denoising_unet.pth",),
            "reference_network": ("reference_unet.pth",),
            "guider": ("pose_guider.pth",),
            "motion_module": ("motion_module.pth", "mm_sd_v15_v2.ckpt"),
        },
        unread={
            "reference_network": (
                "conv_norm_out.",
                "conv_out.",
                *(f"{TRUNCATED}{part}." for part in ("attn1", "attn2", "norm2", "norm3", "ff")),
            )
        },
    ),
    # One file with four state dicts; the transformer that its adapter sits in is Wan's, in files of its own.
    "fantasy-portrait": Family(files={"adapter": ("fantasyportrait_model.ckpt",)}),
}
SUBFOLDERS = ("", "ckpts", "follow-your-emoji", "aniportrait", "AnimateDiff", "animatediff", "FantasyPortrait")


def family(name: str) -> Family:
    """The family of that name; WeightsError lists the known ones."""
    if name not in FAMILIES:
        raise WeightsError(f"Mien knows no family of checkpoints named {name!r}: choose {' or '.join(FAMILIES)}.")
    return FAMILIES[name]


def find_files(folder: Path, name: str) -> dict[str, Path]:
    """Where the parts of a family lie in a folder or in the subfolders that their authors use.

    Raises:
        WeightsError: the folder is not there, or parts are missing; names each with the files it may be.
    """
    if not folder.is_dir():
        raise WeightsError(f"There is no folder {folder}: give the folder that holds the checkpoints of {name}.")
    wanted, found = family(name), {}
    for part, names in wanted.files.items():
        places = [folder / sub / file for file in names for sub in SUBFOLDERS]
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            found[part] = path
    missing = [part for part in wanted.files if part not in found and part not in wanted.optional]
    if missing:
        parts = "; ".join(f"{part} ({' or '.join(wanted.files[part])})" for part in missing)
        raise WeightsError(
            f"{folder} lacks files of {name}: {parts}. "
            f"Get them with `mien weights pull {name}` or put them into that folder."
        )
    return found


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, mapped from the disk where the format allows.

    `.safetensors`, or a pickle (`.pth`, `.pt`, `.ckpt`, `.bin`) whose tensors may lie under "state_dict" and whose keys
    may begin with "module.", as a data-parallel training writes them.

    Raises:
        WeightsError: not there, damaged, of another format, or a pickle that holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no checkpoint {path}.")
    if path.suffix == ".safetensors":
        return _plain(_read_safetensors(path), path)
    if path.suffix not in PICKLED:
        raise WeightsError(f"{path} is no checkpoint: Mien reads .safetensors and {', '.join(PICKLED)}.")
    return _plain(_read_pickle(path), path)


def read_parts(path: Path, parts: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """The state dicts of a checkpoint file that holds several, by name.

    Args:
        path: as for `read_state`; in a safetensors file the keys begin with the part's name and a dot.
        parts: the names of all state dicts in it.

    Raises:
        WeightsError: as `read_state`, or it holds other parts.
    """
    path, parts = Path(path), list(parts)
    if path.suffix == ".safetensors" or not path.is_file() or path.suffix not in PICKLED:
        content: dict[str, object] = {}
        for key, value in read_state(path).items():
            part, _, rest = key.partition(".")
            content.setdefault(part, {})[rest] = value
    else:
        content = _read_pickle(path)
    if not isinstance(content, Mapping) or set(content) != set(parts):
        held = ", ".join(map(str, content)) if isinstance(content, Mapping) and content else "nothing of that kind"
        raise WeightsError(f"{path} must hold {', '.join(parts)}, but it holds {_short(held)}: get it again.")
    return {part: _plain(content[part], path) for part in parts}


def network_state(files: Mapping[str, Path], part: str, name: str) -> dict[str, Tensor]:
    """The state dict of "unet", "reference_network" or "guider" of a family, joined from its files.

    What a network's own file holds wins; the motion modules' file and `clip_fc` only fill what it lacks.
    """
    wanted = family(name)
    state = read_state(files[part])
    if part == "unet" and "motion_module" in files and not any("motion_modules." in key for key in state):
        state |= motion_module_state(read_state(files["motion_module"]), files["motion_module"])
    if part in ("unet", "reference_network") and "clip_fc" in files and "clip_fc.weight" not in state:
        shared = read_state(files["clip_fc"])  # named "weight" and "bias" in the mirror
        state |= {f"clip_fc.{key.removeprefix('clip_fc.')}": value for key, value in shared.items()}
    unread = wanted.unread.get(part, ())
    return {key: value for key, value in state.items() if not key.startswith(unread)} if unread else state


def motion_module_state(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """AnimateDiff's motion modules, `…motion_modules.j.temporal_transformer…`, from their file or a whole UNet's.

    Raises:
        WeightsError: there are none in it.
    """
    found = {key: value for key, value in state.items() if "motion_modules." in key}
    if not found:
        raise WeightsError(f"{path} holds no motion modules: give AnimateDiff's mm_sd_v15_v2.ckpt or its like.")
    return found


def vae_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VAE's state dict with the attention's present names; files of 2022 call them query, key, value, proj_attn."""
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

    def rename(key: str) -> str:
        for old, new in names.items():
            key = key.replace(f"attentions.0.{old}.", f"attentions.0.{new}.")
        return key

    return {rename(key): value for key, value in state.items()}


def image_encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP image encoder's state dict without `position_ids`, a table of 0, 1, 2, … that older versions stored."""
    return {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}


def fit(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], name: str) -> dict[str, Tensor]:
    """The state dict in the network's order, if it has the network's keys and shapes exactly.

    Raises:
        WeightsError: as `check_shapes`.
    """
    check_shapes({key: tuple(value.shape) for key, value in state.items()}, expected, name)
    return {key: state[key] for key in expected}


def check_shapes(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Hold the keys and shapes of a file against those of a network.

    Raises:
        WeightsError: lists what is missing, unexpected and of another shape, the first 20 of each with the counts.
    """
    kinds = {
        "missing": [key for key in expected if key not in shapes],
        "unexpected": [key for key in shapes if key not in expected],
        "of another shape": [
            f"{key} is {tuple(shapes[key])}, not {tuple(shape)}"
            for key, shape in expected.items()
            if key in shapes and tuple(shapes[key]) != tuple(shape)
        ],
    }
    faults = [f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds.items() if keys]
    if faults:
        raise WeightsError(f"{name} does not fit the network: {'; '.join(faults)}.")


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes in a folder's safetensors files, from their headers alone."""
    shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes |= file_shapes(path)
    return shapes


def file_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes in a safetensors file, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read: it is damaged; get or convert it again.") from error


def _first(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:LISTED]) + (f" and {len(keys) - LISTED} more" if len(keys) > LISTED else "")


def _short(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read: it is damaged or no safetensors file; get it again.") from error


def _read_pickle(path: Path) -> object:
    import torch

    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # files from before PyTorch 1.6
    except UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, or is damaged, and Mien does not open it, for such a file can run "
            "code: get it from its authors again, or ask for a safetensors file."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: it is damaged or no checkpoint; get it again.") from error


def _plain(content: object, path: Path) -> dict[str, Tensor]:
    """Tensors by key, out of their wrappers."""
    import torch

    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no state dict: tensors by name are wanted.")
    if content and all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)
