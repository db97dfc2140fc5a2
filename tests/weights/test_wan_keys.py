"""Wan's published key names and diffusers' name the same tensors."""

import pytest

from weights.wan_keys import diffusers_key, is_published, to_diffusers


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("patch_embedding.weight", "patch_embedding.weight"),
        ("text_embedding.2.bias", "condition_embedder.text_embedder.linear_2.bias"),
        ("time_projection.1.weight", "condition_embedder.time_proj.weight"),
        ("img_emb.proj.4.weight", "condition_embedder.image_embedder.norm2.weight"),
        ("head.modulation", "scale_shift_table"),
        ("head.head.bias", "proj_out.bias"),
        ("blocks.7.modulation", "blocks.7.scale_shift_table"),
        ("blocks.39.self_attn.norm_q.weight", "blocks.39.attn1.norm_q.weight"),
        ("blocks.0.cross_attn.o.bias", "blocks.0.attn2.to_out.0.bias"),
        ("blocks.0.cross_attn.norm_k_img.weight", "blocks.0.attn2.norm_added_k.weight"),
        ("blocks.0.norm3.weight", "blocks.0.norm2.weight"),
        ("blocks.0.ffn.2.bias", "blocks.0.ffn.net.2.bias"),
        (
            "blocks.12.cross_attn.processor.ip_adapter_single_stream_v_proj.weight",
            "blocks.12.attn2.to_v_expression.weight",
        ),
    ],
)
def test_published_names(published, ours):
    assert diffusers_key(published) == ours
    assert diffusers_key(ours) == ours  # what has diffusers' name keeps it


def test_unknown_names_stay_and_are_found_later():
    assert to_diffusers({"blocks.0.odd.weight": 1, "odd": 2}) == {"blocks.0.odd.weight": 1, "odd": 2}


@pytest.mark.parametrize(
    ("keys", "published"),
    [
        (["blocks.0.self_attn.q.weight"], True),
        (["patch_embedding.weight", "head.head.weight"], True),
        (["patch_embedding.weight", "blocks.0.attn1.to_q.weight"], False),
        ([], False),
    ],
)
def test_whose_names_they_are(keys, published):
    assert is_published(dict.fromkeys(keys)) is published
