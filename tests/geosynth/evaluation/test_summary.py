from __future__ import annotations

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from evaluation_tiles import make_tiles
from made_results import arm, result

from geosynth.evaluation.arms import Arm
from geosynth.evaluation.classtable import (
    best_of,
    class_gains,
    confusion_cells,
    curves,
    gain_of,
    normalised,
    trios,
)
from geosynth.evaluation.comparison import compare
from geosynth.evaluation.contact import stretch_of
from geosynth.evaluation.experiment import RunResult
from geosynth.evaluation.fidelity import CopySearch, class_shares
from geosynth.evaluation.scoresection import _val_words, mean_shares, score_section
from geosynth.evaluation.spread import spread
from geosynth.evaluation.statistics import Estimate
from geosynth.evaluation.summary import ArmSummary, in_short, summarise, together
from geosynth.evaluation.tables import arms_csv, classes_csv
from geosynth.evaluation.wording import percent
from geosynth.events import Events
from geosynth.subset import SubsetPlan, subset_tileset
from geosynth.tileset import Tileset

REAL, MIXED, MADE = arm("real"), arm("mixed"), arm("synthetic")


def summaries() -> list[ArmSummary]:
    hits = {REAL: (60, 40, 80), MIXED: (70, 60, 80), MADE: (50, 20, 80)}
    runs = [
        result(of, row, (first + row, second + 2 * row * (of is MIXED), third))
        for of, (first, second, third) in hits.items()
        for row in range(3)
    ]
    return summarise(list(hits), runs)


def iou(hits: tuple[int, ...], k: int) -> float:
    """By hand: 100 true pixels a class, and what is missed of a class is taken for the next one."""
    return hits[k] / (200 - hits[k - 1])


def test_the_table_of_classes_by_hand() -> None:
    trio = trios(summaries())[0]
    assert trio.label == "made"
    made, real, both = trio.columns
    assert made is not None and real is not None and both is not None
    rows = [(60 + row, 40, 80) for row in range(3)], [(70 + row, 60 + 2 * row, 80) for row in range(3)]
    for k in range(3):
        ori, mixed = ([iou(hits, k) for hits in runs] for runs in rows)
        cell = real.iou[k]
        assert cell is not None
        assert cell.mean == pytest.approx(np.mean(ori))
        assert cell.standard_error == pytest.approx(np.std(ori, ddof=1) / np.sqrt(3))
        gain = gain_of(trio, k)
        assert gain is not None
        apart = np.subtract(mixed, ori)
        assert gain.mean == pytest.approx(apart.mean())
        assert gain.standard_error == pytest.approx(apart.std(ddof=1) / np.sqrt(3))
    f1 = real.f1[0]
    assert f1 is not None
    assert f1.mean == pytest.approx(np.mean([2 * hit / (100 + hit + 20) for hit in (60, 61, 62)]))
    assert made.iou[1] is not None
    assert made.iou[1].mean < real.iou[1].mean  # type: ignore[union-attr]


def test_the_best_is_told_by_what_is_written() -> None:
    one, same, more = Estimate(0.5001, None, 1), Estimate(0.5003, None, 1), Estimate(0.512, 0.01, 3)
    assert best_of([one, same, None]) == {0, 1}
    assert best_of([one, more, same]) == {1}
    assert best_of([one, None, None]) == best_of([None, None]) == set()


def test_of_several_ratios_the_table_takes_that_nearest_to_one_and_the_curve_all() -> None:
    arms = [REAL, *(arm("mixed", ratio) for ratio in (0.5, 2.0, 3.0)), arm("filtered")]
    found = summarise(arms, [result(of, 0, (60 + n, 40, 80)) for n, of in enumerate(arms)])
    both = trios(found)[0].both
    assert both is not None
    assert both.arm.ratio == 0.5
    (series,) = curves(found).series  # the filtered arm has one ratio, which is no curve
    assert [ratio for ratio, _ in series.points] == [0.5, 2.0, 3.0]
    assert [entry.mean for _, entry in series.points] == [summary.mean_iou.mean for summary in found[1:4]]


def test_the_curve_compares_the_same_rows() -> None:
    """Of five rows for one ratio and two for another two count, for real tiles too: rows differ by their labels."""
    arms = [REAL, *(arm("mixed", ratio) for ratio in (1.0, 3.0))]
    runs = [
        result(of, row, (40 + 10 * row + n, 40, 80)) for n, of in enumerate(arms) for row in range(2 if n == 2 else 5)
    ]
    summaries = summarise(arms, runs)
    found = curves(summaries)
    assert found.rows == 2
    by_arm = [np.mean([run.mean_iou for run in entry.runs if run.seed < 2]) for entry in summaries]
    assert found.real is not None
    assert [found.real.mean, *(entry.mean for _, entry in found.series[0].points)] == pytest.approx(by_arm)
    assert {found.real.count, *(entry.count for _, entry in found.series[0].points)} == {2}
    assert curves([]).series == curves(summaries[:2]).series == ()
    apart = summarise(arms, [result(of, row, (50, 40, 80)) for row, of in enumerate(arms)])
    assert curves(apart).series == ()  # no row that all have


