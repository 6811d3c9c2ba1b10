"""What a synthetic tileset is to be made of, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geosynth.legend import Legend

Question = Literal["joint", "image", "mask"]

SIEVE = 4
"""Pixels from which on a connected area of a drawn mask is meant, measured: see the part "specks" of the ablations."""


@dataclass(frozen=True)
class Reading:
    """How masks, polygons and scenes that are given are understood; a tileset says all of it itself.

    Attributes:
        class_field: attributes that hold the class of polygons; of each layer the first it has.
        line_width: ground metres lines are made wide; None refuses lines.
        outside: the generator's class where no polygon is, or "unknown"; polygons need one of them.
        ignore: label values (numbers, texts or "#rrggbb") that mean unknown.
        legend: what the labels' values are called; None goes by the generator's names, ids and colours.
        bands: names or numbers (from 1) of a scene's bands, in the generator's order; none goes by names.
    """

    class_field: tuple[str, ...] = ()
    line_width: float | None = None
    outside: str | None = None
    ignore: tuple[int | str, ...] = ()
    legend: Legend | None = None
    bands: tuple[str, ...] = ()


@dataclass(frozen=True)
class GenerateRequest:
    """What to make.

    Attributes:
        count: pairs; None makes one for each mask or image that is given.
        seed: same seed, same noise.
        steps: network evaluations a pair; None is the sampler's default.
        guidance: above 1 each side follows the other more strictly; None is the default of what is asked.
        block: pairs a unit of work. A part of the request, because a batch of another size rounds differently.
        sampler: one of ``samplers_for`` the generator's process; None is the first of them.
        masks_from: whose masks are given: a tileset, or mask rasters (files, folders, patterns), or vector files
            (``FILE|layername=NAME`` is one layer) of which later ones lie over earlier ones.
        images_from: whose images are given: a tileset, or scenes (files, folders, patterns).
        reading: how given files are understood.
        want: shares of the known pixels that classes are to have, as in "car=0.02, building=0.2". Masks are then chosen
            so that the shares come out: among those given, or among many that the generator draws first.
        balance: the classes that ``want`` does not name get equal shares of the rest.
        sieve: connected areas of fewer pixels, of masks that the generator draws, take the class around them; 0 keeps
            all. A given mask stays as it is.
    """

    count: int | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    block: int = 8
    sampler: str | None = None
    masks_from: tuple[str, ...] = ()
    images_from: tuple[str, ...] = ()
    reading: Reading = Reading()
    want: str = ""
    balance: bool = False
    sieve: int = SIEVE

    @property
    def question(self) -> Question:
        """Which of the three questions is asked."""
        return "image" if self.masks_from else "mask" if self.images_from else "joint"

    @property
    def wants(self) -> bool:
        """Whether class shares are asked for."""
        return self.balance or any(part.strip() for part in self.want.split(","))


@dataclass(frozen=True)
class GenerateSummary:
    """What was made: pairs, shares of the classes among known pixels, those that were wanted, and whether all of it was
    there already."""

    pairs: int
    class_shares: dict[str, float]
    wanted: dict[str, float]
    nothing_to_do: bool = False
