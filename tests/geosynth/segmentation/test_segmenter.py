"""The segmenter folder, the networks, the scores."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from segment_world import SPEC, write_squares
from torch import nn
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index

from geosynth.devices import choose_device
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.folders import claim
from geosynth.legend import Legend
from geosynth.lineage import Lineage
from geosynth.samples import Normalisation
from geosynth.segmentation.metrics import confusion, scores
from geosynth.segmentation.networks import ARCHITECTURES, build_network, padded_logits
from geosynth.segmentation.segmenter import Segmenter, SegmenterSpec, load_segmenter, save_segmenter
from geosynth.tileset import Tileset, TileSpec

NORMALISATION = Normalisation((80.0, 81.0), (40.0, 41.0))


def spec_of(tiles: TileSpec) -> SegmenterSpec:
    return SegmenterSpec(
        "unet", "resnet18", tiles.bands, tiles.legend, tiles.crs_name, tiles.pixel_size, tiles.gsd_m, tiles.tile_size,
        NORMALISATION,
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A segmenter with random weights, and its network."""
    path = tmp_path_factory.mktemp("segmenter") / "out"
    network = build_network("unet", "resnet18", 2, 2, seed=3)
    with claim(path, {"command": "made up"}) as folder:
        save_segmenter(folder, spec_of(SPEC), network.state_dict(), {"steps": 1}, {"mean_iou": 0.5}, Lineage())
        folder.finish()
    return path, network.eval()


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "copy")


def test_the_round_trip(saved):
    segmenter = load_segmenter(saved[0], "cpu")
    assert segmenter.spec == spec_of(SPEC)
    assert (segmenter.training, segmenter.validation) == ({"steps": 1}, {"mean_iou": 0.5})
    images = np.random.default_rng(0).integers(0, 255, (3, 2, 40, 50), dtype=np.uint8)
    valid = np.ones((3, 40, 50), bool)
    with torch.no_grad():
        expected = padded_logits(saved[1], NORMALISATION(images, valid))
    assert torch.equal(segmenter.logits(images, valid), expected)


def test_what_is_under_nodata_does_not_matter(saved):
    segmenter = load_segmenter(saved[0], "cpu")
    images = np.random.default_rng(0).integers(0, 255, (1, 2, 32, 32), dtype=np.uint8)
    valid = np.ones((1, 32, 32), bool)
    valid[:, 5:9] = False
    other = images.copy()
    other[:, :, 5:9] = 9
    assert torch.equal(segmenter.logits(images, valid), segmenter.logits(other, valid))


def test_damaged_weights_are_not_read(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"weights\.safetensors: is damaged.*again"):
        load_segmenter(folder, "cpu")
    path.unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: is missing"):
        load_segmenter(folder, "cpu")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace('"resnet18"', '"resnet34"'), "was changed after it was written"),
        (lambda text: text[:100], "is damaged"),
        (lambda _: "[]", "is damaged"),
        (lambda text: json.dumps(json.loads(text) | {"format": 2}), "format 2.*upgrade geosynth"),
    ],
)
def test_a_damaged_description_is_not_believed(folder, edit, message):
    path = folder / "segmenter.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(ModelError, match=message):
        load_segmenter(folder, "cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tileset.json", "is a tileset, not a segmenter"),
        ("geosynth.json", "is a generator, not a segmenter"),
        ("readme.txt", "not a segmenter"),
        (".geosynth/request.json", "unfinished"),
        (None, "no such folder"),
    ],
)
def test_other_folders_are_called_what_they_are(tmp_path, name, message):
    if name:
        (tmp_path / "x" / name).parent.mkdir(parents=True)
        (tmp_path / "x" / name).write_text("{}")
    with pytest.raises(ModelError, match=f"{message}.*geosynth segment"):
        load_segmenter(tmp_path / "x", "cpu")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_any_bands_and_sizes(architecture):
    network = build_network(architecture, "mit_b0" if architecture == "segformer" else "resnet18", 5, 7)
    for size in ((64, 64), (50, 70)):
        image = torch.randn(2, 5, *size)
        assert padded_logits(network.train(), image).shape == (2, 7, *size)
    padded_logits(network, torch.randn(2, 5, 64, 64)).mean().backward()


def test_weights_are_a_function_of_the_seed_and_leave_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    one, same, other = (build_network("unet", "resnet18", 1, 2, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.randn(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["encoder.conv1.weight"], other["encoder.conv1.weight"])


def test_devices():
    assert choose_device("cpu") == "cpu" and choose_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ModelError, match="no device 'abacus'"):
        choose_device("abacus")


def test_scores_by_hand():
    found = scores(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert found.iou[:2] == pytest.approx((3 / 6, 4 / 7)) and math.isnan(found.iou[2])
    assert found.mean_iou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert found.f1[:2] == pytest.approx((6 / 9, 8 / 11)) and math.isnan(found.f1[2])
    assert found.precision[:2] == pytest.approx((3 / 5, 4 / 5)) and found.recall[:2] == pytest.approx((3 / 4, 4 / 6))
    assert found.accuracy == pytest.approx(7 / 10) and found.pixels == (4, 6, 0)
    assert found.to_json("abc")["iou"]["c"] is None
    # A class that is only predicted is wrong everywhere; the means are over the classes in the truth all the same.
    found = scores(np.array([[3, 1], [0, 0]]))
    assert found.iou == (0.75, 0) and found.mean_iou == 0.75 and found.mean_f1 == pytest.approx(6 / 7)
    assert math.isnan(scores(np.zeros((2, 2), np.int64)).mean_iou)


def test_scores_agree_with_torchmetrics():
    truth, predicted = torch.randint(0, 4, (2, 1000), generator=torch.Generator().manual_seed(0))
    matrix = np.zeros((4, 4), np.int64)
    np.add.at(matrix, (truth.numpy(), predicted.numpy()), 1)
    found = scores(matrix)
    assert found.mean_iou == pytest.approx(multiclass_jaccard_index(predicted, truth, 4).item())
    assert found.mean_f1 == pytest.approx(multiclass_f1_score(predicted, truth, 4).item())


class AlwaysBuilding(nn.Module):
    """Class 1 wherever it looks."""

    encoder = type("Encoder", (), {"output_stride": 32})

    def forward(self, image):
        return torch.stack([torch.zeros_like(image[:, 0]), torch.ones_like(image[:, 0])], 1)


def test_rows_are_the_truth(tmp_path):
    tileset = Tileset(write_squares(tmp_path / "tiles", "tvv"))
    segmenter = Segmenter(spec_of(SPEC), AlwaysBuilding(), "cpu", {}, None, "")
    matrix = confusion(segmenter, tileset, "val", Events())
    truth = np.bincount(np.concatenate([tileset.read(tile)[2].ravel() for tile in tileset.select("val")]))
    assert matrix.tolist() == [[0, truth[0]], [0, truth[1]]]


def test_a_tileset_with_another_legend_is_refused(tmp_path):
    tileset = Tileset(write_squares(tmp_path / "tiles", "tv"))
    content = spec_of(SPEC).to_json() | {"legend": Legend.from_names(["road", "water"]).to_json()}
    segmenter = Segmenter(SegmenterSpec.from_json(content), AlwaysBuilding(), "cpu", {}, None, "")
    with pytest.raises(ModelError, match=r"its legend .* does not fit the segmenter's"):
        confusion(segmenter, tileset, "val", Events())
