"""Square blocks of tiles, each wholly train, val or test: where they are, and how they are dealt out."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geosynth.grid import Grid
from geosynth.tileset import SPLITS, Split

Bounds = tuple[float, float, float, float]
_ENOUGH = 12
"""From this many blocks on their shares come out about as asked."""


def assign_splits(weights: Mapping[str, int], val: float, test: float, seed: int) -> dict[str, Split]:
    """Deal units (blocks, scenes) out to the splits, in an order only the seed and their names decide.

    A unit goes to test or val when that split then holds at most half a unit more than its share, else to train. Of
    three units with tiles or more, every split with a share above 0 gets one at least; two become train and val; one
    train.

    Args:
        weights: tiles of every unit; a unit without any is train.
        val, test: shares of the tiles.
        seed: decides the order.
    """
    order = sorted(weights, key=lambda unit: hashlib.blake2b(f"{seed}\x1f{unit}".encode()).digest())
    filled = [unit for unit in order if weights[unit]]
    total = sum(weights.values())
    shares: dict[Split, float] = {"test": test, "val": val}
    held: Counter[Split] = Counter()
    dealt: dict[str, Split] = dict.fromkeys(order, "train")
    for unit in filled:
        for split, share in shares.items():
            if held[split] + weights[unit] / 2 <= share * total + 1e-9:
                dealt[unit] = split
                held[split] += weights[unit]
                break
    wanted: list[Split] = ["train", *(split for split in ("val", "test") if shares[split] > 0)]
    for split in wanted:
        owned = Counter(dealt[unit] for unit in filled)
        donor = max(SPLITS[::-1], key=lambda other: owned[other])
        if not owned[split] and owned[donor] > (split != "train"):
            smallest = min((unit for unit in filled if dealt[unit] == donor), key=lambda unit: weights[unit])
            dealt[smallest] = split
    return dealt


@dataclass(frozen=True)
class Lattice:
    """The places of tiles in a scene: ``rows`` x ``cols`` tiles of ``size`` pixels, ``stride`` apart, in blocks.

    ``block`` is tiles a side; 0 makes the whole scene one block.
    """

    grid: Grid
    rows: int
    cols: int
    size: int
    stride: int
    block: int

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(row, col) of every block."""
        if not self.rows or not self.cols:
            return ()
        down, across = math.ceil(self.rows / self.side), math.ceil(self.cols / self.side)
        return tuple((r, c) for r in range(down) for c in range(across))

    @property
    def side(self) -> int:
        """Tiles a side of a block."""
        return self.block or max(self.rows, self.cols)

    def block_sizes(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many tiles every block holds: int64 (block rows, block cols) from ``kept``, bool (rows, cols)."""
        if not kept.size:
            return np.zeros((0, 0), np.int64)
        by_row = np.add.reduceat(kept.astype(np.int64), np.arange(0, self.rows, self.side), axis=0)
        sizes: NDArray[np.int64] = np.add.reduceat(by_row, np.arange(0, self.cols, self.side), axis=1)
        return sizes

    def block_bounds(self, block: tuple[int, int]) -> Bounds:
        """A block's ground, in CRS units."""
        side = self.side * self.stride
        row, col = block[0] * side, block[1] * side
        rest = self.size - self.stride
        # The last tiles may reach beyond the scene.
        height = min(side + rest, (self.rows - 1) * self.stride + self.size - row)
        width = min(side + rest, (self.cols - 1) * self.stride + self.size - col)
        return self.grid.window(row, col, height, width).bounds

    def touched(self, row: int, col: int, buffer: int) -> list[tuple[int, int]]:
        """The blocks that tile (row, col), grown by ``buffer`` pixels, has pixels in; its own is the first."""
        side = self.side
        own = (row // side, col // side)

        def span(index: int, count: int) -> range:
            first = (index * self.stride - buffer) // (side * self.stride)
            last = (index * self.stride + self.size + buffer - 1) // (side * self.stride)
            return range(max(0, first), min(last, (count - 1) // side) + 1)

        near = [(r, c) for r in span(row, self.rows) for c in span(col, self.cols)]
        return [own, *(block for block in near if block != own)]

    def row_footprints(self, row: int, buffer: int) -> NDArray[Any]:
        """The ground of a row's tiles, grown by ``buffer`` pixels: boxes (cols,)."""
        x, _, left, _, y, top = self.grid.transform[:6]
        # Scenes that share an edge differ by rounding; a millionth of a tile is no overlap.
        reach = buffer - 1e-6 * self.size
        lefts = np.arange(self.cols) * self.stride - reach
        upper, lower = row * self.stride - reach, row * self.stride + self.size + reach
        rights = lefts + self.size + 2 * reach
        boxes: NDArray[Any] = shapely.box(left + x * lefts, top + y * lower, left + x * rights, top + y * upper)
        return boxes

    def tile_splits(
        self, row: int, splits: Mapping[tuple[int, int], Split], buffer: int, elsewhere: NDArray[np.int64] | None = None
    ) -> tuple[Split | None, ...]:
        """The split of every tile of a row; None for a tile too near another split.

        Args:
            row: of tiles.
            splits: of the blocks of this scene.
            buffer: pixels to keep away from blocks of another split.
            elsewhere: for every tile (cols,) the last of the splits, as a place in ``SPLITS``, that blocks of other
                scenes near it are in. A place that is tested in one scene is not trained on in another.
        """
        result: list[Split | None] = []
        for col in range(self.cols):
            blocks = self.touched(row, col, buffer)
            split = splits[blocks[0]]
            apart = all(splits[block] == split for block in blocks)
            seen = elsewhere is not None and bool(elsewhere[col] > SPLITS.index(split))
            result.append(split if apart and not seen else None)
        return tuple(result)


def fitting_block(lattices: Sequence[Lattice], kept: Sequence[NDArray[np.bool_]]) -> int:
    """The side of blocks for scenes: what they have, halved until a dozen blocks hold tiles, or to single tiles.

    A few large blocks cannot be dealt out in the shares that are asked for.
    """
    side = lattices[0].block
    while side > 1:
        blocks = [replace(tiles, block=side).block_sizes(held) for tiles, held in zip(lattices, kept, strict=True)]
        if sum(np.count_nonzero(sizes) for sizes in blocks) >= _ENOUGH:
            break
        side //= 2
    return side
