"""The rule: what is normal for a class, what is doubtful, and specks."""

from __future__ import annotations

import numpy as np
import pytest

from geosynth.filtering.rule import ClassSums, doubtful, limits
from geosynth.legend import UNKNOWN


def test_normal_losses_are_those_of_known_pixels_by_class() -> None:
    masks = np.array([[[0, 0, 1, UNKNOWN]]], np.uint8)
    part = ClassSums.of(np.array([[[1.0, 3.0, 5.0, 100.0]]], np.float32), masks, 3)
    both = ClassSums.total([part, ClassSums.of(np.array([[[7.0]]], np.float32), np.array([[[1]]], np.uint8), 3)])
    assert both.pixels == (2, 2, 0)
    assert both.means() == (2.0, 6.0, None)
    assert limits(both.means(), 1.25).tolist() == [2.5, 7.5, np.inf]


def test_each_class_has_its_own_limit() -> None:
    mask = np.array([[0, 0, 1, 1, 2, UNKNOWN]], np.uint8)
    losses = np.array([[2.0, 3.0, 3.0, 8.0, 1e9, 1e9]], np.float32)
    found = doubtful(losses, mask, np.array([2.5, 7.5, np.inf]), 0)
    assert found.tolist() == [[False, True, False, True, False, False]]


@pytest.mark.parametrize("specks", [0, 6])
def test_specks_of_either_kind_go_with_what_is_around(specks: int) -> None:
    losses = np.zeros((12, 24), np.float32)
    losses[:, 12:] = 9  # the right half is doubtful,
    losses[5:7, 5:7] = 9  # but for 4 pixels, and so are 4 in the left half
    losses[5:7, 17:19] = 0
    losses[9:12, 0:3] = 9  # nine are no speck
    mask = np.zeros((12, 24), np.uint8)
    mask[0, 0] = UNKNOWN
    found = doubtful(losses, mask, np.array([1.0]), specks)
    expected = losses > 1
    if specks:
        expected[5:7, 5:7], expected[5:7, 17:19] = False, True
    assert np.array_equal(found, expected)
