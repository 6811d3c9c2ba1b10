"""How often the interval over seeds leaves zero out although there is no gain, when rows share a generator."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from geosynth.evaluation.seeds import layout
from geosynth.evaluation.statistics import is_beyond_noise, paired_difference

ROWS, EXPERIMENTS = 5, 20_000


def gains(generators: int) -> NDArray[np.float64]:
    """A row an experiment: gains of 0 on average, what generator and start of the training add varying equally."""
    random = np.random.default_rng(0)
    made = random.normal(size=(EXPERIMENTS, generators))
    rows = [row.generator % generators for row in layout(range(ROWS), subsets=1)]
    return made[:, rows] + random.normal(size=(EXPERIMENTS, ROWS))


def beyond_noise(found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where ``paired_difference`` leaves zero out, for all experiments at once."""
    error = found.std(axis=1, ddof=1) / np.sqrt(ROWS)
    wrong: NDArray[np.bool_] = np.abs(found.mean(axis=1)) > stats.t.ppf(0.975, ROWS - 1) * error
    return wrong


@pytest.mark.parametrize(("generators", "percent"), [(1, 32), (2, 15), (5, 5)])
def test_the_fewer_generators_the_more_often_chance_is_taken_for_a_gain(generators: int, percent: int) -> None:
    found = gains(generators)
    wrong = beyond_noise(found)
    none = dict.fromkeys(range(ROWS), 0.0)
    for experiment, said in zip(found[:200], wrong[:200], strict=True):
        assert is_beyond_noise(paired_difference(dict(enumerate(experiment)), none)) == said
    print(f"{ROWS} rows, {generators} generators: zero is left out in {wrong.mean():.1%} of {EXPERIMENTS} experiments")
    assert round(100 * wrong.mean()) == percent
