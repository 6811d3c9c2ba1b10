"""The report: one self-contained HTML page, the same as Markdown without pictures, and its tables as CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from geosynth import __version__
from geosynth.evaluation.arms import HEADLINE, headline_arm, reference_arm
from geosynth.evaluation.comparison import SHOWN, compare, data_uri, sheet
from geosynth.evaluation.contact import Stretch, choose, stretch_of
from geosynth.evaluation.experiment import ExperimentPlan, Fitting, RunResult, run_name
from geosynth.evaluation.fairness import is_unexplained, seen_by
from geosynth.evaluation.features import FeatureNetwork
from geosynth.evaluation.fidelity import CopySearch
from geosynth.evaluation.fidelitytable import HEADS, fidelity_table
from geosynth.evaluation.plain import markdown
from geosynth.evaluation.predictions import examples, kept
from geosynth.evaluation.resultfiles import LAYOUT, left_out_words
from geosynth.evaluation.scoresection import score_section
from geosynth.evaluation.spread import spread
from geosynth.evaluation.summary import MANY, ArmSummary, headline, in_short, summarise
from geosynth.evaluation.tables import ARMS, CLASSES, arms_csv, classes_csv
from geosynth.evaluation.trials import SEGMENTER
from geosynth.evaluation.wording import percent
from geosynth.events import Events
from geosynth.folders import OutputFolder, file_hash
from geosynth.tileset import INDEX, SPLITS, Split, Tileset


def write_report(
    out: OutputFolder,
    subsets: Sequence[Tileset],
    synthetic: Mapping[str, Tileset],
    plan: ExperimentPlan,
    results: Sequence[RunResult],
    events: Events,
    *,
    fitting: Fitting,
    budget: float | None = None,
    features: FeatureNetwork | None = None,
) -> None:
    """Write ``report.html`` and ``report.md``, and with runs ``arms.csv`` and ``classes.csv``.

    Segmenters that are still under ``runs/`` are made use of: that of the reference arm describes tiles (KID and the
    like), and with that of the best arm it shows what both predict for a few test tiles.

    Args:
        out: the claimed folder; what was left out is read from its ``experiment.json``.
        subsets: the real tileset, or its label subsets.
        synthetic: the synthetic ones by the name shown.
        plan: what was run.
        results: its runs; empty for a report about the tiles alone.
        events: told the progress and what was written.
        fitting: positions of the label subsets that each synthetic tileset may stand beside, by its path.
        budget: seconds that were given, to say how to do it again.
        features: describes tiles instead of that segmenter.
    """
    summaries = summarise(plan.arms, results)
    there = _segmenters(out.path / "runs", plan, summaries)
    content = _content(out.path, subsets, synthetic, plan, summaries, there, fitting, features, events)
    content["command"] = _command(plan, len(subsets), synthetic, budget, features)
    if summaries:
        out.write(ARMS, arms_csv(summaries))
        out.write(CLASSES, classes_csv(summaries, subsets[0].spec.legend.names))
    out.write("report.md", markdown(content))
    environment = Environment(
        loader=PackageLoader("geosynth", "evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    out.write("report.html", environment.get_template("report.html").render(content) + "\n")
    events.artifact(out.path / "report.html", "report")


def _segmenters(runs: Path, plan: ExperimentPlan, summaries: Sequence[ArmSummary]) -> dict[str, Path]:
    """Folders of the segmenters of the reference arm and of the arm that gained most, as far as kept."""
    others = [entry for entry in summaries if entry.verdict and entry.arm.source != "answers"]
    best = max(others, key=_gain, default=None)
    asked = [entry for entry in summaries if entry.arm == reference_arm(plan.arms) or entry is best]
    folders = {
        entry.arm.name: [runs / run_name(entry.arm, run.seed) / SEGMENTER for run in entry.runs] for entry in asked
    }
    return kept(folders)


def _gain(entry: ArmSummary) -> float:
    """Over the reference, row by row: means may be of different rows."""
    return -math.inf if entry.difference is None else entry.difference.mean


def _content(
    folder: Path,
    subsets: Sequence[Tileset],
    synthetic: Mapping[str, Tileset],
    plan: ExperimentPlan,
    summaries: Sequence[ArmSummary],
    segmenters: Mapping[str, Path],
    fitting: Fitting,
    features: FeatureNetwork | None,
    events: Events,
) -> dict[str, Any]:
    """Everything the page says but how to do it again, as plain values."""
    real = subsets[0]
    train = real.select("train", labelled=True)
    stretch = stretch_of(real)
    base = choose(train or real.select(), SHOWN, 0)
    search = CopySearch(real)
    sets = [
        compare(name, search, subsets[fitting[other.path][0]], other, stretch, events)
        for name, other in synthetic.items()
    ]
    reference = reference_arm(plan.arms)
    judge = segmenters.get(reference.name) if reference else None
    fidelity = fidelity_table(real, synthetic, judge, events, features)
    named = {entry.arm: entry for entry in summaries}
    sources = spread(
        *(None if arm is None else named.get(arm) for arm in (headline_arm(plan.arms), reference)),
    )
    return {
        "version": __version__,
        "title": "Do the synthetic tiles help?" if summaries else "What do the synthetic tiles look like?",
        "lead": _lead(real, synthetic, len(subsets)),
        "headline": [*in_short(summaries, headline_arm(plan.arms)), *(entry["short"] for entry in sets)],
        "verdicts": headline(summaries) if len(summaries) > MANY + 1 else [],
        "warnings": [*_warnings(real, synthetic), *_untaught(summaries)],
        "method": _method(plan, summaries),
        "reference": reference.name if reference in named and len(summaries) > 1 else None,
        **score_section(subsets, summaries),
        "spread": sources,
        **_predictions(real, segmenters, stretch, events),
        "legend": real.spec.legend.classes,
        "real_sheet": sheet(real, base, stretch),
        "real_note": f"{len(base)} of {len(train or real.select())} training tiles",
        "synthetic": sets,
        "fidelity_heads": HEADS,
        "fidelity": fidelity,
        "left_out": _left_out(folder),
        "limits": _limits(summaries),
        "provenance": _provenance(subsets, synthetic),
    }


def _lead(real: Tileset, synthetic: Mapping[str, Tileset], subsets: int) -> str:
    purposes: tuple[tuple[Split, str], ...] = (("train", "training"), ("val", "validation"), ("test", "testing"))
    counts = ", ".join(f"{len(real.select(split, labelled=True)):,} for {purpose}" for split, purpose in purposes)
    made = ", ".join(f"“{name}” ({len(other.select()):,})" for name, other in synthetic.items())
    spec = real.spec
    scale = "" if spec.gsd_m is None else f" at {spec.gsd_m:.3g} m per pixel"
    whose = "" if subsets == 1 else f" of the first of {subsets} label subsets"
    return (
        f"Labelled real tiles{whose}: {counts}; each {spec.tile_size} × {spec.tile_size} px{scale} in"
        f" {len(spec.legend)} classes. Synthetic pairs: {made or 'none'}."
    )


def _predictions(real: Tileset, segmenters: Mapping[str, Path], stretch: Stretch, events: Events) -> dict[str, Any]:
    """Rows of pictures: image, truth, and mask and errors of each segmenter."""
    shown = examples(real, segmenters, stretch, events) if segmenters else []
    rows = [
        {
            "tile": example.tile,
            "image": data_uri(example.image),
            "truth": data_uri(example.truth),
            "answers": [
                {
                    "name": name,
                    "mask": data_uri(found.mask),
                    "errors": data_uri(found.errors),
                    "right": "–" if found.right is None else percent(found.right),
                }
                for name, found in example.answers.items()
            ],
        }
        for example in shown
    ]
    return {"predictions": rows, "predicted_by": list(segmenters) if rows else []}


def _left_out(folder: Path) -> list[str]:
    path = folder / LAYOUT
    if not path.is_file():
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))["left_out"]
    missing = {entry["arm"]: entry["why"] for entry in entries if entry["seed"] is None}
    return left_out_words([(entry["arm"], entry["seed"]) for entry in entries if entry["seed"] is not None], missing)


def _warnings(real: Tileset, synthetic: Mapping[str, Tileset]) -> list[str]:
    found = []
    for name, other in synthetic.items():
        if is_unexplained(other):
            found.append(
                f"“{name}” does not say what its generator saw. That it saw the test tiles cannot be ruled out."
            )
        for split in SPLITS[1:]:
            seen = seen_by(other, real, split)
            if seen:
                found.append(f"What made “{name}” saw {len(seen)} of the real tiles in split={split}.")
    return found


def _untaught(summaries: Sequence[ArmSummary]) -> list[str]:
    """Arms that were to learn from masks of a teacher and, where it was sure of none, learned from real tiles only."""
    found = []
    for entry in summaries:
        without = sum(not run.synthetic_pairs for run in entry.runs)
        if entry.arm.source == "pseudo" and without:
            found.append(
                f"In {without} of {len(entry.runs)} runs of “{entry.arm.name}” the teacher was sure of no pixel: they"
                " learned from the real tiles only."
            )
    return found


def _method(plan: ExperimentPlan, summaries: Sequence[ArmSummary]) -> str:
    if not summaries:
        return ""
    seeds = f"{len(plan.seeds)} seed" + ("s" if len(plan.seeds) > 1 else "")
    first = [arm.name for arm in (reference_arm(plan.arms), headline_arm(plan.arms)) if arm is not None]
    if plan.other_seeds is not None and plan.other_seeds < len(plan.seeds) and len(summaries) > len(first):
        seeds += f" for {' and '.join(f'“{name}”' for name in first)} (the others with {plan.other_seeds})"
    words = (
        f"Each arm trained the same network ({plan.architecture} with a {plan.encoder} encoder, from random weights)"
        f" with {seeds}, for the same {plan.steps:,} optimiser steps of {plan.batch} tiles, and was tested on the same"
        " real tiles. Only the training tiles, or how they are shown, differ."
    )
    asked = [entry.arm.name for entry in summaries if entry.arm.source == "answers"]
    if asked:
        words += f" {', '.join(f'“{name}”' for name in asked)}: nothing is trained; a generator says which mask fits."
    return words


def _limits(summaries: Sequence[ArmSummary]) -> list[str]:
    limits = []
    if summaries:
        limits = [
            "The encoders start from scratch, without pretrained weights. That can flatter the gain from more tiles: a"
            " pretrained encoder knows part of what they teach.",
            "Nothing here speaks of other regions, sensors, networks or generators than those that were run.",
            "In every arm, the synthetic-only ones too, the weights kept are those that did best on the real"
            " validation tiles, where there are any.",
            "Arms were given equal optimiser steps. An arm with more tiles sees each of them less often, and a longer"
            " training may turn the order.",
        ]
        if len(summaries) > 2:
            limits.append(
                f"{len(summaries) - 1} arms were compared at 95 % each: the more comparisons, the likelier one of them"
                " looks real by chance."
            )
        limits.append("Scores of single classes are many comparisons: read them as hints, not as findings.")
    return [
        *limits,
        "Equal class shares do not make the shapes and neighbourhoods right; look at the pairs.",
        "The copy check sees thumbnails of whole tiles. Copied parts of tiles go unnoticed, and plain tiles (water,"
        " fields) are near each other without being copies.",
    ]


def _command(
    plan: ExperimentPlan,
    subsets: int,
    synthetic: Mapping[str, Tileset],
    budget: float | None,
    features: FeatureNetwork | None,
) -> str:
    ids = {other.path: other.spec.id for other in synthetic.values()}
    given = {arm.label: [ids[path] for path in arm.synthetic if path in ids] for arm in plan.arms}
    names = "".join(f" --arm {_quoted(f'{name}={",".join(found)}')}" for name, found in given.items() if found)
    asked_for = {arm.label: [path.name for path in arm.synthetic] for arm in plan.arms if arm.source == "answers"}
    names += "".join(f" --generator {_quoted(f'{name}={",".join(found)}')}" for name, found in asked_for.items())
    words = ",".join(dict.fromkeys(arm.word for arm in plan.arms if arm.word))
    levels = [f"{arm.ratio:g}" for arm in plan.arms if arm.word == HEADLINE and arm.ratio is not None]
    ratios = f" --ratios {','.join(dict.fromkeys(levels))}" if levels else ""
    asked = f" --arms {words}{ratios}" if words else ""
    runs = f" --seeds {len(plan.seeds)}"
    if plan.seeds:
        runs += f" --other-seeds {plan.other_seeds}" if plan.other_seeds else ""
        runs += f" --steps {plan.steps} --batch {plan.batch} --arch {plan.architecture} --encoder {plan.encoder}"
        runs += f" --learning-rate {plan.learning_rate:g}"
    described = "" if features is None else f" --features {_quoted(features.name.replace(' from ', '='))}"
    if budget is not None:
        runs += f" --budget {budget / 60:g}min"
    tiles = " ".join(_tiles(subsets))
    return f"geosynth evaluate {tiles}{names} --out REPORT{asked}{runs}{described}"


def _tiles(subsets: int) -> list[str]:
    """What the real tilesets are called where the report names them."""
    return ["TILES"] if subsets == 1 else [f"TILES{number}" for number in range(1, subsets + 1)]


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _provenance(subsets: Sequence[Tileset], synthetic: Mapping[str, Tileset]) -> list[tuple[str, str]]:
    rows = [("geosynth", __version__)]
    for name, tileset in {**dict(zip(_tiles(len(subsets)), subsets, strict=True)), **synthetic}.items():
        rows.append((name, f"tileset {tileset.spec.id}, sha256 of its index {file_hash(tileset.path / INDEX)}"))
    return rows
