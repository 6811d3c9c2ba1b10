"""From a tileset to a generator folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any

import torch
from torch.utils.data import DataLoader

from geosynth.devices import choose_device, cpu_threads, has_fast_bfloat16, kept_machine
from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import Generator, adapt, describe, load_generator, save_generator
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.process import DEFAULT_RECIPE, RECIPES, Recipe
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.training import DiffusionTask, Plan
from geosynth.errors import ModelError, TilesetError
from geosynth.events import Events
from geosynth.fitting import CHECKPOINT, fit
from geosynth.folders import OutputFolder, Rerun, claim, is_done
from geosynth.lineage import Lineage
from geosynth.noise import mix_seed
from geosynth.normalisation import Normalisation
from geosynth.samples import Pair, TilesetDataset
from geosynth.tileset import Tile, Tileset


@dataclass(frozen=True)
class TrainRequest:
    """What to train: ``start`` is a generator folder, "base", or None for random weights.

    ``recipe`` is one of RECIPES; None takes that of ``start``, or the default.
    """

    steps: int = 4000
    batch: int = 16
    learning_rate: float | None = None
    seed: int = 0
    start: str | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class TrainSummary:
    """What training gave: the generator's hash, the held-out loss of (image, mask), whether it was there already."""

    hash: str
    held_out_loss: tuple[float, float] | None
    nothing_to_do: bool = False


