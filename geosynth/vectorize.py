"""Class rasters into polygons for a GIS: GeoPackage, GeoParquet, GeoJSON or Shapefile, in the legend's colours.

Rasters on one lattice of pixels are one mosaic. Blocks of it are traced as independent tasks; what lies within a block
is finished there, the rest is put together row by row and written as soon as nothing more can come to it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from glob import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyproj
from filelock import FileLock, Timeout

from geosynth.errors import Cancelled, GeosynthError, LabelError, OutputError
from geosynth.events import Events
from geosynth.grid import is_engineering
from geosynth.jobs import run_tasks
from geosynth.legend import UNKNOWN, Legend
from geosynth.scenes.features import Bounds, Layer
from geosynth.scenes.finding import find_files
from geosynth.scenes.labels import MaskLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.merging import Merger
from geosynth.scenes.mosaics import mosaics
from geosynth.scenes.pieces import Keys
from geosynth.scenes.polygons import (
    BLOCK,
    Shape,
    Stretch,
    Traced,
    around,
    finished_rows,
    keeps_nodes,
    open_regions,
    stretches,
    trace_stretch,
)
from geosynth.scenes.source import SceneInfo, inspect_scene
from geosynth.scenes.targets import offset_between
from geosynth.vectorfiles import DRIVERS, SHORT, add_style, companions, write_polygons, written_crs

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIX = ".geosynth"
"""Ends the name of the folder beside a file for what is not finished."""
_MANY = 32
"""More values than this without a name or a colour are measurements."""


def vectorize(
    masks: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    events: Events,
    *,
    legend: Legend | None = None,
    sieve: int = 0,
    min_area: float = 0.0,
    simplify: float = 0.0,
    split_at: int | None = None,
    drop: Iterable[str] = (),
    ignore: Iterable[int | str] = (),
    overwrite: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    block: int | None = None,
) -> int:
    """Write one polygon for every region of one class; unknown (255, nodata) becomes none.

    Rasters with the same CRS, pixel size and alignment are one mosaic, whose regions go from one raster to the next;
    where they overlap, the first that knows a class counts. Columns: ``class_id``, ``class_name``, ``area_m2`` (on the
    ellipsoid; ``area`` in CRS units where the raster has no place on Earth), ``confidence`` (mean percent over the
    region's pixels, where ``confidence/<name>.tif`` lies beside a raster), ``source`` (the names of the rasters it lies
    in). The CRS is the first raster's; GeoJSON is in degrees. Memory does not grow with the rasters, but with the
    largest region; ``split_at`` bounds it.

    Args:
        masks: class rasters, such as ``geosynth predict`` writes; files, folders or patterns.
        out: the file; its suffix (.gpkg, .parquet, .geojson, .shp) decides the format.
        events: told the progress.
        legend: classes; None takes names and colours from the rasters.
        sieve: regions of fewer pixels are given to the class with which they share the longest border.
        min_area: smaller polygons are left out: square metres, or CRS units without a place on Earth.
        simplify: tolerance in CRS units; neighbours keep their common borders.
        split_at: regions of more pixels than this stay cut where blocks meet; None puts all of them together.
        drop: names of classes to leave out.
        ignore: values that mean unknown, such as a legend file's ``ignore_index``.
        overwrite: replace an existing file.
        workers: local processes.
        scheduler: address of a dask scheduler; its workers must see the rasters and the folder of ``out``.
        block: pixels along a side of what is traced at once; None chooses. Without ``simplify`` the polygons do not
            depend on it; with it, vertices where borders cross from block to block stay.

    Returns:
        The number of polygons.

    Raises:
        LabelError: a raster is no class raster, or holds a value that is no class.
        LegendError: a class to drop is not in the legend.
        OutputError: the file is there already, or cannot be written.
        Cancelled: the user stopped it; nothing is left behind.
    """
    target = Path(out)
    _check(target, overwrite)
    if not masks:
        raise LabelError("no raster is given")
    labels = [_class_raster(path) for path in find_files(masks)[0]]
    ignored = {str(value) for value in ignore}
    for mask in labels:
        _refuse_measurements(mask, legend, ignored)
    legend = legend or infer_legend(labels, None, ignored)
    codes = make_codes(labels, legend, None, ignored)
    # Fewer seams are left to see between larger blocks.
    block = block or (2 * BLOCK if simplify else BLOCK)
    shape = Shape(block, sieve, simplify, tuple(legend.named(name).id for name in drop))
    crs = labels[0].scene.grid.crs
    for mask in labels:
        if is_engineering(mask.scene.grid.crs) != is_engineering(crs):
            raise LabelError("not all rasters have a CRS", where=mask.path, remedy="vectorize them apart")
    if target.suffix.lower() == ".geojson" and is_engineering(crs):
        events.warn("the rasters have no coordinate system: readers will take the pixels in the GeoJSON for degrees")
    if target.suffix.lower() == ".geojson":
        for mask in labels:
            _refuse_pole(mask)
    crs = written_crs(target.suffix.lower(), crs)
    confidences = [_confidence(mask, events) for mask in labels]
    classes = tuple(zip(legend.ids, legend.names, strict=True))
    layer = Layer(classes, crs.to_wkt(), any(confidences), min_area, SHORT.get(target.suffix.lower()))
    with _scratch(target) as scratch:
        rows: list[list[Stretch]] = []
        for mosaic in mosaics(labels, confidences):
            first = sum(map(len, rows))
            rows += stretches(mosaic, codes, shape, layer, scratch, first)
        tasks = [task for row in rows for task in row]
        made = scratch / "made"
        made.mkdir()
        part = made / f"{target.stem}{target.suffix.lower()}"
        running = run_tasks(trace_stretch, tasks, events, workers=workers, scheduler=scheduler, unit="stretches")
        with closing(cast(Generator[Traced], running)) as done:  # its workers end with it
            table = _Table(rows, done, layer, [mask.name for mask in labels], split_at)
            write_polygons(part, layer.schema, table.batches(), crs, lambda: around(table.bounds))
        add_style(part, legend, sidecar=not target.with_suffix(".tif").exists())  # whose .qml this would be taken for
        for stale in companions(target):  # of a file that is overwritten: a reader would take them for the new one's
            stale.unlink()
        for file in sorted(made.iterdir(), key=lambda file: file == part):  # the main one comes last
            file.replace(target if file == part else target.parent / file.name)
    if not table.count:
        events.warn("no polygon is left: everything is unknown, dropped or smaller than the smallest area")
    events.artifact(target, "polygons")
    return table.count


class _Table:
    """The rows of the file: of each row of blocks first what lies within one, then what is finished with it.

    Tasks may be done in any order; their files wait, and go when they have been read.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[Stretch]],
        done: Iterator[Traced],
        layer: Layer,
        sources: Sequence[str],
        largest: int | None,
    ) -> None:
        self._rows = rows
        self._done = done
        self._layer = layer
        self._sources = sources
        self._largest = largest
        self._waiting: dict[int, Traced] = {}
        self.count = 0
        self.bounds: list[Bounds] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        mosaic, merger = None, None
        for row in self._rows:
            first = row[0]
            if merger is None or first.grid is not mosaic:
                mosaic = first.grid
                noded = keeps_nodes(first.grid, first.shape, self._layer)
                merger = Merger(Keys(first.grid.width), noded=noded, largest=self._largest)
            parts = []
            for task in row:
                self._note(self._wait_for(task).bounds)
                for batch in finished_rows(task):
                    self.count += batch.num_rows
                    yield batch
                parts.append(open_regions(task, len(self._sources)))
                task.finished.unlink()
                task.open.unlink()
            merged = merger.add(parts, first.lower_edge)
            if merged is not None:
                batch, bounds = self._layer.rows(*merged, first.grid, self._sources)
                self._note(bounds)
                self.count += batch.num_rows
                yield batch
        # The last answer of run_tasks is that all are done.
        for _ in self._done:
            pass

    def _wait_for(self, task: Stretch) -> Traced:
        while task.number not in self._waiting:
            traced = next(self._done)
            self._waiting[traced.number] = traced
        return self._waiting.pop(task.number)

    def _note(self, bounds: Bounds | None) -> None:
        if bounds is not None:
            self.bounds = [around([*self.bounds, bounds]) or bounds]


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder beside the file for what is not finished; it goes in any case."""
    folder: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.stem}.", suffix=_SUFFIX, dir=target.parent)).absolute()
        with FileLock(folder / "lock"):
            yield folder
    except Cancelled as error:
        raise Cancelled(error.what, remedy="nothing is left behind; run the same command again") from None
    except OSError as error:
        if isinstance(error, GeosynthError):
            raise
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            where=target,
            remedy="check the free space, or choose another --out",
        ) from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove what earlier runs that were killed have left."""
    for folder in target.parent.glob(f".{escape(target.stem)}.*{_SUFFIX}"):
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # it is being written
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _check(target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in DRIVERS:
        raise OutputError("is of no known format", where=target, remedy=f"end its name in {', '.join(DRIVERS)}")
    if target.is_dir():
        raise OutputError("is a folder", where=target, remedy="give a file name")
    if target.exists() and not overwrite:
        raise OutputError("is there already", where=target, remedy="give --overwrite to replace it")


def _class_raster(path: str | PathLike[str]) -> MaskLabels:
    # Workers may run elsewhere: a plain file gets its whole path.
    labels = inspect_labels(Path(path).absolute() if Path(path).exists() else path)[0]
    if not isinstance(labels, MaskLabels):
        raise LabelError("holds polygons already", where=path, remedy="give class rasters")
    return labels


def _refuse_pole(mask: MaskLabels) -> None:
    """Refuse a raster with a pole in it: in degrees a polygon around a pole is no polygon."""
    grid = mask.scene.grid
    if grid.crs.is_geographic or is_engineering(grid.crs):
        return
    left, bottom, right, top = grid.bounds
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", pyproj.CRS.from_wkt(grid.crs.to_wkt()), always_xy=True)
    for latitude in (-90.0, 90.0):
        x, y = to_crs.transform(0.0, latitude)
        if left <= x <= right and bottom <= y <= top:
            raise LabelError(
                "holds a pole, around which GeoJSON cannot draw a polygon", where=mask.path, remedy="write a .gpkg"
            )


def _refuse_measurements(mask: MaskLabels, legend: Legend | None, ignored: Container[str]) -> None:
    """Refuse a raster whose numbers nothing says to be classes: no palette, no names, not those of a legend."""
    if mask.named or mask.colors or mask.colored:
        return
    if legend is None:
        if len(mask.values) > _MANY:
            raise LabelError(
                f"is no class raster: {len(mask.values)} different values, without names or colours",
                where=mask.path,
                remedy="give --legend if they are classes",
            )
        return
    known = (*legend.ids, UNKNOWN, mask.nodata)
    strange = [value for value in mask.values if value not in known and str(value) not in ignored]
    if strange:
        raise LabelError(
            f"is no class raster of this legend: no names, no colours, and its value {strange[0]} is no class of the"
            f" legend ({', '.join(f'{entry.id} {entry.name}' for entry in legend.classes)})",
            where=mask.path,
            remedy="give class rasters, or the legend they were made with",
        )


def _confidence(mask: MaskLabels, events: Events) -> SceneInfo | None:
    """The raster that ``predict`` writes beside a class raster, in percent, if it is there and on its pixels."""
    own = Path(mask.path)
    path = own.parent / "confidence" / own.name
    if not path.is_file():
        return None
    info = inspect_scene(path)
    if [(band.name, band.dtype) for band in info.bands] != [("confidence", "uint8")]:
        return None
    grid = mask.scene.grid
    if offset_between(grid, info.grid) != (0, 0) or (grid.height, grid.width) != (info.grid.height, info.grid.width):
        events.warn(f"{path} does not lie on the pixels of {mask.path}: its confidence is left out")
        return None
    return info
