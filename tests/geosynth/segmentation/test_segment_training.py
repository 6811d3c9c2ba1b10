"""Training a segmenter: it learns, it stops and goes on, and it says what it saw."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from lightning import Trainer
from segment_world import SPEC, write_squares

from geosynth.errors import Cancelled, ModelError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.folders import claim
from geosynth.lineage import Lineage, Seen, read_lineage
from geosynth.samples import TilesetDataModule
from geosynth.segmentation import validation
from geosynth.segmentation.metrics import confusion, dataset_confusion, scores
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.task import SegmentationTask, learning_rate_at
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.segmentation.validation import Validation
from geosynth.tileset import Tileset

QUICK = SegmenterPlan(architecture="fpn", encoder="tu-mobilenetv3_small_050", steps=6, batch=2)  # has dropout, too


def train(tiles, out, plan=QUICK, synthetic=(), events=None, **options):
    # In bf16, which "auto" takes where the CPU is fast at it, a training of a minute learns something else.
    options = {"threads": 1, "device": "cpu", "precision": "32", **options}
    return train_segmenter(tiles, synthetic, plan, out, events or Events(), **options)


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"log", "lock"} & set(path.parts)
    }


def test_it_learns(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "t" * 12 + "vvvv" + "xx")
    metrics = []
    events = Events([lambda record: metrics.append(record) if record["event"] == "metric" else None])
    summary = train(tiles, tmp_path / "out", replace(QUICK, steps=60, batch=8, learning_rate=6e-3), events=events)
    losses = [record["value"] for record in metrics if record["name"] == "loss"]
    assert losses[-1] < 0.3 * losses[0]
    # Ground alone would give 0.4. So coarse a network blurs the borders, and at about 0.9 it learns no more.
    assert summary.mean_iou > 0.85 and summary.best_step in (50, 60)
    assert (summary.real_pairs, summary.synthetic_pairs) == (12, 0)
    # The folder stands alone: what it says of val, and how it does on tiles it never saw.
    segmenter = load_segmenter(tmp_path / "out", "cpu")
    val = scores(confusion(segmenter, Tileset(tiles), "val", Events()))
    assert val.mean_iou == pytest.approx(summary.mean_iou, abs=1e-6)
    assert segmenter.validation["iou"] == pytest.approx(dict(zip(SPEC.legend.names, val.iou, strict=True)), abs=1e-6)
    assert scores(confusion(segmenter, Tileset(tiles), "test", Events())).mean_iou > 0.85


def interrupted(tiles, out, plan, step, manner, synthetic=()):
    """Train until ``step`` and stop: asked to (a checkpoint of that step), or killed (the last one is older)."""
    asked, reads = [], sum(tile.split != "test" for path in (tiles, *synthetic) for tile in Tileset(path).tiles)

    def stop():
        asked.append(1)
        if len(asked) < reads + step:
            return None
        if manner == "killed":
            raise MemoryError("killed")
        return "enough"

    with pytest.raises(Cancelled if manner == "cancelled" else MemoryError):
        train(tiles, out, plan, synthetic, events=Events(stop=[stop]), checkpoint_every=4)
    checkpoint = torch.load(out / ".geosynth/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == (step if manner == "cancelled" else step // 4 * 4)


@pytest.mark.parametrize("manner", ["cancelled", "killed"])
def test_a_resumed_run_gives_the_same_bytes(tmp_path, manner):
    """Without a val split the last weights are written: all that was learnt after the interruption is compared."""
    tiles = write_squares(tmp_path / "tiles", "tttttt")
    plan = replace(QUICK, steps=14)
    assert train(tiles, tmp_path / "whole", plan).best_step == 14
    interrupted(tiles, tmp_path / "parts", plan, 6, manner)
    with pytest.raises(OutputError, match="--resume"):
        train(tiles, tmp_path / "parts", plan)
    train(tiles, tmp_path / "parts", plan, rerun="resume")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")
    logs = [(tmp_path / name / ".geosynth/log/metrics.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1], "the loss is a mean over the steps since the last line, also of those before the stop"


@pytest.mark.parametrize(("given", "best"), [({3: 0.6, 6: 0.5, 7: 0.5}, 3), ({3: 0.5, 6: 0.5, 7: 0.6}, 7)])
def test_the_best_weights_are_the_same_before_and_after_an_interruption(tmp_path, monkeypatch, given, best):
    """The checkpoint of step 4 is gone on from. Which step is best is given: no training says so on all machines."""
    judge = Validation._validate

    def judged(self, trainer, task, step):
        monkeypatch.setattr(validation, "scores", lambda matrix: replace(scores(matrix), mean_iou=given[step]))
        judge(self, trainer, task, step)

    monkeypatch.setattr(Validation, "_validate", judged)
    tiles = write_squares(tmp_path / "tiles")
    plan = replace(QUICK, steps=7, validate_every=3)
    assert train(tiles, tmp_path / "whole", plan).best_step == best
    interrupted(tiles, tmp_path / "parts", plan, 5, "killed")
    train(tiles, tmp_path / "parts", plan, rerun="resume")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")


def test_a_resumed_run_keeps_its_thread_count_and_gives_the_callers_back(tmp_path, monkeypatch):
    tiles, before, used = write_squares(tmp_path / "tiles", "tttttt"), torch.get_num_threads(), []
    interrupted(tiles, tmp_path / "out", QUICK, 3, "cancelled")
    step = SegmentationTask.training_step
    monkeypatch.setattr(
        SegmentationTask, "training_step", lambda *args: used.append(torch.get_num_threads()) or step(*args)
    )
    warned = []
    events = Events([lambda record: warned.append(record) if record.get("level") == "warning" else None])
    train(tiles, tmp_path / "out", rerun="resume", threads=2, events=events)
    assert set(used) == {1} and "threads 1" in warned[0]["message"]
    assert torch.get_num_threads() == before


def test_validation_leaves_the_network_in_training(tmp_path, monkeypatch):
    modes, step = [], SegmentationTask.training_step
    monkeypatch.setattr(
        SegmentationTask, "training_step", lambda self, *args: modes.append(self.model.training) or step(self, *args)
    )
    train(write_squares(tmp_path / "tiles", "ttv"), tmp_path / "out", replace(QUICK, validate_every=2))
    assert len(modes) == QUICK.steps and all(modes)


def test_cancelled_after_the_last_step_it_finishes(tmp_path):
    tiles = write_squares(tmp_path / "tiles")
    train(tiles, tmp_path / "whole")
    asked = []

    def stop():
        asked.append(1)
        return "now" if len(asked) == QUICK.steps + 8 else None

    with pytest.raises(Cancelled):
        train(tiles, tmp_path / "parts", events=Events(stop=[stop]))
    train(tiles, tmp_path / "parts", rerun="resume")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")


def test_the_rules_of_a_rerun(tmp_path):
    tiles = write_squares(tmp_path / "tiles")
    first = train(tiles, tmp_path / "out")
    again = train(tiles, tmp_path / "out")
    assert again.nothing_to_do and replace(again, nothing_to_do=False) == first
    with pytest.raises(OutputError, match="different seed"):
        train(tiles, tmp_path / "out", replace(QUICK, seed=1))
    other = train(tiles, tmp_path / "out", replace(QUICK, seed=1), rerun="overwrite")
    assert other.hash != first.hash


def test_without_val_tiles_the_last_weights_are_kept(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "tttt")
    summary = train(tiles, tmp_path / "out")
    assert summary.best_step == QUICK.steps and summary.mean_iou is None
    assert load_segmenter(tmp_path / "out", "cpu").validation is None


def test_real_and_synthetic_are_counted_and_remembered(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "ttttvx")
    seen = Lineage((Seen("0" * 16, "elsewhere", "EPSG:32633", (0.0, 0.0, 1.0, 1.0), True),))
    spec = replace(SPEC, id="made")
    made = write_squares(tmp_path / "made", "t" * 9, spec=spec, first=50, origin="generated", lineage=seen)
    summary = train(tiles, tmp_path / "both", replace(QUICK, ratio=2.0), [made])
    assert (summary.real_pairs, summary.synthetic_pairs) == (4, 8)
    only = train(tiles, tmp_path / "only", replace(QUICK, ratio=1.0), [made], real=False)
    assert (only.real_pairs, only.synthetic_pairs) == (0, 4)
    tileset = Tileset(tiles)
    kept = read_lineage(tmp_path / "both")
    assert kept == seen | Lineage.of([*tileset.select("train"), *tileset.select("val")], "EPSG:32633")
    assert kept.overlap(tileset.select("test"), "EPSG:32633") == []
    assert read_lineage(tmp_path / "only") == seen | Lineage.of(tileset.select("val"), "EPSG:32633")
    content = json.loads((tmp_path / "both/segmenter.json").read_text())
    assert content["training"]["tileset"] == "squares" and content["training"]["synthetic"] == ["made"]
    alone = json.loads((tmp_path / "only/segmenter.json").read_text())
    assert alone["mean"] == content["mean"], "statistics are always the real tileset's"
    with pytest.raises(TilesetError, match="ratio 3"):
        train(tiles, tmp_path / "more", replace(QUICK, ratio=3.0), [made])
    assert not (tmp_path / "more").exists()


def test_real_tiles_that_are_given_as_synthetic_ones_are_remembered(tmp_path):
    """With masks of a model, or another place's own tiles: their ground has been seen."""
    tiles = write_squares(tmp_path / "tiles", "tt")
    other = Tileset(write_squares(tmp_path / "other", "ttx", spec=replace(SPEC, id="other"), first=50))
    train(tiles, tmp_path / "out", QUICK, [other.path])
    lineage = read_lineage(tmp_path / "out")
    assert lineage == Lineage.of([*Tileset(tiles).tiles, *other.select("train")], "EPSG:32633")


