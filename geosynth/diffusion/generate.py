"""From a generator to a synthetic tileset: new pairs, images for given masks, masks for given images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from geosynth.devices import choose_device, kept_machine
from geosynth.diffusion.codes import decode, encode
from geosynth.diffusion.generator import Generator, cached_generator, load_generator, resolve
from geosynth.diffusion.pipeline import STEPS
from geosynth.errors import ModelError, TilesetError
from geosynth.events import Events
from geosynth.folders import Rerun, canonical_json, claim, is_done
from geosynth.grid import Grid, fictitious_cell, fictitious_grid
from geosynth.jobs import run_tasks
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage, read_lineage
from geosynth.noise import sample_noise
from geosynth.rasters import read_tags
from geosynth.tileset import Tile, Tileset, TileSpec
from geosynth.tilesetwriter import compact, encode_tile, synthetic_tags, write_tiles

Question = Literal["joint", "image", "mask"]


@dataclass(frozen=True)
class GenerateRequest:
    """What to make.

    ``masks_from`` or ``images_from`` is a tileset whose masks (images) are given; samples go through its training tiles
    in order and start again when there are more samples than tiles. ``block`` is the number of samples a unit of work;
    it is part of the request, because a batch of another size rounds differently.
    """

    count: int
    seed: int = 0
    steps: int = STEPS
    guidance: float = 1.0
    block: int = 8
    masks_from: str | None = None
    images_from: str | None = None

    @property
    def question(self) -> Question:
        """Which of the three questions is asked."""
        return "image" if self.masks_from else "mask" if self.images_from else "joint"


@dataclass(frozen=True)
class GenerateSummary:
    """What was made: number of pairs, pooled class shares, and whether all of it was there already."""

    pairs: int
    class_shares: dict[str, float]
    nothing_to_do: bool = False


@dataclass(frozen=True)
class Block:
    """One unit of work: samples ``number * size`` … of a request, for any process that sees the two folders."""

    model: str
    model_hash: str
    out: str
    spec: dict[str, Any]
    request: GenerateRequest
    number: int
    device: str

    @property
    def name(self) -> str:
        return f"block-{self.number:06d}"


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
    workers: int = 1,
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
        workers: local processes.
        scheduler: dask scheduler address.
        device: "cpu", "cuda", "mps" or "auto"; kept with the run, because it decides the last bits.

    Raises:
        ModelError: not a generator, or the given masks or images do not fit it.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    where = choose_device(device)
    folder = resolve(model).resolve()
    generator = load_generator(folder)
    request = replace(request, masks_from=_absolute(request.masks_from), images_from=_absolute(request.images_from))
    donors = request.masks_from or request.images_from
    asked: dict[str, Any] = {"command": "generate", **asdict(request), "model": generator.hash}
    if donors:
        asked["masks_from" if request.masks_from else "images_from"] = _check_donors(generator, request, Path(donors))
    spec = _output_spec(generator, asked, request)
    if donors and not is_done(out, asked, rerun):  # a damaged tile must not cost an earlier result
        source = Tileset(donors)
        source.verify(_usable(source, request)[: request.count])
    with claim(out, asked, rerun) as target:
        if target.complete:
            return _summary(Tileset(target.path).tiles, spec, nothing_to_do=True)
        kept_machine(target, {"device": where}, events)
        finished = target.records()
        blocks = [
            Block(str(folder), generator.hash, str(target.path.resolve()), spec.to_json(), request, number, where)
            for number in range(-(-request.count // request.block))
        ]
        remaining = [block for block in blocks if block.name not in finished]
        for name, rows in run_tasks(
            make_block, remaining, events, workers=workers, scheduler=scheduler, unit=f"blocks of {request.block} pairs"
        ):
            target.record(name, {"tiles": rows})
        lineage = generator.lineage
        if donors:
            source = Tileset(donors)
            lineage |= read_lineage(source.path) | Lineage.of(source.select("train"), source.spec.crs_name)
        tiles = compact(target, spec, lineage)
        events.artifact(target.path, "tileset")
        return _summary(tiles, spec)


_ONE_AT_A_TIME = Lock()  # the number of threads belongs to the process, and a dask worker may run several tasks


def make_block(block: Block) -> tuple[str, list[dict[str, Any]]]:
    """Make and write one block of samples; returns its name and the rows of its tiles."""
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return block.name, _make_block(block)
        finally:
            torch.set_num_threads(threads)


def _make_block(block: Block) -> list[dict[str, Any]]:
    request, generator = block.request, cached_generator(block.model, block.model_hash)
    spec = TileSpec.from_json(block.spec)
    pipeline = generator.pipeline.to(block.device)
    side, bands = spec.tile_size, generator.bands
    channels = bands + pipeline.denoiser.mask_channels
    first = block.number * request.block
    # The last block is padded to full size: a batch of another size would round differently.
    indices = range(first, first + request.block)
    noise = torch.stack([sample_noise(request.seed, index, (channels, side, side)) for index in indices])
    question = request.question
    donors = _donors(request, indices)
    given_images = given_masks = None
    if question == "mask":
        given_images = torch.stack([generator.scale.to_network(donor.image, donor.valid) for donor in donors])
    elif question == "image":
        index = np.stack([spec.legend.to_index(donor.mask) for donor in donors])  # spec has the donors' legend
        given_masks = encode(torch.from_numpy(index), generator.classes)
    images, bits = pipeline(noise, image=given_images, mask=given_masks, steps=request.steps, guidance=request.guidance)
    classes, _ = decode(bits, generator.classes)
    rasters = generator.scale.to_raster(images, spec.bands[0].dtype, spec.bands[0].nodata)
    masks = spec.legend.to_id(classes.numpy())
    settings = {
        "sampler": type(pipeline.scheduler).__name__,
        "steps": str(request.steps),
        "guidance": f"{request.guidance:g}",
        "question": question,
    }
    what = {"joint": "both", "image": "image", "mask": "mask"}[question]
    pairs = []
    for position, sample in enumerate(indices):
        if sample >= request.count:
            break
        image, mask, valid = rasters[position], masks[position], np.ones((side, side), bool)
        grid = fictitious_grid(spec.crs, spec.pixel_size, side, sample, spec.id)
        cell = fictitious_cell(spec.crs, spec.pixel_size, side, sample)
        columns: dict[str, Any] = {
            "scene": f"generator-{generator.hash[:8]}",
            "row": cell[0] * 2 * side,
            "col": cell[1] * 2 * side,
            "placement": "fictitious",
            "image_origin": "generated",
            "mask_origin": "generated",
        }
        if donors:
            donor = donors[position]
            grid = donor.grid
            columns |= {name: getattr(donor.tile, name) for name in ("scene", "row", "col")}
            columns["parent_id"] = donor.tile.id
            if question == "image":
                mask = donor.mask
                placement = "fictitious" if donor.tile.placement == "fictitious" else "donor"
                columns |= {"placement": placement, "mask_origin": donor.tile.mask_origin}
            else:
                image, valid = donor.image, donor.valid
                mask = np.where(valid, mask, UNKNOWN).astype(np.uint8)
                columns |= {
                    "placement": donor.tile.placement,
                    "image_origin": donor.tile.image_origin,
                    "mask_origin": "predicted",
                }
        image_tags = mask_tags = synthetic_tags(
            what, generator.hash, request.seed, sample, columns["placement"], settings
        )
        if question == "image":  # the given side is no work of the generator: it keeps what its file says
            mask_tags = {**donors[position].mask_tags}
        elif question == "mask":
            image_tags = {**donors[position].image_tags}
        pairs.append(
            encode_tile(
                spec,
                f"s{request.seed}_{sample:07d}",
                grid,
                image,
                valid,
                mask,
                image_tags,
                mask_tags,
                split="train",
                generator=generator.hash,
                seed=request.seed,
                sample_index=sample,
                **columns,
            )
        )
    return write_tiles(Path(block.out), pairs)


@dataclass(frozen=True)
class Donor:
    """A given pair: its row, place, the tags of its files, image (C, H, W), valid (H, W) and mask of ids (H, W)."""

    tile: Tile
    grid: Grid
    image_tags: Mapping[str, str]
    mask_tags: Mapping[str, str]
    image: NDArray[Any]
    valid: NDArray[np.bool_]
    mask: NDArray[np.uint8]


def _donors(request: GenerateRequest, indices: range) -> list[Donor]:
    """The given pairs of a block, going round the tileset's training tiles; empty for new pairs."""
    source = request.masks_from or request.images_from
    if source is None:
        return []
    tileset = Tileset(source)
    tiles = _usable(tileset, request)
    chosen = [tiles[index % len(tiles)] for index in indices]
    return [
        Donor(
            tile,
            tileset.grid(tile),
            read_tags(tileset.path / tile.image),
            read_tags(tileset.path / tile.mask),
            *tileset.read(tile),
        )
        for tile in chosen
    ]


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _usable(tileset: Tileset, request: GenerateRequest) -> tuple[Tile, ...]:
    return tileset.select("train", labelled=True if request.masks_from else None)


