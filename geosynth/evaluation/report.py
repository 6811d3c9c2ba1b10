"""The report: one self-contained HTML page, the same as Markdown without pictures, and the runs as CSV."""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import StringIO
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from geosynth import __version__
from geosynth.evaluation.charts import arms_chart, distances_chart
from geosynth.evaluation.contact import Stretch, choose, mosaic, panels, png, stretch_of
from geosynth.evaluation.experiment import ExperimentPlan, RunResult
from geosynth.evaluation.fairness import is_unexplained, seen_by
from geosynth.evaluation.fidelity import CopyCheck, class_shares, copy_check, presence, total_variation
from geosynth.evaluation.statistics import Estimate, signed
from geosynth.evaluation.summary import ArmSummary, headline, summarise
from geosynth.events import Events
from geosynth.folders import OutputFolder, file_hash
from geosynth.tileset import INDEX, SPLITS, Split, Tile, Tileset

SHOWN, NEAREST = 12, 6
"""Pairs in each contact sheet; nearest neighbours shown."""


def write_report(
    out: OutputFolder,
    real: Tileset,
    synthetic: Mapping[str, Tileset],
    plan: ExperimentPlan,
    results: Sequence[RunResult],
    events: Events,
) -> None:
    """Write ``report.html`` and ``report.md``, and ``runs.csv`` where there are runs.

    Args:
        out: the claimed folder.
        real: the real tileset.
        synthetic: the synthetic ones by the name shown.
        plan: what was run.
        results: its runs; empty for a report about the tiles alone.
        events: told the progress and what was written.
    """
    summaries = summarise(plan.arms, results)
    content = _content(real, synthetic, plan, summaries, events)
    if summaries:
        out.write("runs.csv", runs_csv(results, real.spec.legend.names))
    out.write("report.md", markdown(content))
    template = files("geosynth.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    out.write("report.html", environment.from_string(template).render(content) + "\n")
    events.artifact(out.path / "report.html", "report")


def runs_csv(results: Sequence[RunResult], names: Sequence[str]) -> str:
    """One line a run: arm, seed, mean IoU, mean F1, IoU by class (empty where the class never came up)."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["arm", "seed", "mean_iou", "mean_f1", *(f"iou_{name}" for name in names)])
    for run in results:
        values = ["" if value is None else f"{value:.6f}" for value in run.iou]
        writer.writerow([run.arm, run.seed, f"{run.mean_iou:.6f}", f"{run.mean_f1:.6f}", *values])
    return stream.getvalue()


def _content(
    real: Tileset,
    synthetic: Mapping[str, Tileset],
    plan: ExperimentPlan,
    summaries: Sequence[ArmSummary],
    events: Events,
) -> dict[str, Any]:
    """Everything the page says, as plain values."""
    train = real.select("train", labelled=True)
    stretch = stretch_of(real)
    base = choose(train or real.select(), SHOWN, 0)
    sets = [_set(name, real, other, stretch, events) for name, other in synthetic.items()]
    reference = next((entry.arm.name for entry in summaries if entry.difference is None and not entry.verdict), None)
    purposes: tuple[tuple[Split, str], ...] = (("train", "training"), ("val", "validation"), ("test", "testing"))
    counts = ", ".join(f"{len(real.select(split, labelled=True)):,} for {purpose}" for split, purpose in purposes)
    made = ", ".join(f"“{name}” ({len(other.select()):,})" for name, other in synthetic.items())
    spec = real.spec
    scale = "" if spec.gsd_m is None else f" at {spec.gsd_m:g} m per pixel"
    lead = (
        f"Labelled real tiles: {counts}; each {spec.tile_size} × {spec.tile_size} px{scale} in"
        f" {len(spec.legend)} classes. Synthetic pairs: {made or 'none'}."
    )
    return {
        "version": __version__,
        "title": "Do the synthetic tiles help?" if summaries else "What do the synthetic tiles look like?",
        "lead": lead,
        "headline": [*headline(summaries), *(entry["short"] for entry in sets)],
        "warnings": _warnings(real, synthetic),
        "method": _method(plan, summaries),
        "reference": reference if len(summaries) > 1 else None,
        "arms": [_arm(entry) for entry in summaries],
        "arms_chart": arms_chart(summaries) if summaries else "",
        "classes": _classes(real, summaries),
        "legend": spec.legend.classes,
        "real_sheet": _data(mosaic(real, base, stretch, columns=3)) if base and sets else "",
        "real_note": f"{len(base)} of {len(train or real.select())} training tiles",
        "synthetic": sets,
        "limits": _limits(plan, summaries),
        "command": _command(plan, synthetic),
        "provenance": _provenance(real, synthetic),
    }


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


def _method(plan: ExperimentPlan, summaries: Sequence[ArmSummary]) -> str:
    if not summaries:
        return ""
    seeds = f"{len(plan.seeds)} seed" + ("s" if len(plan.seeds) > 1 else "")
    return (
        f"Each arm trained the same network ({plan.architecture} with a {plan.encoder} encoder, from random weights)"
        f" with {seeds}, for the same {plan.steps:,} optimiser steps of {plan.batch} tiles, and was tested on the same"
        " real tiles. Only the training tiles differ."
    )


def _arm(entry: ArmSummary) -> dict[str, Any]:
    difference, run = entry.difference, entry.runs[0]
    ends = None if difference is None or difference.low is None or difference.high is None else difference
    return {
        "name": entry.arm.name,
        "real": f"{run.real_pairs:,}" if run.real_pairs else "–",
        "synthetic": f"{run.synthetic_pairs:,}" if run.synthetic_pairs else "–",
        "runs": len(entry.runs),
        "iou": shown(entry.mean_iou),
        "f1": shown(entry.mean_f1),
        "difference": "–" if difference is None else f"{signed(difference.mean)}{_error(difference.standard_error)}",
        "interval": "–" if ends is None else f"{signed(ends.low or 0)} to {signed(ends.high or 0)}",
    }


def _classes(real: Tileset, summaries: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    shares = class_shares(real.select("test", labelled=True))
    return [
        {
            "name": entry.name,
            "colour": entry.color,
            "share": "–" if shares is None else percent(shares[k]),
            "iou": ["–" if value is None else shown(value) for value in (summary.iou[k] for summary in summaries)],
        }
        for k, entry in enumerate(real.spec.legend.classes)
        if summaries
    ]


def _set(name: str, real: Tileset, other: Tileset, stretch: Stretch, events: Events) -> dict[str, Any]:
    """What the page says about one synthetic tileset."""
    tiles = other.select(labelled=True) or other.select()
    drawn = choose(tiles, SHOWN, 0)
    check = copy_check(real, other, events)
    rows, shares_words, apart = _shares(name, real.select("train", labelled=True), tiles, real)
    share = None if check is None else check.share_nearer
    alike = (
        "class shares were not compared"
        if apart is None
        else f"its class shares differ by {percent(apart)} of the pixels"
    )
    near = (
        "copying could not be judged"
        if share is None
        else f"{percent(share)} of its images come suspiciously near a training tile (about 1\u00a0% is normal)"
    )
    return {
        "name": name,
        "sheet": _data(mosaic(other, drawn, stretch, columns=3)) if drawn else "",
        "note": f"{len(drawn)} of {len(tiles)}",
        "shares": rows,
        "shares_words": shares_words,
        "short": f"“{name}”: {alike}; {near}.",
        "copy_words": _copy_words(check, name),
        "copy_chart": _copy_chart(check, name),
        "nearest": [] if check is None else _nearest(check, real, other, stretch),
    }


def _shares(
    name: str, train: Sequence[Tile], tiles: Sequence[Tile], real: Tileset
) -> tuple[list[dict[str, Any]], str, float | None]:
    ours, theirs = class_shares(train), class_shares(tiles)
    if ours is None or theirs is None:
        return [], "", None
    apart = total_variation(ours, theirs)
    seen = presence(train, len(ours)), presence(tiles, len(ours))
    widest = max(float(ours.max()), float(theirs.max()))
    rows = [
        {
            "name": entry.name,
            "colour": entry.color,
            "real": percent(ours[k]),
            "made": percent(theirs[k]),
            "real_width": round(100 * ours[k] / widest, 2),
            "made_width": round(100 * theirs[k] / widest, 2),
            "real_tiles": percent(seen[0][k]),
            "made_tiles": percent(seen[1][k]),
        }
        for k, entry in enumerate(real.spec.legend.classes)
    ]
    words = (
        f"{percent(apart)} of the pixels of “{name}” would have to change class to give the shares of"
        " the real training tiles."
    )
    return rows, words, apart


def _copy_words(check: CopyCheck | None, name: str) -> str:
    if check is None:
        return f"“{name}” has no generated images, or there are no real training tiles: nothing to check."
    count = len(check.synthetic)
    if check.threshold is None or check.share_nearer is None:
        return (
            f"For {count:,} synthetic images the nearest real training tile was found, but there are no held-out real"
            " tiles to tell how near is too near. Look at the nearest ones below."
        )
    few = ""
    if len(check.held_out) < 100:
        few = f" With only {len(check.held_out)} held-out tiles the 1st percentile is little more than their minimum."
    return (
        f"{percent(check.share_nearer)} of {count:,} synthetic images are nearer to a training tile than the 1st"
        f" percentile ({check.threshold:.2f}) of {len(check.held_out):,} real {check.held_out_split} tiles, which the"
        f" generator cannot have copied. About 1 % is what equally varied tiles would give; much more speaks for"
        f" copying or for too little variety.{few}"
    )


def _copy_chart(check: CopyCheck | None, name: str) -> str:
    if check is None:
        return ""
    rows = [(name, check.distances)]
    if len(check.held_out):
        rows.append((f"real {check.held_out_split} tiles", check.held_out))
    return distances_chart(rows, check.threshold)


def _nearest(check: CopyCheck, real: Tileset, other: Tileset, stretch: Stretch) -> list[dict[str, str]]:
    pairs = []
    for i in check.order[:NEAREST]:
        left = panels(other, check.synthetic[i], stretch, 128, "image")[0]
        right = panels(real, check.nearest[i], stretch, 128, "image")[0]
        both = Image.new("RGB", (258, 128), (255, 255, 255))
        both.paste(left, (0, 0))
        both.paste(right, (130, 0))
        pairs.append({"image": _data(both), "distance": f"{check.distances[i]:.2f}"})
    return pairs


def _limits(plan: ExperimentPlan, summaries: Sequence[ArmSummary]) -> list[str]:
    limits = []
    if summaries:
        limits = [
            "The encoders start from scratch, without pretrained weights. That can flatter the gain from more tiles: a"
            " pretrained encoder knows part of what they teach.",
            "Seeds repeat the training only. One generator and one set of test tiles were used; the intervals do not"
            " cover how results differ on other places or with another generator.",
            "In every arm, the synthetic-only ones too, the weights kept are those that did best on the real"
            " validation tiles, where there are any.",
            "Arms were given equal optimiser steps. An arm with more tiles sees each of them less often, and a longer"
            " training may turn the order.",
        ]
        if len(summaries) > 2:
            limits.append(
                f"{len(summaries) - 1} arms were compared at 95 % each, without correction: the more comparisons, the"
                " likelier one of them looks real by chance."
            )
    return [
        *limits,
        "Equal class shares do not make the shapes and neighbourhoods right; look at the pairs.",
        "The copy check sees thumbnails of whole tiles. Copied parts of tiles go unnoticed, and plain tiles (water,"
        " fields) are near each other without being copies.",
    ]


def _command(plan: ExperimentPlan, synthetic: Mapping[str, Tileset]) -> str:
    names = "".join(f" --arm {_quoted(f'{name}={other.spec.id}')}" for name, other in synthetic.items())
    ratio = next((f" --ratio {arm.ratio:g}" for arm in plan.arms if arm.ratio is not None), "")
    training = (
        f" --steps {plan.steps} --batch {plan.batch} --arch {plan.architecture} --encoder {plan.encoder}"
        f" --learning-rate {plan.learning_rate:g}"
    )
    return (
        f"geosynth evaluate TILES{names} --out REPORT{ratio} --seeds {len(plan.seeds)}{training if plan.seeds else ''}"
    )


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _provenance(real: Tileset, synthetic: Mapping[str, Tileset]) -> list[tuple[str, str]]:
    rows = [("geosynth", __version__)]
    for name, tileset in {"TILES": real, **synthetic}.items():
        rows.append((name, f"tileset {tileset.spec.id}, sha256 of its index {file_hash(tileset.path / INDEX)}"))
    return rows


def markdown(content: Mapping[str, Any]) -> str:
    """The report without its pictures."""
    lines = [f"# {content['title']}", "", content["lead"], "", *(f"- {line}" for line in content["headline"]), ""]
    lines += [f"> {line}\n" for line in content["warnings"]]
    if content["arms"]:
        lines += ["## Scores on the real test tiles", "", content["method"], ""]
        columns = ("name", "real", "synthetic", "runs", "iou", "f1", "difference", "interval")
        titles = (
            "Learns from",
            "Real pairs",
            "Synthetic pairs",
            "Runs",
            "Mean IoU",
            "Mean F1",
            "Difference",
            "95 % interval",
        )
        lines += [
            *_table(titles, [[arm[key] for key in columns] for arm in content["arms"]]),
            "",
            "## Scores by class",
            "",
        ]
        rows = [[row["name"], row["share"], *row["iou"]] for row in content["classes"]]
        lines += [*_table(("Class", "Test pixels", *(arm["name"] for arm in content["arms"])), rows), ""]
    for entry in content["synthetic"]:
        rows = [[row[key] for key in ("name", "real", "made", "real_tiles", "made_tiles")] for row in entry["shares"]]
        lines += [f"## Real and “{entry['name']}”", "", entry["shares_words"], ""]
        heads = (
            "Class",
            "Pixels, real",
            f"Pixels, {entry['name']}",
            "Tiles with it, real",
            f"Tiles with it, {entry['name']}",
        )
        lines += [*_table(heads, rows), "", entry["copy_words"], ""]
    lines += ["## What this does not show", "", *(f"- {line}" for line in content["limits"]), ""]
    lines += ["## How to reproduce it", "", f"    {content['command']}", ""]
    return "\n".join([*lines, *(f"- {name}: {value}" for name, value in content["provenance"]), ""])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells]


def shown(value: Estimate) -> str:
    """``0.458 ± 0.006``, or the mean alone for a single run."""
    return f"{value.mean:.3f}{_error(value.standard_error)}"


def _error(error: float | None) -> str:
    return "" if error is None else f" ± {error:.3f}"


def percent(share: float | np.floating[Any]) -> str:
    """A share 0..1 in percent, with one decimal below ten."""
    value = 100 * float(share)
    return (
        f"{value:.0f}\u00a0%"
        if value >= 9.95 or value == 0
        else f"{value:.1f}\u00a0%"
        if value >= 0.05
        else "<\u00a00.1\u00a0%"
    )


def _data(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