def test_a_training_that_explodes_is_stopped_at_once(tmp_path):
    """Even where val is scored, or patience ends, before the next line about the loss is due."""
    tiles = write_squares(tmp_path / "tiles", "ttvv")
    plan = replace(QUICK, steps=9, learning_rate=1e30, validate_every=1, patience=1)
    with pytest.raises(ModelError, match=r"training failed: the loss is .*--learning-rate"):
        train(tiles, tmp_path / "out", plan)
    assert not (tmp_path / "out/segmenter.json").exists()


def test_precision_is_kept_with_the_run(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "tttttt")
    fine, coarse = (train(tiles, tmp_path / name, precision=name) for name in ("32", "bf16"))
    assert fine.hash != coarse.hash
    weights = [load_segmenter(tmp_path / name, "cpu").network.state_dict() for name in ("32", "bf16")]
    for name, value in weights[0].items():
        assert weights[1][name].dtype == value.dtype, "weights stay as they are"
    with pytest.raises(Cancelled):
        train(tiles, tmp_path / "parts", precision="bf16", events=Events(stop=[at_call(9)]))
    train(tiles, tmp_path / "parts", precision="32", rerun="resume")
    assert (tmp_path / "parts/weights.safetensors").read_bytes() == (tmp_path / "bf16/weights.safetensors").read_bytes()


