from __future__ import annotations

import math

import pytest
from scipy import stats

from geosynth.evaluation.bootstrap import GroupInterval
from geosynth.evaluation.statistics import (
    Difference,
    estimate,
    is_beyond_noise,
    p_value,
    paired_difference,
    signed,
    still_beyond_noise,
    verdict,
)


def test_mean_and_standard_error_by_hand() -> None:
    found = estimate([0.50, 0.52, 0.54])
    assert found.mean == pytest.approx(0.52)
    assert found.standard_error == pytest.approx(0.02 / math.sqrt(3))
    assert found.count == 3


def test_one_run_has_no_error_and_no_runs_no_mean() -> None:
    assert estimate([0.5]).standard_error is None
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_paired_difference_is_that_of_scipy() -> None:
    arm = {0: 0.61, 1: 0.58, 2: 0.66, 3: 0.60}
    base = {0: 0.59, 1: 0.57, 2: 0.61, 3: 0.59, 9: 0.1}
    found = paired_difference(arm, base)
    known = stats.ttest_rel([arm[s] for s in range(4)], [base[s] for s in range(4)]).confidence_interval(0.95)
    assert found is not None
    assert found.count == 4  # seed 9 has no partner
    assert found.mean == pytest.approx(0.0225)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_pairing_removes_what_the_seeds_share() -> None:
    base = {0: 0.40, 1: 0.60, 2: 0.50}
    found = paired_difference({seed: score + 0.01 + 0.001 * seed for seed, score in base.items()}, base)
    assert found is not None
    assert is_beyond_noise(found)


def test_no_common_seed_gives_no_difference() -> None:
    assert paired_difference({0: 0.5}, {1: 0.5}) is None
    assert "shares no seed" in verdict("a", "real", None)


@pytest.mark.parametrize("scores", [[0.9], [0.9, 0.91]])
def test_one_or_two_seeds_claim_nothing_however_large_the_difference(scores: list[float]) -> None:
    difference = paired_difference(dict(enumerate(scores)), dict.fromkeys(range(len(scores)), 0.1))
    words = verdict("real + synthetic", "real", difference)
    assert not is_beyond_noise(difference)
    assert words.startswith("Too few seeds to say")
    assert "higher than" in words
    assert "better" not in words


def test_a_clear_gain_a_clear_loss_and_noise() -> None:
    gain = Difference(0.021, 0.006, 0.004, 0.038, 5)
    assert "scored better than “real” by 0.021 ± 0.006 mean IoU" in verdict("a", "real", gain)
    assert "+0.004 to +0.038, 5 seeds" in verdict("a", "real", gain)
    loss = Difference(-0.021, 0.006, -0.038, -0.004, 5)
    assert "scored worse than “real” by 0.021 ± 0.006" in verdict("a", "real", loss)
    noise = Difference(0.004, 0.006, -0.013, 0.021, 5)
    words = verdict("a", "real", noise)
    assert words.startswith("No difference beyond noise")
    assert "does not follow that there is none" in words


def test_seeds_that_change_nothing_prove_nothing() -> None:
    rounded = {seed: 0.1 * seed + 0.25 for seed in range(3)}  # the differences are equal up to the last bit
    same = paired_difference(rounded, {seed: 0.1 * seed for seed in range(3)})
    assert not is_beyond_noise(same)
    assert "exactly +0.250 in all 3 seeds" in verdict("a", "real", same)


def test_signs_are_typographic_and_zero_has_none() -> None:
    assert [signed(value) for value in (0.0204, -0.0204, 0.0001, -0.0001)] == ["+0.020", "−0.020", "0.000", "0.000"]


def test_what_the_places_say_is_said_with_it() -> None:
    gain = Difference(0.021, 0.006, 0.004, 0.038, 5)
    everywhere = verdict("a", "real", gain, places=GroupInterval(0.01, 0.03, 24))
    assert "not just at a few places: the 24 blocks of test tiles give +0.010 to +0.030" in everywhere
    somewhere = verdict("a", "real", gain, places=GroupInterval(-0.01, 0.05, 9, "scenes"))
    assert "may be due to where it was tested: the 9 scenes of test tiles give −0.010 to +0.050" in somewhere
    assert "does not follow that it would be better elsewhere" in somewhere


def test_p_is_that_of_scipy() -> None:
    arm, base = [0.61, 0.58, 0.66, 0.60], [0.59, 0.57, 0.61, 0.59]
    found = paired_difference(dict(enumerate(arm)), dict(enumerate(base)))
    assert found is not None
    assert p_value(found) == pytest.approx(stats.ttest_rel(arm, base).pvalue)
    assert p_value(Difference(0.1, None, None, None, 1)) is None


def test_many_comparisons_keep_what_holm_keeps() -> None:
    def with_p(p: float) -> Difference:
        error = 0.1 / float(stats.t.isf(p / 2, 9))
        reach = float(stats.t.ppf(0.975, 9)) * error
        return Difference(0.1, error, 0.1 - reach, 0.1 + reach, 10)

    several = [with_p(p) for p in (0.04, 0.001, 0.015, 0.3)]  # levels 0.0125, 0.0167, 0.025, 0.05 from the smallest
    assert still_beyond_noise(several) == [False, True, True, False]
    assert still_beyond_noise([with_p(0.04)]) == [True]
    assert still_beyond_noise([with_p(0.04), None]) == [True, False]  # what cannot be judged costs nothing
    assert still_beyond_noise([with_p(0.04), with_p(0.9)]) == [False, False]
    assert still_beyond_noise([]) == []
