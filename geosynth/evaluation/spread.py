"""Where the spread of the headline's gain comes from, in a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geosynth.evaluation.components import Component, Score, components
from geosynth.evaluation.summary import ArmSummary

_NAMES = {"subset": "which tiles have labels", "generator": "which generator", "start": "start of the training"}


@dataclass(frozen=True)
class Spread:
    """Rows of source, standard deviation and degrees of freedom as written; sentences about them."""

    rows: tuple[tuple[str, str, str], ...]
    words: tuple[str, ...]


def spread(headline: ArmSummary | None, reference: ArmSummary | None) -> Spread:
    """The components of the difference of two arms, row by row of the seed table; empty for fewer than two rows."""
    if headline is None or reference is None:
        return Spread((), ())
    base = {run.seed: run.mean_iou for run in reference.runs}
    scores = [
        Score(run.subset, run.generator, run.mean_iou - base[run.seed]) for run in headline.runs if run.seed in base
    ]
    found = components(scores)
    if not found:
        return Spread((), ())
    rows = tuple((_named(entry.source), f"{entry.deviation:.3f}", str(entry.freedom)) for entry in found)
    return Spread(rows, tuple(_words(found, scores)))


def _named(source: str) -> str:
    return " and ".join(_NAMES[part] for part in source.split("+"))


def _words(found: Sequence[Component], scores: Sequence[Score]) -> list[str]:
    subsets, cells = {score.subset for score in scores}, {(score.subset, score.generator) for score in scores}
    words = []
    varied = {part for entry in found for part in entry.source.split("+")}
    still = [name for source, name in _NAMES.items() if source not in varied]
    if still:
        words.append(
            f"{' and '.join(still).capitalize()} did not vary in these runs: no interval here covers "
            + ("that." if len(still) == 1 else "these.")
        )
    largest = max(found, key=_deviation)
    if len(found) > 1 and largest.deviation > 0:
        words.append(f"Most of the spread of the gain comes from: {_named(largest.source)}.")
    if len(cells) < len(scores) and len(cells) > 1:
        words.append(
            f"{len(scores)} rows share {len(cells)} generators of {len(subsets)} label"
            f" subset{'s' if len(subsets) > 1 else ''}: the interval over seeds holds for these. For others it is"
            " too narrow, the more so the more generators differ; only more generators tell."
        )
    if min(entry.freedom for entry in found) < 4:
        words.append("With so few degrees of freedom a deviation may be off by half or more: read it as an order.")
    return words


def _deviation(entry: Component) -> float:
    return entry.deviation
