"""ExpressionEncoder: PD-FGC's motion encoder, from an aligned face to head pose, eyes, emotion and mouth.

Facts of the public checkpoint (Wang et al., "Progressive Disentangled Representation Learning for Fine-Grained
Controllable Talking Head Synthesis", arXiv 2211.14506; FantasyPortrait's `pd_fpg.pth`): the trunk is a face alignment
network (FAN, arXiv 1703.07332) with one hourglass of depth 4, whose 68 heat maps are joined to one map of 28 x 28 and
to 512 numbers; four heads of two linear layers with a batch norm between them. The mouth's feature is its head's 512
numbers; the others go through one more layer. Key names are the checkpoint's.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F

from animate.errors import WeightsError
from animate.loading import undisturbed
from weights import convert
from weights.registry import get
from weights.store import find_folder, how_to_get

RECORD = "pd-fgc"
SIDE = 224
TRUNK = 512
TRAINING_HEADS = ("classifier.", "mouth_fc.", "headpose_fc.", "eye_fc.", "emo_fc.")
"""Beginnings of keys that only training read: a checkpoint may have them."""


class Block(nn.Module):
    """Three normed 3 x 3 convolutions, each reading the one before; their outputs side by side, plus the input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        for number, (before, after) in enumerate(((inputs, half), (half, quarter), (quarter, quarter)), 1):
            self.add_module(f"bn{number}", nn.BatchNorm2d(before))
            self.add_module(f"conv{number}", nn.Conv2d(before, after, 3, padding=1, bias=False))
        self.downsample = None
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        return torch.cat([first, second, third], dim=1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Down `depth` times by 2 and up again, each level added to what lies beside it."""

    def __init__(self, depth: int, width: int):
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            names = ("b1", "b2", "b3") if level > 1 else ("b1", "b2", "b2_plus", "b3")
            for name in names:
                self.add_module(f"{name}_{level}", Block(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, h, w), the same after."""
        return self._level(self.depth, x)

    def _level(self, level: int, x: torch.Tensor) -> torch.Tensor:
        def block(name: str, states: torch.Tensor) -> torch.Tensor:
            return self.get_submodule(f"{name}_{level}")(states)

        below = block("b2", F.max_pool2d(x, 2))
        below = self._level(level - 1, below) if level > 1 else block("b2_plus", below)
        below = F.interpolate(block("b3", below), size=x.shape[2:], mode="bilinear")
        return block("b1", x) + below


class Trunk(nn.Module):
    """(B, 3, 224, 224) in [-1, 1] -> (B, 512)."""

    def __init__(self, width: int, maps: int, side: int):
        super().__init__()
        quarter = width // 4
        self.conv1 = nn.Conv2d(3, quarter, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(quarter)
        self.conv2 = Block(quarter, width // 2)
        self.conv3 = Block(width // 2, width // 2)
        self.conv4 = Block(width // 2, width)
        self.m0 = Hourglass(4, width)
        self.top_m_0 = Block(width, width)
        self.conv_last0 = nn.Conv2d(width, width, 1)
        self.bn_end0 = nn.BatchNorm2d(width)
        self.l0 = nn.Conv2d(width, maps, 1)
        self.bn5 = nn.BatchNorm2d(maps)
        self.conv6 = nn.Conv2d(maps, 1, 3, stride=2, padding=1)
        self.fc = nn.Linear((side // 8) ** 2, TRUNK)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.conv4(self.conv3(F.max_pool2d(self.conv2(x), 2)))  # (B, width, 56, 56)
        x = F.relu(self.bn_end0(self.conv_last0(self.top_m_0(self.m0(x)))))
        x = self.conv6(F.relu(self.bn5(self.l0(x))))  # (B, 1, 28, 28)
        return self.fc(F.relu(x.flatten(1)))


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(TRUNK, TRUNK), nn.ReLU(), nn.BatchNorm1d(TRUNK), nn.Linear(TRUNK, TRUNK))


def _embedding(size: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Linear(TRUNK, size))


class ExpressionEncoder(ModelMixin, ConfigMixin):
    """An aligned face's expression as 554 numbers: head pose 6, eyes 6, emotion 30, mouth 512.

    Args:
        pose_dim, eye_dim, emotion_dim: numbers of those parts. width, maps, side: channels of the trunk, its heat maps
            and the pixels of the crop; the defaults are the published ones.
    """

    @register_to_config
    def __init__(
        self,
        pose_dim: int = 6,
        eye_dim: int = 6,
        emotion_dim: int = 30,
        width: int = 256,
        maps: int = 68,
        side: int = SIDE,
    ):
        super().__init__()
        self.model = Trunk(width, maps, side)
        self.to_mouth, self.to_headpose, self.to_eye, self.to_emo = (_head() for _ in range(4))
        self.mouth_embed = _embedding(TRUNK - pose_dim - eye_dim)  # in the checkpoint; nothing here reads it
        self.headpose_embed, self.eye_embed, self.emo_embed = map(_embedding, (pose_dim, eye_dim, emotion_dim))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(B, 554) features of aligned faces (B, 3, 224, 224), RGB in [-1, 1].

        Raises:
            ValueError: faces of another shape.
        """
        side = self.config.side
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, side, side):
            raise ValueError(f"`faces` must be (B, 3, {side}, {side}) but has shape {tuple(faces.shape)}")
        states = self.model(faces.to(self.dtype))
        parts = (
            self.headpose_embed(self.to_headpose(states)),
            self.eye_embed(self.to_eye(states)),
            self.emo_embed(self.to_emo(states)),
            self.to_mouth(states),
        )
        return torch.cat(parts, dim=1)


def load_encoder(
    path: str | Path | None = None, device: torch.device | str = "cpu", **config: int
) -> ExpressionEncoder:
    """The encoder with its published weights.

    Args:
        path: a checkpoint (.pth, .safetensors) or a folder of `save_pretrained`; None looks for the published file.
        device: where it computes.
        config: of `ExpressionEncoder`, for a checkpoint of another size.

    Raises:
        WeightsError: the file is not there (says which, and where to get it) or damaged; lists keys that do not fit.
    """
    path = _find() if path is None else Path(path).expanduser()
    if not path.exists():
        raise WeightsError(f"There are no expression encoder weights {path}: {how_to_get(get(RECORD))}.")
    if path.is_dir():
        with undisturbed():
            return ExpressionEncoder.from_pretrained(path, local_files_only=True).to(device).eval()
    state = {key: value for key, value in convert.read_state(path).items() if not key.startswith(TRAINING_HEADS)}
    with torch.device("meta"):
        encoder = ExpressionEncoder(**config)
    expected = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    for key in expected.keys() - state.keys():
        if key.endswith("num_batches_tracked"):  # a count that nothing reads; some tools leave it out
            state[key] = torch.zeros((), dtype=torch.long)
    encoder.load_state_dict(convert.fit(state, expected, str(path)), strict=True, assign=True)
    return encoder.float().to(device).eval()


def find_encoder() -> Path | None:
    """The published checkpoint, where it is on this machine."""
    record = get(RECORD)
    folder = find_folder(record)
    return None if folder is None else folder / Path(record.files[0]).name


def _find() -> Path:
    path = find_encoder()
    if path is None:
        raise WeightsError(
            "Expression features of a video need PD-FGC's encoder, which is not on this machine: "
            f"{how_to_get(get(RECORD))}."
        )
    return path
