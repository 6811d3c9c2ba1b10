"""Whole scenes: one seamless image with its mask, of any size, new or painted onto a given map."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geosynth.devices import choose_device, decided_precision, kept_machine
from geosynth.diffusion.canvas import Canvas, padded
from geosynth.diffusion.donorwindows import MaskCanvas, known_windows
from geosynth.diffusion.finddonors import Maps, find_maps
from geosynth.diffusion.generator import Generator, load_generator, resolve
from geosynth.diffusion.request import SIEVE, Reading
from geosynth.diffusion.samplers import Stepper, level_range
from geosynth.diffusion.scenefiles import IMAGE, KIND, MASK, META, SceneJob, write_scene
from geosynth.diffusion.scenelevels import ScenePlan, advance
from geosynth.diffusion.settling import refuse_one_level, settled_sampler
from geosynth.errors import LabelError, ModelError, OutputError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, canonical_json, claim, is_done, keep_apart
from geosynth.grid import Grid, fictitious_grid
from geosynth.jobs import run_tasks
from geosynth.legend import Legend
from geosynth.rasters import gdal_session
from geosynth.tileset import TileSpec

_OVERLAP = 8
"""Windows share an eighth of a tile: measured, see benchmarks/seams.py."""
_CHUNK = 1024
"""Rows and columns of a given map that are burned together."""
_ROOM = 2.2
"""Bytes of output for a byte of pixels, at most: the strips, and the COG with overviews made of them."""
_WRITTEN = "written"
"""The record of a scene whose files are there."""


@dataclass(frozen=True)
class SceneRequest:
    """What to make.

    Attributes:
        height, width: pixels; None takes those of the map that is given.
        seed: same seed, same noise: of two scenes the pixels they share start from the same values.
        steps: noise levels; None is the sampler's default.
        guidance: above 1 image and mask follow each other more strictly; None is the default of what is asked.
        sampler: one of ``samplers_for`` the generator's process; None is the first of them.
        overlap: pixels the windows of a noise level share, rounded up to what the network divides; None is an eighth of
            a tile.
        batch: windows a forward pass. A part of the request, because a batch of another size rounds differently.
        sieve: connected areas of fewer pixels of what is made of the mask take the class around them; 0 keeps all.
        masks_from: a map to paint: one mask raster, or vector files (``FILE|layername=NAME`` is one layer).
        reading: how the map is understood.
    """

    height: int | None = None
    width: int | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    overlap: int | None = None
    batch: int = 8
    masks_from: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    sieve: int = SIEVE


@dataclass(frozen=True)
class SceneSummary:
    """What was made: size in pixels, shares of the classes, and whether it was there already."""

    height: int
    width: int
    class_shares: dict[str, float]
    nothing_to_do: bool = False


def generate_scene(
    model: str | PathLike[str],
    request: SceneRequest,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    workers: int | None = 1,
    device: str = "auto",
    precision: str = "auto",
) -> SceneSummary:
    """Write ``image.tif`` and ``mask.tif``, one seamless pair, as cloud-optimised GeoTIFFs.

    What is computed lives on the disk, so memory does not grow with the height, and hardly with the width. The same
    request gives the same bytes for any number of workers and any interruption.

    A given map lies where it lay; what it does not know is made up. A new scene lies in a made-up place.

    Args:
        model: generator folder or "base".
        request: what to make.
        out: folder to write.
        events: progress in rows of windows over all noise levels, cancellation.
        rerun: rules for an existing output; finished rows of windows are not computed again.
        workers: local processes, each with one thread; None takes one a core where that pays, and one on a GPU.
        device: "cpu", "cuda", "mps" or "auto"; kept with the run, because it decides the last bits.
        precision: "32", "bf16" or "auto": bf16 where the device is fast at it; kept with the run, too.

    Raises:
        ModelError: not a generator; it cannot answer what is asked; no size is given, or two are.
        LabelError, SceneError: the map cannot be read, or does not fit the generator.
        OutputError: the disk is too small, or the rerun rules refuse.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    where = choose_device(device)
    machine = {"device": where, "precision": decided_precision(precision, where)}
    folder = resolve(model).resolve()
    job = _settled(load_generator(folder), str(folder), request, Path(out), where, events)
    keep_apart(out, folder, *(path for path in request.masks_from if Path(path).exists()))
    written = rerun == "resume" and _WRITTEN in OutputFolder(Path(out), complete=False).records()
    if not written and not is_done(out, job.request, rerun):
        _refuse_small_disk(job, Path(out))
    with gdal_session(), claim(out, job.request, rerun) as target:
        if target.complete:
            return _summary(target.path, nothing_to_do=True)
        kept = kept_machine(target, machine, events)
        job = replace(job, plan=replace(job.plan, precision=kept["precision"]))
        if _WRITTEN not in target.records():
            _compute(job, target, events, workers)
            write_scene(job, target, events)
            target.record(_WRITTEN, {})
        job.plan.canvas.discard()
        target.finish()
        for name in (IMAGE, MASK):
            events.artifact(target.path / name, "scene")
        return _summary(target.path)


# What is asked for


