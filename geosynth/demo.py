"""The whole flow in a few minutes: scene + labels to tiles, pairs, segmenter, class raster, polygons and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geosynth.diffusion.generate import GenerateRequest, count_for_ratio, generate
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.errors import OutputError, TilesetError
from geosynth.evaluation.arms import standard_arms
from geosynth.evaluation.experiment import ExperimentPlan
from geosynth.evaluation.study import evaluate
from geosynth.events import Events
from geosynth.folders import Rerun, claim
from geosynth.legend import load_legend
from geosynth.scenes.finding import find_files, name_apart
from geosynth.scenes.source import inspect_scene
from geosynth.segmentation.prediction import predict_scenes
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tileset import Split, Tileset
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.vectorize import vectorize
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

SIZE = 64
"""Tile side: what the shipped base generator was trained on."""

_WORLD_SEED, _WORLD_LOOK = 7, "temperate"
_SCENE = (768, 1024)
_STRIP = (768, 512)


@dataclass(frozen=True)
class DemoSize:
    """How much work the demo does: generator steps, pairs per labelled real pair, segmenter steps, seeds an arm."""

    train_steps: int = 200
    ratio: float = 1.0
    segment_steps: int = 200
    seeds: int = 3
    evaluate_steps: int = 80


@dataclass(frozen=True)
class Made:
    """What the demo made, in the order a user would look at it: (what, where)."""

    entries: tuple[tuple[str, Path], ...]


def made_up_scene(folder: Path, rerun: Rerun = "refuse") -> tuple[Path, Path, Path]:
    """Write a labelled scene, its labels, and a neighbouring scene to predict. Complete ones are kept.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """
    landscape = Landscape(_WORLD_SEED, _WORLD_LOOK)
    height, width = _SCENE
    request = {"command": "scene", "seed": _WORLD_SEED, "look": _WORLD_LOOK, "scene": _SCENE, "strip": _STRIP}
    with claim(folder, request, rerun) as out:
        if not out.complete:
            write_scene(landscape, out.path, "scene", 0, 0, height, width)
            write_scene(landscape, out.path, "next", 0, width, *_STRIP)
            out.finish()
    return folder / "scene.tif", folder / "scene_mask.tif", folder / "next.tif"


def run_demo(
    out: Path,
    events: Events,
    *,
    plan: TilingPlan | None = None,
    size: DemoSize | None = None,
    rerun: Literal["resume", "overwrite"] = "resume",
    workers: int = 1,
    device: str = "cpu",
) -> Made:
    """Run every step into subfolders of ``out``. Finished steps are not done again.

    Args:
        out: folder for everything.
        events: progress a step, cancellation.
        plan: how to tile the user's own scenes, which are also predicted; None makes a scene up.
        size: how much work to do.
        rerun: what to do where a subfolder holds another request's result.
        workers: processes for tiling and generating.
        device: "cpu" or "cuda".

    Raises:
        OutputError: ``out`` is a file, or a subfolder holds something else.
        TilesetError: the scenes gave no labelled tiles to train on, or none to test on.
        GeosynthError: the first step that fails says why.
    """
    size = size or DemoSize()
    again: Rerun = rerun
    if out.exists() and not out.is_dir():
        raise OutputError("is a file, not a folder", where=out, remedy="choose another --out")
    if plan is None:
        with events.task("1/7 scene"):
            scene, labels, target = made_up_scene(out / "scenes", again)
            events.artifact(scene, "raster")
        plan = TilingPlan(scenes=(str(scene),), labels=(str(labels),), size=SIZE, legend=load_legend("world"))
        targets = [target]
    else:
        targets = [Path(path) for path in find_files(plan.scenes, plan.labels)[0]]
    tiles, model, synthetic = out / "tiles", out / "generator", out / "synthetic"
    with events.task("2/7 tile"):
        tile_scenes(plan, tiles, events, rerun=again, workers=1)
        _check_splits(Tileset(tiles))
    with events.task("3/7 train"):
        train_generator(
            tiles, TrainRequest(steps=size.train_steps, start="base"), model, events, rerun=again, device=device
        )
    with events.task("4/7 generate"):
        request = GenerateRequest(count=count_for_ratio(size.ratio, tiles))
        generate(model, request, synthetic, events, rerun=again, workers=workers, device=device)
    with events.task("5/7 segment"):
        segmenter = out / "segmenter"
        train_segmenter(
            tiles, [synthetic], SegmenterPlan(steps=size.segment_steps), segmenter, events, rerun=again, device=device
        )
    with events.task("6/7 predict"):
        classes = [
            path
            for folder, scenes in _predictions(targets, out / "classes").items()
            for path in predict_scenes(segmenter, scenes, folder, events, rerun=again, resample=True, device=device)
        ]
        polygons = out / "classes.gpkg"
        vectorize(classes, polygons, events, min_area=4, overwrite=True)
    with events.task("7/7 evaluate"):
        experiment = ExperimentPlan(
            arms=standard_arms({"synthetic": synthetic}, size.ratio),
            seeds=tuple(range(size.seeds)),
            steps=size.evaluate_steps,
        )
        evaluate(tiles, experiment, out / "report", events, rerun=again, device=device)
    return Made(
        (
            ("scene", targets[0]),
            ("real tiles", tiles),
            ("generator", model),
            ("synthetic pairs", synthetic),
            ("segmenter", segmenter),
            *(("class raster", path) for path in classes),
            ("polygons", polygons),
            ("report", out / "report" / "report.html"),
        )
    )


def _check_splits(tiles: Tileset) -> None:
    """Raise TilesetError where the later steps would have nothing to learn from, or to test on."""
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        if not tiles.select(split, labelled=True):
            raise TilesetError(
                f"has no labelled tiles in split={split}",
                where=tiles.path,
                remedy="give larger scenes, labels that cover more of them, or a smaller --gsd (a split is made of"
                f" blocks of 4 × 4 tiles of {SIZE} px), and run it again with --overwrite",
            )


def _predictions(scenes: list[Path], folder: Path) -> dict[Path, list[Path]]:
    """Scenes by the folder for their class rasters: all in one, unless two of them are called alike."""
    infos = [inspect_scene(path) for path in scenes]
    named = name_apart(infos)
    if [info.name for info in named] == [info.name for info in infos]:
        return {folder: scenes}
    return {folder / info.name: [scene] for info, scene in zip(named, scenes, strict=True)}
