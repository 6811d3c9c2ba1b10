"""geosynth predict"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import device_option, out_option, rerun_options
from geosynth_cli.session import session


@click.command("predict", epilog="Example: geosynth predict segmenter scenes/*.tif --out classes")
@click.argument("segmenter", type=click.Path())
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE…", type=click.Path())
@out_option("Folder to write one class raster a scene into.")
@click.option("--window", type=click.IntRange(32), default=256, show_default=True, help="Pixels a side.")
@click.option("--overlap", type=click.IntRange(0), default=64, show_default=True, help="Pixels.")
@click.option("--confidence", is_flag=True, help="Write a confidence raster each, in a folder of their own.")
@click.option("--resample", is_flag=True, help="Resample scenes whose pixel size does not fit the segmenter.")
@device_option
@rerun_options
@session
def command(
    events: Events,
    segmenter: str,
    scenes: tuple[str, ...],
    out: str,
    window: int,
    overlap: int,
    confidence: bool,
    resample: bool,
    device: str,
    rerun: Rerun,
) -> str:
    """Segment the rasters SCENE… with SEGMENTER: one cloud-optimised class raster each, styled for QGIS.

    Scenes are streamed through overlapping windows, so their size does not matter. Nodata stays nodata.
    """
    from pathlib import Path

    from geosynth.segmentation.prediction import predict_scenes

    with events.task("predict"):
        written = predict_scenes(
            Path(segmenter),
            [Path(scene) for scene in scenes],
            Path(out),
            events,
            window=window,
            overlap=overlap,
            confidence=confidence,
            rerun=rerun,
            resample=resample,
            device=device,
        )
    return "\n".join(str(path) for path in written)
