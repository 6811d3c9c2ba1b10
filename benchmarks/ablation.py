"""Ablations of the generator on two CPU cores: what to predict, in how many steps, how guided, from how many labels.

    python benchmarks/ablation.py rate objective bits bands shortcut sampling levels guidance specks labels wanted \\
        network start precision --data DIR --work DIR

Small networks (1.9 M parameters) on tiles of 32 px: the made-up world at 2 m, and Dubai at a quarter of its resolution.
Compared are runs of equal compute; measured is on the val split, against equally many training tiles. ``--work`` keeps
what is done: run the same command again to go on. Tables go to stdout, as Markdown.

All masks keep their specks (--sieve 0), but for those of the part "specks": what was measured before specks went can be
compared with what is measured now.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation_lab import COUNT, SPACINGS, Lab, Sampling
from ablation_training import BASE, NETWORKS, Run, train
from numpy.typing import NDArray

from geosynth.diffusion.generate import GenerateSummary, generate
from geosynth.diffusion.process import DEFAULT_RECIPE, RECIPES
from geosynth.diffusion.request import GenerateRequest
from geosynth.evaluation.fidelity import class_shares
from geosynth.events import Events
from geosynth.tileset import Tile, Tileset

SEEDS = range(2)
RATES = (4e-4, 1e-3, 2e-3, 4e-3)
BITS = (1.0, 0.5)
DECORRELATIONS = (0.0, 0.25, 0.5)
MANY = {"flow": Sampling("dpm", 20), "v": Sampling("dpm", 20), "satsynth": Sampling("ddim", 50)}
"""As many evaluations as bring nothing more, or nearly so: what is compared is what was learnt."""
FEW = {
    "flow": [
        *(Sampling("dpm", steps, 1.5) for steps in (5, 6, 10, 20)),
        *(Sampling("dpm", steps) for steps in (5, 10, 20, 50)),
        Sampling("euler", 20),
    ],
    "v": [Sampling("dpm", 20), Sampling("dpm", 50)],
    "satsynth": [Sampling("ddim", 50), Sampling("ddpm", 250), Sampling("ddpm", 1000)],
}
GUIDANCES = {"joint": (1.0, 1.5, 2.0, 3.0), "image": (0.7, 1.0, 1.5, 2.0)}
MASK_GUIDANCES = (0.7, 1.0, 1.5, 2.0)
BEST = RECIPES[DEFAULT_RECIPE].bit_size
FAST = Sampling("dpm", 10, 1.5, sieve=4)
"""As ``generate`` does unless told otherwise."""
SIEVES = (0, 2, 3, 4, 6, 9)
LABELS = ((0.02, False), (0.02, True), (0.1, False), (0.1, True), (1.0, False))


COLUMNS = {
    "KID ↓": "kid",
    "FID ↓": "fid",
    "coverage ↑": "coverage",
    "recall ↑": "recall",
    "class shares off ↓": "classes",
    "area sizes off ↓": "sizes",
    "agreement ↑": "agreement",
    "distance to the nearest training tile, of val's": "nearest",
    "CPU s a pair": "seconds",
}


def shown(values: Sequence[float]) -> str:
    """Mean and, of several seeds, standard error."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}"


