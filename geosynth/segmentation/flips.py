"""Views of an image from above: what is seen has no up and no left, so all of them are as good."""

from __future__ import annotations

from itertools import product

from torch import Tensor

View = tuple[bool, bool, bool]
"""Whether rows and columns are exchanged, then upside down, then mirrored."""

_ON = (False, True)
FLIPS: dict[int, tuple[View, ...]] = {
    1: ((False, False, False),),
    4: tuple((False, down, over) for down, over in product(_ON, _ON)),
    8: tuple((exchanged, down, over) for exchanged, down, over in product(_ON, _ON, _ON)),
}
"""Sets of views by their number: the image itself, its flips, all its flips and turns."""


def turned(image: Tensor, view: View) -> Tensor:
    """The view of an image (..., H, W)."""
    return _flipped(image.transpose(-1, -2) if view[0] else image, view)


def turned_back(image: Tensor, view: View) -> Tensor:
    """The image (..., H, W) of a view: undoes ``turned``."""
    image = _flipped(image, view)
    return image.transpose(-1, -2) if view[0] else image


def _flipped(image: Tensor, view: View) -> Tensor:
    axes = [axis for axis, flip in zip((-2, -1), view[1:], strict=True) if flip]
    return image.flip(axes) if axes else image