def _settled(
    generator: Generator, folder: str, request: SceneRequest, out: Path, device: str, events: Events
) -> SceneJob:
    pipeline, spec = generator.pipeline, generator.spec
    refuse_one_level(pipeline, "a map is given" if request.masks_from else None, request.guidance)
    sampler, steps = settled_sampler(pipeline.process, request.sampler, request.steps)
    stepper = Stepper(pipeline.process, sampler, steps)
    side, multiple = spec.tile_size, pipeline.denoiser.multiple
    asked_overlap = side // _OVERLAP if request.overlap is None else request.overlap
    overlap = -(-asked_overlap // multiple) * multiple
    if not 0 <= overlap <= side // 2:
        raise ModelError(
            f"windows of {side} px with an overlap of {asked_overlap} px",
            remedy=f"give {side // 2 // multiple * multiple} at most",
        )
    maps = find_maps(request.masks_from, request.reading, spec, events) if request.masks_from else None
    painted = None if maps is None else only_map(maps, request)
    if painted is not None and next(known_windows(painted, side, events), None) is None:
        raise LabelError("holds no pixel of a known class", where=request.masks_from[0], remedy="give another map")
    guidance = pipeline.guidance_for(request.guidance, given=painted is not None)
    height, width = size_of(request, painted)
    asked = {
        "command": "generate",
        "kind": KIND,
        "model": generator.hash,
        "height": height,
        "width": width,
        "seed": request.seed,
        "sampler": sampler,
        "steps": steps,
        "levels": level_range(pipeline.process),
        "guidance": guidance,
        "overlap": overlap,
        "batch": request.batch,
        "masks_from": None if maps is None else dict(maps.inputs),
        **({"sieve": request.sieve} if request.sieve else {}),
    }
    grid = new_place(spec, height, width, asked) if painted is None else painted.grid
    canvas = Canvas(
        OutputFolder(out.absolute(), complete=False).state / "canvas",
        generator.bands + pipeline.denoiser.mask_channels,
        padded(height, side, multiple),
        padded(width, side, multiple),
        stepper.remembers,
        len(stepper.levels),
    )
    plan = ScenePlan(
        folder, generator.hash, canvas, side, overlap, multiple, painted is not None, request.seed, sampler, steps,
        guidance, request.batch, device,
    )  # fmt: skip
    lineage = generator.lineage if maps is None else generator.lineage | maps.behind
    return SceneJob(generator, plan, grid, painted, request.sieve, lineage, asked)


def new_place(spec: TileSpec, height: int, width: int, asked: Mapping[str, Any]) -> Grid:
    """The made-up place of a new scene of so many pixels, by what is ``asked`` (JSON)."""
    identity = hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:16]
    place = fictitious_grid(spec.crs, spec.pixel_size, max(height, width), 0, identity, cells=1)
    return place.window(0, 0, height, width)


def only_map(maps: Maps, request: SceneRequest) -> MaskCanvas:
    """The map to paint. Raises LabelError where there are several."""
    if len(maps.canvases) > 1:
        names = ", ".join(canvas.name for canvas in maps.canvases[:4])
        raise LabelError(
            f"{len(maps.canvases)} maps are given that do not lie together ({names})",
            where=request.masks_from[0],
            remedy="give one map a scene",
        )
    return maps.canvases[0]


def size_of(request: SceneRequest, painted: MaskCanvas | None) -> tuple[int, int]:
    """(height, width) of a scene in pixels: those of its map, or those asked for.

    Raises:
        ModelError: neither is given, or both, or less than a pixel.
    """
    if painted is not None and (request.height is not None or request.width is not None):
        raise ModelError("both a size and a map are given", remedy="the map says the size: leave --size away")
    if painted is not None:
        return painted.grid.height, painted.grid.width
    if request.height is None or request.width is None:
        raise ModelError("how large the scene is to be is not said", remedy="give --size, or a map")
    if min(request.height, request.width) < 1:
        raise ModelError(f"a scene of {request.width} x {request.height} pixels", remedy="give a larger --size")
    return request.height, request.width


def _refuse_small_disk(job: SceneJob, out: Path) -> None:
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    pixel = 1 + sum(np.dtype(band.dtype).itemsize for band in job.generator.spec.bands)
    need = job.plan.canvas.bytes + round(_ROOM * job.grid.height * job.grid.width * pixel)
    kept = sum(path.stat().st_size for path in job.plan.canvas.folder.glob("*"))
    free = shutil.disk_usage(there).free
    if need - kept > free:
        raise OutputError(
            f"a scene of {job.grid.width} x {job.grid.height} pixels needs {need / 1e9:.1f} GB while it is made, and"
            f" {free / 1e9:.1f} GB are free",
            where=there,
            remedy="choose an --out on a larger disk, or a smaller scene",
        )


# How it is made


def _compute(job: SceneJob, target: OutputFolder, events: Events, workers: int | None) -> None:
    plan = job.plan
    plan.canvas.make()
    if workers is None:
        # A worker takes seconds to start: not worth it for a few rows of windows.
        workers = (os.cpu_count() or 1) if plan.device == "cpu" and len(plan.layout(0)[0].starts) > 8 else 1
    if job.map is not None and "given" not in target.records():
        _burn(job.map, job.generator.spec.legend, plan.canvas, events)
        target.record("given", {})
    for _ in run_tasks(advance, plan.missing(workers), events, workers=workers, unit="rows of windows at a level"):
        pass


def _burn(painted: MaskCanvas, legend: Legend, canvas: Canvas, events: Events) -> None:
    """Put the map's classes onto the canvas; what lies beyond its right and lower edge goes on as it ends there."""
    given, height, width = canvas.given, painted.grid.height, painted.grid.width
    with painted.open() as read:
        for row in range(0, height, _CHUNK):
            for col in range(0, width, _CHUNK):
                size = (min(_CHUNK, height - row), min(_CHUNK, width - col))
                ids, _ = read(row, col, *size)
                given[row : row + size[0], col : col + size[1]] = legend.to_index(ids)
            events.check()
    given[:height, width:] = given[:height, width - 1 : width]
    given[height:] = given[height - 1]
    if isinstance(given, np.memmap):
        given.flush()


def _summary(folder: Path, nothing_to_do: bool = False) -> SceneSummary:
    content = json.loads((folder / META).read_text(encoding="utf-8"))
    return SceneSummary(content["height"], content["width"], content["class_shares"], nothing_to_do)
