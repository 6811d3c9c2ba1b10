"""How Mask2Former learns: its queries are matched with the classes of a tile, each with its mask, by known pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from geosynth.legend import UNKNOWN

Queries = tuple[Tensor, Tensor]
"""What the queries say: their class, logits (B, Q, K + 1), the last one "nothing", and place, logits (B, Q, h, w)."""

_CLASS, _MASK, _DICE = 2.0, 5.0, 5.0
_NOTHING = 0.1
"""Weights of the terms, and of queries that found nothing, as in the paper."""

_POINTS = 112 * 112
"""Pixels of a tile that are looked at, as many as in the paper."""


def set_loss(stages: Sequence[Queries], mask: Tensor, points: int = _POINTS) -> Tensor:
    """The set-prediction loss of Mask2Former (Cheng et al. 2022) for semantic masks; a scalar.

    In every tile each class that is there is one object. It is matched one to one with the query that suits it best
    (class, cross entropy and Dice of the mask), and that query learns it; the others learn to say "nothing". All of it
    is done for what the queries say after every layer.

    Unknown pixels have no say: masks are compared on known pixels (all of a tile, or ``points`` drawn from torch's
    random state; the paper draws those it is unsure of more often), and a query is told that there is nothing as far as
    its mask lies on known ones. Tiles without a known pixel are left out.

    Args:
        stages: float32, the queries after every layer, the last one last.
        mask: class indices int64 (B, H, W), 255 unknown; H and W are those of the image.
        points: known pixels of a tile that are looked at, at most.

    Returns:
        The loss; 0, with gradient 0, where no pixel is known.
    """
    height, width = mask.shape[-2:]
    tiles = [(number, *_targets(one, points)) for number, one in enumerate(mask) if (one != UNKNOWN).any()]
    total = sum((part.sum() * 0 for stage in stages for part in stage), torch.zeros((), device=mask.device))
    objects = sum(len(labels) for _, labels, _, _ in tiles)
    for classes, masks in stages if tiles else ():
        named, weights, shapes = [], [], torch.zeros((), device=mask.device)
        for number, labels, places, truth in tiles:
            said = _at(masks[number], places, height, width)
            queries, found = _matched(classes[number], said, labels, truth)
            named.append(labels.new_full((len(said),), classes.shape[-1] - 1))
            named[-1][queries] = labels[found]
            weights.append(_NOTHING * _on_known(masks[number], mask[number]))
            weights[-1][queries] = 1.0
            shapes = shapes + _mask_terms(said[queries], truth[found])
        kept = classes[[number for number, *_ in tiles]].flatten(0, 1)
        weight = torch.cat(weights)
        surprise = F.cross_entropy(kept, torch.cat(named), reduction="none")
        total = total + _CLASS * (weight * surprise).sum() / weight.sum() + shapes / objects
    return total


def _targets(mask: Tensor, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Classes (n,) of a mask (H, W), the known pixels (P,) to look at, and whether each is of each class, (n, P)."""
    flat = mask.flatten()
    labels, places = torch.unique(flat[flat != UNKNOWN]), (flat != UNKNOWN).nonzero()[:, 0]
    if len(places) > points:
        places = places[torch.randperm(len(places))[:points].to(places.device)]
    return labels, places, (flat[places] == labels[:, None]).float()


def _at(masks: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Mask logits (Q, h, w) at pixels (P,) of the image, (Q, P), interpolated."""
    row, col = places // width, places % width
    where = torch.stack([(2 * col + 1) / width - 1, (2 * row + 1) / height - 1], -1)
    return F.grid_sample(masks[None], where[None, None], padding_mode="border", align_corners=False)[0, :, 0]


@torch.no_grad()
def _matched(classes: Tensor, said: Tensor, labels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Which queries go with which of the n objects: two index tensors (n,)."""
    share, there, count = said.sigmoid(), truth.T, truth.shape[1]
    cross = (F.softplus(-said) @ there + F.softplus(said) @ (1 - there)) / count
    overlap = 1 - (2 * share @ there + 1) / (share.sum(1)[:, None] + truth.sum(1) + 1)
    cost = _MASK * cross + _DICE * overlap - _CLASS * classes.softmax(-1)[:, labels]
    queries, found = linear_sum_assignment(cost.nan_to_num(1e6, 1e6, -1e6).cpu().numpy())
    return torch.from_numpy(queries).to(labels.device), torch.from_numpy(found).to(labels.device)


def _mask_terms(said: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy and Dice of matched masks, logits and truth (n, P): a scalar, the sum over the objects."""
    cross = F.binary_cross_entropy_with_logits(said, truth, reduction="none").mean(1)
    share = said.sigmoid()
    overlap = 1 - (2 * (share * truth).sum(1) + 1) / (share.sum(1) + truth.sum(1) + 1)
    return (_MASK * cross + _DICE * overlap).sum()


@torch.no_grad()
def _on_known(masks: Tensor, mask: Tensor) -> Tensor:
    """How much of each query's mask, logits (Q, h, w), lies on known pixels of a mask (H, W): (Q,), 0..1."""
    known = F.interpolate((mask != UNKNOWN).float()[None, None], size=masks.shape[-2:], mode="area")[0]
    share = masks.sigmoid()
    return (share * known).sum((1, 2)) / share.sum((1, 2)).clamp_min(1e-6)
