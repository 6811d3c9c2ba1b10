"""One block of a class raster as outlines, cut open where its regions go on in the next block.

The outline of a region that reaches over the frame runs along the frame there. Taking these sides away leaves paths,
each with the key of the place where it ends and of the place where it begins. The neighbour has paths with the same
keys: put end to beginning, the paths of all blocks make the rings of the whole raster, without any geometry being
computed. ``geosynth.scenes.merging`` does that.

The same holds where two regions of one class touch with corners. If it turns out that they are one, its rings must not
cross there, and their paths are exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geosynth.scenes.outlines import Outlines, following, spread

_LEVEL, _UPRIGHT, _RISING, _FALLING = range(4)
"""What a key is of: a side of the frame, level or upright, or a corner between pixels along a diagonal."""


@dataclass(frozen=True)
class Paths:
    """Rings and parts of rings. Keys are those of ``Keys``, twice, plus 1 for the lower or right of the two sides.

    Attributes:
        x, y: vertices int32 (V,), in pixels of the whole raster.
        starts: where paths begin, and V: int64 (P + 1,).
        region: whose they are, int32 (P,).
        begin, end: keys int64 (P,), -1 for a ring.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    starts: NDArray[np.int64]
    region: NDArray[np.int32]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def take(self, paths: NDArray[np.int64]) -> Paths:
        """Some of the paths."""
        lengths = np.diff(self.starts)[paths]
        vertices = spread(self.starts[paths], lengths)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return Paths(self.x[vertices], self.y[vertices], starts, self.region[paths], self.begin[paths], self.end[paths])

    def renumbered(self, offset: int) -> Paths:
        """The same paths, of regions numbered from ``offset``."""
        region = self.region + np.int32(offset)
        return Paths(self.x, self.y, self.starts, region, self.begin, self.end)

    @classmethod
    def together(cls, parts: list[Paths]) -> Paths:
        """All paths of several; regions are numbered already."""
        ends = np.cumsum([0, *(len(part.x) for part in parts)])
        starts = [part.starts[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
        return cls(
            np.concatenate([part.x for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([*starts, ends[-1:]]),
            np.concatenate([part.region for part in parts]),
            np.concatenate([part.begin for part in parts]),
            np.concatenate([part.end for part in parts]),
        )


@dataclass(frozen=True)
class Keys:
    """Names of places in a raster ``width`` pixels wide: whole numbers, ascending from row to row."""

    width: int

    def of(self, x: NDArray[Any], y: NDArray[Any], kind: Any, side: Any) -> NDArray[np.int64]:
        place = np.asarray(y, np.int64) * (self.width + 1) + x
        keys: NDArray[np.int64] = (place * 4 + kind) * 2 + side
        return keys

    def seams(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether keys are of sides of the frame, across which regions are one."""
        seams: NDArray[np.bool_] = (keys >= 0) & (keys >> 1 & 3 <= _UPRIGHT)
        return seams

    def below(self, keys: NDArray[np.int64], row: int) -> NDArray[np.bool_]:
        """Whether keys are of level sides of the frame in a row of corners, seen from above."""
        below: NDArray[np.bool_] = (keys >> 1 & 3 == _LEVEL) & (keys >> 3 >= row * (self.width + 1)) & (keys & 1 == 0)
        return below


def simplified(outlines: Outlines, tolerance: float, pixel: tuple[float, float]) -> Outlines:
    """Outlines with fewer vertices, the same for both neighbours of a border; those in the frame all stay.

    Args:
        outlines: noded ones of a block, of all its regions, so that only the frame is a border of nothing.
        tolerance: in CRS units; corners that cover less than its square go.
        pixel: size (x, y) in CRS units.
    """
    polygons = polygons_of(outlines.x * pixel[0], outlines.y * pixel[1], outlines.starts, outlines.region)
    simple = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    rings, region = shapely.get_rings(shapely.orient_polygons(simple), return_index=True)
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    counts = np.bincount(ring, minlength=len(rings))
    open_ = np.ones(len(ring), bool)
    open_[np.cumsum(counts) - 1] = False
    x, y = (np.rint(coordinates[open_] / pixel).astype(np.int32)).T
    starts = np.concatenate([[0], np.cumsum(counts - 1)])
    return Outlines(
        x,
        y,
        starts,
        region.astype(np.int32),
        outlines.classes,
        outlines.sizes,
        outlines.touches,
        outlines.touching,
        outlines.rising,
    )


def polygons_of(x: NDArray[Any], y: NDArray[Any], starts: NDArray[np.int64], owner: NDArray[Any]) -> NDArray[Any]:
    """Polygons (N,) of rings, of which each one's first is the exterior; ``owner`` ascends from 0 without gaps."""
    coordinates = np.stack([x, y], axis=1).astype(np.float64)
    rings = shapely.linearrings(coordinates, indices=np.repeat(np.arange(len(owner)), np.diff(starts)))
    polygons: NDArray[Any] = shapely.polygons(rings, indices=owner)
    return polygons


def cut(
    outlines: Outlines, around: NDArray[np.uint8], wanted: NDArray[np.bool_], keys: Keys, row: int, col: int
) -> tuple[Paths, NDArray[np.bool_]]:
    """The paths of a block's regions, and which of these reach beyond the frame.

    Args:
        outlines: of the block, with its frame's vertices.
        around: class ids uint8 (h + 2, w + 2): the block and the pixels around it.
        wanted: regions that get paths, bool (N,).
        keys: names of places in the whole raster.
        row, col: the block's upper left pixel in the whole raster.

    Returns:
        paths in the order of their regions, and bool (N,).
    """
    chosen = np.flatnonzero(wanted[outlines.region])
    lengths = np.diff(outlines.starts)[chosen]
    vertices = spread(outlines.starts[chosen], lengths)
    x, y = outlines.x[vertices], outlines.y[vertices]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    region = outlines.region[chosen]
    of_vertex = np.repeat(region, lengths)
    after = following(starts)
    seam = _seams(x, y, after, outlines.classes[of_vertex], around, keys, row, col)
    open_ = np.zeros(len(wanted), bool)
    open_[of_vertex[seam >= 0]] = True
    corner = _corners(x, y, of_vertex, open_, outlines, around, keys, row, col)
    return _paths(x + np.int32(col), y + np.int32(row), starts, region, seam, corner), open_


def _seams(
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    after: NDArray[np.int64],
    classes: NDArray[np.uint8],
    around: NDArray[np.uint8],
    keys: Keys,
    row: int,
    col: int,
) -> NDArray[np.int64]:
    """The keys of sides in the frame that have their own class beyond it, int64 (V,) by first vertex; else -1."""
    height, width = around.shape[0] - 2, around.shape[1] - 2
    found = np.full(len(x), -1, np.int64)
    for line, level, inner in ((0, True, 1), (height, True, 0), (0, False, 1), (width, False, 0)):
        along, across = (x, y) if level else (y, x)
        sides = np.flatnonzero((across == line) & (across[after] == line))
        low = np.minimum(along[sides], along[after[sides]])
        # Beyond the upper and left edge of the frame is the first row or column of pixels, beyond the others the last.
        beyond = 0 if inner else -1
        outside = around[beyond, low + 1] if level else around[low + 1, beyond]
        same = outside == classes[sides]
        sides, low = sides[same], low[same]
        at = (low, np.full_like(low, line)) if level else (np.full_like(low, line), low)
        found[sides] = keys.of(at[0] + col, at[1] + row, _LEVEL if level else _UPRIGHT, inner)
    return found


def _corners(
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    region: NDArray[np.int32],
    open_: NDArray[np.bool_],
    outlines: Outlines,
    around: NDArray[np.uint8],
    keys: Keys,
    row: int,
    col: int,
) -> NDArray[np.int64]:
    """The keys of vertices where an open region touches another of its class with a corner, int64 (V,); else -1."""
    found = np.full(len(x), -1, np.int64)
    candidates = np.flatnonzero(open_[region])
    x, y, region = x[candidates], y[candidates], region[candidates]
    inside = Keys(around.shape[1] - 2)
    places = inside.of(x, y, 0, 0)

    def enter(at: NDArray[Any], owners: NDArray[Any], values: NDArray[np.int64], asked: NDArray[Any]) -> None:
        """Give vertices the key of their place and owner, which is there once."""
        if not len(values) or not len(asked):
            return
        names, order = np.unique(np.stack([at, owners], axis=1), axis=0, return_index=True)
        base = int(max(owners.max(), asked.max())) + 1
        table, wanted = names[:, 0] * base + names[:, 1], places * base + asked
        hits = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
        there = table[hits] == wanted
        found[candidates[there]] = values[order[hits[there]]]

    pairs = open_[outlines.touching].all(axis=1)
    (at_x, at_y), kind = outlines.touches[pairs].T, np.where(outlines.rising[pairs], _RISING, _FALLING)
    for lower in (0, 1):
        at = inside.of(at_x, at_y, 0, 0)
        enter(at, outlines.touching[pairs, lower], keys.of(at_x + col, at_y + row, kind, lower), region)
    for (at_x, at_y), classes, kind_, lower in _frame_corners(around):
        at = inside.of(at_x, at_y, 0, 0)
        enter(at, classes, keys.of(at_x + col, at_y + row, kind_, lower), outlines.classes[region])
    return found


def _frame_corners(
    around: NDArray[np.uint8],
) -> Iterator[tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.uint8], int, int]]:
    """Corners in the frame where two pixels of one class touch and the other two are of others, and those of the frame
    itself: there the other two may be of other regions, if these are too large to be put together.

    Yields:
        for each of the four pixels at a corner, where it lies inside the frame: corners (x, y), the pixel's class, the
        kind of the diagonal, and whether the pixel is the lower one.
    """
    height, width = around.shape[0] - 2, around.shape[1] - 2
    across, down = np.arange(width + 1), np.arange(1, height)
    x = np.concatenate([across, across, np.zeros_like(down), np.full_like(down, width)])
    y = np.concatenate([np.zeros_like(across), np.full_like(across, height), down, down])
    for right, lower in ((0, 0), (1, 0), (0, 1), (1, 1)):
        own, facing = around[y + lower, x + right], around[y + 1 - lower, x + 1 - right]
        beside, over = around[y + lower, x + 1 - right], around[y + 1 - lower, x + right]
        inside = (x + right >= 1) & (x + right <= width) & (y + lower >= 1) & (y + lower <= height)
        alone = (own != beside) & (own != over) | np.isin(x, (0, width)) & np.isin(y, (0, height))
        here = np.flatnonzero((own == facing) & alone & inside)
        yield (x[here], y[here]), own[here], _RISING if right != lower else _FALLING, lower


def _paths(
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    starts: NDArray[np.int64],
    region: NDArray[np.int32],
    seam: NDArray[np.int64],
    corner: NDArray[np.int64],
) -> Paths:
    """Rings cut open at sides with a key, which go, and at vertices with one, which become an end and a beginning."""
    twice = 1 + (corner >= 0)
    source = np.repeat(np.arange(len(x)), twice)
    last = np.cumsum(twice) - 1
    key = seam[source]
    key[(last - 1)[corner >= 0]] = corner[corner >= 0]
    starts = np.concatenate([last - twice + 1, [len(source)]])[starts]
    lengths = np.diff(starts)
    # Every ring is turned so that it ends where it is cut last; then all paths are runs.
    cuts = np.flatnonzero(key >= 0)
    ring = np.repeat(np.arange(len(region)), lengths)
    turn = np.zeros(len(region), np.int64)
    turn[ring[cuts]] = cuts + 1 - starts[ring[cuts]]  # of equal indices the last holds
    within = np.arange(len(source)) - starts[ring]
    turned = starts[ring] + (within + turn[ring]) % lengths[ring]
    key, source = key[turned], source[turned]
    ends = key >= 0
    whole = np.ones(len(region), bool)
    whole[ring[cuts]] = False
    ends[starts[1:][whole] - 1] = True
    last = np.flatnonzero(ends)
    path_ring = ring[last]
    end = key[last]
    # A path begins where the one before it in its ring ends, the first where the last does.
    first = np.flatnonzero(np.diff(path_ring, prepend=-1))
    begin = np.roll(end, 1)
    begin[first] = end[np.append(first[1:], len(last))[: len(first)] - 1]
    return Paths(x[source], y[source], np.concatenate([[0], last + 1]), region[path_ring], begin, end)
