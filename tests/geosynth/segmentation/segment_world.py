"""A tileset whose two classes an eye, or a tiny network in seconds, tells apart: bright squares on dark ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.folders import claim
from geosynth.grid import Grid
from geosynth.legend import load_legend
from geosynth.lineage import Lineage
from geosynth.rasters import Band
from geosynth.tileset import TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles

SIDE = 32
SPEC = TileSpec(
    "squares",
    (Band("pan", "uint8"), Band("nir", "uint8")),
    load_legend("building"),
    CRS.from_epsg(32633),
    (0.5, 0.5),
    0.5,
    SIDE,
)


def square(number: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (2, side, side) and mask uint8 (side, side) with class ids 0 and 1."""
    random = np.random.default_rng(number)
    mask = np.zeros((side, side), np.uint8)
    row, col = random.integers(2, side // 2, 2)
    mask[row : row + side // 2 - 2, col : col + side // 2 - 2] = 1
    image = 60 + 80 * mask[None] + random.integers(-20, 21, (2, side, side))
    return image.astype(np.uint8), mask


def write_squares(
    folder: Path,
    splits: str = "ttttttvv",
    *,
    spec: TileSpec = SPEC,
    first: int = 0,
    unknown: slice = slice(0),
    origin: str = "real",
    lineage: Lineage | None = None,
) -> Path:
    """A tileset with a pair per letter (t, v, x: train, val, test); ``unknown`` rows of every mask are 255."""
    names = {"t": "train", "v": "val", "x": "test"}
    with claim(folder, {"command": "made up", "id": spec.id}) as out:
        rows = []
        for number, letter in enumerate(splits):
            image, mask = square(first + number)
            image = image[np.arange(len(spec.bands)) % len(image)]
            mask[unknown] = 255
            grid = Grid(spec.crs, Affine(0.5, 0, 500000 + number * 16, 0, -0.5, 5000000), SIDE, SIDE)
            columns = {"image_origin": origin, "mask_origin": "human", "placement": "real", "scene": "s"}
            rows.append(
                encode_tile(
spec, f"t{number:03}", grid, image, np.ones((SIDE, SIDE), bool), mask, {},
                    split=names[letter], row=0, col=number * SIDE, **columns,
                )
            )  # fmt: skip
        out.record("all", {"tiles": write_tiles(out.path, rows)})
        compact(out, spec, lineage)
    return folder
