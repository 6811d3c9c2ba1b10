"""From tilesets, real and synthetic, to a segmenter folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import torch

from geosynth.devices import choose_device, cpu_threads, decided_precision, kept_machine
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.fitting import CHECKPOINT, fit
from geosynth.folders import OutputFolder, Rerun, claim, is_done, keep_apart
from geosynth.lineage import Lineage, read_lineage
from geosynth.metriclog import MetricLog
from geosynth.normalisation import Normalisation
from geosynth.samples import TilesetDataModule, class_shares, pairs_of
from geosynth.scenes.origins import synthetic_side
from geosynth.segmentation.augmentation import Augmentation, Augmenter
from geosynth.segmentation.losses import WEIGHTINGS, Weighting, class_weights, loss_terms, takes_weights
from geosynth.segmentation.mask2former import CHECKPOINT as CHECKPOINT_ENCODER
from geosynth.segmentation.mask2former import MASK2FORMER
from geosynth.segmentation.networks import OWN_LOSS, check_takes
from geosynth.segmentation.segmenter import SegmenterSpec, describe_segmenter, save_segmenter
from geosynth.segmentation.start import Start
from geosynth.segmentation.task import SegmentationTask
from geosynth.segmentation.validation import Validation, steps_between
from geosynth.tileset import Tile, Tileset


@dataclass(frozen=True)
class SegmenterPlan:
    """How to train: everything that, with the tilesets, decides the result.

    Attributes:
        architecture, encoder: see ``networks.build_network``.
        steps: optimiser steps, whatever the schedule.
        batch: pairs a step.
        learning_rate: its peak.
        seed: of weights, dropout, the choice of synthetic pairs, their order and all augmentation.
        ratio: synthetic pairs per labelled real training pair; None takes all there are.
        pretrain: share of the steps on synthetic pairs alone, before the rest on real ones alone; 0: on both together.
        loss: one of ``losses.LOSSES``, or several joined by ``+``; None: ce, or the architecture's own.
        class_weights: how much rare classes count in ``ce`` and ``focal``, a key of ``losses.WEIGHTINGS``.
        turns: flip and turn pairs at random, in eight ways.
        colour, zoom, cutmix, copy_paste: see ``augmentation.Augmentation``.
        encoder_weights: a file to start the encoder from, see ``encoderfile``; None: random weights.
        pretrained: a folder to start all of mask2former from, see ``checkpoint``; ``encoder`` is "checkpoint" then.
        validate_every: steps between two scores of val; None: eight times or so in a run, at least 50 steps apart.
        patience: stop after so many scores in a row without a better one; None: train to the end.

    Raises:
        ModelError: a number out of its range; no such loss or weighting, or weights for a loss that takes none.
    """

    architecture: str = "unet"
    encoder: str = "resnet18"
    steps: int = 1000
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    ratio: float | None = None
    pretrain: float = 0.0
    loss: str | None = None
    class_weights: Weighting = "none"
    turns: bool = True
    colour: float = 0.0
    zoom: float = 0.0
    cutmix: float = 0.0
    copy_paste: float = 0.0
    encoder_weights: str | PathLike[str] | None = None
    pretrained: str | PathLike[str] | None = None
    validate_every: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("steps", self.steps >= (2 if self.pretrain else 1), "at least 1, with a pretraining 2"),
            ("batch", self.batch >= 2, "at least 2 (batch normalisation compares pairs)"),
            ("learning rate", 0 < self.learning_rate < math.inf, "more than 0"),
            ("ratio", self.ratio is None or 0 <= self.ratio < math.inf, "0 or more"),
            ("pretrain", 0 <= self.pretrain < 1, "0 or more and below 1"),
            ("colour", 0 <= self.colour <= 1, "0 to 1"),
            ("zoom", 0 <= self.zoom < math.inf, "0 or more"),
            ("cutmix", 0 <= self.cutmix <= 1, "0 to 1"),
            ("copy-paste", 0 <= self.copy_paste <= 1, "0 to 1"),
            ("validate-every", self.validate_every is None or self.validate_every >= 1, "at least 1"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1"),
        )
        for name, good, wanted in checks:
            if not good:
                raise ModelError(f"{name} out of range", remedy=f"give a {name} of {wanted}")
        if self.loss is not None:
            loss_terms(self.loss)
        if (self.pretrained is not None) != (self.encoder == CHECKPOINT_ENCODER) or (
            self.pretrained is not None and (self.encoder_weights is not None or self.architecture != MASK2FORMER)
        ):
            raise ModelError(
                "a pretrained folder is all of a mask2former, its encoder included",
                remedy="give --pretrained with --arch mask2former, and neither --encoder nor --encoder-weights",
            )
        if self.class_weights not in WEIGHTINGS:
            raise ModelError(f"no class weights '{self.class_weights}'", remedy=f"give one of: {', '.join(WEIGHTINGS)}")
        if self.architecture in OWN_LOSS and (self.loss is not None or self.class_weights != "none"):
            raise ModelError(
                f"{self.architecture} learns by a loss of its own", remedy="leave out --loss and --class-weights"
            )
        if self.class_weights != "none" and not takes_weights(self.loss_name):
            raise ModelError(
                f"class weights change nothing in {self.loss_name}, which counts all classes equally",
                remedy="leave out --class-weights, or add ce: --loss ce+dice",
            )

    @property
    def loss_name(self) -> str:
        """What the network learns by."""
        return self.loss or OWN_LOSS.get(self.architecture, "ce")

    def to_json(self, start: Start) -> dict[str, Any]:
        """As JSON values; what it starts from is its sha256, wherever it lies."""
        values = {**asdict(self), "loss": self.loss_name, "encoder_weights": start.encoder and start.encoder.sha256}
        del values["pretrained"]
        return values if start.checkpoint is None else {**values, "pretrained": start.checkpoint.sha256}


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
    precision: str = "auto",
    real: bool = True,
    checkpoint_every: int = 200,
) -> SegmenterSummary:
    """Train a segmenter; the weights kept are those with the best mean IoU on the val split (without one: the last).

    Args:
        tiles: the real tileset: band statistics, val split, and (with ``real``) training pairs.
        synthetic: synthetic tilesets, any number.
        plan: how to train.
        out: segmenter folder to write.
        events: progress, metrics (see ``validation.Validation``; also in .geosynth/log/metrics.csv), cancellation.
        rerun: rules for an existing output. A resumed run gives the same bytes on a CPU.
        threads: CPU threads; kept with the run, because their number decides the last bits of the weights.
        device: auto, cpu, cuda or mps.
        precision: "32", "bf16" (autocast; weights and loss stay float32), or "auto": bf16 where the device is fast at
            it; kept with the run, as the threads are.
        real: train on the real pairs, too.
        checkpoint_every: steps between checkpoints; one is also written every minute and when cancelled.

    Raises:
        TilesetError: a tileset cannot be used, or there are too few synthetic pairs.
        ModelError: no such architecture, encoder or device, or they do not go together; a file of encoder weights that
            is damaged or of another encoder; the training failed.
        OutputError: the rerun rules refuse.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    tileset, others = Tileset(tiles), [Tileset(path) for path in synthetic]
    spec = tileset.spec
    module = TilesetDataModule(
        tileset,
        others,
        ratio=plan.ratio,
        real=real,
        batch_size=plan.batch,
        steps=plan.steps,
        seed=plan.seed,
        pretrain=plan.pretrain,
        turns=plan.turns,
        augment=_augmenter(plan),
        events=events,
    )
    start = Start.of(plan.encoder_weights, plan.pretrained)
    task = SegmentationTask(
        plan.architecture,
        plan.encoder,
        bands=len(spec.bands),
        names=spec.legend.names,
        learning_rate=plan.learning_rate,
        steps=plan.steps,
        seed=plan.seed,
        loss=plan.loss or "ce",
        weights=_weights(plan, module),
        settings=start.settings,
    )
    check_takes(task.model, len(spec.bands), spec.tile_size)
    lineages = [*(read_lineage(other.path) for other in (tileset, *others)), *start.lineages]
    fitted = start.load(task.model, spec)
    where = choose_device(device)
    request = {
        "command": "segment",
        **plan.to_json(start),
        "real": real,
        "tiles": tileset.identity(),
        "synthetic": [other.identity() for other in others],
    }
    keep_apart(out, tiles, *synthetic, *start.paths)
    if not is_done(out, request, rerun):  # a damaged tile must not cost an earlier result
        for pair in (*module.training_pairs, *pairs_of(tileset, "val")):
            pair.tileset.verify([pair.tile])
    with claim(out, request, rerun) as folder:
        if folder.complete:
            return _summary(describe_segmenter(folder.path), nothing_to_do=True)
        asked = {
            "device": where,
            "precision": decided_precision(precision, where),
            "threads": threads or torch.get_num_threads(),
        }
        machine = kept_machine(folder, asked, events)
        for line in fitted:
            events.log(line)
        events.log(f"reading {len(module.training_pairs)} training pairs")
        module.setup("fit")
        if plan.patience is not None and not (module.val_dataset and len(module.val_dataset)):
            events.warn("without labelled tiles in split=val there is nothing to be patient for; training to the end")
        with cpu_threads(machine["threads"]):
            best = _fit(task, module, plan, folder, events, machine, checkpoint_every)
        save_segmenter(
            folder,
            _spec(plan, tileset, start),
            best.weights,
            _training(plan, real, module, best, start),
            None if best.scores is None else best.scores.to_json(spec.legend.names),
            _lineage(module, lineages, best.scores is not None),
        )
        (folder.state / CHECKPOINT).unlink(missing_ok=True)
        folder.finish()
        events.artifact(folder.path, "segmenter")
        return _summary(describe_segmenter(folder.path))