def _check_donors(generator: Generator, request: GenerateRequest, source: Path) -> dict[str, str]:
    tileset = Tileset(source)
    ours, theirs = generator.spec, tileset.spec
    if request.masks_from and request.images_from:
        raise ModelError("both the masks and the images are given", remedy="give --masks-from or --images-from")
    if theirs.tile_size != ours.tile_size:
        what = f"tiles of {theirs.tile_size} px, the generator makes {ours.tile_size} px"
    elif not _same_ground(theirs, ours):
        what = f"pixels of {_ground(theirs)}, the generator makes {_ground(ours)}"
    elif request.masks_from and theirs.legend.names != ours.legend.names:
        what = f"classes {', '.join(theirs.legend.names)}, the generator knows {', '.join(ours.legend.names)}"
    elif request.images_from and [b.dtype for b in theirs.bands] != [b.dtype for b in ours.bands]:
        what = f"{len(theirs.bands)} bands of {theirs.bands[0].dtype}, the generator knows {len(ours.bands)}"
    elif not _usable(tileset, request):
        what = "no labelled training tiles to take masks from"
    else:
        return tileset.identity()
    raise ModelError(f"has {what}", where=source, remedy="tile it to fit, or train a generator on it")


def _same_ground(one: TileSpec, other: TileSpec) -> bool:
    """Whether pixels are of one ground size, within 5 %; where one has none, its CRS units are all there is to say."""
    if one.gsd_m is None or other.gsd_m is None:
        return one.gsd_m is other.gsd_m
    return abs(one.gsd_m / other.gsd_m - 1) <= 0.05


def _ground(spec: TileSpec) -> str:
    return "unknown ground size" if spec.gsd_m is None else f"{spec.gsd_m:g} m"


def _output_spec(generator: Generator, asked: dict[str, Any], request: GenerateRequest) -> TileSpec:
    """The generator's spec under a new id; donors keep their own CRS, pixel size and nodata."""
    identity = hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:16]
    source = request.masks_from or request.images_from
    if source is None:
        return replace(generator.spec, id=identity)
    theirs = Tileset(source).spec
    return replace(
        generator.spec,
        id=identity,
        crs=theirs.crs,
        pixel_size=theirs.pixel_size,
        gsd_m=theirs.gsd_m,
        bands=theirs.bands if request.images_from else generator.spec.bands,
        legend=theirs.legend if request.masks_from else generator.spec.legend,
    )


def _summary(tiles: tuple[Tile, ...], spec: TileSpec, nothing_to_do: bool = False) -> GenerateSummary:
    shares = np.mean([tile.class_fractions for tile in tiles], axis=0) if tiles else np.zeros(len(spec.legend))
    return GenerateSummary(
        len(tiles), {name: float(share) for name, share in zip(spec.legend.names, shares, strict=True)}, nothing_to_do
    )
