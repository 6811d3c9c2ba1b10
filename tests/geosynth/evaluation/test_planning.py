from __future__ import annotations

import pytest

from geosynth.errors import GeosynthError
from geosynth.evaluation.planning import by_priority, fit, in_words, parse_duration

ROWS = {"real": range(7), "mixed": range(7), "cutmix": range(4), "made": range(3)}
BLOCKS = by_priority(ROWS, "real", "mixed")


def with_real(name: str, *numbers: int) -> list[tuple[str, int]]:
    return [(one, number) for number in numbers for one in ("real", name)]


def test_the_headline_comes_first_and_others_in_threes() -> None:
    assert BLOCKS[:5] == [[("real", n), ("mixed", n)] for n in range(5)]
    assert BLOCKS[5:7] == [with_real("cutmix", 0, 1, 2), with_real("made", 0, 1, 2)]
    assert BLOCKS[7:] == [with_real("cutmix", 3), with_real("mixed", 5), with_real("mixed", 6)]
    plan = fit(BLOCKS, lambda name: 1.0, 1e9, {})
    assert len(plan.runs) == len(set(plan.runs)) == 7 + 7 + 4 + 3


def test_no_run_is_left_without_what_it_is_compared_with() -> None:
    rows = {"real": range(8), "mixed": range(8), "filtered": range(8)}
    blocks = by_priority(rows, "real", "mixed")
    seconds = {"real": 10.0, "mixed": 100.0, "filtered": 1.0}
    for budget in range(100, 1000, 7):
        runs = set(fit(blocks, seconds.__getitem__, budget, {}).runs)
        assert all(("real", number) in runs for _, number in runs)
    alone = by_priority({"mixed": range(2), "made": range(2)}, None, "mixed")
    assert alone == [[("mixed", 0)], [("mixed", 1)], [("made", 0), ("made", 1)]]


def test_what_does_not_fit_is_left_out_and_cheaper_runs_may_follow() -> None:
    seconds = {"real": 10.0, "mixed": 10.0, "cutmix": 50.0, "made": 10.0}
    plan = fit(BLOCKS, seconds.__getitem__, 100 + 30, {})
    assert plan.runs == (*(run for block in BLOCKS[:5] for run in block), *(("made", n) for n in range(3)))
    assert set(plan.left_out) == {run for block in (BLOCKS[5], *BLOCKS[7:]) for run in block} - set(plan.runs)
    assert fit(BLOCKS, seconds.__getitem__, 1, {}).runs == tuple(BLOCKS[0])  # the first is always done
    assert fit(BLOCKS, seconds.__getitem__, 1e9, {}).left_out == ()


def test_runs_that_are_done_cost_what_they_took_and_stay() -> None:
    done = {("real", 0): 20.0, ("mixed", 0): 20.0, ("cutmix", 0): 45.0}
    plan = fit(BLOCKS, lambda name: 10.0, 40 + 45 + 4 * 20 + 25, done)
    assert set(plan.runs) == {*(run for block in BLOCKS[:5] for run in block), *BLOCKS[5]}
    short = fit(BLOCKS, lambda name: 10.0, 1, done)
    assert set(short.runs) == set(done)
    assert ("cutmix", 1) in short.left_out and ("cutmix", 0) not in short.left_out


def test_durations() -> None:
    texts = {"90s": 90, "30min": 1800, "2h": 7200, "1h30m": 5400, "1.5 h": 5400, "1d": 86400}
    assert {text: parse_duration(text) for text in texts} == texts
    for wrong in ("", "2", "h", "2x", "0s", "-1h", "2h or so"):
        with pytest.raises(GeosynthError, match="duration"):
            parse_duration(wrong)
    assert [in_words(s) for s in (0.2, 45, 600, 7500)] == ["1 s", "45 s", "10 min", "2 h 5 min"]
