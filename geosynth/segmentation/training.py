"""From tilesets, real and synthetic, to a segmenter folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from geosynth.devices import choose_device, cpu_threads, kept_machine
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.fitting import CHECKPOINT, fit
from geosynth.folders import OutputFolder, Rerun, claim, is_done, keep_apart
from geosynth.lineage import Lineage, read_lineage
from geosynth.normalisation import Normalisation
from geosynth.samples import TilesetDataModule, pairs_of
from geosynth.segmentation.metrics import Scores, dataset_confusion, scores
from geosynth.segmentation.segmenter import SegmenterSpec, describe_segmenter, save_segmenter
from geosynth.segmentation.task import SegmentationTask
from geosynth.tileset import Tileset


@dataclass(frozen=True)
class SegmenterPlan:
    """How to train: everything that, with the tilesets, decides the result.

    ``ratio`` is synthetic pairs per labelled real training pair; None takes all there are.

    Raises:
        ModelError: a number out of its range.
    """

    architecture: str = "unet"
    encoder: str = "resnet18"
    steps: int = 1000
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    ratio: float | None = None

    def __post_init__(self) -> None:
        checks = (
            ("steps", self.steps >= 1, "at least 1"),
            ("batch", self.batch >= 2, "at least 2 (batch normalisation compares pairs)"),
            ("learning rate", 0 < self.learning_rate < math.inf, "more than 0"),
            ("ratio", self.ratio is None or 0 <= self.ratio < math.inf, "0 or more"),
        )
        for name, good, wanted in checks:
            if not good:
                raise ModelError(f"{name} out of range", remedy=f"give a {name} of {wanted}")


@dataclass(frozen=True)
class SegmenterSummary:
    """What training gave: content hash, numbers of training pairs, the step whose weights were kept, val scores."""

    hash: str
    real_pairs: int
    synthetic_pairs: int
    best_step: int
    mean_iou: float | None
    iou: dict[str, float | None]
    nothing_to_do: bool = False


def train_segmenter(
    tiles: str | PathLike[str],
    synthetic: Sequence[str | PathLike[str]],
    plan: SegmenterPlan,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    threads: int | None = None,
    device: str = "auto",
    real: bool = True,
    checkpoint_every: int = 200,
) -> SegmenterSummary:
    """Train a segmenter; the weights kept are those with the best mean IoU on the val split (without one: the last).

    Args:
        tiles: the real tileset: band statistics, val split, and (with ``real``) training pairs.
        synthetic: synthetic tilesets, any number.
        plan: how to train.
        out: segmenter folder to write.
        events: progress, metrics (``loss``, ``val_mean_iou``), cancellation.
        rerun: rules for an existing output. A resumed run gives the same bytes on a CPU.
        threads: CPU threads; kept with the run, because their number decides the last bits of the weights.
        device: auto, cpu, cuda or mps.
        real: train on the real pairs, too.
        checkpoint_every: steps between checkpoints; one is also written every minute and when cancelled.

    Raises:
        TilesetError: a tileset cannot be used, or there are too few synthetic pairs.
        ModelError: no such architecture, encoder or device.
        OutputError: the rerun rules refuse.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    tileset, others = Tileset(tiles), [Tileset(path) for path in synthetic]
    module = TilesetDataModule(
        tileset,
        others,
        ratio=plan.ratio,
        real=real,
        batch_size=plan.batch,
        steps=plan.steps,
        seed=plan.seed,
        events=events,
    )
    task = SegmentationTask(
        plan.architecture,
        plan.encoder,
        bands=len(tileset.spec.bands),
        names=tileset.spec.legend.names,
        learning_rate=plan.learning_rate,
        steps=plan.steps,
        seed=plan.seed,
    )
    lineages = [read_lineage(other.path) for other in (tileset, *others)]
    where = choose_device(device)
    request = {
        "command": "segment",
        **asdict(plan),
        "real": real,
        "tiles": tileset.identity(),
        "synthetic": [other.identity() for other in others],
    }
    keep_apart(out, tiles, *synthetic)
    if not is_done(out, request, rerun):  # a damaged tile must not cost an earlier result
        for pair in (*module.training_pairs, *pairs_of(tileset, "val")):
            pair.tileset.verify([pair.tile])
    with claim(out, request, rerun) as folder:
        if folder.complete:
            return _summary(describe_segmenter(folder.path), nothing_to_do=True)
        asked = {"device": where, "threads": threads or torch.get_num_threads()}
        machine = kept_machine(folder, asked, events)
        events.log(f"reading {len(module.training_pairs)} training pairs")
        module.setup("fit")
        with cpu_threads(machine["threads"]):
            best = _fit(task, module, folder, events, machine["device"], checkpoint_every)
        save_segmenter(
            folder,
            _spec(plan, tileset),
            best.weights,
            _training(plan, real, module, best),
            None if best.scores is None else best.scores.to_json(tileset.spec.legend.names),
            _lineage(module, lineages, best.scores is not None),
        )
        (folder.state / CHECKPOINT).unlink(missing_ok=True)
        folder.finish()
        events.artifact(folder.path, "segmenter")
        return _summary(describe_segmenter(folder.path))


