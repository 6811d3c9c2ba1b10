"""Whether a scene fits a segmenter, and on which pixels it is predicted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from geosynth.errors import SceneError
from geosynth.grid import Grid
from geosynth.rasters import Band
from geosynth.scenes.layout import refuse_mixed_nodata
from geosynth.scenes.source import SceneInfo, target_grid
from geosynth.segmentation.segmenter import SegmenterSpec

PIXEL_SIZE_TOLERANCE = 0.05
"""Relative difference of pixel sizes up to which a scene fits a segmenter."""

_NUMBERED = re.compile(r"band[ _-]*\d+", re.IGNORECASE)


@dataclass(frozen=True)
class FittedScene:
    """A scene and the pixels it is predicted on."""

    info: SceneInfo
    grid: Grid


def fit_scene(info: SceneInfo, spec: SegmenterSpec, resample: bool) -> FittedScene:
    """The pixels to predict a scene on: its own, or with ``resample`` those of the segmenter's ground size.

    Raises:
        SceneError: other bands, or pixels of another size that are not to be resampled.
    """
    wanted = f"{len(spec.bands)} bands of {spec.bands[0].dtype} ({', '.join(band.name for band in spec.bands)})"
    if len(info.bands) != len(spec.bands) or info.bands[0].dtype != spec.bands[0].dtype:
        raise SceneError(
            f"has {len(info.bands)} bands of {info.bands[0].dtype}, the segmenter takes {wanted}",
            where=info.path,
            remedy="pick and convert its bands: gdal_translate -b … -ot …",
        )
    own_order, order = _meanings(info.bands), _meanings(spec.bands)
    if any(name and name in order and order[place] != name for place, name in enumerate(own_order)):
        raise SceneError(
            f"its bands are in other places ({', '.join(band.name for band in info.bands)}), the segmenter takes"
            f" {wanted}",
            where=info.path,
            remedy="put them in order: gdal_translate -b …",
        )
    ground = info.grid.gsd_m
    metres = ground is not None and spec.gsd_m is not None
    own = (ground,) if metres else info.grid.pixel_size
    asked = (spec.gsd_m,) if metres else spec.pixel_size
    if all(abs(a - b) <= PIXEL_SIZE_TOLERANCE * b for a, b in zip(own, asked, strict=True)):  # type: ignore[operator]
        return FittedScene(info, info.grid)
    if resample and metres:
        grid = target_grid(info, gsd=spec.gsd_m)
        refuse_mixed_nodata(info, grid)
        return FittedScene(info, grid)
    unit = "m on the ground" if metres else "CRS units"
    raise SceneError(
        f"its pixels measure {_sizes(own)} {unit}, the segmenter was trained on {_sizes(asked)}",
        where=info.path,
        remedy="give --resample to warp it to the segmenter's pixel size"
        if metres
        else "warp it to the segmenter's pixel size: gdalwarp -tr",
    )


def refuse_twins(infos: Sequence[SceneInfo]) -> None:
    """Two scenes of one name would become one file; some file systems do not tell upper from lower case."""
    counts = Counter(info.name.casefold() for info in infos)
    for info in infos:
        if counts[info.name.casefold()] > 1:
            raise SceneError(f"two scenes are called '{info.name}'", where=info.path, remedy="rename one of them")


def _meanings(bands: Sequence[Band]) -> list[str]:
    """What every band says it is; nothing for one that is only numbered."""
    return ["" if _NUMBERED.fullmatch(band.name) else band.name.casefold() for band in bands]


def _sizes(values: Sequence[float | None]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
