"""geosynth predict"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import device_option, out_option, rerun_options, scheduler_option, workers_option
from geosynth_cli.session import session


@click.command("predict", epilog="Example: geosynth predict segmenter scenes/ --confidence --out classes")
@click.argument("segmenter", type=click.Path())
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE…", type=click.Path())
@out_option("Folder to write one class raster a scene into.")
@click.option(
    "--window", type=click.IntRange(32), help="Pixels a side. [default: 256; with mask2former as its training tiles]"
)
@click.option("--overlap", type=click.IntRange(0), help="Pixels windows share. [default: a quarter of a window]")
@click.option("--confidence", is_flag=True, help="Write the probability of the chosen class, in percent, too.")
@click.option("--probabilities", is_flag=True, help="Write the probability of every class, a band each, too.")
@click.option(
    "--flips",
    type=click.Choice(["1", "4", "8"]),
    default="1",
    show_default=True,
    help="Predict each window in 4 flips or 8 flips and turns and take the mean: better, and as many times slower.",
)
@click.option("--resample", is_flag=True, help="Resample scenes whose pixel size does not fit the segmenter.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto is bf16 on a CUDA GPU, else 32 bits.",
)
@click.option("--batch", type=click.IntRange(1), help="Windows a forward pass. [default: 1 on a CPU, else 16]")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Windows side by side on a CPU. The files do not depend on it. [default: the cores, shared by --workers]",
)
@workers_option
@scheduler_option
@device_option
@rerun_options
@session
def command(
    events: Events,
    segmenter: str,
    scenes: tuple[str, ...],
    out: str,
    window: int | None,
    overlap: int | None,
    confidence: bool,
    probabilities: bool,
    flips: str,
    resample: bool,
    precision: str,
    batch: int | None,
    threads: int | None,
    workers: int,
    scheduler: str | None,
    device: str,
    rerun: Rerun,
) -> str:
    """Segment the rasters SCENE… (files, folders or patterns) with SEGMENTER.

    Writes one cloud-optimised class raster a scene, styled for QGIS. Scenes are streamed through overlapping windows,
    so their size does not matter. Nodata stays nodata.
    """
    from pathlib import Path

    from geosynth.segmentation.prediction import predict_scenes

    with events.task("predict"):
        written = predict_scenes(
            Path(segmenter),
            scenes,
            Path(out),
            events,
            window=window,
            overlap=overlap,
            confidence=confidence,
            probabilities=probabilities,
            flips=int(flips),
            resample=resample,
            precision=precision,
            batch=batch,
            threads=threads,
            workers=workers,
            scheduler=scheduler,
            device=device,
            rerun=rerun,
        )
    return "\n".join(str(path) for path in written)
