"""The plugin's command table is the program's own, and its command lines are understood."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from geosynth_cli.main import COMMANDS as PROGRAM
from geosynth_cli.main import cli
from geosynth_qgis.core.command_table import COMMANDS
from geosynth_qgis.core.commands import arguments, command_text, listed, problems
from geosynth_qgis.core.options import Command, Option

OF_THE_RUN = {"--progress", "--events", "--cancel-file", "--watch-stdin", "--debug", "--json"}
NUMBERS = {"integer": click.types.IntParamType, "number": click.types.FloatParamType}


def program(name: str) -> click.Command:
    command: click.Command = importlib.import_module(f"geosynth_cli.{name}").command
    return command


def flags_of(command: Command) -> dict[str, list[Option]]:
    found: dict[str, list[Option]] = {}
    for option in command.options:
        if option.kind == "rerun":
            found["--resume"] = found["--overwrite"] = [option]
        elif option.flag:
            found.setdefault(option.flag, []).append(option)
    return found


def test_every_command_is_there() -> None:
    assert set(COMMANDS) == set(PROGRAM)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_has_all_options_of_the_program(name: str) -> None:
    ours = flags_of(COMMANDS[name])
    theirs = {
        flag: parameter
        for parameter in program(name).params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
        if flag not in OF_THE_RUN and flag.startswith("--")
    }
    assert set(ours) == set(theirs)
    for flag, parameter in theirs.items():
        for option in ours[flag]:
            _agree(option, parameter)


def _agree(option: Option, parameter: click.Option) -> None:
    where = f"{option.name} {option.kind}"
    if option.kind == "rerun":
        return
    kind = parameter.type
    if parameter.is_flag:
        # A file that QGIS writes replaces what was there: the form has asked.
        default = option.flag != "--overwrite" and option.default
        assert option.kind in ("flag", "unflag"), where
        assert (parameter.default is True) == default, where
        assert bool(parameter.secondary_opts) == (option.kind == "unflag"), where
        return
    assert parameter.multiple == (option.multiple or option.prefix != "" or len({*_same(option)}) > 1), where
    default = None if parameter.multiple else parameter.default
    assert option.default == (default if isinstance(default, (str, int, float)) else None), where
    if isinstance(kind, click.Choice):
        assert (option.kind, option.choices) == ("choice", tuple(kind.choices)), where
    elif not parameter.multiple:
        expected = next((name for name, of in NUMBERS.items() if isinstance(kind, of)), None)
        assert (option.kind if option.kind in NUMBERS else None) == expected, where
    if isinstance(kind, (click.IntRange, click.FloatRange)) and option.kind in NUMBERS:
        assert (option.minimum, option.above) == (kind.min, kind.min_open), where
        assert (option.maximum, option.below) == (kind.max, kind.max_open), where
    if parameter.required:
        assert option.required, where


def _same(option: Option) -> list[str]:
    """Names of the options that share the flag of this one, in the command that has it."""
    command = next(entry for entry in COMMANDS.values() if option in entry.options)
    return [other.name for other in command.options if other.flag == option.flag]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_arguments_without_a_flag_are_there(name: str) -> None:
    theirs = [parameter for parameter in program(name).params if isinstance(parameter, click.Argument)]
    ours = [option for option in COMMANDS[name].options if option.positional and option.kind != "rerun"]
    assert bool(theirs) == bool(ours)
    if any(parameter.nargs == -1 for parameter in theirs):
        assert any(option.multiple for option in ours)
    else:
        assert len(theirs) == len(ours) and all(option.required for option in ours)


def test_defaults_are_left_out_and_the_rest_is_given() -> None:
    command = COMMANDS["tile"]
    assert arguments(command, {"SCENES": ["/a b.tif"], "OUTPUT": "/out", "SEED": 0, "SIZE": None, "VAL": 0.15}) == [
        "tile", "--out", "/out", "--resume", "/a b.tif",
    ]  # fmt: skip
    assert arguments(
        command,
        {
            "SCENES": ["a.tif", "b.tif"], "SCENES_FOLDER": "/more", "OUTPUT": "/out", "RERUN": "refuse", "SIZE": 64.0,
            "GSD": 0.3, "CLASS_FIELD": "roof; kind\n", "IGNORE": ["-1"], "APPEND": True,
        },
    ) == [
        "tile", "--class-field", "roof", "--class-field", "kind", "--size", "64", "--gsd", "0.3", "--out", "/out",
        "--ignore=-1", "--append", "a.tif", "b.tif", "/more",
    ]  # fmt: skip


def test_options_that_are_on_can_be_put_off_and_arms_are_named() -> None:
    segment = arguments(COMMANDS["segment"], {"TILES": "/t", "OUTPUT": "/o", "TURNS": False, "RERUN": "overwrite"})
    assert segment == ["segment", "--out", "/o", "--overwrite", "--no-turns", "/t"]
    evaluate = arguments(COMMANDS["evaluate"], {"TILES": "/t", "SYNTHETIC": "/s", "ARM": ["b=/s2"], "OUTPUT": "/o"})
    assert evaluate == ["evaluate", "--arm", "synthetic=/s", "--arm", "b=/s2", "--out", "/o", "--resume", "/t"]


def test_a_path_like_an_option_stays_a_path() -> None:
    assert arguments(COMMANDS["inspect"], {"PATH": "-x"}) == ["inspect", "--", "-x"]


@pytest.mark.parametrize("value", [None, "", " ; \n", [], ["", " "]])
def test_nothing_is_an_empty_list(value: Any) -> None:
    assert listed(value) == []


def test_the_copied_command_survives_a_shell() -> None:
    values = {"SCENES": ["/it's a 'scene' é.tif"], "OUTPUT": "/o $HOME"}
    text = command_text("/my python/bin/python", COMMANDS["tile"], values)
    assert shlex.split(text) == [
        "/my python/bin/python", "-I", "-u", "-X", "utf8", "-m", "geosynth_cli", "tile", "--out", "/o $HOME",
        "--resume", "/it's a 'scene' é.tif",
    ]  # fmt: skip


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("tile", {"OUTPUT": "o"}),
    ("tile", {"SCENES": ["s.tif"]}),
    ("tile", {"SCENES": ["s.tif"], "OUTPUT": "o", "APPEND": True, "RERUN": "overwrite"}),
    ("tile", {"SCENES": ["s.tif"], "OUTPUT": "o", "SIZE": 4}),
    ("tile", {"SCENES": ["s.tif"], "OUTPUT": "o", "GSD": 0.0}),
    ("tile", {"SCENES": ["s.tif"], "OUTPUT": "o", "OUTSIDE": "water"}),
    ("train", {"TILES": "t", "OUTPUT": "o", "DROPOUT": 1.0}),
    ("generate", {"MODEL": "base", "OUTPUT": "o"}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "RATIO": 1.0}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "OF": "t"}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "COUNT": 3, "RATIO": 1.0, "OF": "t"}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "FROM_MASKS": ["m.tif"], "FROM_IMAGES": ["i.tif"]}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "WHOLE": True}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "SIZE": "64x64", "COUNT": 2}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "SIZE": "64x64", "FROM_IMAGES": ["i.tif"]}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "COUNT": 2, "OVERLAP": 4}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "COUNT": 2, "OUTSIDE": "grass"}),
    ("generate", {"MODEL": "base", "OUTPUT": "o", "COUNT": 2, "BANDS": "1,2"}),
    ("review", {"TILES": "t", "ACCEPT": ["a"], "UNDO": True}),
    ("review", {"TILES": "t", "TABLE": "x.csv", "REJECT": ["a"]}),
    ("filter", {"TILES": "t", "BY": "s"}),
    ("filter", {"TILES": "t", "BY": "s", "REAL": "r", "UNDO": True}),
    ("segment", {"TILES": "t", "OUTPUT": "o", "RATIO": 1.0}),
    ("segment", {"TILES": "t", "OUTPUT": "o", "SYNTHETIC": "s", "SYNTHETIC_ONLY": True, "PRETRAIN": 0.5}),
    ("predict", {"SEGMENTER": "s", "OUTPUT": "o"}),
    ("predict", {"SEGMENTER": "s", "SCENES": ["a.tif"], "OUTPUT": "o", "WINDOW": 8}),
    ("vectorize", {"OUTPUT": "o.gpkg"}),
    ("evaluate", {"OUTPUT": "o"}),
    ("evaluate", {"TILES": "t", "OUTPUT": "o"}),
    ("evaluate", {"TILES": "t", "SYNTHETIC": "s", "OUTPUT": "o", "SELF_TEST": True}),
    ("demo", {"OUTPUT": "o", "SCENE": ["s.tif"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values"), REFUSED)
def test_what_the_program_refuses_as_bad_usage_is_a_problem_in_words(
    name: str, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("t", "s", "r"):
        (tmp_path / folder).mkdir()
    for file in ("x.csv", "s.tif", "m.tif", "i.tif", "a.tif"):
        (tmp_path / file).touch()
    result = CliRunner().invoke(cli, arguments(COMMANDS[name], values))
    assert result.exit_code == 2, result.output  # so this is a true case
    found = problems(COMMANDS[name], values)
    assert found and all(
        problem.text and problem.option in {o.name for o in COMMANDS[name].options} for problem in found
    )


def test_paths_that_are_not_there_are_named(tmp_path: Path) -> None:
    found = problems(COMMANDS["train"], {"TILES": str(tmp_path / "gone"), "OUTPUT": str(tmp_path / "o")})
    assert [(problem.option, str(tmp_path / "gone") in problem.text) for problem in found] == [("TILES", True)]
    scenes = [str(tmp_path), str(tmp_path / "no.tif|layername=x")]
    found = problems(COMMANDS["tile"], {"SCENES": scenes, "OUTPUT": "o"})
    assert [problem.option for problem in found] == ["SCENES"] and "no.tif" in found[0].text


def test_polygons_need_a_word_about_what_lies_outside(tmp_path: Path) -> None:
    (tmp_path / "map.gpkg").touch()
    values = {"SCENES": [str(tmp_path)], "LABELS": [str(tmp_path / "map.gpkg")], "OUTPUT": "o"}
    assert [problem.option for problem in problems(COMMANDS["tile"], values)] == ["OUTSIDE"]
    assert problems(COMMANDS["tile"], {**values, "OUTSIDE": "unknown"}) == []


def test_the_words_that_ship_are_no_folders() -> None:
    assert problems(COMMANDS["generate"], {"MODEL": "base", "COUNT": 1, "OUTPUT": "o"}) == []
    assert problems(COMMANDS["train"], {"TILES": "base", "OUTPUT": "o"})[0].option == "TILES"
