"""Scenes and their labels into a tileset: one CRS, one pixel size, one band layout; splits by place.

Everything that can be wrong is found before the output folder is touched. Then a row of tiles of one scene is one task.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from geosynth.errors import GeosynthError, LabelError, TilesetError
from geosynth.events import Events
from geosynth.folders import STATE, OutputFolder, Rerun, canonical_json, claim
from geosynth.grid import Grid
from geosynth.jobs import run_tasks
from geosynth.legend import UNKNOWN, Legend
from geosynth.scenes.blocks import Lattice, SceneSplits, fitting_block, split_tiles
from geosynth.scenes.burning import load_polygons, open_labels
from geosynth.scenes.coverage import keeps_any, kept_tiles
from geosynth.scenes.finding import find_files, match_labels, name_apart
from geosynth.scenes.identity import label_identity, scene_identity
from geosynth.scenes.labels import Codes, Labels, Outside, PolygonLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.layout import shared_bands, shared_grids
from geosynth.scenes.source import SceneInfo, inspect_scene, open_scene
from geosynth.tileset import SPLITS, Split, Tileset, TileSpec
from geosynth.tilesetwriter import compact, write_tile

_ABOUT = "_scenes"
"""The journal record of what is not in any tile."""


@dataclass(frozen=True)
class TilingPlan:
    """What to make a tileset of.

    Attributes:
        scenes: rasters, folders or patterns; the first decides CRS, pixel size and bands.
        labels: polygon files, mask rasters, folders or patterns; none makes unlabelled tiles.
        size: tile side in pixels.
        gsd: ground metres a pixel; None keeps the first scene's pixels.
        legend: None makes one of what the labels hold.
        class_field: the attribute that holds the class.
        outside: what lies outside polygons: "background" or "unknown".
        ignore: label values (numbers or texts) that mean unknown.
        overlap: pixels that neighbouring tiles share.
        split: "block" (square blocks of tiles) or "scene".
        assign: (scene name, split): scenes that go into one split as a whole.
        val, test: shares of the tiles, dealt out in blocks (or scenes).
        block: tiles along a side of a block, at most: halved until there are a dozen blocks.
        buffer: pixels kept between tiles of one split and blocks of another.
        min_valid: tiles with a smaller share of valid pixels are dropped.
        seed: decides which block goes where.
    """

    scenes: tuple[str | Path, ...]
    labels: tuple[str | Path, ...] = ()
    size: int = 128
    gsd: float | None = None
    legend: Legend | None = None
    class_field: str | None = None
    outside: str | None = None
    ignore: tuple[int | str, ...] = ()
    overlap: int = 0
    split: str = "block"
    assign: tuple[tuple[str, str], ...] = ()
    val: float = 0.15
    test: float = 0.15
    block: int = 4
    buffer: int = 0
    min_valid: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class TilingSummary:
    """What came out: tiles by split, shares of the classes among known pixels, what was left out and why."""

    path: Path
    tiles: int
    by_split: dict[str, int]
    labelled: int
    class_shares: dict[str, float]
    dropped: dict[str, int]
    repaired: int
    nothing_to_do: bool


@dataclass(frozen=True)
class _Scene:
    """A scene with everything a tile of it needs."""

    info: SceneInfo
    lattice: Lattice
    edge: int
    labels: tuple[Labels, ...]


@dataclass(frozen=True)
class _RowTask:
    """One row of tiles of one scene; ``splits`` has one entry a tile, None for those to leave out."""

    folder: str
    spec: TileSpec
    scene: _Scene
    codes: Codes
    row: int
    splits: tuple[Split | None, ...]
    min_valid: float

    @property
    def name(self) -> str:
        return f"{self.scene.info.name}_r{self.row:05d}"


def tile_scenes(
    plan: TilingPlan,
    out: str | Path,
    events: Events,
    *,
    rerun: Rerun = "refuse",
    workers: int = 1,
    scheduler: str | None = None,
) -> TilingSummary:
    """Make the tileset ``plan`` describes in the folder ``out``.

    Raises:
        SceneError: a scene cannot be used, or does not go with the others.
        LabelError, LegendError: labels cannot be read, fit no scene, or hold a value that is no class.
        TilesetError: no tile would be, or was, kept.
        OutputError: the folder cannot be written, or holds something else.
        Cancelled: the user stopped it; what is finished can be resumed.
    """
    _check(plan)
    outside = cast(Outside | None, plan.outside)
    scene_files, label_files = find_files(plan.scenes, plan.labels)
    infos = name_apart([_absolute(inspect_scene(path)) for path in scene_files])
    labels = [entry for path in label_files for entry in inspect_labels(Path(path).absolute(), plan.class_field)]
    matched = match_labels(infos, labels)
    legend = plan.legend or (infer_legend(labels, outside, plan.ignore) if labels else None)
    if legend is None:
        raise LabelError("no labels and no legend", remedy="give --legend to tile scenes without labels")
    codes = make_codes(labels, legend, outside, plan.ignore)

    grids = shared_grids(infos, plan.gsd, events)
    bands = shared_bands(infos, grids)
    padded = bands[0].nodata is not None
    scenes = [
        _Scene(info, *_lattice(plan, grid, padded), entries)
        for info, grid, entries in zip(infos, grids, matched, strict=True)
    ]
    if not any(scene.lattice.blocks for scene in scenes):
        raise TilesetError(
            f"no scene holds a whole tile of {plan.size} pixels",
            where=infos[0].path,
            remedy="give a smaller --size" + ("" if plan.gsd is None else " or --gsd"),
        )
    scenes, kept = _with_data(plan, scenes, events)
    splits = split_tiles(
        {scene.info.name: scene.lattice for scene in scenes},
        kept,
        {name: cast(Split, split) for name, split in plan.assign},
        val=plan.val,
        test=plan.test,
        seed=plan.seed,
        buffer=plan.buffer,
    )
    request = _request(plan, legend, infos, labels)
    spec = TileSpec(
        id=hashlib.sha256(canonical_json(request).encode()).hexdigest()[:16],
        bands=bands,
        legend=legend,
        crs=grids[0].crs,
        pixel_size=grids[0].pixel_size,
        gsd_m=_rounded(grids[0].gsd_m),
        tile_size=plan.size,
    )
    repaired = _repaired(scenes)
    if repaired:
        events.warn(f"{repaired} invalid polygons were repaired")
    for entry in labels:
        if isinstance(entry, PolygonLabels) and entry.field is None:
            events.warn(f"{entry.name}: no attribute holds the class, all polygons are of one (see --class-field)")
    with claim(out, request, rerun) as folder:
        if not folder.complete:
            _run(plan, folder, spec, scenes, splits, codes, repaired, events, workers, scheduler)
        dropped = _dropped(folder)
        summary = _summary(folder) if _any_tile(folder) else None
    if summary is None:
        _remove(folder)
        raise _no_tile(dropped, infos[0].path)
    for split, share in (("train", 1.0), ("val", plan.val), ("test", plan.test)):
        if share > 0 and not summary.by_split[split]:
            events.warn(f"no tile is in split {split}: give a smaller --block, or another --seed")
    return summary


def _run(
    plan: TilingPlan,
    folder: OutputFolder,
    spec: TileSpec,
    scenes: Sequence[_Scene],
    splits: Sequence[SceneSplits],
    codes: Codes,
    repaired: int,
    events: Events,
    workers: int,
    scheduler: str | None,
) -> None:
    edge = sum(scene.edge for scene in scenes)
    folder.record(_ABOUT, {"tiles": [], "dropped": {"edge": edge}, "repaired": repaired})
    finished = folder.records()
    tasks = [
        _RowTask(str(folder.path.absolute()), spec, scene, codes, row, tiles, plan.min_valid)
        for scene, rows in zip(scenes, splits, strict=True)
        for row, tiles in enumerate(rows)
    ]
    todo = [task for task in tasks if task.name not in finished]
    for name, record in run_tasks(tile_row, todo, events, workers=workers, scheduler=scheduler, unit="rows of tiles"):
        folder.record(name, record)
    if _any_tile(folder):
        compact(folder, spec)
        events.artifact(folder.path, "tileset")


def _any_tile(folder: OutputFolder) -> bool:
    return any(record["tiles"] for record in folder.records().values())


def _no_tile(dropped: Mapping[str, int], where: str) -> TilesetError:
    return TilesetError(
        f"no tile was kept ({', '.join(f'{count} {why}' for why, count in dropped.items() if count)})",
        where=where,
        remedy="check the scenes' nodata, or give a smaller --min-valid or --buffer",
    )


def _remove(folder: OutputFolder) -> None:
    """Take away an output that holds no tile."""
    shutil.rmtree(folder.path / STATE, ignore_errors=True)
    if not any(folder.path.iterdir()):
        folder.path.rmdir()


def _with_data(
    plan: TilingPlan, scenes: Sequence[_Scene], events: Events
) -> tuple[list[_Scene], dict[str, NDArray[np.bool_]]]:
    """The scenes with blocks small enough for the shares, and which of their tiles will be kept, by scene name."""
    kept = {scene.info.name: kept_tiles(scene.info, scene.lattice, plan.min_valid, events) for scene in scenes}
    if not any(tiles.any() for tiles in kept.values()) and not any(
        keeps_any(scene.info, scene.lattice, plan.min_valid, events) for scene in scenes
    ):
        dropped = {"edge": sum(scene.edge for scene in scenes), "nodata": sum(tiles.size for tiles in kept.values())}
        raise _no_tile(dropped, scenes[0].info.path)
    bound = {name for name, _ in plan.assign}
    free = [scene for scene in scenes if scene.info.name not in bound]
    if plan.split != "block" or not free or plan.val + plan.test == 0:
        return list(scenes), kept
    block = fitting_block([scene.lattice for scene in free], [kept[scene.info.name] for scene in free])
    if block < plan.block:
        events.log(f"blocks of {block} x {block} tiles instead of {plan.block} x {plan.block}: there are few tiles")
    return [replace(scene, lattice=replace(scene.lattice, block=block)) for scene in scenes], kept


def tile_row(task: _RowTask) -> tuple[str, dict[str, Any]]:
    """Write one row of tiles; returns the task's name and its journal record.

    The row is read as one strip, so memory grows with the tile's height times the scene's width.
    """
    spec, scene, lattice = task.spec, task.scene, task.scene.lattice
    name, size = scene.info.name, spec.tile_size
    strip = (task.row * lattice.stride, 0, size, (lattice.cols - 1) * lattice.stride + size)
    with open_scene(scene.info, lattice.grid, spec.bands[0].nodata) as image_reader:
        images, valids = image_reader.read(*strip)
    with open_labels(scene.labels, task.codes, lattice.grid) as label_reader:
        masks = np.where(valids, label_reader.read(*strip), np.uint8(UNKNOWN))
    records: list[dict[str, Any]] = []
    dropped = Counter({"split": task.splits.count(None)})
    for col, split in enumerate(task.splits):
        if split is None:
            continue
        window = (task.row * lattice.stride, col * lattice.stride, size, size)
        columns = slice(window[1], window[1] + size)
        valid, mask = valids[:, columns], masks[:, columns]
        if valid.mean() < task.min_valid or not valid.any():
            dropped["nodata"] += 1
            continue
        tags = {
            "GEOSYNTH_SYNTHETIC": "none",
            "GEOSYNTH_SCENE": name,
            "GEOSYNTH_WINDOW": " ".join(map(str, window)),
        }
        record = write_tile(
            Path(task.folder),
            spec,
            f"{name}_r{task.row:05d}_c{col:05d}",
            lattice.grid.window(*window),
            images[:, :, columns],
            valid,
            mask,
            tags,
            split=split,
            scene=name,
            row=task.row * lattice.stride,
            col=col * lattice.stride,
            image_origin="real",
            mask_origin="human" if (mask != UNKNOWN).any() else "none",
            placement="real",
        )
        records.append(record)
    return task.name, {"tiles": records, "dropped": dict(sorted(dropped.items()))}


def _check(plan: TilingPlan) -> None:
    """Refuse numbers and words that cannot be meant."""
    wrong = {
        "no scenes": not plan.scenes,
        f"--size {plan.size} is not at least 1": plan.size < 1,
        f"--overlap {plan.overlap} is not between 0 and the tile size": not 0 <= plan.overlap < plan.size,
        f"--outside {plan.outside} is neither background nor unknown": plan.outside
        not in (None, "background", "unknown"),
        f"--split {plan.split} is neither block nor scene": plan.split not in ("block", "scene"),
        "--assign names no split (train, val, test)": any(split not in SPLITS for _, split in plan.assign),
        f"--block {plan.block} is not at least 1": plan.block < 1,
        f"--buffer {plan.buffer} is negative": plan.buffer < 0,
        f"--gsd {plan.gsd} is not a positive length": plan.gsd is not None and not 0 < plan.gsd < math.inf,
        f"--min-valid {plan.min_valid} is not between 0 and 1": not 0 <= plan.min_valid <= 1,
        f"shares of {plan.val} and {plan.test} leave nothing to train on": not (
            plan.val >= 0 and plan.test >= 0 and plan.val + plan.test < 1
        ),
    }
    for what, on in wrong.items():
        if on:
            raise GeosynthError(what, remedy="see geosynth tile --help")


def _absolute(info: SceneInfo) -> SceneInfo:
    """Workers may run elsewhere: a plain file gets its whole path."""
    return replace(info, path=str(Path(info.path).absolute())) if Path(info.path).exists() else info


def _lattice(plan: TilingPlan, grid: Grid, padded: bool) -> tuple[Lattice, int]:
    """Where a scene's tiles are, and how many at its right and lower edge are left out for not being whole."""
    stride = plan.size - plan.overlap

    def counts(side: int) -> tuple[int, int]:
        whole = max(0, (side - plan.size) // stride + 1)
        return whole, max(1, math.ceil((side - plan.overlap) / stride))

    (whole_rows, all_rows), (whole_cols, all_cols) = counts(grid.height), counts(grid.width)
    rows, cols = (all_rows, all_cols) if padded else (whole_rows, whole_cols)
    block = plan.block if plan.split == "block" else 0
    return Lattice(grid, rows, cols, plan.size, stride, block), all_rows * all_cols - rows * cols


def _request(plan: TilingPlan, legend: Legend, infos: Sequence[SceneInfo], labels: Sequence[Labels]) -> dict[str, Any]:
    """What is asked for, without where the files are: names, hashes, and where their pixels lie."""
    return {
        "command": "tile",
        "scenes": [scene_identity(info) for info in infos],
        "labels": [label_identity(entry) for entry in labels],
        "size": plan.size,
        "gsd": plan.gsd,
        "legend": legend.to_json(),
        "class_field": plan.class_field,
        "outside": plan.outside,
        "ignore": [str(value) for value in plan.ignore],
        "overlap": plan.overlap,
        "split": plan.split,
        "assign": [list(entry) for entry in plan.assign],
        "val": plan.val,
        "test": plan.test,
        "block": plan.block,
        "buffer": plan.buffer,
        "min_valid": plan.min_valid,
        "seed": plan.seed,
    }


def _repaired(scenes: Sequence[_Scene]) -> int:
    """Invalid polygons in the label layers that are used, each layer once; also finds unreadable layers early."""
    layers = {
        entry: scene.lattice.grid.crs for scene in scenes for entry in scene.labels if isinstance(entry, PolygonLabels)
    }
    return sum(load_polygons(entry, crs).repaired for entry, crs in layers.items())


def _rounded(value: float | None) -> float | None:
    """Six significant digits: the last ones of a measured length depend on the machine."""
    return None if value is None else float(f"{value:.6g}")


def _dropped(folder: OutputFolder) -> dict[str, int]:
    counts: Counter[str] = Counter({"edge": 0, "nodata": 0, "split": 0})
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
        labelled=sum(tile.labelled for tile in tiles),
        class_shares=dict(zip(tileset.spec.legend.names, map(float, shares), strict=True)),
        dropped=_dropped(folder),
        repaired=int(folder.records()[_ABOUT]["repaired"]),
        nothing_to_do=folder.complete,
    )
