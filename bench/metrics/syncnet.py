"""SyncNet: sound and lips as points of one space, near to each other where they belong together.

Chung and Zisserman 2016, "Out of time: automated lip sync in the wild", section 2, in the size of the published file
``syncnet_v2.model``, whose keys these are. Sound is 13 cepstral coefficients at 100 a second, 20 for 5 frames.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from bench.metrics.local_weights import load_into, weight_file
from bench.metrics.lse import WEIGHTS

FRAMES = 5
STEPS = 4
"""Steps of sound a frame."""

SAMPLE_RATE = 16_000


def _block(convolution: type[nn.Module], norm: type[nn.Module], *shape: object, **options: object) -> list[nn.Module]:
    return [convolution(*shape, **options), norm(shape[1]), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncNet(nn.Module):
    """Two towers to 1024 numbers."""

    def __init__(self) -> None:
        super().__init__()
        flat = (nn.Conv2d, nn.BatchNorm2d)
        self.netcnnaud = nn.Sequential(
            *_block(*flat, 1, 64, 3, padding=1),
            nn.MaxPool2d(1, 1),
            *_block(*flat, 64, 192, 3, padding=1),
            nn.MaxPool2d(3, (1, 2)),
            *_block(*flat, 192, 384, 3, padding=1),
            *_block(*flat, 384, 256, 3, padding=1),
            *_block(*flat, 256, 256, 3, padding=1),
            nn.MaxPool2d(3, 2),
            *_block(*flat, 256, 512, (5, 4)),
        )
        deep = (nn.Conv3d, nn.BatchNorm3d)
        small = {"padding": (0, 1, 1)}
        pool = {"kernel_size": (1, 3, 3), "stride": (1, 2, 2)}
        self.netcnnlip = nn.Sequential(
            *_block(*deep, 3, 96, (5, 7, 7), stride=(1, 2, 2)),
            nn.MaxPool3d(**pool),
            *_block(*deep, 96, 256, (1, 5, 5), stride=(1, 2, 2), **small),
            nn.MaxPool3d(**pool, **small),
            *_block(*deep, 256, 256, (1, 3, 3), **small),
            *_block(*deep, 256, 256, (1, 3, 3), **small),
            *_block(*deep, 256, 256, (1, 3, 3), **small),
            nn.MaxPool3d(**pool),
            *_block(*deep, 256, 512, (1, 6, 6)),
        )
        self.netfcaud, self.netfclip = _head(), _head()

    @torch.no_grad()
    def sound(self, cepstra: torch.Tensor) -> torch.Tensor:
        """(B, 1, 13, 20) -> (B, 1024)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    @torch.no_grad()
    def lips(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, 3, 5, 224, 224) BGR in [0, 255] -> (B, 1024)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))


@lru_cache(maxsize=1)
def network() -> SyncNet:
    """The network with its weights, loaded once a process."""
    return load_into(SyncNet(), weight_file(WEIGHTS), "SyncNet")


def cepstra(sound: np.ndarray) -> np.ndarray:
    """(n, 13) mel-frequency cepstral coefficients, 100 a second, as SyncNet was trained on.

    Davis and Mermelstein 1980 with the settings of the package python_speech_features: 25 ms without a window function,
    pre-emphasis 0.97, 26 bands from 0 to 8 kHz, lifter 22, the first coefficient replaced by the log energy.

    Args:
        sound: (N,) float32 at 16 kHz in [-1, 1].
    """
    from scipy.fft import dct

    signal = np.asarray(sound, np.float64) * 32768
    signal = np.append(signal[:1], signal[1:] - 0.97 * signal[:-1])
    length, step, size = 400, 160, 512
    count = 1 + max(int(np.ceil((len(signal) - length) / step)), 0)
    signal = np.pad(signal, (0, max((count - 1) * step + length - len(signal), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[::step][:count]
    power = np.abs(np.fft.rfft(frames, size)) ** 2 / size
    energy = power.sum(1)
    bands = power @ _mel_bank(size).T
    floor = np.finfo(float).eps
    coefficients = dct(np.log(np.where(bands == 0, floor, bands)), type=2, axis=1, norm="ortho")[:, :13]
    coefficients *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    coefficients[:, 0] = np.log(np.where(energy == 0, floor, energy))
    return coefficients


def _mel_bank(size: int, bands: int = 26) -> np.ndarray:
    """(bands, size / 2 + 1) triangles with corners on whole bins."""
    highest = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)
    bins = np.floor((size + 1) * corners / SAMPLE_RATE)
    at = np.arange(size // 2 + 1)
    rise = (at - bins[:-2, None]) / np.maximum(np.diff(bins)[:-1, None], 1)
    fall = (bins[2:, None] - at) / np.maximum(np.diff(bins)[1:, None], 1)
    inside = (at >= bins[:-2, None]) & (at < bins[2:, None])
    return np.where(inside, np.where(at < bins[1:-1, None], rise, fall), 0.0)
