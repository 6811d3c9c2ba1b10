"""The whole flow as an analyst runs it: every command a process of its own, on a small made-up scene."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import required
from geosynth_cli.main import cli

from geosynth.grid import Grid
from geosynth.legend import load_legend
from geosynth.rasters import grid_of
from geosynth.tileset import Tileset
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

HEIGHT, WIDTH, SIDE = 192, 256, 32
HOLE = (slice(20, 75), slice(100, 141))
"""Rows and columns without data in the scene that is predicted."""
LEGEND = load_legend("world")
BASE = Path(__file__).parents[2] / "geosynth" / "base" / "geosynth.json"


@dataclass(frozen=True)
class Flow:
    """A finished flow: its folder, and what each command was given and said, by name, in order."""

    root: Path
    commands: dict[str, list[str]]
    outputs: dict[str, str]


def geosynth(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from geosynth_cli.main import run; run()", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """Tiles, two generators, synthetic tiles, segmenter, class raster, polygons and report; do not change it."""
    root = tmp_path_factory.mktemp("flow")
    scene = write_scene(Landscape(0), root / "scenes", "place", 0, 0, HEIGHT, WIDTH)
    with rasterio.open(scene) as dataset:
        profile, image = dataset.profile | {"nodata": 0}, dataset.read()
    image[:, *HOLE] = 0
    with rasterio.open(root / "scenes" / "holed.tif", "w", **profile) as dataset:
        dataset.write(image)
    short = "--steps 4 --batch 2 --threads 1"
    lines = {
        "tile": f"scenes/place.tif --labels scenes/place_mask.tif --legend world --size {SIDE} --block 2 --out tiles",
        "train": f"tiles --precision 32 {short} --out generator",
        "train from base": f"tiles --from base --precision 32 {short} --out fine_tuned",
        "generate": "generator --ratio 1 --of tiles --steps 2 --workers 1 --out synthetic",
        "segment": f"tiles --synthetic synthetic --ratio 1 --encoder mobilenet_v2 {short} --out segmenter",
        "predict": "segmenter scenes/holed.tif --confidence --window 64 --overlap 16 --out classes",
        "vectorize": "classes/holed.tif --out polygons.gpkg",
        "evaluate": f"tiles --arm made=synthetic --arms mixed,synthetic --encoder mobilenet_v2 --seeds 1 {short}"
        " --out report",
    }
    required("the generator that ships with geosynth (geosynth/base)", BASE.is_file())
    commands, outputs = {}, {}
    for name, line in lines.items():
        commands[name] = [name.split()[0], *line.split()]
        done = geosynth(commands[name], root)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert "Traceback" not in done.stderr and "Warning:" not in done.stderr, done.stderr
        outputs[name] = done.stdout
    return Flow(root, commands, outputs)


def snapshot(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def results(folder: Path) -> dict[str, str]:
    """What a command made, without its notes about the run."""
    return {name: digest for name, digest in snapshot(folder).items() if not name.startswith(".geosynth/")}


def read_raster(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """Values (C, H, W), place, and dataset-level facts of a raster."""
    with rasterio.open(path) as dataset:
        facts = {
            "nodata": dataset.nodata,
            "layout": dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT"),
            "colours": dataset.colormap(1) if dataset.colorinterp[0].name == "palette" else {},
            "overviews": dataset.overviews(1),
        }
        return dataset.read(), grid_of(dataset), facts


def test_tiles_are_the_scene_and_its_mask(flow: Flow) -> None:
    tileset = Tileset(flow.root / "tiles")
    image, grid, _ = read_raster(flow.root / "scenes" / "place.tif")
    classes, _, _ = read_raster(flow.root / "scenes" / "place_mask.tif")
    assert len(tileset.tiles) == HEIGHT * WIDTH // SIDE**2
    assert (
        tileset.spec.legend == LEGEND
        and tileset.spec.crs == grid.crs
        and tileset.spec.gsd_m == pytest.approx(1, rel=2e-3)
    )
    covered = np.zeros((HEIGHT, WIDTH), int)
    for tile in tileset.tiles:
        place = tileset.grid(tile)
        col, row = (round(value) for value in ~grid.transform @ (place.transform.c, place.transform.f))
        window = np.s_[row : row + SIDE, col : col + SIDE]
        covered[window] += 1
        pixels, valid, mask = tileset.read(tile)
        assert (pixels == image[:, *window]).all() and (mask == classes[0][window]).all() and valid.all()
    assert (covered == 1).all()
    splits = {split: len(tileset.select(split)) for split in ("train", "val", "test")}
    assert all(splits.values())
    assert f"{len(tileset.tiles)} tiles in tiles" in flow.outputs["tile"]
    assert ", ".join(f"{split} {number}" for split, number in splits.items()) in flow.outputs["tile"]


def test_synthetic_tiles_are_tiles_and_say_what_they_are(flow: Flow) -> None:
    real, made = Tileset(flow.root / "tiles"), Tileset(flow.root / "synthetic")
    assert len(made.tiles) == len(real.select("train", labelled=True))
    assert f"{len(made.tiles)} pairs in synthetic" in flow.outputs["generate"]
    assert (made.spec.legend, made.spec.bands, made.spec.crs) == (real.spec.legend, real.spec.bands, real.spec.crs)
    assert {(tile.image_origin, tile.mask_origin, tile.placement, tile.split) for tile in made.tiles} == {
        ("generated", "generated", "fictitious", "train")
    }
    for tile in made.tiles:
        with rasterio.open(made.path / tile.image) as dataset:
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "both"
        assert set(np.unique(made.read(tile)[2])) <= set(LEGEND.ids)


def test_a_warm_start_is_another_generator(flow: Flow) -> None:
    cold, warm = (json.loads((flow.root / name / "geosynth.json").read_text()) for name in ("generator", "fine_tuned"))
    assert cold["hash"] != warm["hash"]
    assert cold["training"]["started_from"] == "random weights"
    assert warm["training"]["started_from"] == json.loads(BASE.read_text())["hash"]
    assert warm["spec"] == cold["spec"]


def test_the_class_raster_has_the_scenes_pixels(flow: Flow) -> None:
    scene, grid, _ = read_raster(flow.root / "scenes" / "holed.tif")
    values, place, facts = read_raster(flow.root / "classes" / "holed.tif")
    assert place == grid
    assert facts["nodata"] == 255 and facts["layout"] == "COG"
    assert {id_: facts["colours"][id_][:3] for id_ in LEGEND.ids} == {entry.id: entry.rgb for entry in LEGEND.classes}
    unknown = values[0] == 255
    assert (unknown == (scene == 0).all(axis=0)).all() and unknown[HOLE].all() and not unknown.all()
    assert set(np.unique(values[0][~unknown])) <= set(LEGEND.ids)
    sure, _, facts = read_raster(flow.root / "classes" / "confidence" / "holed.tif")
    assert ((sure[0] == 255) == unknown).all() and sure[0][~unknown].max() <= 100
    assert flow.outputs["predict"].split() == ["classes/holed.tif".replace("/", os.sep)]


def test_polygons_cover_the_known_pixels(flow: Flow) -> None:
    values, grid, _ = read_raster(flow.root / "classes" / "holed.tif")
    polygons = geopandas.read_file(flow.root / "polygons.gpkg")
    assert polygons.crs == grid.crs and polygons.is_valid.all()
    assert f"{len(polygons)} polygons in polygons.gpkg" in flow.outputs["vectorize"]
    # A pixel is a square metre of the projection; the ellipsoid's differs by the projection's scale.
    pixels = {int(id_): int((values == id_).sum()) for id_ in np.unique(values) if id_ != 255}
    assert polygons.area.groupby(polygons["class_id"]).sum().to_dict() == pytest.approx(pixels)
    assert polygons["area_m2"].sum() == pytest.approx(sum(pixels.values()), rel=2e-3)
    assert polygons.union_all().area == pytest.approx(sum(pixels.values()))
    names = dict(zip(LEGEND.ids, LEGEND.names, strict=True))
    assert (polygons["class_name"] == polygons["class_id"].map(names)).all()
    assert set(polygons["source"]) == {"holed"}


def test_the_report_compares_the_arms(flow: Flow) -> None:
    report = flow.root / "report"
    rows = list(csv.DictReader((report / "runs.csv").open(encoding="utf-8")))
    assert [row["arm"] for row in rows] == ["real", "real + made, R=1", "made"]
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "real + made" in page and all(name in page for name in LEGEND.names)
    assert "http" not in page.replace("http://www.w3.org", "")  # it opens without a network
    assert "report.html" in flow.outputs["evaluate"]


def test_nothing_says_where_it_was_made(flow: Flow) -> None:
    for path in sorted(flow.root.rglob("*")):
        if path.is_file() and ".geosynth/log" not in path.as_posix():
            assert str(flow.root).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("tiles", "tileset"),
        ("synthetic", "tileset"),
        ("generator", "generator"),
        ("fine_tuned", "generator"),
        ("segmenter", "segmenter"),
        ("classes", "class rasters"),
        ("classes/holed.tif", "raster"),
        ("report", "report"),
        ("scenes/place.tif", "raster"),
    ],
)
def test_inspect_knows_each_of_them(flow: Flow, path: str, kind: str) -> None:
    found = CliRunner().invoke(cli, ["inspect", str(flow.root / path), "--json"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["kind"] == kind
    for_people = CliRunner().invoke(cli, ["inspect", str(flow.root / path)])
    assert for_people.exit_code == 0 and kind in for_people.stdout


@pytest.mark.parametrize("rerun", [(), ("--resume",)])
@pytest.mark.parametrize("name", ["tile", "train", "train from base", "generate", "segment", "predict", "evaluate"])
def test_again_there_is_nothing_to_do(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, name: str, rerun: tuple[str, ...]
) -> None:
    monkeypatch.chdir(flow.root)
    before = snapshot(flow.root)
    again = CliRunner().invoke(cli, [*flow.commands[name], *rerun])
    assert again.exit_code == 0, again.stderr
    assert "nothing to do" in again.output
    assert snapshot(flow.root) == before


@pytest.mark.parametrize("name", ["tile", "train", "generate", "segment", "predict"])
def test_made_again_from_nothing_it_is_the_same(flow: Flow, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In another process, and a minute later."""
    monkeypatch.chdir(flow.root)
    out = flow.root / flow.commands[name][-1]
    before = results(out)
    again = CliRunner().invoke(cli, [*flow.commands[name], "--overwrite"])
    assert again.exit_code == 0, again.stderr
    assert "nothing to do" not in again.output
    assert results(out) == before


def test_polygons_are_the_same_when_written_again(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(flow.root / "classes", tmp_path / "classes")
    monkeypatch.chdir(tmp_path)
    for suffix in ("gpkg", "parquet", "geojson"):
        arguments = ["vectorize", "classes/holed.tif", "--out", f"polygons.{suffix}"]
        assert CliRunner().invoke(cli, arguments).exit_code == 0
        first = snapshot(tmp_path)
        assert CliRunner().invoke(cli, arguments).exit_code == 1
        assert CliRunner().invoke(cli, [*arguments, "--overwrite"]).exit_code == 0
        assert snapshot(tmp_path) == first
    # In another process, too.
    assert snapshot(tmp_path)["polygons.gpkg"] == snapshot(flow.root)["polygons.gpkg"]


def test_the_demo_says_what_it_is(tmp_path: Path) -> None:
    page = geosynth(["demo", "--help"], tmp_path)
    assert page.returncode == 0, page.stderr
    assert "Example: geosynth demo" in page.stdout and "--scene" in page.stdout
    assert not list(tmp_path.iterdir())
