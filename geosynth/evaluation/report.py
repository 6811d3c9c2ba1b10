"""The report: one self-contained HTML page, the same as Markdown without pictures, and the runs as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from geosynth import __version__
from geosynth.evaluation.arms import HEADLINE
from geosynth.evaluation.charts import arms_chart
from geosynth.evaluation.comparison import SHOWN, compare, sheet
from geosynth.evaluation.contact import choose, stretch_of
from geosynth.evaluation.experiment import ExperimentPlan, RunResult
from geosynth.evaluation.fairness import is_unexplained, seen_by
from geosynth.evaluation.fidelity import class_shares
from geosynth.evaluation.plain import markdown
from geosynth.evaluation.statistics import signed
from geosynth.evaluation.summary import ArmSummary, headline, summarise
from geosynth.evaluation.wording import percent, plus_minus, shown
from geosynth.events import Events
from geosynth.folders import OutputFolder, file_hash
from geosynth.tileset import INDEX, SPLITS, Split, Tileset


def write_report(
    out: OutputFolder,
    real: Tileset,
    synthetic: Mapping[str, Tileset],
    plan: ExperimentPlan,
    results: Sequence[RunResult],
    events: Events,
) -> None:
    """Write ``report.html`` and ``report.md``.

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
    out.write("report.md", markdown(content))
    template = files("geosynth.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    out.write("report.html", environment.from_string(template).render(content) + "\n")
    events.artifact(out.path / "report.html", "report")


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
    sets = [compare(name, real, other, stretch, events) for name, other in synthetic.items()]
    reference = next((entry.arm.name for entry in summaries if entry.difference is None and not entry.verdict), None)
    purposes: tuple[tuple[Split, str], ...] = (("train", "training"), ("val", "validation"), ("test", "testing"))
    counts = ", ".join(f"{len(real.select(split, labelled=True)):,} for {purpose}" for split, purpose in purposes)
    made = ", ".join(f"“{name}” ({len(other.select()):,})" for name, other in synthetic.items())
    spec = real.spec
    scale = "" if spec.gsd_m is None else f" at {spec.gsd_m:.3g} m per pixel"
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
        "real_sheet": sheet(real, base, stretch),
        "real_note": f"{len(base)} of {len(train or real.select())} training tiles",
        "synthetic": sets,
        "limits": _limits(summaries),
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
        "difference": "–"
        if difference is None
        else f"{signed(difference.mean)}{plus_minus(difference.standard_error)}",
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


def _limits(summaries: Sequence[ArmSummary]) -> list[str]:
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
    ids = {other.path: other.spec.id for other in synthetic.values()}
    given = {arm.label: [ids[path] for path in arm.synthetic if path in ids] for arm in plan.arms}
    names = "".join(f" --arm {_quoted(f'{name}={",".join(found)}')}" for name, found in given.items() if found)
    words = ",".join(dict.fromkeys(arm.word for arm in plan.arms if arm.word))
    levels = [f"{arm.ratio:g}" for arm in plan.arms if arm.word == HEADLINE and arm.ratio is not None]
    ratios = f" --ratios {','.join(levels)}" if levels else ""
    asked = f" --arms {words}{ratios}" if words else ""
    runs = f" --seeds {len(plan.seeds)}"
    if plan.seeds:
        runs += f" --other-seeds {plan.other_seeds}" if plan.other_seeds else ""
        runs += f" --steps {plan.steps} --batch {plan.batch} --arch {plan.architecture} --encoder {plan.encoder}"
        runs += f" --learning-rate {plan.learning_rate:g}"
    return f"geosynth evaluate TILES{names} --out REPORT{asked}{runs}"


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _provenance(real: Tileset, synthetic: Mapping[str, Tileset]) -> list[tuple[str, str]]:
    rows = [("geosynth", __version__)]
    for name, tileset in {"TILES": real, **synthetic}.items():
        rows.append((name, f"tileset {tileset.spec.id}, sha256 of its index {file_hash(tileset.path / INDEX)}"))
    return rows
