"""A stretch of a mosaic of class rasters into polygons: what lies within its blocks is finished, the rest left open.

The finished polygons and the open paths go to files; see ``geosynth.scenes.merging`` for what becomes of the latter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched, count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from geosynth.grid import Grid
from geosynth.legend import UNKNOWN
from geosynth.rasters import gdal_session
from geosynth.scenes.codes import Codes
from geosynth.scenes.features import Bounds, Layer, changes_crs
from geosynth.scenes.groundarea import ring_areas
from geosynth.scenes.merging import Regions, Rings
from geosynth.scenes.mosaics import Mosaic, MosaicReader, Part, open_parts
from geosynth.scenes.outlines import Outlines, trace
from geosynth.scenes.pieces import Keys, Paths, cut, simplified
from geosynth.scenes.sieving import sieve_margin, sieved

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1024
"""Pixels along a side of a block."""
_STRETCH = 8
"""Blocks side by side are one task, so that rasters stored in whole rows are not read again for every block."""
_REGIONS = ("classes", "pixels", "area", "confidence", "rasters")
_PATHS = ("x", "y", "starts", "region", "begin", "end")


@dataclass(frozen=True)
class Shape:
    """How outlines become polygons.

    Attributes:
        block: pixels along a side of a block.
        sieve: regions of fewer pixels are given to their neighbours; 0 keeps all.
        simplify: tolerance in CRS units; 0 keeps the pixels' sides.
        dropped: class ids that get no polygon.
    """

    block: int = BLOCK
    sieve: int = 0
    simplify: float = 0.0
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stretch:
    """Blocks side by side in one row, a task.

    Attributes:
        number: among all tasks.
        grid: of the whole mosaic.
        parts: those rasters of the mosaic that it needs.
        row, cols: numbers of its blocks.
        codes, shape, layer: how pixels become classes, classes polygons, and polygons rows.
        folder: where its files go.
    """

    number: int
    grid: Grid
    parts: tuple[Part, ...]
    row: int
    cols: tuple[int, ...]
    codes: Codes
    shape: Shape
    layer: Layer
    folder: Path

    @property
    def finished(self) -> Path:
        """Arrow stream of the rows of what is finished."""
        return self.folder / f"{self.number}.arrows"

    @property
    def open(self) -> Path:
        """Arrays of what is not."""
        return self.folder / f"{self.number}.npz"

    @property
    def lower_edge(self) -> int:
        """The row of corners below its blocks."""
        return min((self.row + 1) * self.shape.block, self.grid.height)


@dataclass(frozen=True)
class Traced:
    """A stretch that is done: the bounds of what is finished, if anything is."""

    number: int
    bounds: Bounds | None


def stretches(
    mosaic: Mosaic, codes: Codes, shape: Shape, layer: Layer, folder: Path, number: int
) -> list[list[Stretch]]:
    """The tasks that a mosaic takes, row by row, numbered from ``number``; none for where no raster is."""
    rows: dict[int, list[int]] = {}
    for row, col in mosaic.blocks(shape.block):
        rows.setdefault(row, []).append(col)
    side, margin = shape.block, _margin(shape)
    numbers = count(number)
    result = []
    for row, blocks in rows.items():
        tasks = []
        for cols in batched(blocks, _STRETCH):
            width = (cols[-1] + 1 - cols[0]) * side
            parts = mosaic.near(row * side - margin, cols[0] * side - margin, side + 2 * margin, width + 2 * margin)
            tasks.append(Stretch(next(numbers), mosaic.grid, parts, row, cols, codes, shape, layer, folder))
        result.append(tasks)
    return result


def _margin(shape: Shape) -> int:
    return 1 + sieve_margin(shape.sieve)


def keeps_nodes(grid: Grid, shape: Shape, layer: Layer) -> bool:
    """Whether polygons need a vertex wherever a neighbour has one: straight sides do not stay straight."""
    return shape.simplify > 0 or changes_crs(grid, layer.crs)


def trace_stretch(task: Stretch) -> Traced:
    """Do a task; done twice it gives the same files.

    Raises:
        SceneError: a raster is damaged.
    """
    import pyarrow as pa

    names = [part.labels.name for part in task.parts]
    bounds: list[Bounds] = []
    parts: list[tuple[Regions, Paths]] = []
    with (
        gdal_session(),
        open_parts(task.parts, task.codes) as reader,
        _appearing(task.finished) as path,
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_stream(sink, task.layer.schema) as stream,
    ):
        for col in task.cols:
            finished, open_ = _trace(task, reader, col)
            rows, box = task.layer.rows(*finished, task.grid, names)
            stream.write_batch(rows)
            bounds += [box] if box else []
            parts.append(open_)
    with _appearing(task.open) as path, path.open("wb") as sink:
        _save(sink, parts, [part.number for part in task.parts])
    return Traced(task.number, around(bounds))


def around(bounds: Iterable[Bounds]) -> Bounds | None:
    """The bounds of several."""
    sides = list(zip(*bounds, strict=True))
    return (min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])) if sides else None


def finished_rows(task: Stretch) -> Iterator[pa.RecordBatch]:
    """The rows that a task which is done finished."""
    import pyarrow as pa

    with pa.memory_map(str(task.finished)) as source, pa.ipc.open_stream(source) as stream:
        yield from stream


def open_regions(task: Stretch, rasters: int) -> tuple[Regions, Paths]:
    """What a task that is done left open; ``rasters`` is how many there are in all."""
    with np.load(task.open, allow_pickle=False) as saved:
        member = np.zeros((len(saved["classes"]), rasters), bool)
        member[:, saved["parts"]] = saved["rasters"]
        regions = Regions(saved["classes"], saved["pixels"], saved["area"], saved["confidence"], member)
        paths = Paths(*(saved[name] for name in _PATHS))
    return regions, paths


def _save(sink: IO[bytes], parts: list[tuple[Regions, Paths]], numbers: list[int]) -> None:
    regions = Regions.together([regions for regions, _ in parts])
    first = np.cumsum([0, *(len(own.classes) for own, _ in parts)])
    paths = Paths.together([own.renumbered(offset) for (_, own), offset in zip(parts, first[:-1], strict=True)])
    np.savez(
        sink,
        allow_pickle=False,
        parts=np.array(numbers, np.int64),
        **{name: getattr(regions, name) for name in _REGIONS},
        **{name: getattr(paths, name) for name in _PATHS},
    )


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A file that appears when it is whole; a task may be done by two workers at once."""
    part = target.with_name(f"{target.name}.{uuid4().hex}")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _trace(task: Stretch, reader: MosaicReader, col: int) -> tuple[tuple[Regions, Rings], tuple[Regions, Paths]]:
    """One block: its finished regions and their rings, its open ones and their paths."""
    shape, grid = task.shape, task.grid
    top, left = task.row * shape.block, col * shape.block
    height, width = min(shape.block, grid.height - top), min(shape.block, grid.width - left)
    margin = _margin(shape)
    ids, owner = reader.read(top - margin, left - margin, height + 2 * margin, width + 2 * margin)
    if shape.sieve:
        ids = sieved(ids, shape.sieve)[margin - 1 :, margin - 1 :][: height + 2, : width + 2]
    owner = owner[margin:-margin, margin:-margin]
    noded = keeps_nodes(grid, shape, task.layer)
    exact = trace(ids, halo=True, noded=noded)
    outlines = simplified(exact, shape.simplify, grid.pixel_size) if shape.simplify else exact
    areas = ring_areas(outlines.x, outlines.y, outlines.starts, grid.window(top, left, height, width))
    number_of = len(exact.classes)
    confidence = np.zeros((number_of, 2))
    if task.layer.confidence:
        measured = reader.confidence(top, left, owner)
        confidence = np.stack([exact.sums(_integral(values)) for values in measured], axis=1)
    regions = Regions(
        exact.classes,
        exact.sizes,
        np.bincount(outlines.region, areas, number_of),
        confidence,
        _rasters(exact, owner, len(task.parts)),
    )
    wanted = ~np.isin(exact.classes, (UNKNOWN, *shape.dropped))
    paths, open_ = cut(outlines, ids, wanted, Keys(grid.width), top, left)
    within = paths.take(np.flatnonzero(~open_[paths.region]))
    beyond = paths.take(np.flatnonzero(open_[paths.region]))
    # Simplifying can leave nothing of a region; it has no rings then.
    done, number = np.unique(within.region, return_inverse=True)
    rings = Rings(within.x, within.y, within.starts, number.astype(np.int32))
    left_open, number = np.unique(beyond.region, return_inverse=True)
    rest = Paths(beyond.x, beyond.y, beyond.starts, number.astype(np.int32), beyond.begin, beyond.end)
    return (regions.take(done), rings if noded else rings.straightened()), (regions.take(left_open), rest)


def _rasters(outlines: Outlines, owner: NDArray[np.int16], count: int) -> NDArray[np.bool_]:
    """In which rasters of the mosaic regions lie, bool (N, count)."""
    rasters = np.zeros((len(outlines.classes), count), bool)
    present = [place for place in range(count) if (owner == place).any()]
    for place in present:
        rasters[:, place] = len(present) == 1 or outlines.sums(_integral(owner == place)) > 0
    return rasters


def _integral(values: NDArray[Any]) -> NDArray[np.int64]:
    """Sums over all pixels above and left of every corner, int64 (h + 1, w + 1)."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    np.cumsum(values, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums
