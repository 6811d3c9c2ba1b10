"""geosynth segment"""

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

_SHARE = click.FloatRange(0, 1)


@click.command("segment", epilog="Example: geosynth segment tiles --synthetic synthetic --ratio 1 --out segmenter")
@click.argument("tiles", type=click.Path())
@click.option("--synthetic", multiple=True, type=click.Path(), help="Synthetic tileset; may be given again.")
@click.option(
    "--ratio",
    type=click.FloatRange(0, min_open=True),
    help="Synthetic pairs per labelled real training pair. [default: all there are]",
)
@click.option("--synthetic-only", is_flag=True, help="Train on the synthetic tiles alone.")
@click.option(
    "--pretrain",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    metavar="SHARE",
    help="First spend this share of the steps on the synthetic tiles alone, the rest on the real ones alone."
    " [default: both together]",
)
@out_option("Segmenter folder to write.")
@click.option(
    "--preset",
    type=click.Choice(["default", "satsynth"]),
    default="default",
    show_default=True,
    help="Architecture and encoder: unet with resnet18, or the SatSynth paper's fpn with resnet50.",
)
@click.option(
    "--arch",
    help="unet, unet++, fpn, deeplabv3+, pspnet, segformer, upernet, farseg or mask2former. [default: the preset's]",
)
@click.option(
    "--encoder",
    help="Encoder of segmentation-models-pytorch, or tu- and a timm model. [default: the preset's]",
)
@click.option(
    "--encoder-weights",
    type=click.Path(),
    metavar="FILE",
    help="Start the encoder from a local file: safetensors, or a state dict of torch. [default: random weights]",
)
@click.option(
    "--pretrained",
    type=click.Path(),
    metavar="FOLDER",
    help="Start from a Mask2Former that transformers saved: its backbone, its sizes, its weights (safetensors).",
)
@click.option(
    "--loss",
    help="ce (cross entropy), focal, dice or lovasz; several are added: ce+dice. [default: ce; mask2former's own]",
)
@click.option(
    "--class-weights",
    type=click.Choice(["none", "sqrt", "inverse"]),
    default="none",
    show_default=True,
    help="How much more rare classes count in ce and focal: by (the root of) one over their share.",
)
@click.option("--turns/--no-turns", default=True, show_default=True, help="Flip and turn tiles at random.")
@click.option("--colour", type=_SHARE, default=0.0, metavar="STRENGTH", help="Change colours at random, 0 to 1.")
@click.option(
    "--zoom",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SHARE",
    help="Enlarge crops by up to this share; 1: twice.",
)
@click.option(
    "--cutmix", type=_SHARE, default=0.0, metavar="SHARE", help="Share of tiles that get a rectangle of another tile."
)
@click.option(
    "--copy-paste",
    type=_SHARE,
    default=0.0,
    metavar="SHARE",
    help="Share of tiles that get objects of rare classes from other tiles.",
)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Optimiser steps.")
@batch_option
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True)
@click.option(
    "--validate-every",
    type=click.IntRange(1),
    help="Steps between scores on split=val. [default: an eighth of --steps, at least 50]",
)
@click.option(
    "--patience", type=click.IntRange(1), help="Stop after so many scores in a row without a better val mean IoU."
)
@seed_option
@device_option
@precision_option
@threads_option
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    synthetic: tuple[str, ...],
    ratio: float | None,
    synthetic_only: bool,
    pretrain: float,
    out: str,
    preset: str,
    arch: str | None,
    encoder: str | None,
    encoder_weights: str | None,
    pretrained: str | None,
    loss: str | None,
    class_weights: str,
    turns: bool,
    colour: float,
    zoom: float,
    cutmix: float,
    copy_paste: float,
    steps: int,
    batch: int,
    learning_rate: float,
    validate_every: int | None,
    patience: int | None,
    seed: int,
    device: str,
    precision: str,
    threads: int | None,
    rerun: Rerun,
) -> str:
    """Train a segmentation model on the training tiles of TILES, with synthetic ones mixed in.

    The weights with the best mean IoU on split=val are kept. Metrics are kept in OUT/.geosynth/log/metrics.csv.
    """
    if (ratio is not None or synthetic_only or pretrain) and not synthetic:
        raise click.UsageError("--ratio, --synthetic-only and --pretrain need --synthetic TILES")
    if synthetic_only and pretrain:
        raise click.UsageError("--synthetic-only and --pretrain exclude each other")
    from pathlib import Path

    from geosynth.segmentation.mask2former import CHECKPOINT, MASK2FORMER
    from geosynth.segmentation.networks import PRESETS, Preset
    from geosynth.segmentation.training import SegmenterPlan, train_segmenter

    usual = PRESETS[preset] if pretrained is None else Preset(MASK2FORMER, CHECKPOINT)
    plan = SegmenterPlan(
        architecture=arch or usual.architecture,
        encoder=encoder or usual.encoder,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        ratio=ratio,
        pretrain=pretrain,
        loss=loss,
        class_weights=class_weights,  # type: ignore[arg-type]
        turns=turns,
        colour=colour,
        zoom=zoom,
        cutmix=cutmix,
        copy_paste=copy_paste,
        encoder_weights=encoder_weights,
        pretrained=pretrained,
        validate_every=validate_every,
        patience=patience,
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
            precision=precision,
            real=not synthetic_only,
        )
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete"
    score = "" if summary.mean_iou is None else f" (val mean IoU {summary.mean_iou:.3f})"
    return f"segmenter {summary.hash[:12]} in {out}{score}"