def table(title: str, floor: dict[str, float], rows: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: a row an entry, each the mean over its seeds; real val tiles first."""
    entries = {"real val tiles": [floor], **rows}
    lines = [f"**{title}** ({COUNT} tiles a side)", "", "| | seeds | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---|---|" + "---|" * len(COLUMNS))
    for name, found in entries.items():
        cells = [
            shown([one[key] for one in found]) if all(key in one for one in found) else "–" for key in COLUMNS.values()
        ]
        lines.append(f"| {name} | {len(found) if name in rows else '–'} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rate(lab: Lab) -> str:
    """Held-out losses after a third of the steps; of one recipe they compare, of two they do not."""
    lines = ["**Peak learning rate** (made-up world, loss on val after 1000 steps: image, mask)", ""]
    lines += ["| rate | " + " | ".join(RECIPES) + " |", "|---|" + "---|" * len(RECIPES)]
    for peak in RATES:
        cells = []
        for recipe, asked in RECIPES.items():
            model = train(Run("world", recipe, 0, asked.bit_size, steps=1000, rate=peak), lab.tiles("world"), lab.work)
            said = json.loads((model / "geosynth.json").read_text())["training"]
            cells.append(f"{said['val_loss_image']:.3f}, {said['val_loss_mask']:.3f}")
        lines.append(f"| {peak:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def objective(lab: Lab) -> str:
    runs = {recipe: [Run("world", recipe, seed, how.bit_size) for seed in SEEDS] for recipe, how in RECIPES.items()}
    rows = {
        f"{recipe}, {MANY[recipe].sampler} {MANY[recipe].steps}": [
            lab.measured(run, MANY[recipe]) for run in runs[recipe]
        ]
        for recipe in RECIPES
    }
    alike = [Run("world", seed=seed, shortcut=False) for seed in SEEDS]
    rows["flow, bits and guess as those of v and satsynth"] = [lab.measured(run, MANY["flow"]) for run in alike]
    return table("What is predicted, at equal training compute", lab.floor("world"), rows)


def bits(lab: Lab) -> str:
    rows = {
        f"bits ±{size:g}, guidance {asked.guidance:g}": [
            lab.measured(Run("world", seed=seed, bits=size), asked) for seed in SEEDS
        ]
        for size in BITS
        for asked in (Sampling("dpm", 20), Sampling("dpm", 20, 1.5))
    }
    return table("Size of the mask's bits (flow, dpm, 20 evaluations)", lab.floor("world"), rows)


def bands(lab: Lab) -> str:
    """How far bands are decorrelated, also by the colours that tiles have: what bands say beside brightness."""
    tables = []
    for data, place in (("dubai", "Dubai"), ("world", "made-up world")):
        rows, colours = {}, []
        real = Tileset(lab.tiles(data))
        real_colours = colour_spreads(real, real.select("train", labelled=True), real)
        for asked in (FAST, Sampling("dpm", 10, 1.0, "image")):
            for strength in DECORRELATIONS:
                runs = [Run(data, seed=seed, bits=BEST, decorrelation=strength) for seed in SEEDS]
                name = f"{'new pairs' if asked is FAST else 'images for real masks'}, {strength:g}"
                rows[name] = [lab.measured(run, asked) for run in runs]
                made = [Tileset(lab.work / "made" / run.name / asked.name) for run in runs]
                found = [colour_spreads(one, one.tiles, real) / real_colours for one in made]
                within, between = zip(*found, strict=True)
                colours.append(f"| {name} | {shown(within)} | {shown(between)} |")
        tables.append(table(f"How far bands are decorrelated (flow, dpm 10; {place})", lab.floor(data), rows))
        head = "| colours, of the spread that real ones have | within tiles | from tile to tile |\n|---|---|---|\n"
        tables.append(head + "\n".join(colours) + "\n")
    return "\n".join(tables)


def colour_spreads(tileset: Tileset, tiles: Sequence[Tile], real: Tileset) -> NDArray[np.float64]:
    """By how much pixels of a class differ in colour within a tile, and the class's mean colour from tile to tile.

    Colour is what is left of the bands without the direction in which real pixels differ most, each other direction in
    units of its spread; standard deviations, root mean squares over the classes.
    """
    some = [real.read(tile)[0] for tile in real.select("train", labelled=True)[:200]]
    pixels = np.stack(some, axis=1).reshape(len(some[0]), -1).astype(np.float64)
    variance, axes = np.linalg.eigh(np.cov(pixels))
    rest = axes[:, :-1] / np.sqrt(variance[:-1])
    classes = range(len(real.spec.legend))
    means: list[list[NDArray[np.float64]]] = [[] for _ in classes]
    within: list[list[float]] = [[] for _ in classes]
    for tile in tiles[:COUNT]:
        image, _, mask = tileset.read(tile)
        index = tileset.spec.legend.to_index(mask)
        for number in classes:
            on = index == number
            if on.sum() > 20:
                values = rest.T @ image[:, on].astype(np.float64)
                means[number].append(values.mean(axis=1))
                within[number].append(float(values.var(axis=1).sum()))
    there = [number for number in classes if len(means[number]) > 5]
    between = [float(np.var(means[number], axis=0).sum()) for number in there]
    return np.sqrt([np.mean([np.mean(within[number]) for number in there]), np.mean(between)])


def shortcut(lab: Lab) -> str:
    rows = {
        f"{'with' if on else 'without'} shortcut, {asked.name}": [
            lab.measured(Run("world", seed=seed, bits=BEST, shortcut=on), asked) for seed in SEEDS
        ]
        for asked in (Sampling("dpm", 20), FAST)
        for on in (True, False)
    }
    return table("The best linear guess as a shortcut (flow)", lab.floor("world"), rows)


def sampling(lab: Lab) -> str:
    rows = {
        f"{recipe}, {asked.sampler} {asked.steps}, guidance {asked.guidance:g}: {asked.calls} evaluations": [
            lab.measured(Run("world", recipe, seed, size), asked) for seed in SEEDS[:1]
        ]
        for recipe, size in (("flow", BEST), ("v", 1.0), ("satsynth", 1.0))
        for asked in FEW[recipe]
    }
    return table(
        f"Quality against network evaluations (bits ±{BEST:g} for flow, ±1 for v and satsynth)",
        lab.floor("world"),
        rows,
    )


def levels(lab: Lab) -> str:
    tables = []
    for data, place in (("world", "made-up world"), ("dubai", "Dubai")):
        rows = {
            f"{'new pairs' if asked.question == 'joint' else 'images for real masks'}, {spacing}": [
                lab.measured(Run(data, seed=seed, bits=BEST), replace(asked, spacing=spacing)) for seed in SEEDS
            ]
            for asked in (FAST, Sampling("dpm", 10, 1.0, "image"))
            for spacing in SPACINGS
        }
        tables.append(table(f"How noise levels lie (flow, dpm 10; {place})", lab.floor(data), rows))
    return "\n".join(tables)


def guidance(lab: Lab) -> str:
    rows = {
        f"{'new pairs' if question == 'joint' else 'images for real masks'}, guidance {strength:g}": [
            lab.measured(Run("world", seed=seed, bits=BEST), Sampling("dpm", 20, strength, question))
            for seed in SEEDS[:2]
        ]
        for question, strengths in GUIDANCES.items()
        for strength in strengths
    }
    pairs = table("Guidance (flow, dpm, 20 steps)", lab.floor("world"), rows)
    lines = ["**Guidance of masks for real images** (val tiles, dpm, 10 steps)", ""]
    lines += ["| guidance | seeds | mean IoU with the real masks ↑ |", "|---|---|---|"]
    for strength in MASK_GUIDANCES:
        found = [lab.labelled(Run("world", seed=seed, bits=BEST), FAST.sieve, strength) for seed in SEEDS]
        lines.append(f"| {strength:g} | {len(found)} | {shown(found)} |")
    return pairs + "\n" + "\n".join(lines) + "\n"


def precision(lab: Lab) -> str:
    rows = {
        f"{'new pairs' if asked.question == 'joint' else 'images for real masks'}, {how}": [
            lab.measured(Run("world", seed=seed, bits=BEST), replace(asked, precision=how)) for seed in SEEDS
        ]
        for asked in (FAST, Sampling("dpm", 10, 1.0, "image"))
        for how in ("32", "bf16")
    }
    return table("Precision of the passes (flow, dpm 10)", lab.floor("world"), rows)


def specks(lab: Lab) -> str:
    rows = {
        f"areas below {size} pixels go" if size else "all areas stay": [
            lab.measured(Run("world", seed=seed, bits=BEST), Sampling("dpm", 10, 1.5, sieve=size)) for seed in SEEDS[:2]
        ]
        for size in SIEVES
    }
    pairs = table("Specks of new masks (flow, dpm, 10 steps, guidance 1.5)", lab.floor("world"), rows)
    lines = ["**Specks of masks for real images** (val tiles, dpm, 10 steps)", ""]
    lines += ["| areas that go | seeds | mean IoU with the real masks ↑ |", "|---|---|---|"]
    for size in SIEVES:
        found = [lab.labelled(Run("world", seed=seed, bits=BEST), size) for seed in SEEDS[:2]]
        lines.append(f"| {f'below {size} pixels' if size else 'none'} | {len(found)} | {shown(found)} |")
    return pairs + "\n" + "\n".join(lines) + "\n"


def labels(lab: Lab) -> str:
    pairs, images = {}, {}
    lines = ["**Masks for real images** (val tiles of Dubai, dpm, 10 steps)", ""]
    lines += ["| | seeds | mean IoU with the real masks ↑ |", "|---|---|---|"]
    for share, unlabelled in LABELS:
        runs = [Run("dubai", seed=seed, bits=BEST, labels=share, unlabelled=unlabelled) for seed in SEEDS]
        name = f"{share:.0%} of the labels"
        name += ", other tiles as images" if unlabelled else ", nothing else" if share < 1 else ""
        pairs[f"new pairs, {name}"] = [lab.measured(run, FAST) for run in runs]
        asked = Sampling("dpm", 10, 1.0, "image")
        images[f"images for real masks, {name}"] = [lab.measured(run, asked) for run in runs]
        found = [lab.labelled(run, FAST.sieve) for run in runs]
        lines.append(f"| {name} | {len(found)} | {shown(found)} |")
    made = table("Tiles without labels (Dubai)", lab.floor("dubai"), {**pairs, **images})
    return made + "\n" + "\n".join(lines) + "\n"


def network(lab: Lab) -> str:
    tables = []
    for data, place in (("dubai", "Dubai"), ("world", "made-up world")):
        rows = {
            f"{shape.name}, {steps} steps, {'new pairs' if asked is FAST else 'images for real masks'}": [
                lab.measured(Run(data, steps=steps, network=shape, bits=BEST), asked)
            ]
            for asked in (FAST, Sampling("dpm", 10, 1.0, "image"))
            for shape, steps in NETWORKS.items()
        }
        tables.append(table(f"Networks that train equally long ({place})", lab.floor(data), rows))
    return "\n".join(tables)


def start(lab: Lab) -> str:
    runs = {
        "from nothing, small network": Run("dubai", bits=BEST),
        "from nothing, network of the base": Run("dubai", bits=BEST, network=BASE, steps=NETWORKS[BASE]),
        # half the rate, as train --from takes
        "from the base": Run("dubai", bits=BEST, network=BASE, steps=NETWORKS[BASE], rate=1e-3, from_base=True),
    }
    rows = {
        f"{name}, {run.steps} steps, {'new pairs' if asked is FAST else 'images for real masks'}": [
            lab.measured(replace(run, seed=seed), asked) for seed in SEEDS
        ]
        for asked in (FAST, Sampling("dpm", 10, 1.0, "image"))
        for name, run in runs.items()
    }
    return table("What training starts from, at equal training compute (Dubai)", lab.floor("dubai"), rows)


def wanted(lab: Lab) -> str:
    """Class shares asked for against those obtained, and whether the images show what their masks say."""
    run = Run("world", bits=BEST)
    model, tiles = train(run, lab.tiles("world"), lab.work), lab.tiles("world")
    lines = ["**Class shares asked for and obtained** (made-up world)", ""]
    lines += [
        "| asked | masks | share without asking | obtained | real masks' share | agreement ↑ |",
        "|---|---|---|---|---|---|",
    ]
    names = Tileset(tiles).spec.legend.names
    real = dict(zip(names, class_shares(Tileset(tiles).select("train")), strict=True))
    for given, title in (((), "drawn by the generator"), ((str(tiles),), "real")):

        def made(text: str, balance: bool, given: tuple[str, ...] = given) -> tuple[GenerateSummary, Path]:
            name = "balanced" if balance else text.replace(", ", "+") or "plain"
            out = lab.work / "wanted" / f"{name}-{bool(given)}"
            request = GenerateRequest(
                count=COUNT, seed=1, block=16, masks_from=given, want=text, balance=balance, sieve=0
            )
            return generate(model, request, out, Events(), rerun="resume", device="cpu"), out

        plain = made("", False)[0].class_shares
        for text in ("building=0.25", "water=0.3", "tree=0.02, road=0.2", ""):
            got, out = made(text, not text)
            found = lab.yardstick("world").measure(Tileset(out), Events()).segmenter_agreement
            each = [
                ", ".join(f"{name} {shares[name]:.1%}" for name in got.wanted)
                for shares in (got.wanted, plain, got.class_shares, real)
            ]
            each.insert(1, title)
            lines.append("| " + " | ".join((*each, f"{found.made:.3f}" if found else "–")) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parts: dict[str, Callable[[Lab], str]] = {
        "rate": rate,
        "objective": objective,
        "bits": bits,
        "bands": bands,
        "shortcut": shortcut,
        "sampling": sampling,
        "levels": levels,
        "guidance": guidance,
        "specks": specks,
        "labels": labels,
        "wanted": wanted,
        "network": network,
        "start": start,
        "precision": precision,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=parts)
    parser.add_argument("--data", type=Path, help="folder of landcover_dubai/, for labels")
    parser.add_argument("--work", type=Path, required=True)
    args: Any = parser.parse_args()
    torch.set_num_threads(1)
    lab = Lab(args.data, args.work)
    tables = [parts[name](lab) for name in args.parts]
    print("\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
