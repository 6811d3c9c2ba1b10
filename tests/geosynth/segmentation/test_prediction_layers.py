"""What is written of logits."""

import numpy as np
import pytest
import torch

from geosynth.legend import Legend, LegendClass
from geosynth.segmentation.layers import contents, layer_values

LEGEND = Legend(
    (LegendClass(7, "road", "#ff0000"), LegendClass(2, "roof", "#00ff00"), LegendClass(90, "tree", "#0000ff"))
)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 37, 50, generator=torch.Generator().manual_seed(0))


def test_classes_are_the_ids_of_the_largest_logits(logits: torch.Tensor) -> None:
    valid = np.ones((37, 50), bool)
    valid[3:9, 5:] = False
    found = layer_values("classes", logits, valid, LEGEND)
    assert found.shape == (1, 37, 50) and found.dtype == np.uint8
    assert (found[0][valid] == np.array([7, 2, 90])[logits.argmax(0).numpy()][valid]).all()
    assert (found[0][~valid] == 255).all()


def test_of_equal_logits_the_first_wins() -> None:
    even = torch.tensor([1.0, 2.0, 2.0])[:, None, None].expand(3, 20, 20)
    assert (layer_values("classes", even, np.ones((20, 20), bool), LEGEND) == 2).all()


def test_probabilities_are_percent_of_every_class(logits: torch.Tensor) -> None:
    valid = np.ones((37, 50), bool)
    valid[0] = False
    percent = layer_values("probabilities", logits, valid, LEGEND)
    expected = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(0) * 100
    assert percent.shape == (3, 37, 50) and (percent[:, 0] == 255).all()
    assert np.abs(percent[:, 1:] - expected[:, 1:]).max() <= 0.5001
    sure = layer_values("confidence", logits, valid, LEGEND)
    assert (sure[0, 1:] == percent[:, 1:].max(0)).all() and (sure[0, 0] == 255).all()
    assert [band.name for band in contents("probabilities", LEGEND).bands] == ["road", "roof", "tree"]
