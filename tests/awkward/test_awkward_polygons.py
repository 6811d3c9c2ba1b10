"""Polygons over the awkward and the multispectral rasters: masks say what the polygons at that place say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from awkward_labels import UNKNOWN, assert_by_centres, masks, refused, tiled
from numpy.typing import NDArray
from plain_gdal import all_pixels, facts, features, gdal

# Buildings of SpaceNet: one band of uint16, GeoJSON in the raster's UTM zone, cut off at its edge.


@pytest.fixture(scope="module")
def pan(real_data: Path) -> tuple[Path, Path]:
    folder = real_data / "awkward/solaris"
    return folder / "sample_geotiff_uint16_pan.tif", folder / "sample_geotiff_uint16_pan_buildings.geojson"


@pytest.mark.parametrize("field", [None, "building"])
def test_buildings(pan: tuple[Path, Path], tmp_path: Path, field: str | None) -> None:
    scene, labels = pan
    named = [] if field is None else ["--class-field", field]
    tileset = tiled(tmp_path, scene, "--labels", labels, *named, "--outside", "background", "--size", 225)
    assert tileset.spec.legend.names == ("background", "object" if field is None else "yes")
    polygons, _ = features(labels)
    assert len(polygons) == 43
    covered = assert_by_centres(tileset, polygons, "EPSG:32616", [1] * 43, 0)
    # Pixels of 0.25 square metres; some buildings lie on others.
    assert covered * 0.25 == pytest.approx(shapely.area(shapely.union_all(polygons)), rel=0.01)


def test_a_field_that_is_not_there_is_named(pan: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = pan
    options = ("--class-field", "roof", "--outside", "background")
    line = refused(tmp_path / "out", labels, scene, "--labels", labels, *options)
    assert "has no attribute 'roof'" in line and "building" in line.partition(" — ")[2]


# An area of interest over a drone's picture with an alpha band: one polygon without attributes.


def test_an_area_of_interest(real_data: Path, tmp_path: Path) -> None:
    scene, area = (real_data / f"awkward/deepness/dummy_fotomap_{name}" for name in ("small.tif", "area.gpkg"))
    tileset = tiled(tmp_path, scene, "--labels", area, "--outside", "unknown", "--size", 128, "--min-valid", 0.1)
    assert tileset.spec.legend.names == ("object",)
    polygons, _ = features(area)
    covered = assert_by_centres(tileset, polygons, "EPSG:32633", [tileset.spec.legend.ids[0]], UNKNOWN, valid=False)
    assert covered > 100_000


# Labels in the wrong coordinate system: said to be degrees, and metres of the raster's own CRS.


@pytest.fixture(scope="module")
def custom(real_data: Path) -> tuple[Path, Path]:
    folder = real_data / "awkward/solaris"
    return folder / "sample_geotiff_custom_proj.tif", folder / "sample_geotiff_custom_proj_labels.geojson"


@pytest.mark.parametrize("outside", ["background", "unknown"])
def test_labels_in_the_wrong_crs_are_refused(custom: tuple[Path, Path], tmp_path: Path, outside: str) -> None:
    scene, labels = custom
    line = refused(tmp_path / "out", labels, scene, "--labels", labels, "--outside", outside)
    assert "x -663347.3 to -657354.8, y 2118636 to 2129938" in line
    assert "coordinate system" in line and "ogr2ogr -a_srs" in line


def test_labels_in_the_wrong_crs_are_set_against_the_scene_s_place(custom: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = custom
    line = refused(tmp_path / "out", labels, scene, "--labels", labels, "--outside", "background")
    assert "x -673425 to -658065, y 2114805 to 2130165" in line, "whoever sees both extents sees what is wrong"


def test_labels_given_their_right_crs_are_where_they_belong(custom: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = custom
    wkt = facts(scene)["coordinateSystem"]["wkt"]
    gdal("ogr2ogr", "-a_srs", wkt, tmp_path / "right.gpkg", labels)
    options = ("--outside", "background", "--size", 64)
    tileset = tiled(tmp_path / "out", scene, "--labels", tmp_path / "right.gpkg", *options)
    polygons, _ = features(labels)
    assert assert_by_centres(tileset, polygons, wkt, [1] * len(polygons), 0) > 1000


# Open Geo Tutorial: sparse polygons in metres on pixels in degrees that are longer than high.


@pytest.fixture(scope="module")
def carolina(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The part of the scene in which the polygons are."""
    source, labels = (
        real_data / f"multispectral/rcr_sentinel2/{name}" for name in ("rcr_s2_8band.tif", "rcr_training.gpkg")
    )
    polygons, _ = features(labels)
    to_degrees = pyproj.Transformer.from_crs(32618, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*shapely.total_bounds(polygons))
    left, x, _, top, _, y = facts(source)["geoTransform"]
    col, row = int((west - left) / x) - 20, int((north - top) / y) - 20
    window = col, row, int((east - west) / x) + 40, int((south - north) / y) + 40
    scene = tmp_path_factory.mktemp("carolina") / "rcr.tif"
    gdal("gdal_translate", "-q", "-srcwin", *window, source, scene)
    return scene, labels


