"""The course of a generation, whoever draws: donors are chosen, pairs are made block by block, a tileset comes out."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geosynth.diffusion.choosing import by_shares, in_turn, shares_of
from geosynth.diffusion.donors import Donors
from geosynth.diffusion.drawnmasks import POOL, DrawnMasks
from geosynth.diffusion.making import Block
from geosynth.diffusion.request import GenerateRequest, GenerateSummary
from geosynth.events import Events
from geosynth.folders import OutputFolder
from geosynth.lineage import Lineage
from geosynth.tileset import Tile, TileSpec
from geosynth.tilesetwriter import compact

_MASKS = "masks"
"""Where, in the folder's state, masks are kept that were drawn to be chosen from."""


class _Unit(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class _Chosen:
    """Donors, and the number of the one that each sample is made for."""

    of: Donors
    numbers: list[int]


@dataclass(frozen=True)
class Course:
    """A settled request where it is carried out.

    Attributes:
        request: says how many pairs, and all else that is the same for everybody who draws.
        spec: of the tileset that is written.
        given: donors of the user.
        wanted: class index to share.
        target: the folder that is written.
        run: what runs tasks, see ``jobs.run_tasks``.
        block: makes the block of a number, without donors.
        make: what a block's worker does; returns its name and rows.
        mask_block: makes the unit of a number that draws masks to be chosen from, and keeps them in a folder.
        draw: what its worker does; returns its name, and each mask's class ``shares`` and ``confidence``.
        drawing: the request by which such masks are drawn.
    """

    request: GenerateRequest
    spec: TileSpec
    given: Donors | None
    wanted: Mapping[int, float]
    target: OutputFolder
    run: Callable[..., Any]
    block: Callable[[int], Block]
    make: Callable[[Any], tuple[str, list[dict[str, Any]]]]
    mask_block: Callable[[int, str], _Unit]
    draw: Callable[[Any], tuple[str, dict[str, Any]]]
    drawing: GenerateRequest

    def tileset(self, lineage: Lineage, events: Events) -> tuple[Tile, ...]:
        """Make what is not there yet, and finish the tileset; ``lineage`` is that of whoever draws."""
        chosen = self._chosen(events)
        self._pairs(chosen)
        if chosen is not None:
            lineage |= chosen.of.lineage(set(chosen.numbers))
        shutil.rmtree(self.target.state / _MASKS, ignore_errors=True)
        tiles = compact(self.target, self.spec, lineage)
        events.artifact(self.target.path, "tileset")
        return tiles

    @property
    def _count(self) -> int:
        return self.request.count or 0

    def _chosen(self, events: Events) -> _Chosen | None:
        """The donors of all samples; None for new pairs of which nothing is there yet."""
        legend, seed = self.spec.legend, self.request.seed
        if not self.wanted:
            return None if self.given is None else _Chosen(self.given, in_turn(self._count, self.given, seed))
        if self.given is None:
            donors, shares = self._drawn()
        else:
            donors, shares = self.given, shares_of(self.given, legend, events)
        return _Chosen(donors, by_shares(self._count, shares, self.wanted, seed, legend.names, events))

    def _drawn(self) -> tuple[Donors, NDArray[np.float64]]:
        """Masks that are drawn, more than are wanted, and the class shares of each."""
        size = self.request.block
        folder = str((self.target.state / _MASKS).resolve())
        blocks = [self.mask_block(number, folder) for number in range(-(-POOL * self._count // size))]
        finished = {name: record for name, record in self.target.records().items() if "shares" in record}
        remaining = [block for block in blocks if block.name not in finished]
        for name, drawn in self.run(self.draw, remaining, unit=f"blocks of {size} masks"):
            finished[name] = {"tiles": [], **drawn}
            self.target.record(name, finished[name])
        shares = np.array([row for block in blocks for row in finished[block.name]["shares"]])
        sure = [value for block in blocks for value in finished[block.name]["confidence"]]
        return DrawnMasks(tuple(enumerate(sure)), self.spec, folder, self.drawing), shares

    def _pairs(self, chosen: _Chosen | None) -> None:
        """Make all pairs that are not there yet."""
        finished, size = self.target.records(), self.request.block
        blocks = []
        for number in range(-(-self._count // size)):
            block = self.block(number)
            if chosen is not None:
                own = [chosen.numbers[sample % self._count] for sample in block.samples]
                block = replace(block, donors=chosen.of.part(own))
            if block.name not in finished:
                blocks.append(block)
        for name, rows in self.run(self.make, blocks, unit=f"blocks of {size} pairs"):
            self.target.record(name, {"tiles": rows})


def verify_given(given: Donors | None, request: GenerateRequest, wanted: Mapping[int, float]) -> None:
    """Raise GeosynthError unless every donor that may be used for a settled request can be read."""
    if given is not None:
        used = given if wanted else given.part(sorted(set(in_turn(request.count or 0, given, request.seed))))
        used.verify()


def summary_of(
    spec: TileSpec, wanted: Mapping[int, float], tiles: tuple[Tile, ...], *, nothing_to_do: bool = False
) -> GenerateSummary:
    """What was made, with the class shares of all known pixels."""
    known = math.fsum(1 - tile.unknown_fraction for tile in tiles)
    shares = np.sum([tile.class_fractions for tile in tiles], axis=0) / (known or 1.0)
    names = spec.legend.names
    return GenerateSummary(
        len(tiles),
        dict(zip(names, map(float, shares), strict=True)),
        {names[index]: share for index, share in wanted.items()},
        nothing_to_do,
    )
