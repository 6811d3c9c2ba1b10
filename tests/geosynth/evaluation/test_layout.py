from __future__ import annotations

import numpy as np
import pytest

from geosynth.evaluation.layout import (
    adjacency,
    borders,
    class_shares,
    component_sizes,
    divergence,
    mean_size_distance,
    size_distance,
)

MASKS = np.array(
    [
        [[0, 0, 1], [0, 255, 1], [2, 0, 1]],
        [[2, 2, 2], [2, 2, 2], [1, 255, 255]],
    ],
    np.uint8,
)
UNKNOWN = np.full((1, 3, 3), 255, np.uint8)


def test_shares_are_of_known_pixels() -> None:
    np.testing.assert_allclose(class_shares(MASKS, 4), np.array([4, 4, 7, 0]) / 15)
    assert class_shares(UNKNOWN, 4).tolist() == [0, 0, 0, 0]


def test_neighbours_counted_by_hand() -> None:
    # First mask, across: 00 01 | 20 01 ; down: 00 02 | 11 11. Second, across: 4 × 22 ; down: 3 × 22, 21.
    counts = np.array([[2, 2, 2], [0, 2, 1], [0, 0, 7]])
    found = adjacency(MASKS, 3)
    np.testing.assert_allclose(found, counts / 16)
    np.testing.assert_allclose(borders(found), np.triu(counts, 1) / 5)
    assert adjacency(UNKNOWN, 3).sum() == 0


def test_neighbours_do_not_depend_on_orientation() -> None:
    masks = np.random.default_rng(0).integers(0, 4, (3, 9, 9)).astype(np.uint8)
    for turned in (np.rot90(masks, axes=(1, 2)), masks[:, ::-1], masks[..., ::-1]):
        np.testing.assert_array_equal(adjacency(turned, 4), adjacency(masks, 4))


def test_areas_counted_by_hand() -> None:
    # Corners do not connect (0 at the lower edge), unknown cuts, and tiles do not reach into each other.
    assert [sizes.tolist() for sizes in component_sizes(MASKS, 4)] == [[1, 3], [1, 3], [1, 6], []]


def test_sizes_differ_by_doublings() -> None:
    sizes = np.array([1, 2, 5, 40])
    assert size_distance(sizes, 4 * sizes) == pytest.approx(2)
    assert size_distance(sizes, np.repeat(sizes, 3)) == pytest.approx(0, abs=1e-12)  # how many there are is no matter
    assert size_distance(sizes, sizes[:0]) is None
    assert mean_size_distance([1.0, None, 2.0]) == 1.5
    assert mean_size_distance([None]) is None


def test_divergence_by_hand() -> None:
    first, second = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    assert divergence(first, second) == pytest.approx(0.5)
    assert divergence(first, first) == 0
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert divergence(np.eye(2) / 2, np.eye(2)[::-1] / 2) == 1  # any shape
    assert divergence(first, np.zeros(3)) is None


def test_specks_show_in_borders_and_sizes() -> None:
    plain = np.zeros((4, 32, 32), np.uint8)
    plain[:, :, 16:] = 1
    specked = np.where(np.random.default_rng(0).random(plain.shape) < 0.03, np.uint8(2), plain)
    good, bad = (adjacency(masks, 3) for masks in (plain[:2], specked))
    reference = adjacency(plain, 3)
    assert divergence(borders(good), borders(reference)) == 0
    assert (divergence(borders(bad), borders(reference)) or 0) > 0.3
    assert size_distance(component_sizes(plain, 3)[0], component_sizes(plain[:2], 3)[0]) == 0
