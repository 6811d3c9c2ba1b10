"""Few labels: nested, by area, and nothing of the hidden ones left."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import SIDE, world_tiles
from folder_bytes import folder_bytes
from geosynth_cli.main import cli

from geosynth.errors import Cancelled, GeosynthError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage
from geosynth.review import set_verdicts
from geosynth.subset import SubsetPlan, amount, area_of, kept_labels, label_order, subset_tileset
from geosynth.tileset import Tileset


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training tiles in 12 areas of 2 × 2, 6 val and 6 test tiles; do not change it."""
    return world_tiles(tmp_path_factory.mktemp("wide") / "tiles", rows=6, cols=10)


def few(source: Path, out: Path, labels: float | int, **plan: int | float) -> Tileset:
    subset_tileset(source, SubsetPlan(labels, block=2, **plan), out, Events())
    return Tileset(out)


def kept(tileset: Tileset, split: str = "train") -> set[str]:
    return {tile.id for tile in tileset.select(split, labelled=True)}


def test_a_smaller_subset_lies_within_a_larger_one(wide: Path, tmp_path: Path) -> None:
    shares = (0.05, 0.1, 0.5, 1.0)
    made = [kept(few(wide, tmp_path / f"{share}", share, seed=7)) for share in shares]
    assert [len(ids) for ids in made] == [2, 5, 24, 48]
    assert all(small < large for small, large in pairwise(made))
    assert kept(few(wide, tmp_path / "number", 24, seed=7)) == made[2]


def test_labels_are_kept_area_by_area(wide: Path, tmp_path: Path) -> None:
    tiles = {tile.id: tile for tile in Tileset(wide).tiles}
    chosen = [tiles[id_] for id_ in kept(few(wide, tmp_path / "out", 19, seed=3))]
    sizes = Counter(area_of(tile, SIDE, 2) for tile in chosen)
    assert sorted(sizes.values()) == [3, 4, 4, 4, 4]
    part = [tile for tile in chosen if sizes[area_of(tile, SIDE, 2)] == 3]
    assert all(any(a is not b and a.geometry.touches(b.geometry) for b in part) for a in part)


def test_another_seed_labels_other_ground(wide: Path) -> None:
    tiles = Tileset(wide).select("train")
    orders = [label_order(tiles, SIDE, block=2, seed=seed) for seed in range(6)]
    assert len({frozenset(tile.id for tile in kept_labels(order, 12)) for order in orders}) == 6


def test_areas_go_to_and_fro_so_that_a_part_hangs_together(wide: Path) -> None:
    tiles = Tileset(wide).select("train")
    order = label_order(tiles, SIDE, block=4, seed=0)
    assert {tile.id for tile in order} == {tile.id for tile in tiles}
    steps = [
        abs(a.row - b.row) + abs(a.col - b.col)
        for a, b in pairwise(order)
        if area_of(a, SIDE, 4) == area_of(b, SIDE, 4)
    ]
    assert set(steps) == {SIDE}


def test_hidden_labels_are_gone_and_the_rest_is_the_same(wide: Path, tmp_path: Path) -> None:
    before = folder_bytes(wide)
    source, result = Tileset(wide), few(wide, tmp_path / "out", 0.25)
    rows = {tile.id: tile for tile in result.tiles}
    assert kept(result, "test") == kept(source, "test")
    hidden = 0
    for tile in source.tiles:
        row = rows[tile.id]
        assert (row.image_sha256, row.split, row.geometry) == (tile.image_sha256, tile.split, tile.geometry)
        image, _, mask = result.read(row)
        assert np.array_equal(image, source.read(tile)[0])
        if row.labelled:
            assert row == tile
            continue
        hidden += 1
        assert (mask == UNKNOWN).all()
        assert (row.mask_origin, row.unknown_fraction, sum(row.class_fractions)) == ("none", 1.0, 0.0)
        assert row.mask_sha256 != tile.mask_sha256
    assert hidden == 36 + 4
    assert result.statistics == source.statistics
    assert result.spec.id != source.spec.id
    assert folder_bytes(wide) == before


def test_val_has_few_labels_too_unless_asked_otherwise(wide: Path, tmp_path: Path) -> None:
    assert len(kept(few(wide, tmp_path / "a", 0.34), "val")) == 2
    assert len(kept(few(wide, tmp_path / "b", 2), "val")) == 1  # one at least
    assert len(kept(few(wide, tmp_path / "c", 2, val_labels=1.0), "val")) == 6
    assert len(kept(few(wide, tmp_path / "d", 0.5, val_labels=0.0), "val")) == 0


