import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from geosynth.grid import Grid
from geosynth.legend import load_legend
from geosynth.rasters import Band, avoid_nodata, image_bytes, mask_bytes

GRID = Grid(CRS.from_epsg(32633), Affine(2, 0, 500_000, 0, -2, 5_000_000), 8, 8)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("count", [1, 3, 4, 13])
def test_an_image_keeps_values_place_names_and_tags(dtype: str, count: int) -> None:
    bands = tuple(Band(f"b{number}", dtype) for number in range(count))
    image = np.random.default_rng(0).integers(0, 200, (count, 8, 8)).astype(dtype)
    with MemoryFile(image_bytes(GRID, image, bands, {"GEOSYNTH_SEED": "7"})) as memory, memory.open() as dataset:
        assert np.array_equal(dataset.read(), image)
        assert dataset.transform == GRID.transform
        assert dataset.descriptions == tuple(band.name for band in bands)
        assert dataset.tags()["GEOSYNTH_SEED"] == "7"
        assert ColorInterp.alpha not in dataset.colorinterp  # a fourth band is no transparency
        if count == 3 and dtype == "uint8":
            assert dataset.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def test_a_mask_keeps_ids_palette_and_nodata() -> None:
    legend = load_legend("world")
    mask = np.full((8, 8), 255, np.uint8)
    mask[2, 3] = 3
    with MemoryFile(mask_bytes(GRID, mask, legend, {})) as memory, memory.open() as dataset:
        assert np.array_equal(dataset.read(1), mask)
        assert dataset.nodata == 255
        assert dataset.colorinterp == (ColorInterp.palette,)
        assert dataset.colormap(1)[3][:3] == legend.named("water").rgb


def test_valid_values_step_aside_for_nodata() -> None:
    assert avoid_nodata(np.array([0, 1], np.uint8), 0).tolist() == [1, 1]
    assert avoid_nodata(np.array([255, 1], np.uint8), 255).tolist() == [254, 1]
    assert avoid_nodata(np.array([-9999, 4], np.int16), -9999).tolist() == [-9998, 4]
    moved = avoid_nodata(np.array([-9999.0, 4.0], np.float32), -9999.0)
    assert moved[0] != -9999.0 and abs(moved[0] + 9999.0) < 0.01
