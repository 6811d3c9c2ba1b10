"""From what labels hold to class ids: attribute texts, mask numbers, mask colours.

``Codes`` are made once for all label files, so that a value nobody declared is found before any work is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geosynth.errors import LabelError
from geosynth.legend import UNKNOWN, Legend, LegendClass
from geosynth.scenes.layers import PolygonLabels
from geosynth.scenes.masks import MaskLabels, hex_color, packed

Labels = PolygonLabels | MaskLabels
Outside = Literal["background", "unknown"]

BACKGROUND = LegendClass(0, "background", "#dad7cd")
SINGLE = "object"
_NEAR = 16
"""Colours that differ less than this in every band look alike: a blurred class rather than another one."""

_Table = tuple[tuple[int, int], ...]
"""(value, class id)"""


@dataclass(frozen=True)
class Codes:
    """Label values to class ids.

    Attributes:
        attributes: (attribute text, id).
        numbers: (mask number, id).
        colors: (0xrrggbb, id).
        gray: masks of three bands are read by the number in their first one, not by colour.
        palettes: (file, (number, id)) of the masks that are read by the colours of their palette.
        singles: (file, layer, id) of the layers whose features do not say their class.
        outside: the id where no polygon is.
    """

    attributes: tuple[tuple[str, int], ...]
    numbers: _Table
    colors: _Table
    gray: bool
    palettes: tuple[tuple[str, _Table], ...]
    singles: tuple[tuple[str, str, int], ...]
    outside: int

    def by_color(self, labels: MaskLabels) -> bool:
        """Whether all three bands of a mask are needed to tell its classes."""
        return labels.colored and not self.gray

    def of_layer(self, labels: PolygonLabels, values: Sequence[str]) -> NDArray[np.uint8]:
        """Class ids uint8 (N,) of a layer's features with these attribute texts."""
        if labels.field is None:
            singles = {(path, layer): id_ for path, layer, id_ in self.singles}
            return np.full(len(values), singles[labels.path, labels.layer], np.uint8)
        table = dict(self.attributes)
        return np.array([table[value] for value in values], np.uint8)

    def of_mask(self, labels: MaskLabels, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W) of a mask's pixels as read, (1, H, W), or (3, H, W) of one that is ``by_color``.

        A value that was not there when the codes were made is unknown.
        """
        if self.by_color(labels):
            return _looked_up(packed(image), self.colors)
        return _looked_up(image[0], dict(self.palettes).get(labels.path, self.numbers))

    def of_numbers(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """Class ids of a mask's numbers; a number that was not there when the codes were made is unknown."""
        return _looked_up(mask, self.numbers)


def _looked_up(values: NDArray[Any], table: _Table) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        by_value = np.full(256, UNKNOWN, np.uint8)
        for value, id_ in table:
            by_value[value] = id_
        return np.take(by_value, values)
    ids = np.full(values.shape, UNKNOWN, np.uint8)
    for value, id_ in table:
        ids[values == value] = id_
    return ids


def make_codes(
    labels: Sequence[Labels], legend: Legend, outside: Outside | None, ignore: Iterable[int | str] = ()
) -> Codes:
    """How label values become ids of ``legend``.

    Attributes match a class's name, then its id; numbers its id; colours its colour. A palette mask goes by the
    colours of its palette when these are the legend's and its numbers are not. A layer without attribute is of the
    class it is called after, else of the only one there is.

    Unknown become: values and colours ("#rrggbb") in ``ignore``, empty attributes, a mask's nodata (unless the legend
    has it as a class), 255, and what is transparent. Masks of nothing but 0 and 255 are read as 0 and 1.

    Raises:
        LabelError: a value is no class, or polygons come without ``outside``; names the value and the classes.
    """
    skipped = ignored_texts(ignore)
    polygons = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    masks = [entry for entry in labels if isinstance(entry, MaskLabels)]
    gray = are_gray(masks, skipped | {entry.color for entry in legend.classes})
    colored = [mask for mask in masks if mask.colored and not gray]
    palettes = {mask.path: _palette_codes(mask, legend, skipped) for mask in masks if not mask.colored}
    numbered = [mask for mask in masks if (gray or not mask.colored) and not palettes.get(mask.path)]
    return Codes(
        tuple(sorted(_attribute_codes(polygons, legend, skipped).items())),
        tuple(sorted(_number_codes(numbered, legend, skipped).items())),
        tuple(sorted(_color_codes(colored, legend, skipped).items())),
        gray,
        tuple((path, tuple(sorted(table.items()))) for path, table in sorted(palettes.items()) if table),
        tuple((layer.path, layer.layer, _single(layer, legend)) for layer in polygons if layer.field is None),
        _outside(polygons, legend, outside),
    )


