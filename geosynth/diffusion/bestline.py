"""What a straight line can tell of clean data from noisy data: no network needed, and a good place to start from.

Bands, and pixels near each other, go together: most of what a picture shows lies in a few directions of the space of
its values, and what is left is nearly all noise. For each direction the best linear guess has a formula (Wiener's
filter), and a network that only corrects it learns several times faster (docs/benchmarks.md). It is the preconditioning
of Karras et al. 2022 (section 5), with a scale for each direction instead of one for all.

Two ways to choose the directions: those of small patches, which know nothing of what lies beyond them, and those of
frequencies, of which natural images have the less the higher they are (Field 1987), however large the picture.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Guess = Literal["none", "patch", "spectrum"]
"""What a network corrects: nothing, ``PatchLine`` or ``SpectrumLine``."""

NOTHING: tuple[Guess, Guess] = ("none", "none")
"""No guess of the image, none of the mask."""

LEAST_POWER = 1e-5
"""Directions in which the data has less are taken to have so much: nothing is quite certain."""

LARGEST_SCALE = 1.0
"""Of a correction: the mean and the longest waves of a picture have hundreds of times the power of the rest. Scaled by
that, the slightest change of the network's weights would change them most of all, and nothing else would be learnt."""

RINGS_AN_OCTAVE = 4
"""Frequencies this near each other are taken to be alike, whatever their direction."""


