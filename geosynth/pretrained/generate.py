"""From a generator of this route to a synthetic tileset: new pairs, images for masks, variations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from geosynth.devices import choose_device, decided_precision, kept_machine
from geosynth.diffusion.course import Course, summary_of, verify_given
from geosynth.diffusion.donors import Donors, TileDonors
from geosynth.diffusion.finddonors import find_donors
from geosynth.diffusion.request import GenerateRequest, GenerateSummary
from geosynth.diffusion.wanted import shares_text, wanted_shares
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, canonical_json, claim, is_done, keep_apart
from geosynth.jobs import run_tasks
from geosynth.lineage import Lineage
from geosynth.pretrained.base import BaseFiles, check_installed
from geosynth.pretrained.making import Canvas, LabelBlock, PaintBlock, canvas_for, keep_labels, make_block
from geosynth.pretrained.model import LabelPainter, base_of, load_label_painter
from geosynth.pretrained.request import Manner
from geosynth.pretrained.sampling import GUIDANCE, settled_sampler
from geosynth.tileset import Tileset, TileSpec


def generate_painted(
    model: str | PathLike[str],
    request: GenerateRequest,
    manner: Manner,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    workers: int | None = 1,
    scheduler: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> GenerateSummary:
    """Write a synthetic tileset, as ``diffusion.generate.generate`` does and by the same rules.

    Args:
        model: generator folder of this route.
        request: what to make; ``images_from`` cannot be answered.
        manner: how it is drawn.
        out: tileset folder to write.
        events, rerun, workers, scheduler, device, precision: as there.

    Raises:
        ModelError: no such generator, its base model is not there, or it cannot answer what is asked.
        TilesetError, SceneError, LabelError: what is given cannot be read, or does not fit the generator.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    check_installed()
    where = choose_device(device)
    machine = {"device": where, "precision": decided_precision(precision, where)}
    folder = Path(model).resolve()
    job = _settled(load_label_painter(folder), request, manner, events)
    keep_apart(out, folder, job.base.folder, *(path for path in request.masks_from if Path(path).exists()))
    if not is_done(out, job.asked, rerun):
        job.verify()
    with claim(out, job.asked, rerun) as target:
        if target.complete:
            return summary_of(job.spec, job.wanted, Tileset(target.path).tiles, nothing_to_do=True)
        machine = kept_machine(target, machine, events)
        if workers is None:
            # Every worker holds a copy of the networks, and loading one takes longer than a few blocks.
            workers = 1 if where != "cpu" or job.count <= 4 * job.request.block else os.cpu_count() or 1
        run = partial(run_tasks, events=events, workers=workers, scheduler=scheduler)
        course = _course(job, where, machine["precision"], target, run)
        return summary_of(job.spec, job.wanted, course.tileset(job.painter.lineage, events))


@dataclass(frozen=True)
class _Job:
    """A request with everything settled; see ``diffusion.generate``. ``template`` and ``style`` write the prompts."""

    painter: LabelPainter
    base: BaseFiles
    request: GenerateRequest
    count: int
    given: Donors | None
    wanted: Mapping[int, float]
    canvas: Canvas
    scale: float
    template: str
    style: str
    strength: float | None
    asked: Mapping[str, Any]
    spec: TileSpec

    def verify(self) -> None:
        """Raise GeosynthError unless every donor that may be used can be read."""
        verify_given(self.given, self.request, self.wanted)


