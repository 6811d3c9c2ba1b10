"""The mosaics to look at: what lies where, and what GDAL takes for nothing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from image_tiles import image_tileset
from numpy.typing import NDArray

from geosynth.rasters import Band
from geosynth.tileset import Tileset

SIDE = 16
NODATA = {"uint8": 255.0, "uint16": 65535.0, "int16": -32768.0, "float32": math.nan}


def pattern(dtype: str, bands: int, nodata: float | None) -> NDArray[np.generic]:
    """An image with a pixel that is dark in its first band only, and a corner without data."""
    values = np.random.default_rng(0).integers(1, 120, (bands, SIDE, SIDE)).astype(dtype)
    values[0, 8, 8] = 0 if bands > 1 else 1
    values[:, :4, :4] = 0 if nodata is None else nodata
    return values


@pytest.mark.parametrize(
    ("dtype", "bands", "nodata"), itertools.product(NODATA, (1, 2, 3, 4, 7), ("none", "zero", "other"))
)
def test_what_lies_between_tiles_and_what_has_no_data_is_hidden(
    tmp_path: Path, dtype: str, bands: int, nodata: str
) -> None:
    value = {"none": None, "zero": 0.0, "other": NODATA[dtype]}[nodata]
    image = pattern(dtype, bands, value)
    layout = tuple(Band(f"b{number}", dtype, value) for number in range(bands))
    image_tileset(tmp_path / "tiles", layout, [(0, 0, image), (0, 2 * SIDE, image), (2 * SIDE, 0, image)])
    there = np.ones((SIDE, SIDE), bool)
    there[:4, :4] = value is None
    with rasterio.open(tmp_path / "tiles" / "images.vrt") as dataset:
        assert dataset.shape == (3 * SIDE, 3 * SIDE) and dataset.count == bands and dataset.dtypes[0] == dtype
        seen = dataset.dataset_mask() > 0
        read = dataset.read()
    expected = np.zeros_like(seen)
    for row, col in ((0, 0), (0, 2 * SIDE), (2 * SIDE, 0)):
        expected[row : row + SIDE, col : col + SIDE] = there
        assert np.array_equal(read[:, row : row + SIDE, col : col + SIDE][:, there], image[:, there])
    assert np.array_equal(seen, expected)


def test_where_tiles_overlap_no_data_hides_nothing(tmp_path: Path) -> None:
    below, above = (np.full((1, SIDE, SIDE), value, np.uint8) for value in (7, 9))
    above[:, :8] = 0
    for nodata, expected in ((0.0, 7), (None, 0)):
        tiles = image_tileset(tmp_path / f"{nodata}", (Band("b", "uint8", nodata),), [(0, 0, below), (0, 0, above)])
        with rasterio.open(tiles / "images.vrt") as dataset:
            assert (dataset.read(1)[0, 0], dataset.read(1)[12, 0]) == (expected, 9)


@pytest.mark.parametrize("apart", [0.25, 0.5, 0.75])
def test_a_scene_that_lies_part_of_a_pixel_apart_goes_to_the_nearest(tmp_path: Path, apart: float) -> None:
    image = np.random.default_rng(1).integers(1, 255, (1, SIDE, SIDE), np.uint8)
    tiles = image_tileset(
        tmp_path / "t", (Band("b", "uint8"),), [(0, 0, image), (2 * SIDE + apart, 2 * SIDE + apart, image)]
    )
    start = 2 * SIDE + (0 if apart < 0.5 else 1)
    with rasterio.open(tiles / "images.vrt") as dataset:
        assert dataset.shape == (start + SIDE, start + SIDE)
        assert np.array_equal(dataset.read(1)[start:, start:], image[0])


def test_values_are_drawn_from_black_to_white_unless_they_are_colours(tmp_path: Path, opened: Tileset) -> None:
    assert not (opened.path / "images.qml").exists()
    image = np.full((2, SIDE, SIDE), 100, np.uint16)
    image[:, ::2] = 300
    for nodata, alpha in ((None, 3), (65535.0, -1)):  # the mask band, as QGIS counts it
        bands = tuple(Band(name, "uint16", nodata) for name in ("vv", "vh"))
        tiles = image_tileset(tmp_path / f"two-{nodata}", bands, [(0, 0, image)])
        style = (tiles / "images.qml").read_text(encoding="utf-8")
        assert f'type="singlebandgray" grayBand="1" gradient="BlackToWhite" opacity="1" alphaBand="{alpha}"' in style
        assert "<minValue>100.0</minValue><maxValue>300.0</maxValue>" in style
