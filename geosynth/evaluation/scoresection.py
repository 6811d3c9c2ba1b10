"""What the report shows of the scores: plain values for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.evaluation.bootstrap import FEW_GROUPS, FEWEST_GROUPS, GroupInterval
from geosynth.evaluation.charts import arms_chart
from geosynth.evaluation.classtable import (
    Curves,
    Trio,
    best_of,
    class_gains,
    confusion_cells,
    curves,
    gain_of,
    normalised,
    trios,
)
from geosynth.evaluation.curves import gain_chart, ratio_chart
from geosynth.evaluation.fidelity import class_shares
from geosynth.evaluation.statistics import FEWEST_SEEDS, Difference, signed
from geosynth.evaluation.summary import ArmSummary
from geosynth.evaluation.wording import percent, plus_minus, shown
from geosynth.tileset import Split, Tileset


def score_section(subsets: Sequence[Tileset], summaries: Sequence[ArmSummary]) -> dict[str, Any]:
    """Tables and charts of scores; ``arms`` is empty where nothing was trained. ``subsets``: the real tilesets."""
    real = subsets[0]
    found = trios(summaries)
    found_curves = curves(summaries)
    shares = mean_shares(subsets, "train")
    names = [entry.name for entry in real.spec.legend.classes]
    charts = [(trio.label, class_gains(trio, names, shares)) for trio in found]
    return {
        "arms": [_arm(entry) for entry in summaries],
        "places_words": _places_words(summaries),
        "rows_words": _rows_words(summaries),
        "val_words": _val_words(summaries),
        "arms_chart": arms_chart(summaries) if summaries else "",
        "curve": ratio_chart(found_curves.series, found_curves.real) if found_curves.series else "",
        "curve_words": _curve_words(found_curves, summaries),
        "class_tables": [_trio(subsets, trio) for trio in found],
        "gain_charts": [
            (label, gain_chart(gains, f"Gain in IoU by class from adding “{label}”"))
            for label, gains in charts
            if gains
        ],
        "classes": _classes(real, summaries) if len(summaries) > (3 if found else 0) else [],
        "confusions": [_confusion(entry, names) for entry in summaries],
        "class_names": names,
    }


def _arm(entry: ArmSummary) -> dict[str, Any]:
    sure = entry.places if len(entry.runs) >= FEWEST_SEEDS else None  # of one network or two it would look like a claim
    return {
        "name": entry.arm.name,
        "real": _pairs([run.real_pairs for run in entry.runs]),
        "synthetic": _pairs([run.synthetic_pairs for run in entry.runs]),
        "runs": len(entry.runs),
        "iou": shown(entry.mean_iou),
        "f1": shown(entry.mean_f1),
        "difference": _gain(entry.difference),
        "interval": _interval(entry.difference),
        "places": "–" if sure is None else f"{signed(sure.low)} to {signed(sure.high)}",
    }


def _pairs(counts: Sequence[int]) -> str:
    """How many pairs the runs of an arm learned from: label subsets and filters differ."""
    low, high = min(counts), max(counts)
    return "–" if not high else f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _rows_words(summaries: Sequence[ArmSummary]) -> str:
    """A warning where means are not over the same rows; empty where they are."""
    counts = {len(entry.runs) for entry in summaries}
    if len(counts) < 2:
        return ""
    return (
        f"The arms have {min(counts)} to {max(counts)} runs, so means of two arms may differ by which rows they are of."
        " Differences and gains are paired row by row and free of that: go by these."
    )


def _val_words(summaries: Sequence[ArmSummary]) -> str:
    """The same differences on val tiles; empty where they cannot be had."""
    found = [entry for entry in summaries if entry.difference_val is not None]
    if not found:
        return ""
    told = "; ".join(f"“{entry.arm.name}” {_gain(entry.difference_val)}" for entry in found)
    return (
        "On the val tiles, by which the weights of each run were chosen, the differences in mean IoU are:"
        f" {told}. Where they are others than on the test tiles, it is where one tests that decides, and how far that"
        " is from what was learnt."
    )


def _gain(difference: Difference | None) -> str:
    return "–" if difference is None else f"{signed(difference.mean)}{plus_minus(difference.standard_error)}"


def _interval(difference: Difference | None) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return "–"
    return f"{signed(difference.low)} to {signed(difference.high)}"


def _places_words(summaries: Sequence[ArmSummary]) -> str:
    """What the two intervals cover."""
    if not any(entry.verdict for entry in summaries):
        return ""
    places: GroupInterval | None = next((entry.places for entry in summaries if entry.places is not None), None)
    seeds = (
        "The interval over seeds covers doing it again with other seeds and testing on the same tiles (Student’s t over"
        " the paired rows)."
    )
    if places is None:
        groups = len(summaries[0].runs[0].groups)
        blocks = f"{groups} block" + ("s" if groups > 1 else "")
        return (
            f"{seeds} The test tiles lie in {blocks}, too few for an interval over places (at least {FEWEST_GROUPS}):"
            " how much the difference depends on where it was tested is not known."
        )
    few = " With so few it is likely too narrow." if places.groups < FEW_GROUPS else ""
    return (
        f"{seeds} The interval over {places.unit} covers testing the same networks at other places like these: the"
        f" {places.groups} {places.unit} of test tiles are drawn again and again with replacement, the same ones for"
        f" both arms and all seeds, and the IoU is that of the summed pixels.{few} Neither covers the other’s chance."
    )


def mean_shares(subsets: Sequence[Tileset], split: Split) -> NDArray[np.float64] | None:
    """Shares of the classes in the labels of ``split``, float64 (K,) in legend order, 0..1: the mean over label
    subsets; None where no tile has labels."""
    shares = [found for one in subsets if (found := class_shares(one.select(split, labelled=True))) is not None]
    return np.mean(shares, axis=0) if shares else None


def _curve_words(found: Curves, summaries: Sequence[ArmSummary]) -> str:
    """Which rows the curve is of, where arms have others too."""
    if not found.series or max(len(entry.runs) for entry in summaries) == found.rows:
        return ""
    return f"Every point is over the same {found.rows} rows of seeds, those that all of them have."


def _trio(subsets: Sequence[Tileset], trio: Trio) -> dict[str, Any]:
    train, test = mean_shares(subsets, "train"), mean_shares(subsets, "test")
    rows = []
    for k, entry in enumerate(subsets[0].spec.legend.classes):
        cells = [None if column is None else column.iou[k] for column in trio.columns]
        rows.append(
            {
                "name": entry.name,
                "colour": entry.color,
                "train": "–" if train is None else percent(train[k]),
                "test": "–" if test is None else percent(test[k]),
                "cells": _cells(cells),
                "gain": _gain(gain_of(trio, k)),
            }
        )
    means = [None if column is None else column.mean_iou for column in trio.columns]
    return {
        "label": trio.label,
        "heads": [
            (short, other if column is None else f"{column.arm.name}, {_runs(column)}")
            for short, other, column in zip(
                ("Gen.", "Ori.", "Gen. + Ori."), (trio.label, "real", "both"), trio.columns, strict=True
            )
        ],
        "rows": rows,
        "means": _cells(means),
        "gain": _gain(None if trio.both is None else trio.both.difference),
    }


def _cells(cells: Sequence[Any]) -> list[dict[str, Any]]:
    best = best_of(cells)
    return [
        {"text": "–" if cell is None else shown(cell), "best": position in best} for position, cell in enumerate(cells)
    ]


def _classes(real: Tileset, summaries: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    """A row for each arm, the best of each class marked."""
    columns = [best_of([entry.iou[k] for entry in summaries]) for k in range(len(real.spec.legend.classes))]
    return [
        {
            "name": entry.arm.name,
            "cells": [
                {
                    "mean": "–" if value is None else f"{value.mean:.3f}",
                    "error": "" if value is None else plus_minus(value.standard_error).strip(),
                    "best": position in columns[k],
                }
                for k, value in enumerate(entry.iou)
            ],
        }
        for position, entry in enumerate(summaries)
    ]


def _confusion(entry: ArmSummary, names: Sequence[str]) -> dict[str, Any]:
    shares: NDArray[np.float64] = normalised(entry.confusion)
    rows = [
        {"name": name, "cells": [{"text": words, "dark": dark} for words, dark in cells]}
        for name, cells in zip(names, confusion_cells(shares), strict=True)
    ]
    return {"name": entry.arm.name, "rows": rows, "runs": _runs(entry)}


def _runs(entry: ArmSummary) -> str:
    return f"{len(entry.runs)} run" + ("s" if len(entry.runs) > 1 else "")
