"""geosynth vectorize"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth_cli.session import session


@click.command("vectorize", epilog="Example: geosynth vectorize classes/*.tif --min-area 4 --out classes.gpkg")
@click.argument("masks", nargs=-1, required=True, metavar="MASK…", type=click.Path())
@click.option("--out", type=click.Path(), required=True, help="File to write: .gpkg, .parquet, .geojson or .shp.")
@click.option("--legend", metavar="FILE|NAME", help="Classes. [default: as named in the rasters]")
@click.option(
    "--min-area",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Leave out polygons smaller than this: ground square metres, or square CRS units without a place on Earth.",
)
@click.option("--simplify", type=click.FloatRange(0), default=0.0, show_default=True, help="Tolerance in CRS units.")
@click.option("--ignore", type=int, multiple=True, help="Value that means unknown; may be given again.")
@click.option("--drop", multiple=True, metavar="CLASS", help="Leave out a class; may be given again.")
@click.option("--overwrite", is_flag=True, help="Replace the file when it is there.")
@session
def command(
    events: Events,
    masks: tuple[str, ...],
    out: str,
    legend: str | None,
    min_area: float,
    simplify: float,
    ignore: tuple[int, ...],
    drop: tuple[str, ...],
    overwrite: bool,
) -> str:
    """Turn the class rasters MASK… into polygons with class names, areas and colours."""
    from pathlib import Path

    from geosynth.legend import ignored_values, load_legend
    from geosynth.vectorize import vectorize

    with events.task("vectorize"):
        features = vectorize(
            [Path(mask) for mask in masks],
            Path(out),
            events,
            legend=None if legend is None else load_legend(legend),
            min_area=min_area,
            simplify=simplify,
            drop=drop,
            ignore=ignore + (() if legend is None else ignored_values(legend)),
            overwrite=overwrite,
        )
    return f"{features} polygons in {out}"
