"""Every recipe from training to pairs, and what each can be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.process import RECIPES
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.rasters import read_tags
from geosynth.tileset import Tileset


@pytest.fixture(scope="module", params=RECIPES)
def trained(request: pytest.FixtureRequest, shared_world_tileset: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp(request.param) / "model"
    asked = TrainRequest(steps=2, batch=2, recipe=request.param)
    train_generator(shared_world_tileset, asked, out, Events(), threads=1, precision="32")
    return request.param, out


def test_the_folder_says_how_to_sample(trained: tuple[str, Path]) -> None:
    name, folder = trained
    generator = load_generator(folder)
    recipe = RECIPES[name]
    assert generator.pipeline.process == recipe.process
    assert generator.pipeline.two_levels == recipe.two_levels
    assert generator.bit_size == recipe.bit_size
    assert bool(generator.scale.mixing) == (name == "flow")  # the others leave bands as they are, as their papers do
    assert generator.training["recipe"] == name
    assert ("for a given mask" in (folder / "README.md").read_text()) == recipe.two_levels


def test_it_makes_pairs(trained: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = trained
    generate(folder, GenerateRequest(count=2, steps=3, block=2), tmp_path / "out", Events())
    made = Tileset(tmp_path / "out")
    assert len(made.tiles) == 2
    tags = read_tags(made.path / made.tiles[0].image)
    assert tags["GEOSYNTH_SAMPLER"] == ("ddpm" if name == "satsynth" else "dpm")
    assert tags["GEOSYNTH_GUIDANCE"] == ("1" if name == "satsynth" else "1.5")


def test_images_for_masks_need_two_levels(
    trained: tuple[str, Path], shared_world_tileset: Path, tmp_path: Path
) -> None:
    name, folder = trained
    asked = GenerateRequest(count=1, steps=2, block=1, masks_from=(str(shared_world_tileset),))
    if RECIPES[name].two_levels:
        generate(folder, asked, tmp_path / "out", Events())
        made = Tileset(tmp_path / "out")
        assert read_tags(made.path / made.tiles[0].image)["GEOSYNTH_GUIDANCE"] == "1"
    else:
        with pytest.raises(ModelError, match="one noise level"):
            generate(folder, asked, tmp_path / "out", Events())
        assert not (tmp_path / "out").exists()


def test_training_goes_on_as_it_began(trained: tuple[str, Path], shared_world_tileset: Path, tmp_path: Path) -> None:
    name, folder = trained
    asked = TrainRequest(steps=1, batch=2, start=str(folder))
    train_generator(shared_world_tileset, asked, tmp_path / "on", Events(), threads=1, precision="32")
    assert load_generator(tmp_path / "on").training["recipe"] == name
    other = next(recipe for recipe in RECIPES if recipe != name)
    with pytest.raises(ModelError, match=f"recipe {name}"):
        asked = TrainRequest(steps=1, batch=2, start=str(folder), recipe=other)
        train_generator(shared_world_tileset, asked, tmp_path / "other", Events(), threads=1, precision="32")
