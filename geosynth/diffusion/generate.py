"""From a generator to a synthetic tileset: new pairs, images for given masks, masks for given images."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.devices import choose_device, decided_precision, kept_machine
from geosynth.diffusion.choosing import by_shares, in_turn, shares_of
from geosynth.diffusion.donors import Donors
from geosynth.diffusion.drawnmasks import POOL, DrawnMasks, MaskBlock, draw_masks
from geosynth.diffusion.finddonors import find_donors
from geosynth.diffusion.generator import Generator, load_generator, resolve
from geosynth.diffusion.making import Block, make_block
from geosynth.diffusion.request import GenerateRequest, GenerateSummary, Reading
from geosynth.diffusion.settling import refuse_one_level, settled_sampler
from geosynth.diffusion.wanted import shares_text, wanted_shares
from geosynth.errors import ModelError, TilesetError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, canonical_json, claim, is_done, keep_apart
from geosynth.jobs import run_tasks
from geosynth.tileset import Tile, Tileset, TileSpec
from geosynth.tilesetwriter import compact

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
            return _summary(job, Tileset(target.path).tiles, nothing_to_do=True)
        machine = kept_machine(target, machine, events)
        if workers is None:
            # A worker takes seconds to start: not worth it for a handful of pairs.
            workers = 1 if where != "cpu" or job.count <= 2 * job.request.block else os.cpu_count() or 1
        run = partial(run_tasks, events=events, workers=workers, scheduler=scheduler)
        making = _Making(job, str(folder), where, machine["precision"], target, run)
        donors = making.chosen(events)
        making.pairs(donors)
        lineage = job.generator.lineage
        if donors is not None:
            lineage |= donors.of.lineage(set(donors.numbers))
        shutil.rmtree(target.state / _MASKS, ignore_errors=True)
        tiles = compact(target, job.spec, lineage)
        events.artifact(target.path, "tileset")
        return _summary(job, tiles)


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
        if self.given is not None:
            used = (
                self.given
                if self.wanted
                else self.given.part(sorted(set(in_turn(self.count, self.given, self.request.seed))))
            )
            used.verify()


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
        "guidance": request.guidance,
        "block": request.block,
        "guidance_of_masks": drawing if donors is None and request.want else None,
        "want": request.want,
        "masks_from": given if request.masks_from else None,
        "images_from": given if request.images_from else None,
        **({"sieve": request.sieve} if request.sieve else {}),
    }


# How it is made


_MASKS = "masks"
"""Where, in the folder's state, masks are kept that were drawn to be chosen from."""


@dataclass(frozen=True)
class _Chosen:
    """Donors, and the number of the one that each sample is made for."""

    of: Donors
    numbers: list[int]


@dataclass(frozen=True)
class _Making:
    """A job where it is done: generator folder, how to compute, the folder that is written, and what runs its tasks."""

    job: _Job
    model: str
    device: str
    precision: str
    target: OutputFolder
    run: Callable[..., Any]

    def chosen(self, events: Events) -> _Chosen | None:
        """The donors of all samples; None for new pairs of which nothing is there yet."""
        job, legend = self.job, self.job.spec.legend
        if not job.wanted:
            return None if job.given is None else _Chosen(job.given, in_turn(job.count, job.given, job.request.seed))
        if job.given is None:
            donors, shares = self._drawn()
        else:
            donors, shares = job.given, shares_of(job.given, legend, events)
        return _Chosen(donors, by_shares(job.count, shares, job.wanted, job.request.seed, legend.names, events))

    def _drawn(self) -> tuple[Donors, NDArray[np.float64]]:
        """Masks the generator draws, more than are wanted, and the class shares of each."""
        job, target = self.job, self.target
        folder = str((target.state / _MASKS).resolve())
        request = replace(job.request, guidance=job.drawing)
        blocks = [
            MaskBlock(self.model, job.generator.hash, folder, request, number, self.device, self.precision)
            for number in range(-(-POOL * job.count // request.block))
        ]
        finished = {name: record for name, record in target.records().items() if "shares" in record}
        remaining = [block for block in blocks if block.name not in finished]
        for name, drawn in self.run(draw_masks, remaining, unit=f"blocks of {request.block} masks"):
            finished[name] = {"tiles": [], **drawn}
            target.record(name, finished[name])
        shares = np.array([row for block in blocks for row in finished[block.name]["shares"]])
        sure = [value for block in blocks for value in finished[block.name]["confidence"]]
        return DrawnMasks(tuple(enumerate(sure)), job.spec, folder, request), shares

    def pairs(self, donors: _Chosen | None) -> None:
        """Make all pairs that are not there yet."""
        job, target = self.job, self.target
        out, finished, size = str(target.path.resolve()), target.records(), job.request.block
        blocks = []
        for number in range(-(-job.count // size)):
            block = Block(
                self.model, job.generator.hash, out, job.spec, job.request, number, self.device, None, self.precision
            )
            if donors is not None:
                own = [donors.numbers[sample % job.count] for sample in block.samples]
                block = replace(block, donors=donors.of.part(own))
            if block.name not in finished:
                blocks.append(block)
        for name, rows in self.run(make_block, blocks, unit=f"blocks of {size} pairs"):
            target.record(name, {"tiles": rows})


def _summary(job: _Job, tiles: tuple[Tile, ...], nothing_to_do: bool = False) -> GenerateSummary:
    known = math.fsum(1 - tile.unknown_fraction for tile in tiles)
    shares = np.sum([tile.class_fractions for tile in tiles], axis=0) / (known or 1.0)
    names = job.spec.legend.names
    return GenerateSummary(
        len(tiles),
        dict(zip(names, map(float, shares), strict=True)),
        {names[index]: share for index, share in job.wanted.items()},
        nothing_to_do,
    )
