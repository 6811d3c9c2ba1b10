"""geosynth train"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    batch_option,
    device_option,
    out_option,
    rerun_options,
    seed_option,
    threads_option,
)
from geosynth_cli.session import session


@click.command("train", epilog="Example: geosynth train tiles --from base --steps 1500 --out generator")
@click.argument("tiles", type=click.Path())
@out_option("Generator folder to write.")
@click.option("--from", "start", metavar="MODEL|base", help="Start from a generator; base ships with geosynth.")
@click.option(
    "--recipe",
    type=click.Choice(["default", "flow", "v", "satsynth"]),
    default="default",
    show_default=True,
    help="Objective: flow is the default; satsynth is the paper's, for comparison.",
)
@click.option("--steps", type=click.IntRange(1), default=4000, show_default=True, help="Optimiser steps.")
@batch_option
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), help="[default: 4e-4; half of it with --from]"
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 where the device is fast at it.",
)
@click.option("--checkpoint-every", type=click.IntRange(1), default=500, show_default=True, help="Steps.")
@seed_option
@device_option
@threads_option
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    out: str,
    start: str | None,
    recipe: str,
    steps: int,
    batch: int,
    learning_rate: float | None,
    precision: str,
    checkpoint_every: int,
    seed: int,
    device: str,
    threads: int | None,
    rerun: Rerun,
) -> str:
    """Train a generator of image-mask pairs on the tileset TILES.

    One diffusion model learns images and masks together from the tiles of split=train; the loss on split=val is
    reported. Tiles whose masks are unknown count too: they teach it how places look.
    """
    from geosynth.diffusion.train import TrainRequest, train_generator

    request = TrainRequest(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        start=start,
        recipe=None if recipe == "default" else recipe,
    )
    with events.task("train"):
        summary = train_generator(
            tiles,
            request,
            out,
            events,
            rerun=rerun,
            device=device,
            threads=threads,
            precision=precision,
            checkpoint_every=checkpoint_every,
        )
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete"
    losses = summary.held_out_loss
    held_out = "" if losses is None else f" (held-out loss: image {losses[0]:.3f}, mask {losses[1]:.3f})"
    return f"generator {summary.hash[:12]} in {out}{held_out}"
