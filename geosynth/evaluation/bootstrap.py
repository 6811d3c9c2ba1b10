"""How much a score depends on where it was tested: blocks of test tiles drawn again and again. Pure functions.

Neighbouring tiles are alike, so whole blocks (or scenes) are drawn, not tiles. Every draw is the same for both arms and
all their runs (paired): what makes a block easy or hard for both falls out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.noise import mix_seed

FEWEST_GROUPS = 6
"""Below this many groups no interval is given: all draws would be mixtures of a handful of places."""

FEW_GROUPS = 20
"""Below this many the interval is likely too narrow, and the report says so."""

DRAWS = 2000


@dataclass(frozen=True)
class GroupInterval:
    """Where ``confidence`` (0..1) of the bootstrap differences lie; ``groups`` is how many blocks or scenes there were.

    ``unit`` is what was drawn, in the plural: blocks or scenes.
    """

    low: float
    high: float
    groups: int
    unit: str = "blocks"
    confidence: float = 0.95

    @property
    def leaves_out_zero(self) -> bool:
        """Whether all of it is on one side of zero."""
        return self.low > 0 or self.high < 0


def draw_weights(groups: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float64]:
    """How often each of ``groups`` is drawn, with replacement, in each of ``draws``: float64 (draws, groups)."""
    random = np.random.default_rng(mix_seed("bootstrap", seed))
    return random.multinomial(groups, np.full(groups, 1 / groups), draws).astype(np.float64)


def weighted_mean_iou(counts: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU of the pooled confusion matrix of each draw, float64 (B,); NaN where a draw has no known pixel.

    IoUs are of summed matrices, not means of each group's. The mean is over the classes in the truth of that draw, as
    in ``metrics.scores``.

    Args:
        counts: confusion matrices of the groups int64 (G, K, K), rows truth.
        weights: how often each group is drawn, float64 (B, G).
    """
    hit = weights @ np.diagonal(counts, axis1=1, axis2=2).astype(np.float64)
    truth, predicted = weights @ counts.sum(2).astype(np.float64), weights @ counts.sum(1).astype(np.float64)
    union = truth + predicted - hit
    iou = np.divide(hit, union, out=np.zeros_like(hit), where=union > 0)
    there = truth > 0
    number = there.sum(1)
    total = (iou * there).sum(1)
    means: NDArray[np.float64] = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    return means


def group_interval(
    arm: Sequence[NDArray[np.int64]],
    reference: Sequence[NDArray[np.int64]],
    *,
    unit: str = "blocks",
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> GroupInterval | None:
    """Percentile interval of the mean difference in mean IoU over test places; None with too few groups.

    Args:
        arm: for every run the confusion matrices of the groups int64 (G, K, K), rows truth.
        reference: the same for the runs it is paired with, in their order.
        unit: what the groups are, for the words.
        confidence: share of the draws inside.
        draws: how many.
    """
    groups = len(arm[0]) if arm else 0
    if groups < FEWEST_GROUPS:
        return None
    weights = draw_weights(groups, draws)
    differences = np.mean(
        [
            weighted_mean_iou(one, weights) - weighted_mean_iou(other, weights)
            for one, other in zip(arm, reference, strict=True)
        ],
        axis=0,
    )
    low, high = np.nanpercentile(differences, [50 * (1 - confidence), 50 * (1 + confidence)])
    return GroupInterval(float(low), float(high), groups, unit, confidence)
