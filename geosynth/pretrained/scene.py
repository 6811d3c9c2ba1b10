"""One pair of any size instead of tiles: drawn at once, so that its parts go together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.devices import choose_device, cpu_threads, decided_precision, kept_machine
from geosynth.diffusion.donors import Donor
from geosynth.diffusion.donorwindows import MaskCanvas
from geosynth.diffusion.finddonors import find_maps
from geosynth.diffusion.request import GenerateRequest
from geosynth.diffusion.scenefiles import IMAGE, KIND, MASK, META, placement_of, write_records
from geosynth.diffusion.wholescene import SceneRequest, SceneSummary, new_place, only_map, size_of
from geosynth.errors import LabelError, ModelError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, claim, keep_apart
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage
from geosynth.pretrained.base import BaseFiles, check_installed
from geosynth.pretrained.generate import multiple_of, scaled, settings_of
from geosynth.pretrained.making import PaintBlock, canvas_for, draw
from geosynth.pretrained.model import LabelPainter, base_of, load_label_painter
from geosynth.pretrained.request import Manner
from geosynth.pretrained.sampling import GUIDANCE, settled_sampler
from geosynth.rasters import gdal_session
from geosynth.scenes.cog import Contents, Part, PartWriter, publish
from geosynth.tileset import class_fractions
from geosynth.tilesetwriter import synthetic_tags

_MOST = 2048 * 2048
"""Pixels that are drawn at once, at most: the U-Net looks at all of them together."""


@dataclass(frozen=True)
class _Job:
    """A request with everything settled. ``map`` is what is painted; None for a new pair."""

    painter: LabelPainter
    base: BaseFiles
    block: PaintBlock
    grid: Grid
    map: MaskCanvas | None
    lineage: Lineage
    asked: Mapping[str, Any]


def paint_scene(
    model: str | PathLike[str],
    request: SceneRequest,
    manner: Manner,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    device: str = "auto",
    precision: str = "auto",
) -> SceneSummary:
    """Write ``image.tif`` and ``mask.tif``, one pair of any size, as cloud-optimised GeoTIFFs.

    It is one unit of work: an interrupted run begins it again.

    Args:
        model: generator folder of this route.
        request: what to make; there are no windows, so ``overlap`` and ``batch`` mean nothing.
        manner: how it is drawn; ``strength`` and ``tile`` are for tiles.
        out: folder to write.
        events, rerun, device, precision: as in ``diffusion.wholescene.generate_scene``.

    Raises:
        ModelError: no such generator, its base model is not there; no size or two, or one it cannot draw.
        LabelError, SceneError: the map cannot be read, or does not fit the generator.
        Cancelled: stopped by the user.
    """
    check_installed()
    where = choose_device(device)
    folder = Path(model).resolve()
    job = _settled(load_label_painter(folder), request, manner, where, decided_precision(precision, where), events)
    keep_apart(out, folder, job.base.folder, *(path for path in request.masks_from if Path(path).exists()))
    with gdal_session(), claim(out, job.asked, rerun) as target:
        if not target.complete:
            machine = kept_machine(target, {"device": where, "precision": job.block.precision}, events)
            _write(replace(job, block=replace(job.block, precision=machine["precision"])), target, events)
            target.finish()
            for name in (IMAGE, MASK):
                events.artifact(target.path / name, "scene")
        made = json.loads((target.path / META).read_text(encoding="utf-8"))
        return SceneSummary(made["height"], made["width"], made["class_shares"], target.complete)


def _settled(
    painter: LabelPainter, request: SceneRequest, manner: Manner, device: str, precision: str, events: Events
) -> _Job:
    if manner.strength is not None or manner.tile is not None:
        raise ModelError("a strength and a side are for tiles", remedy="leave out --strength and --tile")
    multiple = multiple_of(painter)
    sampler, steps = settled_sampler(request.sampler, request.steps)
    guidance = GUIDANCE if request.guidance is None else request.guidance
    scale = manner.scale_of(painter.spec.gsd_m, str(painter.folder))
    spec = scaled(painter.spec, scale, None, multiple)
    base = base_of(painter, manner.pretrained)
    maps = find_maps(request.masks_from, request.reading, spec, events) if request.masks_from else None
    painted = None if maps is None else only_map(maps, request)
    height, width = size_of(request, painted)
    if painted is None and (height % multiple or width % multiple):
        raise ModelError(f"a scene of {width} x {height} pixels", remedy=f"give sides that are multiples of {multiple}")
    canvas = canvas_for((height, width), scale, painter.scales, multiple)
    if canvas.size[0] * canvas.size[1] > _MOST:
        raise ModelError(
            f"{canvas.size[1]} x {canvas.size[0]} pixels would have to be drawn at once",
            remedy=f"give a smaller size (up to {_MOST / 1e6:.1f} million pixels), or make tiles",
        )
    prompting = painter.prompting(manner.prompt, manner.style)
    asked = {
        "command": "generate",
        "route": "stable-diffusion",
        "kind": KIND,
        "model": painter.hash,
        "height": height,
        "width": width,
        "seed": request.seed,
        "sampler": sampler,
        "steps": steps,
        "guidance": guidance,
        "masks_from": None if maps is None else dict(maps.inputs),
        "sieve": request.sieve,
        "template": prompting.template,
        "style": prompting.style,
        "scale": scale,
    }
    grid = new_place(spec, height, width, asked) if painted is None else painted.grid
    block = PaintBlock(
        model=str(painter.folder),
        model_hash=painter.hash,
        out="",
        spec=spec,
        request=GenerateRequest(1, request.seed, steps, guidance, 1, sampler, sieve=request.sieve),
        number=0,
        device=device,
        donors=None,
        precision=precision,
        painter=painter,
        base=str(base.folder.resolve()),
        half=base.half,
        canvas=canvas,
        template=prompting.template,
        style=prompting.style,
        extent=(height, width),
    )
    lineage = painter.lineage if maps is None else painter.lineage | maps.behind
    return _Job(painter, base, block, grid, painted, lineage, asked)


def _write(job: _Job, target: OutputFolder, events: Events) -> None:
    """Draw and write both rasters, the lineage, and last what the folder is."""
    spec, grid, painter = job.block.spec, job.grid, job.painter
    events.progress(0, 1, "pairs")
    given = None if job.map is None else _given(job.map)
    donors = [] if given is None else [Donor(grid, given, given != UNKNOWN, {}, {})]
    with cpu_threads(1):  # the files must not depend on how many there are
        drawn = draw(job.block, donors)
    events.check()
    band = spec.bands[0]
    image = painter.tones.to_raster(drawn.images[0], band.dtype, band.nodata)
    # Where a map is unknown the image shows what may be there, and the mask stays unknown.
    ids = painter.spec.legend.to_id(drawn.masks[0].numpy()) if given is None else given
    contents = {IMAGE: Contents(spec.bands), MASK: Contents.classes(spec.legend)}
    pixels: dict[str, NDArray[Any]] = {IMAGE: image, MASK: ids[None]}
    tags = _tags(job, float(drawn.confidence.mean()), drawn.prompts[0])
    for name, content in contents.items():
        part = Part(target.temporary / f"{name}.part", 0, 0, grid.height, grid.width)
        writer = PartWriter(part, content)
        try:
            writer.write(0, 0, pixels[name])
            writer.close()
            publish([part], content, target.path / name, target.temporary, grid, tags[name])
        finally:
            writer.discard()
    shares = dict(zip(spec.legend.names, class_fractions(ids, spec.legend)[0], strict=True))
    write_records(target, spec, grid, job.map, job.lineage, shares, float(job.map is None), job.asked)
    events.progress(1, 1, "pairs")


def _given(painted: MaskCanvas) -> NDArray[np.uint8]:
    """All of a map, class ids uint8 (H, W)."""
    with painted.open() as read:
        ids, _ = read(0, 0, painted.grid.height, painted.grid.width)
    if (ids == UNKNOWN).all():
        raise LabelError("holds no pixel of a known class", where=painted.name, remedy="give another map")
    return np.asarray(ids, np.uint8)


def _tags(job: _Job, sure: float, prompt: str) -> dict[str, dict[str, str]]:
    request, block = job.block.request, job.block
    settings = {
        "sampler": str(request.sampler),
        "steps": str(request.steps),
        "guidance": f"{request.guidance:g}",
        "question": "joint" if job.map is None else "image",
        "prompt": prompt,
        **({"sieve": str(request.sieve)} if request.sieve and job.map is None else {}),
        **dict(settings_of(float(job.asked["scale"]), None)),
    }
    what = "both" if job.map is None else "image"
    image = synthetic_tags(what, block.model_hash, request.seed, 0, placement_of(job.map), settings)
    if job.map is None:
        return {IMAGE: image, MASK: image | {"GEOSYNTH_CONFIDENCE": f"{sure:.3f}"}}
    return {IMAGE: image, MASK: {**job.map.tags, "GEOSYNTH_SCENE": job.map.name}}