def test_shares_of_label_subsets_are_those_of_each(tmp_path: Path) -> None:
    """The table takes the mean over subsets; a synthetic tileset is held against the labels it was made from."""
    real = make_tiles(tmp_path / "all", {"train": 6, "test": 2})
    subsets = []
    for seed in (0, 1):
        subset_tileset(real.path, SubsetPlan(2, seed=seed, block=1), tmp_path / f"few{seed}", Events())
        subsets.append(Tileset(tmp_path / f"few{seed}"))
    own = [class_shares(one.select("train", labelled=True)) for one in subsets]
    assert not np.allclose(own[0], own[1])
    np.testing.assert_allclose(mean_shares(subsets, "train"), np.mean(own, axis=0))
    made = make_tiles(tmp_path / "made", {"train": 3}, synthetic=True, far=5000)
    search, stretch = CopySearch(real), stretch_of(real)
    apart = [compare("made", search, one, made, stretch, Events())["shares"] for one in subsets]
    for rows, expected in zip(apart, own, strict=True):
        assert [row["real"] for row in rows] == [percent(share) for share in expected]


def test_classes_that_are_not_in_the_training_tiles_have_no_place_in_the_chart() -> None:
    trio = trios(summaries())[0]
    gains = class_gains(trio, ("a", "b", "c"), np.array([0.7, 0.0, 0.3]))
    assert [(entry.name, entry.share) for entry in gains] == [("a", 0.7), ("c", 0.3)]
    assert class_gains(trio, ("a", "b", "c"), None) == []


def test_confusion_is_in_percent_of_the_truth() -> None:
    shares = normalised(np.array([[999, 1, 0], [30, 70, 0], [0, 0, 0]]))
    rows = list(confusion_cells(shares))
    assert [[words for words, _ in row] for row in rows] == [["100", "<1", "·"], ["30", "70", "·"], ["–", "–", "–"]]
    assert max(dark for row in rows for _, dark in row) <= 0.5  # dark ink stays legible
    assert rows[1][1][1] > rows[1][0][1]


def test_places_are_blocks_of_few_scenes_and_scenes_of_many() -> None:
    few = summaries()[1].places
    assert few is not None
    assert (few.groups, few.unit) == (8, "blocks")
    scenes = tuple(f"scene {n}/0/{block}" for n in range(9) for block in range(2))
    arms = [REAL, MIXED]
    found = summarise(
        arms, [result(of, row, (60, 50, 40 + 9 * n), groups=scenes) for n, of in enumerate(arms) for row in range(3)]
    )
    places = found[1].places
    assert places is not None
    assert (places.groups, places.unit) == (9, "scenes")
    gain = found[1].difference
    assert gain is not None
    assert places.low == pytest.approx(gain.mean)  # all scenes are alike
    assert places.high == pytest.approx(gain.mean)


def many(differences: dict[str, tuple[float, ...]]) -> list[ArmSummary]:
    """Arms whose runs find that many more pixels of each class than real tiles only do."""
    arms = {name: Arm(name, word="mixed") for name in differences}
    runs = [result(REAL, row, (50 + row, 50, 50)) for row in range(3)]
    runs += [
        result(arms[name], row, (50 + row + int(extra), 50 + int(extra), 50 + int(extra)))
        for name, extras in differences.items()
        for row, extra in enumerate(extras)
    ]
    return summarise([REAL, *(Arm(name, training=(("cutmix", 1.0),)) for name in differences)], runs)


def test_the_only_difference_is_named_where_it_does_not_stay() -> None:
    found = many({"same": (-3, 4, -2), "good": (9, 14, 11), "other": (2, -2, 1)})
    assert "The difference of “good” does not stay when the 3 comparisons" in " ".join(in_short(found, found[1].arm))
    sure = many({"same": (-3, 4, -2), "good": (20, 20, 21)})
    assert "The difference of “good” stays when the 2 comparisons" in " ".join(in_short(sure, sure[1].arm))


def test_many_arms_are_told_by_what_they_showed() -> None:
    found = many({"lead": (9, 9, 10), "good": (20, 20, 21), "bad": (-20, -20, -21), "same": (-3, 4, -2), "new": (5,)})
    words = in_short(found, found[1].arm)
    assert words[0].startswith("“lead” scored better than “real”")
    assert any(line.startswith("Better than real tiles only, beyond noise: “good” (+0.") for line in words)
    assert any(line.startswith("Worse than real tiles only, beyond noise: “bad” (−0.") for line in words)
    assert any(line.startswith("No difference beyond noise: “same”") for line in words)
    assert any(line.startswith("Too few seeds to say: “new”") for line in words)
    assert "comparisons are judged together" in words[-1]
    assert in_short(found[:3], None)[:2] == [entry.verdict for entry in found[1:3]]


