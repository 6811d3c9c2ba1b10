"""Charts of one row for each thing compared: scores of arms, distances to training tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geosynth.evaluation.summary import ArmSummary
from geosynth.evaluation.svg import ACCENT, INK, PALE, WIDTH, labels, line, marker, svg, text, ticks

LEFT, RIGHT = 290, 140
_LONGEST = 34
"""Letters of a name that fit beside its row."""


def arms_chart(summaries: Sequence[ArmSummary]) -> str:
    """Mean IoU of each arm with ± one standard error, and every run as a tick; a marker shape an arm."""
    scores = [run.mean_iou for summary in summaries for run in summary.runs]
    ends = [
        summary.mean_iou.mean + side * (summary.mean_iou.standard_error or 0)
        for summary in summaries
        for side in (-1, 1)
    ]
    marks = ticks(min(scores + ends), max(scores + ends))
    row, top = 44, 12
    bottom = top + row * len(summaries)
    parts = [_axis(marks, top, bottom, "mean IoU on the real test tiles")]
    reference = next((summary for summary in summaries if not summary.verdict), None)
    if reference is not None:
        x = _x(reference.mean_iou.mean, marks)
        parts.append(line(x, top, x, bottom, colour=INK, dashes="2 4"))
    for position, summary in enumerate(summaries):
        y = top + row * position + row / 2
        mean, error = summary.mean_iou.mean, summary.mean_iou.standard_error
        parts.append(text(LEFT - 18, y + 5, _short(summary.arm.name), anchor="end", size=15))
        parts += [
            line(_x(run.mean_iou, marks), y + 12, _x(run.mean_iou, marks), y + 20, colour=PALE, width=1.5)
            for run in summary.runs
        ]
        label = f"{mean:.3f}"
        if error is not None:
            low, high = _x(mean - error, marks), _x(mean + error, marks)
            parts.append(
                f'<path d="M{low} {y:g}H{high}M{low} {y - 6:g}v12M{high} {y - 6:g}v12" stroke="{ACCENT}"'
                ' stroke-width="2" fill="none"/>'
            )
            label += f" ± {error:.3f}"
        parts.append(marker(position, _x(mean, marks), y))
        parts.append(text(WIDTH - RIGHT + 22, y + 5, label, size=15, weight=600))
    words = "; ".join(f"{summary.arm.name} {summary.mean_iou.mean:.3f}" for summary in summaries)
    return svg(bottom + 50, f"Mean IoU by arm: {words}", parts)


def distances_chart(rows: Sequence[tuple[str, NDArray[np.float64]]], threshold: float | None) -> str:
    """Distances to the nearest training tile: a tick a tile, median as a bar, the threshold as a dashed line."""
    everything = np.concatenate([values for _, values in rows])
    marks = ticks(0.0, float(everything.max()))
    row, top = 48, 22
    bottom = top + row * len(rows)
    parts = [_axis(marks, top, bottom, "distance to the nearest training tile (standard deviations)")]
    for position, (name, values) in enumerate(rows):
        y = top + row * position + row / 2
        shown = np.sort(values)[np.unique(np.linspace(0, len(values) - 1, min(len(values), 400)).astype(int))]
        path = "".join(f"M{_x(float(value), marks)} {y - 9:g}v18" for value in shown)
        parts.append(f'<path d="{path}" stroke="{ACCENT}" stroke-opacity="0.45" stroke-width="1.5"/>')
        x = _x(float(np.median(values)), marks)
        parts.append(line(x, y - 16, x, y + 16, colour=INK, width=3))
        parts.append(text(LEFT - 18, y + 5, _short(name), anchor="end", size=15))
        parts.append(text(WIDTH - RIGHT + 22, y + 5, f"median {np.median(values):.2f}", size=15))
    if threshold is not None:
        x = _x(threshold, marks)
        parts.append(line(x, top - 4, x, bottom, colour=INK, width=1.5, dashes="5 4"))
        parts.append(text(x + 5, top - 8, f"suspect below {threshold:.2f}", size=13))
    words = "; ".join(f"{name} median {np.median(values):.2f}" for name, values in rows)
    return svg(bottom + 50, f"Distances to the nearest training tile: {words}", parts)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _x(value: float, marks: Sequence[float]) -> float:
    share = (value - marks[0]) / (marks[-1] - marks[0])
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _axis(marks: Sequence[float], top: float, bottom: float, title: str) -> str:
    lines = [line(_x(mark, marks), top, _x(mark, marks), bottom) for mark in marks]
    lines += [
        text(_x(mark, marks), bottom + 18, words, anchor="middle", size=13, colour=PALE)
        for mark, words in zip(marks, labels(marks), strict=True)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return "".join([*lines, text(middle, bottom + 40, title, anchor="middle", size=13, colour=PALE)])
