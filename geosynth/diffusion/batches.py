"""Training batches as pure functions of (seed, step), from pairs kept as integers.

Nothing here remembers anything: tiles, crops, turns, noise and noise levels of step s are the same whether the run
started at 0 or was resumed at s, and whoever makes the batch. The noise of a sample is a function of (seed, step,
position in the batch), so processes that share a batch draw their part of it and nothing else. Pixels stay integers
until they are on the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.diffusion.objective import draw_levels
from geosynth.diffusion.process import Recipe
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for, mix_seed
from geosynth.samples import turn

LEAST_LABELLED = 0.5
"""Share of labelled tiles in a batch, at least, where some tiles have no label and nothing else is asked for."""


def labelled_share(labelled: int, pairs: int, asked: float | None = None) -> float:
    """Share of labelled tiles in a batch, over many steps.

    Args:
        labelled: how many pairs have labels.
        pairs: how many there are.
        asked: the share that is wished for; None: that among the pairs, but at least LEAST_LABELLED. Of no account
            where all pairs, or none, have labels.
    """
    if labelled in (0, pairs):
        return float(labelled > 0)
    return asked or max(LEAST_LABELLED, labelled / pairs)


class Pairs(Protocol):
    """Where pairs come from: a ``TilesetDataset``, or arrays in memory."""

    def __len__(self) -> int: ...

    def raw(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        """Image in raster values (C, H, W), valid bool (H, W), class index uint8 (H, W), 255 unknown."""
        ...


class Batch(NamedTuple):
    """One training batch.

    Attributes:
        image: raster values (B, C, H, W) in the raster's dtype.
        valid: bool (B, H, W), pixel is not nodata.
        mask: class index uint8 (B, H, W), 255 unknown or nodata.
        noise: float32 (B, C + bits, H, W).
        image_level, mask_level: float32 (B,).
    """

    image: Tensor
    valid: Tensor
    mask: Tensor
    noise: Tensor
    image_level: Tensor
    mask_level: Tensor

    @property
    def known(self) -> Tensor:
        """Bool (B, H, W), pixel is labelled."""
        return self.mask != UNKNOWN


@dataclass(frozen=True, eq=False)
class Drawing:
    """How batches are drawn from pairs.

    Attributes:
        pairs: what to draw from.
        recipe: draws the levels.
        bits: channels of a mask.
        size: side of the crops, pixels.
        batch: samples a step.
        seed: with the step, decides everything.
        labelled: which pairs have labels, bool (N,); None: all.
        labelled_share: share of labelled pairs in a batch, see ``labelled_share``.
    """

    pairs: Pairs
    recipe: Recipe
    bits: int
    size: int
    batch: int
    seed: int
    labelled: NDArray[np.bool_] | None = None
    labelled_share: float | None = None
    _groups: tuple[NDArray[np.int64], NDArray[np.int64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        labelled = np.ones(len(self.pairs), bool) if self.labelled is None else self.labelled
        object.__setattr__(self, "_groups", (np.flatnonzero(labelled), np.flatnonzero(~labelled)))

    @property
    def share(self) -> float:
        """Share of labelled pairs in a batch, over many steps."""
        return labelled_share(len(self._groups[0]), len(self.pairs), self.labelled_share)

    def indices(self, step: int) -> NDArray[np.int64]:
        """The pairs of a step, int64 (batch,), drawn with replacement from those with and those without labels.

        The number of labelled ones is ``batch * share``, rounded so that it holds over the steps.
        """
        generator = generator_for("tiles", self.seed, step)
        # A share that is no fraction in binary must not lose a tile to rounding.
        before, after = (math.floor(round(at * self.batch * self.share, 6)) for at in (step, step + 1))
        with_label = torch.randperm(self.batch, generator=generator).numpy() < after - before
        where = torch.rand(self.batch, generator=generator, dtype=torch.float64).numpy()
        labelled, unlabelled = (
            group[(where * len(group)).astype(np.int64)] if len(group) else 0 for group in self._groups
        )
        return np.where(with_label, labelled, unlabelled)

    def step(self, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """The batch of a step, or the part of it that process ``rank`` of ``ranks`` takes.

        Tiles are cropped to ``size`` and turned at random. Nadir imagery looks as natural in any of the eight
        orientations, so they are free augmentation; image and mask are turned together.
        """
        generator = generator_for("train", self.seed, step)
        indices = self.indices(step)
        turns = torch.randint(8, (self.batch,), generator=generator).tolist()
        places = torch.rand(self.batch, 2, generator=generator).tolist()
        image_level, mask_level = draw_levels(self.batch, self.recipe.process, generator, self.recipe.two_levels)
        mine = range(rank * self.batch // ranks, (rank + 1) * self.batch // ranks)
        image, valid, mask = _cut(self.pairs, self.size, [(int(indices[at]), turns[at], places[at]) for at in mine])
        noise = torch.empty(len(mine), image.shape[1] + self.bits, self.size, self.size)
        source = torch.Generator()
        for row, at in enumerate(mine):
            noise[row].normal_(generator=source.manual_seed(mix_seed("noise", self.seed, step, at)))
        part = slice(mine.start, mine.stop)
        return _batch(image, valid, mask, noise, image_level[part], mask_level[part], self.recipe)

    def sample(self, limit: int) -> list[int]:
        """Up to ``limit`` pairs, evenly spread over them all (neighbours look alike), the share of labelled ones kept.

        Where one kind has too few, the other fills their places.
        """
        labelled, unlabelled = self._groups
        count = min(limit, len(self.pairs))
        wanted = min(len(labelled), max(math.ceil(count * self.share), count - len(unlabelled)))
        chosen = [
            group[at * len(group) // places]
            for group, places in ((labelled, wanted), (unlabelled, count - wanted))
            for at in range(places)
        ]
        return sorted(int(number) for number in chosen)

    def fixed(self, indices: Sequence[int]) -> Batch:
        """The pairs ``indices``, neither turned nor cropped at random.

        Noise and levels are a function of (seed, number of the pair), whatever it is put together with.
        """
        image, valid, mask = _cut(self.pairs, self.size, [(index, 0, (0.0, 0.0)) for index in indices])
        generators = [generator_for("held-out", self.seed, index) for index in indices]
        shape = (image.shape[1] + self.bits, self.size, self.size)
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        process, two = self.recipe.process, self.recipe.two_levels
        levels = [draw_levels(1, process, generator, two) for generator in generators]
        image_level, mask_level = (torch.cat(side) for side in zip(*levels, strict=True))
        return _batch(image, valid, mask, noise, image_level, mask_level, self.recipe)


def _cut(
    pairs: Pairs, size: int, samples: Sequence[tuple[int, int, Sequence[float]]]
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
    """Crops (pair, turn, place as shares of what is left over) as arrays (B, C, H, W), (B, H, W), (B, H, W)."""
    parts: list[NDArray[Any]] = []
    for row, (index, which, place) in enumerate(samples):
        raw = pairs.raw(index)
        if not parts:
            parts = [np.empty((len(samples), *part.shape[:-2], size, size), part.dtype) for part in raw]
        top, left = (int(share * (side - size + 1)) for share, side in zip(place, raw[1].shape, strict=True))
        for part, target in zip(raw, parts, strict=True):
            target[row] = turn(part[..., top : top + size, left : left + size], which)
    image, valid, mask = parts
    return image, valid, mask


def _batch(
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    mask: NDArray[np.uint8],
    noise: Tensor,
    image_level: Tensor,
    mask_level: Tensor,
    recipe: Recipe,
) -> Batch:
    """Put together; samples without any label are asked for their image alone."""
    if image.dtype == np.float64:  # not every device has it
        image = image.astype(np.float32)
    index = torch.from_numpy(np.where(valid, mask, np.uint8(UNKNOWN)))
    if recipe.two_levels:
        unlabelled = (index == UNKNOWN).flatten(1).all(dim=1)
        # There is no mask to give or to ask for: pure noise, and an image level of its own. If the image had been the
        # given side, there would be nothing to learn from the sample.
        image_level = torch.where(unlabelled & (image_level == 0), mask_level, image_level)
        mask_level = torch.where(unlabelled, 1.0, mask_level)
    return Batch(torch.from_numpy(image), torch.from_numpy(valid), index, noise, image_level, mask_level)
