"""geosynth evaluate"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    batch_option,
    device_option,
    out_option,
    rerun_options,
    threads_option,
)
from geosynth_cli.session import session


@click.command("evaluate", epilog="Example: geosynth evaluate tiles --arm synth=synthetic --seeds 5 --out report")
@click.argument("tiles", type=click.Path())
@click.option("--arm", "arms", multiple=True, required=True, metavar="NAME=TILES", help="Synthetic tileset to judge.")
@out_option("Report folder to write.")
@click.option("--ratio", type=click.FloatRange(0, min_open=True), help="Synthetic pairs per labelled real pair.")
@click.option(
    "--seeds", type=click.IntRange(0), default=3, show_default=True, help="Runs an arm; 0 compares the tiles only."
)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Optimiser steps, equal in all.")
@click.option("--arch", default="unet", show_default=True, help="Architecture.")
@click.option("--encoder", default="resnet18", show_default=True, help="Encoder.")
@batch_option
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True)
@device_option
@threads_option
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    arms: tuple[str, ...],
    out: str,
    ratio: float | None,
    seeds: int,
    steps: int,
    arch: str,
    encoder: str,
    batch: int,
    learning_rate: float,
    device: str,
    threads: int | None,
    rerun: Rerun,
) -> str:
    """Train on real, on synthetic and on both tiles of TILES and compare on its split=test.

    Every arm gets the same number of steps and the same seeds. An arm whose generator saw test tiles is refused.
    """
    from pathlib import Path

    from geosynth.evaluation.experiment import ExperimentPlan, standard_arms
    from geosynth.evaluation.study import evaluate

    synthetic = dict(_arm(entry) for entry in arms)
    plan = ExperimentPlan(
        arms=standard_arms({name: Path(folder) for name, folder in synthetic.items()}, ratio),
        seeds=tuple(range(seeds)),
        steps=steps,
        architecture=arch,
        encoder=encoder,
        batch=batch,
        learning_rate=learning_rate,
    )
    with events.task("evaluate"):
        verdict = evaluate(Path(tiles), plan, Path(out), events, rerun=rerun, threads=threads, device=device)
    return f"{verdict}\nreport: {Path(out) / 'report.html'}"


def _arm(entry: str) -> tuple[str, str]:
    name, equals, folder = entry.partition("=")
    if not equals or not name or not folder:
        raise click.UsageError(f"--arm {entry}: write NAME=TILES")
    return name, folder
