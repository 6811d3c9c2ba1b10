"""The script that trains a base on real imagery, on folders like the real ones: it runs, and keeps its plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio import Affine
from shapely.geometry import box

from geosynth.diffusion.generator import load_generator
from geosynth.legend import load_legend
from geosynth.world import Landscape

ROOT = Path(__file__).parents[1]
SIDE = 520


def write(path: Path, bands: np.ndarray, **place: object) -> None:
    height, width = bands.shape[-2:]
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=len(bands), dtype="uint8", **place
    ) as target:
        target.write(bands)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two scenes of land cover without CRS, one with buildings as polygons, one without labels."""
    cover, buildings = tmp_path / "data" / "landcover_dubai", tmp_path / "data" / "buildings_oam"
    for folder in (cover, buildings):
        folder.mkdir(parents=True)
    for number, name in enumerate(("tile4", "tile6")):
        image, mask = Landscape(number).render(0, 0, SIDE, SIDE)
        write(cover / f"{name}.tif", image)
        write(cover / f"{name}_mask.tif", np.minimum(mask, len(load_legend("dubai")))[None])
    place = {"crs": "EPSG:32645", "transform": Affine(0.3, 0, 350_000, 0, -0.3, 3_050_000)}
    for number, name in enumerate(("banepa_a", "other_a")):
        write(buildings / f"{name}.tif", Landscape(5 + number).render(0, 0, SIDE, 2 * SIDE)[0], **place)
    roofs = [box(350_000 + x, 3_049_900, 350_010 + x, 3_049_910) for x in range(0, 300, 20)]
    geopandas.GeoDataFrame({"building": ["yes"] * len(roofs)}, geometry=roofs, crs="EPSG:32645").to_file(
        buildings / "banepa_a_buildings.gpkg"
    )
    return tmp_path / "data"


def run(data: Path, out: Path, *how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "train_base.py"), "--minutes", "0.01", "--data", str(data)]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "benchmarks"))), "OMP_NUM_THREADS": "1"}
    command += ["--out", str(out), "--device", "cpu", *how]
    return subprocess.run(command, check=False, env=here, capture_output=True, text=True, timeout=300)


def test_a_base_is_trained_on_scenes_of_every_kind_and_the_plan_is_kept(data: Path, tmp_path: Path) -> None:
    out, small = tmp_path / "base", ("--size", "16", "--batch", "2")
    done = run(data, out, *small)
    assert done.returncode == 0, done.stderr
    assert "100 steps" in done.stdout
    base = load_generator(out)
    assert (base.training["steps"], base.spec.tile_size) == (100, 16)
    assert base.spec.legend.names == load_legend("dubai").names
    assert base.training["val_loss_image"] < 1.0
    # What is held out was not seen: the lineage holds the ground of three of the four scenes.
    scenes = {seen.scene: seen.labelled for seen in base.lineage.seen}
    assert scenes == {"tile4": True, "banepa_a": True, "other_a": False}
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 12e6
    plan = json.loads((tmp_path / "base.work" / "plan.json").read_text())
    other = run(data, tmp_path / "base", "--batch", "4")
    assert other.returncode != 0 and f"was begun with --batch {plan['plan']['batch']}, not 4" in other.stderr
    again = run(data, tmp_path / "again", "--work", str(tmp_path / "base.work"))
    assert again.returncode == 0, again.stderr
    assert "a step of" not in again.stdout  # nothing is timed or trained again
    assert load_generator(tmp_path / "again").hash == base.hash
