"""Output folders that cannot be written to: see ``bad_input``."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_input import Refused, cut_off, tile_arguments
from click.testing import CliRunner
from geosynth_cli.main import cli

pytest_plugins = ["bad_input"]


@pytest.mark.parametrize("rerun", [(), ("--overwrite",), ("--resume",)])
def test_an_output_that_holds_something_else(refused: Refused, scene: Path, out: Path, rerun: tuple[str, ...]) -> None:
    (out / "holiday").mkdir(parents=True)
    (out / "holiday" / "photo.jpg").write_bytes(b"irreplaceable")
    refused(*tile_arguments(scene), "--out", out, *rerun, where=out, why="not made by geosynth")


@pytest.mark.parametrize("rerun", [(), ("--overwrite",)])
def test_an_output_that_is_a_file(refused: Refused, scene: Path, out: Path, rerun: tuple[str, ...]) -> None:
    out.write_text("a file")
    refused(*tile_arguments(scene), "--out", out, *rerun, where=out, why="is a file")


def test_an_output_under_a_file(refused: Refused, scene: Path, out: Path) -> None:
    out.write_text("a file")
    refused(*tile_arguments(scene), "--out", out / "tiles", where=out, why="")


def test_another_request_in_the_same_output(refused: Refused, scene: Path, out: Path) -> None:
    assert CliRunner().invoke(cli, [*map(str, tile_arguments(scene)), "--out", str(out)]).exit_code == 0
    line = refused(
        *tile_arguments(scene), "--seed", "5", "--out", out, where=out, why="another request (different seed)"
    )
    assert "--overwrite" in line.partition(" — ")[2]
    # What is read is no place to write, whatever is asked for.
    for more in ((), ("--overwrite",)):
        refused(
            "train", out, "--steps", "2", "--batch", "2", "--out", out, *more, where=out, why="would be overwritten"
        )
    assert CliRunner().invoke(cli, ["inspect", str(out)]).exit_code == 0


def test_an_output_whose_request_is_damaged(refused: Refused, scene: Path, out: Path) -> None:
    assert CliRunner().invoke(cli, [*map(str, tile_arguments(scene)), "--out", str(out)]).exit_code == 0
    cut_off(out / ".geosynth" / "request.json")
    line = refused(*tile_arguments(scene), "--out", out, where=out, why="damaged")
    assert "--overwrite" in line.partition(" — ")[2]
    # What is there is whole all the same.
    assert CliRunner().invoke(cli, ["inspect", str(out)]).exit_code == 0
