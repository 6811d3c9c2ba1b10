"""Charts as SVG text: drawn from numbers alone, sharp in print, readable without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from geosynth.evaluation.summary import ArmSummary

INK, PALE, RULE, ACCENT = "#1f2933", "#616e7c", "#d5dbe1", "#0b5563"
WIDTH, LEFT, RIGHT = 820, 190, 150


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``, about ``about`` steps apart."""
    span = max(high - low, 1e-3)
    power = 10 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * about >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def arms_chart(summaries: Sequence[ArmSummary]) -> str:
    """Mean IoU of each arm with ± one standard error, and every run as a tick; a marker shape an arm."""
    scores = [run.mean_iou for summary in summaries for run in summary.runs]
    ends = [
        summary.mean_iou.mean + side * (summary.mean_iou.standard_error or 0)
        for summary in summaries
        for side in (-1, 1)
    ]
    marks = ticks(min(scores + ends), max(scores + ends))
    row, top = 58, 12
    bottom = top + row * len(summaries)
    parts = [_axis(marks, top, bottom, "mean IoU on the real test tiles")]
    reference = next((summary for summary in summaries if summary.difference is None), None)
    if reference is not None:
        x = _x(reference.mean_iou.mean, marks)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" stroke="{INK}" stroke-width="1" stroke-dasharray="2 4"/>'
        )
    for position, summary in enumerate(summaries):
        y = top + row * position + row / 2
        mean, error = summary.mean_iou.mean, summary.mean_iou.standard_error
        parts.append(_text(LEFT - 18, y + 5, summary.arm.name, anchor="end", size=15))
        parts += [
            f'<line x1="{_x(run.mean_iou, marks)}" x2="{_x(run.mean_iou, marks)}" y1="{y + 12:g}" y2="{y + 20:g}"'
            f' stroke="{PALE}" stroke-width="1.5"/>'
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
        parts.append(_marker(position, _x(mean, marks), y))
        parts.append(_text(WIDTH - RIGHT + 22, y + 5, label, size=15, weight=600))
    words = "; ".join(f"{summary.arm.name} {summary.mean_iou.mean:.3f}" for summary in summaries)
    return _svg(bottom + 50, f"Mean IoU by arm: {words}", parts)


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
        parts.append(f'<path d="M{x} {y - 16:g}v32" stroke="{INK}" stroke-width="3"/>')
        parts.append(_text(LEFT - 18, y + 5, name, anchor="end", size=15))
        parts.append(_text(WIDTH - RIGHT + 22, y + 5, f"median {np.median(values):.2f}", size=15))
    if threshold is not None:
        x = _x(threshold, marks)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{top - 4}" y2="{bottom}" stroke="{INK}" stroke-width="1.5"'
            ' stroke-dasharray="5 4"/>'
        )
        parts.append(_text(x + 5, top - 8, f"suspect below {threshold:.2f}", size=13))
    words = "; ".join(f"{name} median {np.median(values):.2f}" for name, values in rows)
    return _svg(bottom + 50, f"Distances to the nearest training tile: {words}", parts)


def _x(value: float, marks: Sequence[float]) -> float:
    share = (value - marks[0]) / (marks[-1] - marks[0])
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _axis(marks: Sequence[float], top: float, bottom: float, title: str) -> str:
    decimals = max(len(f"{mark:.10f}".rstrip("0").split(".")[1]) for mark in marks)
    lines = [f'<path d="M{_x(mark, marks)} {top}V{bottom}" stroke="{RULE}" stroke-width="1"/>' for mark in marks]
    lines += [
        _text(_x(mark, marks), bottom + 18, f"{mark:.{decimals}f}", anchor="middle", size=13, colour=PALE)
        for mark in marks
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return "".join([*lines, _text(middle, bottom + 40, title, anchor="middle", size=13, colour=PALE)])


def _marker(number: int, x: float, y: float) -> str:
    """A filled circle, square, diamond or triangle; hollow from the fifth on."""
    shapes = (
        f'<circle cx="{x}" cy="{y:g}" r="7"',
        f'<rect x="{x - 6.5:g}" y="{y - 6.5:g}" width="13" height="13"',
        f'<path d="M{x} {y - 9:g}l9 9l-9 9l-9 -9z"',
        f'<path d="M{x} {y - 8.5:g}l8.5 15h-17z"',
    )
    fill = ACCENT if number < len(shapes) else "#ffffff"
    return f'{shapes[number % len(shapes)]} fill="{fill}" stroke="{ACCENT}" stroke-width="2"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 14, colour: str = INK, weight: int = 400
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
        f' fill="{colour}">{escape(text)}</text>'
    )


def _svg(height: float, words: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(words)}"'
        f' xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
