"""Vectorizing: every format holds the same polygons, named, measured and styled."""

import sqlite3
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize

from geosynth.errors import LabelError, LegendError, OutputError
from geosynth.events import Events
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import Legend, load_legend
from geosynth.scenes.cog import ClassRasterWriter
from geosynth.vectorize import vectorize
from geosynth.world import Landscape

WORLD = load_legend("world")
MERCATOR = Grid(CRS.from_epsg(3857), Affine(2, 0, 9_519_000, 0, -2, 3_202_000), 90, 110)


def class_raster(path: Path, grid: Grid = MERCATOR, row: int = 0) -> np.ndarray:
    mask = Landscape(0).render(row, 0, grid.height, grid.width)[1].copy()
    mask[10:30, 20:60] = 255
    with ClassRasterWriter(path, path.parent / "tmp", grid, WORLD, {}) as writer:
        writer.write(0, 0, mask)
    return mask


def read(path: Path) -> Any:
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".shp"])
def test_every_format_holds_every_class(tmp_path: Path, suffix: str) -> None:
    mask = class_raster(tmp_path / "a.tif")
    style = (tmp_path / "a.qml").read_text()
    vectorize([tmp_path / "a.tif"], tmp_path / f"a{suffix}", Events())
    assert (tmp_path / "a.qml").read_text() == style  # the raster keeps its own
    out = tmp_path / f"polygons{suffix}"
    count = vectorize([tmp_path / "a.tif"], out, Events())
    frame = read(out)
    assert len(frame) == count
    assert frame.is_valid.all()
    assert set(frame["source"]) == {"a"}
    assert dict(zip(frame["class_id"], frame["class_name"], strict=True)) == {
        id_: name for id_, name in zip(WORLD.ids, WORLD.names, strict=True) if id_ in mask
    }
    assert frame.crs.to_epsg() == (4326 if suffix == ".geojson" else 3857)
    back = frame.to_crs(3857)
    burnt = rasterize(
        zip(back.geometry, back["class_id"], strict=True), mask.shape, fill=255, transform=MERCATOR.transform
    )
    assert (burnt == mask).all()
    known = (mask != 255).sum() * 4 * np.cos(np.radians(27.63)) ** 2  # a web-mercator metre in Nepal is 0.886 m
    assert frame["area_m2"].sum() == pytest.approx(known, rel=0.01)
    beside = out.with_suffix(".qml")
    assert beside.exists() == (suffix != ".gpkg")  # a GeoPackage holds its style
    assert suffix == ".gpkg" or "categorizedSymbol" in beside.read_text()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_geopackage_brings_its_style(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    vectorize([tmp_path / "a.tif"], tmp_path / "a.gpkg", Events())
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        ((table, default, style),) = database.execute("SELECT f_table_name, useAsDefault, styleQML FROM layer_styles")
        assert database.execute("SELECT 1 FROM gpkg_contents WHERE table_name = ?", (table,)).fetchone()
    assert default == 1
    assert all(f'value="{name}"' in style for name in WORLD.names)


def test_the_same_raster_gives_the_same_bytes(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    for suffix in (".gpkg", ".parquet", ".geojson"):
        files = [tmp_path / folder / f"p{suffix}" for folder in ("one", "two")]
        for file in files:
            vectorize([tmp_path / "a.tif"], file, Events())
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_a_raster_without_crs_keeps_its_coordinates(tmp_path: Path, suffix: str) -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 60, 70)
    mask = class_raster(tmp_path / "a.tif", grid)
    vectorize([tmp_path / "a.tif"], tmp_path / f"a{suffix}", Events())
    frame = read(tmp_path / f"a{suffix}")
    assert tuple(frame.total_bounds) == (0, -60, 70, 0)
    assert frame["area"].sum() == (mask != 255).sum()
    if suffix == ".geojson":
        assert '"crs"' not in (tmp_path / "a.geojson").read_text()


def test_small_and_dropped_polygons_are_left_out(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    vectorize([tmp_path / "a.tif"], tmp_path / "all.gpkg", Events())
    vectorize([tmp_path / "a.tif"], tmp_path / "some.gpkg", Events(), min_area=60.0, drop=["road"])
    whole, some = read(tmp_path / "all.gpkg"), read(tmp_path / "some.gpkg")
    assert len(some) == ((whole["area_m2"] >= 60) & (whole["class_name"] != "road")).sum() < len(whole)
    with pytest.raises(LegendError, match="no class 'raod'"):
        vectorize([tmp_path / "a.tif"], tmp_path / "x.gpkg", Events(), drop=["raod"])


def test_simplified_neighbours_neither_overlap_nor_part(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    for name, tolerance in (("all", 0.0), ("simple", 4.0)):
        vectorize([tmp_path / "a.tif"], tmp_path / f"{name}.gpkg", Events(), simplify=tolerance)
    whole, simple = read(tmp_path / "all.gpkg"), read(tmp_path / "simple.gpkg")
    shapes = simple.geometry.to_numpy()
    assert (
        shapely.get_num_coordinates(shapes).sum() < 0.7 * shapely.get_num_coordinates(whole.geometry.to_numpy()).sum()
    )
    assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), rel=1e-9)
    assert shapely.coverage_is_valid(shapes)


def test_several_rasters_in_one_file(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    zone = Grid(CRS.from_epsg(32645), Affine(2, 0, 350_000, 0, -2, 3_056_000), 60, 60)
    class_raster(tmp_path / "b.tif", zone, row=500)
    count = vectorize([tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "both.gpkg", Events())
    frame = read(tmp_path / "both.gpkg")
    assert len(frame) == count
    assert set(frame["source"]) == {"a", "b"}
    assert frame.crs.to_epsg() == 3857


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    (tmp_path / "a.gpkg").write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        vectorize([tmp_path / "a.tif"], tmp_path / "a.gpkg", Events())
    assert (tmp_path / "a.gpkg").read_text() == "precious"
    assert vectorize([tmp_path / "a.tif"], tmp_path / "a.gpkg", Events(), overwrite=True) == len(
        read(tmp_path / "a.gpkg")
    )
    with pytest.raises(OutputError, match=r"\.gpkg, \.geojson"):
        vectorize([tmp_path / "a.tif"], tmp_path / "a.dxf", Events())


def test_what_is_no_class_raster_is_refused(tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "a.png", "w", driver="PNG", count=3, height=40, width=40, dtype="uint8") as dataset:
        dataset.write(np.random.default_rng(0).integers(0, 256, (3, 40, 40), np.uint8))
    with pytest.raises(LabelError, match=r"a\.png"):
        vectorize([tmp_path / "a.png"], tmp_path / "a.gpkg", Events())
    class_raster(tmp_path / "a.tif")
    with pytest.raises(LabelError, match="no class of the legend"):
        vectorize([tmp_path / "a.tif"], tmp_path / "a.gpkg", Events(), legend=load_legend("building"))


def test_ignored_values_are_unknown(tmp_path: Path) -> None:
    mask = class_raster(tmp_path / "a.tif")
    legend = Legend(tuple(entry for entry in WORLD.classes if entry.id != WORLD.ids[0]))
    vectorize([tmp_path / "a.tif"], tmp_path / "a.gpkg", Events(), legend=legend, ignore=(WORLD.ids[0],))
    assert set(read(tmp_path / "a.gpkg")["class_id"]) == set(np.unique(mask).tolist()) - {255, WORLD.ids[0]}


def test_measurements_are_not_taken_for_classes(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "count": 1, "height": 20, "width": 20, "dtype": "uint8", "crs": "EPSG:3857",
               "transform": MERCATOR.transform}  # fmt: skip
    with rasterio.open(tmp_path / "grey.tif", "w", **profile) as dataset:
        dataset.write(np.arange(400, dtype=np.uint8).reshape(1, 20, 20) % 100)
    with pytest.raises(LabelError, match=r"grey\.tif: is no class raster: 100 different values"):
        vectorize([tmp_path / "grey.tif"], tmp_path / "a.gpkg", Events())
    with pytest.raises(LabelError, match=r"grey\.tif: is no class raster of this legend"):
        vectorize([tmp_path / "grey.tif"], tmp_path / "a.gpkg", Events(), legend=WORLD)
    with rasterio.open(tmp_path / "grey.tif", "r+") as dataset:
        dataset.set_band_description(1, "confidence")
    with pytest.raises(LabelError, match="how sure"):
        vectorize([tmp_path / "grey.tif"], tmp_path / "a.gpkg", Events())
    assert not (tmp_path / "a.gpkg").exists()


def test_only_unknown_gives_an_empty_file(tmp_path: Path) -> None:
    with ClassRasterWriter(tmp_path / "a.tif", tmp_path / "tmp", MERCATOR, WORLD, {}):
        pass
    assert vectorize([tmp_path / "a.tif"], tmp_path / "a.gpkg", Events(), legend=WORLD) == 0
    assert len(read(tmp_path / "a.gpkg")) == 0
