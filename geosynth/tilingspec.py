"""What the tiles of several scenes have in common: pixels and spec of a new tileset, or of one that is added to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError

from geosynth.errors import GeosynthError, SceneError, TilesetError
from geosynth.events import Events
from geosynth.folders import canonical_json, earlier_request
from geosynth.grid import Grid
from geosynth.scenes.layout import (
    grids_like,
    is_whole,
    refuse_mixed_nodata,
    refuse_other_bands,
    shared_bands,
    shared_grids,
)
from geosynth.scenes.source import SceneInfo
from geosynth.tileset import Tileset, TileSpec
from geosynth.tilinginputs import Sources
from geosynth.tilingplan import SIZE, TilingPlan


def fitted_spec(
    plan: TilingPlan, held: Tileset | None, sources: Sources, events: Events
) -> tuple[Sources, list[Grid], TileSpec]:
    """Scenes that go together (those that do not are left out, if that is asked for), their pixels, and the spec."""
    while True:
        try:
            if held is None:
                grids = shared_grids(sources.infos, plan.gsd, _crs(plan), events)
                return sources, grids, _new_spec(plan, sources, grids)
            grids = _grids_in(plan, held, sources.infos, events)
            return sources, grids, _held_spec(plan, held, sources, grids)
        except SceneError as error:
            rest = sources.without(error.where or "")
            if not plan.skip_unusable or not 0 < len(rest.infos) < len(sources.infos):
                raise
            events.warn(f"left out: {error}")
            sources = rest


def held_tileset(out: str | Path) -> Tileset:
    """The tileset that is added to."""
    tileset = Tileset(out)
    if earlier_request(out).get("command") != "tile":
        raise TilesetError("was not made of scenes", where=out, remedy="tile the scenes into a tileset of their own")
    return tileset


def refuse_twins(held: Tileset | None, sources: Sources, request: Mapping[str, Any]) -> None:
    """Refuse scenes that are there twice: trained on in one guise, tested in the other."""
    first: dict[str, SceneInfo] = {}
    for info, own in zip(sources.infos, request["scenes"], strict=True):
        other = first.setdefault(own["sha256"], info)
        # Where scenes lie somewhere, their tiles are kept apart by place.
        if other is not info and not info.grid.lies_somewhere:
            raise SceneError(f"is the same as {other.path}", where=info.path, remedy="give it once")
    if held is None:
        return
    earlier = earlier_request(held.path)
    added = [entry for entry in earlier.get("added", []) if entry != request]
    scenes = [scene for entry in (earlier, *added) for scene in entry["scenes"]]
    for info, own in zip(sources.infos, request["scenes"], strict=True):
        for scene in scenes:
            if scene["sha256"] == own["sha256"] or scene["name"].casefold() == own["name"].casefold():
                same = scene["sha256"] == own["sha256"]
                raise SceneError(
                    f"the tileset {'holds this very scene already, as' if same else 'has a scene called'}"
                    f" {scene['name']}",
                    where=info.path,
                    remedy="leave it out" if same else "rename the file",
                )


def _crs(plan: TilingPlan) -> CRS | None:
    if plan.crs is None:
        return None
    try:
        return CRS.from_user_input(plan.crs)
    except (CRSError, ValueError):
        raise GeosynthError(
            f"--crs {plan.crs} is no coordinate system", remedy="write EPSG:n, or a WKT or PROJ string"
        ) from None


def _new_spec(plan: TilingPlan, sources: Sources, grids: Sequence[Grid]) -> TileSpec:
    lead = grids[0]
    for info, grid in zip(sources.infos, grids, strict=True):
        refuse_mixed_nodata(info, grid)
    request = sources.request(plan)
    gsd = lead.gsd_m or sources.gsd_m
    return TileSpec(
        id=hashlib.sha256(canonical_json(request).encode()).hexdigest()[:16],
        bands=shared_bands(sources.infos, grids),
        legend=sources.legend,
        crs=lead.crs,
        pixel_size=lead.pixel_size,
        gsd_m=None if gsd is None else float(f"{gsd:.6g}"),  # the last digits depend on the machine
        tile_size=plan.size or SIZE,
    )


def _grids_in(plan: TilingPlan, held: Tileset, infos: Sequence[SceneInfo], events: Events) -> list[Grid]:
    """The pixels new scenes are read on: those of a tileset."""
    if plan.crs is not None:
        raise TilesetError("has a CRS already", where=held.path, remedy="leave --crs out")
    lead = held.grid(held.tiles[0])
    if plan.gsd is not None and (lead.gsd_m is None or abs(plan.gsd / lead.gsd_m - 1) > 0.05):
        size = "of unknown size on the ground" if lead.gsd_m is None else f"of {lead.gsd_m:.4g} m"
        raise TilesetError(f"has pixels {size}, not {plan.gsd:g} m", where=held.path, remedy="leave --gsd out")
    warp = plan.gsd is not None or earlier_request(held.path).get("gsd") is not None
    return grids_like(infos, "the tileset", lead, warp, events)


def _held_spec(plan: TilingPlan, held: Tileset, sources: Sources, grids: Sequence[Grid]) -> TileSpec:
    """A tileset's spec, when new scenes fit it."""
    spec = held.spec
    refuse_other_bands(sources.infos, "the tileset", spec.bands)
    if plan.size not in (None, spec.tile_size):
        raise TilesetError(
            f"has tiles of {spec.tile_size} pixels, not {plan.size}", where=held.path, remedy="leave --size out"
        )
    for info, grid in zip(sources.infos, grids, strict=True):
        refuse_mixed_nodata(info, grid)
        if spec.bands[0].nodata is None and not is_whole(info, grid):
            raise SceneError(
                "has pixels without data, and the tileset has no value for them",
                where=info.path,
                remedy="tile all scenes together into a new tileset",
            )
    return spec
