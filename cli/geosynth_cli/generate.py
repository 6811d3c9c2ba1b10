"""geosynth generate"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    device_option,
    out_option,
    precision_option,
    rerun_options,
    scheduler_option,
    seed_option,
    shares_line,
)
from geosynth_cli.session import session


def _size(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """``4096x2048`` as (width, height)."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)\s*[x×]\s*([1-9]\d*)", text.strip(), re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"'{text}' is no WIDTHxHEIGHT in pixels, for example 4096x4096")
    return int(found[1]), int(found[2])


_JUDGED = (
    "count", "ratio", "of", "masks_from", "images_from", "size", "whole", "overlap", "class_field", "line_width",
    "outside", "ignore", "legend", "bands", "want", "balance", "scheduler",
)  # fmt: skip


def _refuse_misuse(
    count: int | None,
    ratio: float | None,
    of: str | None,
    masks_from: tuple[str, ...],
    images_from: tuple[str, ...],
    size: tuple[int, int] | None,
    whole: bool,
    overlap: int | None,
    class_field: tuple[str, ...],
    line_width: float | None,
    outside: str | None,
    ignore: tuple[str, ...],
    legend: str | None,
    bands: str | None,
    want: str,
    balance: bool,
    scheduler: str | None,
) -> None:
    """Raise UsageError for options that do not go together."""
    scene = whole or size is not None
    if scene and (count is not None or ratio is not None or of or images_from or want or balance or scheduler):
        raise click.UsageError(
            "--count, --ratio, --of, --images-from, --want, --balance and --scheduler are for tiles, not for a scene"
        )
    if whole and not masks_from:
        raise click.UsageError("--whole paints a map: give --masks-from, or --size for a new scene")
    if overlap is not None and not scene:
        raise click.UsageError("--overlap is for a scene: give --size or --whole")
    if (ratio is None) != (of is None) or (count is not None and ratio is not None):
        raise click.UsageError("give --count N, or --ratio R with --of TILES")
    if not scene and count is None and ratio is None and not masks_from and not images_from:
        raise click.UsageError("give --count N, or --ratio R with --of TILES, or --masks-from or --images-from")
    if masks_from and images_from:
        raise click.UsageError("give --masks-from or --images-from, not both")
    about_masks = class_field or line_width is not None or outside is not None or ignore or legend is not None
    if (about_masks and not masks_from) or (bands is not None and not images_from):
        raise click.UsageError(
            "--class-field, --line-width, --outside, --ignore and --legend are about --masks-from, --bands is about"
            " --images-from"
        )


