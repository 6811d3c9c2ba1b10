from __future__ import annotations

import numpy as np
import pytest

from geosynth.diffusion.wanted import draw, shares_text, wanted_shares, weights_for
from geosynth.errors import GeosynthError
from geosynth.legend import load_legend

LEGEND = load_legend("world")


def pooled(fractions: np.ndarray) -> np.ndarray:
    """Shares of the classes among all known pixels."""
    return fractions.sum(axis=0) / fractions.sum()


def masks(count: int = 400, classes: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([3, 1, 0.3, 0.05], count)[:, :classes]


@pytest.mark.parametrize("wanted", [{3: 0.1}, {2: 0.2, 3: 0.05}, {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}])
def test_weights_give_the_wanted_shares(wanted: dict[int, float]) -> None:
    fractions = masks()
    weights = weights_for(fractions, wanted)
    shares = weights @ fractions
    for index, share in wanted.items():
        assert shares[index] == pytest.approx(share, abs=1e-3)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)


def test_weights_are_even_when_the_shares_are_there_already() -> None:
    fractions = masks()
    weights = weights_for(fractions, dict(enumerate(pooled(fractions))))
    assert np.allclose(weights, 1 / len(fractions), rtol=1e-3)


def test_shares_count_known_pixels_only() -> None:
    fractions = masks() * np.linspace(0.2, 1, 400)[:, None]  # the rest is unknown
    chosen = weights_for(fractions, {2: 0.3})[:, None] * fractions
    assert pooled(chosen)[2] == pytest.approx(0.3, abs=1e-3)


def test_what_cannot_be_comes_as_near_as_the_masks_allow() -> None:
    fractions = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    assert weights_for(fractions, {1: 0.9}) @ fractions == pytest.approx([0.6, 0.4], abs=0.01)


def test_rare_classes_are_met_as_well_as_common_ones() -> None:
    rare = np.random.default_rng(2).dirichlet([0.05, 30], 400)
    assert rare.mean(axis=0)[0] < 0.003
    for share in (0.0005, 0.005, 0.01):
        assert (weights_for(rare, {0: share}) @ rare)[0] == pytest.approx(share, rel=0.01)


def test_a_class_that_no_mask_shows() -> None:
    fractions = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])
    weights = weights_for(fractions, {2: 0.1, 1: 0.2})
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)


def test_drawing_follows_the_weights_within_one() -> None:
    weights = np.random.default_rng(1).dirichlet(np.ones(50))
    drawn = draw(weights, 1000, 0.3)
    assert len(drawn) == 1000
    assert (np.abs(np.bincount(drawn, minlength=50) - 1000 * weights) <= 1).all()
    assert np.array_equal(drawn, draw(weights, 1000, 0.3))


def test_words_for_shares() -> None:
    names = LEGEND.names
    assert wanted_shares(f"{names[0]}=0.2, {names[2]} = 0.02", LEGEND) == {0: 0.2, 2: 0.02}
    balanced = wanted_shares(f"{names[0]}=0.5", LEGEND, balance=True)
    assert balanced[0] == 0.5
    assert sum(balanced.values()) == pytest.approx(1)
    assert len(balanced) == len(names)
    assert len(set(list(balanced.values())[1:])) == 1


def test_the_same_wish_is_the_same_text() -> None:
    first, other = LEGEND.names[0], LEGEND.names[2]
    text = shares_text(wanted_shares(f"{first}=0.1,{other}=0.2", LEGEND), LEGEND)
    assert text == f"{first}=0.1, {other}=0.2"
    assert text == shares_text(wanted_shares(f" {other.upper()} = 0.2, {first}=0.10,", LEGEND), LEGEND)
    assert shares_text(wanted_shares(" , ", LEGEND), LEGEND) == ""


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("castle=0.1", "no class is called castle"),
        (f"{LEGEND.names[0]}", "CLASS=SHARE"),
        (f"{LEGEND.names[0]}=2", "CLASS=SHARE"),
        (f"{LEGEND.names[0]}=nan", "CLASS=SHARE"),
        (f"{LEGEND.names[0]}=0.1,{LEGEND.names[0]}=0.2", "twice"),
        (f"{LEGEND.names[0]}=0.7,{LEGEND.names[1]}=0.6", "sum to 1.3"),
        (",".join(f"{name}=0.1" for name in LEGEND.names), "sum to 0.6"),
    ],
)
def test_words_that_say_nothing(text: str, match: str) -> None:
    with pytest.raises(GeosynthError, match=match):
        wanted_shares(text, LEGEND)
