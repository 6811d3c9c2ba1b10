"""Written rasters: whatever the order of the blocks, one COG a GIS understands, or nothing."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.grid import Grid, engineering_crs, is_engineering
from geosynth.legend import load_legend
from geosynth.rasters import Band
from geosynth.scenes.cog import ClassRasterWriter, RasterWriter
from geosynth.scenes.labels import MaskLabels, inspect_labels
from geosynth.world import Landscape

GRID = Grid(CRS.from_epsg(32633), Affine(1, 0, 500_000, 0, -1, 5_000_000), 1100, 1300)
WORLD = load_legend("world")


def write_classes(target: Path, scratch: Path, mask: np.ndarray, order: int) -> None:
    with ClassRasterWriter(target, scratch, GRID, WORLD, {"GEOSYNTH_SYNTHETIC": "none"}) as writer:
        for row, col in [(r, c) for r in range(-30, 1100, 300) for c in range(-30, 1300, 300)][::order]:
            block = np.full((300, 300), 255, np.uint8)
            top, left = max(row, 0), max(col, 0)
            part = mask[top : row + 300, left : col + 300]
            block[top - row : top - row + part.shape[0], left - col : left - col + part.shape[1]] = part
            writer.write(row, col, block)


def test_a_class_raster_is_a_cog_with_names_colours_and_class_overviews(tmp_path: Path) -> None:
    mask = Landscape(0).render(0, 0, 1100, 1300)[1].copy()
    mask[200:300, 400:700] = 255
    write_classes(tmp_path / "one" / "a.tif", tmp_path / "tmp", mask, 1)
    write_classes(tmp_path / "two" / "a.tif", tmp_path / "tmp", mask, -1)
    path = tmp_path / "one" / "a.tif"
    assert path.read_bytes() == (tmp_path / "two" / "a.tif").read_bytes(), "the order of blocks must not matter"
    assert not any((tmp_path / "tmp").iterdir())
    with rasterio.open(path) as dataset:
        assert (dataset.read(1) == mask).all()
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "none"
        assert dataset.overviews(1)
        assert dataset.nodata == 255
        assert dataset.colormap(1)[WORLD.classes[0].id][:3] == WORLD.classes[0].rgb
    with rasterio.open(path, overview_level=0) as smaller:
        assert set(np.unique(smaller.read(1))) <= {*WORLD.ids, 255}, "overviews must not invent classes"
    (labels,) = inspect_labels(path)
    assert isinstance(labels, MaskLabels)
    assert dict(labels.named) == dict(zip(WORLD.ids, WORLD.names, strict=True))
    assert path.with_suffix(".qml").read_text().count("paletteEntry") == len(WORLD)


def test_what_is_never_written_is_unknown(tmp_path: Path) -> None:
    with ClassRasterWriter(tmp_path / "a.tif", tmp_path / "tmp", GRID, WORLD, {}) as writer:
        writer.write(600, 600, np.full((10, 10), 1, np.uint8))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        read = dataset.read(1)
    assert (read == 1).sum() == 100
    assert (read == 255).sum() == read.size - 100


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        ClassRasterWriter(tmp_path / "out" / "a.tif", tmp_path / "tmp", GRID, WORLD, {}),
    ):
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()
    assert not any((tmp_path / "tmp").iterdir())


def test_measurements_keep_dtype_and_a_local_plane(tmp_path: Path) -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 700, 600)
    with RasterWriter(
        tmp_path / "c.tif", tmp_path / "tmp", grid, (Band("confidence", "float32", float("nan")),), {}
    ) as writer:
        writer.write(100, 100, np.full((300, 300), 0.5, np.float32))
    with rasterio.open(tmp_path / "c.tif") as dataset:
        read = dataset.read(1)
        assert is_engineering(dataset.crs)
        assert dataset.transform == grid.transform
        assert dataset.descriptions == ("confidence",)
    assert np.nansum(read) == 45_000
    assert np.isnan(read[:100]).all()
