"""A saved `ExpressionPipeline`, checked and loaded, with the memory and speed settings asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from animate.checkpoints import _silent_libraries, check_transformers, find_pipeline
from animate.device import check_device
from animate.errors import OptionError, WeightsError
from animate.expression_checkpoints import EMPTY_PROMPT, TEXT
from animate.expression_options import ExpressionOptions
from animate.loading import undisturbed
from animate.pipelines.acceleration import compile_blocks, offload, set_attention
from animate.pipelines.expression import ExpressionPipeline
from animate.pipelines.flow import set_flow_scheduler

WIDE = ("vae", "image_encoder", "motion_projection")  # small networks that half precision would harm
FILES = {
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer_config.json",),
    "image_processor": ("preprocessor_config.json",),
}  # every other component has a config.json and safetensors


def load_expression_pipeline(
    folder: str | Path,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
    quantization_config=None,
    without: Sequence[str] = (),
) -> ExpressionPipeline:
    """An expression-driven pipeline from a folder, or from the name of a converted family ("fantasy-portrait").

    Args:
        folder: what conversion or `save_pretrained` wrote.
        dtype: of the large networks; None is float32. Autoencoder, CLIP and motion projection stay float32.
        device: torch's name of a device; all networks are moved there.
        quantization_config: diffusers' `PipelineQuantizationConfig`, for the transformer or the text encoder.
        without: optional parts that are neither read nor looked for, such as `TEXT`.

    Raises:
        WeightsError: the folder or a part of it is not there or damaged; says which file.
        OptionError: the device cannot be used here, or what quantises is not installed.
    """
    place = check_device(device)
    folder = find_pipeline(folder)
    check_parts(folder, without)
    check_transformers()
    kinds = {"default": dtype or torch.float32} | dict.fromkeys(WIDE, torch.float32)
    given = dict.fromkeys(without)
    if quantization_config is not None:
        given["quantization_config"] = quantization_config
    try:
        with _silent_libraries(), undisturbed():
            pipeline = ExpressionPipeline.from_pretrained(
                folder, dtype=kinds, use_safetensors=True, local_files_only=True, **given
            )
    except ImportError as error:
        raise OptionError(f"The quantisation asked for is not installed ({_short(error)}); leave it out.") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"The pipeline in {folder} cannot be loaded ({type(error).__name__}: {_short(error)}); convert it again."
        ) from error
    for name, component in pipeline.components.items():
        if not isinstance(component, nn.Module):
            continue
        if unset := [key for key, value in component.named_parameters() if value.is_meta]:
            raise WeightsError(
                f"The files in {folder / name} lack {len(unset)} keys, such as {unset[0]}: get them again."
            )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline if place.type == "cpu" else pipeline.to(place)


def load_for_animation(
    folder: Path, options: ExpressionOptions, device: str
) -> tuple[ExpressionPipeline, torch.Tensor | None]:
    """The pipeline as the options say, and the states of the empty text where the folder holds them.

    Raises:
        WeightsError, OptionError: as `load_expression_pipeline`; neither a text encoder nor those states.
    """
    place = check_device(device)
    dtype = options.dtype
    if dtype == "auto":
        dtype = "float32" if place.type == "cpu" else "bfloat16"
    prompt = read_empty_prompt(find_pipeline(folder))
    needless = () if prompt is None else TEXT  # gigabytes that nothing reads
    pipeline = load_expression_pipeline(folder, getattr(torch, dtype), "cpu", without=needless)
    if prompt is None and pipeline.text_encoder is None:
        raise WeightsError(
            f"The model in {folder} has neither a text encoder nor {EMPTY_PROMPT}, the states of the empty text: copy "
            "one of them there, or convert the model again."
        )
    set_flow_scheduler(pipeline, options.scheduler)
    offload(pipeline, options.offload, place)
    denoiser = SimpleNamespace(unet=pipeline.transformer, reference_network=None)
    if options.attention != "auto":
        set_attention(denoiser, options.attention, place)
    if options.compile:
        compile_blocks(denoiser)
    return pipeline, prompt


def check_parts(folder: Path, without: Sequence[str] = ()) -> None:
    """Raises WeightsError where the folder is no expression pipeline or lacks a file of one of its parts, but for those
    named in `without`."""
    index_path = folder / "model_index.json"
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
        if index.get("_class_name") != "ExpressionPipeline":
            raise WeightsError(
                f"{folder} holds a {index.get('_class_name')}, not an ExpressionPipeline: give another folder."
            )
        parts = [name for name, entry in index.items() if isinstance(entry, list) and entry[1] and name not in without]
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise WeightsError(f"{index_path} cannot be read: convert the model again.") from error
    for name in parts:
        for file in FILES.get(name, ("config.json", "*.safetensors")):
            if not any((folder / name).glob(file)):
                raise WeightsError(
                    f"The model in {folder} lacks {name}/{file}: convert it again, or copy the folder again."
                )


def read_empty_prompt(folder: Path) -> torch.Tensor | None:
    """(1, L, D) states of the empty text that lie beside a pipeline; None where there are none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / EMPTY_PROMPT
    if not path.is_file():
        return None
    try:
        return load_file(path)["prompt_embeds"]
    except (SafetensorError, KeyError, OSError) as error:
        raise WeightsError(f"{path} is damaged: copy it again.") from error


def write_empty_prompt(pipeline: ExpressionPipeline, folder: Path) -> None:
    """Puts the states of the empty text beside a pipeline, so that its text encoder is needed no more."""
    from safetensors.torch import save_file

    save_file({"prompt_embeds": pipeline.encode_prompt("").cpu().contiguous()}, Path(folder) / EMPTY_PROMPT)


def _short(error: Exception, length: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= length else f"{text[:length]}…"
