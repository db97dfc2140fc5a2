"""Distances of two sets of features: Fréchet's, under Gaussians, and the kernel distance of KID."""

from __future__ import annotations

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of two Gaussians fitted to two sets of features.

    Dowson and Landau 1982; as FID in Heusel et al. 2017, "GANs trained by a two time-scale update rule", section 3. The
    trace of the root of the covariances' product is the sum of the singular values of one set's deviations times the
    other's, which is exact also for fewer pictures than features, where a matrix root is not.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    a, b = (a - a.mean(0)) / np.sqrt(len(a) - 1), (b - b.mean(0)) / np.sqrt(len(b) - 1)
    if min(len(a), len(b)) > a.shape[1]:
        # The same sum of a d x d matrix: R of A = QR has A's covariance.
        a, b = np.linalg.qr(a, mode="r"), np.linalg.qr(b, mode="r")
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(mean + float((a**2).sum() + (b**2).sum() - 2 * shared), 0.0)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy under the kernel (x·y / d + 1)³, unbiased: it may be a little below 0.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 3.1 (KID), over all pairs in place of random subsets.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: np.ndarray) -> float:
        table = kernel(x, x)
        return float((table.sum() - np.trace(table)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())
