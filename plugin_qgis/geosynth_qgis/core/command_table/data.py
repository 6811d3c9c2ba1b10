"""Commands that make tilesets of scenes and labels."""

from __future__ import annotations

from ..options import Command, argument, given
from .shared import RERUN, SCHEDULER, SEED, TILESET_OUTPUTS, legend, out, workers

TILE = Command(
    "tile",
    "Tile scenes and labels",
    "Cut scenes and their labels into a tileset: small georeferenced image-mask pairs, split by place into train, val"
    " and test. Scenes without labels give tiles whose masks are unknown; a generator learns from those too.",
    "data",
    (
        argument("SCENES", "rasters", "Scenes"),
        argument("SCENES_FOLDER", "folder", "Folder of scenes", help="Instead of layers, or with them."),
        given(
            "--labels",
            "layers",
            "Labels (polygons, lines or mask rasters)",
            help="Labels called like a scene are its own; all others belong to the scenes they overlap. Later ones lie"
            " over earlier ones.",
        ),
        given(
            "--outside",
            "choice",
            "What lies outside the polygons",
            choices=("background", "unknown"),
            help="Needed for polygons: background when every object is drawn, unknown when only some are.",
        ),
        given(
            "--class-field",
            "texts",
            "Attribute that holds the class",
            help="Several: one a line, or with ; between them.",
        ),
        given("--size", "integer", "Side of a tile, pixels", minimum=8, help="Default: 128."),
        given(
            "--gsd",
            "number",
            "Ground metres a pixel",
            minimum=0,
            above=True,
            help="Default: as in the scenes.",
        ),
        out("Tileset folder"),
        RERUN,
        given(
            "--layout",
            "choice",
            "Layout of a downloaded label set",
            choices=("loveda",),
            advanced=True,
            help="The folder of scenes is that of the label set as it was unpacked.",
        ),
        given("--crs", "crs", "Warp the scenes to", advanced=True, help="Default: the first scene's."),
        given(
            "--bands",
            "text",
            "Bands to take, in order",
            advanced=True,
            help="Names or numbers with commas between them, for example 4,3,2. Default: all.",
        ),
        legend("Classes: a JSON file, or the name of a ready-made legend. Default: those found in the labels."),
        given("--line-width", "number", "Width of label lines, ground metres", minimum=0, above=True, advanced=True),
        given(
            "--ignore",
            "texts",
            "Label values that mean unknown",
            advanced=True,
            help="Numbers or colours (#rrggbb), one a line or with ; between them.",
        ),
        given(
            "--overlap",
            "integer",
            "Pixels that neighbours share",
            default=0,
            minimum=0,
            advanced=True,
        ),
        given(
            "--split",
            "text",
            "Split by",
            default="block",
            advanced=True,
            help="block, scene, or a vector file of polygons whose attribute split says train, val or test.",
        ),
        given(
            "--assign",
            "texts",
            "Scenes put into a split",
            advanced=True,
            help="SCENE=train, SCENE=val or SCENE=test, one a line or with ; between them.",
        ),
        given("--val", "number", "Share for validation", default=0.15, minimum=0, maximum=1, advanced=True),
        given("--test", "number", "Share for testing", default=0.15, minimum=0, maximum=1, advanced=True),
        given("--block", "integer", "Tiles a side of a block, at most", default=4, minimum=1, advanced=True),
        given("--buffer", "integer", "Pixels between splits", default=0, minimum=0, advanced=True),
        given(
            "--min-valid",
            "number",
            "Share of a tile that must hold data",
            default=0.5,
            minimum=0,
            maximum=1,
            advanced=True,
        ),
        given(
            "--empty",
            "number",
            "Share of background-only training tiles to keep",
            default=1.0,
            minimum=0,
            maximum=1,
            advanced=True,
        ),
        given("--skip-unusable", "flag", "Leave out scenes that cannot be used", default=False, advanced=True),
        given("--append", "flag", "Add to the tileset in the output folder", default=False, advanced=True),
        SEED,
        workers(),
        SCHEDULER,
    ),
    TILESET_OUTPUTS,
)


SUBSET = Command(
    "subset",
    "Hide labels",
    "The same tileset as if only a part had been labelled: the other training masks become unknown.",
    "data",
    (
        argument("TILES", "tileset", "Tileset", required=True),
        given(
            "--labels",
            "text",
            "Labelled training tiles that stay",
            required=True,
            help="A share (0.05 or 5%) or a number (40).",
        ),
        given("--val-labels", "number", "Share of val tiles that stay labelled", minimum=0, maximum=1, advanced=True),
        given("--block", "integer", "Tiles a side of a labelled area, at most", default=4, minimum=1, advanced=True),
        SEED,
        out("Tileset folder"),
        RERUN,
    ),
    TILESET_OUTPUTS,
)
