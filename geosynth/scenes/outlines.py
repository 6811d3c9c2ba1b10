"""The outlines of all regions of a class raster, exact, by array arithmetic.

Where two pixels differ runs a border. Borders meet or turn at nodes; between two nodes a border is straight, and its
two directions are two sides: each has one region on its right. Following sides from node to node, always as far to the
right as borders allow, goes once round a region whose pixels share sides. All nodes and sides of a raster are found and
followed at once.

Coordinates are pixel corners, x right and y down. Seen with y down, exteriors run clockwise and holes the other way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

_EAST, _SOUTH, _WEST, _NORTH = range(4)
_CODES = np.arange(16)
_HAS = np.array([[code >> way & 1 for code in _CODES] for way in range(4)], bool)
"""[way, code]: whether a border leaves a node of this code in this direction."""
_COUNT = _HAS.sum(axis=0).astype(np.int32)
_RANK = (np.cumsum(_HAS, axis=0) - 1).astype(np.int32)
"""[way, code]: the place of a direction among those that leave the node."""
_WAY = np.array([[*np.flatnonzero(_HAS[:, code]), 0, 0, 0, 0][:4] for code in _CODES], np.int8)
"""[code, rank]: the direction at a place."""
_BEND = np.array([code not in (0, 1 << _EAST | 1 << _WEST, 1 << _SOUTH | 1 << _NORTH) for code in _CODES])
"""[code]: whether borders meet or turn here."""
_ONWARD = np.array(
    [
        [next((_RANK[way, code] for way in ((d + 1) % 4, d, (d + 3) % 4) if _HAS[way, code]), 0) for code in _CODES]
        for d in range(4)
    ],
    np.int32,
)
"""[way, code]: the place of the side that goes on to the right of one that arrives in a direction."""
_CROSSING = 15


@dataclass(frozen=True)
class Outlines:
    """The rings of N regions in the order of their upper left pixels; of each first the exterior, then its holes.

    Attributes:
        x, y: vertices int32 (V,), without the closing one.
        starts: where rings begin among the vertices, and V: int64 (R + 1,).
        region: which region a ring belongs to, int32 (R,), ascending.
        classes: of the regions, uint8 (N,).
        sizes: of the regions in pixels, int64 (N,).
        touches: vertices int32 (T, 2) as (x, y) where two regions of one class touch with corners only.
        touching: those regions, int32 (T, 2): the upper, the lower one.
        rising: whether the two lie along the diagonal that rises to the right, bool (T,).
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    starts: NDArray[np.int64]
    region: NDArray[np.int32]
    classes: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    touches: NDArray[np.int32]
    touching: NDArray[np.int32]
    rising: NDArray[np.bool_]

    @property
    def region_of_vertex(self) -> NDArray[np.int32]:
        return np.repeat(self.region, np.diff(self.starts))

    def sums(self, integral: NDArray[Any]) -> NDArray[np.float64]:
        """Sums over the pixels of every region, float64 (N,), of values whose integral image (h + 1, w + 1) is given.

        Exact for whole numbers, because a sum over a region is one of the image's values at its corners.
        """
        after = following(self.starts)
        upright = np.flatnonzero(self.x == self.x[after])
        onward = after[upright]
        change = integral[self.y[onward], self.x[onward]] - integral[self.y[upright], self.x[upright]]
        return np.bincount(self.region_of_vertex[upright], change, len(self.classes))


def trace(ids: NDArray[np.uint8], *, halo: bool = False, noded: bool = False) -> Outlines:
    """The outlines of every region of one value whose pixels share sides.

    Args:
        ids: values uint8 (h, w); all 256 are values like any other.
        halo: the outermost pixels are not outlined, but where they differ there is a vertex in the frame around the
            others. Coordinates count from the frame's corner.
        noded: keep a vertex also where a straight side passes a corner of a neighbour.
    """
    around = ids if halo else np.pad(ids, 1, mode="edge")
    codes, nodes = _nodes(around)
    row, col = (place.astype(np.int32) for place in np.divmod(nodes, codes.shape[1]))
    sides = _Sides(row, col, codes.ravel()[nodes])
    rings = Cycles(sides.next)
    owner = _owners(sides, rings, codes)[rings.of_item]
    touches, crossed = _uncross(sides, owner, around)
    if crossed:
        rings = Cycles(sides.next)
    return _outlines(sides, rings, owner, touches, around, halo, noded)


