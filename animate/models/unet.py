"""LandmarkUNet: Stable Diffusion 1.5's UNet over a clip, with Follow-Your-Emoji's three additions.

Reference features join self-attention, landmark features are added after `conv_in`, motion modules attend
over frames (Follow-Your-Emoji, arXiv 2406.01900, section 3). The default configuration is the published
checkpoint's, key for key; `mini` differs in configuration only (design.md, section 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import nn

from animate.models.attention import FaceMask
from animate.models.kept_states import KeptStates, keep
from animate.models.unet_blocks import (
    BlockSettings,
    Conditioning,
    DownBlock,
    MidBlock,
    UpBlock,
    number_references,
    run_up_blocks,
    up_block_channels,
)
from cache.mixin import TaylorCacheMixin

DOWN_BLOCKS = {"DownBlock3D": False, "CrossAttnDownBlock3D": True}
UP_BLOCKS = {"UpBlock3D": False, "CrossAttnUpBlock3D": True}
MID_BLOCKS = {"UNetMidBlock3D": False, "UNetMidBlock3DCrossAttn": True}


def attends(block_type: str, known: dict[str, bool]) -> bool:
    """Whether a block of this type holds spatial transformers; ValueError names an unknown type."""
    if block_type not in known:
        raise ValueError(f"unknown block type {block_type!r}: choose from {', '.join(known)}")
    return known[block_type]


@dataclass
class LandmarkUNetOutput(BaseOutput):
    """`sample`: (B, out_channels, T, H, W), a prediction of the scheduler's `prediction_type`."""

    sample: torch.Tensor


