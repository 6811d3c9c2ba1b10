"""Training batches as a pure function of (seed, step, rank), from pairs kept in memory as integers.

Nothing here remembers anything: the batch, crop, turn, noise and noise levels of step s are the same whether the run
started at 0 or was resumed at s, so a resumed run is the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.diffusion.codes import encode
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.objective import draw_levels
from geosynth.diffusion.process import Recipe
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for
from geosynth.samples import turn


class Pairs(Protocol):
    """Where pairs come from: a ``TilesetDataset``, or arrays in memory."""

    def __len__(self) -> int: ...

    def raw(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        """Image in raster values (C, H, W), valid bool (H, W), class index uint8 (H, W), 255 unknown."""
        ...


@dataclass(frozen=True)
class Batch:
    """One training batch: data and noise float32 (B, C + bits, H, W), valid and known bool (B, H, W), levels (B,)."""

    data: Tensor
    noise: Tensor
    valid: Tensor
    known: Tensor
    image_level: Tensor
    mask_level: Tensor


def training_batch(
    pairs: Pairs,
    scale: BandScale,
    classes: int,
    recipe: Recipe,
    *,
    size: int,
    batch: int,
    seed: int,
    step: int,
    rank: int = 0,
) -> Batch:
    """The batch of one step: tiles drawn with replacement, cropped to ``size`` and turned at random.

    Nadir imagery looks as natural in any of the eight orientations, so they are free augmentation; image and mask are
    turned together. A tile without any label gets a mask of pure noise at full level.
    """
    generator = generator_for("train", seed, step, rank)
    chosen = torch.randint(len(pairs), (batch,), generator=generator).tolist()
    turns = torch.randint(8, (batch,), generator=generator).tolist()
    places = torch.rand(batch, 2, generator=generator).tolist()
    drawn = []
    for index, which, place in zip(chosen, turns, places, strict=True):
        image, valid, mask = pairs.raw(index)
        row, col = (int(share * (side - size + 1)) for share, side in zip(place, mask.shape, strict=True))
        window = (..., slice(row, row + size), slice(col, col + size))
        drawn.append(tuple(turn(part[window], which) for part in (image, valid, mask)))
    images, valids, masks = (np.stack(parts) for parts in zip(*drawn, strict=True))
    return assemble(images, valids, masks, scale, classes, recipe, generator)


def held_out_batch(
    pairs: Pairs,
    indices: Sequence[int],
    scale: BandScale,
    classes: int,
    recipe: Recipe,
    *,
    size: int,
    generator: torch.Generator,
) -> Batch:
    """The pairs ``indices``, neither turned nor cropped at random, with noise and levels from ``generator``."""
    drawn = [tuple(part[..., :size, :size] for part in pairs.raw(index)) for index in indices]
    images, valids, masks = (np.stack(parts) for parts in zip(*drawn, strict=True))
    return assemble(images, valids, masks, scale, classes, recipe, generator)


def assemble(
    images: NDArray[Any],
    valid: NDArray[np.bool_],
    masks: NDArray[np.uint8],
    scale: BandScale,
    classes: int,
    recipe: Recipe,
    generator: torch.Generator,
) -> Batch:
    """A batch from raster values (B, C, H, W), valid bool and class indices (B, H, W); noise and levels drawn here."""
    index = torch.from_numpy(np.where(valid, masks, UNKNOWN).astype(np.uint8))
    known = index != UNKNOWN
    data = torch.cat([scale.to_network(images, valid), encode(index, classes)], dim=1)
    noise = torch.randn(data.shape, generator=generator)
    image_level, mask_level = draw_levels(len(data), recipe.process, generator, recipe.two_levels)
    if not recipe.two_levels:
        return Batch(data, noise, torch.from_numpy(valid), known, image_level, mask_level)
    unlabelled = ~known.flatten(1).any(dim=1)
    # An unlabelled tile has no mask to give or to ask for: pure noise, and an image level of its own. If its image had
    # been the given side, there would be nothing to learn from it.
    image_level = torch.where(unlabelled & (image_level == 0), mask_level, image_level)
    mask_level = torch.where(unlabelled, torch.ones_like(mask_level), mask_level)
    return Batch(data, noise, torch.from_numpy(valid), known, image_level, mask_level)
