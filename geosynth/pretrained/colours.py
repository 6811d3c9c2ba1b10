"""Classes as colours that a model of pictures can draw, and back to the nearest colour.

A picture comes out of the model with colours that are a little off. So classes are not drawn in the colours of the
legend, of which some may be alike, but in colours as far from each other as they can be; each class gets the one that
is most like its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from geosynth.legend import UNKNOWN, Legend

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class ColourCode:
    """Colours of the classes in legend order, and that of unknown pixels, which is given but never read: 0..255."""

    classes: tuple[RGB, ...]
    unknown: RGB

    @classmethod
    def of(cls, legend: Legend) -> ColourCode:
        """Colours far apart, each as near to the legend's as that allows; the same for equal legends."""
        chosen = _far_apart(len(legend) + 1)
        unknown, others = chosen[0], chosen[1:]
        own = np.array([entry.rgb for entry in legend.classes], np.float64)
        cost = np.square(own[:, None] - others[None]).sum(axis=2)
        _, places = linear_sum_assignment(cost)
        return cls(tuple(_rgb(others[place]) for place in places), _rgb(unknown))

    def encode(self, mask: Tensor) -> Tensor:
        """Class indices (..., H, W), 255 unknown, to colours float32 (..., 3, H, W) in -1..1."""
        table = torch.full((256, 3), -1.0)
        table[UNKNOWN] = _signed(self.unknown)
        for index, colour in enumerate(self.classes):
            table[index] = _signed(colour)
        return table.to(mask.device)[mask.long()].movedim(-1, -3)

    def decode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Colours to the nearest class, with a confidence.

        Args:
            picture: float (..., 3, H, W) about -1..1, any values.

        Returns:
            class indices uint8 (..., H, W), never unknown; and confidence float32 (..., H, W) in 0..1: 1 on the colour
            itself, 0 where the second nearest is as near, linear in between.
        """
        values = picture.float().movedim(-3, -1)
        book = torch.stack([_signed(colour) for colour in self.classes]).to(values.device)
        if len(book) == 1:
            shape = values.shape[:-1]
            return torch.zeros(shape, dtype=torch.uint8, device=values.device), torch.ones(shape, device=values.device)
        # |v - c|^2 = |v|^2 - 2 (v.c - |c|^2 / 2): the nearest has the largest of the bracket.
        near = (values @ book.T - book.square().sum(dim=1) / 2).topk(2, dim=-1)
        first, second = book[near.indices[..., 0]], book[near.indices[..., 1]]
        apart = (first - second).square().sum(dim=-1)
        margin = 2 * (near.values[..., 0] - near.values[..., 1])
        return near.indices[..., 0].to(torch.uint8), (margin / apart).clamp(0, 1)


def _far_apart(count: int) -> NDArray[np.float64]:
    """Colours (N, 3), at least ``count``: the corners of the colour cube, black first; then those of a lattice, each as
    far from the ones before it as it can be (Gonzalez 1985)."""
    corners = np.array(list(product((0.0, 255.0), repeat=3)))
    levels = 3
    while levels**3 < count:
        levels += 1
    lattice = np.array(list(product(np.linspace(0, 255, levels).round(), repeat=3)))
    chosen = list(corners)
    while len(chosen) < count:
        nearest = np.square(lattice[:, None] - np.array(chosen)[None]).sum(axis=2).min(axis=1)
        chosen.append(lattice[int(nearest.argmax())])
    # Of few classes some corners are left over, and each takes that which is most like its own colour.
    return np.array(chosen)


def _rgb(colour: NDArray[np.float64]) -> RGB:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _signed(colour: RGB) -> Tensor:
    return torch.tensor(colour, dtype=torch.float32) / 127.5 - 1
