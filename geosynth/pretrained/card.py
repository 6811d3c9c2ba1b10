"""The model card written beside a generator of this route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geosynth.lineage import Lineage
from geosynth.tileset import TileSpec


def model_card(
    spec: TileSpec, training: Mapping[str, Any], lineage: Lineage, base: Mapping[str, Any], content_hash: str
) -> str:
    """Markdown with the front matter model hubs read: what it makes, from what, and what it is not for."""
    ground = "no ground size (no CRS)" if spec.gsd_m is None else f"{spec.gsd_m:.3g} m ground pixels"
    facts = "\n".join(
        f"| {key.replace('_', ' ')} | {f'{value:.4g}' if isinstance(value, float) else value} |"
        for key, value in training.items()
    )
    seen = f"{len(lineage.image_keys)} images, {len(lineage.label_keys)} of them with labels"
    where = "embedded in this folder" if base["embedded"] else "not in this folder"
    return f"""---
library_name: geosynth
tags: [diffusion, stable-diffusion, lora, controlnet, remote-sensing, segmentation, synthetic-data]
---
# A geosynth generator on Stable Diffusion

A LoRA draws label maps, a ControlNet paints images for them. The licence of the base model goes on to this one.

| | |
|---|---|
| base model | {base["name"]}, {where}, hash {str(base["hash"])[:12]} |
| tiles | {spec.tile_size} × {spec.tile_size} px, {ground} |
| bands | {", ".join(f"{band.name} ({band.dtype})" for band in spec.bands)} |
| classes | {", ".join(spec.legend.names)} |
| tiles seen | {seen} (see lineage.json); what the base model saw is not on record |
{facts}
| hash | `{content_hash}` |

## Use
    geosynth generate THIS_FOLDER --count 100 --out SYNTHETIC

## Limits
What it makes shows no real place. It can repeat training tiles: compare them with `geosynth nearest`. Every file it
writes says in its GeoTIFF tags that it is synthetic. It is made to train segmentation models, not to be evidence of
anything on the ground.
"""
