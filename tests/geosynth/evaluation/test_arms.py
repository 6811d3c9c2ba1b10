from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from geosynth.errors import GeosynthError
from geosynth.evaluation.arms import RECIPES, Arm, choose_arms, headline_arm, reference_arm, slug, standard_arms
from geosynth.evaluation.seeds import layout
from geosynth.segmentation.training import SegmenterPlan

MADE = {"made": [Path("a"), Path("b")]}


def test_the_arms_that_are_run_unless_others_are_asked_for() -> None:
    arms = choose_arms(MADE)
    assert [arm.name for arm in arms] == [
        "real",
        "real + made, R=1",
        "made",
        "real twice",
        "real, CutMix",
        "real + filtered made, R=1",
        "real + filtered made, R=3",
    ]
    assert reference_arm(arms) is arms[0] and headline_arm(arms) is arms[1]
    assert arms[1].synthetic == (Path("a"), Path("b")) and arms[3].synthetic == ()
    assert [arm.optional for arm in arms] == [False, True, True, True, True, True, True]


def test_what_is_asked_for_by_name_must_not_be_left_out() -> None:
    arms = choose_arms(MADE, ["mixed", "cutmix"], [0.5, 3])
    assert [(arm.name, arm.ratio) for arm in arms] == [
        ("real", None),
        ("real + made, R=0.5", 0.5),
        ("real + made, R=3", 3),
        ("real, CutMix", None),
    ]
    assert not any(arm.optional for arm in arms)
    assert headline_arm(arms) == arms[1]  # the nearest to R=1


def test_all_arms_and_those_that_need_something_more() -> None:
    words = [arm.word for arm in choose_arms(MADE, ["all"])]
    assert set(words) == {recipe.word for recipe in RECIPES} - {"answers"}
    answers = choose_arms(MADE, ["real"], generators={"model": "m"})[-1]
    assert (answers.name, answers.synthetic, answers.source) == ("model itself", (Path("m"),), "answers")
    for words, made in ((["nonsense"], MADE), (["answers"], MADE), (["mixed"], {})):
        with pytest.raises(GeosynthError):
            choose_arms(made, words)


def test_every_recipe_sets_what_a_segmenter_knows_and_has_a_name_of_its_own() -> None:
    for recipe in RECIPES:
        SegmenterPlan(**dict(recipe.training))  # type: ignore[arg-type]
    names = [slug(arm.name) for arm in choose_arms(MADE, ["all"], [0.5, 1, 2], {"model": "m"})]
    assert len(set(names)) == len(names)


def test_the_short_comparison_has_no_other_arms() -> None:
    assert headline_arm(standard_arms({"made": "a"})) == Arm(
        "real + made", (Path("a"),), source="synthetic", label="made", word="mixed"
    )


def test_seeds_meet_all_combinations_and_each_starts_anew() -> None:
    rows = layout(range(6), 3)
    assert Counter((row.subset, row.generator % 2) for row in rows) == {(s, g): 1 for s in range(3) for g in range(2)}
    assert [row.initialisation for row in rows] == list(range(6))
    # As many subsets as rows: both generators are met all the same.
    assert {row.generator % 2 for row in layout(range(5), 5)} == {0, 1}