def ignored_texts(ignore: Iterable[int | str]) -> frozenset[str]:
    """Values that mean unknown, as what they are compared with: text in small letters."""
    return frozenset(str(value).strip().casefold() for value in ignore)


def are_gray(masks: Sequence[MaskLabels], known: frozenset[str]) -> bool:
    """Whether masks of three bands hold one number in all of them: saved in colour but not coded by it, as ``known``
    colours ("#rrggbb") would be."""
    colors = {value for mask in masks if mask.colored for value in mask.values}
    return all(value % 0x010101 == 0 for value in colors) and not {hex_color(value) for value in colors} <= known


def mask_numbers(masks: Sequence[MaskLabels]) -> frozenset[int]:
    """All numbers of all masks, without those that a mask declares to be nodata or transparent."""
    return frozenset(number for mask in masks for number in mask.numbers if number not in mask.hidden)


def yes_and_no(numbers: frozenset[int]) -> bool:
    """Whether masks are of the kind "0 no, 255 yes"."""
    return numbers <= {0, 255} and 255 in numbers


def blurred(mask: MaskLabels) -> str:
    """What to say of values that are not what they should be."""
    return ": JPEG compression has blurred its classes" if mask.lossy else ""


def _attribute_codes(polygons: Sequence[PolygonLabels], legend: Legend, skipped: frozenset[str]) -> dict[str, int]:
    by_name = {name.casefold(): id_ for name, id_ in zip(legend.names, legend.ids, strict=True)}
    by_id = {str(id_): id_ for id_ in legend.ids}
    codes: dict[str, int] = {"": UNKNOWN}
    for layer in polygons:
        for value in layer.values:
            folded = value.casefold()
            id_ = UNKNOWN if folded in skipped else by_name.get(folded, by_id.get(value))
            if id_ is None:
                raise _no_class(f"'{value}' in attribute '{layer.field}'", f"'{value}'", layer.path, legend)
            codes[value] = id_
    return codes


def _number_codes(masks: Sequence[MaskLabels], legend: Legend, skipped: frozenset[str]) -> dict[int, int]:
    yes_no = yes_and_no(mask_numbers(masks)) and {0, 1} <= set(legend.ids)
    codes: dict[int, int] = {}
    for mask in masks:
        palette = dict(mask.colors)
        for number in mask.numbers:
            if str(number) in skipped or palette.get(number) in skipped:
                codes[number] = UNKNOWN
            elif number in legend.ids:
                codes[number] = number
            elif number == UNKNOWN and yes_no and number not in mask.hidden:
                codes[number] = 1
            elif number == UNKNOWN or number in mask.hidden:
                codes[number] = UNKNOWN
            else:
                raise _no_class(f"value {number}{blurred(mask)}", str(number), mask.path, legend)
    return codes


def _color_codes(masks: Sequence[MaskLabels], legend: Legend, skipped: frozenset[str]) -> dict[int, int]:
    own = {entry.color: entry.id for entry in legend.classes}
    codes: dict[int, int] = {}
    for mask in masks:
        _refuse_shared_colors(mask, legend)
        foreign: list[tuple[int, int]] = []
        for color, pixels in zip(mask.values, mask.pixels, strict=True):
            text = hex_color(color)
            if text in own and text not in skipped:
                codes[color] = own[text]
            elif text in skipped or color == mask.nodata:
                codes[color] = UNKNOWN
            else:
                foreign.append((pixels, color))
        if foreign:
            raise _foreign(mask, foreign, legend)
    return codes


