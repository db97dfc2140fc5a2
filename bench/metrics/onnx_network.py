"""ONNX networks, run by onnxruntime where it is installed and by OpenCV elsewhere."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np


@lru_cache(maxsize=8)
def _load(path: str, runtime: bool):
    if runtime:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the benchmark runs a process a core
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    import cv2

    return cv2.dnn.readNetFromONNX(path)


def run(path: Path, batch: np.ndarray) -> np.ndarray:
    """The first output of a network with one input.

    Args:
        path: the .onnx file.
        batch: float32.
    """
    runtime = importlib.util.find_spec("onnxruntime") is not None
    network = _load(str(path), runtime)
    if runtime:
        return network.run(None, {network.get_inputs()[0].name: batch.astype(np.float32)})[0]
    network.setInput(batch.astype(np.float32))
    return network.forward()


def picture_batch(
    image: np.ndarray,
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225),
) -> np.ndarray:
    """(1, 3, h, w) float32 of an RGB picture (h, w, 3) uint8; ImageNet's normalisation unless told otherwise."""
    pixels = (image[..., :3].astype(np.float32) / 255 - np.float32(mean)) / np.float32(deviation)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
