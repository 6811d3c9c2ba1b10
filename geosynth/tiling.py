"""Scenes and their labels into a tileset: one CRS, one pixel size, one band layout; splits by place.

Everything that can be wrong is found before the output folder is touched. Then a piece of a scene is one task.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.cutting import Piece, PlacedScene, Thinning, cut_tiles, pieces, whole_and_all
from geosynth.errors import GeosynthError, LabelError, TilesetError
from geosynth.events import Events
from geosynth.folders import STATE, OutputFolder, Rerun, claim, earlier_request, extend
from geosynth.grid import Grid
from geosynth.jobs import run_tasks
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage, read_lineage
from geosynth.scenes.blocks import Lattice, fitting_block
from geosynth.scenes.burning import load_polygons
from geosynth.scenes.coverage import keeps_any, kept_tiles
from geosynth.scenes.labels import MaskLabels, PolygonLabels
from geosynth.scenes.origins import lineage_behind, lineage_identity
from geosynth.scenes.splitareas import SplitAreas
from geosynth.scenes.splits import Taken, split_tiles
from geosynth.tileset import SPLITS, Split, Tileset, TileSpec
from geosynth.tilesetwriter import compact
from geosynth.tilinginputs import Sources, find_sources
from geosynth.tilingplan import TilingPlan, TilingSummary, refuse_nonsense
from geosynth.tilingspec import fitted_spec, held_tileset, refuse_twins

__all__ = ["TilingPlan", "TilingSummary", "tile_scenes"]

_ABOUT = "_scenes"
"""Begins the journal records of what is not in any tile."""


def tile_scenes(
    plan: TilingPlan,
    out: str | Path,
    events: Events,
    *,
    rerun: Rerun = "refuse",
    append: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
) -> TilingSummary:
    """Make the tileset ``plan`` describes in the folder ``out``, or add its scenes to the one that is there.

    Args:
        plan: what to make a tileset of.
        out: the tileset folder.
        events: told the progress, asked whether to stop.
        rerun: rules for an existing output.
        append: add to the tileset in ``out``: its classes, bands, CRS, pixel and tile size hold, and no new tile lies
            on ground that a tile of another split has.
        workers, scheduler: see ``run_tasks``.

    Raises:
        SceneError: a scene cannot be used, or does not go with the others.
        LabelError, LegendError: labels cannot be read, fit no scene, or hold a value that is no class.
        TilesetError: no tile would be, or was, kept; there is no tileset to add to.
        OutputError: the folder cannot be written, or holds something else.
        Cancelled: the user stopped it; what is finished can be resumed.
    """
    held = held_tileset(out) if append else None
    if held is not None and plan.size is None:
        plan = replace(plan, size=held.spec.tile_size)
    refuse_nonsense(plan)
    sources, grids, spec = fitted_spec(plan, held, find_sources(plan, held, events), events)
    behind = _behind(sources, events)
    request = sources.request(plan) | lineage_identity(behind)
    refuse_twins(held, sources, request)
    lattices = [_lattice(plan, grid, spec) for grid in grids]
    scenes = [
        PlacedScene(info, lattice, edge, labels)
        for info, (lattice, edge), labels in zip(sources.infos, lattices, sources.matched, strict=True)
    ]
    if not any(scene.lattice.blocks for scene in scenes):
        raise TilesetError(
            f"no scene holds a whole tile of {spec.tile_size} pixels",
            where=scenes[0].info.path,
            remedy="give a smaller --size" + ("" if plan.gsd is None else " or --gsd"),
        )
    thinning = _thinning(plan, sources)
    scenes, kept = _with_data(plan, sources.assign, scenes, events)
    splits = split_tiles(
        {scene.info.name: scene.lattice for scene in scenes},
        kept,
        dict(sources.assign),
        val=plan.val,
        test=plan.test,
        seed=plan.seed,
        buffer=plan.buffer,
        areas=None if sources.areas is None else SplitAreas.of(sources.areas, spec.crs),
        taken=None if held is None else Taken.of(held.tiles),
    )
    if not any(split for rows in splits for line in rows for split in line):
        raise _no_tile({"split": sum(len(line) for rows in splits for line in rows)}, scenes[0].info.path)
    repaired, unusable = _flaws(scenes)
    if repaired:
        events.warn(f"label features repaired because they were invalid: {repaired}")
    if unusable:
        events.warn(f"label features left out because they have no area: {unusable}")
    with _taken(out, request, rerun, append) as folder:
        if not folder.complete:
            _refuse_holes(held, folder)
            about = _ABOUT if held is None else f"{_ABOUT}-{len(earlier_request(out)['added'])}"
            edge = sum(scene.edge for scene in scenes)
            folder.record(about, {"tiles": [], "dropped": {"edge": edge}, "repaired": repaired, "unusable": unusable})
            tasks = [
                piece
                for scene, rows in zip(scenes, splits, strict=True)
                for piece in pieces(folder.path, spec, scene, sources.codes, rows, plan.min_valid, thinning)
            ]
            lineage = behind if held is None else read_lineage(held.path) | behind
            _cut(folder, spec, lineage, tasks, events, workers, scheduler)
        dropped = _dropped(folder)
        summary = _summary(folder) if _any_tile(folder) else None
    if summary is None:
        _remove(folder)
        raise _no_tile(dropped, scenes[0].info.path)
    _warn(plan, sources, summary, events)
    return summary


def _behind(sources: Sources, events: Events) -> Lineage:
    """What the makers of synthetic scenes and masks saw."""
    masks = [entry.path for own in sources.matched for entry in own if isinstance(entry, MaskLabels)]
    return lineage_behind([*(info.path for info in sources.infos), *masks], events)


def _refuse_holes(held: Tileset | None, folder: OutputFolder) -> None:
    """Refuse to add to a tileset whose journal has lost tiles: the new index would lose them, too."""
    recorded = {row["id"] for record in folder.records().values() for row in record["tiles"]}
    if held is not None and any(tile.id not in recorded for tile in held.tiles):
        raise TilesetError("is damaged: its journal lacks some of its tiles", where=held.path, remedy="make it anew")


def _cut(
    folder: OutputFolder,
    spec: TileSpec,
    lineage: Lineage,
    tasks: Sequence[Piece],
    events: Events,
    workers: int,
    scheduler: str | None,
) -> None:
    finished = folder.records()
    todo = [task for task in tasks if task.name not in finished]
    unit = "pieces of scenes"
    for name, record in run_tasks(cut_tiles, todo, events, workers=workers, scheduler=scheduler, unit=unit):
        folder.record(name, record)
    missing = {task.name for task in tasks} - folder.records().keys()
    if missing:
        raise GeosynthError(f"{len(missing)} tasks were not done", remedy="run the same command with --resume")
    if _any_tile(folder):
        compact(folder, spec, lineage if lineage.seen else None)
        events.artifact(folder.path, "tileset")


def _warn(plan: TilingPlan, sources: Sources, summary: TilingSummary, events: Events) -> None:
    """Say what the user may not have expected."""
    names = dict(zip(sources.legend.ids, sources.legend.names, strict=True))
    singles = {(path, layer): names.get(id_, "") for path, layer, id_ in sources.codes.singles}
    for entry in sources.labels:
        if not isinstance(entry, PolygonLabels):
            continue
        if entry.field is not None and not plan.class_field:
            events.log(f"{entry.name}: the class is in the attribute '{entry.field}'")
        elif entry.field is None and singles[entry.path, entry.layer] not in (entry.layer, entry.name):
            events.warn(
                f"{entry.name}, layer {entry.layer}: no attribute holds the class, all its features are"
                f" '{singles[entry.path, entry.layer]}' (see --class-field)"
            )
    for split, share in (("train", 1.0), ("val", plan.val), ("test", plan.test)):
        if share > 0 and not summary.by_split[split]:
            events.warn(f"no tile is in split {split}: {_more_splits(plan)}")
        elif summary.labelled and summary.by_split[split] and not summary.labelled_by_split[split]:
            events.warn(f"no tile in split {split} has labels: {_more_splits(plan)}")


def _more_splits(plan: TilingPlan) -> str:
    if plan.areas is not None:
        return "draw ground for it"
    return "--assign a scene to it" if plan.split == "scene" else "give a smaller --block, or another --seed"


def _taken(
    out: str | Path, request: Mapping[str, Any], rerun: Rerun, append: bool
) -> AbstractContextManager[OutputFolder]:
    return extend(out, request, rerun) if append else claim(out, request, rerun)


def _lattice(plan: TilingPlan, grid: Grid, spec: TileSpec) -> tuple[Lattice, int]:
    """Where a scene's tiles are, and how many at its right and lower edge are left out for not being whole."""
    size = spec.tile_size
    (whole_rows, all_rows), (whole_cols, all_cols) = (
        whole_and_all(side, size, plan.overlap) for side in (grid.height, grid.width)
    )
    padded = spec.bands[0].nodata is not None
    rows, cols = (all_rows, all_cols) if padded else (whole_rows, whole_cols)
    block = plan.block if plan.split == "block" else 0
    return Lattice(grid, rows, cols, size, size - plan.overlap, block), all_rows * all_cols - rows * cols


