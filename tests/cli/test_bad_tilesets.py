"""Bad tilesets through the commands that take them, `evaluate` among them: see ``bad_input``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input import Refused, cut_off, flip_byte, tile_arguments
from click.testing import CliRunner
from conftest import world_tiles
from geosynth_cli.main import cli

pytest_plugins = ["bad_input"]


# Tilesets


def damaged_tile(tiles: Path) -> Path:
    """Cut off the first training tile's image."""
    return cut_off(tiles / "images" / "scene_r00000_c00000.tif")


def missing_mask(tiles: Path) -> Path:
    path = tiles / "masks" / "scene_r00000_c00000.tif"
    path.unlink()
    return path


def damaged_index(tiles: Path) -> Path:
    return flip_byte(tiles / "index.parquet", -20)


def damaged_description(tiles: Path) -> Path:
    return cut_off(tiles / "tileset.json")


@pytest.mark.parametrize("command", ["train", "segment"])
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damaged_tile, "is damaged"),
        (missing_mask, "is missing"),
        (damaged_index, "cannot be read as an index"),
        (damaged_description, "is damaged"),
    ],
)
def test_a_damaged_tileset(
    refused: Refused, world_tileset: Path, out: Path, command: str, damage: Callable[[Path], Path], why: str
) -> None:
    # Messages about what is being read may come first; they are no part of the error.
    arguments = (command, world_tileset, "--steps", "2", "--batch", "2", "--out", out, "--progress", "none")
    refused(*arguments, where=damage(world_tileset), why=why)


def test_a_damaged_tileset_does_not_cost_the_earlier_result(
    refused: Refused, world_tileset: Path, generator: Path, segmenter: Path
) -> None:
    where = damaged_tile(world_tileset)
    arguments = (world_tileset, "--steps", "2", "--batch", "2", "--overwrite", "--progress", "none")
    refused("train", *arguments, "--out", generator, where=where, why="is damaged")
    refused("segment", *arguments, "--out", segmenter, where=where, why="is damaged")


def test_inspecting_a_damaged_tileset(refused: Refused, world_tileset: Path) -> None:
    refused("inspect", world_tileset, where=damaged_index(world_tileset), why="cannot be read as an index")


# Evaluation


def test_evaluating_an_arm_that_saw_test_tiles(refused: Refused, shared_world_tileset: Path, tmp_path: Path) -> None:
    """The real tileset itself as an arm, and tiles of a generator that was trained on test tiles."""
    arguments = ("evaluate", shared_world_tileset, "--seeds", "1", "--steps", "2", "--out", tmp_path / "report")
    refused(*arguments, "--arm", f"same={shared_world_tileset}", where=shared_world_tileset, why="saw")
    peeking = tmp_path / "peeking"
    # The same ground, split otherwise: what is tested there is trained on here.
    world_tiles(peeking, rows=4, cols=8)
    model, made = tmp_path / "model", tmp_path / "made"
    for command in (
        ["train", peeking, "--steps", "2", "--batch", "2", "--precision", "32", "--threads", "1", "--out", model],
        ["generate", model, "--count", "2", "--steps", "1", "--workers", "1", "--out", made],
    ):
        done = CliRunner().invoke(cli, [str(part) for part in command])
        assert done.exit_code == 0, done.output
    line = refused(*arguments, "--arm", f"made={made}", where=made, why="saw 4 of the 4 test tiles")
    assert "'made'" in line


def test_evaluating_what_cannot_be_compared(
    refused: Refused, shared_world_tileset: Path, scene: Path, tmp_path: Path, out: Path
) -> None:
    small = world_tiles(tmp_path / "small", rows=1, cols=3, side=16)
    arguments = ("evaluate", shared_world_tileset, "--seeds", "1", "--steps", "2", "--out", out)
    refused(*arguments, "--arm", f"small={small}", where=small, why="tile size is 16")
    untested = tmp_path / "untested"
    assert (
        CliRunner().invoke(cli, [*map(str, tile_arguments(scene)), "--test", "0", "--out", str(untested)]).exit_code
        == 0
    )
    arguments = ("evaluate", untested, "--arm", f"small={small}", "--seeds", "1", "--steps", "2", "--out", out)
    refused(*arguments, where=untested, why="no labelled tiles in split=test")
