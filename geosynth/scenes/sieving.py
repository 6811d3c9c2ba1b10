"""Specks of class rasters given to the classes around them, so that the result does not depend on how it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.legend import UNKNOWN
from geosynth.scenes.outlines import Outlines, following, spread, trace

_PASSES = 2
"""A speck within a speck is given away after that one was."""
_COLUMNS = 1024
"""Columns that are looked at together."""

Strip = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""Rows of class ids (h, w), and which of them are fixed."""


def sieve_margin(smallest: int) -> int:
    """How far from a pixel its class after sieving can depend on others, in pixels.

    In a pass it depends on its own region if that is small, and on whether those next to it are.
    """
    return _PASSES * 2 * smallest


def sieved(ids: NDArray[np.uint8], smallest: int, fixed: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Regions of fewer than ``smallest`` pixels take the class with which they share the longest border.

    Only neighbours that are large enough themselves count; of equal borders the lower class wins. Small regions with
    none but small neighbours are looked at once more and then stay. Unknown pixels are neither given nor taken.

    Args:
        ids: class ids uint8 (h, w); right but for ``sieve_margin`` pixels along the edges where more follows beyond.
        smallest: pixels.
        fixed: pixels that keep their class, and with them the whole of their regions; bool (h, w).
    """
    if smallest < 2:
        return ids
    for _ in range(_PASSES):
        outlines = trace(ids)
        small = (outlines.sizes < smallest) & (outlines.classes != UNKNOWN)
        if not small.any():
            break
        numbers = _numbers(outlines, *ids.shape)
        given = small.copy()
        if fixed is not None:
            given[numbers[fixed]] = False
        ids = _given_away(outlines.classes, given, small, numbers)[numbers]
    return ids


def sieved_strips(strips: Iterable[Strip], smallest: int) -> Iterator[NDArray[np.uint8]]:
    """The same for a raster of any size that comes strip by strip; memory holds those within the margin.

    Args:
        strips: rows of class ids and of fixed pixels, from the top, of any heights and one width.
        smallest: pixels.

    Yields:
        the strips' ids as they are after ``sieved`` of the whole raster, each as soon as it is certain.
    """
    margin, held, done = sieve_margin(smallest), list[Strip](), 0
    for strip in strips:
        held.append(strip)
        while done < len(held) and _height(held[done + 1 :]) >= margin:
            yield _sieved_strip(held, done, margin, smallest)
            done += 1
            while done and _height(held[1:done]) >= margin:
                del held[0]
                done -= 1
    for number in range(done, len(held)):
        yield _sieved_strip(held, number, margin, smallest)


def _height(strips: Sequence[Strip]) -> int:
    return sum(len(ids) for ids, _ in strips)


def _sieved_strip(held: Sequence[Strip], number: int, margin: int, smallest: int) -> NDArray[np.uint8]:
    """One of some strips, sieved with the others around it."""
    top, height = _height(held[:number]), len(held[number][0])
    ids, fixed = (np.concatenate(parts) for parts in zip(*held, strict=True))
    result = np.empty((height, ids.shape[1]), np.uint8)
    for left in range(0, ids.shape[1], _COLUMNS):
        begin = max(0, left - margin)
        near = slice(begin, left + _COLUMNS + margin)
        part = sieved(ids[:, near], smallest, fixed[:, near])
        result[:, left : left + _COLUMNS] = part[top : top + height, left - begin :][:, :_COLUMNS]
    return result


def _numbers(outlines: Outlines, height: int, width: int) -> NDArray[np.int32]:
    """The number of every pixel's region, int32 (h, w): set where a region begins in a row, and filled to the right."""
    after = following(outlines.starts)
    rising = np.flatnonzero(outlines.y > outlines.y[after])
    lengths = (outlines.y[rising] - outlines.y[after[rising]]).astype(np.int64)
    rows = spread(outlines.y[after[rising]], lengths)
    begins = rows * width + np.repeat(outlines.x[rising], lengths)
    marks = np.full(height * width, -1, np.int32)
    marks[begins] = np.repeat(outlines.region_of_vertex[rising], lengths)
    places = np.flatnonzero(marks >= 0)
    filled = np.repeat(marks[places], np.diff(np.append(places, height * width)))
    return filled.reshape(height, width)


def _given_away(
    classes: NDArray[np.uint8], given: NDArray[np.bool_], small: NDArray[np.bool_], numbers: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """The classes of regions after some of the small ones were given away."""
    large = ~small & (classes != UNKNOWN)
    borders = []
    pairs: tuple[tuple[Any, Any], ...] = ((numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:]))
    for one, other in pairs:
        for own, next_to in ((one, other), (other, one)):
            here = given[own] & large[next_to]
            borders.append(own[here].astype(np.int64) * 256 + classes[next_to[here]])
    found, lengths = np.unique(np.concatenate(borders), return_counts=True)
    # The longest comes first, of equal ones the lower class.
    order = np.lexsort((found, -lengths, found // 256))
    region, first = np.unique(found[order] // 256, return_index=True)
    result = classes.copy()
    result[region] = found[order][first] % 256
    return result