def _thinning(plan: TilingPlan, sources: Sources) -> Thinning:
    named = [entry.id for entry in sources.legend.classes if entry.name.casefold() == "background"]
    background = sources.codes.outside if sources.codes.outside != UNKNOWN else (named or [UNKNOWN])[0]
    if plan.empty < 1 and background == UNKNOWN:
        raise LabelError(
            f"no class is background ({', '.join(sources.legend.names)}), so no tile is empty",
            remedy='leave --empty out, or call a class of the legend "background"',
        )
    return Thinning(background, plan.empty, plan.seed)


def _with_data(
    plan: TilingPlan, assign: Sequence[tuple[str, Split]], scenes: Sequence[PlacedScene], events: Events
) -> tuple[list[PlacedScene], dict[str, NDArray[np.bool_]]]:
    """The scenes with blocks small enough for the shares, and which of their tiles will be kept, by scene name."""
    kept = {scene.info.name: kept_tiles(scene.info, scene.lattice, plan.min_valid, events) for scene in scenes}
    if not any(tiles.any() for tiles in kept.values()) and not any(
        keeps_any(scene.info, scene.lattice, plan.min_valid, events) for scene in scenes
    ):
        dropped = {"edge": sum(scene.edge for scene in scenes), "nodata": sum(tiles.size for tiles in kept.values())}
        raise _no_tile(dropped, scenes[0].info.path)
    bound = {name for name, _ in assign}
    free = [scene for scene in scenes if scene.info.name not in bound]
    if plan.split != "block" or not free or plan.val + plan.test == 0:
        return list(scenes), kept
    block = fitting_block([scene.lattice for scene in free], [kept[scene.info.name] for scene in free])
    if block < plan.block:
        events.log(f"blocks of {block} x {block} tiles instead of {plan.block} x {plan.block}: there are few tiles")
    return [replace(scene, lattice=replace(scene.lattice, block=block)) for scene in scenes], kept


