"""What the makers of base generators share: how to compute, training with its reports, and saving."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rasterio.crs import CRS

from geosynth.devices import has_fast_bfloat16
from geosynth.diffusion.generator import save_generator
from geosynth.diffusion.loading import default_workers
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.samplegrids import SampleGrids
from geosynth.diffusion.stopping import HeldOut
from geosynth.diffusion.training import DiffusionTask, Means
from geosynth.events import Events
from geosynth.fitting import fit
from geosynth.folders import OutputFolder, claim
from geosynth.legend import Legend
from geosynth.lineage import Lineage
from geosynth.metriclog import MetricLog
from geosynth.rasters import Band
from geosynth.tileset import TileSpec

RGB = tuple(Band(name, "uint8") for name in ("red", "green", "blue"))
PICTURES = 12
"""Sample grids over a whole training."""


def precision_of(device: str) -> str:
    return "bf16" if has_fast_bfloat16(device) else "32"


def means_of(device: str, *, compiled: bool = False) -> Means:
    """How to compute there: as ``geosynth train`` does."""
    return Means(default_workers(device, in_memory=True), device == "cuda", compiled)


def train_and_save(
    task: DiffusionTask,
    legend: Legend,
    *,
    name: str,
    crs: CRS,
    gsd: float | None,
    lineage: Lineage,
    facts: Mapping[str, Any],
    device: str,
    work: Path,
    out: Path,
) -> None:
    """Train to the end of the plan, from the checkpoint in ``work`` when there is one, and write the generator.

    ``work`` gets the checkpoint, ``log/metrics.csv`` and ``samples/``. ``facts`` go into the model's description.
    """
    plan = task.plan

    def show(record: dict[str, Any]) -> None:
        if record["event"] == "metric" and (record["step"] % 100 == 0 or "val" in record["name"]):
            print(record["step"], record["name"], f"{record['value']:.4f}", flush=True)
        elif record["event"] == "log":
            print(record["message"], flush=True)

    events = Events([show])
    log = MetricLog(events, work / "log")
    scratch = OutputFolder(work, complete=False)
    scratch.temporary.mkdir(parents=True, exist_ok=True)
    pictures = SampleGrids(scratch, legend, [band.name for band in RGB], max(1, plan.steps // PICTURES))
    fit(
        task,
        {},
        work,
        events,
        [Progress(events, log), HeldOut(log), pictures],
        steps=plan.steps,
        device=device,
        precision=precision_of(device),
        clip=plan.clip,
    )
    spec = TileSpec(name, RGB, legend, crs, (1.0, 1.0), gsd, plan.size)
    summary: dict[str, Any] = {
        **facts,
        "recipe": plan.recipe,
        "steps": plan.steps,
        "batch": plan.batch,
        "learning_rate": plan.learning_rate,
        "labelled_share": round(task.drawing.share, 6),
        "seed": plan.seed,
        "precision": precision_of(device),
        "device": device,
    }
    for side, loss in task.to(device).held_out_loss()._asdict().items():
        if loss is not None:
            summary[f"val_loss_{side}"] = loss
            print(f"held-out loss, {side}: {loss:.4f}", flush=True)
    with claim(out, {"command": facts["made_by"], **asdict(plan)}, "overwrite") as folder:
        content_hash = save_generator(
            folder, task.average.cpu(), spec, task.scale, summary, lineage, process=task.recipe.process, half=True
        )
        folder.finish()
    shutil.rmtree(out / ".geosynth")  # what is kept is the model, not the state of its making
    print("saved", content_hash)
