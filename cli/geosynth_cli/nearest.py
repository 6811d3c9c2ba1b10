"""geosynth nearest"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth_cli.options import device_option
from geosynth_cli.session import session


@click.command("nearest", epilog="Example: geosynth nearest synthetic --of tiles")
@click.argument("tiles", type=click.Path())
@click.option("--of", required=True, type=click.Path(), help="The real tileset the generator was trained on.")
@click.option("--by", type=click.Path(), help="Segmenter whose features are compared. [default: small images]")
@click.option("--shown", type=click.IntRange(1), default=12, show_default=True, help="Pairs on the page.")
@device_option
@session
def command(events: Events, tiles: str, of: str, by: str | None, shown: int, device: str) -> str:
    """Find the real training tile nearest to each synthetic image of TILES: was it copied?

    Writes nearest.csv, nearest.json and the nearest pairs side by side, nearest.png, into TILES.
    """
    from geosynth.evaluation.nearest import find_nearest

    with events.task("nearest"):
        summary = find_nearest(tiles, of, events, by=by, shown=shown, device=device)
    lines = [f"nothing to do: {tiles} says so already"] if summary.nothing_to_do else []
    held_out = "" if summary.held_out_median is None else f" (held-out real tiles: {summary.held_out_median:.3f})"
    lines.append(f"median distance to the nearest training tile: {summary.median:.3f}{held_out}")
    if summary.suspect is not None:
        lines.append(f"suspiciously near: {summary.suspect} of {summary.tiles}; about 1 in 100 is normal")
    lines += [f"{made}  {real}  {distance:.3f}" for made, real, distance in summary.most[:5]]
    return "\n".join([*lines, f"{tiles}/nearest.csv", f"{tiles}/nearest.png"])
