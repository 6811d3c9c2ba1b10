"""geosynth generate as it is typed: what may be left out, what excludes each other, and what is said when it fails."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pytest
import rasterio
from click.testing import CliRunner, Result
from conftest import SIDE
from geosynth_cli.main import cli
from shapely.geometry import box

from geosynth.rasters import read_tags
from geosynth.tileset import Tileset
from geosynth.world import Landscape
from geosynth.world.scene import write_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(Landscape(5), tmp_path / "scenes", "place", 0, 0, SIDE, 2 * SIDE)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    shapes = [box(450_000, 5_299_980, 450_020, 5_300_000), box(450_040, 5_299_980, 450_060, 5_300_000)]
    path = tmp_path / "map.gpkg"
    geopandas.GeoDataFrame({"use": ["water", "road"]}, geometry=shapes, crs="EPSG:32633").to_file(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)])


def test_a_map_is_painted(shared_generator: Path, drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (shared_generator, "--masks-from", drawn, "--class-field", "use", "--outside", "grass")
    how = ("--steps", 1, "--sampler", "dpm", "--workers", 1, "--out", out)
    done = run(*arguments, *how)
    assert done.exit_code == 0, done.output
    assert "2 pairs" in done.stdout
    tileset = Tileset(out)
    tags = read_tags(out / tileset.tiles[0].image)
    assert (tags["GEOSYNTH_SAMPLER"], tags["GEOSYNTH_STEPS"], tags["GEOSYNTH_QUESTION"]) == ("dpm", "1", "image")
    again = run(*arguments, *how)
    assert again.exit_code == 0 and "nothing to do" in again.stdout
    other = run(*arguments, *how, "--ignore", "road")
    assert other.exit_code == 1 and "different masks_from" in other.stderr


def test_a_scene_is_labelled(shared_generator: Path, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = ("--images-from", scene, "--steps", 1, "--workers", 1, "--sieve", 3, "--out", out)
    done = run(shared_generator, *how)
    assert done.exit_code == 0, done.output
    tiles = Tileset(out).tiles
    assert [tile.mask_origin for tile in tiles] == ["predicted", "predicted"]
    assert read_tags(out / tiles[0].mask)["GEOSYNTH_SIEVE"] == "3"


def test_a_whole_scene_has_the_size_that_is_asked_for(shared_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    how = ("--size", "72x40", "--steps", 2, "--workers", 1, "--seed", 3, "--out", out)
    done = run(shared_generator, *how)
    assert done.exit_code == 0, done.output
    for name, bands in (("image.tif", 3), ("mask.tif", 1)):
        with rasterio.open(out / name) as source:
            assert (source.width, source.height, source.count) == (72, 40, bands)
            assert source.crs is not None and source.tags()["GEOSYNTH_SYNTHETIC"] == "both"
    assert "nothing to do" in run(shared_generator, *how).stdout
    for wrong in ("72", "0x40", "ax40", "72x40x3"):
        refused = run(shared_generator, "--size", wrong, "--out", tmp_path / "other")
        assert refused.exit_code == 2 and wrong in refused.stderr, refused.output
    assert not (tmp_path / "other").exists()


def test_a_map_is_painted_whole(shared_generator: Path, scene: Path, tmp_path: Path) -> None:
    mask, out = scene.with_name("place_mask.tif"), tmp_path / "whole"
    done = run(shared_generator, "--masks-from", mask, "--whole", "--steps", 2, "--workers", 1, "--out", out)
    assert done.exit_code == 0, done.output
    with rasterio.open(mask) as given, rasterio.open(out / "image.tif") as painted:
        assert painted.bounds == given.bounds and painted.crs == given.crs
        assert painted.tags()["GEOSYNTH_SYNTHETIC"] == "image"
    with rasterio.open(out / "mask.tif") as written, rasterio.open(mask) as given:
        assert (written.read(1) == given.read(1)).all()


def test_how_many_pairs_must_be_said_once(shared_generator: Path, scene: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    tiles = tmp_path / "tiles"
    for arguments in (
        (),
        ("--ratio", 1),
        ("--of", tiles),
        ("--count", 1, "--ratio", 1, "--of", tiles),
        ("--masks-from", scene, "--images-from", scene),
        ("--count", 1, "--outside", "grass"),
        ("--images-from", scene, "--ignore", "water"),
        ("--masks-from", scene, "--bands", "red"),
    ):
        done = run(shared_generator, *arguments, *out)
        assert done.exit_code == 2, done.output
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    shared_generator: Path, scene: Path, drawn: Path, tmp_path: Path
) -> None:
    mask = scene.with_name("place_mask.tif")
    folder = tmp_path / "empty"
    folder.mkdir()
    for arguments, named, why in (
        (("--masks-from", tmp_path / "gone.gpkg"), "gone.gpkg", "no such file"),
        (("--masks-from", folder), "empty", "holds no file"),
        (("--masks-from", scene), "place.tif", "different colours"),
        (("--masks-from", drawn, "--class-field", "use"), "map.gpkg", "--outside"),
        (("--masks-from", drawn, "--class-field", "kind", "--outside", "unknown"), "map.gpkg", "no attribute 'kind'"),
        (("--masks-from", f"{drawn}|layername=roads"), "map.gpkg", "no layer 'roads'"),
        (("--masks-from", shared_generator), "model", "is a generator, not a tileset"),
        (("--images-from", mask), "place_mask.tif", "palette"),
        (("--images-from", scene, "--bands", "red,green"), "place.tif", "2 of uint8"),
        (("--images-from", tmp_path / "gone.tif"), "gone.tif", "cannot be read"),
        (("--count", 1, "--sampler", "ddim"), "", "no sampler 'ddim'"),
    ):
        done = run(shared_generator, *arguments, "--steps", 1, "--workers", 1, "--out", tmp_path / "out")
        line = done.stderr.splitlines()
        assert done.exit_code == 1 and len(line) == 1, done.output
        assert named in line[0] and why in line[0] and " — " in line[0], line[0]
        assert not (tmp_path / "out").exists()
