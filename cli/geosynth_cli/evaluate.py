"""geosynth evaluate"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    batch_option,
    device_option,
    out_option,
    rerun_options,
    scheduler_option,
    threads_option,
    workers_option,
)
from geosynth_cli.session import session


@click.command("evaluate", epilog="Example: geosynth evaluate tiles --arm synth=synthetic --budget 2h --out report")
@click.argument("tiles", nargs=-1, type=click.Path())
@click.option(
    "--arm",
    "given",
    multiple=True,
    metavar="NAME=TILES[,TILES…]",
    help="Synthetic tiles to judge; several tilesets of one name come from differently seeded generators.",
)
@click.option(
    "--generator",
    "generators",
    multiple=True,
    metavar="NAME=MODEL[,MODEL…]",
    help="Generator to test by itself: which mask it gives for a test image.",
)
@click.option(
    "--arms",
    "words",
    default="default",
    show_default=True,
    metavar="WORD,WORD…",
    help="default, all, or some of: real, mixed, synthetic, duplicated, cutmix, filtered, filtered3, copypaste,"
    " pretrained, selftraining, answers.",
)
@click.option(
    "--ratios",
    default="",
    metavar="R,R…",
    help="Run 'mixed' at these ratios: synthetic pairs per labelled real pair. [default: 1]",
)
@out_option("Report folder to write.")
@click.option(
    "--seeds",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Runs of real and of the headline arm; 0 compares the tiles only.",
)
@click.option(
    "--other-seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each other arm, at most."
)
@click.option(
    "--budget", metavar="TIME", help="Plan the runs into this time, for example 30min or 2h; say what is left out."
)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Optimiser steps, equal in all.")
@click.option("--arch", default="unet", show_default=True, help="Architecture.")
@click.option("--encoder", default="resnet18", show_default=True, help="Encoder.")
@click.option(
    "--features",
    metavar="[ENCODER=]FILE",
    help="Weights of an encoder (default: of --encoder) that describes images for KID and the like. [default: the"
    " segmenter of the arm real; nothing is downloaded]",
)
@batch_option
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True)
@device_option
@threads_option
@workers_option
@scheduler_option
@click.option("--self-test", "test", is_flag=True, help="Test the method where the answer is known; needs no TILES.")
@rerun_options
@session
def command(
    events: Events,
    tiles: tuple[str, ...],
    given: tuple[str, ...],
    generators: tuple[str, ...],
    words: str,
    ratios: str,
    out: str,
    seeds: int,
    other_seeds: int,
    budget: str | None,
    steps: int,
    arch: str,
    encoder: str,
    features: str | None,
    batch: int,
    learning_rate: float,
    device: str,
    threads: int | None,
    workers: int,
    scheduler: str | None,
    test: bool,
    rerun: Rerun,
) -> str:
    """Train on real, on synthetic and on both tiles of TILES and compare on its split=test.

    Every arm gets the same number of steps and the same seeds. An arm whose generator saw test tiles, or more labels
    than TILES has, is refused. TILES may be several label subsets of one tileset.
    """
    asked = _listed(words)
    if test and (tiles or given or generators or features):
        raise click.UsageError("--self-test makes its own tiles")
    if not test and not tiles:
        raise click.UsageError("Missing argument 'TILES…'.")
    if not test and not given and not generators and {"default", "all"} & set(asked):
        raise click.UsageError("Missing option '--arm': say which synthetic tiles to judge, or which --arms to run")
    from pathlib import Path

    where: dict[str, Any] = {"threads": threads, "device": device, "workers": workers, "scheduler": scheduler}
    if test:
        from geosynth.evaluation.selftest import self_test

        return self_test(Path(out), events, rerun=rerun, **where).in_words()
    from geosynth.evaluation.arms import choose_arms
    from geosynth.evaluation.experiment import ExperimentPlan
    from geosynth.evaluation.planning import parse_duration
    from geosynth.evaluation.study import evaluate

    plan = ExperimentPlan(
        arms=choose_arms(_named("--arm", given), asked, _numbers(ratios), _named("--generator", generators)),
        seeds=tuple(range(seeds)),
        steps=steps,
        architecture=arch,
        encoder=encoder,
        batch=batch,
        learning_rate=learning_rate,
        other_seeds=other_seeds,
    )
    with events.task("evaluate"):
        verdict = evaluate(
            [Path(folder) for folder in tiles],
            plan,
            Path(out),
            events,
            rerun=rerun,
            budget=None if budget is None else parse_duration(budget),
            features=features,
            **where,
        )
    return f"{verdict}\nreport: {Path(out) / 'report.html'}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in _listed(text)]
    except ValueError:
        numbers = [0.0]
    if any(not 0 < number < float("inf") for number in numbers):
        raise click.UsageError(f"--ratios {text}: write numbers above 0, for example 0.5,1,2")
    return numbers


def _named(option: str, entries: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        name, equals, folders = entry.partition("=")
        if not equals or not name or not _listed(folders):
            raise click.UsageError(f"{option} {entry}: write NAME=FOLDER, or NAME=FOLDER,FOLDER")
        found.setdefault(name, []).extend(_listed(folders))
    return found