def at_call(number):
    """A reason to stop that appears at the n-th question."""
    asked = []
    return lambda: asked.append(1) or ("enough" if len(asked) >= number else None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "nonet"}, "no architecture 'nonet'.*unet"),
        ({"encoder": "nonesuch"}, "nonesuch.*--encoder"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_is_written(tmp_path, change, message):
    tiles = write_squares(tmp_path / "tiles", "tt")
    with pytest.raises(ModelError, match=message):
        train(tiles, tmp_path / "out", replace(QUICK, **change))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"batch": 1}, {"steps": 0}, {"learning_rate": 0.0}, {"ratio": -1.0}])
def test_plans_out_of_range(change):
    with pytest.raises(ModelError, match="out of range"):
        replace(QUICK, **change)


def test_an_existing_folder_of_somebody_else_is_left_alone(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "tt")
    with claim(tmp_path / "out", {"command": "tile"}):
        pass
    with pytest.raises(OutputError, match="another request"):
        train(tiles, tmp_path / "out")


def task_giving(logits):
    task = SegmentationTask(bands=2, names=["a", "b", "c"])
    task.forward = lambda _: logits
    return task


def test_unknown_pixels_are_outside_the_loss():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    mask = torch.randint(0, 3, (2, 8, 8))
    mask[:, :3] = 255
    loss = task_giving(logits).training_step({"image": torch.zeros(2, 2, 8, 8), "mask": mask}, 0)
    expected = torch.nn.functional.cross_entropy(logits[:, :, 3:], mask[:, 3:])
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert (logits.grad[:, :, :3] == 0).all() and (logits.grad[:, :, 3:] != 0).all()


def test_a_batch_without_any_label_teaches_nothing_and_breaks_nothing():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    mask = torch.full((2, 8, 8), 255)
    loss = task_giving(logits).training_step({"image": torch.zeros(2, 2, 8, 8), "mask": mask}, 0)
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_unknown_pixels_are_outside_the_scores(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "ttvv", unknown=slice(0, 10))
    summary = train(tiles, tmp_path / "out")
    matrix = confusion(load_segmenter(tmp_path / "out", "cpu"), Tileset(tiles), "val", Events())
    assert matrix.dtype == np.int64 and matrix.sum() == 2 * 22 * 32 and summary.mean_iou is not None


def test_torchgeos_own_validation_says_the_same(tmp_path):
    module = TilesetDataModule(Tileset(write_squares(tmp_path / "tiles", "ttvvv")), batch_size=2)
    task = SegmentationTask(bands=2, names=SPEC.legend.names)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    (found,) = trainer.validate(task, module, verbose=False)
    mine = scores(dataset_confusion(task.eval(), module.val_dataset, 2, Events()))
    assert found["val_mean_iou"] == pytest.approx(mine.mean_iou, abs=1e-6)
    assert found["val_iou_building"] == pytest.approx(mine.iou[1], abs=1e-6)


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate_at(step, 100, 1e-3) for step in range(100)]
    assert rates[0] < rates[4] <= 1e-3 and max(rates) > 9e-4
    assert all(a > b for a, b in pairwise(rates[5:])) and 0 < rates[-1] < 1e-4
    assert math.isclose(learning_rate_at(0, 1, 1e-3), 1e-3)
