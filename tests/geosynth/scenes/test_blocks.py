"""Splits by place: exact shares, the same every time, and no tile near another split."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.errors import SceneError
from geosynth.grid import Grid, engineering_crs
from geosynth.scenes.blocks import Lattice, assign_splits, fitting_block
from geosynth.scenes.splits import SceneSplits, split_tiles

UTM = CRS.from_epsg(32633)


def lattice(left: float = 500_000, rows: int = 12, cols: int = 12, block: int = 3, overlap: int = 0) -> Lattice:
    stride = 10 - overlap
    grid = Grid(UTM, Affine(1, 0, left, 0, -1, 5_000_000), rows * stride + overlap, cols * stride + overlap)
    return Lattice(grid, rows, cols, 10, stride, block)


def whole(scenes: dict[str, Lattice]) -> dict[str, np.ndarray]:
    """All tiles hold data."""
    return {name: np.ones((tiles.rows, tiles.cols), bool) for name, tiles in scenes.items()}


def shares(rows: SceneSplits, kept: np.ndarray) -> dict[str, float]:
    counts = Counter(split for row, on in zip(rows, kept, strict=True) for split in np.array(row)[on])
    return {split: counts[split] / kept.sum() for split in ("train", "val", "test")}


def test_shares_are_near_and_depend_only_on_seed_and_names() -> None:
    units = {f"a/{i}/{j}": 4 if i else 1 for i in range(5) for j in range(4)}
    splits = assign_splits(units, 0.15, 0.2, 0)
    tiles = Counter[str]()
    for unit, split in splits.items():
        tiles[split] += units[unit]
    assert abs(tiles["val"] - 0.15 * 68) <= 2
    assert abs(tiles["test"] - 0.2 * 68) <= 2
    assert splits == assign_splits(dict(reversed(units.items())), 0.15, 0.2, 0)
    assert splits != assign_splits(units, 0.15, 0.2, 1)


@pytest.mark.parametrize(("count", "expected"), [(1, {"train"}), (2, {"train", "val"}), (3, {"train", "val", "test"})])
@pytest.mark.parametrize("share", [0.001, 0.15, 0.49])
def test_few_units_still_leave_something_to_train_on(count: int, expected: set[str], share: float) -> None:
    for seed in range(5):
        assert set(assign_splits({str(i): 7 for i in range(count)}, share, share, seed).values()) == expected
    empty = assign_splits({"a": 0, "b": 0, "c": 5, "d": 5, "e": 5}, share, share, 0)
    assert {empty["c"], empty["d"], empty["e"]} == {"train", "val", "test"}, "blocks without tiles are no share"


@pytest.mark.parametrize(("rows", "cols"), [(12, 16), (14, 7), (4, 6), (28, 14)])
@pytest.mark.parametrize("seed", range(4))
def test_small_scenes_are_split_in_the_shares_asked_for(rows: int, cols: int, seed: int) -> None:
    tiles = lattice(rows=rows, cols=cols, block=4)
    kept = np.ones((rows, cols), bool)
    kept[:, cols * 2 // 3 :] = False
    tiles = replace(tiles, block=fitting_block([tiles], [kept]))
    (splits,) = split_tiles({"a": tiles}, {"a": kept}, {}, val=0.15, test=0.15, seed=seed, buffer=0)
    half = tiles.block**2 / 2 / kept.sum()
    found = shares(splits, kept)
    assert 0 < found["val"] <= 0.15 + half
    assert 0 < found["test"] <= 0.15 + half
    assert found["train"] >= 0.6


def test_blocks_are_halved_until_there_are_a_dozen_with_tiles() -> None:
    large, small = lattice(rows=24, cols=24, block=4), lattice(rows=14, cols=7, block=4)
    assert fitting_block([large], [np.ones((24, 24), bool)]) == 4
    assert fitting_block([small], [np.ones((14, 7), bool)]) == 2
    assert fitting_block([large, small], list(whole({"a": large, "b": small}).values())) == 4
    few = np.zeros((24, 24), bool)
    few[:3, :3] = True
    assert fitting_block([large], [few]) == 1
    assert fitting_block([lattice(block=0)], [np.ones((12, 12), bool)]) == 0, "whole scenes stay whole"


@pytest.mark.parametrize("overlap", [0, 4])
@pytest.mark.parametrize("buffer", [0, 7, 12])
def test_tiles_keep_their_distance_from_other_splits(buffer: int, overlap: int) -> None:
    tiles = lattice(rows=24, cols=24, block=6, overlap=overlap)
    (rows,) = split_tiles({"a": tiles}, whole({"a": tiles}), {}, val=0.2, test=0.2, seed=3, buffer=buffer)
    kept = [(r * tiles.stride, c * tiles.stride, split) for r, row in enumerate(rows) for c, split in enumerate(row)]
    kept = [entry for entry in kept if entry[2] is not None]
    assert {split for *_, split in kept} == {"train", "val", "test"}
    gap = min(
        max(abs(r - other_r), abs(c - other_c)) - 10
        for r, c, split in kept
        for other_r, other_c, other in kept
        if split != other
    )
    assert gap >= buffer


def test_whole_scenes_as_units_and_bound_scenes() -> None:
    scenes = {name: lattice(500_000 + 1000 * i, block=0) for i, name in enumerate("abcdefg")}
    splits = split_tiles(scenes, whole(scenes), {"a": "test", "b": "train"}, val=0.3, test=0.0, seed=0, buffer=0)
    per_scene = [{split for row in rows for split in row} for rows in splits]
    assert all(len(found) == 1 for found in per_scene)
    assert per_scene[0] == {"test"}
    assert per_scene[1] == {"train"}
    assert sum(found == {"val"} for found in per_scene[2:]) == 2
    with pytest.raises(SceneError, match="no scene is called z"):
        split_tiles(scenes, whole(scenes), {"z": "test"}, val=0.3, test=0.0, seed=0, buffer=0)


def test_a_place_tested_in_one_scene_is_not_trained_on_in_another() -> None:
    scenes = {"a": lattice(), "b": lattice(500_055)}
    tested, trained = split_tiles(scenes, whole(scenes), {"a": "test", "b": "train"}, val=0, test=0, seed=0, buffer=0)
    assert all(split == "test" for row in tested for split in row)
    for row in trained:
        # b starts 55 m into a's 120 m: its first 65 m, six and a half tiles, are a's.
        assert row == (None,) * 7 + ("train",) * 5


def test_the_buffer_holds_between_scenes() -> None:
    scenes = {"a": lattice(), "b": lattice(500_120)}
    for buffer, lost in ((0, 0), (5, 1), (12, 2)):
        tested, trained = split_tiles(
            scenes, whole(scenes), {"a": "test", "b": "train"}, val=0, test=0, seed=0, buffer=buffer
        )
        assert all(split == "test" for row in tested for split in row)
        assert all(row == (None,) * lost + ("train",) * (12 - lost) for row in trained)


def test_many_scenes_that_overlap_are_split_in_no_time() -> None:
    scenes = {f"s{i}": lattice(500_000 + 60 * i) for i in range(150)}
    start = time.process_time()
    splits = split_tiles(scenes, whole(scenes), {}, val=0.2, test=0.2, seed=0, buffer=0)
    assert time.process_time() - start < 5
    assert {split for rows in splits for row in rows for split in row} == {"train", "val", "test", None}


def test_local_planes_do_not_overlap() -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 120, 120)
    scenes = {name: Lattice(grid, 12, 12, 10, 10, 3) for name in "ab"}
    splits = split_tiles(scenes, whole(scenes), {"a": "test", "b": "train"}, val=0, test=0, seed=0, buffer=0)
    assert all(split is not None for rows in splits for row in rows for split in row)
