"""geosynth generate"""

from __future__ import annotations

import os

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    device_option,
    out_option,
    rerun_options,
    scheduler_option,
    seed_option,
    shares_line,
)
from geosynth_cli.session import session


@click.command("generate", epilog="Example: geosynth generate generator --ratio 2 --of tiles --out synthetic")
@click.argument("model", metavar="MODEL|base", type=click.Path())
@out_option("Synthetic tileset folder to write.")
@click.option("--count", type=click.IntRange(1), help="Number of pairs.")
@click.option("--ratio", type=click.FloatRange(0, min_open=True), help="Pairs per labelled real training pair of --of.")
@click.option("--of", type=click.Path(), help="Tileset that --ratio counts.")
@click.option("--masks-from", type=click.Path(), help="Tileset whose masks are given: make images for them.")
@click.option("--images-from", type=click.Path(), help="Tileset whose images are given: make masks for them.")
@click.option("--steps", type=click.IntRange(1), default=30, show_default=True, help="Network evaluations a pair.")
@click.option(
    "--guidance",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Above 1: follow what --masks-from or --images-from gives more strictly.",
)
@click.option("--batch", "block", type=click.IntRange(1), default=8, show_default=True, help="Pairs a unit of work.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    help="Local worker processes. The files do not depend on it. [default: one a core; one on a GPU]",
)
@seed_option
@device_option
@scheduler_option
@rerun_options
@session
def command(
    events: Events,
    model: str,
    out: str,
    count: int | None,
    ratio: float | None,
    of: str | None,
    masks_from: str | None,
    images_from: str | None,
    steps: int,
    guidance: float,
    block: int,
    workers: int | None,
    seed: int,
    device: str,
    scheduler: str | None,
    rerun: Rerun,
) -> str:
    """Write synthetic image-mask pairs made by MODEL as a tileset.

    Without --masks-from or --images-from both sides are new and lie in a made-up place. With them, one side is taken
    from a tileset's training tiles and the other is made for it, where the tile lies.
    """
    if (count is None) == (ratio is None) or (ratio is None) != (of is None):
        raise click.UsageError("give --count N, or --ratio R with --of TILES")
    if masks_from and images_from:
        raise click.UsageError("give --masks-from or --images-from, not both")
    from geosynth.devices import choose_device
    from geosynth.diffusion.generate import GenerateRequest, count_for_ratio, generate

    if ratio is not None and of is not None:
        count = count_for_ratio(ratio, of)
    assert count is not None
    where = choose_device(device)
    if workers is None:
        # A worker takes seconds to start: not worth it for a handful of pairs.
        workers = 1 if where != "cpu" or count <= 2 * block else os.cpu_count() or 1
    request = GenerateRequest(
        count=count,
        seed=seed,
        steps=steps,
        guidance=guidance,
        block=block,
        masks_from=masks_from,
        images_from=images_from,
    )
    with events.task("generate"):
        summary = generate(model, request, out, events, rerun=rerun, workers=workers, scheduler=scheduler, device=where)
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete ({summary.pairs} pairs)"
    return f"{summary.pairs} pairs in {out}\nclasses: {shares_line(summary.class_shares)}"
