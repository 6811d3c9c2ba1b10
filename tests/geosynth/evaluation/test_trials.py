from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import world_tiles
from evaluation_tiles import make_tiles

from geosynth.errors import TilesetError
from geosynth.evaluation.arms import RECIPES, arm_of, choose_arms
from geosynth.evaluation.experiment import ExperimentPlan, Job
from geosynth.evaluation.places import blocks_under_test
from geosynth.evaluation.pseudolabels import pseudo_label
from geosynth.evaluation.seeds import Seeds
from geosynth.evaluation.study import evaluate
from geosynth.evaluation.trials import SegmenterRuns
from geosynth.events import Events
from geosynth.lineage import Lineage
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.subset import SubsetPlan, subset_tileset
from geosynth.tileset import Tileset

SMALL = {"steps": 2, "batch": 2, "architecture": "fpn", "encoder": "tu-mobilenetv3_small_050"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real tiles of which six have labels, and pairs whose generator saw no others."""
    folder = tmp_path_factory.mktemp("trials")
    world_tiles(folder / "all")
    subset_tileset(folder / "all", SubsetPlan(6, block=1, val_labels=1.0), folder / "real", Events())
    real = Tileset(folder / "real")
    seen = Lineage.of(real.select("train"), real.spec.crs_name)
    make_tiles(folder / "made", {"train": 8}, synthetic=True, lineage=seen, far=5000)
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, dict[str, str]]:
    """The runs of all arms, by arm."""
    arms = choose_arms({"made": folder / "made"}, ["all", "filtered", "selftraining"])
    plan = ExperimentPlan(arms, seeds=(0,), **SMALL)  # type: ignore[arg-type]
    evaluate(folder / "real", plan, folder / "report", Events(), threads=1, device="cpu", keep=True)
    with (folder / "report" / "runs.csv").open(encoding="utf-8", newline="") as stream:
        return {row["arm"]: row for row in csv.DictReader(stream)}


def test_what_each_arm_learns_from(rows: dict[str, dict[str, str]], folder: Path) -> None:
    pairs = {name: (int(row["real_pairs"]), int(row["synthetic_pairs"])) for name, row in rows.items()}
    filtered, taught = (pairs.pop(name) for name in ("real + filtered made, R=1", "real + self-training"))
    assert pairs == {
        "real": (6, 0),
        "real + made, R=1": (6, 6),
        "made": (0, 8),
        "real twice": (12, 0),
        "real, CutMix": (6, 0),
        "real, Copy-Paste": (6, 0),
        "pretrained on made, then real": (6, 8),
    }
    for found, run in ((filtered, "real-filtered-made-r-1-s0"), (taught, "real-self-training-s0")):
        drawn = Tileset(folder / "report" / "runs" / run / "tiles")
        assert found == (6, len(drawn.select("train", labelled=True)))
    assert all(0 < float(row["val_mean_iou"]) < 1 for row in rows.values())
    assert len({row["mean_iou"] for row in rows.values()}) == len(rows)


@pytest.mark.parametrize("sure", [True, False])
def test_self_training_learns_from_what_the_teacher_says(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sure: bool
) -> None:
    monkeypatch.setattr("geosynth.evaluation.pseudolabels.CONFIDENT", 0.0 if sure else 1.1)
    plan = ExperimentPlan(choose_arms({}, ["selftraining"]), seeds=(0,), **SMALL)  # type: ignore[arg-type]
    evaluate(folder / "real", plan, tmp_path / "report", Events(), threads=1, device="cpu")
    with (tmp_path / "report" / "runs.csv").open(encoding="utf-8", newline="") as stream:
        real, taught = csv.DictReader(stream)
    unlabelled = len(Tileset(folder / "real").select("train", labelled=False))
    assert (int(taught["real_pairs"]), int(taught["synthetic_pairs"])) == (6, unlabelled * sure)
    assert (taught["mean_iou"] != real["mean_iou"]) is sure
    said = "In 1 of 1 runs of “real + self-training” the teacher was sure of no pixel"
    assert (said in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")) is not sure


def test_runs_side_by_side_are_those_of_one_thread(
    rows: dict[str, dict[str, str]], folder: Path, tmp_path: Path
) -> None:
    arms = choose_arms({"made": folder / "made"}, ["mixed", "filtered"])
    plan = ExperimentPlan(arms, seeds=(0,), **SMALL)  # type: ignore[arg-type]
    evaluate(folder / "real", plan, tmp_path / "report", Events(), device="cpu", workers=2)
    with (tmp_path / "report" / "runs.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 3
    assert found == [rows[row["arm"]] for row in found]


def test_runs_on_a_dask_cluster_are_those_of_one_process(
    rows: dict[str, dict[str, str]], folder: Path, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    arms = choose_arms({"made": folder / "made"}, ["mixed", "filtered"])
    plan = ExperimentPlan(arms, seeds=(0,), **SMALL)  # type: ignore[arg-type]
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        evaluate(folder / "real", plan, tmp_path / "report", Events(), device="cpu", scheduler=address)
    with (tmp_path / "report" / "runs.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert found == [rows[row["arm"]] for row in found] and len(found) == 3


def test_what_the_tiles_do_not_allow_is_left_out_and_said(rows: dict[str, dict[str, str]], folder: Path) -> None:
    assert "real + filtered made, R=3" not in rows
    assert "real + filtered made, R=3" in (folder / "report" / "experiment.json").read_text(encoding="utf-8")
    arms = choose_arms({"made": folder / "made"}, ["filtered3"])
    with pytest.raises(TilesetError, match="ratio 3 of 6"):
        evaluate(folder / "real", ExperimentPlan(arms, **SMALL), folder / "refused", Events())  # type: ignore[arg-type]
    assert not (folder / "refused").exists()
    arms = choose_arms({}, ["selftraining"])
    with pytest.raises(TilesetError, match="no unlabelled training tiles"):
        evaluate(folder / "all", ExperimentPlan(arms, **SMALL), folder / "refused", Events())  # type: ignore[arg-type]


def test_filtering_is_of_the_drawn_pairs_by_the_real_segmenter_of_the_same_seeds(
    rows: dict[str, dict[str, str]], folder: Path
) -> None:
    drawn = Tileset(folder / "report" / "runs" / "real-filtered-made-r-1-s0" / "tiles")
    assert len(drawn.tiles) == 6 and all(tile.filter in ("kept", "cleaned", "rejected") for tile in drawn.tiles)
    assert not any(tile.filter for tile in Tileset(folder / "made").tiles)
    teacher = load_segmenter(folder / "report" / "runs" / "real-s0" / "segmenter", "cpu")
    assert teacher.training["seed"] == 0 and teacher.training["pairs"] == {"real": 6, "synthetic": 0}


def test_self_training_keeps_what_the_teacher_is_sure_of(
    rows: dict[str, dict[str, str]], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Tileset(folder / "real")
    teacher = load_segmenter(folder / "report" / "runs" / "real-s0" / "segmenter", "cpu")
    tiles = real.select("train", labelled=False)
    logits = teacher.logits(*(np.stack(part) for part in list(zip(*map(real.read, tiles), strict=True))[:2]))
    share, index = (values.numpy() for values in logits.softmax(1).max(1))
    limit = float(np.median(share))  # half of the pixels
    monkeypatch.setattr("geosynth.evaluation.pseudolabels.CONFIDENT", limit)
    assert pseudo_label(real, tiles, teacher, tmp_path / "out", Events()) > 0
    labelled = Tileset(tmp_path / "out")
    by_id = {tile.id: number for number, tile in enumerate(tiles)}
    for tile in labelled.tiles:
        number = by_id[tile.id]
        expected = np.where(share[number] >= limit, real.spec.legend.to_id(index[number].astype(np.uint8)), 255)
        image, _, mask = labelled.read(tile)
        assert (mask == expected).all() and (image == real.read(tiles[number])[0]).all()
        assert (tile.mask_origin, tile.image_origin) == ("predicted", "real")


def test_a_generator_answers_for_the_test_images(
    shared_world_tileset: Path, shared_generator: Path, tmp_path: Path
) -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.word == "answers")
    arm = arm_of(recipe, "model", [shared_generator], None)
    job = Job(arm, Seeds(0), shared_world_tileset, shared_generator, tmp_path / "run", None)
    trial = SegmenterRuns(ExperimentPlan((arm,)), 1, "cpu")(job, Events())
    real = Tileset(shared_world_tileset)
    assert trial.groups == tuple(blocks_under_test(real)) and (trial.real_pairs, trial.synthetic_pairs) == (0, 0)
    assert trial.confusions.sum() == len(real.select("test")) * 32 * 32
