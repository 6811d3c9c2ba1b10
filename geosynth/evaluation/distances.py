"""How far one sample of feature vectors is from another. Pure functions over float64 (N, D) arrays.

All of them depend on the sizes of the two samples, KID only through its spread: compare numbers of equal sizes only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

PRECISION_NEIGHBOURS = 3
"""k of precision and recall (Kynkäänniemi et al. 2019, section 3.1)."""

COVERAGE_NEIGHBOURS = 5
"""k of density and coverage (Naeem et al. 2020, section 4)."""

_Sums = NDArray[np.float64] | np.float64


@dataclass(frozen=True)
class KernelDistance:
    """Squared maximum mean discrepancy, unbiased (0 on average for two samples of one thing, so it may be negative),
    and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Neighbourhoods:
    """How the synthetic vectors lie among the real ones.

    Attributes:
        precision: share of synthetic vectors within the reach of a real one, 0..1: do they look real? With few vectors
            one real outlier reaches far: believe a low value, and a high one only when density is high, too.
        recall: share of real vectors within the reach of a synthetic one, 0..1: is all there is also made?
        density: how many real neighbourhoods a synthetic vector is in, over what is expected; about 1, unbounded.
        coverage: share of real neighbourhoods with a synthetic vector in them, 0..1; as recall, but an outlier among
            the synthetic vectors, whose reach is wide, cannot raise it.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def kernel_distance(real: NDArray[np.float64], made: NDArray[np.float64]) -> KernelDistance:
    """KID: maximum mean discrepancy under the kernel (x·y / D + 1)³ (Bińkowski et al. 2018, section 4).

    The value is the U-statistic over all vectors: the mean over many subsets that the paper takes only adds noise to
    it. The standard error is the jackknife's (subsets that leave out one vector each): unlike a spread over
    overlapping subsets it does not shrink with their number. Nothing is drawn.

    Args:
        real: (M, D), M at least 3.
        made: (N, D), N at least 3.
    """
    if min(len(real), len(made)) < 3:
        raise ValueError("KID needs at least 3 vectors on either side")
    within_real, within_made = _row_sums(real), _row_sums(made)
    across = _kernel(real, made)
    value = _mmd2(within_real.sum(), len(real), within_made.sum(), len(made), across.sum())
    without_real = _mmd2(
        within_real.sum() - 2 * within_real, len(real) - 1, within_made.sum(), len(made), across.sum() - across.sum(1)
    )
    without_made = _mmd2(
        within_real.sum(), len(real), within_made.sum() - 2 * within_made, len(made) - 1, across.sum() - across.sum(0)
    )
    variance = sum((len(left) - 1) * float(np.var(left)) for left in (without_real, without_made))
    return KernelDistance(float(value), math.sqrt(variance))


def _kernel(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = (first @ second.T / first.shape[1] + 1) ** 3
    return product


def _row_sums(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each vector, the sum of the kernel with the others."""
    kernel = _kernel(sample, sample)
    np.fill_diagonal(kernel, 0)
    sums: NDArray[np.float64] = kernel.sum(1)
    return sums


def _mmd2(real: _Sums, m: int, made: _Sums, n: int, across: _Sums) -> NDArray[np.float64]:
    """The unbiased estimate from the sums of the kernel over ordered pairs, each vector with itself left out."""
    return np.asarray(real / (m * (m - 1)) + made / (n * (n - 1)) - 2 * across / (m * n))


def frechet_distance(real: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    """FID: the Fréchet distance of the normal distributions fitted to (M, D) and (N, D) (Heusel et al. 2017).

    Biased upwards by about D over the sample size, and with fewer vectors than dimensions the covariances are
    singular: give it few dimensions (``features.FeatureSpace.projected``) and compare equal sizes.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError("FID needs at least 2 vectors on either side")
    return normal_distance(real.mean(0), _covariance(real), made.mean(0), _covariance(made))


def _covariance(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.atleast_2d(np.cov(sample, rowvar=False))


def normal_distance(
    first_mean: NDArray[np.float64],
    first_covariance: NDArray[np.float64],
    second_mean: NDArray[np.float64],
    second_covariance: NDArray[np.float64],
) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two normal distributions: means (D,), covariances (D, D).

    |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½). The trace of the root is that of (C₁^½ C₂ C₁^½)^½, which is symmetric: its
    eigenvalues are real also where the covariances are singular.
    """
    values, vectors = np.linalg.eigh(first_covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ second_covariance @ root)
    apart = float(((first_mean - second_mean) ** 2).sum())
    spread = float(np.trace(first_covariance) + np.trace(second_covariance))
    return max(0.0, apart + spread - 2 * float(np.sqrt(np.clip(shared, 0, None)).sum()))


def neighbourhoods(
    real: NDArray[np.float64],
    made: NDArray[np.float64],
    precision_k: int = PRECISION_NEIGHBOURS,
    coverage_k: int = COVERAGE_NEIGHBOURS,
) -> Neighbourhoods:
    """Improved precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The reach of a vector is its distance to its k-th nearest neighbour in its own sample, itself not counted.

    Args:
        real: (M, D).
        made: (N, D).
        precision_k, coverage_k: k of the first two and of the last two; both samples must be larger.
    """
    if min(len(real), len(made)) <= max(precision_k, coverage_k):
        raise ValueError(f"both samples must have more than {max(precision_k, coverage_k)} vectors")
    between = cdist(real, made)
    # Position 0 of the sorted distances is the vector itself.
    among_real, among_made = np.sort(cdist(real, real), axis=1), np.sort(cdist(made, made), axis=1)
    inside = between <= among_real[:, coverage_k, None]
    return Neighbourhoods(
        precision=float((between <= among_real[:, precision_k, None]).any(axis=0).mean()),
        recall=float((between <= among_made[:, precision_k]).any(axis=1).mean()),
        density=float(inside.sum() / (coverage_k * len(made))),
        coverage=float(inside.any(axis=1).mean()),
    )
