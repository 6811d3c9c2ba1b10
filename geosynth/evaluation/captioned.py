"""Pages of pairs that can be told apart: each with its id, or beside the real tile it is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from geosynth.errors import OutputError
from geosynth.evaluation.contact import GUTTER, INK, PALE, PAPER, choose, font, panels, png, stretch_of
from geosynth.events import Events
from geosynth.folders import write_whole
from geosynth.tileset import Tile, Tileset

_MARGIN, _CAPTION = 24, 20


@dataclass(frozen=True)
class Captioned:
    """Tiles drawn side by side, with a line under each."""

    tiles: tuple[tuple[Tileset, Tile, str], ...]


def captioned_sheet(entries: Sequence[Captioned], title: str, note: str, *, columns: int = 4, cell: int = 128) -> bytes:
    """A titled page of pairs (image beside mask) with a caption under each, PNG.

    Brightness is stretched as that of the first entry's last tileset, so that what lies side by side compares.

    Raises:
        TilesetError: a tile cannot be read.
    """
    heading, small, tiny = font(22, bold=True), font(14), font(11)
    wide = 2 * cell + GUTTER
    width = max(len(entry.tiles) for entry in entries) * (wide + 3 * GUTTER) + 6 * GUTTER
    columns = min(columns, len(entries))
    step = cell + _CAPTION + 3 * GUTTER
    top = _MARGIN + 34 + 30
    size = (columns * width + 2 * _MARGIN, top + -(-len(entries) // columns) * step + _MARGIN)
    needed = int(max(heading.getlength(title), small.getlength(note))) + 2 * _MARGIN
    page = Image.new("RGB", (max(size[0], needed), size[1]), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), title, INK, heading)
    draw.text((_MARGIN, _MARGIN + 34), note, PALE, small)
    stretch = stretch_of(entries[0].tiles[-1][0])
    for position, entry in enumerate(entries):
        row, col = divmod(position, columns)
        for place, (tileset, tile, caption) in enumerate(entry.tiles):
            x, y = _MARGIN + col * width + place * (wide + 3 * GUTTER), top + row * step
            for part, image in enumerate(panels(tileset, tile, stretch, cell, "pair")):
                page.paste(image, (x + part * (cell + GUTTER), y))
            draw.text((x, y + cell + 3), caption, INK, tiny)
    return png(page)


def review_sheet(tileset: Tileset, target: Path, count: int, seed: int, events: Events) -> Path | None:
    """Draw up to ``count`` pairs that nobody has seen, with their ids; None (nothing is drawn) where all were seen.

    Raises:
        TilesetError: a tile cannot be read.
        OutputError: the page cannot be written.
    """
    unseen = [tile for tile in tileset.tiles if tile.review == "unseen" and tile.filter != "rejected"]
    if not unseen:
        return None
    shown = choose(unseen, count, seed)
    entries = [Captioned(((tileset, tile, tile.id),)) for tile in shown]
    note = f"{len(shown)} of {len(unseen)} · reject with: geosynth review {tileset.path.resolve().name} --reject ID"
    write_beside(target, captioned_sheet(entries, "Pairs to review", note))
    events.artifact(target, "contact sheet")
    return target


def write_beside(target: Path, content: bytes) -> None:
    """Write a file whole or not at all where there is no output folder. Raises OutputError."""
    if not target.parent.is_dir():
        raise OutputError("no such folder", where=target.parent, remedy="make it, or choose another place")
    write_whole(target, content, target.parent)
