"""One generator of an ablation: what it learns from, how, and with which network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation_data import SIDE
from numpy.typing import NDArray

from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import adapt, load_generator, save_generator
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.process import RECIPES
from geosynth.diffusion.training import DiffusionTask, Plan
from geosynth.events import Events
from geosynth.fitting import fit
from geosynth.folders import claim
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage
from geosynth.noise import mix_seed
from geosynth.normalisation import Normalisation
from geosynth.samples import Pair, TilesetDataset
from geosynth.tileset import Tileset, TileSpec


@dataclass(frozen=True)
class Network:
    """Size of the denoiser: pixels folded into channels, channels and attention of its levels, blocks a level."""

    patch: int = 2
    widths: tuple[int, ...] = (48, 64, 96)
    attention: tuple[bool, ...] = (False, False, True)
    layers: int = 1

    @property
    def name(self) -> str:
        """As in ``p2 48.64.96 a3``: patch, widths, levels with attention; blocks a level, unless one."""
        levels = "".join(str(level) for level, on in enumerate(self.attention, 1) if on)
        blocks = "" if self.layers == 1 else f" l{self.layers}"
        return f"p{self.patch} {'.'.join(map(str, self.widths))} a{levels or '-'}{blocks}"


STEPS = 1500
BASE = Network(widths=(64, 96, 128), layers=2)
"""That of the base that ships."""
NETWORKS = {
    Network(): STEPS,
    Network(attention=(False, False, False)): 1700,
    Network(attention=(False, True, True)): 1150,
    Network(widths=(64, 96, 128)): 1050,
    Network(patch=4, widths=(64, 96), attention=(False, True)): 2450,
    Network(patch=4, widths=(96, 128), attention=(False, True)): 1700,
    Network(patch=1): 470,
    BASE: 620,
}
"""Networks and the steps they get, so that all train equally long."""


@dataclass(frozen=True)
class Run:
    """One generator.

    ``labels`` is the share of tiles with labels; the others are left out unless ``unlabelled``. With ``from_base`` it
    starts from the base that ships, whose network it then has, instead of from nothing.
    """

    data: str
    recipe: str = "flow"
    seed: int = 0
    bits: float = 1.0
    shortcut: bool = True
    steps: int = STEPS
    labels: float = 1.0
    unlabelled: bool = False
    network: Network = Network()
    rate: float = Plan.learning_rate
    decorrelation: float | None = None
    from_base: bool = False

    @property
    def name(self) -> str:
        """What its files are called; the steps are in it unless they are those that its network gets."""
        steps = "" if self.steps == NETWORKS.get(self.network, STEPS) else f"-n{self.steps}"
        network = "" if self.network == Network() else f"-{self.network.name.replace(' ', '-')}"
        bits = ("" if self.bits == 1 else f"-b{self.bits:g}") + ("" if self.shortcut else "-plain")
        share = "" if self.labels == 1 else f"-l{self.labels:g}{'+u' if self.unlabelled else ''}"
        rate = "" if self.rate == Plan.learning_rate else f"-r{self.rate:g}"
        start = "-base" if self.from_base else ""
        strength = RECIPES[self.recipe].decorrelation if self.decorrelation is None else self.decorrelation
        return f"{self.data}-{self.recipe}{bits}{network}{start}{share}{steps}{rate}-d{strength:g}-s{self.seed}"


class Unlabelled:
    """Pairs, with the labels of some hidden."""

    def __init__(self, pairs: TilesetDataset, labelled: NDArray[np.bool_]) -> None:
        self.pairs, self.labelled = pairs, labelled

    def __len__(self) -> int:
        return len(self.pairs)

    def raw(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        image, valid, mask = self.pairs.raw(index)
        return image, valid, mask if self.labelled[index] else np.full_like(mask, UNKNOWN)


def train(run: Run, tiles: Path, work: Path) -> Path:
    """The generator folder of a run, trained now or earlier."""
    out = work / "models" / run.name
    if (out / "geosynth.json").is_file():
        return out
    tileset = Tileset(tiles)
    spec, recipe = tileset.spec, RECIPES[run.recipe]
    known = [Pair(tileset, tile) for tile in tileset.select("train", labelled=True)]
    order = np.random.default_rng(run.seed).permutation(len(known))
    keeps = np.zeros(len(known), bool)
    keeps[order[: round(run.labels * len(known))]] = True
    if not run.unlabelled:
        known, keeps = [pair for pair, kept in zip(known, keeps, strict=True) if kept], keeps[keeps]
    other = [Pair(tileset, tile) for tile in tileset.select("val", labelled=True)]
    values = Normalisation.of(tileset.statistics)
    scale = BandScale(*(tuple(getattr(b, n) for b in tileset.statistics) for n in ("mean", "std", "min", "max")))
    torch.manual_seed(mix_seed("weights", run.seed))
    network = _network(run, spec)
    plan = Plan(
        steps=run.steps,
        batch=16,
        size=SIDE,
        seed=run.seed,
        recipe=run.recipe,
        learning_rate=run.rate,
        decorrelation=run.decorrelation,
    )
    pairs = Unlabelled(TilesetDataset(known, values), keeps)
    task = DiffusionTask(network, pairs, TilesetDataset(other, values), scale, len(spec.legend), plan, keeps)
    fit(task, {}, work / "state" / run.name, Events(), [], steps=plan.steps, precision="bf16", clip=plan.clip)
    with claim(out, {"run": run.name}, "overwrite") as folder:
        training = {"recipe": run.recipe, "steps": run.steps, "batch": plan.batch, "seed": run.seed}
        training |= dict(zip(("val_loss_image", "val_loss_mask"), task.held_out_loss(), strict=True))
        save_generator(folder, task.average, spec, task.scale, training, Lineage(), process=recipe.process)
        folder.finish()
    return out


def _network(run: Run, spec: TileSpec) -> Denoiser:
    if run.from_base:
        return adapt(load_generator("base"), spec, SIDE)
    recipe = RECIPES[run.recipe]
    return Denoiser(
        image_channels=len(spec.bands),
        mask_channels=bit_count(len(spec.legend)),
        sample_size=SIDE,
        patch=run.network.patch,
        widths=run.network.widths,
        attention=run.network.attention,
        layers=run.network.layers,
        two_levels=recipe.two_levels,
        bit_size=run.bits,
        shortcut=run.shortcut and recipe.process.betas is None,
    )
