"""Pieces of charts as SVG text: sharp in print, readable without colour, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

INK, PALE, RULE, ACCENT = "#1f2933", "#566472", "#d5dbe1", "#0b5563"
WIDTH = 820

SHAPES = 4
"""Marker shapes; the ones after these are the same, hollow."""


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``, about ``about`` steps apart."""
    span = max(high - low, 1e-3)
    power = 10 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * about >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def labels(marks: Sequence[float]) -> list[str]:
    """The marks of an axis as written: all with the decimals that the longest needs, and a true minus."""
    decimals = max(len(f"{mark:.10f}".rstrip("0").split(".")[1]) for mark in marks)
    return [f"{mark:.{decimals}f}".replace("-", "−") for mark in marks]


def marker(number: int, x: float, y: float) -> str:
    """A filled circle, square, diamond or triangle; hollow from the fifth on."""
    shapes = (
        f'<circle cx="{x:g}" cy="{y:g}" r="7"',
        f'<rect x="{x - 6.5:g}" y="{y - 6.5:g}" width="13" height="13"',
        f'<path d="M{x:g} {y - 9:g}l9 9l-9 9l-9 -9z"',
        f'<path d="M{x:g} {y - 8.5:g}l8.5 15h-17z"',
    )
    fill = ACCENT if number % (2 * SHAPES) < SHAPES else "#ffffff"
    return f'{shapes[number % SHAPES]} fill="{fill}" stroke="{ACCENT}" stroke-width="2"/>'


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str = RULE, width: float = 1, dashes: str = "") -> str:
    """A straight line; ``dashes`` are lengths of strokes and gaps."""
    broken = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{colour}" stroke-width="{width:g}"{broken} fill="none"/>'


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 14, colour: str = INK, weight: int = 400
) -> str:
    """Words at a place; ``anchor`` is start, middle or end."""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
        f' fill="{colour}">{escape(words)}</text>'
    )


def svg(height: float, words: str, parts: Sequence[str]) -> str:
    """A whole picture, ``WIDTH`` wide; ``words`` say what it shows to those who do not see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(words)}"'
        f' xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
