"""The yardstick's numbers in the report: each synthetic tileset beside what real held-out tiles get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

from geosynth.devices import one_thread
from geosynth.errors import ModelError, TilesetError
from geosynth.evaluation.features import FeatureNetwork
from geosynth.evaluation.yardstick import Fidelity, Yardstick, common_sizes
from geosynth.events import Events
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.tileset import Tileset

HEADS = (
    "Tiles",
    "KID ↓",
    "FID ↓",
    "Precision ↑",
    "Recall ↑",
    "Density ↑",
    "Coverage ↑",
    "Borders ↓",
    "Masks fit images ↑",
)


@dataclass(frozen=True)
class FidelityTable:
    """Rows of a name and its numbers as written, and sentences about them; no rows where they cannot be had."""

    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]


def fidelity_table(
    real: Tileset,
    synthetic: Mapping[str, Tileset],
    segmenter: str | PathLike[str] | None,
    events: Events,
    features: FeatureNetwork | None = None,
) -> FidelityTable:
    """Measure synthetic tilesets by a segmenter that was trained on the real one, or by another network.

    Args:
        real: the real tileset.
        synthetic: the others by name.
        segmenter: folder of a segmenter trained on real tiles alone; nothing is ever downloaded. None: there is none.
        events: progress, cancellation.
        features: describes images instead of the segmenter.
    """
    if segmenter is None and features is None:
        return FidelityTable(
            (),
            (
                "KID, FID, precision, recall, density and coverage were not measured: their features come from a"
                " segmenter trained on the real tiles, and none is at hand. Nothing is downloaded for it.",
            ),
        )
    if not synthetic:
        return FidelityTable((), ("There are no synthetic tiles to measure.",))
    try:
        sizes = common_sizes(real, list(synthetic.values()))
        with one_thread():
            judge = None if segmenter is None else load_segmenter(segmenter, "cpu")
            yardstick = Yardstick(real, judge, None, sizes, events, features=features)
            found = {name: yardstick.measure(tileset, events) for name, tileset in synthetic.items()}
    except (ModelError, TilesetError) as error:
        return FidelityTable((), (f"KID, FID and the like were not measured: {error.what}.",))
    floor = f"real {yardstick.held_out_split} tiles"
    rows = (_row(floor, yardstick.floor), *(_row(name, entry) for name, entry in found.items()))
    return FidelityTable(rows, tuple(_words(found, yardstick, floor)))


def _row(name: str, entry: Fidelity) -> tuple[str, ...]:
    near = entry.neighbourhoods
    fits = entry.segmenter_agreement
    return (
        name,
        f"{entry.sizes.images:,}",
        f"{entry.kid.value:.2f} ± {entry.kid.standard_error:.2f}".replace("-", "−"),
        f"{entry.fid:.2f}",
        *(f"{value:.2f}" for value in (near.precision, near.recall, near.density, near.coverage)),
        "–" if entry.border_divergence is None else f"{entry.border_divergence:.2f}",
        "–" if fits is None else f"{fits.made:.2f} of {fits.real:.2f}",
    )


def _words(found: Mapping[str, Fidelity], yardstick: Yardstick, name: str) -> Sequence[str]:
    floor, sizes = yardstick.floor, yardstick.sizes
    numbers = "All numbers" if sizes.images == sizes.pairs else "Numbers of images"
    words = [
        f"The first row is what {name} get, compared in the same way: they are real, so no better can be asked for."
        f" {numbers} are of {sizes.images:,} tiles against {sizes.images:,} real training tiles."
        f" The features are those of {yardstick.network.name}."
    ]
    if not sizes.pairs:
        words.append(
            "Masks were not compared: there are too few labelled tiles on one side. Real tiles without labels count for"
            " images."
        )
    elif sizes.images != sizes.pairs:
        words.append(
            f"For images real tiles without labels count as well; borders and how well masks fit are of {sizes.pairs:,}"
            " labelled tiles a side."
        )
    for label, entry in found.items():
        apart = entry.kid.value - floor.kid.value
        noise = 2 * (entry.kid.standard_error**2 + floor.kid.standard_error**2) ** 0.5
        if apart > noise:
            said = "its images are farther from the training tiles than unseen real ones are, beyond noise (KID)."
        elif apart < -noise:
            said = (
                "its images are nearer to the training tiles than unseen real ones are, beyond noise (KID): the unseen"
                " ones lie elsewhere, and what is made from training tiles is like them. That is no praise; see whether"
                " they are copies."
            )
        else:
            said = (
                "no difference in KID between it and unseen real tiles beyond noise; small samples hide small"
                " differences."
            )
        words.append(f"“{label}”: {said}")
    return words
