"""Training batches as a pure function of (seed, step, rank), from tiles kept in memory as integers.

Nothing here remembers anything: the batch, crop, turn, noise and noise levels of step s are the same whether the run
started at 0 or was resumed at s, so a resumed run is the same run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.diffusion.codes import UNKNOWN, encode
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.objective import draw_levels
from geosynth.noise import generator_for


@dataclass(frozen=True)
class TileArrays:
    """Tiles in memory: images (N, C, H, W) in raster values, class indices uint8 (N, H, W), valid bool (N, H, W)."""

    images: NDArray[np.generic]
    masks: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Batch:
    """One training batch: data and noise float32 (B, C + bits, H, W), valid and known bool (B, H, W), levels (B,)."""

    data: Tensor
    noise: Tensor
    valid: Tensor
    known: Tensor
    image_level: Tensor
    mask_level: Tensor


def turn(array: NDArray[np.generic], which: int) -> NDArray[np.generic]:
    """One of the eight flips and quarter turns (the dihedral group D4) of the last two axes; ``which`` in 0..7."""
    turned = np.rot90(array, which % 4, axes=(-2, -1))
    return turned[..., ::-1] if which >= 4 else turned


def training_batch(
    tiles: TileArrays, scale: BandScale, classes: int, *, size: int, batch: int, seed: int, step: int, rank: int = 0
) -> Batch:
    """The batch of one step: tiles drawn with replacement, cropped to ``size`` and turned at random.

    Nadir imagery looks as natural in any of the eight orientations, so they are free augmentation; image and mask are
    turned together. A tile without any label gets a mask of pure noise at full level.
    """
    generator = generator_for("train", seed, step, rank)
    chosen = torch.randint(len(tiles), (batch,), generator=generator).numpy()
    turns = torch.randint(8, (batch,), generator=generator).numpy()
    space = (tiles.masks.shape[-2] - size, tiles.masks.shape[-1] - size)
    offsets = (torch.rand(batch, 2, generator=generator).numpy() * (np.asarray(space) + 1)).astype(int)
    images, masks, valid = [], [], []
    for tile, which, (row, col) in zip(chosen, turns, offsets, strict=True):
        window = (slice(row, row + size), slice(col, col + size))
        images.append(turn(tiles.images[tile][:, *window], which))
        masks.append(turn(tiles.masks[tile][window], which))
        valid.append(turn(tiles.valid[tile][window], which))
    return assemble(np.stack(images), np.stack(masks), np.stack(valid), scale, classes, generator)


def assemble(
    images: NDArray[np.generic],
    masks: NDArray[np.generic],
    valid: NDArray[np.generic],
    scale: BandScale,
    classes: int,
    generator: torch.Generator,
) -> Batch:
    """A batch from raster values (B, C, H, W), class indices (B, H, W) and validity, noise and levels drawn here."""
    on = valid.astype(bool)
    index = torch.from_numpy(np.where(on, masks, UNKNOWN).astype(np.uint8))
    known = index != UNKNOWN
    data = torch.cat([scale.to_network(images, on), encode(index, classes)], dim=1)
    noise = torch.randn(data.shape, generator=generator)
    image_level, mask_level = draw_levels(len(data), generator)
    unlabelled = ~known.flatten(1).any(dim=1)
    # An unlabelled tile has no mask to give or to ask for: pure noise, and an image level of its own. If its image had
    # been the given side, there would be nothing to learn from it.
    image_level = torch.where(unlabelled & (image_level == 0), mask_level, image_level)
    mask_level = torch.where(unlabelled, torch.ones_like(mask_level), mask_level)
    return Batch(data, noise, torch.from_numpy(on), known, image_level, mask_level)
