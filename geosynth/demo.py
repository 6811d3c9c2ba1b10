"""The whole flow in a few minutes: scene + labels to tiles, pairs, segmenter, class raster, polygons and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geosynth.diffusion.generate import GenerateRequest, count_for_ratio, generate
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.evaluation.experiment import ExperimentPlan, standard_arms
from geosynth.evaluation.study import evaluate
from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth.segmentation.prediction import predict_scenes
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.vectorize import vectorize
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

SIZE = 64
"""Tile side: what the shipped base generator was trained on."""

_WORLD_SEED = 7
_SCENE = (768, 1024)
_STRIP = (768, 512)


@dataclass(frozen=True)
class DemoSize:
    """How much work the demo does: generator steps, pairs per labelled real pair, segmenter steps, seeds an arm."""

    train_steps: int = 200
    ratio: float = 1.0
    segment_steps: int = 300
    seeds: int = 2
    evaluate_steps: int = 150


@dataclass(frozen=True)
class Made:
    """What the demo made, in the order a user would look at it: (what, where)."""

    entries: tuple[tuple[str, Path], ...]


def made_up_scene(folder: Path) -> tuple[Path, Path, Path]:
    """A labelled scene, its labels, and a neighbouring scene to predict. Kept when they are there already."""
    landscape = Landscape(_WORLD_SEED, "temperate")
    height, width = _SCENE
    scene, strip = folder / "scene.tif", folder / "next.tif"
    if not strip.is_file():
        write_scene(landscape, folder, "scene", 0, 0, height, width)
        write_scene(landscape, folder, "next", 0, width, *_STRIP)
    return scene, folder / "scene_mask.tif", strip


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
        plan: how to tile the user's own scenes; None makes a scene up.
        size: how much work to do.
        rerun: what to do where a subfolder holds another request's result.
        workers: processes for tiling and generating.
        device: "cpu" or "cuda".

    Raises:
        GeosynthError: the first step that fails says why.
    """
    size = size or DemoSize()
    again: Rerun = rerun
    if plan is None:
        with events.task("1/7 scene"):
            scene, labels, target = made_up_scene(out / "scenes")
            events.artifact(scene, "raster")
        from geosynth.legend import load_legend

        plan = TilingPlan(scenes=(str(scene),), labels=(str(labels),), size=SIZE, legend=load_legend("world"))
        targets = [target]
    else:
        targets = [Path(scene) for scene in plan.scenes]
    tiles, model, synthetic = out / "tiles", out / "generator", out / "synthetic"
    with events.task("2/7 tile"):
        tile_scenes(plan, tiles, events, rerun=again, workers=1)
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
        classes = predict_scenes(segmenter, targets, out / "classes", events, rerun=again, resample=True, device=device)
        polygons = out / "classes.gpkg"
        vectorize(classes, polygons, events, min_area=4, overwrite=True)
    with events.task("7/7 evaluate"):
        experiment = ExperimentPlan(
            arms=standard_arms({"synthetic": synthetic}),
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
