"""geosynth filter"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import device_option, rerun_options, scheduler_option, workers_option
from geosynth_cli.session import session


@click.command("filter", epilog="Example: geosynth filter synthetic --by segmenter --real tiles")
@click.argument("tiles", type=click.Path())
@click.option("--by", type=click.Path(), help="Segmenter trained on real tiles alone, or a generator.")
@click.option("--real", type=click.Path(), help="Real tileset: its val split says which losses are normal.")
@click.option(
    "--factor",
    type=click.FloatRange(0, min_open=True),
    default=1.25,
    show_default=True,
    help="A pixel is doubtful above this many times its class's mean loss on real pixels.",
)
@click.option(
    "--min-known",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Reject pairs of which less than this share of the known pixels is left.",
)
@click.option("--specks", type=click.IntRange(0), default=6, show_default=True, help="Clean regions of fewer pixels.")
@click.option("--draws", type=click.IntRange(1), default=4, show_default=True, help="Masks a generator is asked for.")
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="Its steps for each.")
@click.option("--undo", is_flag=True, help="Take the filtering of TILES back.")
@workers_option
@scheduler_option
@device_option
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    by: str | None,
    real: str | None,
    factor: float,
    min_known: float,
    specks: int,
    draws: int,
    steps: int,
    undo: bool,
    workers: int,
    scheduler: str | None,
    device: str,
    rerun: Rerun,
) -> str:
    """Make doubtful pixels of the synthetic masks of TILES unknown, and reject pairs with too little left.

    Changes TILES in place; --undo takes it back. The masks as they were made are kept.
    """
    if undo and (by or real):
        raise click.UsageError("--undo takes neither --by nor --real")
    if not undo and not (by and real):
        raise click.UsageError("give --by MODEL and --real TILES, or --undo")

    from geosynth.filtering.rule import FilterPlan
    from geosynth.filtering.run import filter_tileset, undo_filter

    with events.task("filter"):
        if by is None or real is None:
            undo_filter(tiles)
            return f"{tiles} is as it was before it was filtered"
        plan = FilterPlan(factor=factor, min_known=min_known, specks=specks, draws=draws, steps=steps)
        summary = filter_tileset(
            tiles, by, real, events, plan, rerun=rerun, device=device, workers=workers, scheduler=scheduler
        )
    width = max(len(entry.name) for entry in summary.classes)
    rows = [
        f"{entry.name:<{width}}  {entry.unknown / entry.pixels:6.1%} of {entry.pixels} pixels made unknown"
        for entry in summary.classes
        if entry.pixels
    ]
    head = [f"nothing to do: {tiles} is filtered so already"] if summary.nothing_to_do else []
    counts = f"pairs: {summary.kept} kept, {summary.cleaned} cleaned, {summary.rejected} rejected"
    return "\n".join([*head, counts, *rows])
