"""What is asked of a training on this route, everything settled that can be without reading pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from geosynth.diffusion.training import Plan
from geosynth.errors import ModelError, TilesetError
from geosynth.pretrained import adapter
from geosynth.pretrained.base import BaseFiles, find_base
from geosynth.pretrained.colours import ColourCode
from geosynth.pretrained.prompts import TEMPLATE, Part, Prompting
from geosynth.pretrained.tones import Tones, check_bands
from geosynth.tileset import Tile, Tileset


@dataclass(frozen=True)
class PaintRequest:
    """What to train.

    Attributes:
        pretrained: folder of the base model, or its id on the hub.
        steps: optimiser steps of the ControlNet.
        label_steps: those of the LoRA; None: as many.
        batch: views a step.
        learning_rate, label_learning_rate: peak rates of the ControlNet and of the LoRA.
        seed: decides starting weights, views, batches and noise.
        size: side of what is learnt, pixels; None: that of the tiles.
        scales: how many times coarser pixels than the tiles' own are learnt, too: crops so many times larger, brought
            to ``size``. None: 2, 4 … as far as the tiles allow.
        views: crops and turns of every tile that are learnt from, at most.
        rank: of the LoRA.
        targets: layers the LoRA is put beside.
        template, style: of the prompts; see ``Prompting``.
        embed: whether the base model is copied into the folder.
        evaluate_every: steps between two measurements of the held-out loss.
        samples_every: steps between two pictures of samples; None: no pictures.

    Raises:
        ModelError: a number out of its range.
    """

    pretrained: str
    steps: int = 4000
    label_steps: int | None = None
    batch: int = 8
    learning_rate: float = 1e-5
    label_learning_rate: float = 1e-4
    seed: int = 0
    size: int | None = None
    scales: tuple[float, ...] | None = None
    views: int = 8
    rank: int = 16
    targets: tuple[str, ...] = adapter.TARGETS
    template: str = TEMPLATE
    style: str = ""
    embed: bool = False
    evaluate_every: int = 250
    samples_every: int | None = None

    def __post_init__(self) -> None:
        numbers = {
            "steps": self.steps,
            "label steps": 1 if self.label_steps is None else self.label_steps,
            "batch": self.batch,
            "size": 1 if self.size is None else self.size,
            "views": self.views,
            "rank": self.rank,
            "evaluate every": self.evaluate_every,
            "samples every": 1 if self.samples_every is None else self.samples_every,
        }
        for name, number in numbers.items():
            if number < 1:
                raise ModelError(f"{name} out of range", remedy="give a number that is at least 1")
        for rate in (self.learning_rate, self.label_learning_rate):
            if not 0 < rate < 1:
                raise ModelError("learning rate out of range", remedy="give a number that is more than 0 and below 1")
        if any(not 1 <= scale <= 16 for scale in self.scales or ()):
            raise ModelError("scales out of range", remedy="give numbers from 1 to 16")
        if not self.targets:
            raise ModelError("no layers for the LoRA are named", remedy=f"give {','.join(adapter.TARGETS)}")


@dataclass(frozen=True)
class Inputs:
    """What is trained on and from; nothing in the request is left to be decided."""

    tileset: Tileset
    request: PaintRequest
    base: BaseFiles
    train: tuple[Tile, ...]
    held_out: tuple[Tile, ...]
    size: int
    scales: tuple[float, ...]
    prompting: Prompting

    @property
    def code(self) -> ColourCode:
        return ColourCode.of(self.tileset.spec.legend)

    @property
    def tones(self) -> Tones:
        return Tones.of(self.tileset.spec.bands, self.tileset.statistics)

    def plan(self, part: Part) -> Plan:
        request = self.request
        label = part == "label"
        return Plan(
            steps=(request.label_steps or request.steps) if label else request.steps,
            batch=request.batch,
            size=self.size,
            learning_rate=request.label_learning_rate if label else request.learning_rate,
            seed=request.seed,
        )


def inputs_of(tiles: str | PathLike[str], request: PaintRequest) -> Inputs:
    """What a request means, everything checked that can be without reading pixels or loading weights."""
    tileset = Tileset(tiles)
    spec = tileset.spec
    check_bands(spec.bands, str(tileset.path))
    base = find_base(request.pretrained)
    size = request.size or spec.tile_size
    if size > spec.tile_size:
        raise TilesetError(
            f"has tiles of {spec.tile_size} px, and crops of {size} px were asked for",
            where=tileset.path,
            remedy=f"give --size {spec.tile_size} or less, or tile again with larger tiles",
        )
    scales = tuple(sorted({1.0, *(request.scales or _doublings(size, spec.tile_size))}))
    if round(size * scales[-1]) > spec.tile_size:
        raise TilesetError(
            f"has tiles of {spec.tile_size} px, too few for a scale of {scales[-1]:g} at {size} px",
            where=tileset.path,
            remedy="give smaller --scales or a smaller --size, or tile again with larger tiles",
        )
    train, held_out = tileset.select("train"), tileset.select("val")
    if not train:
        raise TilesetError("has no training tiles", where=tileset.path, remedy="tile more scenes or change --split")
    if not any(tile.labelled for tile in train):
        raise TilesetError(
            "has no labelled training tile", where=tileset.path, remedy="give labels to: geosynth tile --labels"
        )
    if size % base.factor:
        raise TilesetError(
            f"would give pictures of {size} px, and they must be a multiple of {base.factor} px",
            where=tileset.path,
            remedy=f"give --size {max(base.factor, size // base.factor * base.factor)}",
        )
    adapter.check_targets(base.layers, request.targets)
    prompting = Prompting(request.template, request.style, spec.legend.names, spec.gsd_m)
    return Inputs(tileset, request, base, train, held_out, size, scales, prompting)


def _doublings(size: int, side: int) -> list[float]:
    return [2.0**power for power in range((side // size).bit_length())]


def asked_of(inputs: Inputs) -> dict[str, Any]:
    """The request as it is kept with the output: what decides the model, and nothing that does not."""
    asked = asdict(inputs.request)
    for name in ("samples_every", "evaluate_every"):
        del asked[name]
    return {
        "command": "train",
        "recipe": "stable-diffusion",
        **asked,
        "pretrained": {"name": inputs.base.name, "hash": inputs.base.hash},
        "label_steps": inputs.plan("label").steps,
        "size": inputs.size,
        "scales": list(inputs.scales),
        "targets": list(inputs.request.targets),
        "tiles": inputs.tileset.identity(),
    }
