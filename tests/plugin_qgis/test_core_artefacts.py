"""What a run has made is looked for in its folder, and says whether it is synthetic."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest
from geosynth_qgis.core.artefacts import class_names, inside, kind_of, legend, provenance, results_in, results_of
from geosynth_qgis.core.command_table import COMMANDS


def change_origins(tileset: Path, image: str, mask: str, placement: str) -> None:
    with contextlib.closing(sqlite3.connect(tileset / "index.gpkg")) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE tiles SET image_origin = ?, mask_origin = ?, placement = ?", (image, mask, placement))
        database.commit()


def test_only_what_lies_in_the_folder_counts(tmp_path: Path) -> None:
    folder, outside = tmp_path / "ou t", tmp_path / "secret.tif"
    folder.mkdir()
    outside.touch()
    (folder / "a.tif").touch()
    assert inside(folder / "a.tif", folder) == (folder / "a.tif").resolve()
    assert inside(outside, folder) is None
    assert inside(folder / ".." / "secret.tif", folder) is None
    assert inside(folder, folder) is None
    assert inside(folder / "gone.tif", folder) is None
    assert inside("\0", folder) is None
    if os.name != "nt":
        (folder / "link.tif").symlink_to(outside)
        assert inside(folder / "link.tif", folder) is None


def test_a_link_out_of_the_folder_is_not_loaded(world_tileset: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.vrt"
    (world_tileset / "images.vrt").rename(elsewhere)
    (world_tileset / "images.vrt").symlink_to(elsewhere)
    found = results_of(COMMANDS["tile"], {"OUTPUT": str(world_tileset)})
    assert [result.key for result in found] == ["MASKS", "INDEX"]


def test_a_real_tileset_is_not_called_synthetic(shared_world_tileset: Path) -> None:
    assert kind_of(shared_world_tileset) == "tileset"
    found = results_of(COMMANDS["tile"], {"OUTPUT": str(shared_world_tileset)})
    assert [result.key for result in found] == ["IMAGES", "MASKS", "INDEX"]
    assert not any(result.synthetic or result.lines or "SYNTHETIC" in result.title for result in found)
    assert class_names(shared_world_tileset)[:2] == ["building", "road"]
    assert legend(shared_world_tileset)[0][1].startswith("#")


@pytest.mark.parametrize(
    ("image", "mask", "placement", "marked"),
    [
        ("generated", "generated", "fictitious", ["IMAGES", "MASKS", "INDEX"]),
        ("generated", "human", "donor", ["IMAGES", "INDEX"]),
        ("real", "predicted", "real", ["MASKS", "INDEX"]),
    ],
)
def test_what_was_generated_says_so(
    world_tileset: Path, image: str, mask: str, placement: str, marked: list[str]
) -> None:
    change_origins(world_tileset, image, mask, placement)
    request = world_tileset / ".geosynth" / "request.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "model": "abc123", "seed": 7, "steps": 30}))
    found = results_of(COMMANDS["generate"], {"OUTPUT": str(world_tileset)})
    assert [result.key for result in found if result.synthetic] == marked
    for result in found:
        assert result.title.startswith("SYNTHETIC ") == result.synthetic
        assert bool(result.lines) == result.synthetic
    told = "\n".join(provenance(world_tileset).lines)
    assert "abc123" in told and "seed: 7" in told
    assert ("made-up place" in told) == (placement == "fictitious")


def test_without_an_index_the_request_decides(world_tileset: Path) -> None:
    (world_tileset / "index.gpkg").write_bytes(b"broken")
    assert not provenance(world_tileset).synthetic
    (world_tileset / ".geosynth" / "request.json").write_text('{"command": "generate"}')
    assert provenance(world_tileset).synthetic


def test_kinds_of_folders(tmp_path: Path, shared_generator: Path) -> None:
    assert kind_of(tmp_path) is None and kind_of(tmp_path / "gone") is None and results_in(tmp_path) == []
    assert kind_of(shared_generator) == "generator"
    assert "building" in class_names(shared_generator)
    state = tmp_path / ".geosynth"
    state.mkdir()
    (state / "request.json").write_text("{}")
    assert kind_of(tmp_path) == "unfinished"
    (state / "complete").touch()
    (tmp_path / "scene é.tif").touch()
    assert kind_of(tmp_path) == "classes"
    assert [result.title for result in results_in(tmp_path)] == ["classes · scene é"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"legend": 3}', '{"legend": [1, {"id": 1}]}', "\x00"])
def test_a_damaged_description_does_no_harm(tmp_path: Path, text: str) -> None:
    (tmp_path / "tileset.json").write_text(text)
    assert class_names(tmp_path) == [] and not provenance(tmp_path).synthetic


def test_a_command_that_made_nothing_has_no_results(tmp_path: Path) -> None:
    for command in COMMANDS.values():
        assert results_of(command, {"OUTPUT": str(tmp_path / "x"), "TILES": str(tmp_path / "x")}) == []
        assert results_of(command, {}) == []
