"""Labels that are given to a generator: found in files, and their classes matched to the generator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from geosynth.diffusion.request import Reading
from geosynth.errors import LabelError
from geosynth.legend import UNKNOWN, Legend
from geosynth.scenes.finding import find_files
from geosynth.scenes.labels import (
    Codes,
    Labels,
    MaskLabels,
    Outside,
    PolygonLabels,
    infer_legend,
    inspect_labels,
    make_codes,
)
from geosynth.scenes.vectors import split_layer


def find_labels(sources: Sequence[str], reading: Reading) -> tuple[Labels, ...]:
    """What labels there are: mask rasters in files, folders and patterns, or layers of vector files.

    Raises:
        LabelError, SceneError: nothing there, unreadable, or both kinds.
    """
    files: list[str] = []
    for source in sources:
        path, _ = split_layer(source)
        # A folder or a pattern stands for the rasters in it; what else there is may belong to anything.
        files += [source] if Path(path).is_file() or path != source else find_files([source])[0]
    found = [
        entry
        for file in dict.fromkeys(absolute(file) for file in files)
        for entry in inspect_labels(file, reading.class_field, line_width=reading.line_width)
    ]
    kinds = {type(entry) for entry in found}
    if len(kinds) > 1:
        drawn = next(entry for entry in found if isinstance(entry, PolygonLabels))
        raise LabelError("polygons are given together with mask rasters", where=drawn.path, remedy="give one of both")
    return tuple(found)


def codes_for(labels: Sequence[Labels], reading: Reading, legend: Legend) -> Codes:
    """What the values of ``labels`` mean, as class ids of the generator's ``legend``.

    They are read by ``reading.legend``, or by the names a mask raster has for its numbers, and their classes are
    then the generator's of the same name (or id, or colour, where a class has no name of its own). Without either they
    are read by the generator's legend itself.

    Raises:
        LabelError: classes the generator does not know, all of a file named; what lies outside polygons is not said.
    """
    drawn = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    if drawn and reading.outside is None:
        raise LabelError(
            "what lies outside its polygons is not said",
            where=drawn[0].path,
            remedy=f"give --outside unknown, or --outside and one of: {', '.join(legend.names)}",
        )
    # The class outside polygons is the generator's, whatever the labels' own classes are.
    word: Outside = "unknown"
    own = reading.legend
    if own is None and any(entry.named for entry in labels if isinstance(entry, MaskLabels)):
        own = infer_legend(labels, "unknown", reading.ignore)
    if own is None:
        for entry in labels:
            _refuse(_strange_values(entry, reading, legend), entry, legend)
        codes = make_codes(labels, legend, word, reading.ignore)
    else:
        codes = make_codes(labels, own, word, reading.ignore)
        targets = {entry.id: _counterpart(entry.name, legend) for entry in own.classes}
        names = dict(zip(own.ids, own.names, strict=True))
        for entry in labels:
            used = _ids(make_codes([entry], own, word, reading.ignore))
            _refuse([names[id_] for id_ in sorted(used) if targets[id_] is None], entry, legend)
        codes = _translated(codes, {id_: UNKNOWN if new is None else new for id_, new in targets.items()})
    return replace(codes, outside=_outside(reading.outside, drawn[0].path, legend)) if drawn else codes


def _strange_values(entry: Labels, reading: Reading, legend: Legend) -> list[str]:
    """The attribute values of a layer that are neither names nor ids of the legend."""
    if not isinstance(entry, PolygonLabels):
        return []
    skipped = {str(value).strip().casefold() for value in reading.ignore}
    return [value for value in entry.values if value.casefold() not in skipped and _counterpart(value, legend) is None]


def _refuse(strangers: Sequence[str], entry: Labels, legend: Legend) -> None:
    if strangers:
        several = len(strangers) > 1
        names = ", ".join(f"'{name}'" for name in strangers[:6]) + (", …" if len(strangers) > 6 else "")
        raise LabelError(
            f"{names} {'are' if several else 'is'} no class{'es' if several else ''} of the generator"
            f" ({', '.join(legend.names)})",
            where=entry.path,
            remedy="leave it unknown with --ignore, say what it is with --legend, or take a generator that knows it",
        )


def _counterpart(name: str, legend: Legend) -> int | None:
    """The id of the class called ``name``; of the one with this id or colour where that is all it says."""
    folded = name.casefold()
    for entry in legend.classes:
        if entry.name.casefold() == folded:
            return entry.id
    return next((entry.id for entry in legend.classes if folded in (str(entry.id), entry.color)), None)


def _ids(codes: Codes) -> set[int]:
    """The class ids that label values stand for."""
    tables = [codes.attributes, codes.numbers, codes.colors, *(table for _, table in codes.palettes)]
    found = {id_ for table in tables for _, id_ in table} | {id_ for _, _, id_ in codes.singles}
    return found - {UNKNOWN}


def _translated(codes: Codes, targets: Mapping[int, int]) -> Codes:
    """Codes whose ids are replaced."""
    new = {**targets, UNKNOWN: UNKNOWN}
    return replace(
        codes,
        attributes=tuple((value, new[id_]) for value, id_ in codes.attributes),
        numbers=tuple((value, new[id_]) for value, id_ in codes.numbers),
        colors=tuple((value, new[id_]) for value, id_ in codes.colors),
        palettes=tuple((path, tuple((value, new[id_]) for value, id_ in table)) for path, table in codes.palettes),
        singles=tuple((path, layer, new[id_]) for path, layer, id_ in codes.singles),
    )


def _outside(name: str | None, where: str, legend: Legend) -> int:
    if name is None or name == "unknown":
        return UNKNOWN
    id_ = _counterpart(name, legend)
    if id_ is None:
        raise LabelError(
            f"what lies outside its polygons cannot be '{name}': the generator's classes are {', '.join(legend.names)}",
            where=where,
            remedy="give one of them as --outside, or unknown",
        )
    return id_


def absolute(source: str) -> str:
    """A plain file, or a layer of one, with its whole path: workers may run elsewhere."""
    return str(Path(source).absolute()) if Path(split_layer(source)[0]).exists() else source
