"""Labels: vector layers and mask rasters, what is found in files, and the legend they are read by."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from geosynth.errors import LabelError, SceneError
from geosynth.rasters import gdal_session, open_raster
from geosynth.scenes.codes import Codes, Labels, Outside, make_codes
from geosynth.scenes.inferring import infer_legend
from geosynth.scenes.layers import PolygonLabels, inspect_layers
from geosynth.scenes.masks import MaskLabels, inspect_mask
from geosynth.scenes.vectors import split_layer

__all__ = [
    "Codes",
    "Labels",
    "MaskLabels",
    "Outside",
    "PolygonLabels",
    "infer_legend",
    "inspect_labels",
    "make_codes",
]

_RASTERS = (".tif", ".tiff", ".png", ".jp2", ".vrt", ".img", ".jpg", ".jpeg")


def inspect_labels(
    path: str | PathLike[str],
    class_field: str | Sequence[str] | None = None,
    *,
    line_width: float | None = None,
) -> tuple[Labels, ...]:
    """What labels a file holds: every usable vector layer, or one mask raster.

    Args:
        path: a vector file of any format, one layer of it as ``FILE|layername=NAME``, or a mask raster.
        class_field: the attribute that holds the class, or several of which a layer's first counts; None takes
            ``class`` or ``class_name`` where there is one.
        line_width: ground metres (units of the scene's plane where it has no place on Earth) that lines cover.

    Raises:
        LabelError: neither, no areas, no such layer or attribute, not a mask.
    """
    text, layer = split_layer(fspath(path))
    if not text.startswith("/vsi") and ":" not in text[2:] and not Path(text).exists():
        raise LabelError("no such file", where=text, remedy="check its name")
    layers = inspect_layers(text, layer, class_field, line_width)
    if layers:
        return layers
    if layer is not None:
        raise LabelError(f"is no vector file, so it has no layer '{layer}'", where=text, remedy="give the file itself")
    try:
        with gdal_session(), open_raster(text) as dataset:
            return (inspect_mask(dataset, text),)
    except SceneError as error:
        if Path(text).suffix.lower() in _RASTERS:
            raise LabelError(error.what, where=text, remedy=error.remedy) from None
        raise LabelError(
            "neither polygons nor a mask raster", where=text, remedy="give a vector file or a mask raster"
        ) from None