def following(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The vertex that follows each within its ring, int64 (V,), of where rings begin and V."""
    after = np.arange(1, int(starts[-1]) + 1)
    lengths = np.diff(starts)
    after[starts[1:][lengths > 0] - 1] = starts[:-1][lengths > 0]
    return after


def straightened(
    x: NDArray[np.int32], y: NDArray[np.int32], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Rings of level and upright sides without the vertices in the middle of straight ones."""
    after = following(starts)
    upright = x == x[after]
    before = np.empty_like(upright)
    before[after] = upright
    turns = before != upright
    return x[turns], y[turns], np.concatenate([[0], np.cumsum(turns)])[starts]


def _nodes(around: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """At every pixel corner inside the frame the directions of borders, one bit each, and the flat places of nodes."""
    upright = (around[:, :-1] != around[:, 1:]).view(np.uint8)
    level = (around[:-1] != around[1:]).view(np.uint8)
    codes = level[:, 1:] | upright[1:] << _SOUTH | level[:, :-1] << _WEST | upright[:-1] << _NORTH
    bends = _BEND[codes]
    across, along = 1 << _SOUTH | 1 << _NORTH, 1 << _EAST | 1 << _WEST
    # The frame is a border, with a node wherever pixels on either of its sides differ along it.
    for edge, ends, border in ((0, across, along), (-1, across, along)):
        bends[edge] = codes[edge] & ends != 0
        codes[edge] |= border
    for edge, ends, border in ((0, along, across), (-1, along, across)):
        bends[:, edge] = codes[:, edge] & ends != 0
        codes[:, edge] |= border
    codes[0] &= ~(1 << _NORTH) & 15
    codes[-1] &= ~(1 << _SOUTH) & 15
    codes[:, 0] &= ~(1 << _WEST) & 15
    codes[:, -1] &= ~(1 << _EAST) & 15
    bends[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    return codes, np.flatnonzero(bends)


class _Sides:
    """Sides between nodes, numbered node by node: where each begins, its direction, and which comes next."""

    def __init__(self, row: NDArray[np.int32], col: NDArray[np.int32], code: NDArray[np.uint8]) -> None:
        self.row, self.col, self.code = row, col, code
        count = _COUNT[code]
        self.first = np.cumsum(count, dtype=np.int32) - count
        self.node = np.repeat(np.arange(len(row), dtype=np.int32), count)
        self.way = _WAY[code[self.node], np.arange(len(self.node), dtype=np.int32) - self.first[self.node]]
        # Nodes are numbered along rows; a counting sort numbers them along columns.
        rows = np.searchsorted(row, np.arange(int(row[-1]) + 2)).astype(np.int32)
        numbers = np.arange(len(row), dtype=np.int32)
        by_row = csr_array((numbers, col, rows), shape=(int(row[-1]) + 1, int(col.max()) + 1))
        by_col: Any = csc_array(by_row)
        self.by_col, self.columns = by_col.data, by_col.indptr
        below, above = np.empty_like(numbers), np.empty_like(numbers)
        below[self.by_col[:-1]] = self.by_col[1:]
        above[self.by_col[1:]] = self.by_col[:-1]
        self.next = np.empty(len(self.node), np.int32)
        for way, neighbour in ((_EAST, numbers + 1), (_SOUTH, below), (_WEST, numbers - 1), (_NORTH, above)):
            leaving = np.flatnonzero(_HAS[way, code])
            target = neighbour[leaving]
            self.next[self.first[leaving] + _RANK[way, code[leaving]]] = self.first[target] + _ONWARD[way, code[target]]

    def leaving(self, nodes: NDArray[Any], way: int) -> NDArray[np.int32]:
        """The sides that leave nodes in a direction they have."""
        sides: NDArray[np.int32] = self.first[nodes] + _RANK[way, self.code[nodes]]
        return sides


class Cycles:
    """The cycles of a permutation, in the order of their smallest items.

    Attributes:
        order: the items, cycle after cycle, each from its smallest.
        starts: where cycles begin in it, and its length, int64 (C + 1,).
        lengths: of the cycles.
        first: their smallest items.
        of_item: the cycle of each item.
    """

    def __init__(self, following: NDArray[np.int32]) -> None:
        count = len(following)
        steps = csr_array((np.ones(count, np.int8), following, np.arange(count + 1)), shape=(count, count))
        number, found = connected_components(steps, connection="strong")
        first = np.empty(number, np.int32)
        first[found[::-1]] = np.arange(count, dtype=np.int32)[::-1]
        order = np.argsort(first)
        rank = np.empty(number, np.int32)
        rank[order] = np.arange(number, dtype=np.int32)
        self.first = first[order]
        self.of_item = rank[found]
        self.lengths = np.bincount(self.of_item, minlength=number)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        # Breadth first from a root before every ring's first side visits the k-th sides of all rings together.
        rooted = csr_array(
            (
                np.ones(count + number, np.int8),
                np.concatenate([following, self.first]),
                np.concatenate([np.arange(count + 1), [count + number]]),
            ),
            shape=(count + 1, count + 1),
        )
        visited = breadth_first_order(rooted, count, return_predecessors=False)[1:]
        as_long = number - np.cumsum(np.bincount(self.lengths))[:-1]
        self.order = np.empty(count, np.int32)
        self.order[self.starts[self.of_item[visited]] + np.repeat(np.arange(len(as_long)), as_long)] = visited


def _areas(sides: _Sides, rings: Cycles) -> NDArray[np.int64]:
    """Pixels within each ring, negative for holes, int64 (R,)."""
    nodes = sides.node[rings.order]
    x, y = sides.col[nodes].astype(np.int64), sides.row[nodes].astype(np.int64)
    areas: NDArray[np.int64] = np.add.reduceat(x * (y[following(rings.starts)] - y), rings.starts[:-1])
    return areas


def _owners(sides: _Sides, rings: Cycles, codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The exterior ring that every ring belongs to, int32 (R,); -1 for the one around the frame, which is no region.

    From the upper left corner of a hole its region goes on to the left, up to a border that is of its exterior or of
    another hole that begins further up or left.
    """
    hole = _areas(sides, rings) < 0
    owner = np.arange(len(hole), dtype=np.int32)
    outer = rings.of_item[sides.leaving(np.array([0]), _SOUTH)[0]]
    hole[outer] = False
    start = sides.node[rings.first[hole]]
    borders = np.flatnonzero(codes & 1 << _SOUTH)
    width = codes.shape[1]
    place = sides.row[start].astype(np.int64) * width + sides.col[start] - 1
    row, col = np.divmod(borders[np.searchsorted(borders, place, "right") - 1], width)
    # The first node below on the border's line, from which the side goes up that has the region on its right.
    line = np.repeat(np.arange(len(sides.columns) - 1), np.diff(sides.columns)) * (codes.shape[0] + 1)
    below = np.searchsorted(line + sides.row[sides.by_col], col * (codes.shape[0] + 1) + row, "right")
    owner[hole] = rings.of_item[sides.leaving(sides.by_col[below], _NORTH)]
    while (further := owner[owner] != owner).any():
        owner[further] = owner[owner[further]]
    owner[outer] = -1
    return owner


def _uncross(sides: _Sides, owner: NDArray[np.int32], around: NDArray[np.uint8]) -> tuple[NDArray[np.int32], bool]:
    """Make rings that touch themselves go straight on where they do, so that each becomes several.

    Returns:
        the sides (T, 2) that leave nodes where two regions of one class touch, the upper one's and the lower one's; and
        whether a ring touched itself.
    """
    crossing = np.flatnonzero(sides.code == _CROSSING)
    row, col = sides.row[crossing], sides.col[crossing]
    apart = [np.empty((0, 2), np.int32)]
    crossed = False
    for ways, one, other in (
        ((_NORTH, _SOUTH), around[row + 1, col], around[row, col + 1]),
        ((_WEST, _EAST), around[row, col], around[row + 1, col + 1]),
    ):
        leaving = np.stack([sides.leaving(crossing[one == other], way) for way in ways])
        same = owner[leaving[0]] == owner[leaving[1]]
        apart.append(leaving[:, ~same].T)
        if same.any():
            crossed = True
            before = np.empty_like(sides.next)
            before[sides.next] = np.arange(len(before), dtype=np.int32)
            sides.next[before[leaving[:, same]]] = leaving[::-1, same]
    return np.concatenate(apart), crossed


def _outlines(
    sides: _Sides,
    rings: Cycles,
    owner: NDArray[np.int32],
    touches: NDArray[np.int32],
    around: NDArray[np.uint8],
    halo: bool,
    noded: bool,
) -> Outlines:
    exteriors = np.unique(owner)
    exteriors = exteriors[exteriors >= 0]
    number = np.full(int(owner.max()) + 2, -1, np.int32)  # the last is for -1
    number[exteriors] = np.arange(len(exteriors))
    region = number[owner[rings.first]]
    areas = _areas(sides, rings)
    wanted = np.flatnonzero(region >= 0)
    wanted = wanted[np.lexsort((wanted, areas[wanted] < 0, region[wanted]))]
    vertices = rings.order[spread(rings.starts[wanted], rings.lengths[wanted])]
    node = sides.node[vertices]
    starts = np.concatenate([[0], np.cumsum(rings.lengths[wanted])])
    x, y = sides.col[node], sides.row[node]
    if not noded:
        arriving = np.empty_like(sides.way)
        arriving[sides.next] = sides.way
        keep = arriving[vertices] != sides.way[vertices]
        if halo:
            keep |= (x == 0) | (y == 0) | (x == around.shape[1] - 2) | (y == around.shape[0] - 2)
        x, y, starts = x[keep], y[keep], np.concatenate([[0], np.cumsum(keep)])[starts]
    exterior = np.flatnonzero(areas[wanted] > 0)
    corner = starts[exterior]
    at = sides.node[touches[:, 0]]
    return Outlines(
        x,
        y,
        starts,
        region[wanted],
        around[y[corner] + 1, x[corner] + 1],
        np.bincount(region[wanted], areas[wanted], len(exteriors)).astype(np.int64),
        np.stack([sides.col[at], sides.row[at]], axis=1),
        number[owner[touches]],
        sides.way[touches[:, 0]] == _NORTH,
    )


def spread(starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Indices of runs of items, one run after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    indices: NDArray[np.int64] = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return indices
