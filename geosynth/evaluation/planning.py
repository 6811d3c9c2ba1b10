"""Which runs come first, and which of them fit into a budget. Pure functions over names and seconds.

Priority: the reference and the headline arm row by row up to ``HEADLINE_ROWS``; then three rows of every other arm, in
the order of the arms; then what is left, row by row. Rows of an arm below ``FEWEST_SEEDS`` come together or not at all:
from fewer nothing would be claimed. A row of an arm brings that of the reference along: what it is compared with, and
whose segmenter may have to filter for it. What an arm takes is known when its first row is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from geosynth.errors import GeosynthError
from geosynth.evaluation.statistics import FEWEST_SEEDS

HEADLINE_ROWS = 5
"""Rows of the headline that come before all other arms."""

Run = tuple[str, int]
"""Name of the arm, number of the row."""

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Schedule:
    """Runs in the order they are done, and those that are left out because they do not fit into the budget."""

    runs: tuple[Run, ...]
    left_out: tuple[Run, ...] = ()


def by_priority(rows: Mapping[str, Sequence[int]], reference: str | None, headline: str | None) -> list[list[Run]]:
    """Runs in the order of their priority, in blocks of which all or none are done; later blocks repeat what they need.

    Args:
        rows: the row numbers of every arm; the reference's hold those of all others.
        reference, headline: names of these arms, as far as there are any.
    """
    ahead = [name for name in rows if name in (reference, headline)]
    others = [name for name in rows if name not in ahead]
    table = list(dict.fromkeys(number for name in rows for number in rows[name]))

    def compared(name: str, numbers: Sequence[int]) -> list[Run]:
        return [(one, number) for number in numbers for one in (reference, name) if one is not None]

    blocks = [[(name, number) for name in ahead if number in rows[name]] for number in table[:HEADLINE_ROWS]]
    blocks += [compared(name, rows[name][:FEWEST_SEEDS]) for name in others]
    blocks += [compared(name, [number]) for number in table for name in others if number in rows[name][FEWEST_SEEDS:]]
    blocks += [[(name, number) for name in ahead if number in rows[name]] for number in table[HEADLINE_ROWS:]]
    return [block for block in blocks if block]


def fit(
    blocks: Sequence[Sequence[Run]], seconds: Callable[[str], float], budget: float, done: Mapping[Run, float]
) -> Schedule:
    """The blocks that fit into ``budget`` seconds, in their order; the first is done whatever it takes.

    A block that does not fit is left out; a cheaper one after it may still fit. A run in several blocks is done once.

    Args:
        blocks: see ``by_priority``.
        seconds: what a run of an arm takes.
        budget: seconds in all.
        done: what finished runs took; they are in the schedule anyway.
    """
    every = list(dict.fromkeys(run for block in blocks for run in block))
    chosen, spent = set(done), sum(done.values())
    for position, block in enumerate(blocks):
        new = [run for run in block if run not in chosen]
        cost = sum(seconds(run[0]) for run in new)
        if not position or spent + cost <= budget:
            chosen.update(new)
            spent += cost
    return Schedule(tuple(run for run in every if run in chosen), tuple(run for run in every if run not in chosen))


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``30min``, ``2h``, ``1h30m`` or ``1d``. Raises GeosynthError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[smhd])", text.lower())
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*(min|[smhd])", "", text.lower())
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not parts or rest.strip() or not seconds > 0:
        raise GeosynthError(f"no duration '{text}'", remedy="give for example 90s, 30min, 2h or 1h30m")
    return seconds


def in_words(seconds: float) -> str:
    """About how long that is: ``40 s``, ``12 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