class BestLine(nn.Module):
    """The best linear guess of the direction noise - data, and the scale of what it leaves open.

    Until it is fitted all directions are alike.

    Args:
        groups: how many places (patches, rings of frequencies) have directions of their own.
        values: how many values go together at a place.
        power: mean square of one before anything is known of the data.
    """

    basis: Tensor
    """float32 (groups, values, values): orthonormal directions as columns."""
    power: Tensor
    """float32 (groups, values): mean square of the data along each."""

    def __init__(self, groups: int, values: int, power: float) -> None:
        super().__init__()
        self.register_buffer("basis", torch.eye(values).repeat(groups, 1, 1))
        self.register_buffer("power", torch.full((groups, values), power))

    def moments(self, picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """What one clean picture says of the data's second moments.

        Args:
            picture: float32 (C, H, W).
            known: bool (H, W); other pixels do not count.

        Returns:
            sums of x xT over the places of each group (groups, values, values), and how many (groups,), both float64.
        """
        raise NotImplementedError

    def fit(self, sums: Tensor, counts: Tensor) -> None:
        """Take over the data's second moments, see ``moments``; groups that nothing is known of stay as they are."""
        for group, (total, count) in enumerate(zip(sums, counts.tolist(), strict=True)):
            if count:
                power, basis = torch.linalg.eigh(total / count)
                self.basis[group].copy_(basis)
                self.power[group].copy_(power.clamp(min=LEAST_POWER))

    def forward(self, noisy: Tensor, correction: Tensor, level: Tensor) -> Tensor:
        """The guess for noisy pictures with what a network adds to it.

        Args:
            noisy, correction: float (B, C, H, W); the correction in units of the scale of ``best_line``.
            level: (B,), 0..1.

        Returns:
            float32 (B, C, H, W).
        """
        raise NotImplementedError


class PatchLine(BestLine):
    """Directions of patches of ``patch`` x ``patch`` pixels with all their channels."""

    def __init__(self, channels: int, power: float, patch: int) -> None:
        super().__init__(1, channels * patch * patch, power)
        self.patch = patch

    def moments(self, picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        height, width = (size // self.patch * self.patch for size in known.shape)
        patches = F.pixel_unshuffle(picture[:, :height, :width], self.patch).flatten(1).T
        whole = F.pixel_unshuffle(known[None, :height, :width], self.patch).flatten(1).all(dim=0)
        values = patches[whole].double()
        return (values.T @ values)[None], whole.sum().double()[None]

    def forward(self, noisy: Tensor, correction: Tensor, level: Tensor) -> Tensor:
        with torch.autocast(noisy.device.type, enabled=False):  # what 16 bits round away here is not in the data
            factor, left = best_line(level[:, None], self.power)
            basis = self.basis[0]
            parts = (F.pixel_unshuffle(part.float(), self.patch) for part in (noisy, correction))
            straight, added = (torch.einsum("de,bdhw->behw", basis, part) for part in parts)
            along = straight * factor[:, :, None, None] + added * left[:, :, None, None]
            return F.pixel_shuffle(torch.einsum("de,behw->bdhw", basis, along), self.patch)


class SpectrumLine(BestLine):
    """Directions of channels at each frequency of the picture's cosine transform (DCT-II), ring by ring.

    The cosine transform keeps the noise white and, other than Fourier's, does not take opposite borders for neighbours.
    Ring 0 is the mean; the others are equally spaced in octaves from half a wave across ``size`` pixels on.
    """

    def __init__(self, channels: int, power: float, size: int) -> None:
        self.lowest = 1 / (2 * size)
        super().__init__(2 + round(RINGS_AN_OCTAVE * math.log2(math.sqrt(0.5) / self.lowest)), channels, power)

    def moments(self, picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        # Unknown pixels are filled with the mean: that takes from all frequencies alike what they would have added.
        waves = _cosine_transform((picture * known)[None]).flatten(2)[0].T.double()
        rings = self._rings(picture).flatten()
        sums = torch.zeros(self.basis.shape, dtype=torch.float64)
        sums.index_add_(0, rings, waves[:, :, None] * waves[:, None, :])
        counts = torch.bincount(rings, minlength=len(sums)).double()
        return sums, counts * known.double().mean()

    def fit(self, sums: Tensor, counts: Tensor) -> None:
        # Pictures of one size leave some rings empty, into which those of another size may fall.
        there = counts.nonzero().flatten()
        if len(there):
            nearest = there[(torch.arange(len(counts))[:, None] - there).abs().argmin(dim=1)]
            super().fit(sums[nearest], counts[nearest])

    def forward(self, noisy: Tensor, correction: Tensor, level: Tensor) -> Tensor:
        with torch.autocast(noisy.device.type, enabled=False):
            rings = self._rings(noisy)
            factor, left = (
                part.permute(0, 2, 1)[:, :, rings] for part in best_line(level[:, None, None], self.power)
            )  # (B, C, H, W) each
            basis = self.basis[rings]
            straight, added = (
                torch.einsum("hwce,bchw->behw", basis, _cosine_transform(part)) for part in (noisy, correction)
            )
            along = straight * factor + added * left
            return _cosine_transform(torch.einsum("hwce,behw->bchw", basis, along), back=True)

    def _rings(self, picture: Tensor) -> Tensor:
        return _rings(*picture.shape[-2:], len(self.power), self.lowest, picture.device)


def best_line(level: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """The best linear guess of the direction noise - data from data mixed with noise on a straight line.

    Args:
        level: noise level, 0..1.
        power: mean square of the data; of a shape that goes with that of ``level``.

    Returns:
        the factor of the mixture, and the scale of a correction; both of the common shape. The scale is the root mean
        square of what is left to tell, but at most LARGEST_SCALE.
    """
    mixed = (1 - level) ** 2 * power + level**2
    shared = level - (1 - level) * power
    return shared / mixed, (1 + power - shared**2 / mixed).clamp(min=0).sqrt().clamp(max=LARGEST_SCALE)


def _cosine_transform(picture: Tensor, *, back: bool = False) -> Tensor:
    """Orthonormal DCT-II along both axes of (B, C, H, W), float32, or its inverse."""
    down, across = (_cosines(size, picture.device) for size in picture.shape[-2:])
    if back:
        return down.T @ picture.float() @ across
    return down @ picture.float() @ across.T


@lru_cache
def _cosines(size: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II as a matrix, float32 (size, size): rows are waves, from the mean upwards."""
    at = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi / size * at[:, None] * (at + 0.5)) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves.float().to(device)


@lru_cache
def _rings(height: int, width: int, count: int, lowest: float, device: torch.device) -> Tensor:
    """Ring of each frequency of a picture, int64 (height, width), 0..count - 1."""
    down, across = (torch.arange(size, dtype=torch.float64) / (2 * size) for size in (height, width))
    frequency = torch.hypot(down[:, None], across)  # waves a pixel
    octaves = (frequency.clamp(min=1e-9) / lowest).log2()
    ring = (octaves * RINGS_AN_OCTAVE).round().long() + 1
    return ring.clamp(1, count - 1).where(frequency > 0, 0).to(device)
