"""Whether a comparison with synthetic tiles is fair: nothing behind them may have seen the test place."""

from __future__ import annotations

from geosynth.errors import LeakError
from geosynth.events import Events
from geosynth.lineage import Lineage, Seen, read_lineage
from geosynth.tileset import Split, Tileset


def check_leak(real: Tileset, synthetic: Tileset, arm: str, events: Events) -> None:
    """Raise LeakError when anything behind a synthetic tileset saw test tiles; warn for val, or where nobody knows."""
    tests = [tile for tile in real.tiles if tile.split == "test"]
    leaked = seen_by(synthetic, real, "test")
    if leaked:
        raise LeakError(
            f"arm '{arm}' is not a fair comparison: what made its synthetic tiles saw {len(leaked)} of the {len(tests)}"
            f" test tiles ({', '.join(leaked[:3])}{' …' if len(leaked) > 3 else ''})",
            where=synthetic.path,
            remedy="train the generator on the training split of these tiles alone, and generate again",
        )
    validation = seen_by(synthetic, real, "val")
    if validation:
        events.warn(
            f"arm '{arm}': what made {synthetic.path.name} saw {len(validation)} validation tiles; where training stops"
            " early or is tuned on them, the arm looks better than it is"
        )
    if is_unexplained(synthetic):
        events.warn(
            f"arm '{arm}': {synthetic.path.name} does not say what its generator saw; a leak cannot be ruled out"
        )


def seen_by(synthetic: Tileset, real: Tileset, split: Split) -> list[str]:
    """Ids of the real tiles of ``split`` (rejected ones too) that a synthetic tileset has to do with, sorted.

    That is: tiles its generator saw, images that are in it themselves, and places whose masks were painted over.
    """
    crs = synthetic.spec.crs_name
    donors = [
        Seen("", tile.scene, crs, tile.geometry.bounds, True) for tile in synthetic.tiles if tile.placement == "donor"
    ]
    behind = read_lineage(synthetic.path) | Lineage.of(synthetic.tiles, crs) | Lineage(tuple(donors))
    return sorted(behind.overlap([tile for tile in real.tiles if tile.split == split], real.spec.crs_name))


def is_unexplained(synthetic: Tileset) -> bool:
    """Whether a tileset holds generated tiles but no record of what their generator saw."""
    made = any("generated" in (tile.image_origin, tile.mask_origin) for tile in synthetic.tiles)
    return made and not read_lineage(synthetic.path).seen