def train_generator(
    tiles: str | PathLike[str],
    request: TrainRequest,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    checkpoint_every: int = 500,
) -> TrainSummary:
    """Train a generator on the train split of a tileset, held-out loss on its val split.

    Args:
        tiles: tileset folder.
        request: what to train.
        out: generator folder to write.
        events: progress, metrics, cancellation.
        rerun: rules for an existing output.
        device: "cpu", "cuda", "mps" or "auto".
        threads: CPU threads; the number is kept with the run, because it decides the last bits of the weights.
        precision: "32", "bf16", or "auto" (bf16 where the device is fast at it); kept with the run too.
        checkpoint_every: steps between checkpoints.

    Raises:
        TilesetError: no training tiles, or a tile size the network cannot take.
        ModelError: ``start`` is not a generator.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    where = choose_device(device)
    tileset = Tileset(tiles)
    start = None if request.start is None else load_generator(request.start)
    recipe = _recipe(request, start)
    request = replace(request, recipe=recipe)
    # A network of one level cannot tell images without labels from pairs.
    labelled = None if RECIPES[recipe].two_levels else True
    train, held_out = tileset.select("train", labelled=labelled), tileset.select("val", labelled=labelled)
    if not train:
        raise TilesetError("has no training tiles", where=tileset.path, remedy="tile more scenes or change --split")
    if not any(tile.labelled for tile in train):
        raise TilesetError(
            "has no labelled training tile", where=tileset.path, remedy="give labels to: geosynth tile --labels"
        )
    network = _network(tileset, start, recipe, request.seed)
    asked = {
        "command": "train",
        **asdict(request),
        "start": None if start is None else start.hash,
        "tiles": tileset.identity(),
    }
    if not is_done(out, asked, rerun):
        tileset.verify((*train, *held_out))  # before anything of an earlier run goes
    with claim(out, asked, rerun) as folder:
        if folder.complete:
            return TrainSummary(describe(folder.path)["hash"], None, nothing_to_do=True)
        asked_machine = {
            "device": where,
            "threads": threads or torch.get_num_threads(),
            "precision": precision if precision != "auto" else "bf16" if has_fast_bfloat16(where) else "32",
        }
        machine = kept_machine(folder, asked_machine, events)
        events.log(f"reading {len(train)} training and {len(held_out)} held-out tiles")
        pairs = _read(tileset, train, events), _read(tileset, held_out, events)
        with cpu_threads(machine["threads"]):
            return _train(folder, tileset, pairs, network, request, start, events, machine, checkpoint_every)


def _train(
    folder: OutputFolder,
    tileset: Tileset,
    pairs: tuple[TilesetDataset, TilesetDataset],
    network: Denoiser,
    request: TrainRequest,
    start: Generator | None,
    events: Events,
    machine: dict[str, Any],
    checkpoint_every: int,
) -> TrainSummary:
    spec = tileset.spec
    recipe = request.recipe or DEFAULT_RECIPE
    plan = Plan(steps=request.steps, batch=request.batch, size=spec.tile_size, seed=request.seed, recipe=recipe)
    # A warm start must not be shaken out of what it knows.
    rate = request.learning_rate or plan.learning_rate * (0.5 if start else 1)
    scale = BandScale(
        mean=tuple(band.mean for band in tileset.statistics),
        std=tuple(band.std for band in tileset.statistics),
        low=tuple(band.min for band in tileset.statistics),
        high=tuple(band.max for band in tileset.statistics),
    )
    task = DiffusionTask(
        network,
        *pairs,
        scale,
        len(spec.legend),
        replace(plan, learning_rate=rate),
    )
    # The loader only counts: batches come from the step number (see batches.py).
    counter: DataLoader[int] = DataLoader(range(plan.steps), batch_size=None)  # type: ignore[arg-type]
    fit(
        task,
        {"train_dataloaders": counter},
        folder.state,
        events,
        [Progress(events)],
        steps=plan.steps,
        device=machine["device"],
        precision=machine["precision"],
        clip=plan.clip,
        checkpoint_every=checkpoint_every,
    )
    # Images of the val split chose nothing but were looked at; only what was learnt from counts as seen.
    summary: dict[str, Any] = {
        "recipe": recipe,
        "steps": request.steps,
        "batch": request.batch,
        "learning_rate": rate,
        "seed": request.seed,
        "started_from": "random weights" if start is None else start.hash,
        "tileset": spec.id,
        "precision": machine["precision"],
    }
    held_out_loss = task.held_out_loss()
    if held_out_loss is not None:
        summary["val_loss_image"], summary["val_loss_mask"] = held_out_loss
    lineage = Lineage.of((pair.tile for pair in pairs[0].pairs), spec.crs_name)
    if start is not None:
        lineage |= start.lineage
    content_hash = save_generator(folder, task.average, spec, scale, summary, lineage, process=task.recipe.process)
    (folder.state / CHECKPOINT).unlink(missing_ok=True)
    folder.finish()
    events.artifact(folder.path, "generator")
    return TrainSummary(content_hash, held_out_loss)


def _read(tileset: Tileset, tiles: tuple[Tile, ...], events: Events) -> TilesetDataset:
    return TilesetDataset([Pair(tileset, tile) for tile in tiles], Normalisation.of(tileset.statistics), events=events)


def _recipe(request: TrainRequest, start: Generator | None) -> str:
    if start is None:
        return request.recipe or DEFAULT_RECIPE
    trained = next(
        name for name, recipe in RECIPES.items() if recipe == Recipe(start.pipeline.process, start.pipeline.two_levels)
    )
    if request.recipe not in (None, trained):
        raise ModelError(
            f"was trained with recipe {trained}, which cannot go on as {request.recipe}",
            where=request.start,
            remedy=f"give --recipe {trained}, or train without --from",
        )
    return trained


def _network(tileset: Tileset, start: Generator | None, recipe: str, seed: int) -> Denoiser:
    spec = tileset.spec
    torch.manual_seed(mix_seed("weights", seed))
    if start is not None:
        network = adapt(start, spec, spec.tile_size)
    else:
        network = Denoiser(
            image_channels=len(spec.bands),
            mask_channels=bit_count(len(spec.legend)),
            sample_size=spec.tile_size,
            # About 32 x 32 positions inside the network, whatever the tile: the cost of a step stays the same.
            patch=2 if spec.tile_size <= 96 else 4,
            two_levels=RECIPES[recipe].two_levels,
        )
    if spec.tile_size % network.multiple:
        raise TilesetError(
            f"tiles of {spec.tile_size} px do not fit the network",
            where=tileset.path,
            remedy=f"tile again with a --size that {network.multiple} divides",
        )
    return network
