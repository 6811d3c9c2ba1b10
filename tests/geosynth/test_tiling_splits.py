"""Tiling into splits: where tiles go, how many, and that no ground is in two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine
from tiling_world import WORLD, plan, scene

from geosynth.errors import GeosynthError, LabelError
from geosynth.events import Events
from geosynth.lineage import Lineage
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes


def test_an_empty_split_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    tile_scenes(plan(scene(tmp_path, "a", side=32)), tmp_path / "out", events)
    assert [line for line in said if "split val" in line]
    assert [line for line in said if "split test" in line]
    assert not [line for line in said if "split train" in line]


def test_blocks_of_tiles_go_into_one_split(tmp_path: Path) -> None:
    tile_scenes(plan(scene(tmp_path, "a"), size=16, block=2), tmp_path / "out", Events())
    blocks: dict[tuple[int, int], set[str]] = {}
    for tile in Tileset(tmp_path / "out").tiles:
        blocks.setdefault((tile.row // 32, tile.col // 32), set()).add(tile.split)
    assert len(blocks) == 36
    assert all(len(splits) == 1 for splits in blocks.values())


def test_scenes_without_a_crs_do_not_lie_on_each_other(tmp_path: Path) -> None:
    bare = {"side": 128, "crs": None, "transform": Affine.identity()}
    photos = [scene(tmp_path, n, row, **bare)[0] for n, row in (("one", 0), ("two", 500))]  # type: ignore[arg-type]
    asked = TilingPlan(tuple(photos), size=32, legend=WORLD, buffer=0, assign=(("one", "test"), ("two", "train")))
    summary = tile_scenes(asked, tmp_path / "out", Events())
    assert summary.dropped["split"] == 0
    tiles = Tileset(tmp_path / "out").tiles
    assert {tile.id.split("_")[0] for tile in tiles} == {tile.scene for tile in tiles} == {"one", "two"}
    assert {(tile.scene, tile.split) for tile in tiles} == {("one", "test"), ("two", "train")}
    assert len(tiles) == len({tile.id for tile in tiles}) == 32


def test_small_scenes_get_small_blocks_and_the_shares_asked_for(tmp_path: Path) -> None:
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    summary = tile_scenes(plan(scene(tmp_path, "a"), block=4), tmp_path / "out", events)
    assert summary.by_split == {"train": 26, "val": 5, "test": 5}
    assert "blocks of 1 x 1 tiles instead of 4 x 4: there are few tiles" in said


def test_empty_tiles_are_thinned_in_training_only(tmp_path: Path) -> None:
    image = tmp_path / "a.tif"
    with rasterio.open(
        image, "w", driver="GTiff", height=320, width=320, count=1, dtype="uint8", crs="EPSG:32633",
        transform=Affine(1, 0, 500_000, 0, -1, 5_000_000),
    ) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 320, 320), np.uint8))
    house = gpd.GeoDataFrame({"class": ["house"]}, geometry=[shapely.box(500_001, 4_999_900, 500_050, 4_999_990)])
    house.set_crs("EPSG:32633").to_file(tmp_path / "a.gpkg")
    base = TilingPlan((image,), (tmp_path / "a.gpkg",), size=16, outside="background", test=0.3)
    tile_scenes(base, tmp_path / "all", Events())
    summary = tile_scenes(replace(base, empty=0.25), tmp_path / "some", Events())
    full, thin = Tileset(tmp_path / "all").tiles, {tile.id: tile for tile in Tileset(tmp_path / "some").tiles}
    empty = [tile for tile in full if tile.class_fractions[0] == 1]
    training = [tile for tile in empty if tile.split == "train"]
    assert all(tile.id in thin for tile in full if tile not in training)
    share = sum(tile.id in thin for tile in training) / len(training)
    assert 0.15 < share < 0.35
    assert summary.dropped["empty"] == len(full) - len(thin) > 0
    nothing = tile_scenes(replace(base, empty=0.0), tmp_path / "none", Events())
    assert nothing.tiles == len(full) - len(training)
    with pytest.raises(LabelError, match=r"no class is background \(house\)"):
        tile_scenes(replace(base, empty=0.5, outside="unknown"), tmp_path / "other", Events())


@pytest.mark.parametrize("with_train", [False, True])
def test_splits_are_those_of_the_ground_drawn_for_them(tmp_path: Path, with_train: bool) -> None:
    paths = scene(tmp_path, "a", side=320)
    place = (500_000, 5_000_000)
    ground = {
        "val": shapely.box(place[0], place[1] - 320, place[0] + 100, place[1]),
        "test": shapely.box(place[0] + 220, place[1] - 320, place[0] + 320, place[1] - 100),
        "train": shapely.box(place[0] + 110, place[1] - 200, place[0] + 200, place[1]),
    }
    names = [name for name in ground if with_train or name != "train"]
    frame = gpd.GeoDataFrame({"split": names}, geometry=[ground[name] for name in names], crs="EPSG:32633")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "areas.geojson")
    tile_scenes(plan(paths, split=str(tmp_path / "areas.geojson"), buffer=8), tmp_path / "out", Events())
    tiles = Tileset(tmp_path / "out").tiles
    found = {(tile.row, tile.col): tile.split for tile in tiles}
    shapes = {name: shapely.buffer(ground[name], 0.01) for name in names}  # degrees and back
    for row in range(0, 320, 32):
        for col in range(0, 320, 32):
            own = shapely.box(place[0] + col, place[1] - row - 32, place[0] + col + 32, place[1] - row)
            near = {name for name in names if shapely.distance(ground[name], own) < 8}
            holding = {name for name in names if shapely.covers(shapes[name], own)}
            if not with_train and not near:
                holding = {"train"}
            expected = holding.pop() if holding and near <= holding else None
            assert found.get((row, col)) == expected, (row, col)
    assert set(found.values()) == {"train", "val", "test"}


def test_ground_for_splits_that_says_something_else_is_refused(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=64)
    areas = tmp_path / "areas.gpkg"
    frame = gpd.GeoDataFrame({"split": ["validation"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633")
    frame.to_file(areas)
    with pytest.raises(LabelError, match=r"areas.gpkg: its attribute 'split' holds validation — write train, val"):
        tile_scenes(plan(paths, split=str(areas)), tmp_path / "out", Events())
    with pytest.raises(GeosynthError, match="--split FILE and --assign"):
        tile_scenes(plan(paths, split=str(areas), assign=(("a", "val"),)), tmp_path / "out", Events())
    with pytest.raises(GeosynthError, match="neither block nor scene nor a file"):
        tile_scenes(plan(paths, split="place"), tmp_path / "out", Events())


def test_ground_drawn_around_a_scene_holds_its_outermost_tiles_when_it_is_warped(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=256)
    ground = shapely.box(500_000, 5_000_000 - 256, 500_256, 5_000_000)
    gpd.GeoDataFrame({"split": ["train"]}, geometry=[ground], crs="EPSG:32633").to_file(tmp_path / "areas.gpkg")
    base = plan(paths, gsd=1.37, split=str(tmp_path / "areas.gpkg"), min_valid=0.9)
    summary = tile_scenes(base, tmp_path / "out", Events())
    tiles = Tileset(tmp_path / "out").tiles
    assert {tile.row for tile in tiles} == {tile.col for tile in tiles} == set(range(0, 160, 32))
    assert summary.by_split["train"] == 25


def test_a_split_without_labels_is_said(tmp_path: Path) -> None:
    labelled, bare = scene(tmp_path, "a", side=64), scene(tmp_path, "b", col=100, side=64)
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    base = TilingPlan((labelled[0], bare[0]), (labelled[1],), size=32, legend=WORLD, split="scene", val=0.0)
    summary = tile_scenes(replace(base, assign=(("a", "train"), ("b", "test"))), tmp_path / "out", events)
    assert summary.labelled_by_split == {"train": 4, "val": 0, "test": 0}
    assert [line for line in said if "no tile in split test has labels" in line]


@pytest.mark.parametrize("seed", range(6))
def test_padded_tiles_of_one_scene_are_not_tested_on_another_s_ground(tmp_path: Path, seed: int) -> None:
    for name, col in (("a", 0), ("b", 120)):
        scene(tmp_path, name, col=col, side=120, nodata=0)
    base = TilingPlan((tmp_path / "a.tif", tmp_path / "b.tif"), size=32, block=1, seed=seed, legend=WORLD, min_valid=0)
    tile_scenes(base, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    seen = Lineage.of(tileset.select("train"), tileset.spec.crs_name)
    assert seen.overlap(tileset.select("test"), tileset.spec.crs_name) == []


def test_scenes_with_a_place_but_no_crs_are_kept_apart_by_place(tmp_path: Path) -> None:
    for name, col in (("a", 0), ("b", 96)):
        scene(tmp_path, name, col=col, side=160, crs=None)
    names = (tmp_path / "a.tif", tmp_path / "b.tif")
    tile_scenes(TilingPlan(names, size=32, block=1, legend=WORLD), tmp_path / "out", Events())
    tiles = Tileset(tmp_path / "out").tiles
    assert {tile.scene for tile in tiles} == {"a", "b"}
    for one in tiles:
        for other in tiles:
            if {one.split, other.split} == {"train", "test"}:
                assert one.geometry.intersection(other.geometry).area == 0
