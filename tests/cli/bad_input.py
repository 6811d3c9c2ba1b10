"""Bad input through a command: one line that names the file, the reason and a remedy, and nothing half-written.

A plugin of the tests that use it: what they must find refused, and the good input they spoil.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from geosynth_cli.main import cli
from rasterio import Affine
from rasterio.crs import CRS
from shapely.geometry import box

from geosynth.events import Events
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

SIDE = 64
PLACE = Affine(1, 0, 450_000, 0, -1, 5_300_000)
"""Where the made-up scene lies (UTM 33N)."""
Refused = Callable[..., str]


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder with a hash of what is in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must fail: exit code 1, one line on standard error, and not a byte changed on the disk.

    ``where`` is the file or folder the line names (none for a wrong number), ``why`` a part of the reason.
    """

    def run(*arguments: str | Path, where: Path | None, why: str) -> str:
        before = snapshot(tmp_path)
        capfd.readouterr()
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        lines = result.stderr.splitlines()
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("Error: ")
        assert "unexpected" not in lines[0]
        assert where is None or str(where) in lines[0]
        reason, dash, remedy = lines[0].partition(" — ")
        assert dash and remedy, f"no remedy: {lines[0]}"
        assert why in reason, lines[0]
        # GDAL and libtiff write past Python when nobody stops them.
        assert capfd.readouterr() == ("", "")
        assert snapshot(tmp_path) == before
        return lines[0]

    return run


def write_raster(path: Path, values: np.ndarray, transform: Affine = PLACE, **options: Any) -> Path:
    """Values (C, H, W) as a GeoTIFF at the scene's place."""
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
    # Without "photometric" GDAL takes a fourth band for alpha.
    profile = {"driver": "GTiff", "dtype": values.dtype, "crs": CRS.from_epsg(32633), "photometric": "minisblack"}
    with rasterio.open(path, "w", **profile, **shape, transform=transform, **options) as dataset:
        dataset.write(values)
    return path


def write_polygons(path: Path, left: float, top: float, crs: str = "EPSG:32633", **columns: Any) -> Path:
    """One square of 20 units with attributes."""
    frame = geopandas.GeoDataFrame(columns or {"n": [1]}, geometry=[box(left, top - 20, left + 20, top)], crs=crs)
    frame.to_file(path)
    return path


def cut_off(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def flip_byte(path: Path, position: int = -1000) -> Path:
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.fixture(scope="session")
def shared_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(Landscape(0), tmp_path_factory.mktemp("scene"), "place", 0, 0, SIDE, SIDE)


@pytest.fixture
def scene(shared_scene: Path, tmp_path: Path) -> Path:
    """A scene of 64 x 64 pixels, ``place.tif``, its mask ``place_mask.tif`` beside it."""
    for name in ("place.tif", "place_mask.tif"):
        shutil.copy(shared_scene.with_name(name), tmp_path / name)
    return tmp_path / "place.tif"


@pytest.fixture
def mask(scene: Path) -> Path:
    return scene.with_name("place_mask.tif")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="session")
def shared_segmenter(shared_world_tileset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter trained for two steps; do not change it."""
    from geosynth.segmentation.training import SegmenterPlan, train_segmenter

    folder = tmp_path_factory.mktemp("segmenter") / "segmenter"
    plan = SegmenterPlan(encoder="mobilenet_v2", steps=2, batch=2)
    train_segmenter(shared_world_tileset, [], plan, folder, Events(), threads=1, device="cpu")
    return folder


@pytest.fixture
def segmenter(shared_segmenter: Path, tmp_path: Path) -> Path:
    """A copy of the segmenter that a test may damage."""
    shutil.copytree(shared_segmenter, tmp_path / "segmenter")
    return tmp_path / "segmenter"


def tile_arguments(scene: Path) -> tuple[str | Path, ...]:
    return ("tile", scene, "--labels", scene.with_name("place_mask.tif"), "--size", "32", "--block", "1")
