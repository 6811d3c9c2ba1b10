"""Training a generator."""

from __future__ import annotations

from ...core.words import tr
from ..choosers import FolderChooser
from ..folders import is_real
from .page import Page, choice, decimal, number


class GeneratorPage(Page):
    command, title, verb, result_name = "train", tr("Generator"), tr("Train"), "generator"
    says = tr("Learns how your places and their labels look together. Tiles without labels count too.")
    can_detach = detached_first = True

    def build(self) -> None:
        self.add("TILES", tr("Tileset"), FolderChooser(["tileset"], tr("Tileset"), only=is_real))
        words = [("base", tr("base, of geosynth")), ("", tr("from scratch"))]
        self.add("FROM", tr("Start from"), FolderChooser(["generator"], tr("Generator"), words))
        self.add("STEPS", tr("Steps"), number(1500, 1, 10_000_000, step=100))
        tip = tr("Draws eight pairs from the same noise every so many steps, so that you see it learn")
        self.add("SAMPLES_EVERY", tr("Samples every"), number(250, 1, 1_000_000, tr("never"), 50), tip)
        self.field("SAMPLES_EVERY").setSuffix(tr(" steps"))
        self.add_output(tr("Generator"))
        self.add("SIZE", tr("Learnt side"), number(None, 8, 4096, tr("as the tiles"), 8), more=True).setSuffix(" px")
        self.add("BATCH", tr("Tiles a step"), number(16, 1, 4096), more=True)
        self.add("LEARNING_RATE", tr("Learning rate"), decimal(None, 1e-5, 0.9, tr("default"), 1e-4, 5), more=True)
        tip = tr("Stop after so many measurements of the held-out loss without a better one")
        self.add("PATIENCE", tr("Patience"), number(None, 1, 1000, tr("all steps are done")), tip, more=True)
        every = number(250, 1, 1_000_000, step=50)
        self.add("EVALUATE_EVERY", tr("Measure every"), every, more=True).setSuffix(tr(" steps"))
        every = number(500, 1, 1_000_000, step=50)
        tip = tr("What a sudden end costs at most. Cancel writes a checkpoint of its own.")
        self.add("CHECKPOINT_EVERY", tr("Checkpoint every"), every, tip, more=True).setSuffix(tr(" steps"))
        self.add("DEVICE", tr("Device"), choice((None, "auto"), ("cpu", "cpu"), ("cuda", "cuda")), more=True)
        self.add("THREADS", tr("CPU threads"), number(None, 1, 1024, tr("all cores")), more=True)
        self.add("SEED", tr("Seed"), number(0, 0, 2**31 - 1), more=True)

    def problems(self) -> list[str]:
        return [] if self.field("TILES").value() else [tr("Tileset: choose one, or cut one on the page Tiles.")]