@click.command("generate", epilog="Example: geosynth generate generator --ratio 2 --of tiles --out synthetic")
@click.argument("model", metavar="MODEL|base", type=click.Path())
@out_option("Synthetic tileset folder to write.")
@click.option(
    "--count",
    type=click.IntRange(1),
    help="Number of pairs. [default: one for each tile of --masks-from or --images-from]",
)
@click.option("--ratio", type=click.FloatRange(0, min_open=True), help="Pairs per labelled real training pair of --of.")
@click.option("--of", type=click.Path(), help="Tileset that --ratio counts.")
@click.option(
    "--masks-from",
    multiple=True,
    type=click.Path(),
    help="Make images for these masks: a tileset, mask rasters, or polygons (FILE|layername=NAME takes one layer)."
    " Files may be given again: polygons given later lie over earlier ones.",
)
@click.option(
    "--images-from",
    multiple=True,
    type=click.Path(),
    help="Make masks for these images: a tileset, or rasters; may be given again.",
)
@click.option(
    "--size", metavar="WIDTHxHEIGHT", callback=_size, help="Make one seamless scene of this size instead of tiles."
)
@click.option("--whole", is_flag=True, help="Paint the map of --masks-from as one seamless scene instead of tiles.")
@click.option(
    "--overlap",
    type=click.IntRange(0),
    help="Pixels that the windows a scene is made in share. [default: an eighth of a tile]",
)
@click.option("--class-field", multiple=True, help="Attribute that holds the class of polygons; may be given again.")
@click.option("--line-width", type=click.FloatRange(0, min_open=True), help="Ground metres to make lines wide.")
@click.option(
    "--outside",
    metavar="CLASS|unknown",
    help="What lies outside the polygons: a class of the generator, or unknown. Required for polygons.",
)
@click.option("--ignore", multiple=True, help="Label value (or '#rrggbb') that means unknown; may be given again.")
@click.option(
    "--legend",
    metavar="FILE|NAME",
    help="What the values of the masks are called. [default: the generator's names, ids and colours]",
)
@click.option("--bands", metavar="BAND,…", help="Bands of the rasters, in the generator's order. [default: by name]")
@click.option(
    "--want",
    metavar="CLASS=SHARE,…",
    default="",
    help="Shares of pixels that classes are to have, as in car=0.02: masks are chosen so that they come out.",
)
@click.option("--balance", is_flag=True, help="Equal shares for the classes that --want does not name.")
@click.option(
    "--sieve",
    type=click.IntRange(0, 100),
    default=4,
    show_default=True,
    help="Connected areas of fewer pixels than this, in masks that are drawn, take the class around them; 0 keeps all."
    " Given masks stay as they are.",
)
@click.option("--sampler", metavar="NAME", help="How noise becomes data. [default: what suits the generator]")
@click.option("--steps", type=click.IntRange(1), help="Network evaluations a pair. [default: what the sampler needs]")
@click.option(
    "--guidance",
    type=click.FloatRange(0),
    help="Above 1: image and mask follow each other more strictly, at three times the cost, or twice where one side is"
    " given. [default: 1.5 for new pairs, else 1]",
)
@click.option(
    "--prompt",
    metavar="TEXT",
    help="[SD] Template of prompts, with {kind}, {classes}, {ground} and {style} in it. [default: that of the training]"
    " Options marked [SD] are for generators of recipe stable-diffusion.",
)
@click.option("--style", metavar="TEXT", help="[SD] Fills {style}. [default: that of the training]")
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    help="[SD] Fineness: ground a pixel covers, as a multiple of what was learnt. 2 draws everything half as large.",
)
@click.option("--gsd", type=click.FloatRange(0, min_open=True), help="[SD] The same in ground metres of a pixel.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    help="[SD] With --masks-from TILES: variations of its own images, changed by so much.",
)
@click.option("--tile", type=click.IntRange(1), help="[SD] Side of the tiles, pixels. [default: as learnt]")
@click.option("--pretrained", metavar="FOLDER|ID", help="[SD] Where the pretrained model is, if it has moved.")
@click.option("--batch", "block", type=click.IntRange(1), default=8, show_default=True, help="Pairs a unit of work.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    help="Local worker processes. The files do not depend on it. [default: one a core; one on a GPU]",
)
@seed_option
@device_option
@precision_option
@scheduler_option
@rerun_options
@session
def command(
    events: Events,
    model: str,
    out: str,
    count: int | None,
    ratio: float | None,
    of: str | None,
    masks_from: tuple[str, ...],
    images_from: tuple[str, ...],
    size: tuple[int, int] | None,
    whole: bool,
    overlap: int | None,
    class_field: tuple[str, ...],
    line_width: float | None,
    outside: str | None,
    ignore: tuple[str, ...],
    legend: str | None,
    bands: str | None,
    want: str,
    balance: bool,
    sieve: int,
    sampler: str | None,
    steps: int | None,
    guidance: float | None,
    prompt: str | None,
    style: str | None,
    scale: float | None,
    gsd: float | None,
    strength: float | None,
    tile: int | None,
    pretrained: str | None,
    block: int,
    workers: int | None,
    seed: int,
    device: str,
    precision: str,
    scheduler: str | None,
    rerun: Rerun,
) -> str:
    """Write synthetic image-mask pairs made by MODEL as a tileset, or one seamless scene.

    Without --masks-from or --images-from both sides are new and lie in a made-up place. With them, one side is given
    and the other is made for it, where it lies; a mask, map or scene of any size is cut into tiles of MODEL's size.
    With --size, or --whole for a given mask or map, there is one image and one mask instead of tiles.
    """
    scene = whole or size is not None
    _refuse_misuse(**{name: value for name, value in click.get_current_context().params.items() if name in _JUDGED})
    from geosynth.descriptions import is_stable_diffusion

    manner: dict[str, Any] = {
        "prompt": prompt,
        "style": style,
        "scale": scale,
        "gsd": gsd,
        "strength": strength,
        "tile": tile,
        "pretrained": pretrained,
    }
    drawn = is_stable_diffusion(Path(model))
    if not drawn and any(value is not None for value in manner.values()):
        raise click.UsageError(
            f"options marked [SD] are for generators of recipe stable-diffusion, and {model} is none"
        )
    from geosynth.diffusion.generate import GenerateRequest, Reading, count_for_ratio, generate
    from geosynth.legend import ignored_values, load_legend

    if ratio is not None and of is not None:
        count = count_for_ratio(ratio, of)
    reading = Reading(
        class_field=class_field,
        line_width=line_width,
        outside=outside,
        ignore=ignore + (() if legend is None else ignored_values(legend)),
        legend=None if legend is None else load_legend(legend),
        bands=tuple(filter(None, (bands or "").split(","))),
    )
    if scene:
        from geosynth.diffusion.wholescene import SceneRequest, generate_scene

        wanted = SceneRequest(
            height=None if size is None else size[1],
            width=None if size is None else size[0],
            seed=seed,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            overlap=overlap,
            batch=block,
            masks_from=masks_from,
            reading=reading,
            sieve=sieve,
        )
        with events.task("generate"):
            if drawn:
                from geosynth.pretrained.request import Manner
                from geosynth.pretrained.scene import paint_scene

                made = paint_scene(
                    model, wanted, Manner(**manner), out, events, rerun=rerun, device=device, precision=precision
                )
            else:
                made = generate_scene(
                    model, wanted, out, events, rerun=rerun, workers=workers, device=device, precision=precision
                )
        if made.nothing_to_do:
            return f"nothing to do: {out} is complete ({made.width} x {made.height} pixels)"
        return f"{made.width} x {made.height} pixels in {out}\nclasses: {shares_line(made.class_shares)}"
    request = GenerateRequest(
        count=count,
        seed=seed,
        steps=steps,
        guidance=guidance,
        block=block,
        sampler=sampler,
        masks_from=masks_from,
        images_from=images_from,
        want=want,
        balance=balance,
        reading=reading,
        sieve=sieve,
    )
    if drawn:
        from geosynth.pretrained.generate import generate_painted
        from geosynth.pretrained.request import Manner

        make = partial(generate_painted, model, request, Manner(**manner))
    else:
        make = partial(generate, model, request)
    with events.task("generate"):
        summary = make(
            out,
            events,
            rerun=rerun,
            workers=workers,
            scheduler=scheduler,
            device=device,
            precision=precision,
        )
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete ({summary.pairs} pairs)"
    lines = [f"{summary.pairs} pairs in {out}", f"classes: {shares_line(summary.class_shares)}"]
    if summary.wanted:
        lines.append(f"wanted: {shares_line(summary.wanted)}")
    return "\n".join(lines)
