"""Pairs of bright squares on dark ground, some with wrong masks: what a filter must find."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.folders import claim
from geosynth.grid import Grid, fictitious_grid
from geosynth.legend import load_legend
from geosynth.lineage import Lineage
from geosynth.rasters import Band
from geosynth.tileset import Split, TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles

SIDE = 32
PairOfArrays = tuple[np.ndarray, np.ndarray]


def square(number: int) -> PairOfArrays:
    """Image uint8 (1, 32, 32), noisy, and mask uint8 (32, 32) of class ids 0 and 1."""
    random = np.random.default_rng(number)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    row, col = random.integers(2, 14, 2)
    mask[row : row + 15, col : col + 15] = 1
    image = 60 + 80 * mask[None] + random.integers(-20, 21, (1, SIDE, SIDE))
    return image.astype(np.uint8), mask


def flipped(pair: PairOfArrays, rows: slice = slice(None)) -> PairOfArrays:
    """The pair with its classes exchanged in ``rows`` of the mask."""
    image, mask = pair
    wrong = mask.copy()
    wrong[rows] = 1 - wrong[rows]
    return image, wrong


def write(
    path: Path, pairs: Sequence[PairOfArrays], splits: str = "", lineage: Lineage | None = None, first: int = 0
) -> Path:
    """A tileset of these pairs: real ones with a letter of ``splits`` (t, v, x) each, synthetic ones without any."""
    spec = TileSpec(
        path.name, (Band("pan", "uint8"),), load_legend("building"), CRS.from_epsg(32633), (1.0, 1.0), 1.0, SIDE
    )
    names: dict[str, Split] = {"t": "train", "v": "val", "x": "test"}
    origins = {"image_origin": "real", "mask_origin": "human", "placement": "real"}
    if not splits:
        origins = {"image_origin": "generated", "mask_origin": "generated", "placement": "fictitious"}
    with claim(path, {"command": "made up", "name": path.name}) as out:
        rows = []
        for number, (image, mask) in enumerate(pairs):
            grid = fictitious_grid(spec.crs, spec.pixel_size, SIDE, number, spec.id)
            if splits:
                grid = Grid(spec.crs, Affine(1, 0, 500_000 + (first + number) * SIDE, 0, -1, 5_000_000), SIDE, SIDE)
            rows.append(
                encode_tile(
                    spec, f"t{number:03}", grid, image, np.ones((SIDE, SIDE), bool), mask, {},
                    split=names[splits[number]] if splits else "train", scene="s", row=0, col=number * SIDE, **origins,
                )
            )  # fmt: skip
        out.record("all", {"tiles": write_tiles(out.path, rows)})
        compact(out, spec, lineage)
    return path
