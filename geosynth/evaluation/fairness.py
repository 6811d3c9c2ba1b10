"""Whether a comparison is fair: what is behind synthetic tiles saw no test place, and no labels the arm has not.

What a maker (a synthetic tileset or a generator) saw is in its lineage. With several real tilesets, label subsets of
one place, a maker belongs to those whose labels hold all it saw: that decides which rows of the seed table it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geosynth.errors import LeakError, TilesetError
from geosynth.events import Events
from geosynth.lineage import Lineage, Seen, read_lineage
from geosynth.samples import check_compatible
from geosynth.scenes.origins import synthetic_side
from geosynth.tileset import Split, Tileset

_NAMED = 3


@dataclass(frozen=True)
class Maker:
    """What an arm's tiles come from, as far as fairness goes: where it lies, and all it has seen."""

    path: Path
    lineage: Lineage
    unexplained: bool


def tileset_maker(synthetic: Tileset) -> Maker:
    """What is behind a synthetic tileset: its generator's lineage, real images in it, and masks painted over."""
    return Maker(synthetic.path, _behind(synthetic), is_unexplained(synthetic))


def check_real(real: Tileset) -> None:
    """Refuse a real tileset that is not what scores need: test tiles that are real, on ground nothing else shows.

    Raises:
        TilesetError: a labelled tile of it was made by a model, or its mask was.
        LeakError: its training or val tiles show the ground of test tiles, or what lies behind them does.
    """
    labelled = real.select(labelled=True)
    made = [tile for tile in labelled if synthetic_side(tile.image_origin, tile.mask_origin) != "none"]
    if made:
        raise TilesetError(
            f"{len(made)} of its labelled tiles were made by a model ({_some([tile.id for tile in made])}): scores on"
            " real tiles need real images and labels by people",
            where=real.path,
            remedy="tile the real scenes alone, and give what models made with --arm",
        )
    known = [tile for tile in real.tiles if tile.split != "test"]
    leaked = _seen(read_lineage(real.path) | Lineage.of(known, real.spec.crs_name), real, "test")
    if leaked:
        tests = sum(tile.split == "test" for tile in real.tiles)
        raise LeakError(
            f"{len(leaked)} of its {tests} test tiles ({_some(leaked)}) show ground that its training or val tiles"
            " show, too",
            where=real.path,
            remedy="tile again with scenes that overlap in one split (--assign), or split by blocks or polygons",
        )


def check_leak(real: Tileset, maker: Maker, arm: str, events: Events) -> None:
    """Raise LeakError when a maker saw test tiles; warn for val, or where nobody knows."""
    tests = [tile for tile in real.tiles if tile.split == "test"]
    leaked = _seen(maker.lineage, real, "test")
    if leaked:
        raise LeakError(
            f"arm '{arm}' is not a fair comparison: what made its synthetic tiles saw {len(leaked)} of the {len(tests)}"
            f" test tiles ({_some(leaked)})",
            where=maker.path,
            remedy="train the generator on the training split of these tiles alone, and generate again",
        )
    validation = _seen(maker.lineage, real, "val")
    if validation:
        events.warn(
            f"arm '{arm}': what made {maker.path.name} saw {len(validation)} validation tiles; where training stops"
            " early or is tuned on them, the arm looks better than it is"
        )
    if maker.unexplained:
        events.warn(f"arm '{arm}': {maker.path.name} does not say what its generator saw; a leak cannot be ruled out")


def labels_beyond(real: Tileset, maker: Maker) -> list[Seen]:
    """Places whose labels a maker saw and that are not labelled in split=train or val of ``real``."""
    allowed = [tile for tile in real.tiles if tile.split != "test" and tile.labelled]
    return maker.lineage.labels_beyond(allowed, real.spec.crs_name)


def allowed_subsets(subsets: Sequence[Tileset], maker: Maker, arm: str) -> tuple[int, ...]:
    """Positions of the real tilesets whose labels hold all that a maker saw.

    Raises:
        LeakError: there is none.
    """
    beyond = [labels_beyond(real, maker) for real in subsets]
    fitting = tuple(position for position, extra in enumerate(beyond) if not extra)
    if not fitting:
        least = min(beyond, key=len)
        whose = "it was given" if len(subsets) == 1 else "any of the real tilesets has"
        raise LeakError(
            f"arm '{arm}' is not a fair comparison: what made its synthetic tiles saw more labels than {whose}: those"
            f" of {len(least)} more places ({_some([_place(entry) for entry in least])})",
            where=maker.path,
            remedy="train the generator on the very tiles the arm is given (the same label subset), and generate again",
        )
    return fitting


def check_subsets(subsets: Sequence[Tileset]) -> None:
    """Raise TilesetError unless real tilesets are label subsets of one place: same tiles, same test."""
    first = subsets[0]
    tests = {tile.id: (tile.image_sha256, tile.mask_sha256) for tile in first.select("test", labelled=True)}
    for other in subsets[1:]:
        check_compatible(first, other)
        same = {tile.id: (tile.image_sha256, tile.mask_sha256) for tile in other.select("test", labelled=True)} == tests
        if not same:
            raise TilesetError(
                f"does not have the test tiles of {first.path}: scores would not be comparable",
                where=other.path,
                remedy="give label subsets of one tileset: geosynth subset TILES --labels SHARE --seed K",
            )


def seen_by(synthetic: Tileset, real: Tileset, split: Split) -> list[str]:
    """Ids of the real tiles of ``split`` (rejected ones too) that a synthetic tileset has to do with, sorted.

    That is: tiles its generator saw, images that are in it themselves, and places whose masks were painted over.
    """
    return _seen(_behind(synthetic), real, split)


def _behind(synthetic: Tileset) -> Lineage:
    crs = synthetic.spec.crs_name
    donors = [
        Seen("", tile.scene, crs, tile.geometry.bounds, True) for tile in synthetic.tiles if tile.placement == "donor"
    ]
    return read_lineage(synthetic.path) | Lineage.of(synthetic.tiles, crs) | Lineage(tuple(donors))


def _seen(lineage: Lineage, real: Tileset, split: Split) -> list[str]:
    return sorted(lineage.overlap([tile for tile in real.tiles if tile.split == split], real.spec.crs_name))


def is_unexplained(synthetic: Tileset) -> bool:
    """Whether a tileset holds images or masks made by a model but no record of what that saw."""
    made = any(synthetic_side(tile.image_origin, tile.mask_origin) != "none" for tile in synthetic.tiles)
    return made and not read_lineage(synthetic.path).seen


def _place(entry: Seen) -> str:
    left, _, _, top = entry.bounds
    return f"{entry.scene or 'no scene'} at {left:.7g}, {top:.7g}"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}"
