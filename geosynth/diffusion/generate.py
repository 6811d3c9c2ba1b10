"""From a generator to a synthetic tileset: new pairs, images for given masks, masks for given images."""

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
from geosynth.diffusion.donors import Donors
from geosynth.diffusion.drawnmasks import MaskBlock, draw_masks
from geosynth.diffusion.finddonors import find_donors
from geosynth.diffusion.generator import Generator, load_generator, resolve
from geosynth.diffusion.making import Block, make_block
from geosynth.diffusion.request import GenerateRequest, GenerateSummary, Reading
from geosynth.diffusion.samplers import level_range
from geosynth.diffusion.settling import refuse_one_level, settled_sampler
from geosynth.diffusion.wanted import shares_text, wanted_shares
from geosynth.errors import ModelError, TilesetError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, canonical_json, claim, is_done, keep_apart
from geosynth.jobs import run_tasks
from geosynth.tileset import Tileset, TileSpec

__all__ = ["GenerateRequest", "GenerateSummary", "Reading", "count_for_ratio", "generate"]


def count_for_ratio(ratio: float, of: str | PathLike[str]) -> int:
    """Pairs for ``ratio`` synthetic pairs per labelled real training pair of ``of`` (SatSynth, section 4)."""
    tileset = Tileset(of)
    labelled = [tile for tile in tileset.select("train", labelled=True) if tile.image_origin == "real"]
    if not labelled:
        raise TilesetError("has no labelled real training tiles", where=tileset.path, remedy="give --count instead")
    return max(1, round(ratio * len(labelled)))


def generate(
    model: str | PathLike[str],
    request: GenerateRequest,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    workers: int | None = 1,
    scheduler: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> GenerateSummary:
    """Write a synthetic tileset.

    The same request gives the same bytes for any number of workers, any order and any interruption: the noise of a
    sample depends on (seed, index) only, blocks are fixed, and each worker computes with one thread.

    Args:
        model: generator folder or "base".
        request: what to make.
        out: tileset folder to write.
        events: progress, cancellation.
        rerun: rules for an existing output.
        workers: local processes; None takes one a core where that pays, and one on a GPU.
        scheduler: dask scheduler address.
        device: "cpu", "cuda", "mps" or "auto"; kept with the run, because it decides the last bits.
        precision: "32", "bf16" or "auto": bf16 where the device is fast at it; kept with the run, too.

    Raises:
        ModelError: not a generator; it cannot answer what is asked, or has no such sampler.
        TilesetError, SceneError, LabelError: what is given cannot be read, or does not fit the generator.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    where = choose_device(device)
    machine = {"device": where, "precision": decided_precision(precision, where)}
    folder = resolve(model).resolve()
    job = _settled(load_generator(folder), request, events)
    keep_apart(out, folder, *(path for path in (*request.masks_from, *request.images_from) if Path(path).exists()))
    if not is_done(out, job.asked, rerun):  # a damaged tile must not cost an earlier result
        job.verify()
    with claim(out, job.asked, rerun) as target:
        if target.complete:
            return summary_of(job.spec, job.wanted, Tileset(target.path).tiles, nothing_to_do=True)
        machine = kept_machine(target, machine, events)
        if workers is None:
            # A worker takes seconds to start: not worth it for a handful of pairs.
            workers = 1 if where != "cpu" or job.count <= 2 * job.request.block else os.cpu_count() or 1
        run = partial(run_tasks, events=events, workers=workers, scheduler=scheduler)
        course = _course(job, str(folder), where, machine["precision"], target, run)
        return summary_of(job.spec, job.wanted, course.tileset(job.generator.lineage, events))


# What is asked for


@dataclass(frozen=True)
class _Job:
    """A request with everything settled.

    ``given`` are the donors the user gives; ``wanted`` is class index to share; ``drawing`` is the guidance of masks
    that are drawn first; ``spec`` is that of the tileset, whose id is made of what is ``asked``.
    """

    generator: Generator
    request: GenerateRequest
    count: int
    given: Donors | None
    wanted: Mapping[int, float]
    drawing: float
    asked: Mapping[str, Any]
    spec: TileSpec

    def verify(self) -> None:
        """Raise GeosynthError unless every donor that may be used can be read."""
        verify_given(self.given, self.request, self.wanted)


def _settled(generator: Generator, request: GenerateRequest, events: Events) -> _Job:
    """The job of a request: sampler, steps, guidance and count said outright, everything that is given looked at.

    Raises:
        GeosynthError: the generator cannot answer it, or what is given cannot be read or does not fit.
    """
    pipeline = generator.pipeline
    if request.wants and request.images_from:
        raise ModelError(
            "class shares are wanted of masks for given images, which are what they are",
            remedy="give --want without --images-from",
        )
    if request.wants and not pipeline.two_levels:
        raise ModelError(
            "this generator has one noise level for image and mask: it cannot paint masks that were chosen",
            remedy="train one with a recipe of two levels, or leave --want and --balance out",
        )
    side = None if request.question == "joint" else f"the {'mask' if request.masks_from else 'image'} is given"
    refuse_one_level(pipeline, side, request.guidance)
    sampler, steps = settled_sampler(pipeline.process, request.sampler, request.steps)
    given = find_donors(request, generator.spec, events)
    count = len(given) if request.count is None and given is not None else request.count
    if count is None:
        raise ModelError("how many pairs is not said", remedy="give --count, or masks or images to make pairs for")
    spec = generator.spec if given is None else given.spec
    wanted = wanted_shares(request.want, spec.legend, request.balance)
    drawing = pipeline.guidance_for(request.guidance, given=False)
    settled = replace(
        request,
        count=count,
        sampler=sampler,
        steps=steps,
        guidance=pipeline.guidance_for(request.guidance, given=side is not None or request.wants),
        want=shares_text(wanted, spec.legend),
        balance=False,
    )
    asked = _asked(generator, settled, given, drawing)
    identity = hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:16]
    return _Job(generator, settled, count, given, wanted, drawing, asked, replace(spec, id=identity))


def _asked(generator: Generator, request: GenerateRequest, donors: Donors | None, drawing: float) -> dict[str, Any]:
    """The settled request as JSON, with hashes for files."""
    given = None if donors is None else donors.identity()
    return {
        "command": "generate",
        "model": generator.hash,
        "count": request.count,
        "seed": request.seed,
        "sampler": request.sampler,
        "steps": request.steps,
        "levels": level_range(generator.pipeline.process),
        "guidance": request.guidance,
        "block": request.block,
        "guidance_of_masks": drawing if donors is None and request.want else None,
        "want": request.want,
        "masks_from": given if request.masks_from else None,
        "images_from": given if request.images_from else None,
        **({"sieve": request.sieve} if request.sieve else {}),
    }


def _course(
    job: _Job, model: str, device: str, precision: str, target: OutputFolder, run: Callable[..., Any]
) -> Course:
    """The job where it is done: ``model`` is the generator's folder."""
    out, drawing = str(target.path.resolve()), replace(job.request, guidance=job.drawing)

    def block(number: int) -> Block:
        return Block(model, job.generator.hash, out, job.spec, job.request, number, device, None, precision)

    def mask_block(number: int, folder: str) -> MaskBlock:
        return MaskBlock(model, job.generator.hash, folder, drawing, number, device, precision)

    return Course(
        job.request, job.spec, job.given, job.wanted, target, run, block, make_block, mask_block, draw_masks, drawing
    )
