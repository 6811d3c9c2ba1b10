"""A picture of real pairs beside synthetic ones, drawn alike and without favour.

    python benchmarks/sheet.py REAL SYNTHETIC [SYNTHETIC …] --out sheet.png

Tiles are drawn at random, the same ones for the same --seed; brightness is stretched as the real ones need it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from geosynth.evaluation.contact import GUTTER, INK, PAPER, Stretch, choose, font, mosaic, png, stretch_of
from geosynth.tileset import Tileset

Block = tuple[str, Tileset, Stretch]
"""Title, tiles, brightness."""


def page_of(
    blocks: Sequence[Block], *, across: int = 2, count: int = 24, seed: int = 0, cell: int = 80, scene: str = ""
) -> Image.Image:
    """Blocks of ``count`` pairs and a title, ``across`` of them side by side; of ``scene`` where it is there."""
    drawn = []
    for title, tileset, stretch in blocks:
        tiles = tileset.select("train", labelled=True) or tileset.select()
        tiles = tuple(tile for tile in tiles if tile.scene == scene) or tiles
        shown = choose(tiles, count, seed)
        drawn.append((title, mosaic(tileset, shown, stretch, columns=4, cell=cell)))
    wide, high = (max(block.size[axis] for _, block in drawn) for axis in (0, 1))
    gap, head = 12 * GUTTER, 28
    rows = -(-len(drawn) // across)
    page = Image.new("RGB", (across * (wide + gap) + gap, rows * (high + head + gap) + gap), PAPER)
    draw = ImageDraw.Draw(page)
    for position, (title, block) in enumerate(drawn):
        row, column = divmod(position, across)
        left, top = gap + column * (wide + gap), gap + row * (high + head + gap)
        draw.text((left, top), title, fill=INK, font=font(16, bold=True))
        page.paste(block, (left, top + head))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("synthetic", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--titles", nargs="*", default=[], help="of the synthetic ones, instead of folder names")
    parser.add_argument("--count", type=int, default=24, help="pairs of each kind")
    parser.add_argument("--cell", type=int, default=80, help="side of a drawn tile, pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scene", default="", help="draw real tiles of this scene only")
    given = parser.parse_args()
    real = Tileset(given.real)
    stretch = stretch_of(real)
    blocks: list[Block] = [("real", real, stretch)]
    for number, path in enumerate(given.synthetic):
        title = given.titles[number] if number < len(given.titles) else path.name
        blocks.append((title, Tileset(path), stretch))
    given.out.write_bytes(png(page_of(blocks, count=given.count, seed=given.seed, cell=given.cell, scene=given.scene)))


if __name__ == "__main__":
    main()
