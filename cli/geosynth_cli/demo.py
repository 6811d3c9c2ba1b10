"""geosynth demo"""

from __future__ import annotations

import os

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import device_option, out_option, rerun_options
from geosynth_cli.session import session


@click.command("demo", epilog="Example: geosynth demo --out demo")
@out_option("Folder to write everything into.")
@click.option("--scene", "scenes", multiple=True, type=click.Path(), help="Your own raster; may be given again.")
@click.option("--labels", multiple=True, type=click.Path(), help="Polygons or mask rasters for --scene.")
@click.option("--gsd", type=click.FloatRange(0, min_open=True), help="Ground metres a pixel.")
@click.option("--legend", metavar="FILE|NAME", help="Classes.")
@click.option("--class-field", help="Attribute of the polygons that holds the class.")
@click.option("--outside", type=click.Choice(["background", "unknown"]), help="What lies outside the polygons.")
@click.option("--ignore", multiple=True, help="Label value that means unknown.")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True, help="Steps of fine-tuning.")
@device_option
@rerun_options
@session
def command(
    events: Events,
    out: str,
    scenes: tuple[str, ...],
    labels: tuple[str, ...],
    gsd: float | None,
    legend: str | None,
    class_field: str | None,
    outside: str | None,
    ignore: tuple[str, ...],
    steps: int,
    device: str,
    rerun: Rerun,
) -> str:
    """Run the whole flow: tiles, generator, synthetic pairs, segmenter, class raster, polygons, report.

    Without --scene on a made-up landscape; no network is needed. Finished steps are not done again.
    """
    if bool(scenes) != bool(labels):
        raise click.UsageError("give --scene and --labels together, or neither for a made-up scene")
    from pathlib import Path

    from geosynth.demo import SIZE, DemoSize, run_demo
    from geosynth.legend import ignored_values, load_legend
    from geosynth.tiling import TilingPlan

    plan = None
    if scenes:
        plan = TilingPlan(
            scenes=scenes,
            labels=labels,
            size=SIZE,
            gsd=gsd,
            legend=None if legend is None else load_legend(legend),
            class_field=() if class_field is None else (class_field,),
            outside=outside,
            ignore=ignore + (() if legend is None else ignored_values(legend)),
        )
    made = run_demo(
        Path(out),
        events,
        plan=plan,
        size=DemoSize(train_steps=steps),
        rerun="overwrite" if rerun == "overwrite" else "resume",
        workers=os.cpu_count() or 1,
        device=device,
    )
    width = max(len(what) for what, _ in made.entries)
    lines = [f"  {what:<{width}}  {where}" for what, where in made.entries]
    return "\n".join(["made:", *lines, f"open {made.entries[-1][1]} in a browser; drag the rest into QGIS"])
