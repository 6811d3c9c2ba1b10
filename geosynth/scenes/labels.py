"""Labels: polygon layers and mask rasters, what classes they hold, and the legend they are read by.

A label value (an attribute, a mask's number) becomes a class id through ``Codes``, made once for all label files, so
that a value nobody declared is found before any work is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geosynth.errors import GeosynthError, LabelError, SceneError
from geosynth.legend import PALETTE, UNKNOWN, Legend, LegendClass
from geosynth.rasters import Band, open_raster
from geosynth.scenes.checks import north_up
from geosynth.scenes.source import SceneInfo, scene_name
from geosynth.scenes.vectors import read_layer, vector_layers

Outside = Literal["background", "unknown"]
CLASS_FIELDS = ("class", "classname")
"""Attributes taken for the class when none is named, whatever their capitals and underscores."""
BACKGROUND = LegendClass(0, "background", "#dad7cd")
_SINGLE = "object"
_AREAL = ("Polygon", "Surface", "Unknown", "Collection", "Geometry")


@dataclass(frozen=True)
class PolygonLabels:
    """A polygon layer: ``crs`` is WKT or None, ``field`` holds the class (None: all are of one), ``values`` found."""

    path: str
    name: str
    layer: str
    crs: str | None
    field: str | None
    values: tuple[str, ...]


@dataclass(frozen=True)
class MaskLabels:
    """A mask raster: ``scene`` says how to read it, ``values`` found, ``named`` (value, name) and ``colors`` if any.

    ``placed`` is False for a mask without georeference: it belongs onto the pixels of an image of its size.
    """

    scene: SceneInfo
    placed: bool
    values: tuple[int, ...]
    nodata: int | None
    named: tuple[tuple[int, str], ...]
    colors: tuple[tuple[int, str], ...]

    @property
    def path(self) -> str:
        return self.scene.path

    @property
    def name(self) -> str:
        return self.scene.name


Labels = PolygonLabels | MaskLabels


@dataclass(frozen=True)
class Codes:
    """Label values to class ids: attributes as text, mask numbers; ``outside`` is the id where no polygon is."""

    attributes: tuple[tuple[str, int], ...]
    numbers: tuple[tuple[int, int], ...]
    single: int
    outside: int

    def of_attributes(self, values: Sequence[str]) -> NDArray[np.uint8]:
        """Class ids uint8 (N,) of attribute texts."""
        table = dict(self.attributes)
        return np.array([table[value] for value in values], np.uint8)

    def of_numbers(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """Class ids of a mask's numbers; a number that was not there when the codes were made is unknown."""
        ids = np.full(mask.shape, UNKNOWN, np.uint8)
        for number, id_ in self.numbers:
            ids[mask == number] = id_
        return ids


def inspect_labels(path: str | PathLike[str], class_field: str | None = None) -> tuple[Labels, ...]:
    """What label layers a file holds: every polygon layer, or one mask raster.

    Args:
        path: a vector file of any format, or a raster of class numbers.
        class_field: the attribute that holds the class; None takes ``class`` or ``class_name`` where there is one.

    Raises:
        LabelError: neither, no polygons, no such attribute, several bands, values that are no whole numbers.
    """
    text = fspath(path)
    if not text.startswith("/vsi") and ":" not in text[2:] and not Path(text).exists():
        raise LabelError("no such file", where=text, remedy="check its name")
    layers = _polygon_layers(text, class_field)
    if layers:
        return layers
    try:
        with open_raster(text) as dataset:
            return (_mask(dataset, text),)
    except SceneError as error:
        if Path(text).suffix.lower() in (".tif", ".tiff", ".png", ".jp2", ".vrt", ".img"):
            raise LabelError(error.what, where=text, remedy=error.remedy) from None
        raise LabelError(
            "neither polygons nor a mask raster", where=text, remedy="give a vector file or a raster of class numbers"
        ) from None


def infer_legend(labels: Sequence[Labels], outside: Outside | None, ignore: Iterable[int | str] = ()) -> Legend:
    """A legend made of what the labels hold.

    Polygons: the attribute's values, sorted, numbered from 1 (whole numbers keep their number), or one class "object"
    where there is no attribute; "background" is class 0 when it is what lies outside. Masks: their numbers, and all
    that the raster has names for, with its names and colours.

    Raises:
        LabelError: nothing to make a class of.
    """
    skipped = {str(value) for value in ignore}
    masks = [entry for entry in labels if isinstance(entry, MaskLabels)]
    polygons = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    classes: dict[int, LegendClass] = {}
    numbers = _mask_numbers(masks)
    if numbers and _binary(numbers):
        classes = {0: BACKGROUND, 1: LegendClass(1, _SINGLE, PALETTE[0])}
    else:
        names = {value: name for entry in masks for value, name in entry.named if name}
        colors = {value: color for entry in masks for value, color in entry.colors}
        present = sorted({*numbers, *names} - {UNKNOWN})
        for position, number in enumerate(number for number in present if str(number) not in skipped):
            color = colors.get(number, PALETTE[position % len(PALETTE)])
            classes[_checked_id(number, masks[0].path)] = LegendClass(number, names.get(number, str(number)), color)
    values = sorted({value for entry in polygons for value in entry.values} - skipped)
    if polygons and (not values or any(entry.field is None for entry in polygons)):
        values = sorted({*values, _SINGLE})
    if polygons and outside == "background" and 0 not in classes and "0" not in values:
        classes[0] = BACKGROUND
    whole = all(value.isdecimal() and int(value) <= 254 for value in values)
    known = {entry.name for entry in classes.values()}
    for position, value in enumerate(value for value in values if value not in known):
        id_ = int(value) if whole else max(classes, default=0) + 1
        if id_ not in classes:
            classes[id_] = LegendClass(_checked_id(id_, polygons[0].path), value, PALETTE[position % len(PALETTE)])
    if not classes:
        raise LabelError("hold no class", where=labels[0].path if labels else None, remedy="give --legend")
    try:
        return Legend(tuple(classes[id_] for id_ in sorted(classes)))
    except GeosynthError as error:
        raise LabelError(f"no legend can be made of the labels ({error})", remedy="give --legend") from None