class LandmarkUNet(ModelMixin, ConfigMixin, AttentionMixin, PeftAdapterMixin, TaylorCacheMixin):
    """The denoiser of a clip.

    Args:
        in_channels, out_channels: latent channels of the noisy sample and of the prediction.
        condition_channels: channels of `condition`, concatenated to the sample before `conv_in` (0: none).
        down_block_types, mid_block_type, up_block_types: which levels hold spatial transformers.
        block_out_channels: channels of each level, finest first.
        layers_per_block: layers of a down block; an up block has one more.
        num_attention_heads: heads of the spatial attention, for all levels or one number each.
        cross_attention_dim: channels of the tokens; None leaves cross-attention out.
        image_embedding_dim: channels of CLIP's hidden states, brought to `cross_attention_dim` by `clip_fc`;
            None where the tokens have `cross_attention_dim` already.
        norm_num_groups, norm_eps: GroupNorm of the resnets (of one frame each).
        use_motion_module: attend over frames after each layer.
        motion_module_levels: levels (0 = finest) with motion modules; None for all.
        motion_module_mid_block: also in the middle.
        motion_num_attention_heads, motion_num_attentions, motion_max_frames, motion_norm_num_groups: the
            motion modules' sizes (AnimateDiff's norm has 32 groups whatever the resnets have).
        zero_init_output: the prediction is zero before training (a residual then starts at nothing).
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ResnetBlock2D", "SpatialTransformerBlock", "TemporalTransformerBlock"]
    _repeated_blocks = ["ResnetBlock2D", "SpatialTransformerBlock", "TemporalTransformerBlock"]
    _skip_layerwise_casting_patterns = ["norm", "pos_encoder"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        condition_channels: int = 0,
        down_block_types: Sequence[str] = ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",),
        mid_block_type: str = "UNetMidBlock3DCrossAttn",
        up_block_types: Sequence[str] = ("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        num_attention_heads: int | Sequence[int] = 8,
        cross_attention_dim: int | None = 768,
        image_embedding_dim: int | None = 1024,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        use_motion_module: bool = True,
        motion_module_levels: Sequence[int] | None = None,
        motion_module_mid_block: bool = True,
        motion_num_attention_heads: int = 8,
        motion_num_attentions: int = 2,
        motion_max_frames: int = 32,
        motion_norm_num_groups: int = 32,
        zero_init_output: bool = False,
    ):
        super().__init__()
        levels = len(block_out_channels)
        if not len(down_block_types) == len(up_block_types) == levels:
            raise ValueError(
                f"`block_out_channels` names {levels} levels but there are {len(down_block_types)} down and "
                f"{len(up_block_types)} up block types"
            )
        heads = [num_attention_heads] * levels if isinstance(num_attention_heads, int) else list(num_attention_heads)
        if len(heads) != levels:
            raise ValueError(f"`num_attention_heads` must be one number or {levels} but is {num_attention_heads}")

        # 1. Input
        self.conv_in = nn.Conv2d(in_channels + condition_channels, block_out_channels[0], 3, padding=1)

        # 2. Time and tokens
        temb_channels = 4 * block_out_channels[0]
        self.time_proj = Timesteps(block_out_channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(block_out_channels[0], temb_channels)
        self.clip_fc = None
        if image_embedding_dim is not None:
            if cross_attention_dim is None:
                raise ValueError("`image_embedding_dim` needs a `cross_attention_dim` to project to, but that is None")
            self.clip_fc = nn.Linear(image_embedding_dim, cross_attention_dim)

        # 3. Blocks
        motion = None
        if use_motion_module:
            motion = {
                "heads": motion_num_attention_heads,
                "max_frames": motion_max_frames,
                "num_attentions": motion_num_attentions,
                "norm_num_groups": motion_norm_num_groups,
            }
        moving = set(range(levels)) if motion_module_levels is None else set(motion_module_levels)
        settings = BlockSettings(temb_channels, norm_num_groups, norm_eps, cross_attention_dim, motion)
        self.down_blocks = nn.ModuleList()
        channels = block_out_channels[0]
        for level, block_type in enumerate(down_block_types):
            self.down_blocks.append(
                DownBlock(
                    channels,
                    block_out_channels[level],
                    layers_per_block,
                    settings,
                    heads=heads[level] if attends(block_type, DOWN_BLOCKS) else None,
                    motion=level in moving,
                    downsample=level < levels - 1,
                )
            )
            channels = block_out_channels[level]
        self.mid_block = MidBlock(
            channels,
            settings,
            heads=heads[-1] if attends(mid_block_type, MID_BLOCKS) else None,
            motion=motion_module_mid_block,
        )
        self.up_blocks = nn.ModuleList()
        plan = up_block_channels(block_out_channels, layers_per_block)
        for index, (block_type, (into, out, skips)) in enumerate(zip(up_block_types, plan, strict=True)):
            level = levels - 1 - index
            self.up_blocks.append(
                UpBlock(
                    into,
                    out,
                    skips,
                    settings,
                    heads=heads[level] if attends(block_type, UP_BLOCKS) else None,
                    motion=level in moving,
                    upsample=level > 0,
                )
            )

        self._num_references = number_references([*self.down_blocks, self.mid_block, *self.up_blocks])

        # 4. Output
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, block_out_channels[0], eps=norm_eps)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(block_out_channels[0], out_channels, 3, padding=1)
        if zero_init_output:
            nn.init.zeros_(self.conv_out.weight)
            nn.init.zeros_(self.conv_out.bias)
        self.gradient_checkpointing = False

    @property
    def num_reference_features(self) -> int:
        """How many reference feature maps a forward pass takes: one for each spatial transformer."""
        return self._num_references

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: torch.Tensor | None = None,
        landmark_features: torch.Tensor | Sequence[torch.Tensor] | None = None,
        reference_features: Sequence[torch.Tensor] | None = None,
        condition: torch.Tensor | None = None,
        face_map: torch.Tensor | None = None,
        token_faces: torch.Tensor | None = None,
        unconditional_batch: int = 0,
        kept: KeptStates | None = None,
        return_dict: bool = True,
    ) -> LandmarkUNetOutput | tuple[torch.Tensor]:
        """Predict from a noisy clip.

        Args:
            sample: (B, in_channels, T, H, W).
            timestep: one number or (B,), 0 to 999.
            encoder_hidden_states: (B, L, D) tokens of the clip or (B*T, L, D) tokens of each frame; D is
                `image_embedding_dim`, or `cross_attention_dim` where that is None.
            landmark_features: (B, block_out_channels[0], T, H, W) from a `LandmarkGuider`, added after `conv_in`;
                or a list from a `PoseGuider`, that and one for after each down block.
            reference_features: the list that a `ReferenceNetwork` of the same layout returns, each (R,
                tokens, C) with R = B, R = B - unconditional_batch, or 1.
            condition: (B, condition_channels, T, H, W).
            face_map: (B, T, H, W) integer face id of each pixel; with it `token_faces` (B, L) holds the id of
                each token (`SHARED_FACE`: for everybody) and a pixel attends to its own face's tokens alone.
            unconditional_batch: so many leading samples are the unconditional half of guidance: they attend
                to their own pixels only, never to the reference.
            kept: one object for all steps of a run, in which tokens, references, faces do not change: what depends on
                these alone is made once. The result is the same.
        """
        self._check_inputs(
            sample, encoder_hidden_states, landmark_features, reference_features, condition, face_map, token_faces
        )
        batch, _, frames, height, width = sample.shape

        # 1. Time embedding, one row a frame
        timestep = torch.as_tensor(timestep, device=sample.device).reshape(-1).expand(batch)
        temb = self.time_embedding(self.time_proj(timestep).to(sample.dtype)).repeat_interleave(frames, dim=0)

        # 2. Tokens, reference, faces
        if self.clip_fc is not None:
            encoder_hidden_states = keep(kept, "tokens", self.clip_fc, encoder_hidden_states)
        references = None
        if reference_features is not None:
            references = list(reference_features)
            for index, features in enumerate(references):
                if unconditional_batch and features.shape[0] == batch:
                    key = "reference", index, unconditional_batch
                    references[index] = keep(kept, key, lambda rows: rows[unconditional_batch:], features)
        face_mask = None
        if face_map is not None:
            face_mask = keep(kept, "face mask", FaceMask, face_map, token_faces)
        conditioning = Conditioning(
            temb=temb,
            num_frames=frames,
            tokens=encoder_hidden_states,
            face_mask=face_mask,
            unconditional_rows=unconditional_batch * frames,
            references=references,
            kept=kept,
        )

        # 3. Input
        if condition is not None:
            sample = torch.cat([sample, condition], dim=1)
        hidden_states = self.conv_in(fold_frames(sample))
        pyramid = [landmark_features] if isinstance(landmark_features, torch.Tensor) else landmark_features or []
        if pyramid:
            hidden_states = hidden_states + fold_frames(pyramid[0])

        # 4. Down, middle, up
        skips = [hidden_states]
        for index, block in enumerate(self.down_blocks):
            hidden_states, block_skips = block(hidden_states, conditioning)
            skips += block_skips
            if len(pyramid) > 1:
                hidden_states = hidden_states + fold_frames(pyramid[1 + index])
        hidden_states = self.mid_block(hidden_states, conditioning)
        hidden_states = run_up_blocks(self.up_blocks, hidden_states, skips, conditioning)

        # 5. Output
        hidden_states = self.conv_out(self.conv_act(self.conv_norm_out(hidden_states)))
        sample = hidden_states.unflatten(0, (batch, frames)).transpose(1, 2)  # (B, C, T, H, W)
        if not return_dict:
            return (sample,)
        return LandmarkUNetOutput(sample=sample)

    def _check_inputs(
        self, sample, encoder_hidden_states, landmark_features, reference_features, condition, face_map, token_faces
    ):
        if sample.ndim != 5:
            raise ValueError(f"`sample` must be (B, C, T, H, W) but has shape {tuple(sample.shape)}")
        channels = condition.shape[1] if condition is not None else 0
        if channels != self.config.condition_channels:
            raise ValueError(f"`condition` must have {self.config.condition_channels} channels but has {channels}")
        if self.config.cross_attention_dim is not None and encoder_hidden_states is None:
            raise ValueError("`encoder_hidden_states` is None but this network has cross-attention")
        if isinstance(landmark_features, (list, tuple)) and len(landmark_features) != 1 + len(self.down_blocks):
            raise ValueError(
                f"`landmark_features` must be one map, or {1 + len(self.down_blocks)} in a list, "
                f"but holds {len(landmark_features)}"
            )
        if reference_features is not None and len(reference_features) != self.num_reference_features:
            raise ValueError(
                f"`reference_features` must hold {self.num_reference_features} maps but holds {len(reference_features)}"
            )
        if (face_map is None) != (token_faces is None):
            raise ValueError("`face_map` and `token_faces` belong together: give both or neither")


def fold_frames(clip: torch.Tensor) -> torch.Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W)."""
    return clip.transpose(1, 2).flatten(0, 1)
