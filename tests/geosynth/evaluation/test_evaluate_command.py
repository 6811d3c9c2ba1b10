"""The command line of evaluate: what it refuses before any work, and an arm that is a generator's own answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from geosynth_cli.main import cli

from geosynth.evaluation.study import read_results


def invoke(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["evaluate", *map(str, words)])
    return done.exit_code, done.output


def test_a_generator_is_an_arm_by_itself(shared_world_tileset: Path, shared_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said = invoke(
        *(shared_world_tileset, "--generator", f"own={shared_generator}", "--arms", "answers", "--out", out),
        *("--seeds", "1", "--steps", "2", "--batch", "2", "--arch", "fpn", "--encoder", "tu-test_resnet"),
        *("--threads", "1", "--device", "cpu"),
    )
    assert code == 0, said
    assert [run.arm for run in read_results(out)] == ["own itself", "real"]
    words = (out / "report.md").read_text(encoding="utf-8")
    assert "“own itself”: nothing is trained; a generator says which mask fits." in words
    assert f"--generator own={shared_generator.name}" in words and "Too few seeds to say" in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "TILES"),
        (("tiles",), "--arm"),
        (("tiles", "--arm", "made"), "NAME=FOLDER"),
        (("tiles", "--arm", "a=b", "--ratios", "1,x"), "--ratios"),
        (("tiles", "--self-test"), "makes its own tiles"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], why: str, tmp_path: Path) -> None:
    code, said = invoke(*words, "--out", tmp_path / "out")
    assert code == 2 and why in said
    assert not (tmp_path / "out").exists()
