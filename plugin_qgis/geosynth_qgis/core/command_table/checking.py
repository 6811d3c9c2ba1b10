"""Commands that check synthetic pairs: they change or describe a tileset in place."""

from __future__ import annotations

from ..options import Command, Output, argument, given
from .shared import DEVICE, RERUN, SCHEDULER, SEED, workers

REVIEW = Command(
    "review",
    "Review pairs",
    "Accept or reject pairs of a tileset; rejected ones are left out of all training. Without verdicts some unseen"
    " pairs are drawn with their ids on one sheet.",
    "generator",
    (
        argument("TILES", "tileset", "Tileset", required=True),
        given("--accept", "texts", "Accept", help="Ids or patterns with *, one a line or with ; between them."),
        given("--reject", "texts", "Reject", help="The same."),
        given("--unseen", "texts", "Take the verdict back", help="The same."),
        given(
            "--from",
            "file",
            "Verdicts from a table",
            name="TABLE",
            help="A CSV or GeoPackage with columns id and review, for example the tileset's index.gpkg.",
        ),
        given("--undo", "flag", "Take all verdicts back", default=False),
        given("--sheet", "text", "Where to draw the sheet", advanced=True, help="Default: review.png in the tileset."),
        given("--count", "integer", "Pairs on the sheet", default=24, minimum=1),
        SEED,
    ),
    (Output("SHEET", "file", "Contact sheet", ("review.png",)),),
    keeps_in="TILES",
)


NEAREST = Command(
    "nearest",
    "Find the nearest real tiles",
    "Find the real training tile nearest to each synthetic image: was it copied?",
    "generator",
    (
        argument("TILES", "tileset", "Synthetic tileset", required=True),
        given("--of", "tileset", "Real tileset the generator was trained on", required=True),
        given("--by", "segmenter", "Segmenter whose features are compared", help="Default: small images."),
        given("--shown", "integer", "Pairs on the page", default=12, minimum=1),
        DEVICE,
    ),
    (
        Output("SHEET", "file", "Nearest pairs side by side", ("nearest.png",)),
        Output("TABLE", "file", "Table of nearest tiles", ("nearest.csv",)),
    ),
    keeps_in="TILES",
)


FILTER = Command(
    "filter",
    "Filter synthetic pairs",
    "Make doubtful pixels of synthetic masks unknown, and reject pairs with too little left. Changes the tileset in"
    " place; it can be undone.",
    "generator",
    (
        argument("TILES", "tileset", "Synthetic tileset", required=True),
        given("--by", "folder", "Segmenter trained on real tiles alone, or a generator"),
        given("--real", "tileset", "Real tileset", help="Its val split says which losses are normal."),
        given(
            "--factor", "number", "Doubtful above this many times the normal loss", default=1.25, minimum=0, above=True
        ),
        given(
            "--min-known",
            "number",
            "Reject pairs with less than this share left",
            default=0.5,
            minimum=0,
            maximum=1,
        ),
        given("--specks", "integer", "Clean regions of fewer pixels", default=6, minimum=0, advanced=True),
        given("--draws", "integer", "Masks a generator is asked for", default=4, minimum=1, advanced=True),
        given("--steps", "integer", "Its steps for each", default=20, minimum=1, advanced=True),
        given("--undo", "flag", "Take the filtering back", default=False),
        RERUN,
        workers(),
        SCHEDULER,
        DEVICE,
    ),
    (Output("MASKS", "raster", "Masks", ("masks.vrt",)),),
    keeps_in="TILES",
)
