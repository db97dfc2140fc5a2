"""What the denoiser is told at every step: landmarks, tokens, reference, base; for guidance in two halves."""

import torch

from animate.models.codec import SpaceToDepthCodec, retrieve_latents
from animate.pipelines.encoding import EncodedReference
from animate.pipelines.residual import residual_condition


class ConditionsMixin:
    """The unchanging arguments of the denoiser of a pipeline with `guider` and `expression_tokens`."""

    @property
    def reference_in_condition(self) -> bool:
        """Whether the denoiser also sees the portrait's latents beside base and gate (`mini`)."""
        if not isinstance(self.vae, SpaceToDepthCodec):
            return False
        patch, latent = self.vae.config.patch_size**2, self.vae.latent_channels
        return self.unet.config.condition_channels == latent + patch + latent

    @property
    def needs_reference(self) -> bool:
        """Whether any part wants `reference_image`."""
        return self.reference_network is not None or self.image_encoder is not None or self.reference_in_condition

    def prepare_conditions(
        self,
        landmark_map: torch.Tensor | None,
        expression: torch.Tensor | None,
        face_map: torch.Tensor | None,
        face_ids,
        reference: EncodedReference | None,
        batch: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> dict[str, torch.Tensor | list[torch.Tensor] | int | None]:
        """The denoiser's arguments that no step changes; for guidance [unconditional, conditional]."""
        landmark_features = tokens = token_faces = features = None
        if reference is not None:
            reference = reference.to(device, dtype)
        if landmark_map is not None:
            landmark_features = self.guider(landmark_map.to(device, self.guider.dtype))
            landmark_features = _each(landmark_features, lambda features: features.to(dtype))
        if expression is not None:
            tokens = self.expression_tokens(expression.to(device, self.expression_tokens.dtype))
            tokens = tokens.flatten(0, 1).to(dtype)  # (B*T, L, D)
            if face_map is not None:
                faces = expression.shape[1] if expression.ndim == 4 else 1
                ids = list(face_ids) if face_ids is not None else list(range(1, faces + 1))
                token_faces = self.expression_tokens.face_ids(batch, ids)
                face_map = face_map.to(device)
        elif reference is not None and reference.tokens is not None:
            tokens = reference.tokens.expand(batch, -1, -1)
        if reference is not None:
            features = reference.features

        unconditional_batch = 0
        if self.do_classifier_free_guidance:
            unconditional_batch = batch
            tokens = torch.cat([torch.zeros_like(tokens), tokens]) if tokens is not None else None
            landmark_features, face_map, token_faces = (
                _each(x, lambda part: torch.cat([part] * 2)) for x in (landmark_features, face_map, token_faces)
            )
        return {
            "encoder_hidden_states": tokens,
            "landmark_features": landmark_features,
            "reference_features": features,
            "face_map": face_map,
            "token_faces": token_faces,
            "unconditional_batch": unconditional_batch,
        }

    def prepare_residual(
        self, base: torch.Tensor, gate: torch.Tensor, reference: EncodedReference | None, device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Base and gate encoded in float32, and the `condition` that the denoiser sees of them."""
        base = self.encode_clip(base.to(device, torch.float32))
        gate = retrieve_latents(self.vae.encode(gate.to(device, torch.float32)))
        portrait = reference.latents.to(device) if self.reference_in_condition else None
        condition = residual_condition(base, gate, portrait).to(dtype)
        if self.do_classifier_free_guidance:
            condition = torch.cat([condition] * 2)
        return base, gate, condition


def _each(value, function):
    """`function` of a tensor, or of each in a list; None stays None."""
    if value is None:
        return None
    return function(value) if isinstance(value, torch.Tensor) else [function(part) for part in value]
