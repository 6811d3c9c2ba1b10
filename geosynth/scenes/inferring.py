"""A legend made of what labels hold, where none is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from geosynth.errors import GeosynthError, LabelError
from geosynth.legend import PALETTE, UNKNOWN, Legend, LegendClass
from geosynth.scenes.codes import (
    BACKGROUND,
    SINGLE,
    Labels,
    Outside,
    are_gray,
    blurred,
    ignored_texts,
    mask_numbers,
    yes_and_no,
)
from geosynth.scenes.layers import PolygonLabels
from geosynth.scenes.masks import MaskLabels, hex_color

_MOST = 64
"""A mask with more values or colours than this, and no names for them, is taken for an image."""


def infer_legend(labels: Sequence[Labels], outside: Outside | None, ignore: Iterable[int | str] = ()) -> Legend:
    """A legend made of what the labels hold.

    Masks: their numbers, and all that the raster has names for, with its names and colours; or their colours, numbered
    on, called "#rrggbb". Polygons: the attribute's values, sorted, numbered on (whole numbers keep their number); where
    there is no attribute, what the layers of a file that holds several are called, or one class "object" for the rest;
    "background" is class 0 when it is what lies outside.

    Raises:
        LabelError: nothing to make a class of, or what looks like an image.
    """
    skipped = ignored_texts(ignore)
    masks = [entry for entry in labels if isinstance(entry, MaskLabels)]
    polygons = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    gray = are_gray(masks, skipped)
    classes = _of_numbers([mask for mask in masks if gray or not mask.colored], skipped)
    if not gray:
        classes |= _of_colors([mask for mask in masks if mask.colored], skipped, classes)
    classes |= _of_attributes(polygons, outside, skipped, classes)
    if not classes:
        raise LabelError("holds no class", where=labels[0].path if labels else None, remedy="give --legend")
    try:
        return Legend(tuple(classes[id_] for id_ in sorted(classes)))
    except GeosynthError as error:
        raise LabelError(f"no legend can be made of the labels ({error})", remedy="give --legend") from None


def _of_numbers(masks: Sequence[MaskLabels], skipped: frozenset[str]) -> dict[int, LegendClass]:
    numbers = mask_numbers(masks)
    if yes_and_no(numbers):
        return {0: BACKGROUND, 1: LegendClass(1, SINGLE, PALETTE[0])}
    names = {value: name for mask in masks for value, name in mask.named if name}
    colors: dict[int, str] = {}
    for mask in masks:
        _refuse_images(mask)
        for number, color in mask.colors:
            if number in mask.values and colors.setdefault(number, color) != color:
                raise LabelError(
                    f"its palette gives value {number} the colour {color}, another mask's {colors[number]}",
                    where=mask.path,
                    remedy="give --legend: with these colours if they are what counts",
                )
        colors |= {number: color for number, color in mask.colors if number not in colors}
    classes: dict[int, LegendClass] = {}
    present = sorted({*numbers, *names} - {UNKNOWN})
    for position, number in enumerate(number for number in present if str(number) not in skipped):
        if colors.get(number) not in skipped:
            color = colors.get(number, PALETTE[position % len(PALETTE)])
            classes[_checked_id(number, masks[0].path)] = LegendClass(number, names.get(number, str(number)), color)
    return classes


def _refuse_images(mask: MaskLabels) -> None:
    if mask.lossy and len(mask.numbers) > 2:
        what, remedy = blurred(mask), "give the mask as it was before, saved losslessly (PNG, or GeoTIFF with deflate)"
    elif len(mask.numbers) > _MOST and not mask.named:
        what, remedy = ": an image, not a mask", "give --legend if they are classes"
    else:
        return
    raise LabelError(f"holds {len(mask.numbers)} different values{what}", where=mask.path, remedy=remedy)


def _of_colors(masks: Sequence[MaskLabels], skipped: frozenset[str], taken: Collection[int]) -> dict[int, LegendClass]:
    found = {value: mask for mask in masks for value in mask.values if value != mask.nodata}
    colors = sorted(value for value in found if hex_color(value) not in skipped)
    if len(colors) > _MOST:
        mask = found[colors[-1]]
        raise LabelError(
            f"{len(colors)} different colours are too many to be classes{blurred(mask)}",
            where=mask.path,
            remedy="give --legend with the classes' colours, or masks saved losslessly",
        )
    first = max(taken, default=0) + 1
    return {
        id_: LegendClass(_checked_id(id_, masks[0].path), hex_color(color), hex_color(color))
        for id_, color in enumerate(colors, start=first)
    }


def _of_attributes(
    polygons: Sequence[PolygonLabels], outside: Outside | None, skipped: frozenset[str], taken: dict[int, LegendClass]
) -> dict[int, LegendClass]:
    values = {value for layer in polygons for value in layer.values if value.casefold() not in skipped}
    silent = [layer for layer in polygons if layer.field is None]
    in_file = Counter(layer.path for layer in silent)
    values |= {layer.layer if in_file[layer.path] > 1 else SINGLE for layer in silent}
    if polygons and not values:
        values = {SINGLE}
    classes = dict(taken)
    if polygons and outside == "background" and 0 not in classes and "0" not in values:
        classes[0] = BACKGROUND
    whole = all(value.isdecimal() and int(value) <= 254 for value in values)
    known = {entry.name for entry in classes.values()}
    for position, value in enumerate(sorted(values - known)):
        id_ = int(value) if whole else max(classes, default=0) + 1
        if id_ not in classes:
            classes[id_] = LegendClass(_checked_id(id_, polygons[0].path), value, PALETTE[position % len(PALETTE)])
    return classes


def _checked_id(value: int, path: str) -> int:
    if not 0 <= value <= 254:
        raise LabelError(
            f"value {value} cannot be a class (ids are 0..254)", where=path, remedy="give --ignore for it or a --legend"
        )
    return value
