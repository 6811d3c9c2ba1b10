"""Tilesets of given images in given places, for what looks at their mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.folders import claim
from geosynth.grid import Grid
from geosynth.legend import load_legend
from geosynth.rasters import Band, valid_pixels
from geosynth.tileset import TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles


def image_tileset(folder: Path, bands: tuple[Band, ...], images: Sequence[tuple[float, float, NDArray[Any]]]) -> Path:
    """A tileset of images (C, side, side), each at (row, col) in pixels of one metre; their masks are unknown."""
    side = images[0][2].shape[-1]
    spec = TileSpec("images", bands, load_legend("world"), CRS.from_epsg(32633), (1.0, 1.0), 1.0, side)
    unknown = np.full((side, side), 255, np.uint8)
    tiles = [
        encode_tile(
            spec, f"tile{number}", Grid(spec.crs, Affine(1, 0, 500_000 + col, 0, -1, 5_000_000 - row), side, side),
            image, valid_pixels(image, bands[0].nodata), unknown, {}, split="train", scene="scene", row=int(row),
            col=int(col), image_origin="real", mask_origin="none", placement="real",
        )
        for number, (row, col, image) in enumerate(images)
    ]  # fmt: skip
    with claim(folder, {"command": "test"}) as out:
        out.record("all", {"tiles": write_tiles(out.path, tiles)})
        compact(out, spec)
    return folder
