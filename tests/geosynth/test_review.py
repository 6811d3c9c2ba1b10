"""Verdicts of people: in the index, all or none, and back."""

from __future__ import annotations

from pathlib import Path

import pyogrio
import pytest
from click.testing import CliRunner
from conftest import world_tiles
from filelock import FileLock
from folder_bytes import folder_bytes
from geosynth_cli.main import cli
from PIL import Image

from geosynth.errors import OutputError, TilesetError
from geosynth.folders import extend
from geosynth.review import counts_line, matching, read_verdicts, set_verdicts
from geosynth.samples import TilesetDataModule, pairs_of
from geosynth.tileset import Tileset
from geosynth.tilesetwriter import compact

FIRST, SECOND = "scene_r00000_c00000", "scene_r00000_c00001"


def test_rejected_pairs_are_left_out_and_come_back(world_tileset: Path) -> None:
    before = folder_bytes(world_tileset)
    reviewed = set_verdicts(world_tileset, {FIRST: "rejected", SECOND: "accepted"})
    rows = {tile.id: tile for tile in reviewed.tiles}
    assert (rows[FIRST].review, rows[SECOND].review) == ("rejected", "accepted")
    assert FIRST not in {tile.id for tile in reviewed.select()}
    assert FIRST not in {pair.tile.id for pair in pairs_of(reviewed, "train")}
    trained_on = {pair.tile.id for pair in TilesetDataModule(reviewed).training_pairs}
    assert FIRST not in trained_on and SECOND in trained_on
    assert pyogrio.read_dataframe(world_tileset / "index.gpkg").set_index("id").review[FIRST] == "rejected"
    set_verdicts(world_tileset, dict.fromkeys(rows, "unseen"))
    assert folder_bytes(world_tileset) == before


def test_patterns_and_their_mistakes(opened: Tileset) -> None:
    found = matching(opened, {"rejected": ["scene_r00000_*"], "accepted": ["scene_r00001_c00000"]})
    assert sum(verdict == "rejected" for verdict in found.values()) == 6
    assert found["scene_r00001_c00000"] == "accepted"
    with pytest.raises(TilesetError, match="no tile is called 'nowhere'"):
        matching(opened, {"rejected": ["nowhere"]})
    with pytest.raises(TilesetError, match="two verdicts"):
        matching(opened, {"rejected": ["*"], "accepted": [FIRST]})


def test_unknown_ids_change_nothing(world_tileset: Path) -> None:
    before = folder_bytes(world_tileset)
    with pytest.raises(TilesetError, match="no tile is called"):
        set_verdicts(world_tileset, {FIRST: "rejected", "nowhere": "rejected"})
    assert folder_bytes(world_tileset) == before


def test_verdicts_are_read_from_tables(world_tileset: Path, tmp_path: Path) -> None:
    table = tmp_path / "seen.csv"
    table.write_text(f"\ufeffid,review,note\n{FIRST},Rejected,blurred\n{SECOND},accepted,\n", encoding="utf-8")
    assert read_verdicts(table) == {"unseen": [], "accepted": [SECOND], "rejected": [FIRST]}
    # As a user does it in QGIS: the view is edited, then read.
    view = pyogrio.read_dataframe(world_tileset / "index.gpkg")
    view.loc[view.id == FIRST, "review"] = "rejected"
    pyogrio.write_dataframe(view, world_tileset / "index.gpkg", layer="tiles", driver="GPKG")
    asked = read_verdicts(world_tileset / "index.gpkg")
    assert asked["rejected"] == [FIRST] and len(asked["unseen"]) == 23
    assert counts_line(set_verdicts(world_tileset, matching(Tileset(world_tileset), asked))) == (
        "unseen 23, accepted 0, rejected 1"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [("id,verdict\na,rejected\n", "no column 'review'"), ("id,review\na,good\n", "has verdict 'good'")],
)
def test_tables_of_something_else_are_refused(tmp_path: Path, text: str, why: str) -> None:
    table = tmp_path / "bad.csv"
    table.write_text(text)
    with pytest.raises(TilesetError, match=why):
        read_verdicts(table)
    with pytest.raises(TilesetError, match="cannot be read as verdicts"):
        read_verdicts(tmp_path / "nothing.gpkg")


def test_verdicts_wait_for_nobody_and_only_on_finished_tilesets(world_tileset: Path) -> None:
    with FileLock(world_tileset / ".geosynth" / "lock"), pytest.raises(OutputError, match="another run is writing"):
        set_verdicts(world_tileset, {FIRST: "rejected"})
    (world_tileset / ".geosynth" / "complete").unlink()
    with pytest.raises(TilesetError, match="not finished"):
        set_verdicts(world_tileset, {FIRST: "rejected"})


def test_verdicts_survive_when_tiles_are_added(tmp_path: Path) -> None:
    path = world_tiles(tmp_path / "tiles", rows=2)
    set_verdicts(path, {FIRST: "rejected"})
    with extend(path, {"more": "tiles"}) as out:
        assert not out.complete
        compact(out, Tileset(path).spec)
    assert {tile.id for tile in Tileset(path).tiles if tile.review == "rejected"} == {FIRST}


def test_the_command_draws_what_nobody_saw(world_tileset: Path) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["review", str(world_tileset), *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    sheet = world_tileset / "review.png"
    assert f"unseen 24, accepted 0, rejected 0\n{sheet}" in run()
    whole = Image.open(sheet).size
    assert "unseen 6, accepted 12, rejected 6" in run(
        "--reject", "*_r00000_*", "--accept", "*_r00001_*", "--accept", "*_r00002_*"
    )
    run("--count", "24")
    assert Image.open(sheet).size[1] < whole[1]  # six pairs left to see
    run("--accept", "*")
    sheet.unlink()
    assert run().strip().endswith("accepted 24, rejected 0")
    assert not sheet.exists()
    assert "unseen 24" in run("--undo")
    assert CliRunner().invoke(cli, ["review", str(world_tileset), "--undo", "--accept", "*"]).exit_code == 2
