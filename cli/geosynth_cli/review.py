"""geosynth review"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth_cli.options import seed_option
from geosynth_cli.session import session


@click.command("review", epilog="Example: geosynth review synthetic --reject s0_0000012 --reject 's0_00001*'")
@click.argument("tiles", type=click.Path())
@click.option("--accept", multiple=True, metavar="ID", help="Tile, or pattern with *; may be given again.")
@click.option("--reject", multiple=True, metavar="ID", help="The same: leave it out of all training.")
@click.option("--unseen", multiple=True, metavar="ID", help="The same: take the verdict back.")
@click.option(
    "--from", "table", type=click.Path(), help="Verdicts from a CSV or GeoPackage with columns id and review."
)
@click.option("--undo", is_flag=True, help="Take all verdicts back.")
@click.option("--sheet", type=click.Path(), help="Where to draw pairs. [default: TILES/review.png]")
@click.option("--count", type=click.IntRange(1), default=24, show_default=True, help="Pairs on the sheet.")
@seed_option
@session
def command(
    events: Events,
    tiles: str,
    accept: tuple[str, ...],
    reject: tuple[str, ...],
    unseen: tuple[str, ...],
    table: str | None,
    undo: bool,
    sheet: str | None,
    count: int,
    seed: int,
) -> str:
    """Accept or reject pairs of TILES; rejected ones are left out of all training.

    Without verdicts, draws some unseen pairs with their ids on one page; another --seed draws others.
    """
    given = [
        name for name, used in (("verdicts", accept + reject + unseen), ("--from", table), ("--undo", undo)) if used
    ]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other")
    from pathlib import Path

    from geosynth.review import Verdict, counts_line, matching, read_verdicts, set_verdicts
    from geosynth.tileset import Tileset

    tileset = Tileset(tiles)
    if not given:
        from geosynth.evaluation.captioned import review_sheet

        path = review_sheet(tileset, Path(sheet) if sheet else tileset.path / "review.png", count, seed, events)
        return counts_line(tileset) if path is None else f"{counts_line(tileset)}\n{path}"
    asked: dict[Verdict, list[str]] = {"accepted": list(accept), "rejected": list(reject), "unseen": list(unseen)}
    if table:
        asked = read_verdicts(table)
    if undo:
        asked = {"unseen": ["*"]}
    return counts_line(set_verdicts(tiles, matching(tileset, asked)))
