"""The paths of many blocks made into the regions of a whole raster, one row of blocks after the other.

A region is finished when none of its paths ends at a block that has not been read. So what is held at any time are the
regions that reach across the lower edge of a row of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geosynth.scenes.outlines import Cycles, following, spread, straightened
from geosynth.scenes.pieces import Keys, Paths


@dataclass(frozen=True)
class Regions:
    """What is known of N regions, apart from their outlines.

    Attributes:
        classes: uint8 (N,).
        pixels: how many, int64 (N,).
        area: of the polygon, float64 (N,).
        confidence: sum over the pixels that have one, and how many these are: float64 (N, 2).
        rasters: which rasters they lie in, bool (N, R).
    """

    classes: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    area: NDArray[np.float64]
    confidence: NDArray[np.float64]
    rasters: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.integer]) -> Self:
        """Some of the regions."""
        return type(self)(
            self.classes[chosen],
            self.pixels[chosen],
            self.area[chosen],
            self.confidence[chosen],
            self.rasters[chosen],
        )

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """All regions of several."""
        return cls(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.area for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.rasters for part in parts]),
        )

    def joined(self, group: NDArray[np.int32], count: int) -> Self:
        """One region for every group of them, in the order of groups."""
        first = np.zeros(count, np.int64)
        first[group[::-1]] = np.arange(len(group))[::-1]
        rasters = np.zeros((count, self.rasters.shape[1]), bool)
        np.logical_or.at(rasters, group, self.rasters)
        pixels = np.zeros(count, np.int64)
        np.add.at(pixels, group, self.pixels)
        confidence = np.stack([np.bincount(group, column, count) for column in self.confidence.T], axis=1)
        return type(self)(self.classes[first], pixels, np.bincount(group, self.area, count), confidence, rasters)


@dataclass(frozen=True)
class Rings:
    """Rings of regions, of each first the exterior: x, y int32 (V,), starts int64 (R + 1,), region (R,) ascending."""

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    starts: NDArray[np.int64]
    region: NDArray[np.int32]

    def take(self, rings: NDArray[np.int64], number: NDArray[np.int32]) -> Rings:
        """Some of the rings; ``number`` are the new numbers of regions."""
        lengths = np.diff(self.starts)[rings]
        vertices = spread(self.starts[rings], lengths)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return Rings(self.x[vertices], self.y[vertices], starts, number[self.region[rings]])

    def straightened(self) -> Rings:
        """The rings without vertices in the middle of straight sides."""
        return Rings(*straightened(self.x, self.y, self.starts), self.region)


class Merger:
    """Takes rows of blocks from above to below and gives back the regions that are finished.

    Args:
        keys: names of places in the whole raster.
        noded: keep vertices in the middle of straight sides.
        largest: regions are not put together when they have more pixels than this; None puts all together.
    """

    def __init__(self, keys: Keys, *, noded: bool, largest: int | None = None) -> None:
        self._keys = keys
        self._noded = noded
        self._largest = largest
        self._regions: Regions | None = None
        self._paths: list[Paths] = []
        self._links = np.empty(0, np.int64), np.empty(0, np.int32)

    def add(self, blocks: Sequence[tuple[Regions, Paths]], last_row: int) -> tuple[Regions, Rings] | None:
        """Add the open regions of a row of blocks whose lower edge is the row of corners ``last_row``."""
        parts = [regions for regions, _ in blocks]
        if self._regions is not None:
            parts.insert(0, self._regions)
        if not sum(len(part.classes) for part in parts):
            return None
        known = 0 if self._regions is None else len(self._regions.classes)
        offsets = np.cumsum([known, *(len(regions.classes) for regions, _ in blocks)])
        fresh = [paths.renumbered(offset) for (_, paths), offset in zip(blocks, offsets[:-1], strict=True)]
        self._paths.append(Paths.together(fresh))
        places, owners = self._open_links(fresh)
        regions = Regions.together(parts)
        group, count = self._grouped(places, owners, regions)
        pending = self._keys.below(places, last_row)
        regions = regions.joined(group, count)
        if self._largest is not None:
            # What is too large already takes no more.
            pending &= regions.pixels[group[owners]] < self._largest
        unfinished = np.zeros(count, bool)
        unfinished[group[owners[pending]]] = True
        done = np.flatnonzero(~unfinished)
        number = np.empty(count, np.int32)
        number[done] = np.arange(len(done))
        kept = np.flatnonzero(unfinished)
        number[kept] = np.arange(len(kept))
        self._links = places[pending], number[group[owners[pending]]]
        paths = self._taken(group, number, unfinished)
        self._regions = regions.take(kept)
        return (regions.take(done), stitched(Paths.together(paths), self._noded)) if len(done) else None

    def _open_links(self, fresh: list[Paths]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The seams of earlier rows that wait and those of the new paths: keys and regions."""
        places, owners = [self._links[0]], [self._links[1]]
        for paths in fresh:
            seams = self._keys.seams(paths.end)
            places.append(paths.end[seams])
            owners.append(paths.region[seams])
        return np.concatenate(places), np.concatenate(owners)

    def _grouped(
        self, places: NDArray[np.int64], owners: NDArray[np.int32], regions: Regions
    ) -> tuple[NDArray[np.int32], int]:
        """The group of every region, numbered in the order of their first ones, and how many there are."""
        order = np.argsort(places)
        places, owners = places[order] >> 1, owners[order]
        pairs = np.flatnonzero(places[1:] == places[:-1])
        one, other = owners[pairs], owners[pairs + 1]
        if self._largest is not None:
            one, other = _within(one, other, regions.pixels, self._largest)
        size = len(regions.classes)
        graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(size, size))
        count, label = connected_components(graph, directed=False)
        first = np.zeros(count, np.int64)
        first[label[::-1]] = np.arange(size)[::-1]
        rank = np.empty(count, np.int32)
        rank[np.argsort(first)] = np.arange(count, dtype=np.int32)
        return rank[label], count

    def _taken(self, group: NDArray[np.int32], number: NDArray[np.int32], unfinished: NDArray[np.bool_]) -> list[Paths]:
        """Take the paths of finished regions out of what is held."""
        taken, held = [], []
        for paths in self._paths:
            owner = group[paths.region]
            numbered = Paths(paths.x, paths.y, paths.starts, number[owner], paths.begin, paths.end)
            waits = unfinished[owner]
            if waits.all():
                held.append(numbered)
                continue
            taken.append(numbered.take(np.flatnonzero(~waits)))
            if waits.any():
                held.append(numbered.take(np.flatnonzero(waits)))
        self._paths = held
        return taken