def test_one_comparison_needs_no_correction() -> None:
    assert together(many({"good": (20, 20, 21)})) == []
    assert together(many({"a": (-3, 4, -2), "b": (2, -4, 3)})) == []  # nothing is claimed


def test_the_spread_names_its_largest_source_and_what_did_not_vary() -> None:
    def run(row: int, generator: int, gain: int) -> tuple[RunResult, RunResult]:
        plain = (50, 50, 50)
        more = (50 + gain, 50 + gain, 50 + gain)
        return result(REAL, row, plain, generator=-1), result(MIXED, row, more, generator=generator)

    pairs = [run(0, 0, 4), run(1, 1, 14), run(2, 0, 5), run(3, 1, 15)]
    base, headline = summarise([REAL, MIXED], [result for pair in pairs for result in pair])
    found = spread(headline, base)
    assert [row[0] for row in found.rows] == ["which generator", "start of the training"]
    assert [row[2] for row in found.rows] == ["1", "2"]
    assert float(found.rows[0][1]) > 5 * float(found.rows[1][1])
    words = " ".join(found.words)
    assert "Which tiles have labels did not vary" in words
    assert "comes from: which generator" in words
    assert "4 rows share 2 generators" in words
    assert spread(None, base).rows == ()


def test_tables_hold_all_digits() -> None:
    found = summaries()
    rows = list(csv.DictReader(StringIO(arms_csv(found))))
    assert [row["arm"] for row in rows] == ["real", "real + made, R=1", "made"]
    assert rows[0]["difference"] == rows[0]["places_low"] == ""
    gain = found[1].difference
    assert gain is not None
    assert float(rows[1]["difference"]) == pytest.approx(gain.mean, abs=1e-6)
    assert (rows[1]["unit"], rows[1]["units"]) == ("blocks", "8")
    classes = list(csv.DictReader(StringIO(classes_csv(found, ("a", "b", "c")))))
    assert len(classes) == 9
    assert float(classes[4]["iou"]) == pytest.approx(
        np.mean([iou((70 + r, 60 + 2 * r, 80), 1) for r in range(3)]), abs=1e-6
    )


def test_a_claim_is_about_the_generators_that_were_run() -> None:
    """Three rows of one generator claim nothing of others; what is claimed of several names them."""
    for generators, words in (((0, 0, 0), "this network and this generator"), ((0, 1, 0), "these 2 generators")):
        runs = [result(REAL, row, (60 + row, 40, 80)) for row in range(3)]
        runs += [
            result(MIXED, row, (70 + row, 60 + 2 * row, 80), generator=number) for row, number in enumerate(generators)
        ]
        entry = summarise([REAL, MIXED], runs)[1]
        assert f"{words}; it does not follow for others" in entry.verdict


def test_what_few_runs_cannot_show_is_not_shown(tmp_path: Path) -> None:
    """An interval over places of one pair of networks would look like a claim; unequal rows are said."""
    tileset = make_tiles(tmp_path / "real", {"train": 2, "test": 2})
    runs = [replace(result(REAL, row, (60 + row, 40, 80, 50, 50, 50)), real_pairs=8 + row % 2) for row in range(3)]
    runs += [result(MIXED, row, (70, 60 + row, 80, 50, 50, 50)) for row in range(3)]
    runs += [result(MADE, 0, (50, 20, 80, 50, 50, 50))]
    found = score_section([tileset], summarise([REAL, MIXED, MADE], runs))
    assert [row["places"] == "–" for row in found["arms"]] == [True, False, True]
    assert [row["real"] for row in found["arms"]] == ["8–9", "8", "–"]
    assert "The arms have 1 to 3 runs" in found["rows_words"]
    assert score_section([tileset], summarise([REAL, MIXED], runs))["rows_words"] == ""


def test_differences_on_val_are_paired_and_told_apart() -> None:
    other = Arm("other", training=(("cutmix", 1.0),))
    runs = [result(REAL, row, (50, 50, 50), val=0.4 + 0.1 * row) for row in range(3)]
    runs += [result(other, row, (40 + row, 40, 40), val=0.41 + 0.1 * row) for row in range(3)]
    real, found = summarise([REAL, other], runs)
    assert real.difference_val is None
    assert found.difference_val is not None and found.difference is not None
    assert found.difference_val.mean == pytest.approx(0.01)
    assert found.difference.mean < -0.05
    assert "“other” +0.010 ± 0.000" in _val_words([real, found])
    unknown = summarise([REAL, other], [replace(run, val_iou=None) for run in runs])
    assert _val_words(unknown) == ""
