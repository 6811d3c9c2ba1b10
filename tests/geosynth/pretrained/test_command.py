"""The route on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from geosynth_cli.main import cli
from tiny_diffusion import build, tiles

from geosynth.tileset import Tileset


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def test_train_inspect_generate(tmp_path: Path) -> None:
    base, given, model = build(tmp_path / "sd", steps=0), tiles(tmp_path / "tiles", count=6), tmp_path / "model"
    how = ("--recipe", "stable-diffusion", "--pretrained", base, "--steps", 1, "--batch", 2, "--threads", 1)
    words = ("--style", "by night", "--lora-targets", "to_q,to_v")
    trained = run("train", given, *how, *words, "--out", model)
    assert trained.exit_code == 0, trained.output
    assert "held-out loss: label" in trained.output
    assert "nothing to do" in run("train", given, *how, *words, "--out", model).output
    told = run("inspect", model)
    assert "generator on Stable Diffusion" in told.output and "lora_targets: to_q, to_v" in told.output
    out = tmp_path / "out"
    made = run("generate", model, "--count", 2, "--steps", 1, "--batch", 2, "--gsd", 1, "--workers", 1, "--out", out)
    assert made.exit_code == 0, made.output
    assert Tileset(out).spec.gsd_m == 1
    scene = run("generate", model, "--size", "40x24", "--steps", 1, "--out", tmp_path / "scene")
    assert scene.exit_code == 0 and "40 x 24 pixels" in scene.output
    refused = run("train", given, "--from", model, "--out", tmp_path / "more")
    assert refused.exit_code == 1 and "draws with Stable Diffusion" in refused.output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("train", "tiles", "--pretrained", "sd", "--out", "o"), "are for --recipe stable-diffusion"),
        (("train", "tiles", "--recipe", "stable-diffusion", "--out", "o"), "needs --pretrained"),
        (
            ("train", "tiles", "--recipe", "stable-diffusion", "--pretrained", "sd", "--patience", 2, "--out", "o"),
            "other recipes",
        ),
        (
            ("train", "tiles", "--recipe", "stable-diffusion", "--pretrained", "sd", "--scales", "a", "--out", "o"),
            "no list of numbers",
        ),
        (("generate", "base", "--count", 1, "--scale", 2, "--out", "o"), "marked [SD]"),
    ],
)
def test_misuse_is_told(arguments: tuple[object, ...], what: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert what in " ".join(result.output.split())