def test_lineage_says_which_ground_had_labels(wide: Path, tmp_path: Path) -> None:
    result = few(wide, tmp_path / "out", 0.25)
    crs = result.spec.crs_name
    lineage = Lineage.of(result.select("train"), crs)
    assert len(lineage.image_keys) == 48
    assert len(lineage.label_keys) == 12
    allowed = [tile for tile in result.tiles if tile.split != "test" and tile.labelled]
    assert lineage.labels_beyond(allowed, crs) == []
    assert len(Lineage.of(Tileset(wide).select("train"), crs).labels_beyond(allowed, crs)) == 36


def test_rejected_tiles_do_not_count(wide: Path, tmp_path: Path) -> None:
    few(wide, tmp_path / "copy", 1.0)
    order = label_order(Tileset(wide).select("train"), SIDE, block=2, seed=0)
    set_verdicts(tmp_path / "copy", {order[0].id: "rejected", order[30].id: "rejected"})
    result = few(tmp_path / "copy", tmp_path / "out", 4)
    assert kept(result) == {tile.id for tile in order[1:5]}
    rows = {tile.id: tile for tile in result.tiles}
    assert rows[order[0].id].review == rows[order[30].id].review == "rejected"
    assert not rows[order[30].id].labelled
    everything = few(tmp_path / "copy", tmp_path / "all", 1.0)
    assert all(tile.labelled for tile in everything.tiles)


def test_the_same_request_gives_the_same_bytes_also_when_interrupted(wide: Path, tmp_path: Path) -> None:
    few(wide, tmp_path / "whole", 0.25)
    asked = 0

    def stop() -> str | None:
        nonlocal asked
        asked += 1
        return "enough" if asked > 1 else None

    plan = SubsetPlan(0.25, block=2)
    with pytest.raises(Cancelled):
        subset_tileset(wide, plan, tmp_path / "again", Events(stop=[stop]))
    with pytest.raises(TilesetError, match="unfinished run of subset"):
        Tileset(tmp_path / "again")
    with pytest.raises(OutputError, match="unfinished"):
        subset_tileset(wide, plan, tmp_path / "again", Events())
    subset_tileset(wide, plan, tmp_path / "again", Events(), rerun="resume")
    assert folder_bytes(tmp_path / "again") == folder_bytes(tmp_path / "whole")
    assert subset_tileset(wide, plan, tmp_path / "again", Events()).nothing_to_do


def test_mistakes_are_told_before_anything_is_written(world_tileset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for labels in (0.0, 1.5, 1, 0, -3):
        with pytest.raises(GeosynthError, match=r"labels|1 can be"):
            SubsetPlan(labels)
    with pytest.raises(TilesetError, match="16 labelled training tiles, fewer than 17"):
        few(world_tileset, out, 17)
    with pytest.raises(OutputError, match="would be overwritten"):
        few(world_tileset, world_tileset, 0.5)
    (world_tileset / Tileset(world_tileset).tiles[0].mask).unlink()
    with pytest.raises(TilesetError, match="is missing"):
        few(world_tileset, out, 0.5)
    assert not out.exists()
    nothing = tmp_path / "none"
    few(world_tiles(tmp_path / "fresh", rows=2), nothing, 1.0)
    unlabelled = few(nothing, tmp_path / "less", 2)
    assert len(kept(unlabelled)) == 2


def test_amounts_are_shares_or_numbers() -> None:
    assert [amount(text) for text in ("0.05", "5%", "1.0", "40", "100%")] == [0.05, 0.05, 1.0, 40, 1.0]
    assert isinstance(amount("40"), int) and isinstance(amount("1.0"), float)
    with pytest.raises(GeosynthError, match="no amount"):
        amount("some")


def test_the_command_says_what_it_kept(wide: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = CliRunner().invoke(cli, ["subset", str(wide), "--labels", "25%", "--block", "2", "--out", out])
    assert done.exit_code == 0, done.output
    assert "labelled: 12 of 48 training tiles (3 areas), 2 of 6 val tiles" in done.output
    bad = CliRunner().invoke(cli, ["subset", str(wide), "--labels", "1", "--out", str(tmp_path / "bad")])
    assert bad.exit_code == 1 and "1 can be a share or a number" in bad.output
