"""geosynth segment"""

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


@click.command("segment", epilog="Example: geosynth segment tiles --synthetic synthetic --ratio 1 --out segmenter")
@click.argument("tiles", type=click.Path())
@click.option("--synthetic", multiple=True, type=click.Path(), help="Synthetic tileset; may be given again.")
@click.option(
    "--ratio",
    type=click.FloatRange(0, min_open=True),
    help="Synthetic pairs per labelled real training pair. [default: all there are]",
)
@click.option("--synthetic-only", is_flag=True, help="Train on the synthetic tiles alone.")
@out_option("Segmenter folder to write.")
@click.option("--arch", default="unet", show_default=True, help="Architecture of segmentation-models-pytorch.")
@click.option("--encoder", default="resnet18", show_default=True, help="Encoder of segmentation-models-pytorch.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Optimiser steps.")
@batch_option
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True)
@seed_option
@device_option
@threads_option
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    synthetic: tuple[str, ...],
    ratio: float | None,
    synthetic_only: bool,
    out: str,
    arch: str,
    encoder: str,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    device: str,
    threads: int | None,
    rerun: Rerun,
) -> str:
    """Train a segmentation model on the training tiles of TILES, with synthetic ones mixed in.

    The weights with the best macro mean IoU on split=val are kept.
    """
    if (ratio is not None or synthetic_only) and not synthetic:
        raise click.UsageError("--ratio and --synthetic-only need --synthetic TILES")
    from pathlib import Path

    from geosynth.segmentation.training import SegmenterPlan, train_segmenter

    plan = SegmenterPlan(
        architecture=arch,
        encoder=encoder,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        ratio=ratio,
    )
    with events.task("segment"):
        summary = train_segmenter(
            Path(tiles),
            [Path(folder) for folder in synthetic],
            plan,
            Path(out),
            events,
            rerun=rerun,
            threads=threads,
            device=device,
            real=not synthetic_only,
        )
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete"
    score = "" if summary.mean_iou is None else f" (val mean IoU {summary.mean_iou:.3f})"
    return f"segmenter {summary.hash[:12]} in {out}{score}"
