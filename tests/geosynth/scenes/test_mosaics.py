"""Rasters on one lattice are read as one."""

from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, load_legend
from geosynth.scenes.cog import ClassRasterWriter
from geosynth.scenes.labels import MaskLabels, inspect_labels, make_codes
from geosynth.scenes.mosaics import mosaics, open_parts

WORLD = load_legend("world")


def raster(path: Path, row: int, col: int, ids: np.ndarray, shift: float = 0.0, size: float = 2.0) -> MaskLabels:
    transform = Affine(size, 0, 500_000 + col * size + shift, 0, -size, 5_000_000 - row * size)
    grid = Grid(CRS.from_epsg(32633), transform, *ids.shape)
    with ClassRasterWriter(path, path.parent / "tmp", grid, WORLD, {}) as writer:
        writer.write(0, 0, ids)
    (labels,) = inspect_labels(path)
    assert isinstance(labels, MaskLabels)
    return labels


def test_neighbours_are_one_mosaic_and_others_are_not(tmp_path: Path) -> None:
    ids = np.full((20, 30), 1, np.uint8)
    masks = [
        raster(tmp_path / "a.tif", 0, 0, ids),
        raster(tmp_path / "b.tif", -20, 30, ids),
        raster(tmp_path / "half_a_pixel_off.tif", 0, 60, ids, shift=1.0),
        raster(tmp_path / "coarser.tif", 0, 0, ids, size=4.0),
        raster(tmp_path / "far.tif", 100_000, 200_000, ids),
    ]
    found = mosaics(masks, [None] * 5)
    assert [[part.labels.name for part in mosaic.parts] for mosaic in found] == [
        ["a", "b", "far"], ["half_a_pixel_off"], ["coarser"]
    ]  # fmt: skip
    assert (found[0].grid.transform.c, found[0].grid.transform.f) == (500_000, 5_000_040)
    assert (found[0].grid.height, found[0].grid.width) == (100_040, 200_030)
    assert len(found[0].blocks(1024)) == 2, "blocks without a raster cost nothing"
    assert [part.labels.name for part in found[0].near(0, 0, 30, 40)] == ["a", "b"]


def test_where_rasters_overlap_the_first_that_knows_counts(tmp_path: Path) -> None:
    first, second = np.full((4, 6), 1, np.uint8), np.full((4, 6), 2, np.uint8)
    first[0, 5] = UNKNOWN
    masks = [raster(tmp_path / "a.tif", 0, 0, first), raster(tmp_path / "b.tif", 0, 4, second)]
    (mosaic,) = mosaics(masks, [None, None])
    with open_parts(mosaic.parts, make_codes(masks, WORLD, None)) as reader:
        ids, owner = reader.read(-1, 0, 5, 11)
    assert ids[0].tolist() == [UNKNOWN] * 11 and (owner[0] == -1).all()
    assert ids[1].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, UNKNOWN]
    assert ids[2].tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, UNKNOWN]
    assert owner[2].tolist() == [0] * 6 + [1] * 4 + [-1]
