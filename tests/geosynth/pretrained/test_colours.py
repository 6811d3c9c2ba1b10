from itertools import combinations

import numpy as np
import pytest
import torch

from geosynth.legend import Legend, load_legend
from geosynth.pretrained.colours import ColourCode

MANY = Legend.from_names([f"class {number}" for number in range(40)])


@pytest.mark.parametrize(("legend", "apart"), [(load_legend("loveda"), 255), (load_legend("isaid"), 127), (MANY, 80)])
def test_colours_are_far_apart(legend: Legend, apart: float) -> None:
    code = ColourCode.of(legend)
    colours = np.array([*code.classes, code.unknown], float)
    assert len(colours) == len(legend) + 1
    assert min(np.linalg.norm(a - b) for a, b in combinations(colours, 2)) >= apart
    assert code == ColourCode.of(legend)


def test_a_class_keeps_a_colour_like_its_own() -> None:
    legend = load_legend("world")
    code = ColourCode.of(legend)
    names = dict(zip(legend.names, code.classes, strict=True))
    assert names["building"] == (255, 0, 0)
    assert names["water"] == (0, 0, 255)


def test_masks_come_back_and_unknown_is_never_read() -> None:
    code = ColourCode.of(load_legend("world"))
    mask = torch.randint(6, (2, 8, 8), dtype=torch.uint8)
    back, sure = code.decode(code.encode(mask))
    assert back.equal(mask)
    assert sure.min() == 1
    mask[0] = 255
    back, _ = code.decode(code.encode(mask))
    assert back.max() <= 5
    back, sure = code.decode(torch.randn(2, 3, 16, 16) * 3)
    assert back.max() <= 5
    assert sure.min() >= 0 and sure.max() <= 1


def test_confidence_falls_to_the_border_between_two_colours() -> None:
    code = ColourCode.of(load_legend("world"))
    first, second = (code.encode(torch.tensor([[index]]))[:, 0, 0] for index in (0, 2))
    sure = [float(code.decode((first + share * (second - first))[:, None, None])[1]) for share in (0, 0.25, 0.5)]
    assert sure == pytest.approx([1, 0.5, 0], abs=1e-6)


def test_one_class_is_always_certain() -> None:
    mask, sure = ColourCode.of(Legend.from_names(["ground"])).decode(torch.randn(3, 4, 4))
    assert mask.max() == 0 and sure.min() == 1
