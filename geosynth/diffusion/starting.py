"""What training starts from: the recipe, and the network with its first weights."""

from __future__ import annotations

import torch

from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import Generator, adapt
from geosynth.diffusion.process import DEFAULT_RECIPE, RECIPES
from geosynth.errors import ModelError, TilesetError
from geosynth.noise import mix_seed
from geosynth.tileset import Tileset

MANY_BANDS = 8
"""From so many bands on a network that had no shortcut gets one when it is trained on: the noise of all folded channels
would otherwise fill most of its first level. With fewer it keeps what it knows."""


def recipe_to_train(asked: str | None, start: Generator | None, folder: str | None) -> str:
    """The recipe: what is asked for, or that of the generator ``start`` (in ``folder``), or the default.

    Raises:
        ModelError: the generator was trained by another recipe.
    """
    if start is None:
        return asked or DEFAULT_RECIPE
    own = (start.pipeline.process, start.pipeline.two_levels)
    trained = next(name for name, recipe in RECIPES.items() if (recipe.process, recipe.two_levels) == own)
    if asked not in (None, trained):
        raise ModelError(
            f"was trained with recipe {trained}, which cannot go on as {asked}",
            where=folder,
            remedy=f"give --recipe {trained}, or train without --from",
        )
    return trained


def network_to_train(
    tileset: Tileset, start: Generator | None, recipe: str, *, size: int, dropout: float | None, seed: int
) -> Denoiser:
    """A network for the bands and classes of a tileset, from a trained one or from random weights.

    Args:
        tileset: what it is to learn.
        start: whose weights are taken over, see ``adapt``; None draws them.
        recipe: one of RECIPES.
        size: side of the crops it learns, pixels.
        dropout: rate inside the network; None takes that of ``start``, or 0.
        seed: of the weights that are drawn.

    Raises:
        TilesetError: the network cannot take crops of that size.
    """
    spec = tileset.spec
    torch.manual_seed(mix_seed("weights", seed))
    how = RECIPES[recipe]
    straight = how.process.betas is None
    if start is not None:
        network = adapt(
            start, spec, size, shortcut=start.pipeline.denoiser.shortcut or (straight and len(spec.bands) >= MANY_BANDS)
        )
    else:
        network = Denoiser(
            image_channels=len(spec.bands),
            mask_channels=bit_count(len(spec.legend)),
            sample_size=size,
            # About 32 x 32 positions inside the network, whatever the tile: the cost of a step stays the same.
            patch=2 if size <= 96 else 4,
            two_levels=how.two_levels,
            bit_size=how.bit_size,
            shortcut=straight,
        )
    if size % network.multiple:
        raise TilesetError(
            f"tiles of {size} px do not fit the network",
            where=tileset.path,
            remedy=f"give a --size that {network.multiple} divides, here or to: geosynth tile",
        )
    if dropout is None or dropout == network.config.dropout:
        return network
    changed: Denoiser = Denoiser(**network.settings | {"dropout": dropout})
    changed.load_state_dict(network.state_dict())
    return changed
