"""Published checkpoints as one pipeline folder, and such a folder as a pipeline.

`convert_checkpoint` reads what the authors published (or its mirrors) and writes what
`LandmarkAnimationPipeline.from_pretrained` loads: safetensors and JSON alone. Every key must fit; nothing is skipped
but what `weights.convert` names.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import WeightsError
from weights import convert
from weights.registry import get
from weights.store import find_folder, how_to_get, pipeline_folder

if TYPE_CHECKING:
    import torch

    from animate.pipelines.landmark import LandmarkAnimationPipeline

SHARD = "5GB"  # larger networks are cut into files of this size
NEEDED = {"vae": "sd-vae-ft-mse", "image_encoder": "sd-image-variations"}
VAE_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
IMAGE_ENCODER_FILES = ("model.safetensors", "sd-image-variations-encoder-fp16.safetensors", "pytorch_model.bin")
COMPONENT_FILES = {"scheduler": ("scheduler_config.json",)}  # every other component has a config.json


def convert_checkpoint(
    files: str | Path | Mapping[str, Path],
    out: str | Path,
    family: str = "follow-your-emoji",
    *,
    dtype: torch.dtype | None = None,
    image_encoder: str | Path | None = None,
    vae: str | Path | None = None,
    base: str | Path | None = None,
    configs: Mapping[str, Mapping] | None = None,
    overwrite: bool = False,
    shard: str = SHARD,
    report: Callable[[str], None] = lambda part: None,
) -> Path:
    """Write published checkpoints as a folder that `load_pipeline` takes.

    Args:
        files: the folder of the checkpoints, or the path of each part ("unet", "reference_network", "guider",
            "motion_module", "clip_fc"; "adapter"; see `weights.convert.FAMILIES`).
        out: the folder to write. It is written beside and renamed at the end: a half-written one never bears the name.
        family: "follow-your-emoji", "aniportrait", or "fantasy-portrait", which has `base` instead of image encoder
            and VAE; see `animate.expression_checkpoints`.
        dtype: of the networks written; None keeps the files' own.
        image_encoder: CLIP ViT-L/14's weights or their folder; None looks beside the checkpoints, then where
            `weights.store` looks.
        vae: `sd-vae-ft-mse`'s folder or weights; None as above.
        base: folder of Wan2.1-I2V, for "fantasy-portrait"; None looks beside the checkpoint, then in the store.
        configs: changes to the configurations of "unet", "reference_network", "guider" (checkpoints of another size),
            or of "transformer" and "tokens".
        overwrite: replace `out` if it is there.
        shard: the largest size of one written file.
        report: called with the name of each part before it is read.

    Returns:
        `out`.

    Raises:
        WeightsError: a file is missing or damaged, keys do not fit (all kinds are listed), or `out` is there already.
    """
    from animate.families import assemble, image_encoder_network, networks, vae_network

    check_transformers()
    out = Path(out)
    if out.exists() and not overwrite:
        raise WeightsError(f"{out} is there already: choose another folder, or say that it may be replaced.")
    if family == "fantasy-portrait":
        from animate.expression_checkpoints import convert_fantasy_portrait

        return convert_fantasy_portrait(files, out, dtype=dtype, base=base, configs=configs, report=report)
    wanted = networks(family, configs or {})
    folder = None if isinstance(files, Mapping) else Path(files)
    found = {part: Path(path) for part, path in files.items()} if folder is None else convert.find_files(folder, family)
    encoder_files = _find_component("image_encoder", image_encoder, folder, IMAGE_ENCODER_FILES)
    vae_files = _find_component("vae", vae, folder, VAE_FILES)

    components = {}
    for part, (network, config) in wanted.items():
        report(part)
        state = convert.network_state(found, part, family)
        components[part] = fill(network, config, state, str(found[part]), dtype)
    report("image_encoder")
    components["image_encoder"] = fill(
        *image_encoder_network(encoder_files[1]),
        convert.image_encoder_state(convert.read_state(encoder_files[0])),
        str(encoder_files[0]),
        dtype,
    )
    report("vae")
    state = convert.vae_state(convert.read_state(vae_files[0]))
    components["vae"] = fill(*vae_network(vae_files[1]), state, str(vae_files[0]), dtype)
    report("writing")
    _write(assemble(family, components), out, shard)
    return out


def fill(network: Callable, config: Mapping, state: dict, name: str, dtype: torch.dtype | None):
    """The network with these very tensors: built without memory, loaded strictly.

    Raises:
        WeightsError: lists keys that are missing, unexpected or of another shape.
    """
    import torch

    with torch.device("meta"):
        built = network(**config)
    state = convert.fit(state, {key: tuple(value.shape) for key, value in built.state_dict().items()}, name)
    for key, value in state.items():
        wanted = dtype if dtype is not None and value.is_floating_point() else value.dtype
        state[key] = value.to(wanted).contiguous()
    built.load_state_dict(state, strict=True, assign=True)
    return built.eval()


def load_pipeline(
    folder: str | Path, dtype: torch.dtype | None = None, device: str = "cpu"
) -> LandmarkAnimationPipeline:
    """A full-size pipeline from a folder, or from the name of a converted family ("follow-your-emoji").

    Args:
        folder: what `convert_checkpoint`, training or `save_pretrained` wrote.
        dtype: of all networks; None is float32.
        device: torch's name of a device; all networks are moved there.

    Raises:
        WeightsError: the folder or a part of it is not there or damaged; says which file, and how to get it.
        OptionError: the device cannot be used here.
    """
    import torch

    from animate.device import check_device
    from animate.loading import undisturbed
    from animate.pipelines.landmark import LandmarkAnimationPipeline

    place = check_device(device)
    folder = find_pipeline(folder)
    components = check_folder(folder)
    check_transformers()
    try:
        with _silent_libraries(), undisturbed():
            pipeline = LandmarkAnimationPipeline.from_pretrained(
                folder, dtype=dtype or torch.float32, use_safetensors=True, local_files_only=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"The pipeline in {folder} cannot be loaded ({type(error).__name__}: {_short(error)}); convert it again."
        ) from error
    for name in components:
        _check_loaded(folder / name, getattr(pipeline, name))
    pipeline.set_progress_bar_config(disable=True)
    with _silent_libraries():  # half precision on the CPU is the caller's business
        return pipeline.to(place)


def find_pipeline(name_or_folder: str | Path) -> Path:
    """The pipeline folder of a family's name, or the folder itself.

    Raises:
        WeightsError: there is none; says how it is made.
    """
    name = str(name_or_folder)
    if name not in convert.FAMILIES:
        folder = Path(name_or_folder).expanduser()
        if not (folder / "model_index.json").is_file():
            raise WeightsError(
                f"There is no model in {folder}: give a folder that `mien weights convert`, training or "
                f"`save_pretrained` wrote, or one of the names mini, {', '.join(convert.FAMILIES)}."
            )
        return folder
    folder = pipeline_folder(name)
    if not (folder / "model_index.json").is_file():
        others = ("wan-i2v-720p", "pd-fgc") if name == "fantasy-portrait" else tuple(NEEDED.values())[::-1]
        pulls = ", ".join(f"`mien weights pull {other}`" for other in others)
        raise WeightsError(
            f"The model {name} is not ready on this machine: get its files with `mien weights pull {name}` (and "
            f"{pulls}), then run `mien weights convert {name}`, which writes {folder}."
        )
    return folder


def check_folder(folder: Path) -> dict[str, str]:
    """The components that a pipeline folder says it has, with their classes; all their files are there.

    Raises:
        WeightsError: no full-size pipeline, or a component's files are missing.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        if index.get("_class_name") != "LandmarkAnimationPipeline":
            raise WeightsError(
                f"{folder} holds a {index.get('_class_name')}, not a LandmarkAnimationPipeline: give another folder."
            )
        components = {name: entry[1] for name, entry in index.items() if isinstance(entry, list) and entry[1]}
    except (OSError, ValueError, AttributeError, IndexError, KeyError) as error:
        raise WeightsError(f"{folder / 'model_index.json'} cannot be read: convert the model again.") from error
    for name in components:
        for file in COMPONENT_FILES.get(name, ("config.json",)):
            if not (folder / name / file).is_file():
                raise WeightsError(_missing_component(folder, name, file))
        if name not in COMPONENT_FILES and not any((folder / name).glob("*.safetensors")):
            raise WeightsError(_missing_component(folder, name, "*.safetensors"))
    return components


