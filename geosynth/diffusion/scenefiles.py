"""A scene that is computed, as files: two rasters, what they say of themselves, and the lineage."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geosynth.descriptions import description_hash
from geosynth.diffusion.codes import decode
from geosynth.diffusion.donorwindows import MaskCanvas
from geosynth.diffusion.generator import Generator
from geosynth.diffusion.scenelevels import ScenePlan, state_rows
from geosynth.events import Events
from geosynth.folders import OutputFolder
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import Lineage, Seen
from geosynth.scenes.cog import Contents, Part, PartWriter, publish
from geosynth.scenes.sieving import sieved_strips
from geosynth.tileset import TileSpec, crs_name
from geosynth.tilesetwriter import synthetic_tags

FORMAT = 1
KIND = "scene"
META = "scene.json"
IMAGE, MASK = "image.tif", "mask.tif"

_STRIP = 64
"""Rows that are written together."""


@dataclass(frozen=True)
class SceneJob:
    """A request with everything settled.

    Attributes:
        generator, plan: who makes it, and how.
        grid: its place.
        map: what is painted; None for a new scene.
        sieve: as in the request.
        lineage: that of the generator and of who made a synthetic map.
        request: as JSON.
    """

    generator: Generator
    plan: ScenePlan
    grid: Grid
    map: MaskCanvas | None
    sieve: int
    lineage: Lineage
    request: Mapping[str, Any]


@dataclass(frozen=True)
class _Strip:
    """Rows of the result from ``top`` on: image (C, H, W), class ids (H, W), how sure the network is of them 0..1, and
    which of them it made."""

    top: int
    image: NDArray[Any]
    ids: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    made: NDArray[np.bool_]


def write_scene(job: SceneJob, target: OutputFolder, events: Events) -> None:
    """Write the two rasters, the lineage, and last what the folder is.

    Raises:
        OutputError: the files cannot be written.
        Cancelled: the user stopped it; nothing is kept.
    """
    spec, grid, scratch = job.generator.spec, job.grid, target.temporary
    contents = {IMAGE: Contents(spec.bands), MASK: Contents.classes(spec.legend)}
    parts = {name: Part(scratch / f"{name}.part", 0, 0, grid.height, grid.width) for name in contents}
    writers = {name: PartWriter(parts[name], contents[name]) for name in contents}
    counts, sure, made = np.zeros(256, np.int64), 0.0, 0
    try:
        for strip, ids in _sieved(job):
            writers[IMAGE].write(strip.top, 0, strip.image)
            writers[MASK].write(strip.top, 0, ids[None])
            counts += np.bincount(ids.ravel(), minlength=256)
            sure, made = sure + float(strip.confidence[strip.made].sum()), made + int(strip.made.sum())
            events.progress(strip.top + len(ids), grid.height, "rows written")
            events.check()
        for writer in writers.values():
            writer.close()
        tags = _tags(job, made, sure)
        for name, content in contents.items():
            publish([parts[name]], content, target.path / name, scratch, grid, tags[name])
    finally:
        for writer in writers.values():
            writer.discard()
    shares = {entry.name: int(counts[entry.id]) / int(counts.sum()) for entry in spec.legend.classes}
    write_records(target, spec, grid, job.map, job.lineage, shares, made / (grid.height * grid.width), job.request)


def _sieved(job: SceneJob) -> Iterator[tuple[_Strip, NDArray[np.uint8]]]:
    """All strips, and their class ids without specks: what was given stays."""
    waiting = deque[_Strip]()

    def read() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
        for top in range(0, job.grid.height, _STRIP):
            waiting.append(_strip(job, top, min(top + _STRIP, job.grid.height)))
            yield waiting[-1].ids, ~waiting[-1].made

    for ids in sieved_strips(read(), job.sieve):
        yield waiting.popleft(), ids


def _strip(job: SceneJob, top: int, bottom: int) -> _Strip:
    generator, spec, width = job.generator, job.generator.spec, job.grid.width
    values = torch.from_numpy(state_rows(job.plan, top, bottom)[:, :, :width])
    image = generator.scale.to_raster(values[: generator.bands], spec.bands[0].dtype, spec.bands[0].nodata)
    classes, confidence = decode(values[generator.bands :], generator.classes, generator.bit_size)
    ids = spec.legend.to_id(classes.numpy())
    made = np.ones(ids.shape, bool)
    if job.plan.given:
        given = spec.legend.to_id(np.array(job.plan.canvas.given[top:bottom, :width]))
        made = given == UNKNOWN
        ids = np.where(made, ids, given)
    return _Strip(top, image, ids, confidence.numpy(), made)


# What it says of itself


def _tags(job: SceneJob, made: int, sure: float) -> dict[str, dict[str, str]]:
    """GeoTIFF tags of both files; a mask that was given as a whole is no work of the generator."""
    plan = job.plan
    given = made == 0
    settings = {
        "sampler": plan.sampler,
        "steps": str(plan.steps),
        "guidance": f"{plan.guidance:g}",
        "question": "joint" if job.map is None else "image",
        **({"sieve": str(job.sieve)} if job.sieve and made else {}),
    }
    placement = placement_of(job.map)
    image = synthetic_tags("image" if given else "both", job.generator.hash, plan.seed, 0, placement, settings)
    # How near the made bits came to those of a class, 0..1, specks that went included.
    mask = (
        dict(job.map.tags) if given and job.map is not None else image | {"GEOSYNTH_CONFIDENCE": f"{sure / made:.3f}"}
    )
    if job.map is not None:
        mask["GEOSYNTH_SCENE"] = job.map.name
    return {IMAGE: image, MASK: mask}


def placement_of(painted: MaskCanvas | None) -> str:
    """How a scene lies: where the map does that is painted; a new one (None) in a made-up place."""
    return "fictitious" if painted is None else painted.columns["placement"]


def write_records(
    target: OutputFolder,
    spec: TileSpec,
    grid: Grid,
    painted: MaskCanvas | None,
    lineage: Lineage,
    shares: Mapping[str, float],
    made: float,
    request: Mapping[str, Any],
) -> None:
    """Write the lineage of a scene, and last what its folder is; whoever drew it.

    Args:
        target: the claimed folder, both rasters in it.
        spec: bands and legend.
        grid: place and size.
        painted: the map it was made for; None for a new scene.
        lineage: that of the generator and of who made a synthetic map.
        shares: of the classes by name, 0..1, among all pixels.
        made: share of the mask's pixels that the generator made, 0..1.
        request: as JSON.

    Raises:
        OutputError: the files cannot be written.
    """
    if painted is not None and placement_of(painted) != "fictitious":
        lineage |= Lineage((Seen("", painted.name, crs_name(grid.crs), grid.bounds, labelled=True),))
    target.write(LINEAGE, json.dumps(lineage.to_json()) + "\n")
    gsd = grid.gsd_m
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "image": IMAGE,
        "mask": MASK,
        "height": grid.height,
        "width": grid.width,
        "bands": [band.to_json() for band in spec.bands],
        "legend": spec.legend.to_json(),
        "crs": crs_name(grid.crs),
        "pixel_size": list(grid.pixel_size),
        "gsd_m": None if gsd is None else float(f"{gsd:.6g}"),  # the last digits depend on the machine
        "placement": placement_of(painted),
        "class_shares": dict(shares),
        "mask_made": made,
        "request": dict(request),
    }
    content["hash"] = description_hash(content)
    target.write(META, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
