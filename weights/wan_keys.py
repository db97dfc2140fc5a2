"""Keys of Wan's published transformer and of FantasyPortrait's adapter, as diffusers names them.

Wan's authors and those who build on their code write `blocks.0.self_attn.q.weight`; diffusers' folders hold
`blocks.0.attn1.to_q.weight`. Both name the same tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

WHOLE = {
    "head.modulation": "scale_shift_table",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "patch_embedding": "patch_embedding",
}
"""Beginnings of keys outside of the blocks, or whole keys."""

IN_BLOCK = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",  # of the cross-attention; the other two have no parameters
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "cross_attn.processor.ip_adapter_single_stream_k_proj": "attn2.to_k_expression",
    "cross_attn.processor.ip_adapter_single_stream_v_proj": "attn2.to_v_expression",
    **{
        f"{theirs}.{part}": f"{ours}.{name}"
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for part, name in (
            ("q", "to_q"),
            ("k", "to_k"),
            ("v", "to_v"),
            ("o", "to_out.0"),
            ("norm_q", "norm_q"),
            ("norm_k", "norm_k"),
            ("k_img", "add_k_proj"),
            ("v_img", "add_v_proj"),
            ("norm_k_img", "norm_added_k"),
        )
    },
}
"""Beginnings of keys of a block, after `blocks.N.`, or whole ones."""

PUBLISHED = re.compile(r"blocks\.\d+\.(self_attn|cross_attn)\.|(head|text_embedding|time_embedding|img_emb)\.")
"""Keys that only the authors' files have."""


def is_published(keys: Mapping[str, object]) -> bool:
    """Whether a state dict has the names of Wan's authors."""
    return any(PUBLISHED.match(key) for key in keys)


def to_diffusers(state: Mapping[str, Value]) -> dict[str, Value]:
    """The same values under diffusers' names; keys that the table does not know keep their own."""
    return {diffusers_key(key): value for key, value in state.items()}


def diffusers_key(key: str) -> str:
    """diffusers' name of a published key; an unknown key is its own."""
    block = re.match(r"blocks\.\d+\.", key)
    begin, rest, names = (block.group(), key[block.end() :], IN_BLOCK) if block else ("", key, WHOLE)
    if rest in names:
        return begin + names[rest]
    stem, dot, last = rest.rpartition(".")
    return f"{begin}{names[stem]}{dot}{last}" if stem in names else key
