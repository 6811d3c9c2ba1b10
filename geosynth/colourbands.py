"""Which bands make a picture for people: red, green and blue by their names."""

from __future__ import annotations

from collections.abc import Sequence

_COLOURS = (("red", "green", "blue"), ("b04", "b03", "b02"), ("b4", "b3", "b2"))
"""Names of red, green and blue: colours (which scenes without descriptions have from their colour interpretation), and
the bands of Sentinel-2 and of Landsat since 8, both of which number them so."""


def colour_bands(names: Sequence[str]) -> tuple[int, ...]:
    """Positions of red, green and blue among bands called ``names``, in any case of letters.

    Where names do not tell: the first three, or the first alone, drawn in grey, of fewer than three.
    """
    lower = [name.strip().lower() for name in names]
    for colours in _COLOURS:
        if all(colour in lower for colour in colours):
            return tuple(map(lower.index, colours))
    return (0, 1, 2) if len(names) >= 3 else (0,)
