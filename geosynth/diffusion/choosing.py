"""Which given mask each sample is made for: they take turns, or are chosen so that wanted class shares come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geosynth.diffusion.donors import Donors
from geosynth.diffusion.wanted import draw, weights_for
from geosynth.events import Events
from geosynth.legend import UNKNOWN, Legend
from geosynth.noise import generator_for, mix_seed

_AT_ONCE = 64
_OFTEN = 10
"""Masks painted more often than this are worth a warning."""

_NEAR, _NEAREST = 0.1, 0.001
"""Shares this much off what is wanted are worth one, as a part of what is wanted, and at least."""


def in_turn(count: int, donors: Donors, seed: int) -> list[int]:
    """The donor of each of ``count`` samples: one after the other, round and round.

    Of more donors than samples some are drawn with ``seed``: the first hundred of a thousand would be of one scene.
    """
    if count < len(donors):
        drawn: list[int] = torch.randperm(len(donors), generator=generator_for("donors", seed)).tolist()
        return sorted(drawn[:count])
    return [sample % len(donors) for sample in range(count)]


def by_shares(
    count: int,
    shares: NDArray[np.float64],
    wanted: Mapping[int, float],
    seed: int,
    names: Sequence[str],
    events: Events,
) -> list[int]:
    """The donor of each of ``count`` samples, chosen so that the wanted shares come out.

    Args:
        count: samples.
        shares: float (N, K), class shares among all pixels of each donor; see ``shares_of``.
        wanted: class index to share of the known pixels.
        seed: decides which of equal donors are taken.
        names: of the K classes.
        events: warned when few donors have to serve often, or cannot give what is wanted.
    """
    start = mix_seed("wanted", seed) / 2**63
    numbers = draw(weights_for(shares, wanted), count, start)
    chosen = shares[numbers]
    obtained = chosen.sum(axis=0) / max(chosen.sum(), 1e-12)
    absent = [index for index, share in wanted.items() if share > 0 and not shares[:, index].any()]
    if absent:
        events.warn(f"no mask shows {', '.join(names[index] for index in absent)}: none can be had")
    missed = [
        f"{names[index]} {obtained[index]:.2%} instead of {share:.2%}"
        for index, share in wanted.items()
        if index not in absent and abs(obtained[index] - share) > max(_NEAR * share, _NEAREST)
    ]
    if missed:
        events.warn(
            f"with {count} pairs from {len(shares)} masks wanted shares are not met; the nearest: {', '.join(missed)}"
        )
    most = Counter(numbers.tolist()).most_common(1)[0][1]
    if most > _OFTEN:
        events.warn(f"{len(set(numbers.tolist()))} of {len(shares)} masks are painted, one of them {most} times")
    return [int(number) for number in numbers]


def shares_of(donors: Donors, legend: Legend, events: Events) -> NDArray[np.float64]:
    """Class shares among all pixels of each donor's mask, float64 (N, K) in the order of ``legend``; reads all of them.

    Raises:
        GeosynthError: a mask cannot be read.
        Cancelled: the user stopped it.
    """
    shares = np.zeros((len(donors), len(legend)))
    for first in range(0, len(donors), _AT_ONCE):
        events.check()
        events.progress(first, len(donors), "masks looked at")
        numbers = range(first, min(first + _AT_ONCE, len(donors)))
        for number, donor in zip(numbers, donors.part(numbers).read(), strict=True):
            positions = legend.to_index(donor.pixels)
            counts = np.bincount(positions.ravel(), minlength=UNKNOWN + 1)[: len(legend)]
            shares[number] = counts / positions.size
    return shares
