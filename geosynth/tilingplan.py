"""What to make a tileset of, and what came out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geosynth.errors import GeosynthError
from geosynth.legend import Legend
from geosynth.scenes.vectors import split_layer
from geosynth.tileset import SPLITS

SIZE = 128
"""Side of a tile when none is given, pixels."""


LAYOUTS = ("loveda",)
"""Label sets that are known as they are downloaded."""


@dataclass(frozen=True)
class TilingPlan:
    """What to make a tileset of.

    Attributes:
        scenes: rasters, folders or patterns; the first decides CRS, pixel size and bands.
        labels: polygon files, mask rasters, folders or patterns; none makes unlabelled tiles.
        size: tile side in pixels; None is 128, or that of the tileset that is added to.
        gsd: ground metres a pixel; None keeps the first scene's pixels.
        crs: what to warp the scenes to, as GDAL understands it; None keeps the first scene's.
        bands: names or numbers (from 1) of the bands to take, in this order; none takes all but alpha.
        legend: None makes one of what the labels hold.
        layout: a label set as it is downloaded ("loveda"): says labels, splits, classes and pixel size of the one
            folder in ``scenes``.
        class_field: attributes that hold the class; of each layer the first it has.
        line_width: ground metres lines are made wide; None refuses lines.
        outside: what lies outside polygons: "background" or "unknown".
        ignore: label values (numbers or texts) that mean unknown.
        overlap: pixels that neighbouring tiles share.
        split: "block" (square blocks of tiles), "scene", or a vector file whose polygons say train, val or test.
        assign: (scene name, split): scenes that go into one split as a whole.
        val, test: shares of the tiles, dealt out in blocks (or scenes).
        block: tiles along a side of a block, at most: halved until there are a dozen blocks.
        buffer: pixels kept between tiles of one split and blocks of another.
        min_valid: tiles with a smaller share of valid pixels are dropped.
        empty: share of the training tiles with nothing but background to keep.
        seed: decides which block goes where, and which empty tiles stay.
        skip_unusable: leave out, with a warning, scenes that cannot be used, instead of stopping.
    """

    scenes: tuple[str | Path, ...]
    labels: tuple[str | Path, ...] = ()
    size: int | None = None
    gsd: float | None = None
    crs: str | None = None
    bands: tuple[str, ...] = ()
    legend: Legend | None = None
    layout: str | None = None
    class_field: tuple[str, ...] = ()
    line_width: float | None = None
    outside: str | None = None
    ignore: tuple[int | str, ...] = ()
    overlap: int = 0
    split: str = "block"
    assign: tuple[tuple[str, str], ...] = ()
    val: float = 0.15
    test: float = 0.15
    block: int = 4
    buffer: int = 0
    min_valid: float = 0.5
    empty: float = 1.0
    seed: int = 0
    skip_unusable: bool = False

    @property
    def areas(self) -> str | None:
        """The vector file that says the splits, if one does."""
        return None if self.split in ("block", "scene") else self.split

    def to_json(self) -> dict[str, Any]:
        """The plan without files and classes, which a request names by what is in them."""
        return {
            "size": self.size or SIZE,
            "gsd": self.gsd,
            "crs": self.crs,
            "bands": list(self.bands),
            "layout": self.layout,
            "class_field": list(self.class_field),
            "line_width": self.line_width,
            "outside": self.outside,
            "ignore": [str(value) for value in self.ignore],
            "overlap": self.overlap,
            "split": self.split if self.areas is None else "areas",
            "assign": [list(entry) for entry in self.assign],
            "val": self.val,
            "test": self.test,
            "block": self.block,
            "buffer": self.buffer,
            "min_valid": self.min_valid,
            "empty": self.empty,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class TilingSummary:
    """What came out: tiles by split, shares of the classes among known pixels, what was left out and why.

    ``labelled_by_split`` counts tiles with any known pixel, ``repaired`` label features that were made valid,
    ``unusable`` those without an area.
    """

    path: Path
    tiles: int
    by_split: dict[str, int]
    labelled_by_split: dict[str, int]
    class_shares: dict[str, float]
    dropped: dict[str, int]
    repaired: int
    unusable: int
    nothing_to_do: bool

    @property
    def labelled(self) -> int:
        """Tiles with any known pixel."""
        return sum(self.labelled_by_split.values())


def refuse_nonsense(plan: TilingPlan) -> None:
    """Raise GeosynthError for numbers and words that cannot be meant."""
    size = plan.size or SIZE
    wrong = {
        "no scenes": not plan.scenes,
        f"--layout {plan.layout} is not known ({', '.join(LAYOUTS)})": plan.layout not in (None, *LAYOUTS),
        f"--size {plan.size} is not at least 1": plan.size is not None and plan.size < 1,
        f"--overlap {plan.overlap} is not between 0 and the tile size": not 0 <= plan.overlap < size,
        f"--outside {plan.outside} is neither background nor unknown": plan.outside
        not in (None, "background", "unknown"),
        f"--split {plan.split} is neither block nor scene nor a file": plan.areas is not None
        and not Path(split_layer(plan.areas)[0]).exists(),
        "--split FILE and --assign both say which split": plan.areas is not None and bool(plan.assign),
        "--assign puts a scene into two splits": len({name for name, _ in plan.assign}) < len(set(plan.assign)),
        "--assign names no split (train, val, test)": any(split not in SPLITS for _, split in plan.assign),
        f"--block {plan.block} is not at least 1": plan.block < 1,
        f"--buffer {plan.buffer} is negative": plan.buffer < 0,
        f"--gsd {plan.gsd} is not a positive length": plan.gsd is not None and not 0 < plan.gsd < math.inf,
        f"--line-width {plan.line_width} is not a positive length": plan.line_width is not None
        and not 0 < plan.line_width < math.inf,
        f"--min-valid {plan.min_valid} is not between 0 and 1": not 0 <= plan.min_valid <= 1,
        f"--empty {plan.empty} is not between 0 and 1": not 0 <= plan.empty <= 1,
        f"shares of {plan.val} and {plan.test} leave nothing to train on": not (
            plan.val >= 0 and plan.test >= 0 and plan.val + plan.test < 1
        ),
    }
    for what, on in wrong.items():
        if on:
            raise GeosynthError(what, remedy="see geosynth tile --help")
