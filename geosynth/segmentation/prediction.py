"""Scenes to class rasters, in overlapping windows and bounded memory."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch

from geosynth.devices import kept_machine
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, claim
from geosynth.jobs import run_tasks
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import read_lineage
from geosynth.rasters import gdal_session
from geosynth.scenes.finding import find_files
from geosynth.scenes.identity import scene_identity
from geosynth.scenes.source import inspect_scene
from geosynth.segmentation.flips import FLIPS
from geosynth.segmentation.layers import Layer
from geosynth.segmentation.mask2former import MASK2FORMER
from geosynth.segmentation.networks import TIMM, check_takes
from geosynth.segmentation.pieces import (
    ScenePlan,
    Settings,
    predict_run,
    publish_scene,
    run_length,
)
from geosynth.segmentation.scenefit import FittedScene, fit_scene, refuse_twins
from geosynth.segmentation.segmenter import Segmenter, load_segmenter
from geosynth.segmentation.windows import Windows

_WINDOW, _LEAST_WINDOW = 256, 32
_ACCELERATOR_BATCH = 16
_ACCELERATOR_THREADS = 2
"""So that the next batch is prepared while one is computed."""


def predict_scenes(
    segmenter: str | PathLike[str],
    scenes: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    events: Events,
    *,
    window: int | None = None,
    overlap: int | None = None,
    confidence: bool = False,
    probabilities: bool = False,
    flips: int = 1,
    precision: str = "auto",
    batch: int | None = None,
    rerun: Rerun = "refuse",
    resample: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> list[Path]:
    """Write ``<scene name>.tif`` (class ids, 255 where the scene has no data) for every scene, and the lineage of the
    segmenter.

    Logits of overlapping windows are blended with smooth weights, so there is no seam where a window ends. A window is
    computed by one thread, so the bytes do not depend on ``threads``, ``workers`` or ``scheduler``.

    Args:
        segmenter: segmenter folder.
        scenes: rasters with the segmenter's bands, folders of them, or patterns.
        out: folder to write.
        events: progress in windows (in pieces of scenes where others compute), cancellation.
        window: side of the windows, pixels; None: 256, and for mask2former the side of the tiles it was trained on, for
            its queries look at a whole image: at another size they see what they never saw.
        overlap: pixels two neighbouring windows share, at least; None is a quarter of a window.
        confidence: write ``confidence/<scene name>.tif``, too: the probability of the chosen class in percent.
        probabilities: write ``probabilities/<scene name>.tif``, too: that of every class, a band each.
        flips: 1, or the mean of the logits over 4 flips, or over 8 flips and turns.
        precision: "32", "bf16" (autocast), or "auto": bf16 on CUDA. Kept with the run, as are device and batch.
        batch: windows a forward pass; None is 1 on a CPU, whose cache holds no more, else 16.
        rerun: rules for an existing output; finished scenes and pieces of scenes are not done again.
        resample: warp scenes whose pixels are of another size to the segmenter's ground size; the class raster has
            those pixels, too.
        device: auto, cpu, cuda or mps.
        threads: windows computed side by side by a worker on a CPU; None shares the cores among the workers.
        workers: local processes.
        scheduler: dask scheduler address.

    Returns:
        The class rasters, in the order of the scenes.

    Raises:
        ModelError: not a segmenter, or a setting is none.
        SceneError: a scene cannot be read or does not fit; nothing is written then.
        OutputError: the rerun rules refuse, or the disk does.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    if flips not in FLIPS or precision not in ("auto", "32", "bf16"):
        raise ModelError(f"{flips} flips at precision {precision}", remedy="give 1, 4 or 8 flips; auto, 32 or bf16")
    model, lineage = load_segmenter(segmenter, device), read_lineage(Path(segmenter))
    if window is None:
        window = max(_LEAST_WINDOW, model.spec.tile_size) if model.spec.architecture == MASK2FORMER else _WINDOW
    overlap = window // 4 if overlap is None else overlap
    Windows.over(window, window, overlap)  # refuses what makes no windows
    if model.spec.encoder.startswith(TIMM):  # some of them are made for one size alone
        check_takes(model.network, len(model.spec.bands), window, f"give --window {model.spec.tile_size}, as its tiles")
    fitted = [fit_scene(inspect_scene(path), model.spec, resample) for path in find_files(scenes)[0]]
    refuse_twins([scene.info for scene in fitted])
    layers: list[Layer] = ["classes"]
    if confidence:
        layers.insert(0, "confidence")
    if probabilities:
        layers.insert(0, "probabilities")
    request = {
        "command": "predict",
        "segmenter": model.hash,
        "scenes": [scene_identity(scene.info) for scene in fitted],
        "window": window,
        "overlap": overlap,
        "confidence": confidence,
        "probabilities": probabilities,
        "flips": flips,
        "resample": resample,
    }
    accelerator = model.device != "cpu"
    asked = {
        "device": model.device,
        "precision": precision if precision != "auto" else "bf16" if model.device == "cuda" else "32",
        "batch": batch or (_ACCELERATOR_BATCH if accelerator else 1),
    }
    if threads is None:
        threads = (
            _ACCELERATOR_THREADS if accelerator else 1 if scheduler else max(1, torch.get_num_threads() // workers)
        )
    with gdal_session(), claim(out, request, rerun) as folder:
        if not folder.complete:
            kept = kept_machine(folder, asked, events)
            folder.write(LINEAGE, json.dumps(lineage.to_json()) + "\n")
            settings = Settings(
                window, overlap, tuple(layers), flips, kept["precision"], kept["batch"], kept["device"], threads
            )
            plans = [_plan(scene, segmenter, model, folder, settings) for scene in fitted]
            _run(model, plans, folder, events, workers, scheduler)
        else:
            events.log(f"nothing to do: {folder.path} is complete")
        return [folder.path / f"{scene.info.name}.tif" for scene in fitted]


def _plan(
    scene: FittedScene, segmenter: str | PathLike[str], model: Segmenter, folder: OutputFolder, settings: Settings
) -> ScenePlan:
    """Paths are absolute: workers may run elsewhere."""
    path = Path(scene.info.path)
    if path.exists():
        scene = replace(scene, info=replace(scene.info, path=str(path.absolute())))
    source, out = Path(segmenter).absolute(), folder.path.absolute()
    return ScenePlan(scene, str(source), model.hash, str(out), model.spec, settings)


def _run(
    model: Segmenter,
    plans: Sequence[ScenePlan],
    folder: OutputFolder,
    events: Events,
    workers: int,
    scheduler: str | None,
) -> None:
    finished = folder.records()
    todo = [plan for plan in plans if plan.name not in finished]
    if workers == 1 and scheduler is None:
        _predict_here(model, plans, todo, folder, events)
    else:
        _predict_elsewhere(todo, folder, events, workers, scheduler)
    shutil.rmtree(folder.state / "pieces", ignore_errors=True)
    folder.finish()


def _predict_here(
    model: Segmenter, plans: Sequence[ScenePlan], todo: Sequence[ScenePlan], folder: OutputFolder, events: Events
) -> None:
    total = sum(plan.windows for plan in plans)
    done = total - sum(plan.windows for plan in todo)
    for plan in todo:
        runs = list(plan.missing())
        ready = done + plan.windows - sum(run.windows for run in runs)
        for run in runs:
            for count in run.predict(model, events.check):
                events.progress(ready + count, total, "windows")
            ready += run.windows
        publish_scene(plan, plan.settings.threads)
        _finish(plan, folder, events)
        done += plan.windows
    events.progress(total, total, "windows")


def _predict_elsewhere(
    todo: Sequence[ScenePlan], folder: OutputFolder, events: Events, workers: int, scheduler: str | None
) -> None:
    length = run_length(todo, workers)
    runs = [run for plan in todo for run in plan.missing(length)]
    left = Counter(run.plan.name for run in runs)
    by_name = {plan.name: plan for plan in todo}
    for plan in todo:
        if not left[plan.name]:  # stopped between its last piece and its raster
            publish_scene(plan, plan.settings.threads)
            _finish(plan, folder, events)
    for name, published in run_tasks(
        predict_run, runs, events, workers=workers, scheduler=scheduler, unit="pieces of scenes"
    ):
        left[name] -= 1
        if not left[name]:
            if not published:
                publish_scene(by_name[name], by_name[name].settings.threads)
            _finish(by_name[name], folder, events)


def _finish(plan: ScenePlan, folder: OutputFolder, events: Events) -> None:
    folder.record(plan.name, {})
    shutil.rmtree(plan.parts, ignore_errors=True)
    events.artifact(plan.file("classes"), "classes")