class Validation(Callback):
    """Reports steps and loss, scores the val split now and then, and keeps the best weights so far.

    What it keeps travels in the checkpoint, so a resumed run chooses among the same weights.
    """

    def __init__(self, events: Events, steps: int) -> None:
        self.events, self.every = events, max(50, steps // 8)
        self.step, self.score, self.weights = 0, -math.inf, dict[str, Tensor]()
        self.scores: Scores | None = None
        self._loss, self._count = 0.0, 0

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        step, total = trainer.global_step, int(trainer.max_steps)
        self._loss += float(trainer.callback_metrics["train_loss"])
        self._count += 1
        if step % 10 == 0 or step == total:
            self.events.progress(step, total, "steps")
            self.events.metric("loss", self._loss / self._count, step)
            self._loss, self._count = 0.0, 0
        if step % self.every == 0 or step == total:
            self._validate(trainer, task, step)

    def _validate(self, trainer: Trainer, task: LightningModule, step: int) -> None:
        module = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(task, SegmentationTask)
        found: Scores | None = None
        if len(module.val_dataset):
            task.eval()
            classes = len(module.tileset.spec.legend)
            # Cancellation waits for the checkpoint that follows: a half validated step could not be resumed.
            found = scores(
                dataset_confusion(lambda image: task(image.to(task.device)), module.val_dataset, classes, Events())
            )
            task.train()
            self.events.metric("val_mean_iou", found.mean_iou, step)
        if found is None or math.isnan(found.mean_iou):  # nothing to choose by: the last weights
            self._keep(task, step, None)
        elif found.mean_iou > self.score:
            self.score = found.mean_iou
            self._keep(task, step, found)

    def _keep(self, task: SegmentationTask, step: int, found: Scores | None) -> None:
        self.step, self.scores = step, found
        self.weights = {name: tensor.detach().cpu().clone() for name, tensor in task.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        found = None if self.scores is None else asdict(self.scores)
        return {"step": self.step, "score": self.score, "weights": self.weights, "scores": found}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step, self.score, self.weights = state_dict["step"], state_dict["score"], state_dict["weights"]
        self.scores = None if state_dict["scores"] is None else Scores(**state_dict["scores"])


def _fit(
    task: SegmentationTask,
    module: TilesetDataModule,
    folder: OutputFolder,
    events: Events,
    device: str,
    checkpoint_every: int,
) -> Validation:
    """Train to the end of the plan, from the folder's checkpoint when there is one."""
    best = Validation(events, task.steps)
    fit(
        task,
        {"datamodule": module},
        folder.state,
        events,
        [best],
        steps=task.steps,
        device=device,
        checkpoint_every=checkpoint_every,
    )
    return best


def _spec(plan: SegmenterPlan, tileset: Tileset) -> SegmenterSpec:
    spec = tileset.spec
    return SegmenterSpec(
        plan.architecture,
        plan.encoder,
        spec.bands,
        spec.legend,
        spec.crs_name,
        spec.pixel_size,
        spec.gsd_m,
        spec.tile_size,
        Normalisation.of(tileset.statistics),
    )


def _training(plan: SegmenterPlan, real: bool, module: TilesetDataModule, best: Validation) -> dict[str, Any]:
    from_real = sum(pair.tileset is module.tileset for pair in module.training_pairs)
    return {
        "steps": plan.steps,
        "batch": plan.batch,
        "learning_rate": plan.learning_rate,
        "seed": plan.seed,
        "ratio": plan.ratio,
        "real": real,
        "pairs": {"real": from_real, "synthetic": len(module.training_pairs) - from_real},
        "tileset": module.tileset.spec.id,
        "synthetic": [other.spec.id for other in module.synthetic],
        "best_step": best.step,
    }


def _lineage(module: TilesetDataModule, synthetic: Sequence[Lineage], validated: bool) -> Lineage:
    """Real tiles trained on, those of the val split (they chose the weights), and what the synthetic ones come from."""
    spec = module.tileset.spec
    tiles = [pair.tile for pair in module.training_pairs if pair.tileset is module.tileset]
    if validated:
        tiles += [pair.tile for pair in module.val_dataset.pairs] if module.val_dataset else []
    lineage = Lineage.of(tiles, spec.crs_name)
    for other in synthetic:
        lineage |= other
    return lineage


def _summary(content: dict[str, Any], *, nothing_to_do: bool = False) -> SegmenterSummary:
    training, validation = content["training"], content["validation"] or {"mean_iou": None, "iou": {}}
    return SegmenterSummary(
        content["hash"],
        training["pairs"]["real"],
        training["pairs"]["synthetic"],
        training["best_step"],
        validation["mean_iou"],
        validation["iou"],
        nothing_to_do,
    )
