"""Do synthetic tiles of many bands have the spectra of real ones? Markdown tables, and a picture with --sheet.

    geosynth tile S2Hand.tif --labels LabelHand.tif --legend LEGEND --size 32 --out TILES
    geosynth train TILES --from base --steps 400 --learning-rate 6e-4 --out MODEL
    geosynth generate MODEL --count 64 --out SYNTHETIC
    python benchmarks/sentinel.py TILES SYNTHETIC --sheet sheet.png

Compared with the training tiles are the val tiles (real ones of another place: what cannot be expected to be equal) and
the synthetic ones: values of each band, how bands go together, and how the water index of McFeeters, (green − nir) /
(green + nir), lies on pixels of water and on others.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sheet import Block, page_of

from geosynth.evaluation.contact import Stretch, png
from geosynth.legend import UNKNOWN
from geosynth.tileset import Tile, Tileset

PERCENTILES = (1, 50, 99)


def pixels(tileset: Tileset, tiles: tuple[Tile, ...]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """All valid labelled pixels: values (C, N) and class ids (N,)."""
    read = [tileset.read(tile) for tile in tiles]
    known = [valid & (mask != UNKNOWN) for _, valid, mask in read]
    values = np.concatenate([image[:, on] for (image, _, _), on in zip(read, known, strict=True)], axis=1)
    ids = np.concatenate([mask[on] for (_, _, mask), on in zip(read, known, strict=True)])
    return values.astype(np.float64), ids


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far the values of one must be moved on average to be those of the other (Wasserstein-1)."""
    shares = (np.arange(1000) + 0.5) / 1000
    return float(np.abs(np.quantile(one, shares) - np.quantile(other, shares)).mean())


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def band_table(names: list[str], sets: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Mean, spread and percentiles; moved: the Wasserstein distance to the first set in its standard deviations."""
    reference = next(iter(sets.values()))
    head = ["mean ± std", "p" + "/p".join(map(str, PERCENTILES)), "min..max"]
    lines = [row("band", *(f"{name}: {head[0]}; {head[1]}; {head[2]}; moved" for name in sets))]
    lines.append("|---|" + "---|" * len(sets))
    for band, name in enumerate(names):
        cells = []
        for values in sets.values():
            here = values[band]
            ends = "/".join(f"{value:.0f}" for value in np.percentile(here, PERCENTILES))
            moved = distance(here, reference[band]) / reference[band].std()
            cells.append(
                f"{here.mean():.0f} ± {here.std():.0f}; {ends}; {here.min():.0f}..{here.max():.0f}; {moved:.2f}"
            )
        lines.append(row(name, *cells))
    return lines


def index_table(
    sets: Mapping[str, tuple[NDArray[np.float64], NDArray[np.uint8]]], green: int, nir: int, water: int
) -> list[str]:
    """The water index by class, how well it tells the classes apart, and the correlations between bands."""
    lines = [
        row(
            "tiles", "water index p5/p50/p95: on water", "elsewhere", "area under ROC", "share of water",
            "correlations off: mean", "largest",
        )
    ]  # fmt: skip
    lines.append("|---|" + "---|" * 6)
    reference = np.corrcoef(next(iter(sets.values()))[0])
    for name, (values, ids) in sets.items():
        index = (values[green] - values[nir]) / np.maximum(values[green] + values[nir], 1)
        parts = index[ids == water], index[ids != water]
        spread = ["/".join(f"{value:.2f}" for value in np.percentile(part, (5, 50, 95))) for part in parts]
        ranks = np.argsort(np.argsort(np.concatenate(parts)))[: len(parts[0])]
        area = (ranks.sum() - len(parts[0]) * (len(parts[0]) - 1) / 2) / (len(parts[0]) * len(parts[1]))
        off = np.abs(np.corrcoef(values) - reference)
        lines.append(
            row(name, *spread, f"{area:.3f}", f"{(ids == water).mean():.3f}", f"{off.mean():.3f}", f"{off.max():.3f}")
        )
    return lines


def blocks(real: Tileset, synthetic: Tileset, looks: Mapping[str, tuple[int, ...]]) -> list[Block]:
    """Real pairs beside synthetic ones, once a way of looking at the bands; drawn in the training tiles' range."""
    values, _ = pixels(real, real.select(split="train"))
    found: list[Block] = []
    for name, bands in looks.items():
        low, high = np.percentile(values[list(bands)], (1, 99), axis=1)
        stretch = Stretch(bands, tuple(low.tolist()), tuple(high.tolist()))
        found += [(f"real, {name}", real, stretch), (f"synthetic, {name}", synthetic, stretch)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=Path)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("--colour", default="B4,B3,B2", help="bands shown as red, green, blue")
    parser.add_argument("--infrared", default="B8,B4,B3", help="bands shown as red, green, blue in false colour")
    parser.add_argument("--water", default="water", help="name of the class")
    parser.add_argument("--sheet", type=Path, help="PNG to write")
    parser.add_argument("--count", type=int, default=24, help="pairs of each kind in the picture")
    given = parser.parse_args()
    real, synthetic = Tileset(given.tiles), Tileset(given.synthetic)
    names = [band.name for band in real.spec.bands]
    looks: dict[str, Any] = {
        "true colour": tuple(names.index(name) for name in given.colour.split(",")),
        "infrared as red": tuple(names.index(name) for name in given.infrared.split(",")),
    }
    water = real.spec.legend.ids[real.spec.legend.names.index(given.water)]
    sets = {
        "training": pixels(real, real.select(split="train")),
        "val": pixels(real, real.select(split="val")),
        "synthetic": pixels(synthetic, synthetic.select()),
    }
    green, nir = looks["true colour"][1], looks["infrared as red"][0]
    print("\n".join(band_table(names, {name: values for name, (values, _) in sets.items()})), end="\n\n")
    print("\n".join(index_table(sets, green, nir, water)))
    if given.sheet:
        given.sheet.write_bytes(png(page_of(blocks(real, synthetic, looks), count=given.count)))


if __name__ == "__main__":
    main()
