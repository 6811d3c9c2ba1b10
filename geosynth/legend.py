"""Classes: id, name, colour. What a mask's numbers mean, for people, for QGIS and for the network.

Masks on disk hold class ids (0..254; 255 means unknown). The network sees the position of the class in the legend
(0..K-1), so ids may have gaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from geosynth.errors import LegendError
from geosynth.legends import LEGENDS

UNKNOWN = 255
"""Mask value (and class index) of a pixel nobody labelled."""

_EXAMPLE = 'write [{"id": 1, "name": "…", "color": "#rrggbb"}, …]'
_COLOUR = re.compile(r"#[0-9a-f]{6}")

PALETTE = (
    "#d1495b", "#8d99ae", "#2274a5", "#2d6a4f", "#e9c46a", "#95d16d", "#7b5ea7", "#f4845f",
    "#00a6a6", "#b5838d", "#4a4e69", "#c9a227",
)  # fmt: skip
"""Colours for classes that come without: far apart, and told apart also by people who see colours differently."""


@dataclass(frozen=True)
class LegendClass:
    """One class: ``id`` 0..254 as stored in masks, ``name``, ``color`` as "#rrggbb"."""

    id: int
    name: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True)
class Legend:
    """The classes of a tileset, in the order the network counts them.

    Raises:
        LegendError: no classes, an id outside 0..254 or used twice, a name used twice or empty, a bad colour.
    """

    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise LegendError("a legend needs at least one class", remedy=_EXAMPLE)
        ids = [entry.id for entry in self.classes]
        names = [entry.name for entry in self.classes]
        for entry in self.classes:
            if not 0 <= entry.id <= 254:
                raise LegendError(
                    f"class id {entry.id} is outside 0..254 (255 means unknown)", remedy="give it another id"
                )
            if not entry.name:
                raise LegendError(f"class {entry.id} has no name", remedy="give it one")
            if not _COLOUR.fullmatch(entry.color):
                raise LegendError(f"class '{entry.name}' has colour '{entry.color}'", remedy='write it as "#rrggbb"')
        if len(set(ids)) < len(ids) or len(set(names)) < len(names):
            raise LegendError("a legend holds each id and each name once", remedy="rename or renumber one of them")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(entry.id for entry in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)

    def named(self, name: str) -> LegendClass:
        """The class called ``name``. Raises LegendError naming those there are."""
        for entry in self.classes:
            if entry.name == name:
                return entry
        raise LegendError(f"no class '{name}'", remedy=f"the classes are: {', '.join(self.names)}")

    @cached_property
    def _index_of_id(self) -> NDArray[np.uint8]:
        table = np.full(256, UNKNOWN, np.uint8)
        table[list(self.ids)] = np.arange(len(self))
        return table

    @cached_property
    def _id_of_index(self) -> NDArray[np.uint8]:
        table = np.full(256, UNKNOWN, np.uint8)
        table[: len(self)] = self.ids
        return table

    def to_index(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids to positions in the legend; every value that is no class becomes unknown (255)."""
        return self._index_of_id[mask]

    def to_id(self, index: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Positions in the legend to class ids; 255 stays 255."""
        return self._id_of_index[index]

    def color_table(self) -> NDArray[np.uint8]:
        """RGB uint8 (256, 3) by class id; grey where there is no class, for drawing masks."""
        table = np.full((256, 3), 200, np.uint8)
        for entry in self.classes:
            table[entry.id] = entry.rgb
        return table

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """The palette embedded in masks: id -> RGBA for all 256 values (GeoTIFF itself drops the alpha)."""
        colors = dict.fromkeys(range(256), (0, 0, 0, 0))
        return colors | {entry.id: (*entry.rgb, 255) for entry in self.classes}

    def to_json(self) -> list[dict[str, Any]]:
        return [{"id": entry.id, "name": entry.name, "color": entry.color} for entry in self.classes]

    @classmethod
    def from_json(cls, entries: Iterable[dict[str, Any]]) -> Legend:
        """From ``[{"id", "name", "color" or "rgb"}, …]``. Raises LegendError."""
        classes = []
        for position, entry in enumerate(entries):
            try:
                color = _color(entry) or PALETTE[position % len(PALETTE)]
                classes.append(LegendClass(int(entry["id"]), str(entry["name"]), color))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                raise LegendError(f"entry {position} is not a class: {entry!r}", remedy=_EXAMPLE) from None
        return cls(tuple(classes))

    @classmethod
    def from_names(cls, names: Iterable[str], first_id: int = 1) -> Legend:
        """Classes numbered from ``first_id`` with ready-made colours."""
        return cls(
            tuple(
                LegendClass(first_id + position, name, PALETTE[position % len(PALETTE)])
                for position, name in enumerate(names)
            )
        )


def _color(entry: dict[str, Any]) -> str | None:
    """The colour a class is given in a file, "#rrggbb" in lower case; None without one."""
    color = entry.get("color")
    if color is None and "rgb" in entry:
        color = "#{:02x}{:02x}{:02x}".format(*(int(v) for v in entry["rgb"]))
    return str(color).lower() if color else None


READY_MADE: dict[str, Legend] = {
    name: Legend(tuple(LegendClass(*entry) for entry in known.classes)) for name, known in LEGENDS.items()
}


def ignored_values(source: str | PathLike[str]) -> tuple[int | str, ...]:
    """Label values that mean unknown according to a legend that ``load_legend`` reads: its ``ignore_index``, and the
    colour of the class with this id, as "#rrggbb".

    Raises:
        LegendError: not a legend file, its ``ignore_index`` is no whole number, or that entry is no class.
    """
    if str(source) in LEGENDS:
        return LEGENDS[str(source)].ignored
    path = Path(source)
    entries, ignore = _read(path)
    if ignore is None:
        return ()
    try:
        colors = [_color(entry) for entry in entries if isinstance(entry, dict) and entry.get("id") == ignore]
    except (TypeError, ValueError, IndexError):
        raise LegendError(f"the class with id {ignore} has no proper colour", where=path, remedy=_EXAMPLE) from None
    return (ignore, *(color for color in colors if color and _COLOUR.fullmatch(color)))


def load_legend(source: str | PathLike[str]) -> Legend:
    """A ready-made legend by name, or one from a JSON file (a list of classes, or an object with ``classes``).

    An object may hold ``ignore_index``: a class id that means unknown and is left out of the legend.

    Raises:
        LegendError: no such name or file, or not a legend.
    """
    name = str(source)
    if name in READY_MADE:
        return READY_MADE[name]
    path = Path(source)
    entries, ignore = _read(path)
    try:
        return Legend.from_json(entry for entry in entries if not isinstance(entry, dict) or entry.get("id") != ignore)
    except LegendError as error:
        raise LegendError(error.what, where=path, remedy=error.remedy) from None


def _read(path: Path) -> tuple[list[Any], int | None]:
    """Entries and ``ignore_index`` of a legend file, both as they are there. Raises LegendError."""
    if not path.is_file():
        raise LegendError("no such legend", where=path, remedy=f"give a JSON file or one of: {', '.join(READY_MADE)}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise LegendError(f"not a JSON legend ({error})", where=path, remedy=_EXAMPLE) from None
    ignore = content.get("ignore_index") if isinstance(content, dict) else None
    entries = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise LegendError("holds no list of classes", where=path, remedy=_EXAMPLE)
    if ignore is not None and type(ignore) is not int:
        raise LegendError(f"has ignore_index {ignore!r}", where=path, remedy="give one whole number, or leave it out")
    return entries, ignore


def raster_style(legend: Legend) -> str:
    """A QGIS style (.qml) for a class raster: one named colour a class, 255 transparent."""
    entries = "\n".join(
        f"          <paletteEntry value={quoteattr(str(entry.id))} label={quoteattr(entry.name)}"
        f' color={quoteattr(entry.color)} alpha="255"/>'
        for entry in legend.classes
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
  </pipe>
</qgis>
"""


def polygon_style(legend: Legend, field: str = "class_name") -> str:
    """A QGIS style (.qml) for polygons: filled by class name, thin dark outline."""
    categories = "\n".join(
        f"      <category value={quoteattr(entry.name)} label={quoteattr(entry.name)}"
        f' symbol="{position}" render="true"/>'
        for position, entry in enumerate(legend.classes)
    )
    symbols = "\n".join(
        f"""      <symbol type="fill" name="{position}" alpha="0.75" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleFill" enabled="1" locked="0" pass="0">
          <prop k="color" v="{",".join(map(str, entry.rgb))},255"/>
          <prop k="outline_color" v="60,60,60,255"/>
          <prop k="outline_width" v="0.2"/>
          <prop k="outline_style" v="solid"/>
          <prop k="style" v="solid"/>
        </layer>
      </symbol>"""
        for position, entry in enumerate(legend.classes)
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <renderer-v2 type="categorizedSymbol" attr={quoteattr(field)} forceraster="0" symbollevels="0" enableorderby="0">
    <categories>
{categories}
    </categories>
    <symbols>
{symbols}
    </symbols>
  </renderer-v2>
</qgis>
"""


def category_names(legend: Legend) -> str:
    """A PAM sidecar (.aux.xml) with class names by value: rasterio cannot write them into the raster itself."""
    named = {entry.id: entry.name for entry in legend.classes}
    rows = "\n".join(
        f"      <Category>{escape(named.get(value, ''))}</Category>" for value in range(max(legend.ids) + 1)
    )
    return f"""<PAMDataset>
  <PAMRasterBand band="1">
    <CategoryNames>
{rows}
    </CategoryNames>
  </PAMRasterBand>
</PAMDataset>
"""
