"""Vector layers as labels: polygons, or lines of a given width, and the attribute that holds their class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from geosynth.errors import LabelError
from geosynth.scenes.areas import kinds_of
from geosynth.scenes.source import scene_name
from geosynth.scenes.vectors import VectorLayer, read_layer, vector_layers

CLASS_FIELDS = ("class", "classname")
"""Attributes taken for the class when none is named, whatever their capitals and underscores."""
_WORDS = {
    "areas": ("Polygon", "Surface", "TIN", "Triangle"),
    "lines": ("LineString", "Curve", "CircularString"),
    "points": ("Point",),
}
"""In what OGR calls the kind of a layer; one of no single kind has none of them."""


@dataclass(frozen=True)
class PolygonLabels:
    """A vector layer.

    Attributes:
        path: the file.
        name: its stem.
        layer: which of its layers.
        crs: WKT, or None.
        field: the attribute that holds the class; None: all are of one.
        values: what was found there.
        line_width: ground metres that its lines cover; None where lines do not count.
    """

    path: str
    name: str
    layer: str
    crs: str | None
    field: str | None
    values: tuple[str, ...]
    line_width: float | None = None


def inspect_layers(
    path: str, layer: str | None = None, class_field: str | Sequence[str] | None = None, line_width: float | None = None
) -> tuple[PolygonLabels, ...]:
    """The layers of a vector file that can be labels, or the one called ``layer``; none when it is no vector file.

    Args:
        path: the file.
        layer: the only layer to take; None takes all that have areas and the attribute.
        class_field: attributes that hold the class; of several a layer's first counts.
        line_width: ground metres that lines cover; None leaves lines out.

    Raises:
        LabelError: no such layer, no areas, no such attribute.
    """
    layers = vector_layers(path)
    chosen = [entry for entry in layers if layer in (None, entry.name)]
    if layers and not chosen:
        raise LabelError(
            f"has no layer '{layer}'", where=path, remedy=f"it has: {', '.join(entry.name for entry in layers)}"
        )
    asked = (class_field,) if isinstance(class_field, str) else tuple(class_field or ())
    found: list[PolygonLabels] = []
    fields: set[str] = set()
    kinds: set[str] = set()
    for entry in chosen:
        there = _kinds(path, entry)
        kinds |= there
        if "areas" not in there and (line_width is None or "lines" not in there):
            continue
        fields |= set(entry.fields)
        field = _field(entry, asked)
        if asked and field is None:
            continue
        values = () if field is None else _values(path, entry, field)
        width = line_width if "lines" in there else None
        found.append(PolygonLabels(path, scene_name(path), entry.name, entry.crs, field, values, width))
    if found or not layers:
        return tuple(found)
    if "areas" not in kinds and (line_width is None or "lines" not in kinds):
        raise _no_areas(path, layer, kinds)
    what = f"has no attribute '{asked[0]}'" if len(asked) == 1 else f"has none of the attributes {', '.join(asked)}"
    raise LabelError(what, where=path, remedy=f"it has: {', '.join(sorted(fields)) or 'none'}")


def _field(layer: VectorLayer, asked: Sequence[str]) -> str | None:
    """The attribute of a layer that holds the class."""
    if asked:
        return next((name for name in asked if name in layer.fields), None)
    alike = {name.casefold().replace("_", ""): name for name in layer.fields}
    return next((alike[name] for name in CLASS_FIELDS if name in alike), None)


def _kinds(path: str, layer: VectorLayer) -> frozenset[str]:
    """Which of "areas", "lines" and "points" a layer holds: what it is declared for, or what is there."""
    for kind, words in _WORDS.items():
        if any(word in layer.kind for word in words):
            return frozenset({kind})
    return kinds_of(read_layer(path, layer.name, None).geometry.to_numpy()) or frozenset({"areas"})


def _values(path: str, layer: VectorLayer, field: str) -> tuple[str, ...]:
    texts = attribute_texts(read_layer(path, layer.name, field, geometry=False)[field].tolist(), path)
    return tuple(sorted({text for text in texts if text}))


def _no_areas(path: str, layer: str | None, kinds: set[str]) -> LabelError:
    where = path if layer is None else f"{path}|layername={layer}"
    if "lines" in kinds:
        return LabelError(
            "holds lines, no polygons", where=where, remedy="say how wide they are on the ground: --line-width METRES"
        )
    return LabelError(
        f"holds no polygons, only {' and '.join(sorted(kinds))}",
        where=where,
        remedy="give areas: draw them, or buffer the points by what they stand for",
    )


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
