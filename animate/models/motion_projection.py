"""MotionProjection: what PD-FGC's encoder would say of a face, from our own `Motion` instead of its picture.

So motions that come from speech, sliders or motion files drive the expression-driven transformer as well.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from animate import pose
from animate import topology as mesh
from animate.measures import gaze_of

INPUTS = 3 * mesh.POINTS + 4 + 3
FEATURE_DIMS = (6, 6, 30, 512)


def motion_vectors(expression: np.ndarray, gaze: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(T, 1441) float32 of a `Motion`'s arrays (T, 478, 3), (T, 2, 2) and (T, 3)."""
    count = len(expression)
    return np.concatenate([expression.reshape(count, -1), gaze.reshape(count, -1), rotation], axis=1, dtype=np.float32)


def landmark_vectors(landmarks: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """(T, 1441) float32 of landmarks (T, 478, 3) px and the same face at rest (478, 3) px.

    Where the landmarks are a motion that was retargeted onto the face in mode "relative", this is nearly the motion's
    own vector: what the motion adds to its driver's neutral face, retargeting adds to this face.
    """
    posed, shapes = pose.decompose(np.concatenate([neutral[None], landmarks]))
    shapes = shapes / pose.inter_ocular(shapes[0])
    return motion_vectors(shapes[1:] - shapes[0], gaze_of(shapes[1:]), posed.rotation[1:])


class MotionProjection(ModelMixin, ConfigMixin):
    """A perceptron, frame by frame.

    Args:
        in_dim: numbers of a frame's motion (`motion_vectors`). feature_dims: of head pose, eyes, emotion and mouth.
        hidden_dim: width. Input and output are standardised by buffers that training sets.
    """

    _skip_layerwise_casting_patterns = ["norm"]

    @register_to_config
    def __init__(
        self, in_dim: int = INPUTS, feature_dims: tuple[int, int, int, int] = FEATURE_DIMS, hidden_dim: int = 256
    ):
        super().__init__()
        width = sum(feature_dims)
        self.linear_1 = nn.Linear(in_dim, hidden_dim)
        self.linear_2 = nn.Linear(hidden_dim, hidden_dim)
        self.linear_3 = nn.Linear(hidden_dim, width)
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden_dim), nn.LayerNorm(hidden_dim)
        self.act = nn.SiLU()
        for name, size in (("motion", in_dim), ("feature", width)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def standardise(self, vectors: torch.Tensor, features: torch.Tensor) -> None:
        """Set the buffers from training data, (n, in_dim) and (n, width); what hardly varies is not blown up."""
        for name, values in (("motion", vectors), ("feature", features)):
            std = values.std(0, correction=0)
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(std.clamp(min=max(1e-4, 0.01 * float(std.mean()))))

    def predict(self, vectors: torch.Tensor) -> torch.Tensor:
        """The standardised features (..., width) of motion vectors (..., in_dim)."""
        states = (vectors.to(self.dtype) - self.motion_mean) / self.motion_std
        states = self.norm_1(self.act(self.linear_1(states)))
        states = states + self.norm_2(self.act(self.linear_2(states)))
        return self.linear_3(states)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Expression features (..., 554) of motion vectors (..., 1441).

        Raises:
            ValueError: vectors of another length.
        """
        if vectors.shape[-1] != self.config.in_dim:
            raise ValueError(f"`vectors` must be (..., {self.config.in_dim}) but has shape {tuple(vectors.shape)}")
        return self.predict(vectors) * self.feature_std + self.feature_mean
