"""Checks of what the landmark pipeline is called with; errors name the argument, its type and its value."""

import numpy as np
import PIL.Image
import torch

from animate.models.codec import SpaceToDepthCodec
from animate.pipelines.noise import FrameNoise

OUTPUT_TYPES = ("pt", "np", "pil", "latent")


def check_clips(
    factor: int,
    landmark_map: torch.Tensor | None,
    base: torch.Tensor | None,
    gate: torch.Tensor | None,
) -> tuple[int, int, int, int]:
    """(batch, frames, height, width) that the clips share; height and width must be multiples of `factor`."""
    if landmark_map is None and base is None:
        raise ValueError("`landmark_map` and `base` are both None: nothing says what to draw")
    if (base is None) != (gate is None):
        missing = "base" if base is None else "gate"
        raise ValueError(f"`base` and `gate` belong together but `{missing}` is None")
    shape = None
    for name, clip, channels in (("landmark_map", landmark_map, 3), ("base", base, 3), ("gate", gate, 1)):
        if clip is None:
            continue
        if not isinstance(clip, torch.Tensor):
            raise TypeError(f"`{name}` must be a torch.Tensor but is a {type(clip).__name__}")
        if clip.ndim != 5 or clip.shape[1] != channels:
            raise ValueError(f"`{name}` must be (B, {channels}, T, H, W) but has shape {tuple(clip.shape)}")
        this = (clip.shape[0], *clip.shape[2:])
        if shape is not None and this != shape:
            raise ValueError(f"`{name}` has (B, T, H, W) = {this} but the clip before it has {shape}")
        shape = this
    height, width = shape[2:]
    if height % factor or width % factor:
        raise ValueError(f"height and width must be multiples of {factor} but are {height} and {width}")
    return shape


def check_residual(vae, unet, scheduler, base: torch.Tensor | None) -> None:
    """What the residual mode (`base`) asks of the parts, and a network of that mode of the caller."""
    condition_channels = unet.config.condition_channels
    if base is None:
        if condition_channels:
            raise ValueError(f"`base` and `gate` are None but this network takes {condition_channels} channels of them")
        return
    if not isinstance(vae, SpaceToDepthCodec):
        raise ValueError(
            f"`base` needs a SpaceToDepthCodec, whose latents are pixels, but the codec is a {type(vae).__name__}"
        )
    prediction_type = scheduler.config.prediction_type
    if prediction_type != "sample":
        raise ValueError(f"`base` needs a scheduler with prediction_type 'sample' but it is {prediction_type!r}")
    latent = vae.latent_channels
    without = latent + vae.config.patch_size**2
    if condition_channels not in (without, without + latent):
        raise ValueError(
            f"`condition_channels` of the network must be {without} (base, gate) or {without + latent} "
            f"(base, gate, portrait) but is {condition_channels}"
        )


def check_parts(**parts: tuple[object, object]) -> None:
    """Each input is given exactly where its part is there: `input=(value, component)`."""
    names = {"landmark_map": "guider", "expression": "expression_tokens"}
    for name, (value, component) in parts.items():
        if (value is not None) != (component is not None):
            raise ValueError(
                f"`{name}` is None but the pipeline has `{names[name]}`"
                if value is None
                else f"`{name}` was given but the pipeline has no `{names[name]}`"
            )


def check_faces(batch: int, frames: int, expression, face_map, face_ids) -> None:
    """Motion vectors of one or several faces, and where each face is."""
    if expression is None:
        if face_map is not None or face_ids is not None:
            raise ValueError("`face_map` and `face_ids` say whose `expression` is where, but that is None")
        return
    if not isinstance(expression, torch.Tensor):
        raise TypeError(f"`expression` must be a torch.Tensor but is a {type(expression).__name__}")
    if expression.ndim not in (3, 4) or (expression.shape[0], expression.shape[-2]) != (batch, frames):
        raise ValueError(
            f"`expression` must be ({batch}, {frames}, F) or ({batch}, N, {frames}, F) "
            f"but has shape {tuple(expression.shape)}"
        )
    faces = expression.shape[1] if expression.ndim == 4 else 1
    if faces > 1 and face_map is None:
        raise ValueError(f"`expression` holds {faces} faces but `face_map`, which says where each is, is None")
    if face_map is not None:
        if not isinstance(face_map, torch.Tensor):
            raise TypeError(f"`face_map` must be a torch.Tensor but is a {type(face_map).__name__}")
        if face_map.ndim != 4 or face_map.shape[:2] != (batch, frames) or face_map.is_floating_point():
            raise ValueError(
                f"`face_map` must be ({batch}, {frames}, H, W) integers "
                f"but is {face_map.dtype} of shape {tuple(face_map.shape)}"
            )
    if face_ids is not None and len(face_ids) != faces:
        raise ValueError(f"`face_ids` must hold {faces} numbers, one a face, but holds {len(face_ids)}")