def _within(
    one: NDArray[np.int32], other: NDArray[np.int32], pixels: NDArray[np.int64], largest: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Those of the pairs, from first to last, that make no group of more than ``largest`` pixels."""
    root, size = list(range(len(pixels))), pixels.tolist()

    def find(region: int) -> int:
        while root[region] != region:
            root[region] = root[root[region]]
            region = root[region]
        return region

    kept = []
    for place, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        low, high = sorted((find(a), find(b)))
        if low == high:
            kept.append(place)
        elif size[low] + size[high] <= largest:
            root[high], size[low] = low, size[low] + size[high]
            kept.append(place)
    return one[kept], other[kept]


def stitched(paths: Paths, noded: bool) -> Rings:
    """The rings that paths of whole regions make, of each region first its exterior."""
    onward = np.arange(len(paths.end), dtype=np.int32)
    ends, begins = np.argsort(paths.end, kind="stable"), np.argsort(paths.begin, kind="stable")
    cut = int((paths.end < 0).sum())
    ends, begins = ends[cut:], begins[cut:]
    # Sorted by key, the end and the beginning of one place lie side by side, and so do the two sides of a place. Where
    # both are of one region, paths go over to the other side.
    place, region = paths.end[ends] >> 1, paths.region[ends]
    two = np.flatnonzero((place[1:] == place[:-1]) & (region[1:] == region[:-1]))
    target = begins.copy()
    target[two], target[two + 1] = begins[two + 1], begins[two]
    onward[ends] = target
    cycles = Cycles(onward)
    lengths = np.diff(paths.starts)[cycles.order]
    vertices = spread(paths.starts[cycles.order], lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])[cycles.starts]
    x, y, starts = _without_repeats(paths.x[vertices], paths.y[vertices], starts)
    if not noded:
        x, y, starts = straightened(x, y, starts)
    owner = paths.region[cycles.first]
    # Where four blocks meet within a region, their paths make a ring of nothing.
    real = np.flatnonzero(np.diff(starts) > 0)
    owner, area = owner[real], np.add.reduceat(_turns(x, y, starts), starts[real])
    order = real[np.lexsort((real, area < 0, owner))]
    sizes = np.diff(starts)[order]
    vertices = spread(starts[order], sizes)
    return Rings(x[vertices], y[vertices], np.concatenate([[0], np.cumsum(sizes)]), paths.region[cycles.first][order])


def _turns(x: NDArray[np.int32], y: NDArray[np.int32], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """What every side adds to twice the signed area of its ring."""
    after = following(starts)
    wide_x, wide_y = x.astype(np.int64), y.astype(np.int64)
    turns: NDArray[np.int64] = (wide_x + wide_x[after]) * (wide_y[after] - wide_y)
    return turns


def _without_repeats(
    x: NDArray[np.int32], y: NDArray[np.int32], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    after = following(starts)
    new = (x != x[after]) | (y != y[after])
    return x[new], y[new], np.concatenate([[0], np.cumsum(new)])[starts]
