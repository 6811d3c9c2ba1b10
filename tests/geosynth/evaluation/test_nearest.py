"""Copies are found, and shown beside what they were copied from; the measured tileset stays the same one."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from evaluation_tiles import make_tiles
from folder_bytes import folder_bytes
from geosynth_cli.main import cli
from PIL import Image

from geosynth.errors import TilesetError
from geosynth.evaluation.nearest import find_nearest
from geosynth.events import Events
from geosynth.folders import claim
from geosynth.lineage import Lineage
from geosynth.normalisation import Normalisation
from geosynth.segmentation.networks import build_network
from geosynth.segmentation.segmenter import SegmenterSpec, save_segmenter
from geosynth.tileset import Tileset


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Tileset:
    return make_tiles(tmp_path_factory.mktemp("nearest") / "real", {"train": 12, "val": 6})


@pytest.fixture
def copies(real: Tileset, tmp_path: Path) -> Tileset:
    return make_tiles(tmp_path / "copies", {"train": 8}, synthetic=True, copies=real)


@pytest.fixture(scope="module")
def segmenter(real: Tileset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: its features still tell images apart."""
    spec, name = real.spec, "tu-mobilenetv3_small_050"
    network = build_network("fpn", name, len(spec.bands), len(spec.legend))
    described = SegmenterSpec(
        "fpn", name, spec.bands, spec.legend, spec.crs_name, spec.pixel_size, spec.gsd_m, spec.tile_size,
        Normalisation.of(real.statistics),
    )  # fmt: skip
    with claim(tmp_path_factory.mktemp("segmenter") / "model", {"command": "segment"}) as out:
        save_segmenter(out, described, network.state_dict(), {}, None, Lineage())
        out.finish()
    return out.path


def table(path: Path) -> dict[str, dict[str, str]]:
    with (path / "nearest.csv").open() as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("by_features", [False, True])
def test_turned_copies_are_found(real: Tileset, copies: Tileset, segmenter: Path, by_features: bool) -> None:
    summary = find_nearest(
        copies.path, real.path, Events(), by=segmenter if by_features else None, shown=3, device="cpu"
    )
    assert summary.suspect == summary.tiles == 8
    assert summary.held_out_median is not None and summary.median < 0.05 * summary.held_out_median
    sources = {tile.class_fractions: tile.id for tile in real.select("train")}
    rows = table(copies.path)
    for tile in copies.tiles:
        assert rows[tile.id]["nearest_id"] == sources[tile.class_fractions]
        assert rows[tile.id]["suspect"] == "1"
    assert [made for made, _, _ in summary.most] == sorted(rows, key=lambda id_: (float(rows[id_]["distance"]), id_))[
        :3
    ]


def test_what_is_no_copy_is_not_suspect(real: Tileset, tmp_path: Path) -> None:
    other = make_tiles(tmp_path / "other", {"train": 8}, synthetic=True, far=9000)
    summary = find_nearest(other.path, real.path, Events())
    assert summary.suspect is not None and summary.suspect <= 1
    assert summary.held_out_median is not None and summary.median > 0.5 * summary.held_out_median


def test_measuring_leaves_the_tileset_the_same_one(real: Tileset, copies: Tileset, tmp_path: Path) -> None:
    identity, before = copies.identity(), folder_bytes(copies.path)
    find_nearest(copies.path, real.path, Events(), shown=2)
    assert Tileset(copies.path).identity() == identity
    after = folder_bytes(copies.path)
    assert after.keys() - before.keys() == {"nearest.csv", "nearest.json", "nearest.png"}
    assert find_nearest(copies.path, real.path, Events(), shown=2).nothing_to_do
    assert not find_nearest(copies.path, real.path, Events(), shown=4).nothing_to_do
    find_nearest(copies.path, real.path, Events(), shown=2)
    assert folder_bytes(copies.path) == after
    wide, high = Image.open(copies.path / "nearest.png").size
    assert wide > 4 * 128 and high > 128


def test_wrong_folders_are_named(real: Tileset, copies: Tileset) -> None:
    with pytest.raises(TilesetError, match="no generated images"):
        find_nearest(real.path, real.path, Events())
    with pytest.raises(TilesetError, match="no such folder"):
        find_nearest(copies.path, real.path / "nowhere", Events())
    done = CliRunner().invoke(cli, ["nearest", str(copies.path), "--of", str(real.path), "--shown", "2"])
    assert done.exit_code == 0, done.output
    assert "suspiciously near: 8 of 8" in done.output
