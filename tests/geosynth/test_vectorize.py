"""Vectorizing: every format holds the same polygons, named, measured and styled."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from pyarrow import parquet
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize

from geosynth.errors import Cancelled, LabelError, LegendError, OutputError, SceneError
from geosynth.events import Events
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import Legend, load_legend
from geosynth.scenes.cog import ClassRasterWriter
from geosynth.scenes.labels import inspect_labels
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


def landscape() -> np.ndarray:
    mask = Landscape(0).render(0, 0, 90, 110)[1].copy()
    mask[10:30, 20:60] = 255
    return mask


def confidence_raster(path: Path, grid: Grid, percent: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", nodata=255, height=grid.height, width=grid.width,
        crs=grid.crs, transform=grid.transform,
    ) as dataset:  # fmt: skip
        dataset.write(percent, 1)
        dataset.set_band_description(1, "confidence")


def quarters(folder: Path) -> list[Path]:
    """The landscape as four rasters that lie side by side, with a confidence raster beside two of them."""
    mask, paths = landscape(), []
    for name, rows, cols in (("nw", (0, 40), (0, 70)), ("ne", (0, 40), (70, 110)), ("sw", (40, 90), (0, 70)),
                             ("se", (40, 90), (70, 110))):  # fmt: skip
        grid = MERCATOR.window(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])
        part = mask[slice(*rows), slice(*cols)]
        paths.append(folder / f"{name}.tif")
        with ClassRasterWriter(paths[-1], folder / "tmp", grid, WORLD, {}) as writer:
            writer.write(0, 0, part)
        if name[0] == "n":
            sure = np.where(part == 255, 255, 50 if name == "nw" else 80).astype(np.uint8)
            confidence_raster(folder / "confidence" / f"{name}.tif", grid, sure)
    return paths


def content(path: Path) -> list[tuple[Any, ...]]:
    """The rows, in an order of their own, areas to nine digits."""
    frame = read(path).fillna({"confidence": -1.0})
    shapes = shapely.normalize(frame.geometry.to_numpy())
    rest = frame.drop(columns="geometry").map(
        lambda value: float(f"{value:.9g}") if isinstance(value, float) else value
    )
    return sorted((shape.wkb, *row) for shape, row in zip(shapes, rest.itertuples(index=False), strict=True))


def test_neighbouring_rasters_are_one(tmp_path: Path) -> None:
    class_raster(tmp_path / "whole.tif")
    vectorize([tmp_path / "whole.tif"], tmp_path / "whole.gpkg", Events())
    vectorize(quarters(tmp_path), tmp_path / "four.gpkg", Events())
    whole, four = read(tmp_path / "whole.gpkg"), read(tmp_path / "four.gpkg")
    assert "confidence" not in whole
    assert [row[:3] for row in content(tmp_path / "whole.gpkg")] == [row[:3] for row in content(tmp_path / "four.gpkg")]
    assert four["area_m2"].sum() == pytest.approx(whole["area_m2"].sum(), rel=1e-9)
    grids = {"nw": (0, 0, 70, 40), "ne": (70, 0, 110, 40), "sw": (0, 40, 70, 90), "se": (70, 40, 110, 90)}
    places = {
        name: shapely.box(*(MERCATOR.transform @ (left, bottom)), *(MERCATOR.transform @ (right, top)))
        for name, (left, top, right, bottom) in grids.items()
    }
    for polygon, source, confidence in zip(four.geometry, four["source"], four["confidence"], strict=True):
        inside = {name: polygon.intersection(place).area for name, place in places.items()}
        assert source == ", ".join(name for name, area in inside.items() if area > 0)
        known = inside["nw"] + inside["ne"]
        if known:
            assert confidence == pytest.approx((50 * inside["nw"] + 80 * inside["ne"]) / known)
        else:
            assert np.isnan(confidence)
    assert four["source"].str.contains(",").any()


def test_a_confidence_raster_of_other_pixels_is_left_out(tmp_path: Path) -> None:
    paths = quarters(tmp_path)
    (tmp_path / "confidence" / "nw.tif").replace(tmp_path / "confidence" / "sw.tif")
    seen: list[dict[str, Any]] = []
    vectorize(paths[2:], tmp_path / "a.gpkg", Events([seen.append]))
    assert "confidence" not in read(tmp_path / "a.gpkg")
    assert any("does not lie on the pixels" in event.get("message", "") for event in seen)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".shp"])
def test_the_result_does_not_depend_on_blocks(tmp_path: Path, suffix: str) -> None:
    paths = quarters(tmp_path)
    for block in (1000, 37):
        vectorize(paths, tmp_path / f"{block}{suffix}", Events(), sieve=5, min_area=30.0, drop=["road"], block=block)
    large, small = content(tmp_path / f"1000{suffix}"), content(tmp_path / f"37{suffix}")
    if suffix == ".geojson":
        # Where sides do not stay straight they have a vertex at every block.
        large, small = sorted(row[1:] for row in large), sorted(row[1:] for row in small)
    assert large == small
    assert len(small) > 5


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    from distributed import LocalCluster

    paths = quarters(tmp_path)
    options: dict[str, Any] = {"simplify": 3.0, "block": 8}
    vectorize(paths, tmp_path / "one" / "a.gpkg", Events(), **options)
    vectorize(paths, tmp_path / "two" / "a.gpkg", Events(), workers=2, **options)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        vectorize(paths, tmp_path / "cluster" / "a.gpkg", Events(), scheduler=cluster.scheduler_address, **options)
    one = (tmp_path / "one" / "a.gpkg").read_bytes()
    assert one == (tmp_path / "two" / "a.gpkg").read_bytes() == (tmp_path / "cluster" / "a.gpkg").read_bytes()


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
@pytest.mark.parametrize("workers", [1, 2])
def test_cancelled_nothing_is_left(tmp_path: Path, workers: int, suffix: str) -> None:
    paths = quarters(tmp_path / "classes")
    answers = iter([None, None, None])
    events = Events(stop=[lambda: next(answers, "enough")])
    with pytest.raises(Cancelled, match="run the same command again"):
        vectorize(paths, tmp_path / "out" / f"a{suffix}", events, block=8, workers=workers)
    assert not list((tmp_path / "out").iterdir())


def test_a_raster_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_raster(tmp_path / "a.tif")
    inspected = inspect_labels(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:700])
    monkeypatch.setattr("geosynth.vectorize.inspect_labels", lambda path: inspected)
    with pytest.raises(SceneError, match=r"a\.tif: cannot be read"):
        vectorize([tmp_path / "a.tif"], tmp_path / "out" / "a.gpkg", Events())
    assert not list((tmp_path / "out").iterdir())


def test_large_regions_can_stay_cut(tmp_path: Path) -> None:
    paths = quarters(tmp_path)
    whole = vectorize(paths, tmp_path / "whole.gpkg", Events(), block=16)
    cut = vectorize(paths, tmp_path / "cut.gpkg", Events(), block=16, split_at=300)
    frame = read(tmp_path / "cut.gpkg")
    assert cut > whole
    assert frame.is_valid.all()
    assert frame.area.max() <= 300 * 4
    assert frame.area.sum() == (landscape() != 255).sum() * 4


def test_blocks_leave_no_seam_in_simplified_polygons(tmp_path: Path) -> None:
    paths = quarters(tmp_path)
    vectorize(paths, tmp_path / "a.gpkg", Events(), block=32, simplify=4.0)
    shapes = read(tmp_path / "a.gpkg").geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), rel=1e-9)


def test_neighbours_stay_neighbours_in_degrees(tmp_path: Path) -> None:
    zone = Grid(CRS.from_epsg(32645), Affine(200, 0, 350_000, 0, -200, 3_056_000), 60, 60)
    class_raster(tmp_path / "b.tif", zone, row=500)
    vectorize([tmp_path / "b.tif"], tmp_path / "b.geojson", Events(), block=32)
    shapes = read(tmp_path / "b.geojson").geometry.to_numpy()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), rel=1e-9)


def test_areas_are_those_on_the_ellipsoid(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    for name, tolerance in (("exact", 0.0), ("simple", 3.0)):
        vectorize([tmp_path / "a.tif"], tmp_path / f"{name}.gpkg", Events(), simplify=tolerance, block=50)
        frame = read(tmp_path / f"{name}.gpkg")
        geod = pyproj.Geod(ellps="WGS84")
        expected = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in frame.to_crs(4326).geometry]
        # Geodesics are good to some ten square millimetres.
        assert frame["area_m2"].to_numpy() == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_a_geoparquet_says_where_it_is(tmp_path: Path) -> None:
    paths = quarters(tmp_path)
    vectorize(paths, tmp_path / "a.parquet", Events(), block=40)
    about = json.loads(parquet.read_metadata(tmp_path / "a.parquet").metadata[b"geo"])
    column = about["columns"][about["primary_column"]]
    assert column["bbox"] == read(tmp_path / "a.parquet").total_bounds.tolist()
    assert column["geometry_types"] == ["Polygon"]


def test_rasters_without_a_place_do_not_hide_each_other(tmp_path: Path) -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 90, 110)
    masks = {name: class_raster(tmp_path / f"{name}.tif", grid, row) for name, row in (("a", 0), ("b", 500))}
    vectorize([tmp_path], tmp_path / "both.gpkg", Events())
    frame = read(tmp_path / "both.gpkg")
    for name, mask in masks.items():
        own = frame[frame["source"] == name]
        shapes = zip(own.geometry, own["class_id"], strict=True)
        assert (rasterize(shapes, mask.shape, fill=255, transform=grid.transform) == mask).all()


def test_a_geopackage_whose_log_was_left_behind_is_overwritten_whole(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    out = tmp_path / "out.gpkg"
    vectorize([tmp_path / "a.tif"], out, Events())
    whole = out.read_bytes()
    for ending in ("-wal", "-shm", "-journal"):
        out.with_name(out.name + ending).write_bytes(b"of the file that was here before")
    vectorize([tmp_path / "a.tif"], out, Events(), overwrite=True)
    assert out.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.glob("out.gpkg*")) == ["out.gpkg"]


def test_a_shapefile_s_old_spatial_index_goes_with_it(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    out = tmp_path / "out.shp"
    vectorize([tmp_path / "a.tif"], out, Events())
    for ending in (".qix", ".sbn"):
        out.with_suffix(ending).write_bytes(b"index of other polygons")
    vectorize([tmp_path / "a.tif"], out, Events(), overwrite=True)
    assert not [path for path in tmp_path.glob("out.*") if path.suffix in (".qix", ".sbn")]
    assert len(read(out)) == len(gpd.read_file(out, rows=10_000))


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    class_raster(tmp_path / "a.tif")
    left = tmp_path / ".out.abc.geosynth"
    left.mkdir()
    (left / "000.arrow").write_bytes(b"half")
    vectorize([tmp_path / "a.tif"], tmp_path / "out.gpkg", Events())
    assert not left.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_pole_is_no_polygon_in_degrees(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(3995), Affine(100_000, 0, -2_000_000, 0, -100_000, 2_000_000), 40, 40)
    class_raster(tmp_path / "pole.tif", grid)
    with pytest.raises(LabelError, match=r"pole.tif: holds a pole, .* write a .gpkg"):
        vectorize([tmp_path / "pole.tif"], tmp_path / "a.geojson", Events())
    assert vectorize([tmp_path / "pole.tif"], tmp_path / "a.gpkg", Events()) > 0


def test_names_of_many_rasters_fit_into_a_shapefile(tmp_path: Path) -> None:
    names = [f"scene_of_a_long_name_number_{number:04}" for number in range(12)]
    for number, name in enumerate(names):
        grid = Grid(MERCATOR.crs, MERCATOR.transform @ Affine.translation(0, 20 * number), 20, 30)
        with ClassRasterWriter(tmp_path / f"{name}.tif", tmp_path / "tmp", grid, WORLD, {}) as writer:
            writer.write(0, 0, np.ones((20, 30), np.uint8))
    vectorize([tmp_path / f"{name}.tif" for name in names], tmp_path / "a.shp", Events())
    vectorize([tmp_path / f"{name}.tif" for name in names], tmp_path / "a.gpkg", Events())
    (short,), (long,) = read(tmp_path / "a.shp")["source"], read(tmp_path / "a.gpkg")["source"]
    assert long == ", ".join(names)
    assert short.endswith(", …")
    assert short[:-3] == ", ".join(names[: short.count(", ")])
