"""Synthetic masks and scenes that are given again: they stay synthetic, and what their makers saw is handed on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio

from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.wholescene import SceneRequest, generate_scene
from geosynth.errors import OutputError
from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.lineage import Lineage, Seen, read_lineage
from geosynth.rasters import read_tags
from geosynth.scenes.origins import lineage_behind
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

MADE = {"GEOSYNTH_SYNTHETIC": "both", "GEOSYNTH_GENERATOR": "abc", "GEOSYNTH_PLACEMENT": "fictitious"}
SAW = Lineage((Seen("0123456789abcdef", "elsewhere", "EPSG:32633", (0.0, 0.0, 32.0, 32.0), True),))


def tagged(path: Path, **tags: str) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder like that of a whole scene, whose generator saw a place elsewhere."""
    folder = tmp_path / "made"
    write_scene(Landscape(3), folder, "image", 0, 0, 32, 40)
    for name in ("image", "image_mask"):
        tagged(folder / f"{name}.tif", **MADE)
    (folder / "lineage.json").write_text(json.dumps(SAW.to_json()))
    return folder


def test_a_synthetic_mask_that_is_given_stays_synthetic(made: Path, shared_generator: Path, tmp_path: Path) -> None:
    request = GenerateRequest(steps=1, block=2, masks_from=(str(made / "image_mask.tif"),))
    generate(shared_generator, request, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    for tile in tileset.tiles:
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "generated", "fictitious")
        tags = read_tags(tileset.path / tile.mask)
        assert MADE.items() <= tags.items() and tags["GEOSYNTH_SCENE"] == "image_mask"
        assert tags["GEOSYNTH_WINDOW"] == f"{tile.row} {tile.col} 32 32"
    # Nobody was at its made-up place.
    assert read_lineage(tileset.path) == load_generator(shared_generator).lineage | SAW


def test_a_synthetic_image_that_is_given_stays_synthetic(made: Path, shared_generator: Path, tmp_path: Path) -> None:
    request = GenerateRequest(steps=1, block=2, images_from=(str(made / "image.tif"),))
    generate(shared_generator, request, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    for tile in tileset.tiles:
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "predicted", "fictitious")
        assert MADE.items() <= read_tags(tileset.path / tile.image).items()
    assert read_lineage(tileset.path) == load_generator(shared_generator).lineage | SAW


def test_a_class_raster_that_is_given_is_predicted(shared_generator: Path, tmp_path: Path) -> None:
    write_scene(Landscape(3), tmp_path / "world", "place", 0, 0, 32, 32)
    tagged(tmp_path / "world" / "place_mask.tif", GEOSYNTH_SEGMENTER="abc")
    request = GenerateRequest(steps=1, block=1, masks_from=(str(tmp_path / "world" / "place_mask.tif"),))
    generate(shared_generator, request, tmp_path / "out", Events())
    (tile,) = Tileset(tmp_path / "out").tiles
    tags = read_tags(tmp_path / "out" / tile.mask)
    assert (tile.mask_origin, tile.placement) == ("predicted", "donor")
    assert (tags["GEOSYNTH_SYNTHETIC"], tags["GEOSYNTH_SEGMENTER"]) == ("mask", "abc")


def test_a_whole_scene_of_a_synthetic_map(made: Path, shared_generator: Path, tmp_path: Path) -> None:
    generate_scene(
        shared_generator, SceneRequest(steps=1, masks_from=(str(made / "image_mask.tif"),)), tmp_path / "out", Events()
    )
    image, mask = (read_tags(tmp_path / "out" / f"{name}.tif") for name in ("image", "mask"))
    assert MADE.items() <= mask.items()
    assert (image["GEOSYNTH_SYNTHETIC"], image["GEOSYNTH_PLACEMENT"]) == ("image", "fictitious")
    assert read_lineage(tmp_path / "out") == load_generator(shared_generator).lineage | SAW


def test_what_was_seen_is_handed_on_to_tiles(shared_generator: Path, tmp_path: Path) -> None:
    generate_scene(shared_generator, SceneRequest(64, 64, steps=1), tmp_path / "scene", Events())
    plan = TilingPlan(
        scenes=(tmp_path / "scene" / "image.tif",),
        labels=(tmp_path / "scene" / "mask.tif",),
        size=32,
    )
    write_scene(Landscape(3), tmp_path / "real", "place", 0, 0, 32, 64)
    more = TilingPlan(scenes=(tmp_path / "real" / "place.tif",), split="scene", assign=(("place", "train"),))
    tile_scenes(plan, tmp_path / "tiles", Events())
    lineage = read_lineage(tmp_path / "tiles")
    assert lineage.seen and lineage == load_generator(shared_generator).lineage
    tile_scenes(more, tmp_path / "tiles", Events(), append=True)
    assert read_lineage(tmp_path / "tiles") == lineage
    tile_scenes(replace(more, size=32, legend=load_legend("world")), tmp_path / "plain", Events())
    assert not (tmp_path / "plain" / "lineage.json").exists()


def test_another_lineage_is_another_request(made: Path, tmp_path: Path) -> None:
    plan = TilingPlan(scenes=(made / "image.tif",), labels=(made / "image_mask.tif",), size=32)
    tile_scenes(plan, tmp_path / "tiles", Events())
    assert read_lineage(tmp_path / "tiles") == SAW
    assert tile_scenes(plan, tmp_path / "tiles", Events()).nothing_to_do
    (made / "lineage.json").write_text("[]")
    with pytest.raises(OutputError, match="lineage"):
        tile_scenes(plan, tmp_path / "tiles", Events())


def test_a_synthetic_raster_without_a_lineage_is_warned_of(made: Path, tmp_path: Path) -> None:
    said: list[str] = []
    events = Events([lambda record: said.append(str(record.get("message", "")))])
    tile = tmp_path / "tiles" / "images" / "a.tif"
    tile.parent.mkdir(parents=True)
    shutil.copy(made / "image.tif", tile)
    assert lineage_behind([str(tile)], events) == Lineage()
    assert len(said) == 1 and "no lineage.json lies beside a.tif" in said[0]
    shutil.copy(made / "lineage.json", tmp_path / "tiles")
    assert lineage_behind([str(tile), str(made / "image.tif")], events) == SAW
    write_scene(Landscape(3), tmp_path, "real", 0, 0, 8, 8)
    assert lineage_behind([str(tmp_path / "real.tif")], events) == Lineage()
    assert len(said) == 1
