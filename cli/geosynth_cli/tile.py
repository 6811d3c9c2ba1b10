"""geosynth tile"""

from __future__ import annotations

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import out_option, rerun_options, scheduler_option, seed_option, shares_line, workers_option
from geosynth_cli.session import session


@click.command(
    "tile",
    epilog="Example: geosynth tile scenes/ --labels buildings.gpkg --class-field roof --outside background "
    "--gsd 0.3 --size 128 --out tiles",
)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE…", type=click.Path())
@click.option(
    "--labels",
    multiple=True,
    type=click.Path(),
    help="Polygons, lines or mask rasters; may be given again: later ones lie over earlier ones. FILE|layername=NAME"
    " takes one layer.",
)
@click.option("--layout", type=click.Choice(["loveda"]), help="SCENE is the folder of a label set as it is downloaded.")
@out_option("Tileset folder to write.")
@click.option("--size", type=click.IntRange(8), help="Side of a tile in pixels. [default: 128]")
@click.option("--gsd", type=click.FloatRange(0, min_open=True), help="Ground metres a pixel. [default: as the scenes]")
@click.option("--crs", metavar="EPSG:N|WKT", help="Warp the scenes to this CRS. [default: the first scene's]")
@click.option("--bands", metavar="BAND,…", help="Names or numbers of the bands to take, in order. [default: all]")
@click.option("--legend", metavar="FILE|NAME", help="Classes: a JSON file, or a ready-made legend by name.")
@click.option("--class-field", multiple=True, help="Attribute that holds the class; may be given again.")
@click.option("--line-width", type=click.FloatRange(0, min_open=True), help="Ground metres to make label lines wide.")
@click.option(
    "--outside",
    type=click.Choice(["background", "unknown"]),
    help="What lies outside the polygons. Required for polygons: sparse labels are not background.",
)
@click.option("--ignore", multiple=True, help="Label value (or '#rrggbb') that means unknown; may be given again.")
@click.option("--overlap", type=click.IntRange(0), default=0, show_default=True, help="Pixels.")
@click.option(
    "--split",
    metavar="block|scene|FILE",
    default="block",
    show_default=True,
    help="Split train, val and test by blocks of tiles, by whole scenes, or by the polygons of a vector file whose"
    " attribute 'split' says which.",
)
@click.option("--assign", multiple=True, metavar="SCENE=SPLIT", help="Put a scene into train, val or test.")
@click.option(
    "--val", type=click.FloatRange(0, 1), default=0.15, show_default=True, help="Share of tiles, in whole blocks."
)
@click.option(
    "--test", type=click.FloatRange(0, 1), default=0.15, show_default=True, help="Share of tiles, in whole blocks."
)
@click.option("--block", type=click.IntRange(1), default=4, show_default=True, help="Tiles a side of a block, at most.")
@click.option("--buffer", type=click.IntRange(0), default=0, show_default=True, help="Pixels between splits.")
@click.option(
    "--min-valid",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of a tile that must hold data.",
)
@click.option(
    "--empty",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the training tiles with nothing but background to keep.",
)
@click.option("--skip-unusable", is_flag=True, help="Leave out scenes that cannot be used, and say so.")
@click.option("--append", is_flag=True, help="Add the scenes to the tileset that is in --out.")
@seed_option
@workers_option
@scheduler_option
@rerun_options
@session
def command(
    events: Events,
    scenes: tuple[str, ...],
    labels: tuple[str, ...],
    out: str,
    size: int | None,
    gsd: float | None,
    crs: str | None,
    bands: str | None,
    legend: str | None,
    layout: str | None,
    class_field: tuple[str, ...],
    line_width: float | None,
    outside: str | None,
    ignore: tuple[str, ...],
    overlap: int,
    split: str,
    assign: tuple[str, ...],
    val: float,
    test: float,
    block: int,
    buffer: int,
    min_valid: float,
    empty: float,
    skip_unusable: bool,
    append: bool,
    seed: int,
    workers: int,
    scheduler: str | None,
    rerun: Rerun,
) -> str:
    """Cut the rasters SCENE… (files or folders) and their labels into a tileset.

    Labels called like a scene are its own; all others belong to the scenes they overlap. A scene without labels gives
    tiles whose masks are unknown: a generator learns from those too.
    """
    from pathlib import Path

    from geosynth.legend import ignored_values, load_legend
    from geosynth.tiling import TilingPlan, tile_scenes

    if append and rerun == "overwrite":
        raise click.UsageError("--append and --overwrite exclude each other")
    plan = TilingPlan(
        scenes=scenes,
        skip_unusable=skip_unusable,
        labels=labels,
        size=size,
        gsd=gsd,
        crs=crs,
        bands=tuple(filter(None, (bands or "").split(","))),
        legend=None if legend is None else load_legend(legend),
        layout=layout,
        class_field=class_field,
        line_width=line_width,
        outside=outside,
        ignore=ignore + (() if legend is None else ignored_values(legend)),
        overlap=overlap,
        split=split,
        assign=tuple(_assignment(entry) for entry in assign),
        val=val,
        test=test,
        block=block,
        buffer=buffer,
        min_valid=min_valid,
        empty=empty,
        seed=seed,
    )
    with events.task("tile"):
        summary = tile_scenes(plan, Path(out), events, rerun=rerun, append=append, workers=workers, scheduler=scheduler)
    head = f"nothing to do: {out} is complete" if summary.nothing_to_do else f"{summary.tiles} tiles in {out}"
    labelled = ", ".join(f"{name} {number}" for name, number in summary.labelled_by_split.items())
    lines = [
        head,
        "splits: " + ", ".join(f"{name} {number}" for name, number in summary.by_split.items()),
        f"labelled: {summary.labelled} of {summary.tiles}"
        + (f" ({labelled})" if 0 < summary.labelled < summary.tiles else ""),
        f"classes: {shares_line(summary.class_shares)}",
    ]
    dropped = [f"{number} {why}" for why, number in summary.dropped.items() if number]
    if dropped:
        lines.append("left out: " + ", ".join(dropped))
    if summary.repaired:
        lines.append(f"repaired polygons: {summary.repaired}")
    if summary.unusable:
        lines.append(f"label features without an area: {summary.unusable}")
    return "\n".join(lines)


def _assignment(entry: str) -> tuple[str, str]:
    scene, equals, split = entry.rpartition("=")
    if not equals or not scene or split not in ("train", "val", "test"):
        raise click.UsageError(f"--assign {entry}: write SCENE=train, SCENE=val or SCENE=test")
    return scene, split
