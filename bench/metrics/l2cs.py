"""L2CS-Net: gaze from a picture of a face."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from bench.metrics.face_parameters import face_square
from bench.metrics.local_weights import load_into, weight_file
from bench.metrics.resnet import ResNet50

WEIGHTS = "l2cs-gaze"
BINS, BIN_DEGREES = 90, 4.0
"""The heads' bins over -180 to 180 degrees."""

SIDE, CROP_SCALE = 448, 1.2
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours in [0, 1]."""


class L2CS(ResNet50):
    """L2CS-Net (Abdelrahman et al. 2023, section 3): a ResNet-50 with 90 bins for either angle."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_yaw_gaze = nn.Linear(2048, BINS)
        self.fc_pitch_gaze = nn.Linear(2048, BINS)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 448, 448) RGB in [0, 1] -> (B, 2) yaw and pitch in degrees: the mean of the bins."""
        x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
        features = super().forward(x)
        degrees = torch.arange(BINS, dtype=torch.float32) * BIN_DEGREES - 180
        heads = (self.fc_yaw_gaze(features), self.fc_pitch_gaze(features))
        return torch.stack([(head.softmax(-1) * degrees).sum(-1) for head in heads], -1)


def direction(yaw: float, pitch: float) -> np.ndarray:
    """(3,) unit vector of two angles in degrees."""
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    return np.array([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)])


@lru_cache(maxsize=1)
def network() -> L2CS:
    """The network with its weights, loaded once a process."""
    return load_into(L2CS(), weight_file(WEIGHTS), "the gaze network L2CS-Net", drop=("fc_finetune.",))


def gaze(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(3,) unit vector of where a face looks, in camera axes."""
    crop = face_square(image, landmarks, SIDE, CROP_SCALE)
    yaw, pitch = network()(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255)[0].tolist()
    return direction(yaw, pitch)
