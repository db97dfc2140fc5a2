"""FantasyPortrait's checkpoint and Wan2.1-I2V as one folder that `ExpressionPipeline.from_pretrained` loads.

The transformer has 14 billion weights: its files are handled one after the other, and where nothing in them changes
they are linked, not copied. Wan's files may have diffusers' names or its authors'; every key must fit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from animate.checkpoints import fill, whole_or_nothing
from animate.errors import WeightsError
from weights import convert
from weights.registry import get
from weights.store import find_folder, how_to_get
from weights.wan_keys import diffusers_key, is_published, to_diffusers

if TYPE_CHECKING:
    import torch

FAMILY = "fantasy-portrait"
BASE = "wan-i2v-720p"
BESIDE = ("Wan2.1-I2V-14B-720P-Diffusers", "Wan2.1-I2V-14B-720P", BASE, "")
"""Where Wan's folder may lie beside the checkpoint."""

TOKEN_NETWORKS = ("proj_model", "mouth_proj_model", "emo_proj_model")
PARTS = (*TOKEN_NETWORKS, "ip_adapter")
COPIED = {
    "vae": ("diffusers", "AutoencoderKLWan"),
    "image_encoder": ("transformers", "CLIPVisionModel"),
    "image_processor": ("transformers", "CLIPImageProcessorPil"),  # the one that needs no torchvision
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "T5TokenizerFast"),
}
"""Components that are Wan's as they stand, with their classes."""

TEXT = ("text_encoder", "tokenizer")
EMPTY_PROMPT = "empty_prompt.safetensors"
"""States of the empty text, which make the text encoder unnecessary."""

HEAD_DIM = 128  # of all published sizes of Wan
IGNORED = "norm_added_q"  # some of diffusers' files have it; nothing reads it
NAME = "diffusion_pytorch_model"


def convert_fantasy_portrait(
    files: str | Path | Mapping[str, Path],
    out: Path,
    *,
    dtype: torch.dtype | None = None,
    base: str | Path | None = None,
    configs: Mapping[str, Mapping] | None = None,
    report: Callable[[str], None] = lambda part: None,
) -> Path:
    """Write the pipeline folder; called by `animate.checkpoints.convert_checkpoint`.

    Args:
        files: the folder of `fantasyportrait_model.ckpt`, or its path under "adapter".
        out: the folder to write.
        dtype: of the transformer and the token networks; None keeps the files' own.
        base: Wan2.1-I2V's folder: `transformer` (or the authors' files of it), `vae`, `image_encoder`,
            `image_processor`, and `text_encoder` with `tokenizer` or `empty_prompt.safetensors`. None looks beside the
            checkpoint, then where `weights.store` looks.
        configs: changes to the configurations of "transformer" and "tokens" (checkpoints of another size).
        report: called with the name of each part before it is read.

    Returns:
        `out`.

    Raises:
        WeightsError: a file is missing or damaged, or keys do not fit.
    """
    import torch

    from animate.models.dit import ExpressionDiT
    from animate.models.portrait_tokens import PortraitTokens
    from animate.pipelines.flow import flow_scheduler

    folder = None if isinstance(files, Mapping) else Path(files)
    checkpoint = Path(files["adapter"]) if folder is None else convert.find_files(folder, FAMILY)["adapter"]
    base = _find_base(base, folder)
    report("adapter")
    parts = convert.read_parts(checkpoint, PARTS)
    adapter = to_diffusers(parts["ip_adapter"])
    shards = _shards(base)
    stored = [convert.file_shapes(shard) for shard in shards]
    shapes = {diffusers_key(key): shape for each in stored for key, shape in each.items() if IGNORED not in key}
    configs = configs or {}
    config = _config(base, shapes, parts["ip_adapter"]) | configs.get("transformer", {})
    with torch.device("meta"):
        transformer = ExpressionDiT(**config)
    expected = {key: tuple(value.shape) for key, value in transformer.state_dict().items()}
    own = {key: shape for key, shape in expected.items() if "_expression." in key}
    convert.check_shapes(shapes, {key: shape for key, shape in expected.items() if key not in own}, str(base))
    convert.check_shapes({key: tuple(value.shape) for key, value in adapter.items()}, own, f"{checkpoint}, ip_adapter,")
    token_state = {f"{part}.{key}": value for part in TOKEN_NETWORKS for key, value in parts[part].items()}
    token_shapes = {part: {key: tuple(value.shape) for key, value in parts[part].items()} for part in TOKEN_NETWORKS}
    token_config = token_arguments(token_shapes, str(checkpoint)) | configs.get("tokens", {})
    tokens = fill(PortraitTokens, token_config, token_state, str(checkpoint), dtype)

    report("writing")
    with whole_or_nothing(out) as beside:
        report("transformer")
        transformer.save_config(beside / "transformer")
        _write_transformer(beside / "transformer", shards, stored, adapter, dtype)
        tokens.save_pretrained(beside / "tokens")
        flow_scheduler().save_pretrained(beside / "scheduler")
        for part in COPIED:
            if (base / part).is_dir():
                report(part)
                _place_folder(base / part, beside / part)
        if (base / EMPTY_PROMPT).is_file():
            _place(base / EMPTY_PROMPT, beside / EMPTY_PROMPT)
        _write_index(beside)
    return out


