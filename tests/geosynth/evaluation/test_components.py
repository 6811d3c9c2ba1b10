from __future__ import annotations

import numpy as np
import pytest

from geosynth.evaluation.components import Score, components


def by_source(scores: list[Score]) -> dict[str, tuple[float, int]]:
    return {entry.source: (entry.deviation, entry.freedom) for entry in components(scores)}


def test_balanced_runs_by_hand() -> None:
    # Two subsets with two generators with two starts each; mean squares by the textbook.
    values = {(0, 0): (10.0, 12.0), (0, 1): (20.0, 22.0), (1, 2): (30.0, 32.0), (1, 3): (50.0, 52.0)}
    found = by_source([Score(*cell, value) for cell, pair in values.items() for value in pair])
    start = 2.0  # every cell: squares of ±1, one degree of freedom
    generator = (2 * ((11 - 16) ** 2 + (21 - 16) ** 2 + (31 - 41) ** 2 + (51 - 41) ** 2)) / 2
    subset = (4 * ((16 - 28.5) ** 2 + (41 - 28.5) ** 2)) / 1
    assert found["start"] == (pytest.approx(np.sqrt(start)), 4)
    assert found["generator"] == (pytest.approx(np.sqrt((generator - start) / 2)), 2)
    assert found["subset"] == (pytest.approx(np.sqrt((subset - generator) / 4)), 1)
    assert list(found) == ["subset", "generator", "start"]


def test_unequal_numbers_are_right_on_average() -> None:
    layout = [(0, 0), (0, 0), (0, 0), (0, 1), (1, 2), (1, 2), (1, 3), (2, 4), (2, 5), (2, 5), (3, 6), (3, 7), (3, 7)]
    random, truth = np.random.default_rng(0), {"subset": 3.0, "generator": 2.0, "start": 1.0}
    squares: dict[str, list[float]] = {source: [] for source in truth}
    for _ in range(3000):
        subset, generator = random.normal(0, 3, 4), random.normal(0, 2, 8)
        shifted = [Score(s, g, 100 + subset[s] + generator[g] + random.normal()) for s, g in layout]
        for entry in components(shifted):
            squares[entry.source].append(entry.deviation**2)
    # Estimates below zero become zero, which lifts the mean a little; the start's never do.
    assert np.mean(squares["start"]) == pytest.approx(1, rel=0.05)
    assert np.mean(squares["generator"]) == pytest.approx(4, rel=0.1)
    assert np.mean(squares["subset"]) == pytest.approx(9, rel=0.2)


def test_what_cannot_be_told_apart_is_one() -> None:
    assert by_source([Score(0, 0, 1.0), Score(0, 0, 3.0)]) == {"start": (pytest.approx(np.sqrt(2)), 1)}
    assert list(by_source([Score(0, 0, 1.0), Score(0, 1, 3.0)])) == ["generator+start"]
    assert list(by_source([Score(0, 0, 1.0), Score(1, 1, 3.0)])) == ["subset+generator+start"]
    assert list(by_source([Score(0, 0, 1.0), Score(0, 0, 2.0), Score(1, 1, 3.0)])) == ["subset+generator", "start"]
    assert list(by_source([Score(0, 0, 1.0), Score(0, 1, 2.0), Score(1, 2, 3.0)])) == ["subset", "generator+start"]


def test_nothing_is_below_zero_and_one_run_tells_nothing() -> None:
    alike = [Score(0, 0, 0.0), Score(0, 0, 10.0), Score(0, 1, 10.0), Score(0, 1, 0.0)]
    assert by_source(alike)["generator"][0] == 0
    assert components(alike[:1]) == []
