from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.starting import MANY_BANDS, network_to_train, recipe_to_train
from geosynth.errors import ModelError, TilesetError
from geosynth.rasters import Band
from geosynth.tileset import Tileset


def with_bands(tileset: Tileset, count: int) -> Tileset:
    bands = tuple(Band(f"band {number}", "uint8") for number in range(count))
    object.__setattr__(tileset, "spec", replace(tileset.spec, bands=bands))
    return tileset


def test_a_straight_line_gets_a_shortcut(shared_world_tileset: Path, shared_generator: Path) -> None:
    without = load_generator(shared_generator)
    settings = without.pipeline.denoiser.settings | {"shortcut": False}
    without.pipeline.register_modules(denoiser=Denoiser(**settings))
    for bands, start, expected in (
        (3, None, True),
        (MANY_BANDS, None, True),
        (3, load_generator(shared_generator), True),
        (3, without, False),  # it keeps what it knows
        (MANY_BANDS, without, True),
    ):
        tileset = with_bands(Tileset(shared_world_tileset), bands)
        network = network_to_train(tileset, start, "flow", size=32, dropout=None, seed=0)
        assert network.shortcut == expected
        with torch.no_grad():
            assert network(torch.randn(1, bands + 3, 32, 32), torch.ones(1), torch.ones(1)).shape[1] == bands + 3
    assert not network_to_train(tileset, None, "satsynth", size=32, dropout=None, seed=0).shortcut


def test_weights_are_a_function_of_the_seed(shared_world_tileset: Path) -> None:
    tileset = Tileset(shared_world_tileset)
    first, again, other = (
        network_to_train(tileset, None, "flow", size=32, dropout=0.1, seed=seed).state_dict()["unet.conv_in.weight"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_crops_the_network_cannot_take(shared_world_tileset: Path) -> None:
    with pytest.raises(TilesetError, match="do not fit"):
        network_to_train(Tileset(shared_world_tileset), None, "flow", size=20, dropout=None, seed=0)


def test_the_recipe_is_that_of_the_start(shared_generator: Path) -> None:
    start = load_generator(shared_generator)
    assert recipe_to_train(None, None, None) == "flow"
    assert recipe_to_train("v", None, None) == "v"
    assert recipe_to_train(None, start, "model") == "flow"
    with pytest.raises(ModelError, match="recipe flow"):
        recipe_to_train("satsynth", start, "model")
