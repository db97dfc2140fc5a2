"""SSIM: structural similarity, inside the face, over the frame and over several scales.

Over the frame only pixels count whose whole window lies in it, as in the authors' own code and scikit-image;
torchmetrics also counts the border, on pixels that it mirrors (a difference in the third digit). Filtered with OpenCV
it takes far less time on a CPU; tests hold the maps against both.
"""

from __future__ import annotations

import cv2
import numpy as np

from bench.metrics.base import FrameMean, Sample, luminance

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales from fine to coarse: Wang et al. 2003, section 3.2."""

WINDOW = 11
"""Side of the Gaussian window in px."""


def ssim_map(output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of two grey pictures, pixel by pixel.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", section
    III-B: Gaussian window of 11 px and sigma 1.5, K1 = 0.01, K2 = 0.03, dynamic range 1.

    Args:
        output, truth: (h, w) or (h, w, 3) float32 in [0, 1].

    Returns:
        float32 of the same shape in [-1, 1].
    """
    similarity, _ = _maps(output, truth)
    return similarity


def _maps(output: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure factor, float32, of the pictures' shape."""

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (WINDOW, WINDOW), 1.5, borderType=cv2.BORDER_REFLECT)

    output, truth = np.asarray(output, np.float32), np.asarray(truth, np.float32)
    c1, c2 = np.float32(0.01**2), np.float32(0.03**2)
    mean_o, mean_t = blur(output), blur(truth)
    mean_product, mean_squares = mean_o * mean_t, mean_o * mean_o + mean_t * mean_t
    # Both variances are only ever added: one blur for the two.
    variances = blur(output * output + truth * truth) - mean_squares
    covariance = blur(output * truth) - mean_product
    contrast = (2 * covariance + c2) / (variances + c2)
    return (2 * mean_product + c1) / (mean_squares + c1) * contrast, contrast


def _inside(image: np.ndarray) -> np.ndarray:
    """Pixels whose whole window lies in the picture."""
    edge = WINDOW // 2
    return image[edge:-edge, edge:-edge]


def ssim(output: np.ndarray, truth: np.ndarray) -> float:
    """Mean SSIM of two pictures over all channels and pixels whose window lies in them.

    Args:
        output, truth: (h, w, 3) float32 in [0, 1], at least 11 px wide and high.
    """
    return _mean(ssim_map(output, truth))


def _mean(similarity: np.ndarray) -> float:
    return float(_inside(similarity).mean(dtype=np.float64))


def ms_ssim(output: np.ndarray, truth: np.ndarray, finest: tuple[np.ndarray, np.ndarray] | None = None) -> float | None:
    """Multi-scale SSIM over all channels: the factors of five scales, each half of the one before, multiplied.

    Wang et al. 2003, "Multiscale structural similarity for image quality assessment", equation 7. Negative factors
    count as 0.

    Args:
        output, truth: (h, w, 3) float32 in [0, 1].
        finest: their maps where these are known.

    Returns:
        [0, 1]; None for pictures of less than 176 px, which have no five scales.
    """
    if min(truth.shape[:2]) < WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1):
        return None
    product = np.ones(truth.shape[2])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        similarity, contrast = finest if scale == 0 and finest else _maps(output, truth)
        last = scale == len(SCALE_WEIGHTS) - 1
        product *= np.maximum(_inside(similarity if last else contrast).mean((0, 1), dtype=np.float64), 0) ** weight
        output, truth = _halved(output), _halved(truth)
    return float(product.mean())


def _halved(image: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 px; an odd last row or column is dropped."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    return cv2.resize(image[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)


class FaceSSIM(FrameMean):
    """SSIM of the luminance, mean of its map inside the truth's face oval."""

    name = "face_ssim"
    direction = "higher"
    unit = "[-1, 1]"
    source = "Wang et al. 2004, Image quality assessment, section III-B"

    def measure(self, sample: Sample) -> float | None:
        mask = sample.regions.mask("face")
        if mask is None:
            return None
        similarity = ssim_map(luminance(sample.output_crop), luminance(sample.truth_crop))
        return float(similarity[mask].mean())


class SSIM(FrameMean):
    """SSIM of the RGB channels over the whole frame."""

    name = "ssim"
    direction = "higher"
    unit = "[-1, 1]"
    source = "Wang et al. 2004, Image quality assessment, section III-B; ExprBench (FantasyPortrait, section 4)"

    def measure(self, sample: Sample) -> float:
        return _mean(_finest(sample)[0])


class MultiScaleSSIM(FrameMean):
    """MS-SSIM of the RGB channels over the whole frame; none for frames of less than 176 px."""

    name = "ms_ssim"
    direction = "higher"
    unit = "[0, 1]"
    source = "Wang et al. 2003, Multiscale structural similarity, section 3"
    unfit = "the frames are smaller than 176 px"

    def measure(self, sample: Sample) -> float | None:
        return ms_ssim(*_colours(sample), _finest(sample))


def _colours(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    def compute() -> tuple[np.ndarray, np.ndarray]:
        output, truth = (image[..., :3].astype(np.float32) / 255 for image in (sample.output, sample.truth))
        return output, truth

    return sample.shared("ssim: colours", compute)


def _finest(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Both maps of the frame in full size: SSIM and MS-SSIM begin alike."""
    return sample.shared("ssim: finest scale", lambda: _maps(*_colours(sample)))
