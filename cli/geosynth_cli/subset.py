"""geosynth subset"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import out_option, rerun_options, seed_option, shares_line
from geosynth_cli.session import session


@click.command("subset", epilog="Example: geosynth subset tiles --labels 0.05 --seed 1 --out few")
@click.argument("tiles", type=click.Path())
@click.option(
    "--labels",
    required=True,
    metavar="SHARE|N",
    help="Labelled training tiles that stay labelled: a share (0.05 or 5%) or a number (40).",
)
@click.option(
    "--val-labels",
    type=click.FloatRange(0, 1),
    help="Share of val tiles that stay labelled. [default: as of training tiles]",
)
@click.option(
    "--block", type=click.IntRange(1), default=4, show_default=True, help="Tiles a side of a labelled area, at most."
)
@seed_option
@out_option("Tileset to write.")
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    labels: str,
    val_labels: float | None,
    block: int,
    seed: int,
    out: str,
    rerun: Rerun,
) -> str:
    """Write TILES as if only a part had been labelled: the other masks become unknown.

    Labels are kept by area, not by single tile, and a smaller subset lies within a larger one of the same seed. The
    test tiles stay as they are.
    """
    from pathlib import Path

    from geosynth.subset import SubsetPlan, amount, subset_tileset

    plan = SubsetPlan(amount(labels), seed=seed, block=block, val_labels=val_labels)
    with events.task("subset"):
        summary = subset_tileset(Path(tiles), plan, Path(out), events, rerun=rerun)
    head = f"nothing to do: {out} is complete" if summary.nothing_to_do else out
    (train, all_train), (val, all_val) = summary.train, summary.val
    return (
        f"{head}\nlabelled: {train} of {all_train} training tiles ({summary.areas} areas), {val} of {all_val} val tiles"
        f"\nclasses: {shares_line(summary.class_shares)}"
    )
