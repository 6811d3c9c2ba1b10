"""Numbers as they are written in the report."""

from __future__ import annotations

import numpy as np

from geosynth.evaluation.statistics import Estimate


def shown(value: Estimate) -> str:
    """``0.458 ± 0.006``, or the mean alone for a single run."""
    return f"{value.mean:.3f}{plus_minus(value.standard_error)}"


def plus_minus(error: float | None) -> str:
    """`` ± 0.006``, or nothing where the error is not known."""
    return "" if error is None else f" ± {error:.3f}"


def percent(share: float | np.float64) -> str:
    """A share 0..1 in percent, with one decimal below ten."""
    value = 100 * float(share)
    return (
        f"{value:.0f}\u00a0%"
        if value >= 9.95 or value == 0
        else f"{value:.1f}\u00a0%"
        if value >= 0.05
        else "<\u00a00.1\u00a0%"
    )
