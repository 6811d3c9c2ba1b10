"""Adding scenes to a tileset: what is there stays as it is, and what does not go with it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiling_world import hashes, plan, scene

from geosynth.errors import Cancelled, GeosynthError, OutputError, SceneError, TilesetError
from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.tileset import Tileset
from geosynth.tiling import tile_scenes
from geosynth.world import Landscape


def test_scenes_are_added_to_a_tileset(tmp_path: Path) -> None:
    first, out = scene(tmp_path, "a", side=160), tmp_path / "out"
    tile_scenes(plan(first), out, Events())
    before = {tile.id: tile for tile in Tileset(out).tiles}
    identity = Tileset(out).spec.id
    second = scene(tmp_path, "b", col=96, side=160)  # 64 columns of the first scene's ground, too
    addition = plan(second, size=None, legend=None)
    summary = tile_scenes(addition, out, Events(), append=True)
    tileset = Tileset(out)
    after = {tile.id: tile for tile in tileset.tiles}
    assert {id_: after[id_] for id_ in before} == before
    assert tileset.spec.id == identity
    new = [tile for id_, tile in after.items() if id_ not in before]
    assert {tile.scene for tile in new} == {"b"}
    assert summary.tiles == len(after)
    inside = 1e-6
    for tile in new:
        for old in before.values():
            if tile.split != old.split:
                assert not tile.geometry.buffer(-inside).intersects(old.geometry)
    assert summary.dropped["split"] > 0
    image = Landscape(0).render(0, 96, 160, 160)[0]
    tile = new[-1]
    assert (tileset.read(tile)[0] == image[:, tile.row : tile.row + 32, tile.col : tile.col + 32]).all()
    counts = sum(tile.valid_fraction for tile in after.values() if tile.split == "train")
    assert counts > sum(tile.valid_fraction for tile in before.values() if tile.split == "train")
    again = tile_scenes(addition, out, Events(), append=True)
    assert again.nothing_to_do
    with pytest.raises(SceneError, match="holds this very scene already, as b"):
        tile_scenes(replace(addition, seed=7), out, Events(), append=True)


def test_an_interrupted_addition_leaves_the_tileset_as_it_was_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geosynth.cutting._TILES", 2)
    first, second, third = (scene(tmp_path, name, col=200 * n, side=100) for n, name in enumerate("abc"))
    out, whole = tmp_path / "out", tmp_path / "whole"
    for folder in (out, whole):
        tile_scenes(plan(first), folder, Events())
    index = (out / "index.parquet").read_bytes()
    asked = iter(range(100))
    stop = Events(stop=[lambda: "enough" if next(asked) > 2 else None])
    with pytest.raises(Cancelled):
        tile_scenes(plan(second), out, stop, append=True)
    assert (out / "index.parquet").read_bytes() == index
    with pytest.raises(OutputError, match="unfinished run"):
        tile_scenes(plan(third), out, Events(), append=True)
    with pytest.raises(OutputError, match="unfinished run of this command"):
        tile_scenes(plan(second), out, Events(), append=True)
    tile_scenes(plan(second), out, Events(), append=True, rerun="resume")
    tile_scenes(plan(second), whole, Events(), append=True, workers=2)
    assert hashes(out) == hashes(whole)
    tile_scenes(plan(third), out, Events(), append=True)
    assert {tile.scene for tile in Tileset(out).tiles} == {"a", "b", "c"}


def test_what_does_not_go_with_a_tileset_is_not_added(tmp_path: Path) -> None:
    paths, out = scene(tmp_path, "a", side=100), tmp_path / "out"
    with pytest.raises(TilesetError, match="out"):
        tile_scenes(plan(paths), out, Events(), append=True)
    tile_scenes(plan(paths), out, Events())
    before = hashes(out)
    (tmp_path / "x").mkdir()
    refusals: list[tuple[tuple[Path, Path], dict[str, Any], str]] = [
        (scene(tmp_path / "x", "a", col=300, side=100), {}, "has a scene called a"),
        (scene(tmp_path, "b", col=300, side=100), {"size": 64}, "has tiles of 32 pixels, not 64"),
        (scene(tmp_path, "c", col=300, side=100), {"legend": load_legend("dubai")}, "other classes than --legend"),
        (scene(tmp_path, "d", col=300, side=100), {"gsd": 2.0}, "not 2 m"),
        (scene(tmp_path, "e", col=300, side=100, nodata=0), {}, "the tileset has no value for them"),
        (scene(tmp_path, "f", col=300, side=100), {"crs": "EPSG:3857"}, "has a CRS already"),
    ]
    for files, changes, message in refusals:
        with pytest.raises(GeosynthError, match=message):
            tile_scenes(plan(files, **changes), out, Events(), append=True)
    assert hashes(out) == before


def test_a_journal_with_holes_is_not_added_to(tmp_path: Path) -> None:
    first, second = (scene(tmp_path, name, col=200 * n, side=64) for n, name in enumerate("ab"))
    out = tmp_path / "out"
    tile_scenes(plan(first), out, Events())
    before = hashes(out)
    for record in (out / ".geosynth" / "journal").glob("a_*.json"):
        record.unlink()
    with pytest.raises(TilesetError, match="its journal lacks some of its tiles"):
        tile_scenes(plan(second), out, Events(), append=True)
    assert hashes(out) == before


def test_an_addition_takes_the_tile_size_that_is_there(tmp_path: Path) -> None:
    first, second = (scene(tmp_path, name, col=200 * n, side=64) for n, name in enumerate("ab"))
    tile_scenes(plan(first), tmp_path / "out", Events())
    with pytest.raises(GeosynthError, match="--overlap 32 is not between 0 and the tile size"):
        tile_scenes(plan(second, size=None, overlap=32), tmp_path / "out", Events(), append=True)
    tile_scenes(plan(second, size=None), tmp_path / "out", Events(), append=True)
    assert tile_scenes(plan(second, size=32), tmp_path / "out", Events(), append=True).nothing_to_do