def make_codes(
    labels: Sequence[Labels], legend: Legend, outside: Outside | None, ignore: Iterable[int | str] = ()
) -> Codes:
    """How label values become ids of ``legend``. Attributes match a class's name, then its id; numbers its id.

    Unknown become: values in ``ignore``, empty attributes, a mask's nodata (unless the legend has it as a class), and
    255. Masks of nothing but 0 and 255 are read as 0 and 1.

    Raises:
        LabelError: a value is in neither, or polygons come without ``outside``; names the value and the classes.
    """
    skipped = {str(value) for value in ignore}
    by_name = {name.casefold(): id_ for name, id_ in zip(legend.names, legend.ids, strict=True)}
    by_id = {str(id_): id_ for id_ in legend.ids}
    attributes: dict[str, int] = {"": UNKNOWN}
    polygons = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    masks = [entry for entry in labels if isinstance(entry, MaskLabels)]
    for layer in polygons:
        for value in layer.values:
            id_ = UNKNOWN if value in skipped else by_name.get(value.casefold(), by_id.get(value))
            if id_ is None:
                raise _no_class(f"'{value}' in attribute '{layer.field}'", layer.path, legend)
            attributes[value] = id_
    found = _mask_numbers(masks)
    binary = _binary(found) and {0, 1} <= set(legend.ids)
    numbers: dict[int, int] = {}
    for mask in masks:
        for number in mask.values:
            if str(number) in skipped:
                numbers[number] = UNKNOWN
            elif str(number) in by_id:
                numbers[number] = number
            elif number == UNKNOWN and binary and mask.nodata != UNKNOWN:
                numbers[number] = 1
            elif number in (UNKNOWN, mask.nodata):
                numbers[number] = UNKNOWN
            else:
                raise _no_class(f"value {number}", mask.path, legend)
    return Codes(
        tuple(sorted(attributes.items())),
        tuple(sorted(numbers.items())),
        _single(polygons, legend),
        _outside(polygons, legend, outside),
    )


def _no_class(what: str, path: str, legend: Legend) -> LabelError:
    classes = ", ".join(f"{entry.id} {entry.name}" for entry in legend.classes)
    return LabelError(
        f"{what} is no class of the legend ({classes})", where=path, remedy="add it, or give --ignore for this value"
    )


def _single(polygons: Sequence[PolygonLabels], legend: Legend) -> int:
    """The class of polygons that do not say theirs."""
    without = [entry for entry in polygons if entry.field is None]
    named = [entry for entry in legend.classes if entry.name == _SINGLE]
    real = named or [entry for entry in legend.classes if entry.name != BACKGROUND.name]
    if not without:
        return UNKNOWN
    if len(real) != 1:
        raise LabelError(
            "its polygons do not say their class, and the legend has several",
            where=without[0].path,
            remedy="name the attribute that holds it with --class-field",
        )
    return real[0].id


def _outside(polygons: Sequence[PolygonLabels], legend: Legend, outside: Outside | None) -> int:
    if not polygons or outside == "unknown":
        return UNKNOWN
    if outside is None:
        raise LabelError(
            "what lies outside the polygons is not said",
            where=polygons[0].path,
            remedy="give --outside background when every object is drawn, --outside unknown when only some are",
        )
    named = [entry.id for entry in legend.classes if entry.name.casefold() == BACKGROUND.name]
    if not named and 0 not in legend.ids:
        raise LabelError(
            f"the legend has no class for what lies outside the polygons ({', '.join(legend.names)})",
            where=polygons[0].path,
            remedy='add a class "background", or give --outside unknown',
        )
    return named[0] if named else 0


