"""How classes lie in masks: shares, what borders what, sizes of connected areas. Pure functions on class indices.

Masks are uint8 (N, H, W): 0..K-1, or 255 for unknown, which never counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance

from geosynth.legend import UNKNOWN

_TOUCHING = np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))], bool)
"""Pixels of one tile that share an edge belong together; pixels of different tiles never do."""


def class_shares(masks: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """Shares of the classes among the known pixels, float64 (K,); zeros where nothing is known."""
    return _shares(np.bincount(masks.ravel(), minlength=256)[:classes])


def adjacency(masks: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """Shares of pairs of edge neighbours, float64 (K, K): [i, j] with i ≤ j holds the pairs of classes i and j.

    The diagonal holds pairs of one class; below it all is 0; the sum is 1 (0 where there is no pair of known pixels).
    """
    counts = np.zeros(classes * classes, np.int64)
    for first, second in ((masks[:, 1:], masks[:, :-1]), (masks[:, :, 1:], masks[:, :, :-1])):
        known = (first != UNKNOWN) & (second != UNKNOWN)
        one, other = first[known].astype(np.intp), second[known].astype(np.intp)
        counts += np.bincount(np.minimum(one, other) * classes + np.maximum(one, other), minlength=classes**2)
    return _shares(counts).reshape(classes, classes)


def borders(adjacent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of an ``adjacency`` the pairs of different classes alone, as shares of these: which classes meet."""
    return _shares(np.triu(adjacent, 1))


def component_sizes(masks: NDArray[np.uint8], classes: int) -> tuple[NDArray[np.int64], ...]:
    """For each class the sizes in pixels of its connected areas, sorted; edge neighbours connect, tiles cut."""
    sizes = []
    for number in range(classes):
        labels, _ = ndimage.label(masks == number, _TOUCHING)
        sizes.append(np.sort(np.bincount(labels.ravel())[1:]).astype(np.int64))
    return tuple(sizes)


def size_distance(first: NDArray[np.int64], second: NDArray[np.int64]) -> float | None:
    """Wasserstein distance of log₂ sizes: by how many doublings areas differ in size. None where one has no area."""
    if not len(first) or not len(second):
        return None
    return float(wasserstein_distance(np.log2(first), np.log2(second)))


def mean_size_distance(distances: Sequence[float | None]) -> float | None:
    """Mean over the classes that both sides have; None when they share none."""
    there = [distance for distance in distances if distance is not None]
    return math.fsum(there) / len(there) if there else None


def divergence(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Jensen–Shannon divergence, base 2, of two arrays of shares: 0 the same, 1 nothing in common.

    None where one has no shares (sums to 0).
    """
    if not first.sum() or not second.sum():
        return None
    middle = (first + second) / 2
    total = 0.0
    for shares in (first, second):
        there = shares > 0
        total += float((shares[there] * np.log2(shares[there] / middle[there])).sum()) / 2
    return min(1.0, max(0.0, total))


def _shares(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    total = counts.sum()
    return counts / total if total else np.zeros(counts.shape)
