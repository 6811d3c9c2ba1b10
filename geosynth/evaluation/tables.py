"""The report's tables as CSV, with all digits: one line an arm, one line an arm and class."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from geosynth.evaluation.statistics import Difference, Estimate
from geosynth.evaluation.summary import ArmSummary

ARMS, CLASSES = "arms.csv", "classes.csv"


def arms_csv(summaries: Sequence[ArmSummary]) -> str:
    """Scores of every arm, and differences to real tiles only with both intervals; empty where unknown."""
    head = ["arm", "runs", "mean_iou", "mean_iou_se", "mean_f1", "mean_f1_se", "difference", "difference_se"]
    head += ["seeds_low", "seeds_high", "unit", "units", "places_low", "places_high", "difference_f1"]
    head += ["difference_f1_se"]
    rows = []
    for entry in summaries:
        gain, places = entry.difference, entry.places
        rows.append(
            [
                entry.arm.name,
                str(len(entry.runs)),
                *_both(entry.mean_iou),
                *_both(entry.mean_f1),
                *_both(gain),
                *(_number(end) for end in ((None, None) if gain is None else (gain.low, gain.high))),
                *(("", "") if places is None else (places.unit, str(places.groups))),
                *(_number(end) for end in ((None, None) if places is None else (places.low, places.high))),
                *_both(entry.difference_f1),
            ]
        )
    return _text(head, rows)


def classes_csv(summaries: Sequence[ArmSummary], names: Sequence[str]) -> str:
    """IoU and F1 of every arm and class, and what it gained over real tiles only; empty where unknown."""
    head = ["arm", "class", "iou", "iou_se", "f1", "f1_se", "gain", "gain_se"]
    rows = [
        [
            entry.arm.name,
            name,
            *_both(entry.iou[k]),
            *_both(entry.f1[k]),
            *_both(entry.gains[k] if entry.gains else None),
        ]
        for entry in summaries
        for k, name in enumerate(names)
    ]
    return _text(head, rows)


def _both(entry: Estimate | Difference | None) -> tuple[str, str]:
    return ("", "") if entry is None else (_number(entry.mean), _number(entry.standard_error))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _text(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()
