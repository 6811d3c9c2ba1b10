"""Killed without warning at any moment, a command goes on with --resume and ends with the same bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SIDE, world_tiles
from killing import survives_kills

from geosynth.events import Events
from geosynth.folders import file_hash

KILLS = 20

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")


def tile(inputs: Path, out: Path) -> None:
    from geosynth.legend import load_legend
    from geosynth.tiling import TilingPlan, tile_scenes

    plan = TilingPlan(
        scenes=(str(inputs / "scene.tif"),),
        labels=(str(inputs / "scene_mask.tif"),),
        size=SIDE,
        legend=load_legend("world"),
    )
    tile_scenes(plan, out, Events(), rerun="resume")


def train(inputs: Path, out: Path) -> None:
    from geosynth.diffusion.train import TrainRequest, train_generator

    request = TrainRequest(steps=12, batch=2)
    train_generator(
        inputs / "tiles", request, out, Events(), rerun="resume", threads=1, precision="32", checkpoint_every=2
    )


def generate(inputs: Path, out: Path) -> None:
    from geosynth.diffusion.generate import GenerateRequest
    from geosynth.diffusion.generate import generate as generate_pairs

    generate_pairs(inputs / "model", GenerateRequest(24, steps=2, block=2), out, Events(), rerun="resume")


def whole_scene(inputs: Path, out: Path) -> None:
    from geosynth.diffusion.wholescene import SceneRequest, generate_scene

    generate_scene(inputs / "model", SceneRequest(150, 64, steps=3), out, Events(), rerun="resume")


def segment(inputs: Path, out: Path) -> None:
    from geosynth.segmentation.training import SegmenterPlan, train_segmenter

    plan = SegmenterPlan("fpn", "tu-mobilenetv3_small_050", steps=24, batch=2)
    train_segmenter(
        inputs / "tiles", [], plan, out, Events(), rerun="resume", threads=1, device="cpu", checkpoint_every=4
    )


def compare(inputs: Path, out: Path) -> None:
    from geosynth.evaluation.arms import choose_arms
    from geosynth.evaluation.experiment import ExperimentPlan
    from geosynth.evaluation.study import evaluate

    arms = choose_arms({}, ["duplicated", "cutmix"])
    plan = ExperimentPlan(
        arms, seeds=(0, 1), other_seeds=1, steps=3, batch=2, architecture="fpn", encoder="tu-mobilenetv3_small_050"
    )
    evaluate(inputs / "tiles", plan, out, Events(), rerun="resume", threads=1, device="cpu")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, shared_generator: Path) -> Path:
    from geosynth.world import Landscape
    from geosynth.world.scene import write_scene

    folder = tmp_path_factory.mktemp("inputs")
    write_scene(Landscape(3), folder, "scene", 0, 0, 6 * SIDE, 8 * SIDE)
    world_tiles(folder / "tiles", side=16)
    shutil.copytree(shared_generator, folder / "model")
    return folder


@pytest.mark.parametrize(
    ("command", "kills"),
    [(tile, KILLS), (train, KILLS), (generate, KILLS), (whole_scene, KILLS), (segment, 6), (compare, 6)],
)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    command: Callable[[Path, Path], None], kills: int, inputs: Path, tmp_path: Path
) -> None:
    survives_kills(command, inputs, tmp_path, _hashes, kills, earliest=0.0)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_hash(path)
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).is_relative_to(".geosynth/log")
    }
