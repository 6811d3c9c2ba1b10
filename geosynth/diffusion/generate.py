"""From a generator to a synthetic tileset: new pairs, images for given masks, masks for given images."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.devices import choose_device, kept_machine
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

    Raises:
        ModelError: not a generator; it cannot answer what is asked, or has no such sampler.
        TilesetError, SceneError, LabelError: what is given cannot be read, or does not fit the generator.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    where = choose_device(device)
    folder = resolve(model).resolve()
    generator = load_generator(folder)
    drawing = generator.pipeline.guidance_for(request.guidance, given=False)
    chosen = bool(wanted_shares(request.want, generator.spec.legend, request.balance))
    request = _settled(request, generator, chosen)
    donors = find_donors(request, generator.spec, events)
    if donors is not None and request.count is None:
        request = replace(request, count=len(donors))
    if request.count is None:
        raise ModelError("how many pairs is not said", remedy="give --count, or masks or images to make pairs for")
    count = request.count
    legend = generator.spec.legend if donors is None else donors.spec.legend
    wanted = wanted_shares(request.want, legend, request.balance)
    request = replace(request, want=shares_text(wanted, legend), balance=False)
    asked = _asked(generator, request, donors, drawing)
    identity = hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:16]
    spec = replace(generator.spec if donors is None else donors.spec, id=identity)
    given = (path for path in (*request.masks_from, *request.images_from) if Path(path).exists())
    keep_apart(out, folder, *given)
    if donors is not None and not is_done(out, asked, rerun):  # a damaged tile must not cost an earlier result
        (donors if wanted else donors.part(sorted(set(in_turn(count, donors))))).verify()
    with claim(out, asked, rerun) as target:
        if target.complete:
            return _summary(Tileset(target.path).tiles, spec, wanted, nothing_to_do=True)
        kept_machine(target, {"device": where}, events)
        place = _Place(str(folder), generator.hash, target, where)
        if workers is None:
            # A worker takes seconds to start: not worth it for a handful of pairs.
            workers = 1 if where != "cpu" or count <= 2 * request.block else os.cpu_count() or 1
        run = partial(run_tasks, events=events, workers=workers, scheduler=scheduler)
        if wanted and donors is None:
            donors, shares = _drawn(replace(request, guidance=drawing), spec, place, run)
        elif wanted and donors is not None:
            shares = shares_of(donors, legend, events)
        numbers = None
        if wanted:
            numbers = by_shares(count, shares, wanted, request.seed, legend.names, events)
        elif donors is not None:
            numbers = in_turn(count, donors)
        _make(request, spec, place, donors, numbers, run)
        lineage = generator.lineage
        if donors is not None and numbers is not None:
            lineage |= donors.lineage(set(numbers))
        shutil.rmtree(target.state / _MASKS, ignore_errors=True)
        tiles = compact(target, spec, lineage)
        events.artifact(target.path, "tileset")
        return _summary(tiles, spec, wanted)


_MASKS = "masks"
"""Where, in the folder's state, masks are kept that were drawn to be chosen from."""


@dataclass(frozen=True)
class _Place:
    """Where work is done: the generator's folder and hash, the folder that is written, the device."""

    model: str
    model_hash: str
    target: OutputFolder
    device: str


def _drawn(
    request: GenerateRequest, spec: TileSpec, place: _Place, run: Callable[..., Any]
) -> tuple[DrawnMasks, NDArray[np.float64]]:
    """Masks the generator draws, more than are wanted, and the class shares of each."""
    folder = str((place.target.state / _MASKS).resolve())
    count = -(-POOL * (request.count or 0) // request.block)
    finished = {name: record for name, record in place.target.records().items() if "shares" in record}
    blocks = [
        MaskBlock(place.model, place.model_hash, folder, request, number, place.device) for number in range(count)
    ]
    remaining = [block for block in blocks if block.name not in finished]
    for name, drawn in run(draw_masks, remaining, unit=f"blocks of {request.block} masks"):
        finished[name] = {"tiles": [], **drawn}
        place.target.record(name, finished[name])
    shares = np.array([row for block in blocks for row in finished[block.name]["shares"]])
    sure = [value for block in blocks for value in finished[block.name]["confidence"]]
    return DrawnMasks(folder, spec, request, tuple(enumerate(sure))), shares


def _make(
    request: GenerateRequest,
    spec: TileSpec,
    place: _Place,
    donors: Donors | None,
    numbers: Sequence[int] | None,
    run: Callable[..., Any],
) -> None:
    """Make all pairs that are not there yet; sample i for donor ``numbers[i]``."""
    finished, count = place.target.records(), request.count or 0
    out = str(place.target.path.resolve())
    blocks = []
    for number in range(-(-count // request.block)):
        block = Block(place.model, place.model_hash, out, spec, request, number, place.device, None)
        if donors is not None and numbers is not None:
            block = replace(block, donors=donors.part([numbers[sample % count] for sample in block.samples]))
        if block.name not in finished:
            blocks.append(block)
    for name, rows in run(make_block, blocks, unit=f"blocks of {request.block} pairs"):
        place.target.record(name, {"tiles": rows})


def _settled(request: GenerateRequest, generator: Generator, chosen: bool) -> GenerateRequest:
    """The request with its sampler, steps and guidance said outright; ``chosen``: masks are, for wanted shares.

    Raises:
        ModelError: the generator cannot answer it, or has no such sampler.
    """
    pipeline = generator.pipeline
    if chosen and request.images_from:
        raise ModelError(
            "class shares are wanted of masks for given images, which are what they are",
            remedy="give --want without --images-from",
        )
    if chosen and not pipeline.two_levels:
        raise ModelError(
            "this generator has one noise level for image and mask: it cannot paint masks that were chosen",
            remedy="train one with a recipe of two levels, or leave --want and --balance out",
        )
    given = None if request.question == "joint" else f"the {'mask' if request.masks_from else 'image'} is given"
    refuse_one_level(pipeline, given, request.guidance)
    sampler, steps = settled_sampler(pipeline.process, request.sampler, request.steps)
    guidance = pipeline.guidance_for(request.guidance, given=given is not None or chosen)
    return replace(request, sampler=sampler, steps=steps, guidance=guidance)


def _asked(generator: Generator, request: GenerateRequest, donors: Donors | None, drawing: float) -> dict[str, Any]:
    """The request as JSON, with hashes for files."""
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
    }


def _summary(
    tiles: tuple[Tile, ...], spec: TileSpec, wanted: Mapping[int, float], nothing_to_do: bool = False
) -> GenerateSummary:
    known = math.fsum(1 - tile.unknown_fraction for tile in tiles)
    shares = np.sum([tile.class_fractions for tile in tiles], axis=0) / (known or 1.0)
    names = spec.legend.names
    return GenerateSummary(
        len(tiles),
        dict(zip(names, map(float, shares), strict=True)),
        {names[index]: share for index, share in wanted.items()},
        nothing_to_do,
    )