@pytest.mark.parametrize("gsd", [None, 12])
def test_polygons_in_metres_on_pixels_in_degrees(carolina: tuple[Path, Path], tmp_path: Path, gsd: int | None) -> None:
    scene, labels = carolina
    there = [] if gsd is None else ["--gsd", gsd]
    tileset = tiled(tmp_path, scene, "--labels", labels, "--outside", "unknown", "--size", 64, *there)
    assert tileset.spec.crs.to_epsg() == (4326 if gsd is None else 32618)
    legend = tileset.spec.legend
    polygons, attributes = features(labels)
    assert len(polygons) == 65 and len(legend) == 7
    ids = [legend.ids[legend.names.index(one["Classname"])] for one in attributes]
    covered = assert_by_centres(tileset, polygons, "EPSG:32618", ids, UNKNOWN, valid=gsd is None)
    squares = shapely.area(shapely.union_all(polygons)) / tileset.spec.gsd_m**2
    assert covered == pytest.approx(squares, rel=0.05)


# Landsat 7 of Guatemala: the same sparse training areas as polygons and as a raster whose 0 is nodata.


@pytest.fixture(scope="module")
def guatemala(real_data: Path) -> Path:
    return real_data / "multispectral/landsat7_guatemala"


def test_training_areas_as_polygons(guatemala: Path, tmp_path: Path) -> None:
    labels = guatemala / "training_polygons.geojson"
    scene = guatemala / "LE70220491999322EDC01_stack.tif"
    options = ("--outside", "unknown", "--size", 64, "--min-valid", 0.1)
    tileset = tiled(tmp_path / "class", scene, "--labels", labels, *options)
    legend = tileset.spec.legend
    assert legend.names == ("barren", "forest", "herbaceous", "urban", "water")
    polygons, attributes = features(labels)
    ids = [legend.ids[legend.names.index(one["class"])] for one in attributes]
    assert assert_by_centres(tileset, polygons, "EPSG:32615", ids, UNKNOWN, valid=False) > 600
    # Numbers of an attribute stay the classes' numbers.
    numbered = tiled(tmp_path / "id", scene, "--labels", labels, "--class-field", "id", *options)
    assert numbered.spec.legend.ids == (1, 2, 3, 4, 5)
    drawn = np.pad(all_pixels(guatemala / "training_raster.tif", "uint8")[0], ((0, 6), (0, 6)))
    same = known = 0
    for entry, mask, _ in masks(numbered):
        there = drawn[entry.row : entry.row + 64, entry.col : entry.col + 64]
        both = (mask != UNKNOWN) & (there != 0)
        same, known = same + int((mask == there)[both].sum()), known + int(both.sum())
    assert known > 600 and same == known, "the polygons and the raster say the same"


def test_training_areas_as_a_raster(guatemala: Path, tmp_path: Path) -> None:
    labels = guatemala / "training_raster.tif"
    scene = guatemala / "LE70220491999322EDC01_stack.tif"
    tileset = tiled(tmp_path, scene, "--labels", labels, "--size", 64, "--min-valid", 0.1)
    assert tileset.spec.legend.ids == (1, 2, 3, 4, 5)
    drawn = np.pad(all_pixels(labels, "uint8")[0], ((0, 6), (0, 6)))
    drawn[drawn == 0] = UNKNOWN
    assert len(tileset.tiles) == 16
    for entry, mask, _ in masks(tileset):
        assert (mask == drawn[entry.row : entry.row + 64, entry.col : entry.col + 64]).all()


# Where degrees jump, and where there are none.


def test_polygons_on_both_sides_of_the_antimeridian(real_data: Path, tmp_path: Path) -> None:
    scene, labels = real_data / "awkward/rio-tiler/cog_dateline.tif", tmp_path / "sides.geojson"
    boxes = {"west": shapely.box(179.4, 51.2, 179.9, 51.8), "east": shapely.box(-179.9, 51.2, -179.4, 51.8)}
    found = [
        {"type": "Feature", "properties": {"class": name}, "geometry": json.loads(shapely.to_geojson(box))}
        for name, box in boxes.items()
    ]
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    options = ("--outside", "background", "--size", 64, "--gsd", 1000)
    tileset = tiled(tmp_path / "out", scene, "--labels", labels, *options)
    assert tileset.spec.legend.names == ("background", "east", "west")
    polygons = np.array(list(boxes.values()))
    assert assert_by_centres(tileset, polygons, "EPSG:4326", [2, 1], 0, valid=False) > 3000
    to_degrees = pyproj.Transformer.from_crs(32660, 4326, always_xy=True)
    sides: dict[int, list[NDArray[Any]]] = {1: [], 2: []}
    for _, mask, profile in masks(tileset):
        for id_, longitudes in sides.items():
            rows, cols = np.nonzero(mask == id_)
            longitudes.append(to_degrees.transform(*(profile["transform"] @ (cols + 0.5, rows + 0.5)))[0])
    assert np.concatenate(sides[1]).max() < -179.3 and np.concatenate(sides[2]).min() > 179.3


def test_labels_of_the_earth_are_not_on_another_moon(pan: tuple[Path, Path], real_data: Path, tmp_path: Path) -> None:
    scene = real_data / "awkward/rio-tiler/cog_nonearth.tif"
    line = refused(tmp_path / "out", pan[1], scene, "--labels", pan[1], "--outside", "background")
    assert "unexpected" not in line
