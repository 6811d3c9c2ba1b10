"""Parts of tiles as they are learnt: cropped, brought to a scale, turned. Which ones follows from (seed, number)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.diffusion.batches import Pairs
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for
from geosynth.pretrained.resizing import resized_image, resized_mask
from geosynth.pretrained.tones import Tones
from geosynth.samples import turn

TURNS = 8


class View(NamedTuple):
    """A square of tile ``tile``, ``span`` pixels a side from (top, left), turned, learnt at ``scale``."""

    tile: int
    scale: float
    span: int
    top: int
    left: int
    turn: int


class Picture(NamedTuple):
    """A view's pixels: colours float32 (3, S, S) in -1..1, valid bool (S, S), class index uint8 (S, S), 255 unknown."""

    image: Tensor
    valid: Tensor
    mask: Tensor


def drawn_views(tiles: int, side: int, size: int, scales: Sequence[float], each: int, seed: int) -> list[View]:
    """``each`` views of every tile: all turns before one comes again, scales and places at random.

    Args:
        tiles: how many.
        side: of a tile, pixels.
        size: of what is learnt, pixels.
        scales: those learnt; ``round(size * scale)`` pixels are no more than ``side``.
        each: views a tile.
        seed: with the tile's number, decides the rest.
    """
    views = []
    for tile in range(tiles):
        generator = generator_for("views", seed, tile)
        turns = torch.randperm(TURNS, generator=generator).tolist()
        for number in range(each):
            scale = scales[int(torch.randint(len(scales), (1,), generator=generator))]
            span = round(size * scale)
            top, left = (int(place * (side - span + 1)) for place in torch.rand(2, generator=generator).tolist())
            views.append(View(tile, scale, span, top, left, turns[number % TURNS]))
    return views


def fixed_views(tiles: Sequence[int], size: int, scale: float) -> list[View]:
    """The upper left corners of some tiles, as they lie."""
    return [View(tile, scale, round(size * scale), 0, 0, 0) for tile in tiles]


def spread(count: int, limit: int) -> list[int]:
    """Up to ``limit`` of ``count`` numbers, evenly spread."""
    chosen = min(count, limit)
    return [position * count // chosen for position in range(chosen)]


def cut(pairs: Pairs, view: View, size: int, tones: Tones, classes: int) -> Picture:
    """The pixels of a view."""
    image, valid, mask = _crop(pairs, view)
    picture = resized_image(tones.to_picture(image, valid)[None], (size, size))[0]
    # A pixel of which less than half has data has none.
    share = resized_image(torch.from_numpy(valid)[None, None].float(), (size, size))[0, 0]
    return Picture(picture, share >= 0.5, _mask(mask, size, classes))


def cut_mask(pairs: Pairs, view: View, size: int, classes: int) -> Tensor:
    """The mask of a view alone, uint8 (S, S)."""
    return _mask(_crop(pairs, view)[2], size, classes)


def shares(mask: Tensor, classes: int) -> list[float]:
    """Class shares among the known pixels of a mask, in legend order; zeros where there are none."""
    counts = torch.bincount(mask[mask != UNKNOWN].flatten().long(), minlength=classes).double()
    total = float(counts.sum())
    return [float(count) / total for count in counts] if total else [0.0] * classes


def _crop(pairs: Pairs, view: View) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
    place = (..., slice(view.top, view.top + view.span), slice(view.left, view.left + view.span))
    image, valid, mask = (np.ascontiguousarray(turn(part[place], view.turn)) for part in pairs.raw(view.tile))
    return image, valid, mask


def _mask(mask: NDArray[np.uint8], size: int, classes: int) -> Tensor:
    return resized_mask(torch.from_numpy(mask)[None], (size, size), classes)[0]