def _flaws(scenes: Sequence[PlacedScene]) -> tuple[int, int]:
    """How many features of the label layers that are used were repaired, and how many have no area.

    Also finds unreadable layers early.
    """
    layers = {
        entry: scene.lattice.grid.crs for scene in scenes for entry in scene.labels if isinstance(entry, PolygonLabels)
    }
    loaded = [load_polygons(entry, crs) for entry, crs in layers.items()]
    return sum(layer.repaired for layer in loaded), sum(layer.dropped for layer in loaded)


def _any_tile(folder: OutputFolder) -> bool:
    return any(record["tiles"] for record in folder.records().values())


def _no_tile(dropped: Mapping[str, int], where: str) -> TilesetError:
    return TilesetError(
        f"no tile was kept ({', '.join(f'{count} {why}' for why, count in dropped.items() if count)})",
        where=where,
        remedy="check the scenes' nodata and the ground drawn for splits, or give a smaller --min-valid or --buffer",
    )


def _remove(folder: OutputFolder) -> None:
    """Take away an output that holds no tile."""
    shutil.rmtree(folder.path / STATE, ignore_errors=True)
    if not any(folder.path.iterdir()):
        folder.path.rmdir()


def _dropped(folder: OutputFolder) -> dict[str, int]:
    counts: Counter[str] = Counter({"edge": 0, "nodata": 0, "split": 0, "empty": 0})
    for record in folder.records().values():
        counts.update(record["dropped"])
    return dict(counts)


def _summary(folder: OutputFolder) -> TilingSummary:
    tileset = Tileset(folder.path)
    tiles = tileset.tiles
    known = math.fsum(1 - tile.unknown_fraction for tile in tiles)
    shares = np.sum([tile.class_fractions for tile in tiles], axis=0) / (known or 1.0)
    return TilingSummary(
        path=folder.path,
        tiles=len(tiles),
        by_split={split: sum(tile.split == split for tile in tiles) for split in SPLITS},
        labelled_by_split={split: sum(tile.labelled for tile in tiles if tile.split == split) for split in SPLITS},
        class_shares=dict(zip(tileset.spec.legend.names, map(float, shares), strict=True)),
        dropped=_dropped(folder),
        repaired=sum(int(record.get("repaired", 0)) for record in folder.records().values()),
        unusable=sum(int(record.get("unusable", 0)) for record in folder.records().values()),
        nothing_to_do=folder.complete,
    )
