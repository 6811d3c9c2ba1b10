"""The model card written beside every generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geosynth.lineage import Lineage
from geosynth.tileset import TileSpec


def model_card(
    spec: TileSpec,
    training: Mapping[str, Any],
    lineage: Lineage,
    content_hash: str,
    *,
    parameters: int,
    two_levels: bool,
) -> str:
    """Markdown with the front matter model hubs read: what it makes, what it was trained on, what it is not for."""
    ground = "no ground size (no CRS)" if spec.gsd_m is None else f"{spec.gsd_m:.3g} m ground pixels"
    bands = ", ".join(f"{band.name} ({band.dtype})" for band in spec.bands)
    facts = "\n".join(f"| {key.replace('_', ' ')} | {_show(value)} |" for key, value in training.items())
    seen = len(lineage.image_keys)
    labelled = len(lineage.label_keys)
    questions = ", an image for a given mask, and a mask for a given image" if two_levels else ""
    levels = "one noise level each for image and mask" if two_levels else "one noise level for image and mask together"
    return f"""---
library_name: geosynth
tags: [diffusion, remote-sensing, segmentation, synthetic-data]
---
# A geosynth generator

Makes pairs of a {spec.tile_size} × {spec.tile_size} px image and its segmentation mask{questions}.

| | |
|---|---|
| bands | {bands} |
| classes | {", ".join(spec.legend.names)} |
| pixels | {ground}, {spec.pixel_size[0]:g} × {spec.pixel_size[1]:g} CRS units |
| network | U-Net, {parameters / 1e6:.1f} M parameters, {levels} |
| tiles seen | {seen} images, {labelled} of them with labels (see lineage.json) |
{facts}
| hash | `{content_hash}` |

## Use
    geosynth generate THIS_FOLDER --count 100 --out SYNTHETIC

## Limits
What it makes looks like what it was trained on and shows no real place. It can repeat training tiles: compare them
with `geosynth evaluate`, whose report shows synthetic tiles beside their nearest real ones. Every file it writes says
in its GeoTIFF tags that it is synthetic. It is made to train segmentation models, not to be evidence of anything on
the ground.
"""


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
