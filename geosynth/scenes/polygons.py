"""Polygons out of class rasters of any size, in pixel coordinates (x right, y down), exact.

A raster is read in blocks; the pieces of a region that blocks cut apart are put together again, so that the result does
not depend on the block size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import shapes
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geosynth.legend import UNKNOWN

BLOCK = 2048
"""Pixels along a side of a block."""


def class_polygons(
    read: Callable[[int, int, int, int], NDArray[np.uint8]],
    height: int,
    width: int,
    *,
    block: int = BLOCK,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """One valid polygon for every region of one class whose pixels share sides.

    Args:
        read: (row, col, height, width) to class ids uint8; 255 is no region.
        height, width: of the raster.
        block: pixels along a side of what is read at once.
        step: called with blocks done and blocks in all.

    Returns:
        polygons (N,) and their classes uint8 (N,), in the order of the blocks in which they begin.
    """
    pieces: list[NDArray[Any]] = []
    classes: list[NDArray[np.uint8]] = []
    links: list[NDArray[np.int64]] = []
    count = 0
    above = np.zeros(width, np.int64)
    above_ids = np.full(width, UNKNOWN, np.uint8)
    left, left_ids = above[:0], above_ids[:0]
    windows = list(_windows(height, width, block))
    for done, (row, col, rows, cols) in enumerate(windows, start=1):
        ids = read(row, col, rows, cols)
        labels, found = _regions(ids)
        pieces.append(_outlines(labels, len(found), row, col))
        classes.append(found)
        # Numbers of the regions among all of the raster, from 1; 0 is none.
        numbers = np.where(labels > 0, labels.astype(np.int64) + count, 0)
        count += len(found)
        if row > 0:
            links.append(_pairs(above[col : col + cols], numbers[0], above_ids[col : col + cols] == ids[0]))
        if col > 0:
            links.append(_pairs(left, numbers[:, 0], left_ids == ids[:, 0]))
        above[col : col + cols], above_ids[col : col + cols] = numbers[-1], ids[-1]
        left, left_ids = numbers[:, -1], ids[:, -1]
        step(done, len(windows))
    if not count:
        return np.empty(0, object), np.empty(0, np.uint8)
    return _joined(np.concatenate(pieces), np.concatenate(classes), links)


def _windows(height: int, width: int, block: int) -> Iterator[tuple[int, int, int, int]]:
    for row in range(0, height, block):
        for col in range(0, width, block):
            yield row, col, min(block, height - row), min(block, width - col)


def _regions(ids: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Numbers of connected regions int32 (H, W), 0 where unknown, and the class of region i + 1, uint8 (N,)."""
    labels = np.zeros(ids.shape, np.int32)
    classes: list[NDArray[np.uint8]] = []
    count = 0
    for value in np.unique(ids):
        if value == UNKNOWN:
            continue
        here = ids == value
        found, number = ndimage.label(here)
        labels[here] = found[here] + count
        classes.append(np.full(number, value, np.uint8))
        count += number
    return labels, np.concatenate(classes) if classes else np.empty(0, np.uint8)


def _outlines(labels: NDArray[np.int32], count: int, row: int, col: int) -> NDArray[Any]:
    """The polygon of every region, in the order of their numbers."""
    result = np.empty(count, object)
    place = Affine.translation(col, row)
    for outline, number in shapes(labels, mask=labels > 0, connectivity=4, transform=place):
        result[int(number) - 1] = shapely.Polygon(outline["coordinates"][0], outline["coordinates"][1:])
    return result


def _pairs(one: NDArray[np.int64], other: NDArray[np.int64], same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers (N, 2) of regions of one class that touch across a seam."""
    touch = same & (one > 0) & (other > 0)
    return np.unique(np.stack([one[touch], other[touch]], axis=1), axis=0)


def _joined(
    pieces: NDArray[Any], classes: NDArray[np.uint8], links: list[NDArray[np.int64]]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    pairs = np.concatenate([*links, np.empty((0, 2), np.int64)]) - 1
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(pieces), len(pieces)))
    groups = connected_components(graph, directed=False)[1]
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    polygons = pieces.copy()
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for group in np.flatnonzero(sizes > 1):
        members = order[starts[group] : starts[group + 1]]
        whole = shapely.union_all(pieces[members])
        # The seam leaves vertices in the middle of straight sides.
        polygons[first[group]] = shapely.simplify(whole, 0)
    keep = np.sort(first)
    return polygons[keep], classes[keep]


def noded(polygons: NDArray[Any]) -> NDArray[Any]:
    """Polygons with a vertex wherever a neighbour has one on their sides.

    Sides run along pixels, so a corner of one polygon often lies in the middle of a neighbour's side; simplifying both
    along their common side needs it in both.
    """
    coords, rings = _ring_coordinates(polygons)
    if not len(coords):
        return polygons
    corners = np.unique(coords, axis=0)
    span = int(coords.max()) + 2
    dense = []
    # Along rows the corners are sorted by (y, x), along columns by (x, y): those on a side are then neighbours.
    by_row = np.sort(corners[:, 1] * span + corners[:, 0])
    by_col = np.sort(corners[:, 0] * span + corners[:, 1])
    for ring in rings:
        start, end = ring[:-1], ring[1:]
        flat = start[:, 1] == end[:, 1]
        line = np.where(flat, start[:, 1], start[:, 0]) * span
        a, b = np.where(flat, start[:, 0], start[:, 1]), np.where(flat, end[:, 0], end[:, 1])
        low, high = line + np.minimum(a, b), line + np.maximum(a, b)
        first = np.where(flat, np.searchsorted(by_row, low, "right"), np.searchsorted(by_col, low, "right"))
        last = np.where(flat, np.searchsorted(by_row, high, "left"), np.searchsorted(by_col, high, "left"))
        extra = last - first
        if not extra.any():
            dense.append(ring)
            continue
        # Every side gives its start and then the corners on it, from start to end.
        side = np.repeat(np.arange(len(start)), extra + 1)
        place = np.arange(len(side)) - np.repeat(np.cumsum(extra + 1) - (extra + 1), extra + 1)
        forward = a[side] <= b[side]
        index = np.clip(np.where(forward, first[side] + place - 1, last[side] - place), 0, len(corners) - 1)
        along = np.where(flat[side], by_row[index], by_col[index]) - line[side]
        points = np.where(flat[side, None], np.stack([along, start[side, 1]], 1), np.stack([start[side, 0], along], 1))
        points[place == 0] = start
        dense.append(np.concatenate([points, ring[-1:]]))
    return _rebuilt(polygons, dense)


def _ring_coordinates(polygons: NDArray[Any]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """All vertices int64 (N, 2), and the vertices of every ring, exterior first, polygon by polygon."""
    rings, _ = shapely.get_rings(polygons, return_index=True)
    coords, index = shapely.get_coordinates(rings, return_index=True)
    whole = np.rint(coords).astype(np.int64)
    cuts = np.flatnonzero(np.diff(index)) + 1
    return whole, np.split(whole, cuts) if len(whole) else []


def _rebuilt(polygons: NDArray[Any], rings: list[NDArray[np.int64]]) -> NDArray[Any]:
    counts = 1 + shapely.get_num_interior_rings(polygons)
    ends = np.cumsum(counts)
    return np.array(
        [
            shapely.Polygon(
                rings[end - count].astype(float), [hole.astype(float) for hole in rings[end - count + 1 : end]]
            )
            for count, end in zip(counts.tolist(), ends.tolist(), strict=True)
        ],
        object,
    )
