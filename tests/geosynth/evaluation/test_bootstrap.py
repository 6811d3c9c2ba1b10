from __future__ import annotations

import itertools

import numpy as np
import pytest

from geosynth.evaluation.bootstrap import FEWEST_GROUPS, draw_weights, group_interval, weighted_mean_iou
from geosynth.segmentation.metrics import scores


def random_counts(groups: int, classes: int, seed: int, high: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, (groups, classes, classes)).astype(np.int64)


def test_a_draw_is_the_score_of_the_summed_matrices() -> None:
    counts = random_counts(5, 4, 0)
    counts[:3, 2] = 0  # class 2 is in the truth of two groups only
    for drawn in itertools.product(range(5), repeat=3):
        weights = np.bincount(drawn, minlength=5)[None].astype(float)
        pooled = np.sum([counts[group] for group in drawn], axis=0)
        assert weighted_mean_iou(counts, weights) == pytest.approx(scores(pooled).mean_iou)


def test_a_draw_without_known_pixels_has_no_score() -> None:
    counts = np.zeros((2, 3, 3), np.int64)
    counts[1, 0, 0] = 4
    assert np.isnan(weighted_mean_iou(counts, np.array([[2.0, 0.0]]))).all()
    assert weighted_mean_iou(counts, np.array([[1.0, 1.0]])) == pytest.approx(1)


def test_weights_draw_as_many_groups_as_there_are_each_equally_likely() -> None:
    weights = draw_weights(8, 20_000)
    assert (weights.sum(1) == 8).all()
    assert weights.mean(0) == pytest.approx(np.ones(8), abs=0.03)
    assert weights.var(0) == pytest.approx(np.full(8, 7 / 8), abs=0.05)  # binomial: n p (1 − p)
    assert (draw_weights(8, 50) == draw_weights(8, 50)).all()


def test_the_interval_is_that_of_a_loop_over_drawn_lists() -> None:
    groups, runs = 9, 3
    arm = [random_counts(groups, 3, run) for run in range(runs)]
    base = [random_counts(groups, 3, 100 + run) for run in range(runs)]
    found = group_interval(arm, base, draws=4000)
    random, differences = np.random.default_rng(7), []
    for _ in range(4000):
        drawn = random.integers(0, groups, groups)
        each = [scores(a[drawn].sum(0)).mean_iou - scores(b[drawn].sum(0)).mean_iou for a, b in zip(arm, base)]  # noqa: B905
        differences.append(np.mean(each))
    assert found is not None
    spread = float(np.std(differences))
    assert (found.low, found.high) == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.15 * spread)


def test_the_interval_is_that_of_a_normal_mean_where_that_is_known() -> None:
    """Two classes of equal size in all groups, wrong pixels to and fro: IoU is a smooth function of a mean."""
    groups, size = 200, 10_000
    random = np.random.default_rng(3)
    wrong = random.integers(500, 3500, groups)

    def counts(errors: np.ndarray) -> np.ndarray:
        matrix = np.empty((groups, 2, 2), np.int64)
        matrix[:, 0, 0] = matrix[:, 1, 1] = size - errors
        matrix[:, 0, 1] = matrix[:, 1, 0] = errors
        return matrix

    perfect = counts(np.zeros(groups, np.int64))
    found = group_interval([counts(wrong)], [perfect], draws=4000)
    share = wrong.mean() / size
    iou = (1 - share) / (1 + share)
    slope = -2 / (1 + share) ** 2  # of IoU by the share of wrong pixels
    reach = 1.96 * abs(slope) * wrong.std() / size / np.sqrt(groups)
    assert found is not None
    assert found.low == pytest.approx(iou - 1 - reach, abs=0.08 * reach)
    assert found.high == pytest.approx(iou - 1 + reach, abs=0.08 * reach)


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    base = random_counts(12, 3, 1, high=400)
    better = base.copy()
    for k in range(3):
        moved = better[:, k, (k + 1) % 3] // 20
        better[:, k, k] += moved
        better[:, k, (k + 1) % 3] -= moved
    found = group_interval([better], [base])
    assert found is not None
    assert found.low > 0
    alone = weighted_mean_iou(base, draw_weights(12))
    assert found.high - found.low < 0.2 * (np.percentile(alone, 97.5) - np.percentile(alone, 2.5))


def test_one_group_that_decides_everything_leaves_zero_in() -> None:
    base = np.tile(np.array([[90, 10], [10, 90]], np.int64), (10, 1, 1))
    better = base.copy()
    better[0] = [[1000, 0], [0, 1000]]
    base[0] = [[0, 1000], [1000, 0]]
    found = group_interval([better], [base])
    assert found is not None
    assert found.low == 0  # in a third of the draws the group is not there at all
    assert not found.leaves_out_zero


def test_same_runs_differ_by_nothing_and_few_groups_say_nothing() -> None:
    counts = [random_counts(FEWEST_GROUPS, 3, 0)]
    same = group_interval(counts, counts)
    assert same is not None
    assert (same.low, same.high) == (0, 0)
    few = [entry[:-1] for entry in counts]
    assert group_interval(few, few) is None
    assert group_interval([], []) is None
