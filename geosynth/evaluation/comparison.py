"""What the report says about one synthetic tileset beside the real one: pairs, class shares, copies."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from PIL import Image

from geosynth.evaluation.charts import distances_chart
from geosynth.evaluation.contact import PAPER, Stretch, choose, in_columns, mosaic, panels, png
from geosynth.evaluation.fidelity import CopyCheck, CopySearch, class_shares, presence, total_variation
from geosynth.evaluation.wording import percent
from geosynth.events import Events
from geosynth.tileset import Tile, Tileset

SHOWN, NEAREST = 12, 6
"""Pairs in each contact sheet; nearest neighbours shown."""

_CELL = 128


def compare(
    name: str, search: CopySearch, labelled: Tileset, other: Tileset, stretch: Stretch, events: Events
) -> dict[str, Any]:
    """What the page says about one synthetic tileset.

    ``search`` looks among all real tiles, ``labelled`` has the labels it may have been made from: of label subsets the
    one that its generator learnt.
    """
    real = search.real
    tiles = other.select(labelled=True) or other.select()
    check = search.check(other, events)
    checked = set() if check is None else {tile.id for tile in check.synthetic}
    drawn = choose([tile for tile in tiles if tile.id in checked] or tiles, SHOWN, 0)
    rows, shares_words, apart = _shares(name, labelled.select("train", labelled=True), tiles, real)
    share = None if check is None else check.share_nearer
    alike = (
        "class shares were not compared"
        if apart is None
        else f"its class shares differ by {percent(apart)} of the pixels"
    )
    near = (
        "copying could not be judged"
        if share is None
        else f"{percent(share)} of its images come suspiciously near a training tile (about 1\u00a0% is normal)"
    )
    return {
        "name": name,
        "sheet": data_uri(_beside(check, real, other, drawn, stretch)) if drawn else "",
        "note": f"{len(drawn)} of {len(tiles)}",
        "shares": rows,
        "shares_words": shares_words,
        "short": f"“{name}”: {alike}; {near}.",
        "copy_words": _copy_words(check, name),
        "copy_chart": _copy_chart(check, name),
        "nearest": [] if check is None else _nearest(check, real, other, stretch),
    }


def _shares(
    name: str, train: Sequence[Tile], tiles: Sequence[Tile], real: Tileset
) -> tuple[list[dict[str, Any]], str, float | None]:
    ours, theirs = class_shares(train), class_shares(tiles)
    if ours is None or theirs is None:
        return [], "", None
    apart = total_variation(ours, theirs)
    seen = presence(train, len(ours)), presence(tiles, len(ours))
    widest = max(float(ours.max()), float(theirs.max()))
    rows = [
        {
            "name": entry.name,
            "colour": entry.color,
            "real": percent(ours[k]),
            "made": percent(theirs[k]),
            "real_width": round(100 * ours[k] / widest, 2),
            "made_width": round(100 * theirs[k] / widest, 2),
            "real_tiles": percent(seen[0][k]),
            "made_tiles": percent(seen[1][k]),
        }
        for k, entry in enumerate(real.spec.legend.classes)
    ]
    words = (
        f"{percent(apart)} of the pixels of “{name}” would have to change class to give the shares of"
        " the real training tiles."
    )
    return rows, words, apart


def _copy_words(check: CopyCheck | None, name: str) -> str:
    if check is None:
        return f"“{name}” has no generated images, or there are no real training tiles: nothing to check."
    count = len(check.synthetic)
    if check.threshold is None or check.share_nearer is None:
        return (
            f"For {count:,} synthetic images the nearest real training tile was found, but there are no held-out real"
            " tiles to tell how near is too near. Look at the nearest ones below."
        )
    few = ""
    if len(check.held_out) < 100:
        few = f" With only {len(check.held_out)} held-out tiles the 1st percentile is little more than their minimum."
    return (
        f"{percent(check.share_nearer)} of {count:,} synthetic images are nearer to a training tile than the 1st"
        f" percentile ({check.threshold:.2f}) of {len(check.held_out):,} real {check.held_out_split} tiles, which are"
        f" no copies. About 1\u00a0% is what equally varied tiles would give; much more speaks for"
        f" copying or for too little variety.{few}"
    )


def _copy_chart(check: CopyCheck | None, name: str) -> str:
    if check is None:
        return ""
    rows = [(name, check.distances)]
    if len(check.held_out):
        rows.append((f"real {check.held_out_split} tiles", check.held_out))
    return distances_chart(rows, check.threshold)


def _beside(
    check: CopyCheck | None, real: Tileset, other: Tileset, drawn: Sequence[Tile], stretch: Stretch
) -> Image.Image:
    """Pairs, each with the real image that its own comes nearest to (blank where nothing was compared)."""
    found = () if check is None else zip(check.synthetic, check.nearest, strict=True)
    nearest = {made.id: there for made, there in found}
    blank = [Image.new("RGB", (_CELL, _CELL), PAPER)]

    def beside(tile: Tile) -> list[Image.Image]:
        there = nearest.get(tile.id)
        return blank if there is None else panels(real, there, stretch, _CELL, "image")

    rows = [[*panels(other, tile, stretch, _CELL, "pair"), *beside(tile)] for tile in drawn]
    return in_columns(rows, _CELL, columns=2)


def _nearest(check: CopyCheck, real: Tileset, other: Tileset, stretch: Stretch) -> list[dict[str, str]]:
    pairs = []
    for i in check.order[:NEAREST]:
        left = panels(other, check.synthetic[i], stretch, _CELL, "image")
        right = panels(real, check.nearest[i], stretch, _CELL, "image")
        both = in_columns([[*left, *right]], _CELL, columns=1)
        pairs.append({"image": data_uri(both), "distance": f"{check.distances[i]:.2f}"})
    return pairs


def sheet(tileset: Tileset, tiles: Sequence[Tile], stretch: Stretch) -> str:
    """A grid of pairs as a data URI; empty without tiles."""
    return data_uri(mosaic(tileset, tiles, stretch, columns=3)) if tiles else ""


def data_uri(image: Image.Image) -> str:
    """An image inside the page: a PNG in base64."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
