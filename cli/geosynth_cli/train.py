"""geosynth train"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    batch_option,
    device_option,
    out_option,
    precision_option,
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
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="[default: 2e-3; half of it with --from]",
)
@click.option(
    "--size", type=click.IntRange(1), help="Side of what is learnt, pixels: larger tiles are cropped at random."
)
@click.option(
    "--labelled-share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of labelled tiles in a batch, where some have no label. [default: as in TILES, at least 0.5]",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Dropout inside the network, for small tilesets. [default: 0; with --from the model's]",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Stop after so many measurements of the held-out loss without a better one; the best weights are kept.",
)
@click.option(
    "--evaluate-every", type=click.IntRange(1), default=250, show_default=True, help="Steps between measurements."
)
@click.option("--samples-every", type=click.IntRange(1), help="Draw samples into OUT/samples every so many steps.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files into OUT/.geosynth/log/tensorboard.")
@precision_option
@click.option(
    "--compile", "compiled", is_flag=True, help="Let torch compile the network: slow start, faster steps on GPUs."
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="GPUs of this machine that share each batch, or on a CPU processes that share it and the cores.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that make batches ahead. [default: up to 8 for a GPU; for a CPU 0, or 1 that reads a large TILES]",
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
    size: int | None,
    labelled_share: float | None,
    dropout: float | None,
    patience: int | None,
    evaluate_every: int,
    samples_every: int | None,
    tensorboard: bool,
    precision: str,
    compiled: bool,
    devices: int,
    workers: int | None,
    checkpoint_every: int,
    seed: int,
    device: str,
    threads: int | None,
    rerun: Rerun,
) -> str:
    """Train a generator of image-mask pairs on the tileset TILES.

    One diffusion model learns images and masks together from the tiles of split=train; the loss on split=val is
    reported. Tiles whose masks are unknown count too: they teach it how places look. Metrics are kept in
    OUT/.geosynth/log/metrics.csv.
    """
    from geosynth.diffusion.train import TrainRequest, train_generator

    request = TrainRequest(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        start=start,
        recipe=None if recipe == "default" else recipe,
        size=size,
        dropout=dropout,
        labelled_share=labelled_share,
        evaluate_every=evaluate_every,
        patience=patience,
        samples_every=samples_every,
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
            compiled=compiled,
            devices=devices,
            workers=workers,
            tensorboard=tensorboard,
            checkpoint_every=checkpoint_every,
        )
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete"
    of_step = "" if summary.step == steps else f", weights of step {summary.step}"
    losses = [f"{side} {loss:.3f}" for side, loss in summary.held_out_loss._asdict().items() if loss is not None]
    held_out = f" (held-out loss: {', '.join(losses)})" if losses else ""
    return f"generator {summary.hash[:12]} in {out}{of_step}{held_out}"
