"""Ready-made legends: the classes of well-known label sets, with their own ids and colours, as plain data.

Colours are those the set's authors publish, because masks that are coded by colour are read by them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadyMade:
    """``classes``: (id, name, colour); ``ignored``: mask values and colours that mean unknown in this set."""

    classes: tuple[tuple[int, str, str], ...]
    ignored: tuple[int | str, ...] = ()


LEGENDS: dict[str, ReadyMade] = {
    # The made-up world, in the order of ``legend.PALETTE``.
    "world": ReadyMade(
        (
            (1, "building", "#d1495b"),
            (2, "road", "#8d99ae"),
            (3, "water", "#2274a5"),
            (4, "tree", "#2d6a4f"),
            (5, "field", "#e9c46a"),
            (6, "grass", "#95d16d"),
        )
    ),
    "building": ReadyMade(((0, "background", "#dad7cd"), (1, "building", "#d1495b"))),
    # Wang et al. 2021. Ids: torchgeo.datasets.LoveDA (0 is no-data, "should be ignored"). Colours: COLOR_MAP in
    # Semantic_Segmentation/data/loveda.py of github.com/Junjue-Wang/LoveDA, the same in mmsegmentation.
    "loveda": ReadyMade(
        (
            (1, "background", "#ffffff"),
            (2, "building", "#ff0000"),
            (3, "road", "#ffff00"),
            (4, "water", "#0000ff"),
            (5, "barren", "#9f81b7"),
            (6, "forest", "#00ff00"),
            (7, "agriculture", "#ffc380"),
        ),
        ignored=(0,),
    ),
    # Xia et al. 2023. Ids and colours: class_grey_oem and class_rgb_oem in oem/utils.py of
    # github.com/bao18/open_earth_map, which shortens some of the paper's names; 0 is "unknown", drawn black.
    "openearthmap": ReadyMade(
        (
            (1, "bareland", "#800000"),
            (2, "rangeland", "#00ff24"),
            (3, "developed_space", "#949494"),
            (4, "road", "#ffffff"),
            (5, "tree", "#226126"),
            (6, "water", "#0045ff"),
            (7, "agriculture_land", "#4bb549"),
            (8, "building", "#de1f07"),
        ),
        ignored=(0, "#000000"),
    ),
    # Waqas Zamir et al. 2019. Ids, order and colours of *_instance_color_RGB.png: helpers/labels.py of
    # github.com/CAPTAIN-WHU/iSAID_Devkit, the same in mmsegmentation; names in lower case.
    "isaid": ReadyMade(
        (
            (0, "background", "#000000"),
            (1, "ship", "#00003f"),
            (2, "storage_tank", "#003f3f"),
            (3, "baseball_diamond", "#003f00"),
            (4, "tennis_court", "#003f7f"),
            (5, "basketball_court", "#003fbf"),
            (6, "ground_track_field", "#003fff"),
            (7, "bridge", "#007f3f"),
            (8, "large_vehicle", "#007f7f"),
            (9, "small_vehicle", "#00007f"),
            (10, "helicopter", "#0000bf"),
            (11, "swimming_pool", "#0000ff"),
            (12, "roundabout", "#00bf7f"),
            (13, "soccer_ball_field", "#007fbf"),
            (14, "plane", "#007fff"),
            (15, "harbor", "#00649b"),
        )
    ),
    # "Semantic segmentation of aerial imagery", Humans in the Loop, 2020: its classes.json names the colours of the RGB
    # masks. Unlabelled is #9b9b9b, and a few pixels are black.
    "dubai": ReadyMade(
        (
            (1, "building", "#3c1098"),
            (2, "land", "#8429f6"),
            (3, "road", "#6ec1e4"),
            (4, "vegetation", "#fedd3a"),
            (5, "water", "#e2a929"),
        ),
        ignored=(0, "#9b9b9b", "#000000"),
    ),
}
