"""What a segmenter learns by: losses over the known pixels, and weights that let rare classes count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import segmentation_models_pytorch as smp
from numpy.typing import NDArray
from torch import Tensor, nn, tensor
from torch.nn import functional as F

from geosynth.errors import ModelError
from geosynth.legend import UNKNOWN

LOSSES = ("ce", "focal", "dice", "lovasz")
"""Cross entropy and focal loss are means over pixels; for Dice and Lovász the classes a batch shows count equally."""

Weighting = Literal["none", "sqrt", "inverse"]
WEIGHTINGS: dict[Weighting, float] = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0}
"""Powers of 1 / (a class's share of the known pixels)."""

_BY_PIXEL = {"ce", "focal"}
_FOCUS = 2.0
"""Gamma of the focal loss, as in its paper."""

_MOST = 100.0
"""How many times more a class may count than the one that counts least."""


def loss_terms(name: str) -> tuple[str, ...]:
    """The terms of a loss: one of ``LOSSES``, or several joined by ``+`` that are added.

    Raises:
        ModelError: no such loss.
    """
    terms = tuple(name.split("+"))
    if set(terms) - set(LOSSES) or len(set(terms)) < len(terms):
        raise ModelError(f"no loss '{name}'", remedy=f"give one of {', '.join(LOSSES)}, or several as in ce+dice")
    return terms


def takes_weights(name: str) -> bool:
    """Whether a loss has a term that class weights change; Dice and Lovász count all classes equally as it is."""
    return bool(_BY_PIXEL & set(loss_terms(name)))


def class_weights(shares: NDArray[np.float64], weighting: Weighting) -> tuple[float, ...]:
    """How much a pixel of each class counts, of the classes' shares (K,) of the known pixels; the mean pixel counts 1.

    A class counts at most 100 times as much as another; one that is not there at all counts 1.
    """
    there = shares > 0
    weights = np.ones(len(shares))
    weights[there] = shares[there] ** -WEIGHTINGS[weighting]
    weights[there] = np.minimum(weights[there], _MOST * weights[there].min(initial=np.inf))
    weights[there] /= (weights * shares)[there].sum() / shares[there].sum() if there.any() else 1.0
    return tuple(float(value) for value in weights)


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    """Dice loss (Milletari et al. 2016, without squares), the mean over the classes that the known pixels show.

    smp's divides by all K classes: with a legend of many, of which a batch shows few, it would hardly count beside the
    other terms.

    Args:
        logits: float32 (B, K, H, W).
        mask: class indices int64 (B, H, W), 255 unknown; at least one pixel known.

    Returns:
        A scalar, 0..1.
    """
    known = mask != UNKNOWN
    share = logits.movedim(1, -1)[known].softmax(1)
    truth = F.one_hot(mask[known], logits.shape[1]).to(share.dtype)
    pixels = truth.sum(0)
    shown = pixels > 0
    overlap = 2 * (share * truth).sum(0) / (share.sum(0) + pixels)
    return 1 - overlap[shown].mean()


class SegmentationLoss(nn.Module):
    """The sum of the terms of a loss over known pixels; 0, with gradient 0, where there are none.

    Args:
        name: see ``loss_terms``.
        weights: of the classes in the terms that are means over pixels; None: all 1.
    """

    weights: Tensor | None

    def __init__(self, name: str = "ce", weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", None if weights is None else tensor(weights), persistent=False)
        terms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "ce": lambda logits, mask: F.cross_entropy(logits, mask, self.weights, ignore_index=UNKNOWN),
            "focal": self._focal,
            "dice": dice,
            "lovasz": smp.losses.LovaszLoss("multiclass", ignore_index=UNKNOWN),
        }
        self.terms = [terms[term] for term in loss_terms(name)]

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """A float32 scalar, of logits of any precision (B, K, H, W) and class indices int64 (B, H, W), 255 unknown."""
        if not (mask != UNKNOWN).any():
            return logits.sum() * 0  # the mean over no pixel is NaN, which one step carries into all weights
        first, *others = (term(logits.float(), mask) for term in self.terms)
        return sum(others, first)

    def _focal(self, logits: Tensor, mask: Tensor) -> Tensor:
        # smp's asks K yes-or-no questions; predictions here are softmax shares, so this is the softmax form.
        known = mask[mask != UNKNOWN]
        surprise = F.cross_entropy(logits, mask, reduction="none", ignore_index=UNKNOWN)
        counted = F.cross_entropy(logits, mask, self.weights, reduction="none", ignore_index=UNKNOWN)
        total = ((1 - (-surprise).exp()) ** _FOCUS * counted).sum()
        return total / (known.numel() if self.weights is None else self.weights[known].sum())
