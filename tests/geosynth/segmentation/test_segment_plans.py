"""Everything a plan can ask for, trained: architectures, losses, schedules, augmentations, starts, and stops."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_world import SIDE, SPEC, write_squares
from test_segment_training import QUICK, files_of, interrupted, train

from geosynth.errors import ModelError, TilesetError
from geosynth.events import Events
from geosynth.lineage import read_lineage
from geosynth.rasters import Band
from geosynth.samples import TilesetDataModule, training_batch
from geosynth.segmentation.networks import ARCHITECTURES, PRESETS, build_network
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.training import SegmenterPlan
from geosynth.tileset import Tileset

AUGMENTED = replace(QUICK, colour=0.3, zoom=0.5, cutmix=0.5, copy_paste=0.5, loss="ce+dice", class_weights="inverse")


def logged(out):
    with (out / ".geosynth/log/metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_is_loaded_and_predicts_any_size(tmp_path, architecture):
    tiles = write_squares(tmp_path / "tiles", "ttttv")
    encoder = "resnet18" if architecture == "farseg" else QUICK.encoder
    train(tiles, tmp_path / "out", replace(QUICK, architecture=architecture, encoder=encoder, steps=2))
    segmenter = load_segmenter(tmp_path / "out", "cpu")
    assert (segmenter.spec.architecture, segmenter.spec.encoder) == (architecture, encoder)
    before = build_network(architecture, encoder, 2, 2, seed=QUICK.seed).state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in segmenter.network.state_dict().items())
    images = np.random.default_rng(0).integers(0, 255, (2, 2, 40, 51), dtype=np.uint8)
    assert segmenter.logits(images, np.ones((2, 40, 51), bool)).shape == (2, 2, 40, 51)


def test_a_resumed_run_with_everything_on_gives_the_same_bytes(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "tttttt")
    made = write_squares(tmp_path / "made", "tttt", spec=replace(SPEC, id="made"), first=50, origin="generated")
    plan = replace(AUGMENTED, steps=10, pretrain=0.5)
    train(tiles, tmp_path / "whole", plan, [made])
    interrupted(tiles, tmp_path / "parts", plan, 7, "killed", [made])
    train(tiles, tmp_path / "parts", plan, [made], rerun="resume")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")
    training = load_segmenter(tmp_path / "parts", "cpu").training
    assert {name: training[name] for name in ("pretrain", "cutmix", "loss", "class_weights")} == {
        "pretrain": 0.5,
        "cutmix": 0.5,
        "loss": "ce+dice",
        "class_weights": "inverse",
    }
    assert training["class_weight_values"]["building"] > 1 > training["class_weight_values"]["background"]


@pytest.fixture(scope="module")
def plainly(tmp_path_factory):
    """Real and synthetic tiles, and the weights that a plain plan learns from them."""
    folder = tmp_path_factory.mktemp("plain")
    tiles = write_squares(folder / "tiles", "tttt")
    made = write_squares(folder / "made", "tttt", spec=replace(SPEC, id="made"), first=50, origin="generated")
    plan = replace(QUICK, steps=2, batch=4)
    train(tiles, folder / "out", plan, [made])
    return tiles, made, plan, (folder / "out/weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("turns", False), ("colour", 0.3), ("zoom", 0.5), ("cutmix", 0.5), ("copy_paste", 0.5)],
        *[("loss", "dice"), ("class_weights", "sqrt"), ("pretrain", 0.3)],
    ],
)
def test_every_switch_changes_what_is_learnt(plainly, tmp_path, name, value):
    tiles, made, plan, weights = plainly
    train(tiles, tmp_path / "out", replace(plan, **{name: value}), [made])
    assert (tmp_path / "out/weights.safetensors").read_bytes() != weights


def test_pretraining_sees_synthetic_pairs_first_and_real_ones_then(tmp_path):
    tileset = Tileset(write_squares(tmp_path / "tiles", "tttt"))
    made = Tileset(write_squares(tmp_path / "made", "t" * 6, spec=replace(SPEC, id="made"), first=50))
    module = TilesetDataModule(tileset, [made], batch_size=2, steps=10, pretrain=0.6)
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert len(batches) == 10, "as many steps as without"

    def origin(image):
        """Which tileset an image is from: turned or not, its pixels are the same."""
        pixels = image.flatten().sort().values
        for name, pairs in (("real", range(4)), ("made", range(4, 10))):
            if any(torch.equal(module.train_dataset[i]["image"].flatten().sort().values, pixels) for i in pairs):
                return name
        raise AssertionError("an image from nowhere")

    origins = [{origin(image) for image in batch["image"]} for batch in batches]
    assert origins == [{"made"}] * 6 + [{"real"}] * 4
    again = training_batch(module.train_dataset, batch=2, seed=0, step=7, phase=module.phases[1])
    assert torch.equal(again["image"], batches[7]["image"])
    for real, synthetic in ((False, [made]), (True, [])):
        with pytest.raises(TilesetError, match="pretraining needs both"):
            TilesetDataModule(tileset, synthetic, real=real, pretrain=0.5)


def test_it_stops_when_val_gets_no_better(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "ttttvv")
    plan = replace(QUICK, steps=60, learning_rate=1e-9, validate_every=3, patience=2)
    told = []
    events = Events([lambda record: told.append(record["message"]) if record["event"] == "log" else None])
    summary = train(tiles, tmp_path / "out", plan, events=events)
    training = load_segmenter(tmp_path / "out", "cpu").training
    assert training["best_step"] == summary.best_step < training["last_step"] < 60
    assert training["last_step"] == training["best_step"] + 6
    assert any(f"stopped at step {training['last_step']}" in line for line in told)
    # A run killed on the way stops at the same step with the same weights.
    interrupted(tiles, tmp_path / "parts", plan, training["last_step"] - 1, "killed")
    train(tiles, tmp_path / "parts", plan, rerun="resume")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "parts")


def test_patience_waits_for_the_real_tiles(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "ttttvv")
    made = write_squares(tmp_path / "made", "tttt", spec=replace(SPEC, id="made"), first=50, origin="generated")
    plan = replace(QUICK, steps=20, learning_rate=1e-9, validate_every=1, patience=2, pretrain=0.5)
    train(tiles, tmp_path / "out", plan, [made])
    assert load_segmenter(tmp_path / "out", "cpu").training["last_step"] >= 12


def test_without_val_tiles_patience_is_told_to_be_idle(tmp_path):
    warned = []
    events = Events([lambda record: warned.append(record["message"]) if record.get("level") == "warning" else None])
    summary = train(
        write_squares(tmp_path / "tiles", "tttt"), tmp_path / "out", replace(QUICK, patience=1), events=events
    )
    assert summary.best_step == QUICK.steps and "split=val" in warned[0]


def test_the_metrics_of_val_are_kept(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "ttttvv")
    summary = train(tiles, tmp_path / "out", replace(QUICK, validate_every=2))
    rows = logged(tmp_path / "out")
    names = ("val_mean_iou", "val_iou_background", "val_iou_building")
    assert all([int(row["step"]) for row in rows if row["name"] == name] == [2, 4, 6] for name in names)
    at_best = {row["name"]: float(row["value"]) for row in rows if int(row["step"]) == summary.best_step}
    assert at_best["val_mean_iou"] == pytest.approx(summary.mean_iou, rel=1e-4)
    assert at_best["val_iou_building"] == pytest.approx(summary.iou["building"], rel=1e-4)


def test_a_segmenters_encoder_starts_another_and_its_past_is_not_forgotten(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "ttttv")
    train(tiles, tmp_path / "first")
    bands = (Band("nir", "uint8"), Band("pan", "uint8"), Band("swir", "uint8"))
    elsewhere = write_squares(tmp_path / "more", "ttt", spec=replace(SPEC, id="more", bands=bands), first=90)
    told = []
    events = Events([lambda record: told.append(record["message"]) if record["event"] == "log" else None])
    file = tmp_path / "first/weights.safetensors"
    plan = replace(QUICK, steps=1, learning_rate=1e-9, encoder_weights=file)
    train(elsewhere, tmp_path / "second", plan, events=events)
    first, second = (load_segmenter(tmp_path / name, "cpu") for name in ("first", "second"))
    name = "encoder.model.conv_stem.weight"
    old, new = (segmenter.network.state_dict()[name] for segmenter in (first, second))
    torch.testing.assert_close(new[:, :2], old[:, [1, 0]] * 2 / 3, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(new[:, 2], old.mean(1) * 2 / 3, atol=1e-6, rtol=1e-4)
    assert "nir is its 2., pan is its 1., swir the mean of all" in told[0]
    sha256 = json.loads((tmp_path / "first/segmenter.json").read_text())["weights_sha256"]
    assert second.training["encoder_weights"] == sha256
    assert read_lineage(tmp_path / "first").image_keys <= read_lineage(tmp_path / "second").image_keys
    # Where the file lies is no part of the request; what is in it is.
    copy = tmp_path / "copy/w.safetensors"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="does not hold this encoder"):
        train(tiles, tmp_path / "third", replace(plan, encoder="tu-mobilenetv3_small_075", encoder_weights=copy))
    assert not (tmp_path / "third").exists()


def test_networks_made_for_one_size_are_refused_before_anything_is_written(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "tt")
    with pytest.raises(ModelError, match=rf"cannot take tiles of {SIDE} px .*224.*--encoder"):
        train(tiles, tmp_path / "out", replace(QUICK, encoder="tu-swin_tiny_patch4_window7_224"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("encoder", "near"),
    [("resnet19", "resnet18"), ("efficientnet_b0", "efficientnet-b0"), ("tu-convnext", "tu-convnext")],
)
def test_an_unknown_encoder_brings_the_nearest_names(encoder, near):
    with pytest.raises(ModelError, match=f"no encoder '{encoder}'.*{near}"):
        build_network("unet", encoder, 3, 2)


def test_farseg_takes_any_bands_but_resnets_alone():
    network = build_network("farseg", "resnet18", 4, 3)
    assert network.encoder.conv1.in_channels == 4 and network(torch.randn(2, 4, 64, 64)).shape == (2, 3, 64, 64)
    assert all("fc." not in name and not name.startswith("encoder.") for name in network.state_dict())
    with pytest.raises(ModelError, match=r"farseg has no encoder 'mobilenet_v2'.*resnet18, resnet34"):
        build_network("farseg", "mobilenet_v2", 4, 3)


def test_the_preset_of_satsynth():
    assert (PRESETS["satsynth"].architecture, PRESETS["satsynth"].encoder) == ("fpn", "resnet50")
    assert PRESETS["default"].encoder == SegmenterPlan().encoder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretrain": 1.0}, "pretrain out of range"),
        ({"pretrain": 0.5, "steps": 1}, "steps out of range"),
        ({"cutmix": 1.1}, "cutmix out of range"),
        ({"copy_paste": -0.1}, "copy-paste out of range"),
        ({"colour": 2.0}, "colour out of range"),
        ({"zoom": -1.0}, "zoom out of range"),
        ({"patience": 0}, "patience out of range"),
        ({"validate_every": 0}, "validate-every out of range"),
        ({"loss": "mse"}, "no loss 'mse'"),
        ({"class_weights": "many"}, "no class weights 'many'"),
        ({"loss": "dice", "class_weights": "sqrt"}, r"change nothing in dice.*ce\+dice"),
    ],
)
def test_plans_that_cannot_be(change, message):
    with pytest.raises(ModelError, match=message):
        replace(QUICK, **change)