def _settled(painter: LabelPainter, request: GenerateRequest, manner: Manner, events: Events) -> _Job:
    if request.images_from:
        raise ModelError(
            "draws images for masks, not masks for images",
            where=painter.folder,
            remedy="give --masks-from TILES --strength 0.6 for variations of tiles, or a generator of another recipe",
        )
    if manner.strength is not None and not request.masks_from:
        raise ModelError("nothing is given to begin from", remedy="give --strength together with --masks-from TILES")
    sampler, steps = settled_sampler(request.sampler, request.steps)
    guidance = GUIDANCE if request.guidance is None else request.guidance
    scale = manner.scale_of(painter.spec.gsd_m, str(painter.folder))
    base = base_of(painter, manner.pretrained)
    spec = scaled(painter.spec, scale, manner.tile, multiple_of(painter))
    canvas = canvas_for((spec.tile_size,) * 2, scale, painter.scales, multiple_of(painter))
    prompting = painter.prompting(manner.prompt, manner.style)  # refuses a template that cannot be filled
    given = find_donors(request, spec, events)
    if manner.strength is not None and not isinstance(given, TileDonors):
        raise ModelError(
            "variations begin from images, and masks of files have none",
            where=request.masks_from[0],
            remedy="tile the scene with its labels, and give that: --masks-from TILES --strength …",
        )
    count = len(given) if request.count is None and given is not None else request.count
    if count is None:
        raise ModelError("how many pairs is not said", remedy="give --count, or masks to make pairs for")
    spec = spec if given is None else given.spec
    wanted = wanted_shares(request.want, spec.legend, request.balance)
    settled = replace(
        request,
        count=count,
        sampler=sampler,
        steps=steps,
        guidance=guidance,
        want=shares_text(wanted, spec.legend),
        balance=False,
    )
    asked = {
        "command": "generate",
        "route": "stable-diffusion",
        "model": painter.hash,
        "count": count,
        "seed": settled.seed,
        "sampler": sampler,
        "steps": steps,
        "guidance": guidance,
        "block": settled.block,
        "want": settled.want,
        "masks_from": None if given is None else given.identity(),
        "sieve": settled.sieve,
        "template": prompting.template,
        "style": prompting.style,
        "scale": scale,
        "strength": manner.strength,
        "tile": spec.tile_size,
    }
    identity = hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:16]
    return _Job(
        painter,
        base,
        settled,
        count,
        given,
        wanted,
        canvas,
        scale,
        prompting.template,
        prompting.style,
        manner.strength,
        asked,
        replace(spec, id=identity),
    )


def scaled(spec: TileSpec, scale: float, tile: int | None, multiple: int) -> TileSpec:
    """The tiles that are asked for: pixels ``scale`` times as large on the ground, ``tile`` pixels a side.

    Raises:
        ModelError: a side that the model cannot draw.
    """
    side = tile or spec.tile_size
    if side % multiple:
        near = max(multiple, round(side / multiple) * multiple)
        raise ModelError(f"tiles of {side} px", remedy=f"give a multiple of {multiple}, for example {near}")
    x, y = spec.pixel_size
    gsd = None if spec.gsd_m is None else float(f"{spec.gsd_m * scale:.6g}")
    return replace(spec, pixel_size=(x * scale, y * scale), gsd_m=gsd, tile_size=side)


def multiple_of(painter: LabelPainter) -> int:
    """Pixels that sizes are measured in: those of a latent pixel."""
    return int(painter.training["pixels_per_latent"])


def _course(job: _Job, device: str, precision: str, target: OutputFolder, run: Callable[..., Any]) -> Course:
    """The job where it is done."""

    def block(number: int) -> PaintBlock:
        return PaintBlock(
            model=str(job.painter.folder),
            model_hash=job.painter.hash,
            out=str(target.path.resolve()),
            spec=job.spec,
            request=job.request,
            number=number,
            device=device,
            donors=None,
            precision=precision,
            painter=replace(job.painter, lineage=Lineage()),  # workers need not know what it saw
            base=str(job.base.folder.resolve()),
            half=job.base.half,
            canvas=job.canvas,
            template=job.template,
            style=job.style,
            strength=job.strength,
            settings=settings_of(job.scale, job.strength),
        )

    def mask_block(number: int, folder: str) -> LabelBlock:
        return LabelBlock(block(number), folder)

    return Course(
        job.request,
        job.spec,
        job.given,
        job.wanted,
        target,
        run,
        block,
        make_block,
        mask_block,
        keep_labels,
        job.request,
    )


def settings_of(scale: float, strength: float | None) -> tuple[tuple[str, str], ...]:
    """What tags say beyond those of other generators."""
    varied = () if strength is None else (("strength", f"{strength:g}"),)
    return (("scale", f"{scale:g}"), *varied)
