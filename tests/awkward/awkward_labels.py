"""Tiling the awkward rasters with labels, and what their masks must be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import shapely
from click.testing import CliRunner, Result
from geosynth_cli.main import cli
from numpy.typing import NDArray

from geosynth.tileset import Tileset

UNKNOWN = 255


def tile(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["tile", *map(str, arguments)])


def tiled(out: Path, *arguments: object) -> Tileset:
    result = tile(*arguments, "--out", out)
    assert result.exit_code == 0, result.stderr
    return Tileset(out)


def refused(out: Path, where: Path, *arguments: object) -> str:
    """The one line of a run that must be refused because of the file ``where``, and leave nothing."""
    result = tile(*arguments, "--out", out)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"Error: {where}: "), result.stderr
    assert " — " in lines[0], "no remedy"
    assert not out.exists()
    return lines[0]


def masks(tileset: Tileset) -> list[tuple[Any, NDArray[np.uint8], Any]]:
    """Every tile with its mask (H, W) and the mask file's profile, by plain rasterio."""
    found = []
    for entry in tileset.tiles:
        with rasterio.open(tileset.path / entry.mask) as dataset:
            found.append((entry, dataset.read(1), dataset.profile))
    assert found
    return found


def by_centres(
    profile: Any, polygons: NDArray[Any], crs: str, ids: Sequence[int], outside: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What a mask must be: the class of the last polygon that holds a pixel's centre; and where that is beyond doubt.

    The polygons' corners are brought into the mask's CRS by pyproj.
    """
    own = pyproj.CRS.from_wkt(profile["crs"].to_wkt(version="WKT2_2019"))
    there = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), own, always_xy=True)
    moved = shapely.transform(polygons, lambda points: np.column_stack(there.transform(points[:, 0], points[:, 1])))
    transform, height, width = profile["transform"], profile["height"], profile["width"]
    rows, cols = np.mgrid[:height, :width] + 0.5
    xs, ys = transform.c + cols * transform.a, transform.f + rows * transform.e
    ids_there = np.full((height, width), outside, np.uint8)
    sure = np.ones((height, width), bool)
    window = shapely.box(xs.min(), ys.min(), xs.max(), ys.max())
    for polygon, id_ in zip(moved, ids, strict=True):
        if polygon.intersects(window):
            ids_there[shapely.contains_xy(polygon, xs, ys)] = id_
            sure &= shapely.distance(polygon.boundary, shapely.points(xs, ys)) > 1e-4 * transform.a
    return ids_there, sure


def assert_by_centres(
    tileset: Tileset, polygons: NDArray[Any], crs: str, ids: Sequence[int], outside: int, valid: bool = True
) -> int:
    """All masks are what the rule says where the image has data; returns how many pixels some polygon holds."""
    covered = 0
    for entry, mask, profile in masks(tileset):
        expected, sure = by_centres(profile, polygons, crs, ids, outside)
        if valid:
            assert entry.valid_fraction == 1
        else:
            _, shown, _ = tileset.read(entry)
            assert (mask[~shown] == UNKNOWN).all()
            sure &= shown
        assert sure.mean() > 0.3
        assert (mask[sure] == expected[sure]).all(), entry.id
        covered += int((expected[sure] != outside).sum())
    return covered
