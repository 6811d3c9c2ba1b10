"""Real tiles without labels, labelled by a segmenter where it is sure: what self-training learns from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched
from pathlib import Path

import numpy as np
import torch

from geosynth.events import Events
from geosynth.folders import claim
from geosynth.legend import UNKNOWN
from geosynth.segmentation.segmenter import Segmenter
from geosynth.tileset import Tile, Tileset
from geosynth.tilesetwriter import compact, encode_tile, write_tiles

CONFIDENT = 0.9
"""Probability of its class below which a pixel stays unknown."""

_BATCH = 32


def pseudo_label(real: Tileset, tiles: Sequence[Tile], teacher: Segmenter, out: Path, events: Events) -> int:
    """Write a tileset of ``tiles`` with the masks a segmenter gives them; pixels it is not sure of are unknown.

    Args:
        real: where the tiles are; their images are taken as they are.
        tiles: what to label; those without a pixel it is sure of are left out.
        teacher: trained on the labelled tiles alone.
        out: folder to write; an unfinished one is gone on with.
        events: asked whether to stop.

    Returns:
        How many tiles were written.
    """
    spec = real.spec
    request = {"command": "pseudo-label", "tiles": real.identity(), "teacher": teacher.hash, "confident": CONFIDENT}
    with claim(out, request, "resume") as folder:
        if folder.complete:
            return len(Tileset(out).tiles)
        done = folder.records()
        for number, part in enumerate(batched(tiles, _BATCH)):
            task = f"part-{number:06}"
            if task in done:
                continue
            events.check()
            pixels = [real.read(tile) for tile in part]
            logits = teacher.logits(np.stack([p[0] for p in pixels]), np.stack([p[1] for p in pixels]))
            sure, classes = (values.cpu().numpy() for values in torch.softmax(logits, 1).max(1))
            records = []
            for tile, (image, valid, _), share, found in zip(part, pixels, sure, classes, strict=True):
                mask = np.where((share >= CONFIDENT) & valid, spec.legend.to_id(found.astype(np.uint8)), UNKNOWN)
                if (mask == UNKNOWN).all():
                    continue
                records.append(
                    encode_tile(
                        spec,
                        tile.id,
                        real.grid(tile),
                        image,
                        valid,
                        mask.astype(np.uint8),
                        {"GEOSYNTH_SYNTHETIC": "mask", "GEOSYNTH_SEGMENTER": teacher.hash},
                        split="train",
                        scene=tile.scene,
                        row=tile.row,
                        col=tile.col,
                        image_origin="real",
                        mask_origin="predicted",
                        placement="real",
                    )
                )
            folder.record(task, {"tiles": write_tiles(folder.path, records)})
        return len(compact(folder, spec))