def _palette_codes(mask: MaskLabels, legend: Legend, skipped: frozenset[str]) -> dict[int, int]:
    """Ids of a mask's numbers by the colours of its palette, when all of these are the legend's and the numbers are
    not; else none.

    Raises:
        LabelError: numbers and colours are both the legend's, of different classes.
    """
    own = {entry.color: entry for entry in legend.classes}
    palette = dict(mask.colors)
    hidden = mask.hidden | {UNKNOWN}
    numbers = [
        number
        for number in mask.numbers
        if str(number) not in skipped
        and palette.get(number) not in skipped
        and (number not in hidden or number in legend.ids)
    ]
    codes = {number: own[palette[number]].id for number in numbers if palette.get(number) in own}
    if not codes or len(codes) < len(numbers):
        return {}
    if not set(numbers) <= set(legend.ids):
        _refuse_shared_colors(mask, legend)
        return codes
    for number, id_ in codes.items():
        if id_ != number and len(own) == len(legend):
            raise LabelError(
                f"its value {number} is one class of the legend by its number, and '{own[palette[number]].name}' by its"
                f" palette's colour {palette[number]}",
                where=mask.path,
                remedy="to go by colour gdal_translate -expand rgb it, to go by number give other colours in --legend",
            )
    return {}


def _refuse_shared_colors(mask: MaskLabels, legend: Legend) -> None:
    if len({entry.color for entry in legend.classes}) < len(legend):
        raise LabelError(
            "is coded by colour, and several classes of the legend have the same one",
            where=mask.path,
            remedy="give every class a colour of its own in --legend",
        )


def _foreign(mask: MaskLabels, foreign: Sequence[tuple[int, int]], legend: Legend) -> LabelError:
    """What to say of (pixels, colour) that are no class's: the most frequent one, and whether they are blurred ones."""
    pixels, color = max(foreign)
    near = sum(any(_alike(other, int(entry.color[1:], 16)) for entry in legend.classes) for _, other in foreign)
    hint = ""
    if mask.lossy or near > 2:
        hint = f"; {len(foreign)} colours are none, {near} of them near to one that is"
        hint += blurred(mask) or ": smoothing or lossy compression has blurred its classes"
    text = hex_color(color)
    return _no_class(f"colour {text} ({pixels} pixels)", f"'{text}'", mask.path, legend, hint, colors=True)


def _alike(color: int, other: int) -> bool:
    return all(abs((color >> shift & 255) - (other >> shift & 255)) < _NEAR for shift in (0, 8, 16))


def _no_class(what: str, ignore: str, path: str, legend: Legend, hint: str = "", *, colors: bool = False) -> LabelError:
    classes = ", ".join(f"{entry.color if colors else entry.id} {entry.name}" for entry in legend.classes)
    remedy = "give masks saved losslessly" if hint else f"give a legend with it, or --ignore {ignore}"
    return LabelError(f"{what} is no class of the legend ({classes}){hint}", where=path, remedy=remedy)


def _single(layer: PolygonLabels, legend: Legend) -> int:
    """The class of features that do not say theirs: what their layer or file is called, else the only one there is."""
    called = {layer.layer.casefold(), Path(layer.path).stem.casefold()}
    after = [entry for entry in legend.classes if entry.name.casefold() in called]
    named = [entry for entry in legend.classes if entry.name == SINGLE]
    real = after or named or [entry for entry in legend.classes if entry.name != BACKGROUND.name]
    if len(real) != 1:
        raise LabelError(
            "its polygons do not say their class, and the legend has several",
            where=layer.path,
            remedy="name the attribute that holds it with --class-field, or call the layer like its class",
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
