"""Training a segmenter."""

from __future__ import annotations

from typing import Any

from ...core.words import tr
from ..choosers import FolderChooser
from ..folders import is_real, is_synthetic
from .page import Page, choice, decimal, number


class SegmentPage(Page):
    command, title, verb, result_name = "segment", tr("Segment"), tr("Train"), "segmenter"
    says = tr("Trains a segmentation network on real tiles, with synthetic ones mixed in.")
    can_detach = detached_first = True

    def build(self) -> None:
        self.add("TILES", tr("Real tiles"), FolderChooser(["tileset"], tr("Tileset"), only=is_real))
        synthetic = FolderChooser(["tileset"], tr("Synthetic tileset"), [("", tr("none"))], is_synthetic)
        self.add("SYNTHETIC", tr("Synthetic tiles"), synthetic)
        ratio = decimal(None, 0.1, 100, tr("all there are"))
        self.add("RATIO", tr("Ratio"), ratio, tr("Synthetic pairs for each labelled real training pair"))
        self.add("STEPS", tr("Steps"), number(1000, 1, 10_000_000, step=100))
        self.add_output(tr("Segmenter"))
        names = ("unet", "unet++", "fpn", "deeplabv3+", "pspnet", "segformer", "upernet", "farseg")
        self.add("ARCH", tr("Architecture"), choice(*((name, name) for name in names)), more=True)
        loss = choice((None, tr("cross entropy")), *((name, name) for name in ("focal", "dice", "lovasz", "ce+dice")))
        self.add("LOSS", tr("Loss"), loss, more=True)
        weights = choice((None, tr("none")), ("sqrt", tr("root of 1 / share")), ("inverse", tr("1 / share")))
        self.add("CLASS_WEIGHTS", tr("Rare classes count"), weights, more=True)
        self.add("CUTMIX", tr("CutMix share"), decimal(0, 0, 1), more=True)
        self.add("COPY_PASTE", tr("Copy-paste share"), decimal(0, 0, 1), more=True)
        self.add("BATCH", tr("Tiles a step"), number(16, 1, 4096), more=True)
        self.add("PATIENCE", tr("Patience"), number(None, 1, 1000, tr("all steps are done")), more=True)
        self.add("DEVICE", tr("Device"), choice((None, "auto"), ("cpu", "cpu"), ("cuda", "cuda")), more=True)
        self.add("THREADS", tr("CPU threads"), number(None, 1, 1024, tr("all cores")), more=True)
        self.add("SEED", tr("Seed"), number(0, 0, 2**31 - 1), more=True)

    def values(self) -> dict[str, Any]:
        found = super().values()
        if not found.get("SYNTHETIC"):
            found.pop("RATIO", None)
        return found

    def problems(self) -> list[str]:
        tiles, synthetic = self.field("TILES").value(), self.field("SYNTHETIC").value()
        if not tiles:
            return [tr("Real tiles: choose a tileset, or cut one on the page Tiles.")]
        if tiles == synthetic:
            return [tr("Real and synthetic tiles are the same folder.")]
        return []
