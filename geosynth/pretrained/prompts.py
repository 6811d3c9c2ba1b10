"""What the model is told in words: what is drawn, which classes and how much of them, how large a pixel is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal

from geosynth.errors import ModelError

Part = Literal["label", "image"]
"""What the model draws: label maps, or images for them."""

TEMPLATE = "satellite imagery, remote sensing, {kind}, {classes}, {ground}, {style}"
"""What the base model may know from its captions comes first; what is left of a part without content goes."""

FIELDS = ("kind", "classes", "ground", "style")

_KINDS: dict[Part, str] = {"label": "segmentation map", "image": "aerial photograph"}
_STEP = 5
"""Shares are told in steps of so many percent: few words that come often are learnt, many that come once are not."""


@dataclass(frozen=True)
class Prompting:
    """How prompts are written.

    Attributes:
        template: text with the fields of ``FIELDS`` in braces.
        style: fills ``{style}``.
        names: of the classes, in legend order.
        gsd_m: ground metres of a pixel; None where unknown.

    Raises:
        ModelError: the template has other fields.
    """

    template: str
    style: str
    names: tuple[str, ...]
    gsd_m: float | None

    def __post_init__(self) -> None:
        try:
            fields = {name for _, name, _, _ in Formatter().parse(self.template) if name is not None}
        except ValueError as error:
            raise ModelError(f"the prompt cannot be read ({error})", remedy="write {{ for a brace") from None
        strange = sorted(fields - set(FIELDS))
        if strange:
            raise ModelError(
                f"the prompt has a field {{{strange[0]}}}",
                remedy=f"the fields are {', '.join(f'{{{name}}}' for name in FIELDS)}",
            )
        try:
            self.template.format(**dict.fromkeys(FIELDS, ""))
        except ValueError as error:
            raise ModelError(f"the prompt cannot be filled ({error})", remedy="write fields as {kind}") from None

    def prompt(self, part: Part, shares: Sequence[float], scale: float = 1.0) -> str:
        """The prompt of a picture.

        Args:
            part: what is drawn.
            shares: of the classes among known pixels, in legend order; all zero where nothing is known.
            scale: how many times as large on the ground a pixel is as those the model learnt.
        """
        text = self.template.format(
            kind=_KINDS[part], classes=_classes(self.names, shares), ground=self._ground(scale), style=self.style
        )
        return re.sub(r"\s*,(\s*,)*\s*", ", ", text).strip(" ,")

    def _ground(self, scale: float) -> str:
        return f"scale {scale:.3g}" if self.gsd_m is None else f"{self.gsd_m * scale:.2g} m per pixel"


def _classes(names: Sequence[str], shares: Sequence[float]) -> str:
    """Classes by falling share: the text encoder cuts what is too long at its end."""
    order = sorted((index for index, share in enumerate(shares) if share > 0), key=lambda index: -shares[index])
    return ", ".join(f"{names[index].replace('_', ' ')} {_percent(shares[index])}" for index in order)


def _percent(share: float) -> str:
    rounded = round(share * 100 / _STEP) * _STEP
    return f"{rounded}%" if rounded else f"below {_STEP}%"