def published_arguments(config: Mapping, shapes: Mapping[str, tuple[int, ...]]) -> dict:
    """Arguments of `ExpressionDiT` for Wan's published ones; what they do not tell is read from the shapes.

    Args:
        config: as the authors' `config.json` has them (`dim`, `num_heads`, ...); may be empty.
        shapes: of all keys, under diffusers' names; the adapter's among them where it is to be other than published.

    Raises:
        WeightsError: a network of another kind.
    """
    kind = config.get("model_type", "i2v")
    if kind != "i2v":
        raise WeightsError(f"the configuration wants model_type {kind!r}, but our transformer is 'i2v'")
    try:
        patch = shapes["patch_embedding.weight"]
        image = shapes["condition_embedder.image_embedder.ff.net.0.proj.weight"]
        blocks = {int(key.split(".")[1]) for key in shapes if key.startswith("blocks.")}
        arguments = {
            "patch_size": tuple(patch[2:]),
            "num_attention_heads": config.get("num_heads", max(patch[0] // HEAD_DIM, 1)),
            "in_channels": patch[1],
            "out_channels": shapes["proj_out.weight"][0] // prod(patch[2:]),
            "text_dim": shapes["condition_embedder.text_embedder.linear_1.weight"][1],
            "freq_dim": shapes["condition_embedder.time_embedder.linear_1.weight"][1],
            "ffn_dim": shapes["blocks.0.ffn.net.0.proj.weight"][0],
            "num_layers": config.get("num_layers", max(blocks) + 1),
            "cross_attn_norm": "blocks.0.norm2.weight" in shapes,
            "eps": config.get("eps", 1e-6),
            "image_dim": image[1],
            "added_kv_proj_dim": patch[0],
        }
    except (KeyError, IndexError) as error:
        raise WeightsError(f"the transformer has no {error.args[0]}: it is not Wan's for image to video") from error
    arguments["attention_head_dim"] = patch[0] // arguments["num_attention_heads"]
    if "blocks.0.attn2.to_k_expression.weight" in shapes:
        arguments["expression_dim"] = shapes["blocks.0.attn2.to_k_expression.weight"][1]
    return arguments


def token_arguments(shapes: Mapping[str, Mapping[str, tuple[int, ...]]], name: str) -> dict:
    """Arguments of `PortraitTokens` for the published token networks' keys and shapes, by network.

    Raises:
        WeightsError: keys that tell a size are missing.
    """
    try:
        parts = ("headpose_proj", "eye_proj", "emo_proj", "mouth_proj")
        mouth = shapes["mouth_proj_model"]
        width = mouth["layers.0.0.to_q.weight"][0]
        head = 64 if width % 64 == 0 else width
        return {
            "feature_dims": tuple(shapes["proj_model"][f"{part}.weight"][1] for part in parts),
            "token_dim": shapes["proj_model"]["norm.weight"][0],
            "dim": mouth["latents"][2],
            "depth": 1 + max(int(key.split(".")[1]) for key in mouth if key.startswith("layers.")),
            "heads": width // head,
            "head_dim": head,
            "mouth_tokens": mouth["latents"][1],
            "emotion_tokens": shapes["emo_proj_model"]["latents"][1],
        }
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{name} has no key {error.args[0]} in its token networks: get it again.") from error


def _config(base: Path, shapes: Mapping[str, tuple[int, ...]], adapter: Mapping[str, torch.Tensor]) -> dict:
    """Arguments of the transformer: from diffusers' configuration, or from the authors' and the shapes."""
    from animate.models.dit import ExpressionDiT

    path = next((path for path in (base / "transformer/config.json", base / "config.json") if path.is_file()), None)
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        if not isinstance(config, dict):
            raise ValueError
    except ValueError as error:
        raise WeightsError(f"{path} cannot be read: get it again.") from error
    own = {diffusers_key(key): tuple(value.shape) for key, value in adapter.items()}
    if "num_attention_heads" not in config:
        try:
            return published_arguments(config, {**shapes, **own})
        except WeightsError as error:
            raise WeightsError(f"{base}: {error}.") from error
    known = ExpressionDiT._get_init_keys(ExpressionDiT)
    arguments = {key: value for key, value in config.items() if key in known}
    key = "blocks.0.attn2.to_k_expression.weight"
    return arguments | ({"expression_dim": own[key][1]} if key in own else {})


def _find_base(given: str | Path | None, folder: Path | None) -> Path:
    """The folder of Wan's parts; WeightsError says which one is missing."""
    record = get(BASE)
    places = [Path(given).expanduser()] if given is not None else [folder / name for name in BESIDE if folder]
    if given is None and (found := find_folder(record)) is not None:
        places.append(found)
    place = next((place for place in places if (place / "vae").is_dir() or _shards(place)), None)
    if place is None:
        where = f"{given} holds none of it" if given is not None else "it is not on this machine"
        raise WeightsError(f"FantasyPortrait works in Wan2.1-I2V-14B-720P, and {where}: {how_to_get(record)}.")
    missing = [] if _shards(place) else ["transformer"]
    missing += [part for part in COPIED if part not in TEXT and not (place / part).is_dir()]
    if not (place / EMPTY_PROMPT).is_file():
        missing += [part for part in TEXT if not (place / part).is_dir()]
    if missing:
        raise WeightsError(f"{place} lacks {', '.join(missing)}: {how_to_get(record)}.")
    return place


def _shards(base: Path) -> list[Path]:
    """The transformer's files."""
    return sorted((base / "transformer").glob("*.safetensors")) or sorted(base.glob(f"{NAME}*.safetensors"))


def _write_transformer(
    folder: Path,
    shards: Sequence[Path],
    stored: Sequence[Mapping[str, tuple[int, ...]]],
    adapter: Mapping[str, torch.Tensor],
    dtype: torch.dtype | None,
) -> None:
    """Wan's files, one after the other, the adapter's, and the list of what is in which."""
    from safetensors.torch import save_file

    def cast(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            key: value.to(dtype if dtype is not None and value.is_floating_point() else value.dtype).contiguous()
            for key, value in state.items()
        }

    count, places = len(shards) + 1, {}
    for number, (shard, keys) in enumerate(zip(shards, stored, strict=True), 1):
        target = folder / f"{NAME}-{number:05}-of-{count:05}.safetensors"
        if dtype is None and not is_published(keys):
            _place(shard, target)
        else:
            save_file(cast(to_diffusers(convert.read_state(shard))), target, metadata={"format": "pt"})
        places |= {diffusers_key(key): target.name for key in keys if IGNORED not in key}
    target = folder / f"{NAME}-{count:05}-of-{count:05}.safetensors"
    save_file(cast(adapter), target, metadata={"format": "pt"})
    places |= dict.fromkeys(adapter, target.name)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / f"{NAME}.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _write_index(folder: Path) -> None:
    """What `from_pretrained` reads first: each component's class."""
    import diffusers

    classes = COPIED | {
        "transformer": ("animate.models.dit", "ExpressionDiT"),
        "tokens": ("animate.models.portrait_tokens", "PortraitTokens"),
        "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
        "motion_projection": (None, None),
    }
    index = {"_class_name": "ExpressionPipeline", "_diffusers_version": diffusers.__version__}
    for part, names in sorted(classes.items()):
        index[part] = list(names) if (folder / part).is_dir() else [None, None]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _place_folder(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file():
            _place(path, target / path.name)


def _place(source: Path, target: Path) -> None:
    """The same file under another name where the disk allows it, else a copy."""
    try:
        os.link(source.resolve(), target)  # Hugging Face's cache holds links
    except OSError:
        shutil.copyfile(source, target)