def _weights(plan: SegmenterPlan, module: TilesetDataModule) -> tuple[float, ...] | None:
    if plan.class_weights == "none":
        return None
    return class_weights(class_shares(module.training_pairs), plan.class_weights)


def _augmenter(plan: SegmenterPlan) -> Augmenter | None:
    what = Augmentation(plan.colour, plan.zoom, plan.cutmix, plan.copy_paste)
    return Augmenter(what, plan.seed) if what != Augmentation() else None


def _fit(
    task: SegmentationTask,
    module: TilesetDataModule,
    plan: SegmenterPlan,
    folder: OutputFolder,
    events: Events,
    machine: Mapping[str, Any],
    checkpoint_every: int,
) -> Validation:
    """Train to the end of the plan, from the folder's checkpoint when there is one."""
    if machine["precision"] == "bf16":  # faster on a CPU that is fast at it; in 32 bits it changes nothing
        task.model.to(memory_format=torch.channels_last)
    best = Validation(
        events,
        MetricLog(events, folder.state / "log"),
        module.tileset.spec.legend.names,
        every=plan.validate_every or steps_between(plan.steps),
        patience=plan.patience,
        patient_until=module.phases[-1].steps.start,
    )
    fit(
        task,
        {"datamodule": module},
        folder.state,
        events,
        [best],
        steps=task.steps,
        device=machine["device"],
        precision=machine["precision"],
        checkpoint_every=checkpoint_every,
    )
    return best


