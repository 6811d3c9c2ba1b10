"""What `vectorize` cannot do: see ``bad_input``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bad_input import SIDE, Refused, cut_off, write_polygons, write_raster

pytest_plugins = ["bad_input"]


def test_vectorizing_what_is_no_class_raster(refused: Refused, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "polygons.gpkg"
    random = np.random.default_rng(0)
    heights = write_raster(tmp_path / "heights.tif", random.random((1, SIDE, SIDE), np.float32))
    refused("vectorize", heights, "--out", out, where=heights, why="")
    refused("vectorize", scene, "--out", out, where=scene, why="a mask is one band")
    roofs = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990)
    refused("vectorize", roofs, "--out", out, where=roofs, why="polygons already")
    refused("vectorize", tmp_path / "gone.tif", "--out", out, where=tmp_path / "gone.tif", why="no such file")


def test_vectorizing_into_what_cannot_be(refused: Refused, mask: Path, tmp_path: Path) -> None:
    dxf = tmp_path / "polygons.dxf"
    refused("vectorize", mask, "--out", dxf, where=dxf, why="no known format")
    there = tmp_path / "there.gpkg"
    there.write_bytes(b"somebody's polygons")
    line = refused("vectorize", mask, "--out", there, where=there, why="is there already")
    assert "--overwrite" in line.partition(" — ")[2]
    refused("vectorize", mask, "--out", there / "under.gpkg", where=there, why="cannot be written")
    refused("vectorize", mask, "--drop", "castle", "--out", tmp_path / "new.gpkg", where=None, why="castle")
    cut_off(mask)
    refused("vectorize", mask, "--out", tmp_path / "new.gpkg", where=mask, why="cannot be read")
