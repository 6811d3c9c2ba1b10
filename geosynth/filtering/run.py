"""Filtering a synthetic tileset in place, and undoing it.

The masks as they were made stay where they are. Filtered ones lie beside them in ``filtered/``, and the index, replaced
at the end in one piece, names these instead and keeps the hashes of both. So a run that is interrupted has changed
nothing, and undoing means pointing back.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geosynth.devices import choose_device
from geosynth.errors import OutputError, TilesetError
from geosynth.events import Events
from geosynth.filtering.blocks import FOLDER, blocks_of, calibrate, filter_block
from geosynth.filtering.judges import Judge, open_judge
from geosynth.filtering.rule import ClassSums, FilterPlan, limits
from geosynth.folders import STATE, Rerun, canonical_json, write_whole
from geosynth.jobs import run_tasks
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import Lineage, read_lineage
from geosynth.revision import revise
from geosynth.tileset import Tile, Tileset, class_fractions
from geosynth.tilesetwriter import rewrite_index

REPORT, TABLE = "filter.json", "filter.csv"
_STATE = "filter"
_BEGUN = "begun.json"
_COLUMNS = ("id", "verdict", "loss", "known", "doubtful", "mask_sha256", "filtered_sha256")


@dataclass(frozen=True)
class ClassSummary:
    """One class: its pixels in the pairs, how many became unknown in pairs that stay, and its mean loss on real ones.

    ``real_loss`` is None where no real val pixel shows the class; none of its pixels is doubtful then.
    """

    name: str
    pixels: int
    unknown: int
    real_loss: float | None


@dataclass(frozen=True)
class FilterSummary:
    """Pairs by verdict, and what became of each class."""

    kept: int
    cleaned: int
    rejected: int
    classes: tuple[ClassSummary, ...]
    nothing_to_do: bool = False


def filter_tileset(
    tiles: str | PathLike[str],
    by: str | PathLike[str],
    real: str | PathLike[str],
    events: Events,
    plan: FilterPlan | None = None,
    *,
    rerun: Rerun = "refuse",
    device: str = "auto",
    workers: int = 1,
    scheduler: str | None = None,
) -> FilterSummary:
    """Make doubtful pixels of the synthetic pairs of a tileset unknown, and reject pairs of which too little is left.

    The verdicts (``kept``, ``cleaned``, ``rejected``) are in the column ``filter``; ``filter.csv`` has a row a pair,
    ``filter.json`` the rule and a summary. What the judge saw becomes a part of the tileset's lineage.

    Args:
        tiles: the synthetic tileset, changed in place.
        by: a segmenter trained on real tiles alone, or a generator.
        real: the real tileset whose val split says what losses are normal.
        events: progress in blocks, warnings, cancellation.
        plan: the rule.
        rerun: "resume" goes on with an unfinished run, "overwrite" undoes another filtering first.
        device: auto, cpu, cuda or mps.
        workers, scheduler: as in ``jobs.run_tasks``; the bytes do not depend on them.

    Raises:
        TilesetError: a tileset cannot be used, has nothing synthetic or no labelled val tiles.
        ModelError, LeakError: see ``judges.open_judge``.
        OutputError: it is filtered otherwise already, or the disk refuses.
        Cancelled: stopped by the user; nothing is changed yet, go on with ``rerun="resume"``.
    """
    plan = plan or FilterPlan()
    tileset, truth = Tileset(tiles), Tileset(real)
    chosen = _synthetic(tileset)
    known = truth.select("val", labelled=True)
    if not known:
        raise TilesetError(
            "has no labelled val tiles to learn normal losses from", where=truth.path, remedy="give a tileset with some"
        )
    judge, lineage = open_judge(str(by), choose_device(device), truth, tileset, events)
    request = {
        "command": "filter",
        "by": judge.hash,
        "kind": judge.kind,
        **asdict(plan),
        "real": truth.identity(),
        "tiles": _content(tileset),
    }
    with revise(tiles) as (opened, temporary):
        state = opened.path / STATE / _STATE
        if _begin(opened, temporary, request, rerun):
            return replace(_read_summary(opened.path), nothing_to_do=True)
        means = _normal_losses(truth, judge, plan, known, state, temporary, events, workers, scheduler)
        records = _judge_all(opened, chosen, judge, plan, means, state, temporary, events, workers, scheduler)
        summary = _summary(opened, means, list(records.values()))
        _publish(opened, temporary, state, records, lineage, summary, request)
    events.artifact(tileset.path / TABLE, "table")
    return summary


def undo_filter(tiles: str | PathLike[str]) -> Tileset:
    """Take a filtering back, finished or not: every file is as it was before, but for verdicts of people.

    Raises:
        TilesetError: nothing was filtered, or a mask as it was made is damaged.
        OutputError: another run writes there, or the disk refuses.
    """
    with revise(tiles) as (tileset, temporary):
        if not (tileset.path / STATE / _STATE).is_dir():
            raise TilesetError("is not filtered", where=tiles, remedy="filter it: geosynth filter TILES --by SEGMENTER")
        _undo(tileset, temporary)
    return Tileset(tiles)


def _synthetic(tileset: Tileset) -> list[Tile]:
    """The labelled pairs with something generated in them, with the masks as they were made."""
    made = [t for t in tileset.tiles if t.image_origin == "generated" or t.mask_origin in ("generated", "predicted")]
    # A rejected or cleaned pair was labelled before, too.
    labelled = [tile for tile in made if tile.labelled or tile.unfiltered_sha256]
    if not labelled:
        raise TilesetError("has no labelled synthetic pairs", where=tileset.path, remedy="filter generated tiles")
    return [_unfiltered(tile) for tile in labelled]


def _unfiltered(tile: Tile) -> Tile:
    """The row with the mask as it was made; shares of classes are those of before only where nothing was filtered."""
    return replace(
        tile, mask=tile.original_mask, mask_sha256=tile.original_mask_sha256, unfiltered_sha256="", filter=""
    )


def _content(tileset: Tileset) -> str:
    """A hash of the pairs as they were made, whatever was said of them since."""
    rows = [[tile.id, tile.image_sha256, tile.original_mask_sha256] for tile in tileset.tiles]
    return hashlib.sha256(canonical_json([tileset.spec.id, rows]).encode()).hexdigest()


def _begin(tileset: Tileset, temporary: Path, request: Mapping[str, Any], rerun: Rerun) -> bool:
    """Whether this very filtering is complete already; otherwise its state is there, begun or to go on with.

    Raises:
        OutputError: the rerun rules refuse.
    """
    state, done = tileset.path / STATE / _STATE, (tileset.path / REPORT).is_file()
    if state.is_dir() and rerun == "overwrite":
        _undo(tileset, temporary)
    elif state.is_dir():
        same = json.loads((state / _BEGUN).read_text(encoding="utf-8"))["request"] == json.loads(
            canonical_json(request)
        )
        if not same:
            raise OutputError(
                "is filtered already, by another request",
                where=tileset.path,
                remedy="give --overwrite to undo that first, or filter a copy",
            )
        if not done and rerun != "resume":
            raise OutputError(
                "holds an unfinished filtering",
                where=tileset.path,
                remedy="give --resume to go on, --overwrite to start again or --undo",
            )
        return done
    elif any(tile.filter for tile in tileset.tiles):
        raise TilesetError(
            "was filtered before it was copied", where=tileset.path, remedy="filter the tileset it was copied from"
        )
    lineage = tileset.path / LINEAGE
    before = lineage.read_text(encoding="utf-8") if lineage.is_file() else None
    fresh = temporary / _STATE
    (fresh / "blocks").mkdir(parents=True)
    write_whole(fresh / _BEGUN, canonical_json({"request": request, "lineage": before}), temporary)
    fresh.rename(state)
    return False


def _normal_losses(
    truth: Tileset,
    judge: Judge,
    plan: FilterPlan,
    known: Sequence[Tile],
    state: Path,
    temporary: Path,
    events: Events,
    workers: int,
    scheduler: str | None,
) -> tuple[float | None, ...]:
    """Mean losses of real val pixels by class, measured once a run."""
    path = state / "normal.json"
    if not path.is_file():
        tasks = blocks_of(truth, judge, plan, known)
        with events.task("losses of real tiles"):
            found = dict(run_tasks(calibrate, tasks, events, workers=workers, scheduler=scheduler, unit="blocks"))
        means = ClassSums.total([found[first] for first in sorted(found)]).means()
        write_whole(path, canonical_json(means), temporary)
    result: list[float | None] = json.loads(path.read_text(encoding="utf-8"))
    unseen = [name for name, mean in zip(truth.spec.legend.names, result, strict=True) if mean is None]
    if unseen:
        events.warn(f"no real val pixel shows {', '.join(unseen)}: nothing of it is filtered")
    lost = [
        name
        for name, mean in zip(truth.spec.legend.names, result, strict=True)
        if mean is not None and plan.factor * mean >= judge.largest
    ]
    if lost:
        events.warn(f"the {judge.kind} is wrong so often on real {', '.join(lost)} that nothing of it is filtered")
    return tuple(result)


def _judge_all(
    tileset: Tileset,
    chosen: Sequence[Tile],
    judge: Judge,
    plan: FilterPlan,
    means: Sequence[float | None],
    state: Path,
    temporary: Path,
    events: Events,
    workers: int,
    scheduler: str | None,
) -> dict[str, dict[str, Any]]:
    """A record of every chosen pair, by id; blocks that are recorded are not judged again."""
    limit = tuple(float(value) for value in limits(means, plan.factor))
    tasks = [replace(block, limits=limit) for block in blocks_of(tileset, judge, plan, chosen)]
    todo = [task for task in tasks if not (state / "blocks" / f"{task.name}.json").is_file()]
    for name, records in run_tasks(filter_block, todo, events, workers=workers, scheduler=scheduler, unit="blocks"):
        write_whole(state / "blocks" / f"{name}.json", canonical_json(records), temporary)
    found = [json.loads((state / "blocks" / f"{task.name}.json").read_text(encoding="utf-8")) for task in tasks]
    return {record["id"]: record for records in found for record in records}


def _publish(
    tileset: Tileset,
    temporary: Path,
    state: Path,
    records: Mapping[str, Mapping[str, Any]],
    lineage: Lineage,
    summary: FilterSummary,
    request: Mapping[str, Any],
) -> None:
    """Table and lineage, then the index in one piece, then the report, which says that all of it is there."""
    folder = tileset.path
    write_whole(folder / TABLE, _table(list(records.values())), temporary)
    behind = read_lineage(folder) | lineage
    if behind.seen:
        write_whole(folder / LINEAGE, json.dumps(behind.to_json()) + "\n", temporary)
    rewrite_index(tileset, temporary, [_row(tile, records.get(tile.id)) for tile in tileset.tiles])
    report = {"request": request, **asdict(summary)}
    del report["nothing_to_do"]
    write_whole(folder / REPORT, canonical_json(report), temporary)
    shutil.rmtree(state / "blocks", ignore_errors=True)


def _row(tile: Tile, record: Mapping[str, Any] | None) -> Tile:
    if record is None or tile.filter:  # not judged, or already published by a run that was killed at the very end
        return tile
    if record["verdict"] != "cleaned":
        return replace(tile, filter=record["verdict"])
    return replace(
        tile,
        filter="cleaned",
        mask=f"{FOLDER}/{tile.id}.tif",
        mask_sha256=record["filtered_sha256"],
        unfiltered_sha256=tile.mask_sha256,
        class_fractions=tuple(record["class_fractions"]),
        unknown_fraction=record["unknown_fraction"],
    )


def _undo(tileset: Tileset, temporary: Path) -> None:
    """The index first; the state, which says how the lineage was, last."""
    folder, state = tileset.path, tileset.path / STATE / _STATE
    begun = json.loads((state / _BEGUN).read_text(encoding="utf-8"))
    if any(tile.filter for tile in tileset.tiles):
        rewrite_index(tileset, temporary, [_as_made(tileset, tile) for tile in tileset.tiles])
    if begun["lineage"] is None:
        (folder / LINEAGE).unlink(missing_ok=True)
    else:
        write_whole(folder / LINEAGE, begun["lineage"], temporary)
    for name in (REPORT, TABLE):
        (folder / name).unlink(missing_ok=True)
    for number, gone in enumerate((folder / FOLDER, state)):
        if gone.is_dir():
            gone.rename(temporary / f"gone-{number}")


def _as_made(tileset: Tileset, tile: Tile) -> Tile:
    """A row as it was before the filter."""
    row = _unfiltered(tile)
    if not tile.unfiltered_sha256:
        return row
    shares, unknown = class_fractions(tileset.read(row)[2], tileset.spec.legend)
    return replace(row, class_fractions=shares, unknown_fraction=unknown)


def _summary(tileset: Tileset, means: Sequence[float | None], records: Sequence[Mapping[str, Any]]) -> FilterSummary:
    verdicts = Counter(str(record["verdict"]) for record in records)
    pixels = np.sum([record["known_by_class"] for record in records], axis=0)
    cleaned = [record["doubtful_by_class"] for record in records if record["verdict"] == "cleaned"]
    unknown = np.sum(cleaned, axis=0) if cleaned else np.zeros_like(pixels)
    return FilterSummary(
        verdicts["kept"],
        verdicts["cleaned"],
        verdicts["rejected"],
        tuple(
            ClassSummary(name, int(count), int(gone), mean)
            for name, count, gone, mean in zip(tileset.spec.legend.names, pixels, unknown, means, strict=True)
        ),
    )


def _read_summary(folder: Path) -> FilterSummary:
    content = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    classes = tuple(ClassSummary(**entry) for entry in content["classes"])
    return FilterSummary(content["kept"], content["cleaned"], content["rejected"], classes)


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(records, key=lambda record: str(record["id"])))
    return text.getvalue()