def _spec(plan: SegmenterPlan, tileset: Tileset, start: Start) -> SegmenterSpec:
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
        start.settings,
    )


def _training(
    plan: SegmenterPlan,
    real: bool,
    module: TilesetDataModule,
    best: Validation,
    start: Start,
) -> dict[str, Any]:
    settings = plan.to_json(start)
    for name in ("architecture", "encoder"):  # the spec says them
        del settings[name]
    # By what the tiles are, not by how they were given: a filter must not be taught by what it filters.
    made = sum(synthetic_side(p.tile.image_origin, p.tile.mask_origin) != "none" for p in module.training_pairs)
    names, weights = module.tileset.spec.legend.names, _weights(plan, module)
    return {
        **settings,
        "class_weight_values": None if weights is None else dict(zip(names, weights, strict=True)),
        "real": real,
        "pairs": {"real": module.real_pairs, "synthetic": len(module.training_pairs) - module.real_pairs},
        "made_pairs": made,
        "tileset": module.tileset.spec.id,
        "synthetic": [other.spec.id for other in module.synthetic],
        "best_step": best.step,
        "last_step": best.last,
    }


def _lineage(module: TilesetDataModule, behind: Sequence[Lineage], validated: bool) -> Lineage:
    """Tiles trained on, those of the val split (they chose the weights), and what is behind the tilesets and the start.

    Tilesets that are given as synthetic ones may hold real images, too: with masks of a model, or of people.
    """
    tiles: dict[str, list[Tile]] = {}
    for pair in module.training_pairs:
        tiles.setdefault(pair.tileset.spec.crs_name, []).append(pair.tile)
    if validated and module.val_dataset:
        tiles.setdefault(module.tileset.spec.crs_name, []).extend(pair.tile for pair in module.val_dataset.pairs)
    lineage = Lineage()
    for part in (*behind, *(Lineage.of(some, crs) for crs, some in tiles.items())):
        lineage |= part
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
