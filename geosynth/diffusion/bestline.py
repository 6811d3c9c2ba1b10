"""What can be told of clean data from noisy data by a straight line: no network needed, and a good place to start from.

Bands, and neighbouring pixels, go together: most of what a patch of pixels shows lies in a few directions of the space
of its values, and what is left is nearly all noise. For each direction the best linear guess has a formula (Wiener's
filter), and the held-out loss of a network that only corrects it falls faster. It is the preconditioning
of Karras et al. 2022 (section 5), with a scale for each direction instead of one for all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_POWER = 1e-5
"""Directions in which the data has less are taken to have so much: nothing is quite certain."""


class BestLine(nn.Module):
    """The best linear guess of the direction noise - data, and the scale of what it leaves open.

    Until it is fitted all directions are alike.

    Args:
        channels: values of a patch.
        power: mean square of one before anything is known of the data.
    """

    basis: Tensor
    """float32 (D, D): orthonormal directions as columns."""
    power: Tensor
    """float32 (D,): mean square of the data along each."""

    def __init__(self, channels: int, power: float) -> None:
        super().__init__()
        self.register_buffer("basis", torch.eye(channels))
        self.register_buffer("power", torch.full((channels,), power))

    def fit(self, moments: Tensor) -> None:
        """Take over the data's second moments, the mean of x xT over patches x: float64 (D, D)."""
        power, basis = torch.linalg.eigh(moments)
        self.basis.copy_(basis)
        self.power.copy_(power.clamp(min=LEAST_POWER))

    def forward(self, noisy: Tensor, correction: Tensor, level: Tensor) -> Tensor:
        """The guess for noisy patches with what a network adds to it.

        Args:
            noisy, correction: float32 (B, D, H, W); the correction in units of what the guess leaves open.
            level: (B,), 0..1.
        """
        factor, left = best_line(level[:, None], self.power)
        along = _turned(noisy, self.basis.T) * factor[:, :, None, None]
        along += _turned(correction, self.basis.T) * left[:, :, None, None]
        return _turned(along, self.basis)


def best_line(level: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """The best linear guess of the direction noise - data from data mixed with noise on a straight line.

    Args:
        level: noise level, 0..1.
        power: mean square of the data; of a shape that goes with that of ``level``.

    Returns:
        the factor of the mixture, and the root mean square of what is left to tell; both of the common shape.
    """
    mixed = (1 - level) ** 2 * power + level**2
    shared = level - (1 - level) * power
    return shared / mixed, (1 + power - shared**2 / mixed).clamp(min=0).sqrt()


def moments_of(patches: Tensor) -> Tensor:
    """Sum of x xT over patches (N, D), float64 (D, D)."""
    wide = patches.double()
    return wide.T @ wide


def _turned(values: Tensor, matrix: Tensor) -> Tensor:
    """(B, D, H, W) with its channels multiplied by ``matrix`` (D, D)."""
    with torch.autocast(values.device.type, enabled=False):  # what 16 bits round away here is not in the data
        return torch.einsum("ed,bdhw->behw", matrix, values.float())
