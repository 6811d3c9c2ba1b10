"""Class shares that are asked for: how often each of many masks is to be painted so that the shares come out.

Of all weights of the masks that give the asked shares, those nearest to even are taken (exponential tilting: Csiszár
1975; in surveys, calibration: Deville and Särndal 1992). Classes nobody asked for end up where they will.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from geosynth.errors import GeosynthError
from geosynth.legend import Legend

_RIDGE = 1e-5
"""Keeps weights finite where no weights give what is asked; they then come as near as the masks allow."""


def wanted_shares(text: str, legend: Legend, balance: bool = False) -> dict[int, float]:
    """What is asked for, as class index to share of the known pixels.

    Args:
        text: "car=0.02, building=0.2"; empty asks for nothing.
        legend: knows the classes.
        balance: every class gets an equal part of what ``text`` leaves over.

    Raises:
        GeosynthError: not such a text, no such class, or shares that cannot be.
    """
    names, asked = [name.casefold() for name in legend.names], dict[int, float]()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, share = (part.strip() for part in entry.rpartition("="))
        if not equals or not _is_share(share):
            raise GeosynthError(
                f"--want {entry} is not CLASS=SHARE", remedy="give shares between 0 and 1, as in car=0.02"
            )
        if name.casefold() not in names:
            raise GeosynthError(f"no class is called {name}", remedy=f"the classes are: {', '.join(legend.names)}")
        index = names.index(name.casefold())
        if index in asked:
            raise GeosynthError(f"--want names {name} twice", remedy="give each class once")
        asked[index] = float(share)
    total = sum(asked.values())
    if total > 1 + 1e-9 or (len(asked) == len(names) and abs(total - 1) > 1e-3):
        raise GeosynthError(
            f"the wanted shares sum to {total:g}", remedy="shares of all classes sum to 1, of some to less"
        )
    if balance:
        others = [index for index in range(len(names)) if index not in asked]
        asked |= {index: (1 - total) / len(others) for index in others}
    return asked


def shares_text(wanted: Mapping[int, float], legend: Legend) -> str:
    """The same as text, however it was written; empty where nothing is asked for."""
    return ", ".join(f"{legend.names[index]}={wanted[index]!r}" for index in sorted(wanted))


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def weights_for(fractions: NDArray[np.float64], wanted: Mapping[int, float]) -> NDArray[np.float64]:
    """Weights of masks whose pooled shares are those wanted.

    Args:
        fractions: float (N, K), share of each class among all pixels of each mask; what is missing to 1 is unknown.
        wanted: class index to share of the known pixels.

    Returns:
        float64 (N,), 0 or more, sum 1: as even as they can be.
    """
    known = fractions.sum(axis=1)
    # The share of class c is right when its pixels are the wanted part of the known ones: linear in the weights.
    excess = np.stack([fractions[:, index] - share * known for index, share in wanted.items()], axis=1)
    # In units of their own, so that a rare class counts for as much as a common one.
    excess /= np.maximum(np.abs(excess).max(axis=0), 1e-12)

    def dual(slope: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        exponent = excess @ slope
        top = exponent.max()
        powers = np.exp(exponent - top)
        total = powers.sum()
        value = top + np.log(total) + _RIDGE / 2 * slope @ slope
        return float(value), excess.T @ powers / total + _RIDGE * slope

    found: Any = minimize(dual, np.zeros(len(wanted)), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    exponent = excess @ found.x
    powers = np.exp(exponent - exponent.max())
    weights: NDArray[np.float64] = powers / powers.sum()
    return weights


def draw(weights: NDArray[np.float64], count: int, start: float) -> NDArray[np.int64]:
    """``count`` positions drawn by ``weights`` in even steps (systematic resampling: Kitagawa 1996, appendix).

    Args:
        weights: float64 (N,), sum 1.
        count: how many.
        start: where in the first step, 0..1.

    Returns:
        int64 (count,), rising: position i comes within one of ``count * weights[i]`` times.
    """
    edges = np.cumsum(weights)
    points = (np.arange(count) + start) / count * edges[-1]
    positions: NDArray[np.int64] = np.minimum(np.searchsorted(edges, points, side="right"), len(weights) - 1)
    return positions
