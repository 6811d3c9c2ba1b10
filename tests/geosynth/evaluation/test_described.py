"""What the report says with a segmenter at hand: how real tiles look to it, and what it predicts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from judged_tiles import world_pairs, write_pairs

from geosynth.errors import ModelError
from geosynth.evaluation.arms import standard_arms
from geosynth.evaluation.contact import stretch_of
from geosynth.evaluation.experiment import ExperimentPlan, Job, Trial
from geosynth.evaluation.features import FeatureNetwork, image_features
from geosynth.evaluation.fidelitytable import HEADS, fidelity_table
from geosynth.evaluation.predictions import NOBODY_KNOWS, RIGHT, WRONG, answer, examples, kept
from geosynth.evaluation.study import evaluate
from geosynth.evaluation.trials import SEGMENTER
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.normalisation import Normalisation
from geosynth.segmentation.networks import build_network, encoder_of
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tileset import Tileset

COUNT = 12


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Tileset:
    folder = tmp_path_factory.mktemp("described")
    return write_pairs(folder / "real", world_pairs(2 * COUNT), held_out=COUNT, split="test", generated=False)


@pytest.fixture(scope="module")
def segmenter(real: Tileset) -> Path:
    plan = SegmenterPlan(architecture="fpn", encoder="tu-test_resnet", steps=4, batch=4)
    train_segmenter(real.path, [], plan, real.path.parent / "segmenter", Events(), threads=1, device="cpu")
    return real.path.parent / "segmenter"


def test_numbers_stand_beside_those_of_real_tiles(real: Tileset, segmenter: Path, tmp_path: Path) -> None:
    good = write_pairs(tmp_path / "good", world_pairs(COUNT, seed=1))
    noise = [(np.random.default_rng(0).integers(0, 256, i.shape).astype(np.uint8), m) for i, m in world_pairs(COUNT)]
    sets = {"good": good, "noise": write_pairs(tmp_path / "noise", noise)}
    table = fidelity_table(real, sets, segmenter, Events())
    assert [row[0] for row in table.rows] == ["real test tiles", "good", "noise"]
    assert all(len(row) == len(HEADS) + 1 for row in table.rows)
    assert {row[1] for row in table.rows} == {str(COUNT)}  # equally many
    fid = [float(row[3]) for row in table.rows]
    assert fid[2] > 2 * fid[1]
    assert "“noise”: its images are farther" in table.words[2]
    assert table == fidelity_table(real, sets, segmenter, Events())


def test_nearer_than_unseen_tiles_is_said_and_no_praise(segmenter: Path, tmp_path: Path) -> None:
    noise = [(np.random.default_rng(0).integers(0, 256, i.shape).astype(np.uint8), m) for i, m in world_pairs(COUNT)]
    pairs = [*world_pairs(COUNT), *noise]  # what is held out looks like nothing that is trained on
    other = write_pairs(tmp_path / "real", pairs, held_out=COUNT, split="test", generated=False)
    table = fidelity_table(other, {"good": write_pairs(tmp_path / "good", world_pairs(COUNT, 1))}, segmenter, Events())
    assert "“good”: its images are nearer to the training tiles than unseen real ones are" in table.words[1]
    assert "no difference" not in table.words[1]


def test_what_cannot_be_measured_is_said(real: Tileset, segmenter: Path, tmp_path: Path) -> None:
    few = {"few": write_pairs(tmp_path / "few", world_pairs(3))}
    for found, why in (
        (fidelity_table(real, few, None, Events()), "Nothing is downloaded"),
        (fidelity_table(real, few, segmenter, Events()), "too few to compare"),
        (fidelity_table(real, few, tmp_path, Events()), "were not measured"),
        (fidelity_table(real, {}, segmenter, Events()), "no synthetic tiles"),
    ):
        assert not found.rows
        assert why in " ".join(found.words)


def test_examples_show_what_the_segmenter_says(real: Tileset, segmenter: Path) -> None:
    found = examples(real, {"real": segmenter, "again": segmenter}, stretch_of(real), Events(), count=3)
    assert len(found) == 3
    tile = next(tile for tile in real.tiles if tile.id == found[0].tile)
    assert tile.split == "test"
    image, valid, mask = real.read(tile)
    logits = load_segmenter(segmenter, "cpu").logits(image[None], valid[None])
    said = np.array(real.spec.legend.ids)[logits.max(1).indices[0].numpy()]
    assert found[0].answers["real"].right == pytest.approx((said == mask).mean())
    # The classes lie over the image: their colours at the borders, a mixture of both elsewhere.
    drawn, below = (np.array(part).astype(int) for part in (found[0].answers["real"].mask, found[0].image))
    scale = drawn.shape[0] // mask.shape[0]
    colours = real.spec.legend.color_table()[said].astype(int)
    mixture = 0.55 * below[::scale, ::scale] + 0.45 * colours
    own, mixed = (np.abs(drawn[::scale, ::scale] - expected).max(axis=-1) for expected in (colours, mixture))
    assert (np.minimum(own, mixed) <= 1).all()
    assert (mixed <= 1).mean() > 0.3
    assert found[0].answers["real"].right == found[0].answers["again"].right


def test_errors_are_dark_and_unknown_is_no_error(real: Tileset) -> None:
    side = real.spec.tile_size
    ids = real.spec.legend.ids
    truth = np.full((side, side), ids[0], np.uint8)
    said = truth.copy()
    said[0], truth[1] = ids[1], UNKNOWN
    paper = np.full((side, side, 3), 255, np.uint8)
    found = answer(said, truth, paper, real)
    scale = found.errors.width // side
    assert np.array(found.errors)[::scale, 0, 0][:3].tolist() == [WRONG, NOBODY_KNOWS, RIGHT]
    assert found.right == pytest.approx((side - 2) / (side - 1))
    assert answer(said, np.full_like(truth, UNKNOWN), paper, real).right is None


def test_a_segmenter_is_found_where_one_is(segmenter: Path, tmp_path: Path) -> None:
    assert kept({"real": [tmp_path, segmenter], "none": [tmp_path]}) == {"real": segmenter}


def test_the_report_uses_segmenters_that_are_kept(real: Tileset, segmenter: Path, tmp_path: Path) -> None:
    made = write_pairs(tmp_path / "made", world_pairs(COUNT, seed=1))

    def run(job: Job, events: Events) -> Trial:
        shutil.copytree(segmenter, job.folder / SEGMENTER)
        right = np.eye(len(real.spec.legend), dtype=np.int64)[None] * 90
        return Trial(("world/0/0",), right + 1 + job.seeds.number, 8, 0)

    plan = ExperimentPlan(standard_arms({"made": made.path}), seeds=(0,))
    evaluate(real.path, plan, tmp_path / "out", Events(), run=run, keep=True)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "classes over the image, and where they are wrong" in page
    assert page.count('alt="Dark where real is wrong"') == 6
    assert "| real test tiles | 12 |" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_features_come_from_a_local_file(real: Tileset, tmp_path: Path) -> None:
    """Without any training there is no segmenter, and a file of weights describes the images."""
    made = {"noise": write_pairs(tmp_path / "noise", [(255 - i, m) for i, m in world_pairs(COUNT, 1)]).path}
    network = encoder_of(build_network("unet", "tu-test_resnet", 3, 2, seed=5))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    plan = ExperimentPlan(standard_arms(made), seeds=(), encoder="tu-test_resnet")
    evaluate(real.path, plan, tmp_path / "out", Events(), features=tmp_path / "weights.pth")
    words = (tmp_path / "out" / "report.md").read_text()
    assert "The features are those of tu-test_resnet from weights.pth." in words
    assert "| noise | 12 |" in words and "--features tu-test_resnet=weights.pth" in words
    own = FeatureNetwork.from_file(
        tmp_path / "weights.pth", "tu-test_resnet", ["red", "green", "blue"], Normalisation.of(real.statistics)
    )
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.eval()(images)[-1].mean(dim=(2, 3))
    np.testing.assert_allclose(image_features(own, images).deep, expected, rtol=1e-4, atol=1e-6)


def test_a_file_of_other_weights_is_refused_before_anything_is_trained(real: Tileset, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    for given, why in ((tmp_path / "weights.pth", "weights"), ("noencoder=x.pth", "no encoder 'noencoder'")):
        with pytest.raises(ModelError, match=why):
            evaluate(real.path, ExperimentPlan(standard_arms({})), tmp_path / "out", Events(), features=given)
    assert not (tmp_path / "out").exists()