def check_latents(latents: torch.Tensor, shape: tuple[int, ...]) -> None:
    """First noise of this shape, or with axes of length 1 that are repeated."""
    if not isinstance(latents, torch.Tensor):
        raise TypeError(f"`latents` must be a torch.Tensor but is a {type(latents).__name__}")
    if latents.ndim != len(shape) or any(
        have not in (1, want) for have, want in zip(latents.shape, shape, strict=True)
    ):
        raise ValueError(f"`latents` must be {shape}, or 1 for an axis to repeat, but has shape {tuple(latents.shape)}")


def check_noise(shape: tuple[int, ...], noise: FrameNoise | None, generator, latents) -> None:
    """Noise of numbered frames fits the clip and is the only noise."""
    if noise is None:
        return
    if not isinstance(noise, FrameNoise):
        raise TypeError(f"`noise` must be a FrameNoise but is a {type(noise).__name__}")
    if generator is not None or latents is not None:
        raise ValueError("give `noise`, or `generator` and `latents`, not both")
    if len(noise.frames) != shape[2]:
        raise ValueError(f"`noise` is of {len(noise.frames)} frames but the clip has {shape[2]}")


def check_known(shape: tuple[int, ...], known_latents, known_frames) -> None:
    """Clean latents of a clip of `shape` (B, C, T, h, w) and the mask of the frames for which they count."""
    if (known_latents is None) != (known_frames is None):
        missing = "known_latents" if known_latents is None else "known_frames"
        raise ValueError(f"`known_latents` and `known_frames` belong together but `{missing}` is None")
    if known_latents is None:
        return
    for name, value in (("known_latents", known_latents), ("known_frames", known_frames)):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"`{name}` must be a torch.Tensor but is a {type(value).__name__}")
    if tuple(known_latents.shape) != shape:
        raise ValueError(f"`known_latents` must be {shape} but has shape {tuple(known_latents.shape)}")
    if known_frames.dtype != torch.bool or tuple(known_frames.shape) != (shape[2],):
        raise ValueError(
            f"`known_frames` must be ({shape[2]},) bool but is {known_frames.dtype} of shape "
            f"{tuple(known_frames.shape)}"
        )


def check_sampling(num_inference_steps, output_type: str, known_tensors, wanted_tensors) -> None:
    """The number of steps, the output's type and the callback's tensors."""
    if num_inference_steps is not None:
        if not isinstance(num_inference_steps, int) or isinstance(num_inference_steps, bool):
            raise TypeError(f"`num_inference_steps` must be an int but is a {type(num_inference_steps).__name__}")
        if num_inference_steps < 1:
            raise ValueError(f"`num_inference_steps` must be 1 or more but is {num_inference_steps}")
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"`output_type` must be one of {', '.join(OUTPUT_TYPES)} but is {output_type!r}")
    unknown = [name for name in wanted_tensors if name not in known_tensors]
    if unknown:
        raise ValueError(f"`callback_on_step_end_tensor_inputs` may hold {known_tensors} but holds {unknown}")


def image_tensor(image: torch.Tensor | PIL.Image.Image | np.ndarray) -> torch.Tensor:
    """(B, 3, H, W) float in [-1, 1] from a tensor (as it is), a PIL image or a uint8 (H, W, 3) RGB array."""
    if isinstance(image, PIL.Image.Image):
        image = np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"`reference_image` as an array must be uint8 (H, W, 3) but is {image.dtype} of shape {image.shape}"
            )
        return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    if not isinstance(image, torch.Tensor):
        raise TypeError(
            f"`reference_image` must be a torch.Tensor, a PIL image or a numpy array but is a {type(image).__name__}"
        )
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"`reference_image` must be (B, 3, H, W) but has shape {tuple(image.shape)}")
    return image
