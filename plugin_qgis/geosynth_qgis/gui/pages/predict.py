"""Class rasters of scenes, and polygons out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProject
from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtWidgets import QCheckBox

from ...core.words import tr
from ..choosers import FolderChooser, LayerList, is_raster
from .page import Page, choice, decimal, new_form, number


class PredictPage(Page):
    command, title, verb, result_name = "predict", tr("Predict & vectorize"), tr("Predict"), "classes"
    says = tr("Maps the classes of whole scenes, and makes polygons of them.")
    can_detach = True

    def build(self) -> None:
        self.add("SEGMENTER", tr("Segmenter"), FolderChooser(["segmenter"], tr("Segmenter")))
        self.add("SCENES", tr("Scenes"), LayerList(is_raster, tr("Scenes")))
        self.add("CONFIDENCE", "", QCheckBox(tr("Confidence, too")))
        self.add_output(tr("Write to"))
        self.polygons = QgsCollapsibleGroupBox(tr("Polygons of the classes"))
        self.polygons.setCheckable(True)
        self.polygons.setChecked(True)
        form = new_form(self.polygons)
        self._area = decimal(0, 0, 1e9, step=1)
        self._area.setSuffix(" m²")
        self._sieve = number(0, 0, 500)
        self._sieve.setSuffix(" px")
        self._simplify = decimal(0, 0, 1e6, step=0.5)
        for box in (self._area, self._sieve, self._simplify):
            box.setMinimumWidth(60)
        form.addRow(tr("Smallest area"), self._area)
        self._sieve.setToolTip(tr("Smaller regions take the class of a larger neighbour"))
        form.addRow(tr("Smallest region"), self._sieve)
        self._simplify.setToolTip(tr("Tolerance in units of the coordinate system; neighbours keep common borders"))
        form.addRow(tr("Simplify by"), self._simplify)
        self.form.addRow(self.polygons)
        self.polygons.toggled.connect(lambda _: self.touched())
        flips = choice((None, tr("1: fast")), ("4", tr("4: better")), ("8", tr("8: best, slowest")))
        self.add("FLIPS", tr("Flips and turns"), flips, more=True)
        self.add("RESAMPLE", "", QCheckBox(tr("Resample scenes of another pixel size")), more=True)
        self.add("WINDOW", tr("Window"), number(256, 32, 8192, step=32), more=True).setSuffix(" px")
        self.add("DEVICE", tr("Device"), choice((None, "auto"), ("cpu", "cpu"), ("cuda", "cuda")), more=True)

    def problems(self) -> list[str]:
        if not self.field("SEGMENTER").value():
            return [tr("Segmenter: choose one, or train one on the page Segment.")]
        if not self.field("SCENES").value():
            return [tr("Scenes: tick a raster layer, or add files with …")]
        return []

    def then(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Parameters of ``vectorize`` for what has been predicted; None where no polygons are wanted."""
        folder = str(results.get("OUTPUT") or "")
        if not self.polygons.isChecked() or not folder:
            return None
        out = Path(folder)
        found: dict[str, Any] = {"MASKS_FOLDER": folder, "OUTPUT": str(out.with_name(f"{out.name}.gpkg"))}
        given = {"MIN_AREA": self._area.value(), "SIEVE": self._sieve.value(), "SIMPLIFY": self._simplify.value()}
        return found | {name: value for name, value in given.items() if value}

    def refresh(self, project: QgsProject) -> None:
        super().refresh(project)
        self.run_button.setText(tr("Predict"))
