"""Splits by place: which tile of which scene is for training, validation and testing, and which are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geosynth.errors import SceneError
from geosynth.scenes.blocks import Lattice, assign_splits
from geosynth.scenes.splitareas import SplitAreas
from geosynth.tileset import SPLITS, Split, Tile

SceneSplits = list[tuple[Split | None, ...]]
"""The split of every tile of a scene, row by row; None for a tile to leave out."""


@dataclass(frozen=True, eq=False)
class Taken:
    """The ground of tiles that are there already, and their splits."""

    tree: shapely.STRtree
    ranks: NDArray[np.int64]

    @classmethod
    def of(cls, tiles: Sequence[Tile]) -> Taken:
        """Of the tiles of a tileset."""
        return cls(
            shapely.STRtree([tile.geometry for tile in tiles]),
            np.array([SPLITS.index(tile.split) for tile in tiles], np.int64),
        )

    def spared(
        self, tiles: Lattice, row: int, splits: tuple[Split | None, ...], buffer: int
    ) -> tuple[Split | None, ...]:
        """The splits of a row's tiles, None where one is nearer than ``buffer`` pixels to a tile of another split."""
        if not tiles.grid.lies_somewhere:
            return splits
        tile, place = self.tree.query(tiles.row_footprints(row, buffer))
        own = np.array([-1 if split is None else SPLITS.index(split) for split in splits])
        near = set(tile[own[tile] != self.ranks[place]].tolist())
        return tuple(None if col in near else split for col, split in enumerate(splits))


def split_tiles(
    lattices: Mapping[str, Lattice],
    kept: Mapping[str, NDArray[np.bool_]],
    assign: Mapping[str, Split],
    *,
    val: float,
    test: float,
    seed: int,
    buffer: int,
    areas: SplitAreas | None = None,
    taken: Taken | None = None,
) -> list[SceneSplits]:
    """The split of every tile of every scene, in the scenes' order.

    Args:
        lattices: by scene name.
        kept: which tiles hold enough data to be kept, bool (rows, cols), by scene name.
        assign: scenes that go into one split as a whole.
        val, test: shares of the kept tiles of the other scenes.
        seed: decides which block goes where.
        buffer: pixels kept between tiles of one split and blocks of another, of other scenes too.
        areas: ground that is drawn for the splits; decides instead of blocks.
        taken: tiles that are there already.

    Raises:
        SceneError: ``assign`` names a scene that is not there.
    """
    unknown = sorted(assign.keys() - lattices.keys())
    if unknown:
        raise SceneError(f"no scene is called {unknown[0]}", remedy=f"the scenes are: {', '.join(lattices)}")
    if areas is None:
        dealt = _by_blocks(lattices, kept, assign, val=val, test=test, seed=seed, buffer=buffer)
    else:
        dealt = [[areas.row_splits(tiles, row, buffer) for row in range(tiles.rows)] for tiles in lattices.values()]
    if taken is None:
        return dealt
    return [
        [taken.spared(tiles, row, splits, buffer) for row, splits in enumerate(rows)]
        for tiles, rows in zip(lattices.values(), dealt, strict=True)
    ]


def _by_blocks(
    lattices: Mapping[str, Lattice],
    kept: Mapping[str, NDArray[np.bool_]],
    assign: Mapping[str, Split],
    *,
    val: float,
    test: float,
    seed: int,
    buffer: int,
) -> list[SceneSplits]:
    weights: dict[str, int] = {}
    for name, tiles in lattices.items():
        if name not in assign:
            sizes = tiles.block_sizes(kept[name])
            weights |= {f"{name}/{r}/{c}": int(sizes[r, c]) for r, c in tiles.blocks}
    dealt = assign_splits(weights, val, test, seed)
    blocks = {
        name: {(r, c): assign.get(name) or dealt[f"{name}/{r}/{c}"] for r, c in tiles.blocks}
        for name, tiles in lattices.items()
    }
    places = _Places.of(lattices, blocks)
    return [
        [
            tiles.tile_splits(row, blocks[name], buffer, places.near(name, tiles, row, buffer) if places else None)
            for row in range(tiles.rows)
        ]
        for name, tiles in lattices.items()
    ]


@dataclass(frozen=True)
class _Places:
    """Where the blocks of all scenes are that other scenes must heed: val's and test's."""

    tree: shapely.STRtree
    scenes: NDArray[np.str_]
    ranks: NDArray[np.int64]

    @classmethod
    def of(
        cls, lattices: Mapping[str, Lattice], blocks: Mapping[str, Mapping[tuple[int, int], Split]]
    ) -> _Places | None:
        """None where no scene can lie on another: fewer than two that lie somewhere."""
        if sum(tiles.grid.lies_somewhere for tiles in lattices.values()) < 2:
            return None
        held = [
            (lattices[name].block_bounds(block), name, SPLITS.index(split))
            for name, own in blocks.items()
            for block, split in own.items()
            if split != "train" and lattices[name].grid.lies_somewhere
        ]
        boxes = [shapely.box(*bounds) for bounds, _, _ in held]
        return cls(
            shapely.STRtree(boxes),
            np.array([name for _, name, _ in held], np.str_),
            np.array([rank for _, _, rank in held], np.int64),
        )

    def near(self, name: str, tiles: Lattice, row: int, buffer: int) -> NDArray[np.int64]:
        """The highest rank of the blocks of other scenes near every tile of a row, 0 (train) where there is none."""
        ranks = np.zeros(tiles.cols, np.int64)
        if not tiles.grid.lies_somewhere:
            return ranks
        tile, place = self.tree.query(tiles.row_footprints(row, buffer))
        foreign = self.scenes[place] != name
        np.maximum.at(ranks, tile[foreign], self.ranks[place[foreign]])
        return ranks
