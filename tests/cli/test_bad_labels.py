"""Bad labels and legends through `tile`: see ``bad_input``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
from bad_input import SIDE, Refused, cut_off, write_polygons, write_raster
from rasterio import Affine
from shapely.geometry import box

pytest_plugins = ["bad_input"]


def test_polygons_that_do_not_overlap_the_scene(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    far = write_polygons(tmp_path / "far.gpkg", 460_000, 5_300_000, roof=["tin"])
    arguments = ("tile", scene, "--labels", far, "--class-field", "roof", "--outside", "background", "--out", out)
    refused(*arguments, "--size", "32", where=far, why="lies elsewhere")


def test_a_mask_that_does_not_overlap_the_scene(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    place = Affine(1, 0, 460_000, 0, -1, 5_300_000)
    far = write_raster(tmp_path / "place_mask2.tif", np.ones((1, SIDE, SIDE), np.uint8), transform=place)
    refused("tile", scene, "--labels", far, "--size", "32", "--out", out, where=far, why="lies elsewhere")


def test_labels_of_neither_of_two_scenes(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    second = scene.with_name("second.tif")
    shutil.copy(scene, second)
    far = write_polygons(tmp_path / "far.gpkg", 460_000, 5_300_000)
    arguments = ("tile", scene, second, "--labels", far, "--outside", "background", "--size", "32", "--out", out)
    refused(*arguments, where=far, why="belongs to no scene")


def test_metres_declared_as_degrees(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    wrong = write_polygons(tmp_path / "wrong.geojson", 450_010, 5_299_990, crs="EPSG:4326")
    arguments = ("tile", scene, "--labels", wrong, "--outside", "background", "--size", "32", "--out", out)
    line = refused(*arguments, where=wrong, why="")
    assert "coordinate system" in line


def test_polygons_without_a_coordinate_system(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    bare = tmp_path / "bare.gpkg"
    geopandas.GeoDataFrame(geometry=[box(450_000, 5_299_980, 450_020, 5_300_000)]).to_file(bare)
    arguments = ("tile", scene, "--labels", bare, "--outside", "background", "--size", "32", "--out", out)
    refused(*arguments, where=bare, why="no coordinate system")


def test_polygons_without_outside(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    labels = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990, roof=["tin"])
    arguments = ("tile", scene, "--labels", labels, "--class-field", "roof", "--size", "32", "--out", out)
    line = refused(*arguments, where=labels, why="outside the polygons")
    assert "--outside background" in line and "--outside unknown" in line


def test_a_class_field_that_is_not_there(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    labels = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990, roof=["tin"])
    arguments = ("tile", scene, "--labels", labels, "--class-field", "dach", "--outside", "background", "--out", out)
    line = refused(*arguments, "--size", "32", where=labels, why="dach")
    assert "roof" in line.partition(" — ")[2]


def test_an_unknown_class_in_an_attribute(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    labels = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990, roof=["thatch"])
    legend = tmp_path / "legend.json"
    legend.write_text(json.dumps([{"id": 0, "name": "background"}, {"id": 1, "name": "tin"}]))
    arguments = ("tile", scene, "--labels", labels, "--class-field", "roof", "--outside", "background")
    line = refused(*arguments, "--legend", legend, "--size", "32", "--out", out, where=labels, why="'thatch'")
    assert "1 tin" in line


def test_an_unknown_class_in_a_mask(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    values = np.ones((1, SIDE, SIDE), np.uint8)
    values[0, 3, 5] = 77
    labels = write_raster(tmp_path / "place_mask2.tif", values)
    arguments = ("tile", scene, "--labels", labels, "--legend", "world", "--size", "32", "--out", out)
    line = refused(*arguments, where=labels, why="value 77")
    assert "1 building" in line


def test_a_mask_that_was_cut_off(refused: Refused, scene: Path, mask: Path, out: Path) -> None:
    cut_off(mask)
    refused("tile", scene, "--labels", mask, "--size", "32", "--out", out, where=mask, why="cannot be read")


def test_labels_that_are_not_there(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    gone = tmp_path / "gone.gpkg"
    refused("tile", scene, "--labels", gone, "--size", "32", "--out", out, where=gone, why="no such file")


POINT = '{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}'


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("notes.txt", "no labels", "neither polygons nor"),
        ("roofs.gpkg", "no labels", "neither polygons nor"),
        ("roofs.parquet", "no labels", "is no GeoParquet"),
        ("roofs.geojson", '{"type": "FeatureCollection", "features": [', "neither polygons nor"),
        ("roofs.geojson", '{"type": "FeatureCollection", "features": []}', "lies elsewhere"),
        ("roofs.geojson", f'{{"type": "FeatureCollection", "features": [{POINT}]}}', "holds no polygons"),
    ],
)
def test_labels_that_are_none(
    refused: Refused, scene: Path, tmp_path: Path, out: Path, name: str, content: str, why: str
) -> None:
    labels = tmp_path / name
    labels.write_text(content)
    arguments = ("tile", scene, "--labels", labels, "--outside", "background", "--size", "32", "--out", out)
    refused(*arguments, where=labels, why=why)


def test_no_labels_and_no_legend(refused: Refused, scene: Path, out: Path) -> None:
    line = refused("tile", scene, "--size", "32", "--out", out, where=None, why="no labels and no legend")
    assert "--legend" in line.partition(" — ")[2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("classes: tin", "JSON"),
        ("{}", "classes"),
        ('[{"id": "one"}]', "class"),
        ('[{"id": 1, "name": "a"}, 3]', "class"),
    ],
)
def test_a_legend_that_is_none(
    refused: Refused, scene: Path, mask: Path, tmp_path: Path, out: Path, content: str, why: str
) -> None:
    legend = tmp_path / "legend.json"
    legend.write_text(content)
    arguments = ("tile", scene, "--labels", mask, "--legend", legend, "--size", "32", "--out", out)
    refused(*arguments, where=legend, why=why)
