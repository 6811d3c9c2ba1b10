"""What is asked of a generator of this route beyond what is asked of all."""

from __future__ import annotations

from dataclasses import dataclass

from geosynth.errors import ModelError


@dataclass(frozen=True)
class Manner:
    """How pictures are to be drawn.

    Attributes:
        prompt: takes the place of the template the model was trained with, with the same fields in braces.
        style: fills the template's ``{style}``.
        scale: how many times as large on the ground a pixel is as those the model learnt: above 1 everything is drawn
            finer, below 1 coarser. The tiles say their own pixel size.
        gsd: the same in ground metres of a pixel; not both.
        strength: with masks of a tileset: begin from their own images, changed by so much, 0..1.
        tile: side of the tiles, pixels; a multiple of what the model asks for. None: as learnt.
        pretrained: where the base model is, when it has moved.

    Raises:
        ModelError: a number out of its range.
    """

    prompt: str | None = None
    style: str | None = None
    scale: float | None = None
    gsd: float | None = None
    strength: float | None = None
    tile: int | None = None
    pretrained: str | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and self.gsd is not None:
            raise ModelError("both a scale and a pixel size are given", remedy="give --scale or --gsd")
        if self.scale is not None and not SMALLEST <= self.scale <= LARGEST:
            raise ModelError(f"a scale of {self.scale:g}", remedy=f"give {SMALLEST:g} to {LARGEST:g}")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ModelError(f"a strength of {self.strength:g}", remedy="give more than 0, up to 1")
        if self.tile is not None and self.tile < 1:
            raise ModelError(f"tiles of {self.tile} px", remedy="give at least 1, or none for tiles as learnt")

    def scale_of(self, gsd_m: float | None, where: str) -> float:
        """The scale that is meant, for a model whose pixels are of ``gsd_m`` ground metres.

        Raises:
            ModelError: metres are asked for, and the model's pixels have none; or too many, or too few.
        """
        if self.gsd is None:
            return self.scale or 1.0
        if gsd_m is None:
            raise ModelError(
                "its pixels have no size on the ground", where=where, remedy="give --scale instead of --gsd"
            )
        scale = self.gsd / gsd_m
        if not SMALLEST <= scale <= LARGEST:
            raise ModelError(
                f"pixels of {self.gsd:g} m, and the model learnt {gsd_m:g} m",
                where=where,
                remedy=f"give {gsd_m * SMALLEST:.3g} to {gsd_m * LARGEST:.3g}",
            )
        return scale


SMALLEST, LARGEST = 0.25, 4.0
"""Scales that can be asked for: beyond them there is nothing left to see, or too much to draw."""
