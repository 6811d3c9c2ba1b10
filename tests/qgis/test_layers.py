"""What the command line writes opens in a real QGIS in the right place, with the right names and colours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import required
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.events import Events
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import load_legend
from geosynth.scenes.cog import ClassRasterWriter
from geosynth.vectorize import vectorize

PYTHON = Path("/usr/bin/python3")
READER = Path(__file__).parent / "read_in_qgis.py"
LEGEND = load_legend("world")
EXPECTED = [[entry.id, entry.name, entry.color] for entry in LEGEND.classes]


def has_qgis() -> bool:
    if not PYTHON.exists():
        return False
    return subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


def run_in_qgis(home: Path, *arguments: Path | str) -> str:
    """What a script says that runs in QGIS's own Python."""
    required("QGIS", has_qgis())
    # A clean environment: PROJ and Qt settings of this Python would lead QGIS's astray.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "QT_QPA_PLATFORM": "offscreen",
    }
    home.chmod(0o700)
    result = subprocess.run(
        [PYTHON, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def in_qgis(tmp_path: Path, *arguments: Path | str) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = json.loads(run_in_qgis(tmp_path, READER, *arguments).strip().splitlines()[-1])
    return facts


@pytest.fixture(params=["EPSG:32633", "local"])
def classes(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path, Grid]:
    """A class raster of six vertical stripes and a nodata corner, its polygons, and where they are."""
    crs = engineering_crs() if request.param == "local" else CRS.from_user_input(request.param)
    transform = Affine(1, 0, 0, 0, -1, 0) if request.param == "local" else Affine(2, 0, 450_000, 0, -2, 5_300_000)
    grid = Grid(crs, transform, 60, 120)
    ids = np.repeat(np.arange(1, 7, dtype=np.uint8), 20)[None].repeat(60, 0)
    ids[:10, :10] = 255
    raster, polygons = tmp_path / "classes.tif", tmp_path / "classes.gpkg"
    with ClassRasterWriter(raster, tmp_path, grid, LEGEND, {}) as writer:
        writer.write(0, 0, ids)
    vectorize([raster], polygons, Events())
    return raster, polygons, grid


def test_class_rasters_and_polygons_open_named_coloured_and_in_place(
    classes: tuple[Path, Path, Grid], tmp_path: Path
) -> None:
    raster_path, polygon_path, grid = classes
    picture = tmp_path / "picture.png"
    raster, polygons = in_qgis(tmp_path, raster_path, polygon_path, "--picture", str(picture))
    assert raster["valid"] and polygons["valid"]
    assert raster["renderer"] == "QgsPalettedRasterRenderer"
    assert raster["classes"] == EXPECTED
    assert polygons["renderer"] == "categorizedSymbol"
    assert [[name, color] for name, _, color in polygons["classes"]] == [[name, color] for _, name, color in EXPECTED]
    assert polygons["features"] == 6
    assert raster["extent"] == pytest.approx(grid.bounds)
    assert polygons["extent"] == pytest.approx(grid.bounds)
    if grid.crs.to_epsg():
        assert raster["crs"] == polygons["crs"] == "EPSG:32633"
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    middle = pixels[pixels.shape[0] // 2]
    shown = {tuple(color) for color in middle.tolist()}
    for entry in LEGEND.classes:
        assert entry.rgb in shown, f"{entry.name} is not drawn"


def test_a_tileset_opens_in_qgis(shared_world_tileset: Path, tmp_path: Path) -> None:
    names = ("images.vrt", "masks.vrt", "index.gpkg")
    images, masks, index = in_qgis(tmp_path, *(shared_world_tileset / name for name in names))
    assert images["valid"] and masks["valid"] and index["valid"]
    assert masks["classes"] == EXPECTED
    assert index["features"] == 24
    assert images["extent"] == pytest.approx(masks["extent"])
    assert images["extent"] == pytest.approx(index["extent"])
    assert images["crs"] == index["crs"] == "EPSG:32633"
