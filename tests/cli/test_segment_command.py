"""geosynth segment: its options reach the training, and what goes wrong is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from geosynth_cli.main import cli

SMALL = ("--encoder", "tu-mobilenetv3_small_050", "--steps", "2", "--batch", "2", "--threads", "1", "--device", "cpu")


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["segment", *map(str, arguments)])
    return result.exit_code, result.output + (result.stderr if result.stderr not in result.output else "")


def test_the_options_reach_the_plan(shared_world_tileset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--arch", "fpn", "--loss", "ce+dice", "--class-weights", "sqrt", "--no-turns", "--colour", "0.2")
    more = ("--zoom", "0.5", "--cutmix", "0.25", "--copy-paste", "0.75", "--validate-every", "1", "--patience", "5")
    mixture = ("--synthetic", shared_world_tileset, "--ratio", "0.5", "--pretrain", "0.5")
    code, said = run(shared_world_tileset, *SMALL, *options, *more, *mixture, "--out", out)
    assert code == 0, said
    content = json.loads((out / "segmenter.json").read_text())
    assert (content["architecture"], content["encoder"]) == ("fpn", "tu-mobilenetv3_small_050")
    expected = {
        "loss": "ce+dice", "class_weights": "sqrt", "turns": False, "colour": 0.2, "zoom": 0.5, "cutmix": 0.25,
        "copy_paste": 0.75, "validate_every": 1, "patience": 5, "ratio": 0.5, "pretrain": 0.5, "steps": 2, "batch": 2,
        "encoder_weights": None, "pairs": {"real": 16, "synthetic": 8},
    }  # fmt: skip
    assert {name: content["training"][name] for name in expected} == expected
    code, said = run(shared_world_tileset, *SMALL, *options, *more, *mixture, "--out", out)
    assert code == 0 and "nothing to do" in said


def test_a_preset_gives_what_is_not_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from geosynth.segmentation import training

    plans = []

    def instead(tiles: Path, synthetic: list[Path], plan: training.SegmenterPlan, *_: object, **__: object) -> object:
        plans.append((plan.architecture, plan.encoder))
        return training.SegmenterSummary("0" * 64, 1, 0, 1, None, {})

    monkeypatch.setattr(training, "train_segmenter", instead)
    for options in ((), ("--preset", "satsynth"), ("--preset", "satsynth", "--encoder", "resnet18")):
        assert run(tmp_path, *options, "--out", tmp_path / "out")[0] == 0
    assert plans == [("unet", "resnet18"), ("fpn", "resnet50"), ("fpn", "resnet18")]


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (("--encoder", "resnet19"), 1, "no encoder 'resnet19' — give another --encoder, for example resnet1"),
        (("--arch", "farseg"), 1, "farseg has no encoder 'tu-mobilenetv3_small_050'"),
        (("--loss", "hinge"), 1, "no loss 'hinge'"),
        (("--loss", "dice", "--class-weights", "sqrt"), 1, "class weights change nothing in dice"),
        (("--encoder-weights", "nowhere.pth"), 1, "nowhere.pth: cannot be read"),
        (("--pretrain", "0.5"), 2, "need --synthetic TILES"),
        (("--cutmix", "1.5"), 2, "--cutmix"),
        (("--preset", "other"), 2, "satsynth"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    shared_world_tileset: Path, tmp_path: Path, options: tuple[str, ...], code: int, line: str
) -> None:
    found, said = run(shared_world_tileset, *SMALL, *options, "--out", tmp_path / "out")
    assert found == code and line in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_weights_of_another_encoder_are_refused(shared_world_tileset: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "w.pth")
    found, said = run(shared_world_tileset, *SMALL, "--encoder-weights", tmp_path / "w.pth", "--out", tmp_path / "out")
    assert found == 1 and "does not hold this encoder" in said and "w.pth" in said


def test_mask2former_validates_synthetic_tiles(
    shared_world_tileset: Path, shared_generator: Path, tmp_path: Path
) -> None:
    """Label Freedom's own validation: one Mask2Former on generated tiles, on original ones, on both; by class."""
    pytest.importorskip("transformers")

    def go(*words: object) -> str:
        done = CliRunner().invoke(cli, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.output

    made, segmenter, classes, report = (tmp_path / name for name in ("made", "segmenter", "classes", "report"))
    go("generate", shared_generator, "--count", 16, "--steps", 1, "--device", "cpu", "--out", made)
    go("segment", shared_world_tileset, "--synthetic", made, "--arch", "mask2former", *SMALL, "--out", segmenter)
    assert json.loads((segmenter / "segmenter.json").read_text())["training"]["loss"] == "set"
    assert "mask2former" in go("inspect", segmenter)
    scene = min((shared_world_tileset / "images").glob("*.tif"))
    go("predict", segmenter, scene, "--window", 32, "--device", "cpu", "--out", classes)
    assert (classes / scene.name).is_file()
    options = ("--arms", "real,synthetic,mixed", "--seeds", 1, "--other-seeds", 1, "--arch", "mask2former", *SMALL)
    go("evaluate", shared_world_tileset, "--arm", f"made={made}", *options, "--out", report)
    words = (report / "report.md").read_text(encoding="utf-8")
    assert "mask2former" in words and all(column in words for column in ("Gen.", "Ori.", "Gen. + Ori."))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--arch", "mask2former", "--loss", "dice"), "mask2former learns by a loss of its own"),
        (("--arch", "unet", "--pretrained", "folder"), "give --pretrained with --arch mask2former"),
        (("--pretrained", "nowhere"), "nowhere: has no config.json"),
    ],
)
def test_what_does_not_go_with_mask2former(
    shared_world_tileset: Path, tmp_path: Path, options: tuple[str, ...], line: str
) -> None:
    found, said = run(shared_world_tileset, *SMALL[2:], *options, "--out", tmp_path / "out")
    assert found == 1 and line in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()
