"""Where a generator's bands are among those of what is given to it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from geosynth.rasters import Band

_NUMBERED = re.compile(r"band[ _-]*\d+", re.IGNORECASE)


def band_order(own: Sequence[Band], known: Sequence[Band]) -> tuple[int, ...] | None:
    """The positions of a generator's bands ``known`` among ``own``; None where that is unclear, or the type another.

    They go by name where each has one that says something. Else all are taken in their order, unless a name says
    that this is another one.
    """
    names, own_names = [band.name.casefold() for band in known], [band.name.casefold() for band in own]
    speaking = {name for name in names if not _NUMBERED.fullmatch(name)}
    if not own or own[0].dtype != known[0].dtype:
        return None
    if speaking == set(names) <= set(own_names):
        return tuple(map(own_names.index, names))
    moved = any(
        name in speaking and name in own_names and name != other for name, other in zip(names, own_names, strict=False)
    )
    return None if moved or len(own) != len(known) else tuple(range(len(known)))


def listed(bands: Sequence[Band]) -> str:
    """Bands for people: how many, of which type, and what they are called."""
    names = ", ".join(band.name for band in bands[:6]) + (", …" if len(bands) > 6 else "")
    return f"{len(bands)} of {bands[0].dtype}: {names}"
