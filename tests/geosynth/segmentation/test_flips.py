"""Flips and turns of an image, and back."""

import pytest
import torch

from geosynth.segmentation.flips import FLIPS, turned, turned_back


@pytest.mark.parametrize("number", FLIPS)
def test_views_are_different_and_turn_back(number: int) -> None:
    image = torch.arange(2 * 3 * 3).reshape(2, 3, 3)
    views = {tuple(turned(image, view).flatten().tolist()) for view in FLIPS[number]}
    assert len(views) == len(FLIPS[number]) == number
    for view in FLIPS[number]:
        assert torch.equal(turned_back(turned(image, view), view), image)


def test_rows_and_columns_need_not_be_as_many() -> None:
    image = torch.randn(1, 2, 5, 7)
    for view in FLIPS[8]:
        assert torch.equal(turned_back(turned(image, view), view), image)