def _check_loaded(folder: Path, component) -> None:
    """Nothing is left unset, and the files of our own networks hold nothing else: libraries only warn of both."""
    from torch import nn

    if not isinstance(component, nn.Module):
        return
    if type(component).__module__.startswith("animate."):
        expected = {key: tuple(value.shape) for key, value in component.state_dict().items()}
        convert.check_shapes(convert.stored_shapes(folder), expected, str(folder))
    unset = [key for key, value in component.named_parameters() if value.is_meta]
    if unset:
        raise WeightsError(f"The files in {folder} lack {len(unset)} keys, such as {unset[0]}: get them again.")


def _missing_component(folder: Path, name: str, file: str) -> str:
    sentence = f"The model in {folder} lacks {name}/{file}"
    if name in NEEDED:
        return f"{sentence}: {how_to_get(get(NEEDED[name]))}, and put its files into {folder / name}."
    return f"{sentence}: convert the checkpoints again with `mien weights convert`, or copy the folder again."


def _find_component(part: str, given: str | Path | None, beside: Path | None, names: tuple[str, ...]):
    """(weights, config.json or None) of image encoder or VAE: given, beside the checkpoints, or in the store."""
    record = get(NEEDED[part])
    if given is not None:
        places = [Path(given).expanduser()]
    else:
        around = (part, record.name, "sd-image-variations-diffusers/image_encoder", "")
        places = [beside / sub for sub in around] if beside is not None else []
        places += [place for place in [find_folder(record)] if place is not None]
    for place in places:
        if place.is_file():
            return place, next((p for p in [place.parent / "config.json"] if p.is_file()), None)
        for name in names:
            for folder in (place, place / part):
                if (folder / name).is_file():
                    config = folder / "config.json"
                    return folder / name, config if config.is_file() else None
    asked = f"{given} holds none" if given is not None else "it is not on this machine"
    raise WeightsError(
        f"The {part.replace('_', ' ')} is needed ({' or '.join(names)}) and {asked}: {how_to_get(record)}."
    )


def _write(pipeline, out: Path, shard: str) -> None:
    with whole_or_nothing(out) as beside:
        pipeline.save_pretrained(beside, safe_serialization=True, max_shard_size=shard)


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """A folder to write a pipeline into, which becomes `out` at the end: it is whole under that name or not there.

    Raises:
        WeightsError: it cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with _silent_libraries():
            yield beside
        mode = (beside / "model_index.json").stat().st_mode
        for path in beside.rglob("*.safetensors"):
            if path.stat().st_nlink == 1:  # what is linked is another folder's
                path.chmod(mode)  # safetensors writes for the owner alone
        beside.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        beside.rename(out)
    except OSError as error:
        raise WeightsError(f"{out} cannot be written ({error.strerror or error}): choose another folder.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_transformers() -> None:
    """Raises WeightsError where transformers, which has the image encoder, is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise WeightsError(
            "The full size needs transformers for its image encoder: pip install 'mien[cuda]' (or 'mien[train]')."
        ) from error


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Keep diffusers' and transformers' progress bars and advice off the terminal."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    verbosities = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity in zip(libraries, verbosities, strict=True):
            library.set_verbosity(verbosity)
            library.enable_progress_bar()


def _short(error: Exception, length: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= length else f"{text[:length]}…"
