"""Charts of one number against another: scores by ratio, gains by class frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geosynth.evaluation.statistics import Difference, Estimate, signed
from geosynth.evaluation.svg import ACCENT, INK, PALE, RULE, WIDTH, labels, line, marker, svg, text, ticks
from geosynth.evaluation.wording import shown

LEFT, TOP, BOTTOM = 84, 30, 340
_FEWEST_DECADES = 0.5
_LETTER = 7.2
"""About how wide a letter is drawn."""


@dataclass(frozen=True)
class Series:
    """Scores of one kind of arm by ratio: synthetic pairs for each real one, ascending."""

    name: str
    points: tuple[tuple[float, Estimate], ...]


@dataclass(frozen=True)
class ClassGain:
    """What one class gained, and its share of the labelled training pixels, above 0 to 1."""

    name: str
    share: float
    gain: Difference


@dataclass(frozen=True)
class _Axes:
    x: tuple[float, float]
    y: tuple[float, float]
    right: float = WIDTH - 230

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return round(LEFT + across * (self.right - LEFT), 2), round(BOTTOM - up * (BOTTOM - TOP), 2)


def ratio_chart(series: Sequence[Series], reference: Estimate | None) -> str:
    """Mean IoU ± standard error by ratio, one marker and line style a series; real tiles only is ratio 0."""
    everything = [*(entry for one in series for _, entry in one.points), *([reference] if reference else [])]
    ends = [entry.mean + side * (entry.standard_error or 0) for entry in everything for side in (-1, 1)]
    ratios = sorted({ratio for one in series for ratio, _ in one.points})
    marks, across = ticks(min(ends), max(ends)), ticks(0.0, max(ratios))
    axes = _Axes((across[0] - 0.04 * across[-1], across[-1] * 1.03), (marks[0], marks[-1]))
    parts = [_grid(axes, marks, "mean IoU")]
    for mark, words in zip(across, labels(across), strict=True):
        x, _ = axes.at(mark, marks[0])
        parts += [line(x, BOTTOM, x, BOTTOM + 5, colour=PALE)]
        parts += [text(x, BOTTOM + 21, words, anchor="middle", size=13, colour=PALE)]
    title = "synthetic pairs for each real pair (R)"
    parts.append(text((LEFT + axes.right) / 2, BOTTOM + 44, title, anchor="middle", size=13, colour=PALE))
    ends_at = []
    if reference is not None:
        y = axes.at(0, reference.mean)[1]
        parts.append(line(LEFT, y, axes.right, y, colour=INK, dashes="2 4"))
        ends_at.append((y, f"real only {shown(reference)}"))
    for number, one in enumerate(series):
        points = [*([(0.0, reference)] if reference else []), *one.points]
        places = [axes.at(ratio, entry.mean) for ratio, entry in points]
        path = "L".join(f"{x:g} {y:g}" for x, y in places)
        dashes = ("", "7 4", "2 3", "9 3 2 3")[number % 4]
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{ACCENT}" stroke-width="1.5"'
            f"{f' stroke-dasharray="{dashes}"' if dashes else ''}/>"
        )
        for (ratio, entry), (x, y) in zip(points, places, strict=True):
            parts += [_error_bar(axes, ratio, entry), marker(number, x, y)]
        ends_at.append((places[-1][1], f"{one.name} {points[-1][1].mean:.3f}"))
    for y, words in _apart(ends_at, 18):
        parts.append(text(axes.right + 14, y + 4, words, size=13))
    said = "; ".join(
        f"{one.name}: " + ", ".join(f"R={ratio:.3g} {shown(entry)}" for ratio, entry in one.points) for one in series
    )
    return svg(BOTTOM + 60, f"Mean IoU by ratio of synthetic to real pairs. {said}", parts)


def gain_chart(gains: Sequence[ClassGain], title: str) -> str:
    """Gain in IoU ± standard error of every class against how frequent it is (logarithmic), each point labelled."""
    ends = [g.gain.mean + side * (g.gain.standard_error or 0) for g in gains for side in (-1, 1)]
    marks = ticks(min(0.0, *ends), max(0.0, *ends))
    low, high = (pick(math.log10(g.share) for g in gains) for pick in (min, max))
    spare = max(0.08 * (high - low), (_FEWEST_DECADES - (high - low)) / 2, 0.05)
    axes = _Axes((low - spare, high + spare), (marks[0], marks[-1]), WIDTH - 150)
    parts = [_grid(axes, marks, "gain in IoU")]
    zero = axes.at(low, 0.0)[1]
    parts.append(line(LEFT, zero, axes.right, zero, colour=INK, width=1.5))
    for power in range(math.floor(low - spare), math.ceil(high + spare) + 1):
        for factor in (1, 2, 3, 5):
            share = factor * 10.0**power
            if axes.x[0] <= math.log10(share) <= axes.x[1] and share <= 1:
                x = axes.at(math.log10(share), 0)[0]
                parts.append(line(x, BOTTOM, x, BOTTOM + 5, colour=PALE))
                parts.append(text(x, BOTTOM + 21, f"{100 * share:g} %", anchor="middle", size=13, colour=PALE))
    middle = (LEFT + axes.right) / 2
    parts.append(text(middle, BOTTOM + 44, "share of the real training pixels", anchor="middle", size=13, colour=PALE))
    wanted, taken = list[tuple[float, float, str]](), [(float(LEFT), zero + 4, axes.right - LEFT)]
    for entry in sorted(gains, key=lambda entry: entry.share):
        x, y = axes.at(math.log10(entry.share), entry.gain.mean)
        parts += [_error_bar(axes, math.log10(entry.share), entry.gain), marker(0, x, y)]
        wanted.append((x, y, f"{entry.name} {signed(entry.gain.mean)}"))
        reach = abs(axes.at(0, entry.gain.standard_error or 0.0)[1] - axes.at(0, 0)[1])
        taken += [(x - 8, y + 4 + step, 16.0) for step in range(-int(reach), int(reach) + 1, 12)]
    for x, y, words in wanted:
        place = _free(taken, x + 12, y - 8, _LETTER * len(words))
        taken.append((x + 12, place, _LETTER * len(words)))
        if abs(place - (y - 8)) > 20:
            parts.append(line(x, y, x + 11, place - 4, colour=PALE))
        parts.append(text(x + 12, place, words, size=13))
    said = "; ".join(f"{entry.name} {signed(entry.gain.mean)}" for entry in gains)
    return svg(BOTTOM + 60, f"{title}: {said}", parts)


def _grid(axes: _Axes, marks: Sequence[float], title: str) -> str:
    parts = [text(LEFT - 66, TOP - 16, title, size=13, colour=PALE)]
    for mark, words in zip(marks, labels(marks), strict=True):
        _, y = axes.at(axes.x[0], mark)
        parts.append(line(LEFT, y, axes.right, y, colour=RULE))
        parts.append(text(LEFT - 10, y + 5, words, anchor="end", size=13, colour=PALE))
    return "".join(parts)


def _error_bar(axes: _Axes, x: float, entry: Estimate | Difference) -> str:
    if entry.standard_error is None:
        return ""
    left, low = axes.at(x, entry.mean - entry.standard_error)
    _, high = axes.at(x, entry.mean + entry.standard_error)
    return (
        f'<path d="M{left:g} {low:g}V{high:g}M{left - 6:g} {low:g}h12M{left - 6:g} {high:g}h12" stroke="{ACCENT}"'
        ' stroke-width="2" fill="none"/>'
    )


def _apart(places: Sequence[tuple[float, str]], distance: float) -> list[tuple[float, str]]:
    """Heights of labels at least ``distance`` apart, in their order from the top."""
    found: list[tuple[float, str]] = []
    for y, words in sorted(places):
        found.append((max(y, found[-1][0] + distance) if found else y, words))
    return found


def _free(taken: Sequence[tuple[float, float, float]], x: float, y: float, width: float) -> float:
    """The height nearest to ``y`` where a label of ``width`` from ``x`` touches none of ``taken`` (x, y, width)."""

    def hits(height: float) -> bool:
        return any(abs(height - v) < 16 and x < u + wide and u < x + width for u, v, wide in taken)

    steps = [y + sign * 4 * step for step in range(60) for sign in (1, -1)]
    return next((height for height in steps if TOP < height < BOTTOM and not hits(height)), y)
