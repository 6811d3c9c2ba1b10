"""One run of an experiment: its tiles put together, a segmenter trained on them, and tested on the real test tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from geosynth.devices import cpu_threads
from geosynth.diffusion.generator import load_generator
from geosynth.evaluation.agreement import generator_confusion
from geosynth.evaluation.arms import Source
from geosynth.evaluation.checking import unlabelled
from geosynth.evaluation.experiment import ExperimentPlan, Job, Trial, segmenter_plan
from geosynth.evaluation.extract import extract
from geosynth.evaluation.places import block_confusions, blocks_under_test, logits_confusion
from geosynth.evaluation.pseudolabels import pseudo_label
from geosynth.events import Events
from geosynth.filtering.run import filter_tileset
from geosynth.noise import mix_seed
from geosynth.normalisation import Normalisation
from geosynth.samples import draw_synthetic, pairs_of
from geosynth.segmentation.networks import padded_logits
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.training import train_segmenter
from geosynth.tileset import Tileset

SEGMENTER, TILES = "segmenter", "tiles"
"""What lies in the folder of a run: what it trained, and tiles that it made for that."""


@dataclass(frozen=True)
class SegmenterRuns:
    """The runs of a real experiment: each trains a segmenter with ``threads`` on ``device``, and tests it."""

    plan: ExperimentPlan
    threads: int
    device: str

    def __call__(self, job: Job, events: Events) -> Trial:
        if job.arm.source == "answers":
            return self._asked(job, events)
        settings = segmenter_plan(self.plan, job.arm, job.seeds)
        with cpu_threads(self.threads):
            added = ADDED[job.arm.source](job, self.device, events)
        if job.arm.source in MADE:  # drawn already
            settings = replace(settings, ratio=None)
        folder = job.folder / SEGMENTER
        learned = train_segmenter(
            job.real,
            added,
            settings,
            folder,
            events,
            rerun="resume",
            threads=self.threads,
            device=self.device,
            real=job.arm.real,
        )
        real = Tileset(job.real)
        with cpu_threads(self.threads):
            segmenter = load_segmenter(folder, self.device)
            groups, confusions = block_confusions(
                real,
                segmenter.spec.normalisation,
                logits_confusion(
                    lambda image: padded_logits(segmenter.network, image.to(segmenter.device)),
                    len(segmenter.spec.legend),
                    events,
                ),
            )
        made = learned.synthetic_pairs if job.arm.source != "own" else 0
        return Trial(groups, confusions, learned.real_pairs + learned.synthetic_pairs - made, made, learned.mean_iou)

    def _asked(self, job: Job, events: Events) -> Trial:
        """The generator's own masks for the test images; nothing is trained."""
        assert job.synthetic is not None
        real, generator = Tileset(job.real), load_generator(job.synthetic)
        generator.pipeline.denoiser.to(self.device)
        numbers = iter(range(len(blocks_under_test(real))))
        seed = job.seeds.initialisation
        with cpu_threads(self.threads):
            groups, confusions = block_confusions(
                real,
                Normalisation.of(real.statistics),
                lambda dataset: generator_confusion(
                    generator, dataset, events, seed=mix_seed("answers", seed, next(numbers))
                ),
            )
        return Trial(groups, confusions, 0, 0)


def _none(job: Job, device: str, events: Events) -> list[Path]:
    return []


def _own(job: Job, device: str, events: Events) -> list[Path]:
    return [job.real]


def _synthetic(job: Job, device: str, events: Events) -> list[Path]:
    assert job.synthetic is not None
    return [job.synthetic]


def _pseudo(job: Job, device: str, events: Events) -> list[Path]:
    assert job.teacher is not None
    real = Tileset(job.real)
    teacher = load_segmenter(job.teacher / SEGMENTER, device)
    labelled = pseudo_label(real, unlabelled(real), teacher, job.folder / TILES, events)
    if not labelled:
        events.warn(f"{job.name}: the teacher is sure of no pixel, so this run learns from the real tiles alone")
        return []
    return [job.folder / TILES]


def _filtered(job: Job, device: str, events: Events) -> list[Path]:
    assert job.teacher is not None and job.synthetic is not None
    made, out = Tileset(job.synthetic), job.folder / TILES
    pairs = draw_synthetic(
        pairs_of(Tileset(job.real), "train"), pairs_of(made, "train"), job.arm.ratio, job.seeds.initialisation
    )
    extract(made, [pair.tile for pair in pairs], out, events)
    filter_tileset(out, job.teacher / SEGMENTER, job.real, events, rerun="resume", device=device)
    return [out]


ADDED: dict[Source, Callable[[Job, str, Events], list[Path]]] = {
    "none": _none,
    "own": _own,
    "synthetic": _synthetic,
    "filtered": _filtered,
    "pseudo": _pseudo,
}
"""How each source of tiles beside the real ones is put together."""

MADE: frozenset[Source] = frozenset({"filtered", "pseudo"})
"""Sources whose tilesets hold just the pairs that a run takes."""
