"""The classes, and the colours and field patterns of every look."""

from __future__ import annotations

from dataclasses import dataclass

from geosynth.legend import READY_MADE

RGB = tuple[int, int, int]

CLASSES: tuple[tuple[int, str, str], ...] = tuple(
    (entry.id, entry.name, entry.color) for entry in READY_MADE["world"].classes
)
"""Id, name and colour of every class."""

BUILDING, ROAD, WATER, TREE, FIELD, GRASS = READY_MADE["world"].ids


@dataclass(frozen=True)
class Style:
    """Colours (RGB, 0..255) and field pattern of one look."""

    grass: tuple[RGB, ...]
    fields: tuple[RGB, ...]
    crowns: tuple[RGB, ...]
    roofs: tuple[RGB, ...]
    understory: RGB
    water: RGB
    shore: RGB
    asphalt: RGB
    dirt: RGB
    parcel: tuple[float, float]  # along and across the rows, px
    pivots: bool = False  # round, centre-irrigated fields
    hedges: float = 0.5  # share of parcel borders lined with trees


STYLES: dict[str, Style] = {
    "temperate": Style(
        grass=((112, 126, 84), (122, 132, 88), (104, 120, 80)),
        fields=((126, 140, 86), (150, 148, 98), (182, 168, 122), (140, 120, 96), (100, 120, 74), (164, 158, 104)),
        crowns=((60, 80, 52), (68, 90, 56), (76, 94, 60), (54, 74, 54)),
        roofs=((154, 104, 88), (134, 90, 78), (118, 114, 112), (92, 90, 94), (168, 142, 122)),
        understory=(46, 62, 44),
        water=(54, 76, 82),
        shore=(142, 136, 112),
        asphalt=(137, 135, 130),
        dirt=(166, 150, 122),
        parcel=(130.0, 80.0),
    ),
    "arid": Style(
        grass=((176, 158, 122), (168, 150, 114), (184, 164, 130)),
        fields=((114, 126, 86), (132, 138, 92), (160, 148, 104), (152, 126, 100), (100, 114, 78)),
        crowns=((96, 102, 72), (88, 96, 64), (106, 108, 78)),
        roofs=((216, 208, 194), (200, 182, 158), (184, 156, 130), (226, 222, 214), (160, 140, 124)),
        understory=(110, 106, 78),
        water=(66, 98, 100),
        shore=(198, 184, 152),
        asphalt=(148, 142, 136),
        dirt=(202, 182, 148),
        parcel=(104.0, 104.0),
        pivots=True,
        hedges=0.12,
    ),
    "autumn": Style(
        grass=((134, 128, 84), (126, 124, 80), (142, 132, 90)),
        fields=((146, 122, 90), (122, 100, 80), (174, 154, 106), (120, 124, 76), (160, 140, 104)),
        crowns=((148, 104, 66), (158, 130, 78), (124, 84, 62), (96, 98, 64), (136, 116, 70)),
        roofs=((92, 88, 90), (120, 96, 84), (146, 86, 72), (108, 106, 110)),
        understory=(84, 66, 48),
        water=(58, 72, 84),
        shore=(134, 122, 100),
        asphalt=(124, 122, 122),
        dirt=(150, 132, 106),
        parcel=(190.0, 56.0),
    ),
    "tropical": Style(
        grass=((100, 132, 74), (110, 138, 78), (118, 134, 80)),
        fields=((112, 142, 78), (136, 154, 92), (160, 118, 94), (126, 146, 112), (148, 160, 88), (150, 120, 88)),
        crowns=((44, 82, 46), (54, 96, 52), (70, 108, 58), (84, 120, 62)),
        roofs=((176, 180, 184), (154, 100, 76), (120, 133, 150), (198, 196, 190), (130, 110, 98)),
        understory=(34, 62, 38),
        water=(98, 106, 84),
        shore=(160, 128, 98),
        asphalt=(126, 124, 122),
        dirt=(172, 134, 108),
        parcel=(74.0, 60.0),
        hedges=0.35,
    ),
}
LOOKS: tuple[str, ...] = tuple(STYLES)
