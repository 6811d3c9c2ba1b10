"""geosynth vectorize"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth_cli.options import scheduler_option, workers_option
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
@click.option(
    "--sieve",
    type=click.IntRange(0, 500),
    default=0,
    show_default=True,
    help="Give regions of fewer pixels than this to the class of a larger neighbour, the longest border first.",
)
@click.option(
    "--simplify",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Tolerance in CRS units; neighbours keep their common borders.",
)
@click.option(
    "--split-at",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Leave regions of more pixels cut where blocks meet, so that memory stays bounded. [default: none is cut]",
)
@click.option("--ignore", type=int, multiple=True, help="Value that means unknown; may be given again.")
@click.option("--drop", multiple=True, metavar="CLASS", help="Leave out a class; may be given again.")
@click.option("--overwrite", is_flag=True, help="Replace the file when it is there.")
@workers_option
@scheduler_option
@session
def command(
    events: Events,
    masks: tuple[str, ...],
    out: str,
    legend: str | None,
    min_area: float,
    sieve: int,
    simplify: float,
    split_at: int | None,
    ignore: tuple[int, ...],
    drop: tuple[str, ...],
    overwrite: bool,
    workers: int,
    scheduler: str | None,
) -> str:
    """Turn the class rasters MASK… into polygons with class names, areas and colours.

    Rasters whose pixels lie on one lattice are one mosaic: a region goes on from one to the next. A raster
    confidence/NAME.tif beside NAME.tif, as predict writes it, gives every polygon its mean confidence in percent.
    """
    from pathlib import Path

    from geosynth.legend import ignored_values, load_legend
    from geosynth.vectorize import vectorize

    with events.task("vectorize"):
        features = vectorize(
            [Path(mask) for mask in masks],
            Path(out),
            events,
            legend=None if legend is None else load_legend(legend),
            sieve=sieve,
            min_area=min_area,
            simplify=simplify,
            split_at=split_at,
            drop=drop,
            ignore=ignore + (() if legend is None else ignored_values(legend)),
            overwrite=overwrite,
            workers=workers,
            scheduler=scheduler,
        )
    return f"{features} polygons in {out}"
