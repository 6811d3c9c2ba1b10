"""Where the ablations are measured: generators asked in one way or another, and what was measured already."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from ablation_data import dubai_tiles, world_tiles, yardstick_segmenter
from ablation_training import Run, train
from numpy.typing import NDArray

from geosynth.diffusion import samplers
from geosynth.diffusion.generate import generate
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.request import GenerateRequest
from geosynth.evaluation.agreement import generator_confusion
from geosynth.evaluation.yardstick import Fidelity, SampleSizes, Yardstick
from geosynth.events import Events
from geosynth.normalisation import Normalisation
from geosynth.samples import Pair, TilesetDataset
from geosynth.segmentation.metrics import scores
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.tileset import Tileset

COUNT = 400
"""Pairs that are made, and tiles they are compared with."""


@dataclass(frozen=True)
class Sampling:
    """How a generator is asked: in how many evaluations, by which sampler, how guided, what is given, the pixels below
    which areas of its masks go, how its noise levels lie (one of SPACINGS; empty: as they do in ``generate``), and in
    which precision."""

    sampler: str
    steps: int
    guidance: float = 1.0
    question: str = "joint"
    sieve: int = 0
    spacing: str = ""
    precision: str = "auto"

    @property
    def calls(self) -> int:
        """Passes of the network a pair: guided, what each side is alone is asked as well."""
        alone = 0 if self.guidance == 1 else 2 if self.question == "joint" else 1
        return self.steps * (1 + alone)

    @property
    def name(self) -> str:
        sieve = f"-sieve{self.sieve}" if self.sieve else ""
        spacing = f"-{self.spacing}" if self.spacing else ""
        precision = "" if self.precision == "auto" else f"-{self.precision}"
        return f"{self.question}-{self.sampler}-{self.steps}-g{self.guidance:g}{sieve}{spacing}{precision}"


def even(steps: int) -> NDArray[np.float64]:
    """Noise levels of one distance, as diffusers has them: from 0.999 down."""
    return 0.999 * (1 - np.arange(steps) / steps)


SPACINGS: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "even": even,
    **{f"log-{lowest:g}": partial(samplers.flow_levels, lowest=lowest) for lowest in (0.1, 0.15, 0.2, 0.3)},
}


class Lab:
    """Tiles, yardsticks and what was measured already, in one folder."""

    def __init__(self, data: Path | None, work: Path) -> None:
        self.data, self.work = data, work
        self._yardsticks: dict[str, Yardstick] = {}

    def tiles(self, name: str) -> Path:
        folder = self.work / name
        if (folder / "tiles" / "tileset.json").is_file():
            return folder / "tiles"
        if name == "world":
            return world_tiles(folder, Events())
        if self.data is None:
            raise SystemExit("--data is needed for Dubai")
        return dubai_tiles(self.data, folder, Events())

    def yardstick(self, name: str) -> Yardstick:
        if name not in self._yardsticks:
            segmenter = load_segmenter(yardstick_segmenter(self.tiles(name), self.work / name, Events()), "cpu")
            self._yardsticks[name] = Yardstick(
                Tileset(self.tiles(name)), segmenter, None, SampleSizes(COUNT, COUNT), Events()
            )
        return self._yardsticks[name]

    def measured(self, run: Run, asked: Sampling) -> dict[str, float]:
        """Numbers of one generator asked in one way; made once, then read."""
        kept = self.work / "measured" / run.name / f"{asked.name}.json"
        if kept.is_file():
            content: dict[str, float] = json.loads(kept.read_text())
            return content
        model = train(run, self.tiles(run.data), self.work)
        out = self.work / "made" / run.name / asked.name
        given = {"image": {"masks_from": (str(self.tiles(run.data)),)}}.get(asked.question, {})
        request = GenerateRequest(
            COUNT, 1, asked.steps, asked.guidance, block=16, sampler=asked.sampler, sieve=asked.sieve, **given
        )
        start = time.process_time()
        with patch.object(samplers, "flow_levels", SPACINGS.get(asked.spacing, samplers.flow_levels)):
            generate(model, request, out, Events(), rerun="resume", device="cpu", precision=asked.precision)
        seconds = time.process_time() - start
        found = self.yardstick(run.data).measure(Tileset(out), Events())
        content = numbers_of(found) | {"seconds": seconds / COUNT}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(content))
        print(run.name, asked.name, {name: round(value, 4) for name, value in content.items()}, flush=True)
        return content

    def labelled(self, run: Run, sieve: int, guidance: float = 1.0) -> float:
        """Mean IoU of a generator's masks for real val images with their real masks."""
        guided = "" if guidance == 1 else f"-g{guidance:g}"
        kept = self.work / "measured" / run.name / f"labelled-dpm-10-sieve{sieve}{guided}.json"
        if not kept.is_file():
            tileset = Tileset(self.tiles(run.data))
            generator = load_generator(train(run, tileset.path, self.work))
            some = [Pair(tileset, tile) for tile in tileset.select("val", labelled=True)[:COUNT]]
            dataset = TilesetDataset(some, Normalisation.of(tileset.statistics))
            found = generator_confusion(generator, dataset, Events(), steps=10, guidance=guidance, sieve=sieve)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(scores(found).mean_iou))
        return float(json.loads(kept.read_text()))

    def floor(self, name: str) -> dict[str, float]:
        """What real val tiles get."""
        return numbers_of(self.yardstick(name).floor)


def numbers_of(found: Fidelity) -> dict[str, float]:
    """What the tables show of a comparison; left out where it cannot be measured."""
    agreed = found.segmenter_agreement
    numbers = {
        "kid": found.kid.value,
        "fid": found.fid,
        "coverage": found.neighbourhoods.coverage,
        "recall": found.neighbourhoods.recall,
        "classes": found.class_variation,
        "sizes": found.component_distance,
        "agreement": None if agreed is None else agreed.made,
        "nearest": found.copy_ratio,
    }
    return {name: value for name, value in numbers.items() if value is not None}
