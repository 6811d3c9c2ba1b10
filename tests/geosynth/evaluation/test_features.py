from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_tiles import RGB, make_tiles
from torch.nn import functional as F

from geosynth.evaluation.features import FeatureNetwork, Features, FeatureSpace, dataset_features, image_features
from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.normalisation import Normalisation
from geosynth.samples import TilesetDataset, pairs_of
from geosynth.segmentation.networks import build_network
from geosynth.segmentation.segmenter import Segmenter, SegmenterSpec


def untrained(architecture: str = "unet", encoder: str = "resnet18") -> Segmenter:
    normalisation = Normalisation((128.0,) * 3, (60.0,) * 3)
    legend = load_legend("world")
    spec = SegmenterSpec(architecture, encoder, RGB, legend, "EPSG:32633", (1.0, 1.0), 1.0, 32, normalisation)
    network = build_network(architecture, encoder, 3, len(legend)).eval().requires_grad_(False)
    return Segmenter(spec, network, "cpu", {"pairs": {"real": 1, "synthetic": 0}}, None, "")


def spread(seed: int, count: int) -> Features:
    random = np.random.default_rng(seed)
    return Features(random.normal(1, 1, (count, 12)), random.normal(1, 0.1, (count, 4)))


@pytest.mark.parametrize(
    ("architecture", "encoder", "deep", "fine"),
    [("unet", "resnet18", 512, 128), ("pspnet", "resnet18", 128, 64), ("fpn", "mobilenet_v2", 1280, 32)],
)
def test_features_are_means_of_two_encoder_maps(architecture: str, encoder: str, deep: int, fine: int) -> None:
    segmenter = untrained(architecture, encoder)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = image_features(FeatureNetwork.of(segmenter), images)
    maps = segmenter.network.encoder(images)
    assert (found.deep.shape, found.fine.shape) == ((3, deep), (3, fine))
    np.testing.assert_allclose(found.deep, maps[-1].mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)
    assert maps[-1].shape[-1] * 4 == maps[-3].shape[-1]
    np.testing.assert_allclose(found.fine, maps[-3].mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)


def test_padding_is_not_averaged_in() -> None:
    segmenter = untrained()
    images = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    maps = segmenter.network.encoder(F.pad(images, (0, 24, 0, 24)))
    found = image_features(FeatureNetwork.of(segmenter), images)
    np.testing.assert_allclose(found.fine, maps[-3][..., :5, :5].mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.deep, maps[-1].mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)  # its 2 × 2 all touch


def test_features_of_a_tileset_do_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tileset = make_tiles(tmp_path / "real", {"train": 5})
    segmenter = untrained()
    dataset = TilesetDataset(pairs_of(tileset, "train"), segmenter.spec.normalisation)
    whole = dataset_features(FeatureNetwork.of(segmenter), dataset, Events())
    monkeypatch.setattr("geosynth.evaluation.features._PIXELS", 2 * 32 * 32)
    parts = dataset_features(FeatureNetwork.of(segmenter), dataset, Events())
    assert len(parts) == 5
    np.testing.assert_allclose(parts.deep, whole.deep, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts.fine, whole.fine, rtol=1e-4, atol=1e-6)
    assert np.ptp(whole.fine, axis=0).max() > 0


def test_in_the_space_both_levels_vary_equally() -> None:
    features = spread(0, 200)
    scaled = FeatureSpace.fit(features).scaled(features)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    assert scaled[:, :12].var(axis=0).sum() == pytest.approx(8)
    assert scaled[:, 12:].var(axis=0).sum() == pytest.approx(8)


def test_a_loud_image_is_no_other_image() -> None:
    features = spread(0, 50)
    space = FeatureSpace.fit(features)
    loud = replace(features, deep=10 * features.deep)
    np.testing.assert_allclose(space.scaled(loud), space.scaled(features))
    silent = Features(np.zeros((1, 12)), np.zeros((1, 4)))
    assert np.isfinite(space.scaled(silent)).all()


def test_principal_components_come_widest_first_and_hold_the_variance() -> None:
    features = spread(0, 200)
    space = FeatureSpace.fit(features)
    variances = space.projected(features, 16).var(axis=0)
    assert (np.diff(variances) <= 1e-12).all()
    assert variances.sum() == pytest.approx(1)
    np.testing.assert_allclose(space.projected(features, 3), space.projected(features, 16)[:, :3])
    other = spread(1, 7)  # the axes are those of the fitted features, whatever is projected
    np.testing.assert_allclose(space.projected(other, 2)[3:], space.projected(other[3:], 2))


def test_features_that_never_vary_are_no_error() -> None:
    same = Features(np.ones((5, 12)), np.ones((5, 4)))
    assert not FeatureSpace.fit(same).scaled(same).any()
