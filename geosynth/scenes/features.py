"""Regions as rows of a table: class, area, confidence, source and polygon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from geosynth.grid import Grid, is_engineering
from geosynth.scenes.merging import Regions, Rings
from geosynth.scenes.pieces import polygons_of

if TYPE_CHECKING:
    import pyarrow as pa

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Layer:
    """What becomes of regions.

    Attributes:
        names: (class id, name).
        crs: WKT of the coordinates written.
        confidence: whether there is a column for it.
        min_area: smaller polygons are left out.
        longest: bytes a text may take; None: any number.
    """

    names: tuple[tuple[int, str], ...]
    crs: str
    confidence: bool
    min_area: float
    longest: int | None = None

    @property
    def schema(self) -> pa.Schema:
        import pyarrow as pa

        local = is_engineering(CRS.from_wkt(self.crs))
        return pa.schema(
            [
                ("class_id", pa.int32()),
                ("class_name", pa.string()),
                ("area" if local else "area_m2", pa.float64()),
                *([("confidence", pa.float64())] if self.confidence else []),
                ("source", pa.string()),
                ("geometry", pa.binary()),
            ]
        )

    def rows(
        self, regions: Regions, rings: Rings, grid: Grid, sources: Sequence[str]
    ) -> tuple[pa.RecordBatch, Bounds | None]:
        """Regions of a raster with these pixels as rows, those that are large enough; and their bounds, if any are.

        ``sources`` are the names of the rasters that they may lie in.
        """
        import pyarrow as pa

        # Areas that cannot be measured are not known to be small.
        keep = np.flatnonzero(~(regions.area < self.min_area))
        if len(keep) < len(regions.classes):
            regions, rings = regions.take(keep), _of_regions(rings, keep, len(regions.classes))
        x, y = _placed(rings.x, rings.y, grid, self.crs)
        polygons = polygons_of(x, y, rings.starts, rings.region)
        names = np.full(256, None, object)
        for id_, name in self.names:
            names[id_] = name
        area = pa.array(regions.area, mask=np.isnan(regions.area))
        columns = [
            pa.array(regions.classes.astype(np.int32)),
            pa.array(names[regions.classes], pa.string()),
            area,
            *([_mean(regions.confidence)] if self.confidence else []),
            pa.array(_sources(regions.rasters, sources, self.longest), pa.string()),
            pa.array(shapely.to_wkb(polygons), pa.binary()),
        ]
        bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max())) if len(x) else None
        return pa.record_batch(columns, schema=self.schema), bounds


def _sources(rasters: NDArray[np.bool_], names: Sequence[str], longest: int | None) -> NDArray[Any]:
    sets, which = np.unique(rasters, axis=0, return_inverse=True)
    joined = [
        _listed(list(dict.fromkeys(names[raster] for raster in np.flatnonzero(own).tolist())), longest) for own in sets
    ]
    return np.array(joined, object)[which.ravel()]


def _listed(names: list[str], longest: int | None) -> str:
    """Names in one text; where they are too long for it, the first of them and an ellipsis."""
    text = ", ".join(names)
    while longest is not None and len(text.encode()) > longest and len(names) > 1:
        names = names[:-1]
        text = ", ".join([*names, "…"])
    return text


def _mean(confidence: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    known = confidence[:, 1]
    return pa.array(confidence[:, 0] / np.maximum(known, 1), mask=known == 0)


def _of_regions(rings: Rings, keep: NDArray[np.int64], count: int) -> Rings:
    number = np.full(count, -1, np.int32)
    number[keep] = np.arange(len(keep), dtype=np.int32)
    return rings.take(np.flatnonzero(number[rings.region] >= 0), number)


def _placed(x: NDArray[np.int32], y: NDArray[np.int32], grid: Grid, crs: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels to coordinates in ``crs``."""
    a, _, c, _, e, f = grid.transform[:6]
    placed = x * a + c, y * e + f
    change = _change(grid.crs.to_wkt(), crs)
    return placed if change is None else change.transform(*placed)


@lru_cache(maxsize=64)
def _change(own: str, crs: str) -> pyproj.Transformer | None:
    if CRS.from_wkt(own) == CRS.from_wkt(crs) or is_engineering(CRS.from_wkt(crs)):
        return None
    return pyproj.Transformer.from_crs(own, crs, always_xy=True)


def changes_crs(grid: Grid, crs: str) -> bool:
    """Whether coordinates of a grid are transformed to be written in ``crs``."""
    return _change(grid.crs.to_wkt(), crs) is not None
