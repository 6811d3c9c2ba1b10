"""Splits by place: exact shares, the same every time, and no tile near another split."""

from collections import Counter

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.errors import SceneError
from geosynth.grid import Grid, engineering_crs
from geosynth.scenes.blocks import Lattice, assign_splits, split_tiles

UTM = CRS.from_epsg(32633)


def lattice(left: float = 500_000, rows: int = 12, cols: int = 12, block: int = 3, overlap: int = 0) -> Lattice:
    stride = 10 - overlap
    grid = Grid(UTM, Affine(1, 0, left, 0, -1, 5_000_000), rows * stride + overlap, cols * stride + overlap)
    return Lattice(grid, rows, cols, 10, stride, block)


def test_shares_are_exact_and_depend_only_on_seed_and_names() -> None:
    units = [f"a/{i}/{j}" for i in range(5) for j in range(4)]
    splits = assign_splits(units, 0.15, 0.2, 0)
    assert Counter(splits.values()) == {"train": 13, "val": 3, "test": 4}
    assert splits == assign_splits(units[::-1], 0.15, 0.2, 0)
    assert splits != assign_splits(units, 0.15, 0.2, 1)


@pytest.mark.parametrize(("count", "expected"), [(1, {"train"}), (2, {"train", "val"}), (3, {"train", "val", "test"})])
def test_few_units_still_leave_something_to_train_on(count: int, expected: set[str]) -> None:
    assert set(assign_splits([str(i) for i in range(count)], 0.15, 0.15, 0).values()) == expected


@pytest.mark.parametrize("overlap", [0, 4])
@pytest.mark.parametrize("buffer", [0, 7, 12])
def test_tiles_keep_their_distance_from_other_splits(buffer: int, overlap: int) -> None:
    tiles = lattice(rows=24, cols=24, block=6, overlap=overlap)
    (rows,) = split_tiles({"a": tiles}, {}, val=0.2, test=0.2, seed=3, buffer=buffer)
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
    splits = split_tiles(scenes, {"a": "test", "b": "train"}, val=0.3, test=0.0, seed=0, buffer=0)
    per_scene = [{split for row in rows for split in row} for rows in splits]
    assert all(len(found) == 1 for found in per_scene)
    assert per_scene[0] == {"test"}
    assert per_scene[1] == {"train"}
    assert sum(found == {"val"} for found in per_scene[2:]) == 2
    with pytest.raises(SceneError, match="no scene is called z"):
        split_tiles(scenes, {"z": "test"}, val=0.3, test=0.0, seed=0, buffer=0)


def test_a_place_tested_in_one_scene_is_not_trained_on_in_another() -> None:
    scenes = {"a": lattice(), "b": lattice(500_055)}
    tested, trained = split_tiles(scenes, {"a": "test", "b": "train"}, val=0, test=0, seed=0, buffer=0)
    assert all(split == "test" for row in tested for split in row)
    for row in trained:
        # b starts 55 m into a's 120 m: its first 65 m, six and a half tiles, are a's.
        assert row == (None,) * 7 + ("train",) * 5


def test_local_planes_do_not_overlap() -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 120, 120)
    scenes = {name: Lattice(grid, 12, 12, 10, 10, 3) for name in "ab"}
    splits = split_tiles(scenes, {"a": "test", "b": "train"}, val=0, test=0, seed=0, buffer=0)
    assert all(split is not None for rows in splits for row in rows for split in row)
