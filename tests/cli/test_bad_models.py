"""Bad generators and segmenters through the commands that take them: see ``bad_input``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import PLACE, SIDE, Refused, cut_off, flip_byte, write_raster
from click.testing import CliRunner
from conftest import world_tiles
from geosynth_cli.main import cli
from rasterio import Affine

pytest_plugins = ["bad_input"]


# Generators


def test_training_on_a_generator(refused: Refused, shared_generator: Path, out: Path) -> None:
    refused("train", shared_generator, "--out", out, where=shared_generator, why="not a tileset")


def test_training_on_a_folder_that_is_not_there(refused: Refused, tmp_path: Path, out: Path) -> None:
    refused("train", tmp_path / "gone", "--out", out, where=tmp_path / "gone", why="no such folder")


def test_starting_from_a_tileset(refused: Refused, shared_world_tileset: Path, out: Path) -> None:
    arguments = ("train", shared_world_tileset, "--from", shared_world_tileset, "--out", out)
    refused(*arguments, where=shared_world_tileset, why="is a tileset, not a generator")


def test_tiles_the_network_cannot_take(refused: Refused, tmp_path: Path, out: Path) -> None:
    tiles = world_tiles(tmp_path / "tiles", rows=1, cols=3, side=36)
    line = refused("train", tiles, "--steps", "2", "--out", out, where=tiles, why="36 px")
    assert "--size" in line.partition(" — ")[2]


def test_generating_with_a_tileset(refused: Refused, shared_world_tileset: Path, out: Path) -> None:
    arguments = ("generate", shared_world_tileset, "--count", "1", "--out", out)
    refused(*arguments, where=shared_world_tileset, why="is a tileset, not a generator")


def edit_geosynth_json(model: Path) -> Path:
    path = model / "geosynth.json"
    content = json.loads(path.read_text())
    content["spec"]["gsd_m"] = 7.0
    path.write_text(json.dumps(content))
    return path


def remove_lineage(model: Path) -> Path:
    (model / "lineage.json").unlink()
    return model / "lineage.json"


def rewrite_lineage(model: Path) -> Path:
    (model / "lineage.json").write_text("[]\n")
    return model / "lineage.json"


def cut_geosynth_json(model: Path) -> Path:
    return cut_off(model / "geosynth.json")


def flip_weights(model: Path) -> Path:
    return flip_byte(next((model / "denoiser").glob("*.safetensors")))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (flip_weights, "is damaged"),
        (remove_lineage, "is missing"),
        (rewrite_lineage, "is damaged"),
        (edit_geosynth_json, "was changed"),
        (cut_geosynth_json, "is damaged"),
    ],
)
def test_a_damaged_generator(
    refused: Refused, generator: Path, out: Path, damage: Callable[[Path], Path], why: str
) -> None:
    refused("generate", generator, "--count", "1", "--out", out, where=damage(generator), why=why)


def test_masks_that_do_not_fit_the_generator(
    refused: Refused, shared_generator: Path, tmp_path: Path, out: Path
) -> None:
    tiles = world_tiles(tmp_path / "tiles", rows=1, cols=3, side=40)
    arguments = ("generate", shared_generator, "--count", "1", "--masks-from", tiles, "--out", out)
    refused(*arguments, where=tiles, why="tiles of 40 px")


def test_a_ratio_of_tiles_without_labels(refused: Refused, shared_generator: Path, scene: Path, out: Path) -> None:
    tiles = scene.with_name("unlabelled")
    arguments = ["tile", str(scene), "--legend", "world", "--size", "32", "--out", str(tiles)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    arguments = ("generate", shared_generator, "--ratio", "1", "--of", tiles, "--out", out)
    refused(*arguments, where=tiles, why="no labelled real training tiles")
    refused("train", tiles, "--steps", "2", "--out", out, where=tiles, why="no labelled training tile")


# Segmenters


def test_segmenting_a_generator(refused: Refused, shared_generator: Path, out: Path) -> None:
    refused("segment", shared_generator, "--out", out, where=shared_generator, why="not a tileset")


def test_too_few_synthetic_tiles(refused: Refused, shared_world_tileset: Path, tmp_path: Path, out: Path) -> None:
    few = world_tiles(tmp_path / "few", rows=1, cols=4, seed=1)
    arguments = ("segment", shared_world_tileset, "--synthetic", few, "--ratio", "3", "--out", out)
    line = refused(*arguments, where=few, why="ratio 3")
    assert "generate" in line.partition(" — ")[2]


def test_synthetic_tiles_that_do_not_go_with_the_real(
    refused: Refused, shared_world_tileset: Path, tmp_path: Path, out: Path
) -> None:
    other = world_tiles(tmp_path / "other", rows=1, cols=3, side=40)
    arguments = ("segment", shared_world_tileset, "--synthetic", other, "--out", out)
    refused(*arguments, where=other, why="tile size is 40")


def test_an_encoder_that_is_not_there(refused: Refused, shared_world_tileset: Path, out: Path) -> None:
    arguments = ("segment", shared_world_tileset, "--encoder", "resnet19", "--out", out)
    refused(*arguments, where=None, why="resnet19")
    arguments = ("segment", shared_world_tileset, "--arch", "unett", "--out", out)
    refused(*arguments, where=None, why="unett")


def test_predicting_with_a_generator(refused: Refused, shared_generator: Path, scene: Path, out: Path) -> None:
    arguments = ("predict", shared_generator, scene, "--out", out)
    refused(*arguments, where=shared_generator, why="is a generator, not a segmenter")


def test_predicting_a_scene_of_other_bands(
    refused: Refused, shared_segmenter: Path, scene: Path, tmp_path: Path, out: Path
) -> None:
    four = write_raster(tmp_path / "four.tif", np.ones((4, SIDE, SIDE), np.uint8))
    # A scene that fits comes first: it is not written either.
    line = refused("predict", shared_segmenter, scene, four, "--out", out, where=four, why="4 bands of uint8")
    assert "3 bands of uint8" in line


def test_predicting_a_scene_of_another_pixel_size(
    refused: Refused, shared_segmenter: Path, tmp_path: Path, out: Path
) -> None:
    coarse = write_raster(tmp_path / "coarse.tif", np.ones((3, SIDE, SIDE), np.uint8), PLACE * Affine.scale(10))
    line = refused("predict", shared_segmenter, coarse, "--out", out, where=coarse, why="10")
    assert "--resample" in line.partition(" — ")[2]


def test_predicting_a_scene_that_was_cut_off(refused: Refused, shared_segmenter: Path, scene: Path, out: Path) -> None:
    refused("predict", shared_segmenter, cut_off(scene), "--out", out, where=scene, why="cannot be read")


def test_predicting_two_scenes_of_one_name(
    refused: Refused, shared_segmenter: Path, scene: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "b").mkdir()
    twin = Path(shutil.copy(scene, tmp_path / "b" / "place.tif"))
    refused("predict", shared_segmenter, scene, twin, "--out", out, where=None, why="two scenes are called 'place'")


def edit_segmenter_json(segmenter: Path) -> Path:
    path = segmenter / "segmenter.json"
    path.write_text(path.read_text().replace('"uint8"', '"uint16"'))
    return path


def flip_segmenter_weights(segmenter: Path) -> Path:
    return flip_byte(segmenter / "weights.safetensors")


def remove_segmenter_weights(segmenter: Path) -> Path:
    (segmenter / "weights.safetensors").unlink()
    return segmenter / "weights.safetensors"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (edit_segmenter_json, "was changed"),
        (flip_segmenter_weights, "is damaged"),
        (remove_segmenter_weights, "is missing"),
    ],
)
def test_a_damaged_segmenter(
    refused: Refused, segmenter: Path, scene: Path, out: Path, damage: Callable[[Path], Path], why: str
) -> None:
    refused("predict", segmenter, scene, "--out", out, where=damage(segmenter), why=why)
