"""Splits by place: square blocks of tiles, each wholly train, val or test, and what must be dropped between them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geosynth.errors import SceneError
from geosynth.grid import Grid, is_engineering
from geosynth.tileset import SPLITS, Split

Bounds = tuple[float, float, float, float]
SceneSplits = list[tuple[Split | None, ...]]
"""The split of every tile of a scene, row by row; None for a tile to leave out."""


def assign_splits(units: Sequence[str], val: float, test: float, seed: int) -> dict[str, Split]:
    """Deal units (blocks, scenes) out to the splits: exact shares, in an order only the seed and their names decide.

    With three units or more every split with a share above 0 gets one at least; two become train and val; one train.
    """
    order = sorted(units, key=lambda unit: hashlib.blake2b(f"{seed}\x1f{unit}".encode()).digest())
    count = len(order)
    to_val = min(math.ceil(val * count - 1e-9), max(0, count - 1))
    to_test = min(math.ceil(test * count - 1e-9), max(0, count - 1 - to_val))
    return {
        unit: "test" if position < to_test else "val" if position < to_test + to_val else "train"
        for position, unit in enumerate(order)
    }


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
        side = self.block or max(self.rows, self.cols)
        return tuple((r, c) for r in range(math.ceil(self.rows / side)) for c in range(math.ceil(self.cols / side)))

    def block_bounds(self, block: tuple[int, int]) -> Bounds:
        """A block's ground, in CRS units."""
        side = (self.block or max(self.rows, self.cols)) * self.stride
        row, col = block[0] * side, block[1] * side
        rest = self.size - self.stride
        height = min(side + rest, self.grid.height - row)
        width = min(side + rest, self.grid.width - col)
        return self.grid.window(row, col, height, width).bounds

    def touched(self, row: int, col: int, buffer: int) -> list[tuple[int, int]]:
        """The blocks that tile (row, col), grown by ``buffer`` pixels, has pixels in; its own is the first."""
        side = self.block or max(self.rows, self.cols)
        own = (row // side, col // side)

        def span(index: int, count: int) -> range:
            first = (index * self.stride - buffer) // (side * self.stride)
            last = (index * self.stride + self.size + buffer - 1) // (side * self.stride)
            return range(max(0, first), min(last, (count - 1) // side) + 1)

        near = [(r, c) for r in span(row, self.rows) for c in span(col, self.cols)]
        return [own, *(block for block in near if block != own)]

    def tile_splits(
        self,
        row: int,
        splits: Mapping[tuple[int, int], Split],
        buffer: int,
        elsewhere: Sequence[tuple[Split, Bounds]] = (),
    ) -> tuple[Split | None, ...]:
        """The split of every tile of a row; None for a tile too near another split.

        Args:
            row: of tiles.
            splits: of the blocks of this scene.
            buffer: pixels to keep away from blocks of another split.
            elsewhere: blocks of other scenes that lie on this one, with their splits. A place that is tested in
                one scene is not trained on in another.
        """
        result: list[Split | None] = []
        for col in range(self.cols):
            blocks = self.touched(row, col, buffer)
            split = splits[blocks[0]]
            apart = all(splits[block] == split for block in blocks)
            ground = self.grid.window(row * self.stride, col * self.stride, self.size, self.size).bounds
            seen = any(SPLITS.index(other) > SPLITS.index(split) and _meet(ground, place) for other, place in elsewhere)
            result.append(split if apart and not seen else None)
        return tuple(result)


def _meet(one: Bounds, other: Bounds) -> bool:
    # Scenes that share an edge differ by rounding; a millionth of a tile is no overlap.
    slack = 1e-6 * (one[2] - one[0])
    return (
        one[0] + slack < other[2]
        and other[0] + slack < one[2]
        and one[1] + slack < other[3]
        and other[1] + slack < one[3]
    )


def split_tiles(
    lattices: Mapping[str, Lattice],
    assign: Mapping[str, Split],
    *,
    val: float,
    test: float,
    seed: int,
    buffer: int,
) -> list[SceneSplits]:
    """The split of every tile of every scene, in the scenes' order.

    Args:
        lattices: by scene name.
        assign: scenes that go into one split as a whole.
        val, test: shares of the blocks of the other scenes.
        seed: decides which block goes where.
        buffer: pixels kept between tiles of one split and blocks of another.

    Raises:
        SceneError: ``assign`` names a scene that is not there.
    """
    unknown = sorted(assign.keys() - lattices.keys())
    if unknown:
        raise SceneError(f"no scene is called {unknown[0]}", remedy=f"the scenes are: {', '.join(lattices)}")
    free = [f"{name}/{r}/{c}" for name, tiles in lattices.items() if name not in assign for r, c in tiles.blocks]
    dealt = assign_splits(free, val, test, seed)
    blocks = {
        name: {(r, c): assign.get(name) or dealt[f"{name}/{r}/{c}"] for r, c in tiles.blocks}
        for name, tiles in lattices.items()
    }
    places = {
        name: [(split, lattices[name].block_bounds(block)) for block, split in own.items()]
        for name, own in blocks.items()
    }
    result: list[SceneSplits] = []
    for name, tiles in lattices.items():
        elsewhere = _elsewhere(name, tiles, places)
        result.append([tiles.tile_splits(row, blocks[name], buffer, elsewhere) for row in range(tiles.rows)])
    return result


def _elsewhere(
    name: str, tiles: Lattice, places: Mapping[str, Sequence[tuple[Split, Bounds]]]
) -> list[tuple[Split, Bounds]]:
    """Blocks of the other scenes that lie on this one; scenes on a local plane lie nowhere."""
    if is_engineering(tiles.grid.crs):
        return []
    return [
        entry
        for other, blocks in places.items()
        if other != name
        for entry in blocks
        if _meet(tiles.grid.bounds, entry[1])
    ]
