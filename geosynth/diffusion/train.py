"""From a tileset to a generator folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback
from numpy.typing import NDArray

from geosynth.devices import (
    begun_machine,
    check_devices,
    choose_device,
    cpu_threads,
    decided_precision,
    kept_machine,
)
from geosynth.diffusion.batches import labelled_share
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import BASE, Generator, describe, load_generator, save_generator
from geosynth.diffusion.loading import default_workers
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.process import DEFAULT_RECIPE, RECIPES
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.samplegrids import SampleGrids
from geosynth.diffusion.starting import network_to_train, recipe_to_train
from geosynth.diffusion.stopping import HeldOut
from geosynth.diffusion.training import DiffusionTask, HeldOutLoss, Means, Plan
from geosynth.errors import ModelError, TilesetError
from geosynth.events import Events
from geosynth.fitting import CHECKPOINT, fit
from geosynth.folders import OutputFolder, Rerun, claim, is_done, keep_apart
from geosynth.lineage import Lineage, read_lineage
from geosynth.metriclog import MetricLog, check_tensorboard
from geosynth.normalisation import Normalisation
from geosynth.ranks import Rank, check_started_once, together
from geosynth.samples import Pair, TilesetDataset
from geosynth.tileset import Tile, Tileset


@dataclass(frozen=True)
class TrainRequest:
    """What to train.

    Attributes:
        steps: optimiser steps, at most.
        batch: tiles a step.
        learning_rate: peak rate; None: 2e-3, half of it with ``start``.
        seed: decides weights, batches and noise.
        start: a generator folder, "base", or None for random weights.
        recipe: one of RECIPES; None takes that of ``start``, or the default.
        size: side of what the generator makes, pixels: larger tiles are cropped at random. None: the tiles' own.
        dropout: rate inside the network; None takes that of ``start``, or 0.
        labelled_share: share of labelled tiles in a batch, where some have no label; None: their share in the tileset,
            but at least half.
        evaluate_every: steps between two measurements of the held-out loss.
        patience: stop after so many measurements without a better one, and keep the weights of the best; None: train
            to the end and keep the last.
        samples_every: steps between two pictures of samples; None: no pictures.

    Raises:
        ModelError: a number out of its range.
    """

    steps: int = 4000
    batch: int = 16
    learning_rate: float | None = None
    seed: int = 0
    start: str | None = None
    recipe: str | None = None
    size: int | None = None
    dropout: float | None = None
    labelled_share: float | None = None
    evaluate_every: int = 250
    patience: int | None = None
    samples_every: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("steps", self.steps >= 1, "at least 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("learning rate", self.learning_rate is None or 0 < self.learning_rate < 1, "more than 0 and below 1"),
            ("size", self.size is None or self.size >= 1, "at least 1"),
            ("dropout", self.dropout is None or 0 <= self.dropout < 1, "0 or more and below 1"),
            ("labelled share", self.labelled_share is None or 0 < self.labelled_share <= 1, "more than 0, up to 1"),
            ("evaluate every", self.evaluate_every >= 1, "at least 1"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1"),
            ("samples every", self.samples_every is None or self.samples_every >= 1, "at least 1"),
        )
        for name, good, wanted in checks:
            if not good:
                raise ModelError(f"{name} out of range", remedy=f"give a number that is {wanted}")


@dataclass(frozen=True)
class TrainSummary:
    """What training gave: the generator's hash, the held-out loss, the step the weights are of.

    ``nothing_to_do``: it was there already.
    """

    hash: str
    held_out_loss: HeldOutLoss
    step: int | None = None
    nothing_to_do: bool = False


@dataclass(frozen=True)
class _Inputs:
    """What is trained on and from; nothing in the request is left to be decided."""

    tileset: Tileset
    request: TrainRequest
    start: Generator | None
    train: tuple[Tile, ...]
    held_out: tuple[Tile, ...]
    network: Denoiser


def train_generator(
    tiles: str | PathLike[str],
    request: TrainRequest,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    device: str = "auto",
    devices: int = 1,
    threads: int | None = None,
    precision: str = "auto",
    compiled: bool = False,
    workers: int | None = None,
    tensorboard: bool = False,
    checkpoint_every: int = 500,
) -> TrainSummary:
    """Train a generator on the train split of a tileset, held-out loss on its val split.

    Metrics are kept in ``.geosynth/log/metrics.csv``.

    Args:
        tiles: tileset folder.
        request: what to train.
        out: generator folder to write.
        events: progress, metrics, cancellation.
        rerun: rules for an existing output.
        device: "cpu", "cuda", "mps" or "auto".
        devices: processes that share every batch, each on a GPU of its own or with a part of the cores.
        threads: CPU threads a process; the number is kept with the run, because it decides the last bits of the
            weights, as do ``devices``, ``precision`` and ``compiled``.
        precision: "32", "bf16", or "auto" (bf16 where the device is fast at it).
        compiled: whether torch compiles the network.
        workers: processes that make batches ahead of time; None: enough for a GPU, none for a CPU. Changes no bit.
        tensorboard: write TensorBoard's files into ``.geosynth/log/tensorboard`` too.
        checkpoint_every: steps between checkpoints.

    Raises:
        TilesetError: no training tiles, or a tile size the network cannot take.
        ModelError: ``start`` is not a generator, there are not so many devices, or the training fails.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    check_started_once()
    where = choose_device(device)
    if tensorboard:
        check_tensorboard()
    inputs = _inputs(tiles, request)
    tileset, request = inputs.tileset, inputs.request
    asked = _asked(inputs)
    keep_apart(out, tiles, *([] if request.start in (None, BASE) else [str(request.start)]))
    if not is_done(out, asked, rerun):
        begun = begun_machine(out) if rerun == "resume" else None
        check_devices(where, devices if begun is None else begun["devices"], request.batch)
        tileset.verify((*inputs.train, *inputs.held_out))  # before anything of an earlier run goes
    with claim(out, asked, rerun) as folder:
        if folder.complete:
            return TrainSummary(describe(folder.path)["hash"], HeldOutLoss(None, None), nothing_to_do=True)
        asked_machine = {
            "device": where,
            "devices": devices,
            "threads": threads or max(1, torch.get_num_threads() // devices),
            "precision": decided_precision(precision, where),
            "channels_last": where == "cuda",
            "compiled": compiled,
        }
        machine = kept_machine(folder, asked_machine, events)
        events.log(f"reading {len(inputs.train)} training and {len(inputs.held_out)} held-out tiles")
        task = _task(inputs, machine, workers, events)
        log = MetricLog(events, folder.state / "log", tensorboard=tensorboard)
        judge = HeldOut(log, request.evaluate_every, request.patience)
        report: list[Callback] = [Progress(events, log, rehearse=not compiled), judge]
        if request.samples_every:
            spec = tileset.spec
            names = [band.name for band in spec.bands]
            report.append(SampleGrids(folder, spec.legend, names, request.samples_every))
        others = (str(tiles), request, folder.state, machine, workers)
        with cpu_threads(machine["threads"]), together(machine["devices"], _beside, others, events) as rank:
            _fit(task, folder.state, events, report, machine, checkpoint_every, rank)
        judge.restore(task)
        with cpu_threads(machine["threads"]):  # the held-out loss is saved, and its last digits depend on them
            return _save(folder, inputs, task, judge, machine, events)


def _inputs(tiles: str | PathLike[str], request: TrainRequest) -> _Inputs:
    """What a request means, everything checked that can be without reading pixels."""
    tileset = Tileset(tiles)
    start = None if request.start is None else load_generator(request.start)
    recipe = recipe_to_train(request.recipe, start, request.start)
    size = request.size or tileset.spec.tile_size
    if size > tileset.spec.tile_size:
        raise TilesetError(
            f"has tiles of {tileset.spec.tile_size} px, and crops of {size} px were asked for",
            where=tileset.path,
            remedy=f"give --size {tileset.spec.tile_size} or less, or tile again with larger tiles",
        )
    request = replace(request, recipe=recipe, size=size)
    # A network of one level cannot tell images without labels from pairs.
    labelled = None if RECIPES[recipe].two_levels else True
    train, held_out = tileset.select("train", labelled=labelled), tileset.select("val", labelled=labelled)
    if not train:
        raise TilesetError("has no training tiles", where=tileset.path, remedy="tile more scenes or change --split")
    if not any(tile.labelled for tile in train):
        raise TilesetError(
            "has no labelled training tile", where=tileset.path, remedy="give labels to: geosynth tile --labels"
        )
    if request.patience is not None and not held_out:
        raise TilesetError(
            "has no val tiles to stop by", where=tileset.path, remedy="leave out --patience, or tile again with --split"
        )
    network = network_to_train(tileset, start, recipe, size=size, dropout=request.dropout, seed=request.seed)
    request = replace(
        request,
        # A warm start must not be shaken out of what it knows.
        learning_rate=request.learning_rate or Plan.learning_rate * (0.5 if start else 1),
        dropout=float(network.config.dropout),
        labelled_share=labelled_share(sum(tile.labelled for tile in train), len(train), request.labelled_share),
    )
    return _Inputs(tileset, request, start, train, held_out, network)


def _asked(inputs: _Inputs) -> dict[str, Any]:
    """The request as it is kept with the output: what decides the model, and nothing that does not."""
    asked = asdict(inputs.request)
    del asked["samples_every"]
    if inputs.request.patience is None:
        del asked["evaluate_every"]
    start = None if inputs.start is None else inputs.start.hash
    recipe = RECIPES[inputs.request.recipe or DEFAULT_RECIPE]
    how = {"decorrelation": recipe.decorrelation}  # a run that was begun without must not go on with it
    return {"command": "train", **asked, **how, "start": start, "tiles": inputs.tileset.identity()}


def _task(inputs: _Inputs, machine: dict[str, Any], workers: int | None, events: Events) -> DiffusionTask:
    """The task with its pixels; the same in every process."""
    tileset, request = inputs.tileset, inputs.request
    train, held_out = (_read(tileset, chosen, events) for chosen in (inputs.train, inputs.held_out))
    plan = Plan(
        steps=request.steps,
        batch=request.batch,
        size=request.size or tileset.spec.tile_size,
        seed=request.seed,
        learning_rate=request.learning_rate or Plan.learning_rate,
        recipe=request.recipe or DEFAULT_RECIPE,
        labelled_share=request.labelled_share,
    )
    if workers is None:
        workers = default_workers(machine["device"], train.in_memory, machine["devices"])
    return DiffusionTask(
        inputs.network,
        train,
        held_out,
        _scale(tileset),
        len(tileset.spec.legend),
        plan,
        _labelled(train),
        Means(workers, machine["channels_last"], machine["compiled"]),
        _labelled(held_out),
    )


def _labelled(pairs: TilesetDataset) -> NDArray[np.bool_]:
    return np.array([pair.tile.labelled for pair in pairs.pairs], bool)


def _fit(
    task: DiffusionTask,
    state: Path,
    events: Events,
    report: list[Callback],
    machine: dict[str, Any],
    checkpoint_every: int,
    rank: Rank,
) -> None:
    fit(
        task,
        {},
        state,
        events,
        report,
        steps=task.plan.steps,
        device=machine["device"],
        precision=machine["precision"],
        clip=task.plan.clip,
        checkpoint_every=checkpoint_every,
        rank=rank,
    )


def _beside(
    rank: Rank, tiles: str, request: TrainRequest, state: Path, machine: dict[str, Any], workers: int | None
) -> Callable[[], None]:
    """The part of a process that helps another one: the same task, of which nothing is told or written."""
    silent = Events()
    task = _task(_inputs(tiles, request), machine, workers, silent)
    log = MetricLog(silent)
    report: list[Callback] = [Progress(silent, log), HeldOut(log, request.evaluate_every, request.patience)]

    def work() -> None:
        with cpu_threads(machine["threads"]):
            _fit(task, state, silent, report, machine, checkpoint_every=1, rank=rank)

    return work


def _save(
    folder: OutputFolder,
    inputs: _Inputs,
    task: DiffusionTask,
    judge: HeldOut,
    machine: dict[str, Any],
    events: Events,
) -> TrainSummary:
    """Write what was trained."""
    request, start, plan = inputs.request, inputs.start, task.plan
    spec = replace(inputs.tileset.spec, tile_size=plan.size)
    step = judge.step or request.steps
    summary: dict[str, Any] = {
        "recipe": request.recipe,
        "steps": request.steps,
        "weights_of_step": step,
        "batch": request.batch,
        "learning_rate": plan.learning_rate,
        "dropout": inputs.network.config.dropout,
        "labelled_share": round(task.drawing.share, 6),
        "seed": request.seed,
        "started_from": "random weights" if start is None else start.hash,
        "tileset": spec.id,
        "precision": machine["precision"],
    }
    held_out_loss = task.held_out_loss()
    summary |= {f"val_loss_{side}": loss for side, loss in held_out_loss._asdict().items() if loss is not None}
    # Tiles of the val split count as seen only where they chose the weights.
    lineage = Lineage.of((*inputs.train, *(inputs.held_out if request.patience else ())), spec.crs_name)
    lineage |= read_lineage(inputs.tileset.path)  # of tiles that were cut from synthetic scenes
    if start is not None:
        lineage |= start.lineage
    content_hash = save_generator(folder, task.average, spec, task.scale, summary, lineage, process=task.recipe.process)
    (folder.state / CHECKPOINT).unlink(missing_ok=True)
    folder.finish()
    events.artifact(folder.path, "generator")
    return TrainSummary(content_hash, held_out_loss, step)


def _read(tileset: Tileset, tiles: tuple[Tile, ...], events: Events) -> TilesetDataset:
    return TilesetDataset([Pair(tileset, tile) for tile in tiles], Normalisation.of(tileset.statistics), events=events)


def _scale(tileset: Tileset) -> BandScale:
    bands = tileset.statistics
    return BandScale(
        mean=tuple(band.mean for band in bands),
        std=tuple(band.std for band in bands),
        low=tuple(band.min for band in bands),
        high=tuple(band.max for band in bands),
    )
