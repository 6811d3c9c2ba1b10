"""How real synthetic tiles are: a Markdown table, a row a tileset, with the floor that real held-out tiles give.

    geosynth segment TILES --out SEGMENTER
    python benchmarks/fidelity.py TILES --segmenter SEGMENTER [--generator MODEL] SYNTHETIC...

TILES is the real tileset (labels and a val split), SEGMENTER one trained on it alone. The reference is a sample of its
training tiles. First row: real val tiles, of another place. Second, where there are enough: training tiles outside the
reference, so that place plays no part and only the sample size is left (the segmenter was trained on these, so it
agrees with them too well). Good synthetic tiles come near the second row. All rows have equally many tiles.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch

from geosynth.diffusion.generator import load_generator
from geosynth.errors import GeosynthError
from geosynth.evaluation.agreement import STEPS, Agreement
from geosynth.evaluation.yardstick import LIMIT, Fidelity, Yardstick, common_sizes
from geosynth.events import Events
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.tileset import Tileset


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def agreed(found: Agreement | None) -> str:
    return "–" if found is None else f"{found.made:.3f} / {found.real:.3f}"


COLUMNS: dict[str, Callable[[Fidelity], str]] = {
    "KID ↓": lambda row: f"{row.kid.value:.3f} ± {row.kid.standard_error:.3f}",
    "FID ↓": lambda row: number(row.fid),
    "precision ↑": lambda row: number(row.neighbourhoods.precision, 2),
    "recall ↑": lambda row: number(row.neighbourhoods.recall, 2),
    "density ↑": lambda row: number(row.neighbourhoods.density, 2),
    "coverage ↑": lambda row: number(row.neighbourhoods.coverage, 2),
    "classes ↓": lambda row: number(row.class_divergence),
    "neighbours ↓": lambda row: number(row.adjacency_divergence),
    "borders ↓": lambda row: number(row.border_divergence),
    "sizes ↓": lambda row: number(row.component_distance, 2),
    "segmenter agrees ↑": lambda row: agreed(row.segmenter_agreement),
    "generator agrees ↑": lambda row: agreed(row.generator_agreement),
    "copy ratio": lambda row: number(row.copy_ratio, 2),
    "too near": lambda row: "–" if row.share_nearer is None else f"{100 * row.share_nearer:.1f} %",
}


def table(rows: dict[str, Fidelity]) -> str:
    first = next(iter(rows.values()))
    lines = [
        f"{first.sizes.images} images and {first.sizes.pairs} labelled pairs a side; FID over {first.fid_dimensions}"
        " principal components. KID and FID are of features of the segmenter: they compare with each other only."
        " classes, neighbours, borders: Jensen–Shannon divergence in bits of the shares of classes, of neighbouring"
        " pixels, of neighbouring pixels of two classes. sizes: doublings by which connected areas differ. agrees: mean"
        " IoU on the row's pairs / on real held-out pairs. copy ratio: distance to the nearest training tile over that"
        " of held-out tiles; too near: below their 1st percentile.",
        "",
        "| tiles | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(show(row) for show in COLUMNS.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=Path)
    parser.add_argument("synthetic", type=Path, nargs="*")
    parser.add_argument("--segmenter", type=Path, required=True)
    parser.add_argument("--generator", help="also ask this generator for the masks of the images")
    parser.add_argument("--count", type=int, default=LIMIT, help="most tiles a side (fewer where there are fewer)")
    parser.add_argument("--steps", type=int, default=STEPS, help="network evaluations a mask of the generator")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(given.threads)
    try:
        rows, names = measured(given)
    except GeosynthError as error:
        raise SystemExit(str(error)) from None
    print(table(rows))
    if given.json:
        content = {name: row.to_json(names) for name, row in rows.items()}
        given.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measured(given: argparse.Namespace) -> tuple[dict[str, Fidelity], tuple[str, ...]]:
    real, synthetic = Tileset(given.tiles), [Tileset(path) for path in given.synthetic]
    segmenter = load_segmenter(given.segmenter, given.device)
    generator = load_generator(given.generator) if given.generator else None
    if generator is not None:
        generator.pipeline.to(segmenter.device)
    events = Events()
    sizes = common_sizes(real, synthetic, given.count)
    yardstick = Yardstick(real, segmenter, generator, sizes, events, steps=given.steps)
    rows = {f"real, {yardstick.held_out_split}": yardstick.floor}
    if (more := yardstick.other_training_tiles(events)) is not None:
        rows["real, more of train"] = more
    for tileset in synthetic:
        rows[tileset.path.name] = yardstick.measure(tileset, events)
    return rows, real.spec.legend.names


if __name__ == "__main__":
    main()