def _polygon_layers(path: str, class_field: str | None) -> tuple[PolygonLabels, ...]:
    """The polygon layers of a vector file that have the class attribute; none when it is no vector file."""
    layers = vector_layers(path)
    found: list[PolygonLabels] = []
    areal = [layer for layer in layers if any(word in layer.kind for word in _AREAL)]
    for layer in areal:
        alike = {name.casefold().replace("_", ""): name for name in layer.fields}
        field = class_field or next((alike[name] for name in CLASS_FIELDS if name in alike), None)
        if field is not None and field not in layer.fields:
            continue
        values: tuple[str, ...] = ()
        if field is not None:
            texts = attribute_texts(read_layer(path, layer.name, field)[field].tolist(), path)
            values = tuple(sorted({text for text in texts if text}))
        found.append(PolygonLabels(path, scene_name(path), layer.name, layer.crs, field, values))
    if layers and not areal:
        raise LabelError(
            f"holds no polygons ({', '.join(layer.kind for layer in layers)})",
            where=path,
            remedy="give areas: buffer lines or points",
        )
    if layers and not found:
        fields = sorted({name for layer in areal for name in layer.fields})
        raise LabelError(f"has no attribute '{class_field}'", where=path, remedy=f"it has: {', '.join(fields)}")
    return tuple(found)


def attribute_texts(values: Iterable[Any], where: str) -> list[str]:
    """Attribute values as text: 3 and 3.0 are "3"; nothing and NaN, which readers do not tell apart, are "".

    Raises:
        LabelError: one is infinite; ``where`` is the file.
    """
    texts = []
    for value in values:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            texts.append("")
        elif isinstance(value, float) and math.isinf(value):
            raise LabelError("an infinite number is given as a class", where=where, remedy="correct that attribute")
        elif isinstance(value, float) and value == int(value):
            texts.append(str(int(value)))
        else:
            texts.append(str(value).strip())
    return texts


def _mask(dataset: DatasetReader, path: str) -> MaskLabels:
    if (dataset.descriptions[0] or "").strip().casefold() == "confidence":
        raise LabelError("holds how sure classes are, not classes", where=path, remedy="give the class raster itself")
    if dataset.count != 1:
        kinds = {ColorInterp.red, ColorInterp.alpha} & set(dataset.colorinterp)
        what = "is a picture with colours" if kinds else f"has {dataset.count} bands"
        raise LabelError(f"{what}; a mask is one band of class numbers", where=path, remedy="make class numbers of it")
    values: set[float] = set()
    for _, window in dataset.block_windows(1):
        block = dataset.read(1, window=window)
        # One NaN is not equal to another: a set would hold as many as there are blocks.
        values.update(np.unique(block[np.isfinite(block)] if block.dtype.kind == "f" else block).tolist())
        if len(values) > 256:
            raise LabelError(
                "holds more than 256 different values: an image, not a mask",
                where=path,
                remedy="give a raster of class numbers",
            )
    nodata = dataset.nodata
    if any(value != int(value) for value in values):
        raise LabelError(
            "holds values that are no whole numbers: not a mask of classes",
            where=path,
            remedy="give a raster of class numbers",
        )
    named = tuple((value, name) for value, name in enumerate(_category_names(dataset)) if name)
    colors: list[tuple[int, str]] = []
    if dataset.colorinterp[0] == ColorInterp.palette:
        colors = [(value, "#{:02x}{:02x}{:02x}".format(*rgba[:3])) for value, rgba in dataset.colormap(1).items()]
    placed = dataset.crs is not None or not dataset.transform.is_identity
    try:
        grid = north_up(dataset, path)
    except SceneError as error:
        raise LabelError(error.what, where=path, remedy=error.remedy) from None
    band = Band("class", dataset.dtypes[0], math.nan if dataset.dtypes[0].startswith("float") else None)
    return MaskLabels(
        SceneInfo(path, scene_name(path), grid, (band,), "none"),
        placed,
        tuple(sorted(int(value) for value in values)),
        int(nodata) if nodata is not None and math.isfinite(nodata) and nodata == int(nodata) else None,
        named,
        tuple(color for color in colors if color[0] in values | {value for value, _ in named}),
    )


def _category_names(dataset: DatasetReader) -> list[str]:
    """Class names by value from the PAM sidecar, which is where GDAL keeps them for most formats."""
    from xml.etree import ElementTree

    sidecar = Path(f"{dataset.name}.aux.xml")
    if not sidecar.is_file():
        return []
    try:
        root = ElementTree.parse(sidecar).getroot()
    except (ElementTree.ParseError, OSError, RasterioError):
        return []
    names = root.find("./PAMRasterBand[@band='1']/CategoryNames")
    return [] if names is None else [(entry.text or "").strip() for entry in names.findall("Category")]


def _mask_numbers(masks: Sequence[MaskLabels]) -> list[int]:
    """All numbers of all masks, without those that a mask declares to be nodata."""
    return sorted({value for mask in masks for value in mask.values if value != mask.nodata})


def _binary(numbers: Sequence[int]) -> bool:
    """Whether masks are of the kind "0 no, 255 yes"."""
    return bool(numbers) and set(numbers) <= {0, 255} and 255 in numbers


def _checked_id(value: int, path: str) -> int:
    if not 0 <= value <= 254:
        raise LabelError(
            f"value {value} cannot be a class (ids are 0..254)", where=path, remedy="give --ignore for it or a --legend"
        )
    return value
