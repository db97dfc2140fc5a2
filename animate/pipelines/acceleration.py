"""Speed and memory of the full-size pipeline: attention back ends, offloading, narrow storage, compilation.

All of it is diffusers' and torch's own; here are the names that users give, the order in which things fit together,
and one clear sentence where the machine cannot do it. Call them after loading and `set_scheduler`, in the order
`compress`, `offload`, `set_attention`, `compile_blocks`.
"""

import torch

from animate.errors import OptionError

ATTENTION = {"auto": "native", "sdpa": "native", "xformers": "xformers", "flash": "flash"}
OFFLOADS = ("none", "model", "group")
GRAPHS = 128  # distinct shapes of a repeated block that may be compiled; the full size has 22 for one size of clip


def offload(pipeline, kind: str, device: str | torch.device) -> None:
    """Where the networks wait while others compute.

    Args:
        pipeline: loaded, on the CPU.
        kind: "none" puts everything on `device`; "model" moves one network at a time there (the peak is the UNet);
            "group" moves one layer at a time, with the next one's copy overlapping (the peak is about the activations).
        device: where to compute.

    Raises:
        OptionError: an unknown kind, or nothing to offload from.
    """
    if kind not in OFFLOADS:
        raise OptionError(f"Unknown offloading {kind!r}: choose one of {', '.join(OFFLOADS)}.")
    device = torch.device(device)
    if kind == "none":
        pipeline.to(device)
    elif device.type == "cpu":
        raise OptionError(
            f"Offloading {kind!r} moves networks between a GPU and the main memory, but the device is the CPU: "
            "choose a GPU, or no offloading."
        )
    elif kind == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(
            onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda", non_blocking=True
        )


def set_attention(pipeline, name: str, device: str | torch.device | None = None) -> None:
    """The attention kernel of the denoiser and the reference network.

    Args:
        name: "auto" or "sdpa" (torch picks the fastest of its own), "xformers" or "flash" (the flash-attn package).
        device: where the pipeline computes; None asks the pipeline.

    Raises:
        OptionError: an unknown name, or a back end that this machine, device or dtype does not have.
    """
    if name not in ATTENTION:
        raise OptionError(f"Unknown attention back end {name!r}: choose one of {', '.join(ATTENTION)}.")
    backend = ATTENTION[name]
    device = torch.device(device if device is not None else pipeline._execution_device)
    if backend != "native" and device.type != "cuda":
        raise OptionError(f"The attention back end {name!r} runs on NVIDIA GPUs only: choose sdpa on the {device}.")
    if backend == "flash" and pipeline.unet.dtype not in (torch.float16, torch.bfloat16):
        raise OptionError("The attention back end 'flash' wants float16 or bfloat16: choose such a dtype, or sdpa.")
    for network in (pipeline.unet, pipeline.reference_network):
        if network is not None:
            _set_backend(network, name, backend)


def _set_backend(network, name: str, backend: str) -> None:
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    active, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        network.set_attention_backend(backend)
    except RuntimeError as error:
        raise OptionError(
            f"The attention back end {name!r} is not installed or too old: install it, or choose sdpa."
        ) from error
    finally:
        # diffusers also makes it the default of every other model in the process
        _AttentionBackendRegistry.set_active_backend(active)


def compress(pipeline, storage: torch.dtype = torch.float8_e4m3fn) -> None:
    """Keep the two large networks' weights in a narrow dtype and widen each layer as it computes.

    Halves the memory of float16 weights; norms and position tables stay wide. The pipeline's dtype is the one that it
    computes in.
    """
    for network in (pipeline.unet, pipeline.reference_network):
        if network is not None:
            network.enable_layerwise_casting(storage_dtype=storage, compute_dtype=network.dtype)


def compile_blocks(pipeline, **options) -> None:
    """Compile the denoiser's repeated blocks (regional compilation): the first clip of a size takes minutes longer.

    Args:
        options: for `torch.compile`. Shapes are static unless told otherwise: windows of a video have one size.
    """
    import torch._dynamo

    # a block's code is shared by all its instances, and each width and resolution is a graph of its own
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    pipeline.unet.compile_repeated_blocks(**{"dynamic": False, **options})
