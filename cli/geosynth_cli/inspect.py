"""geosynth inspect"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from geosynth.descriptions import UNFINISHED, is_stable_diffusion, kind_of
from geosynth.errors import GeosynthError
from geosynth.events import Events
from geosynth_cli.session import session


@click.command("inspect", epilog="Example: geosynth inspect tiles")
@click.argument("path", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for programs.")
@session
def command(events: Events, path: str, as_json: bool) -> str:
    """Say what PATH is: tileset, generator, segmenter, report, raster or an unfinished run, and what is in it."""
    facts = describe_path(path)
    if as_json:
        return json.dumps(facts, indent=1, ensure_ascii=False)
    width = max(len(key) for key in facts)
    return "\n".join(f"{key:<{width}}  {_show(value)}" for key, value in facts.items())


def describe_path(path: str) -> dict[str, Any]:
    """What is at ``path``, as JSON values in reading order.

    Raises:
        GeosynthError: nothing there, or nothing geosynth knows.
    """
    target = Path(path)
    if path == "base" and not target.exists():
        from geosynth.diffusion.generator import resolve

        target = resolve(path)
    if not target.is_dir():
        return _raster(path)
    kind = kind_of(target)
    if kind is None:
        raise GeosynthError(
            "a folder geosynth did not make", where=target, remedy="inspect a file in it, or tile it: geosynth tile"
        )
    if kind.startswith(UNFINISHED):
        return {"kind": kind, "finish": "run its command again with --resume"}
    known = {
        "tileset": _tileset,
        "generator": _generator,
        "segmenter": _segmenter,
        "report": _report,
        "whole scene": _scene,
    }
    return known.get(kind, _rasters)(target)


def _spec(spec: dict[str, Any]) -> dict[str, Any]:
    ground = spec["gsd_m"]
    return {
        "bands": ", ".join(f"{band['name']} {band['dtype']}" for band in spec["bands"]),
        "nodata": spec["bands"][0]["nodata"],
        "classes": ", ".join(f"{entry['id']} {entry['name']}" for entry in spec["legend"]),
        "crs": spec["crs"] if len(spec["crs"]) < 20 else spec["crs"].split('"')[1],
        "pixel size": " × ".join(f"{size:g}" for size in spec["pixel_size"]) + " CRS units",
        "ground": "unknown" if ground is None else f"{ground:g} m",
        "tile": f"{spec['tile_size']} px",
    }


def _tileset(folder: Path) -> dict[str, Any]:
    from geosynth.tileset import SPLITS, Tileset

    tileset = Tileset(folder)
    tiles = tileset.tiles
    known = sum(1 - tile.unknown_fraction for tile in tiles) or 1.0
    shares = {
        name: sum(tile.class_fractions[position] for tile in tiles) / known
        for position, name in enumerate(tileset.spec.legend.names)
    }
    counts = Counter(tile.split for tile in tiles)
    origins = Counter(f"{tile.image_origin} image, {tile.mask_origin} mask" for tile in tiles)
    return {
        "kind": "tileset",
        "tiles": len(tiles),
        "splits": {split: counts[split] for split in SPLITS},
        "labelled": sum(tile.labelled for tile in tiles),
        "origins": dict(sorted(origins.items())),
        "placement": dict(sorted(Counter(tile.placement for tile in tiles).items())),
        "scenes": len({tile.scene for tile in tiles}),
        "review": dict(sorted(Counter(tile.review for tile in tiles).items())),
        "filter": dict(sorted(Counter(tile.filter or "none" for tile in tiles).items())),
        **_spec(tileset.spec.to_json()),
        "class shares": {name: round(share, 6) for name, share in shares.items()},
        "id": tileset.spec.id,
    }


def _generator(folder: Path) -> dict[str, Any]:
    if is_stable_diffusion(folder):
        return _painter(folder)
    from geosynth.diffusion.generator import load_generator

    generator = load_generator(folder)
    return {
        "kind": "generator",
        **_spec(generator.spec.to_json()),
        "training": dict(generator.training),
        "tiles seen": len(generator.lineage.image_keys),
        "of them labelled": len(generator.lineage.label_keys),
        "hash": generator.hash,
    }


def _painter(folder: Path) -> dict[str, Any]:
    from geosynth.pretrained.model import load_label_painter

    painter = load_label_painter(folder)
    where = "in this folder" if painter.base["embedded"] else "elsewhere"
    return {
        "kind": "generator on Stable Diffusion",
        **_spec(painter.spec.to_json()),
        "pretrained": f"{painter.base['name']} ({str(painter.base['hash'])[:12]}), {where}",
        "prompt": painter.template,
        "scales": ", ".join(f"{scale:g}" for scale in painter.scales),
        "training": dict(painter.training),
        "tiles seen": len(painter.lineage.image_keys),
        "of them labelled": len(painter.lineage.label_keys),
        "hash": painter.hash,
    }


def _segmenter(folder: Path) -> dict[str, Any]:
    from geosynth.segmentation.segmenter import load_segmenter

    segmenter = load_segmenter(folder)
    validation = segmenter.validation
    return {
        "kind": "segmenter",
        **_spec(segmenter.spec.to_json()),
        "network": f"{segmenter.spec.architecture}, {segmenter.spec.encoder}",
        "training": segmenter.training,
        "validation": "none" if validation is None else validation,
        "hash": segmenter.hash,
    }


def _report(folder: Path) -> dict[str, Any]:
    return {"kind": "report", "open": str(folder / "report.html")}


def _scene(folder: Path) -> dict[str, Any]:
    from geosynth.descriptions import DESCRIPTIONS

    facts = json.loads((folder / DESCRIPTIONS["whole scene"]).read_text(encoding="utf-8"))
    return {
        "kind": "whole scene",
        "open": f"{folder / facts['image']}, {folder / facts['mask']}",
        "size": f"{facts['width']} × {facts['height']} px",
        "placement": facts["placement"],
        "class shares": facts["class_shares"],
        "generator": facts["request"]["model"],
        "hash": facts["hash"],
    }


def _rasters(folder: Path) -> dict[str, Any]:
    return {"kind": kind_of(folder), "files": ", ".join(sorted(path.name for path in folder.glob("*.tif")))}


def _raster(path: str) -> dict[str, Any]:
    from geosynth.rasters import grid_of, open_raster
    from geosynth.tileset import crs_name

    with open_raster(path) as dataset:
        grid = grid_of(dataset)
        ours = {key: value for key, value in dataset.tags().items() if key.startswith("GEOSYNTH_")}
        gsd = grid.gsd_m
        return {
            "kind": "synthetic raster" if ours.get("GEOSYNTH_SYNTHETIC", "none") != "none" else "raster",
            "size": f"{grid.width} × {grid.height} px",
            "bands": f"{dataset.count} × {dataset.dtypes[0]}",
            "nodata": dataset.nodata,
            "crs": "none" if dataset.crs is None else crs_name(dataset.crs)[:40],
            "bounds": [round(value, 6) for value in grid.bounds],
            "ground": "unknown" if gsd is None else f"{gsd:.4g} m",
            **ours,
        }


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_show(entry)}" for key, entry in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
