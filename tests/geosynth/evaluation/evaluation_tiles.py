"""Small tilesets of the made-up world, real and synthetic, for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.folders import claim
from geosynth.grid import Grid, fictitious_grid
from geosynth.legend import Legend, load_legend
from geosynth.lineage import Lineage
from geosynth.rasters import Band
from geosynth.tileset import Tileset, TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles
from geosynth.world import Landscape

RGB = (Band("red", "uint8"), Band("green", "uint8"), Band("blue", "uint8"))
SIDE = 32


def make_tiles(
    path: Path,
    counts: dict[str, int],
    *,
    synthetic: bool = False,
    repainted: bool = False,
    lineage: Lineage | None = None,
    bands: tuple[Band, ...] = RGB,
    legend: Legend | None = None,
    far: int = 0,
    copies: Tileset | None = None,
) -> Tileset:
    """Tiles cut from the world ``far`` pixels down; ``copies`` instead gives its training images, a quarter turned.

    ``synthetic`` ones stand at made-up places; ``repainted`` ones are generated images for the masks that are there.
    """
    spec = TileSpec(path.name, bands, legend or load_legend("world"), CRS.from_epsg(32633), (1.0, 1.0), 1.0, SIDE)
    origins = {"image_origin": "generated", "mask_origin": "generated", "placement": "fictitious"}
    if repainted:
        origins = {"image_origin": "generated", "mask_origin": "human", "placement": "donor"}
    elif not synthetic:
        origins = {"image_origin": "real", "mask_origin": "human", "placement": "real"}
    with claim(path, {"made": "up"}) as out:
        rows = []
        splits = [split for split, count in counts.items() for _ in range(count)]
        for number, split in enumerate(splits):
            row, col = far + number // 8 * 3 * SIDE, number % 8 * 3 * SIDE
            image, mask = Landscape(0).render(row, col, SIDE, SIDE)
            if copies is not None:
                image, _, mask = copies.read(copies.select("train")[number])
                image, mask = np.rot90(image, axes=(1, 2)).copy(), np.rot90(mask).copy()
            image = np.resize(image, (len(bands), SIDE, SIDE)).astype(bands[0].dtype)
            grid = Grid(spec.crs, Affine(1, 0, 500_000 + col, 0, -1, 5_000_000 - row), SIDE, SIDE)
            if synthetic:
                grid = fictitious_grid(spec.crs, spec.pixel_size, SIDE, number, spec.id)
            rows.append(
                encode_tile(
spec, f"t_{number:03}", grid, image, np.ones((SIDE, SIDE), bool), mask, {}, split=split,
                    scene="" if synthetic else "world", row=row, col=col, **origins,
                )
            )  # fmt: skip
        out.record("tiles", {"tiles": write_tiles(out.path, rows)})
        compact(out, spec, lineage)
    return Tileset(path)


def make_pair(folder: Path) -> tuple[Tileset, Tileset]:
    """A real tileset and a synthetic one whose generator saw its training tiles only."""
    real = make_tiles(folder / "real", {"train": 8, "val": 4, "test": 4})
    lineage = Lineage.of(real.select("train"), real.spec.crs_name)
    return real, make_tiles(folder / "made", {"train": 10}, synthetic=True, lineage=lineage, far=5000)
