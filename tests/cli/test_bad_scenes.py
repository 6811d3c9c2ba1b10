"""Bad scenes through `tile`: see ``bad_input``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_input import PLACE, SIDE, Refused, cut_off, write_raster
from rasterio import Affine

pytest_plugins = ["bad_input"]


def test_an_empty_folder_as_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused("tile", tmp_path / "empty", "--out", out, where=tmp_path / "empty", why="holds no")


def test_a_folder_without_rasters_as_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "notes.txt").write_text("no raster")
    refused("tile", folder, "--out", out, where=folder, why="holds no")


def test_a_pattern_of_no_file(refused: Refused, tmp_path: Path, out: Path) -> None:
    refused("tile", tmp_path / "*.jp2", "--out", out, where=tmp_path / "*.jp2", why="no file is like this")


def test_a_scene_without_data(refused: Refused, tmp_path: Path, out: Path) -> None:
    path = write_raster(tmp_path / "empty.tif", np.zeros((3, SIDE, SIDE), np.uint8), nodata=0)
    arguments = ("tile", path, "--legend", "world", "--size", "32", "--out", out)
    refused(*arguments, where=None, why="no tile was kept")


def test_a_scene_that_is_not_there(refused: Refused, tmp_path: Path, out: Path) -> None:
    refused("tile", tmp_path / "gone.tif", "--out", out, where=tmp_path / "gone.tif", why="cannot be read")


def test_a_text_file_as_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no raster")
    refused("tile", text, "--out", out, where=text, why="cannot be read as a raster")
    refused("inspect", text, where=text, why="cannot be read as a raster")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_scene_that_was_cut_off(refused: Refused, scene: Path, mask: Path, out: Path, share: float) -> None:
    cut_off(scene, share)
    refused("tile", scene, "--labels", mask, "--out", out, where=scene, why="cannot be read")


def test_a_rotated_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    turned = PLACE * Affine.rotation(20)
    path = write_raster(tmp_path / "turned.tif", np.ones((3, SIDE, SIDE), np.uint8), transform=turned)
    refused("tile", path, "--legend", "world", "--out", out, where=path, why="rotated")


def test_scenes_of_different_bands(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    other = write_raster(tmp_path / "four.tif", np.ones((4, SIDE, SIDE), np.uint8))
    line = refused("tile", scene, other, "--legend", "world", "--out", out, where=other, why="bands")
    assert "4 of uint8" in line and "3 of uint8" in line


def test_a_size_no_scene_holds(refused: Refused, scene: Path, mask: Path, out: Path) -> None:
    arguments = ("tile", scene, "--labels", mask, "--size", "128", "--out", out)
    refused(*arguments, where=scene, why="no scene holds a whole tile of 128 pixels")


def test_an_assigned_scene_that_is_not_there(refused: Refused, scene: Path, mask: Path, out: Path) -> None:
    arguments = ("tile", scene, "--labels", mask, "--size", "32", "--block", "1", "--assign", "elsewhere=test")
    line = refused(*arguments, "--out", out, where=None, why="no scene is called elsewhere")
    assert "place" in line.partition(" — ")[2]
