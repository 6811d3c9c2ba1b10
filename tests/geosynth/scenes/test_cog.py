"""Written rasters: whatever the order of the blocks, one COG a GIS understands, or nothing."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from geosynth.errors import OutputError
from geosynth.grid import Grid, engineering_crs, is_engineering
from geosynth.legend import load_legend
from geosynth.rasters import Band
from geosynth.scenes.cog import ClassRasterWriter, Contents, Part, PartWriter, publish
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


def write_part(path: Path, contents: Contents, row: int, col: int, values: np.ndarray) -> Part:
    part = Part(path, row, col, *values.shape[1:])
    writer = PartWriter(part, contents)
    writer.write(row, col, values)
    writer.close()
    return part


def test_measurements_keep_dtype_and_a_local_plane(tmp_path: Path) -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 700, 600)
    contents = Contents((Band("confidence", "float32", float("nan")),))
    part = write_part(tmp_path / "part.tif", contents, 100, 100, np.full((1, 300, 300), 0.5, np.float32))
    publish([part], contents, tmp_path / "c.tif", tmp_path / "tmp", grid, {})
    with rasterio.open(tmp_path / "c.tif") as dataset:
        read = dataset.read(1)
        assert is_engineering(dataset.crs)
        assert dataset.transform == grid.transform
        assert dataset.descriptions == ("confidence",)
    assert np.nansum(read) == 45_000
    assert np.isnan(read[:100]).all()


def test_parts_and_threads_change_no_byte(tmp_path: Path) -> None:
    mask = Landscape(0).render(0, 0, 1100, 1300)[1]
    contents, folder = Contents.classes(WORLD), tmp_path / 'Großer <Ordner> & "mehr"'
    whole = [write_part(folder / "whole.tif", contents, 0, 0, mask[None])]
    quarters = [
        write_part(folder / f"{row}-{col}.tif", contents, row, col, mask[None, row:, col:][:, :550, :650])
        for row in (550, 0)
        for col in (0, 650)
    ]
    for name, parts, threads in (("a", whole, 1), ("b", quarters, 1), ("c", quarters, 3)):
        tags = {"SOURCE": "a < b & c"}
        publish(parts, contents, folder / name / "out.tif", tmp_path / "tmp", GRID, tags, threads)
    bytes_of = {(folder / name / "out.tif").read_bytes() for name in "abc"}
    assert len(bytes_of) == 1 and not any((tmp_path / "tmp").iterdir())
    with rasterio.open(folder / "b/out.tif") as dataset:
        assert (dataset.read(1) == mask).all()
        assert (
            dataset.tags()["SOURCE"] == "a < b & c" and dataset.crs == GRID.crs and dataset.transform == GRID.transform
        )
        assert dataset.descriptions == ("class",)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_bands_are_no_colours_and_no_transparency(tmp_path: Path, count: int) -> None:
    contents = Contents(tuple(Band(f"class & {number}", "uint8", 255.0) for number in range(count)))
    values = np.arange(count, dtype=np.uint8)[:, None, None] + np.zeros((1, 600, 600), np.uint8)
    publish([write_part(tmp_path / "p", contents, 0, 0, values)], contents, tmp_path / "a.tif", tmp_path, GRID, {})
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.read()[:, :600, :600] == values).all() and (dataset.read()[:, 600:] == 255).all()
        assert dataset.descriptions == tuple(f"class & {number}" for number in range(count))
        assert not {ColorInterp.alpha, ColorInterp.red} & set(dataset.colorinterp)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    contents = Contents.classes(WORLD)
    part = write_part(tmp_path / "part.tif", contents, 0, 0, np.ones((1, 64, 64), np.uint8))
    with pytest.raises(OutputError, match="file"):
        publish([part], contents, tmp_path / "file" / "a.tif", tmp_path / "tmp", GRID, {})
    assert not any((tmp_path / "tmp").iterdir())
    with pytest.raises(OutputError, match="file"):
        PartWriter(Part(tmp_path / "file" / "b.tif", 0, 0, 9, 9), contents)
