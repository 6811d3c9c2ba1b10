"""What has been made: look at it, judge it, measure whether it helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProject
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QGroupBox, QHBoxLayout, QLabel, QLineEdit, QPushButton

from ...core.artefacts import kind_of, provenance
from ...core.words import tr
from ..choosers import FolderChooser
from ..folders import is_real, is_synthetic
from .page import Page, new_form, number

_KINDS = {
    "tileset": tr("A tileset."),
    "scene": tr("A whole scene."),
    "generator": tr("A generator."),
    "segmenter": tr("A segmenter."),
    "classes": tr("Class rasters."),
    "report": tr("A report."),
    "unfinished": tr("An unfinished run."),
}


class ResultsPage(Page):
    command, title, verb, result_name = "evaluate", tr("Results"), tr("Measure it"), "report"
    says = tr("Look at what was made, judge pairs, and measure whether the synthetic ones help.")
    can_detach = detached_first = True

    load_wanted = pyqtSignal(str)
    review_wanted = pyqtSignal(str)
    nearest_wanted = pyqtSignal(str)
    scores_wanted = pyqtSignal(str)

    def build(self) -> None:
        self.made = FolderChooser(list(_KINDS)[:-1], tr("Result"))
        self.form.addRow(tr("Made"), self.made)

        self._facts = QLabel()
        self._facts.setWordWrap(True)
        self._facts.setTextFormat(Qt.TextFormat.PlainText)
        self.form.addRow(self._facts)
        rows = QHBoxLayout(), QHBoxLayout()
        self.buttons: dict[str, QPushButton] = {}
        for place, (name, text, signal) in enumerate(
            (
                ("load", tr("Add to map"), self.load_wanted),
                ("review", tr("Review pairs …"), self.review_wanted),
                ("nearest", tr("Nearest real …"), self.nearest_wanted),
                ("scores", tr("Scores …"), self.scores_wanted),
            )
        ):
            button = QPushButton(text)
            button.setObjectName(f"geosynthResult_{name}")
            button.clicked.connect(lambda _=False, signal=signal: signal.emit(self.made.value()))
            rows[place // 2].addWidget(button)
            self.buttons[name] = button
        for row in rows:
            self.form.addRow(row)
        box = QGroupBox(tr("Do the synthetic tiles help?"))
        form = new_form(box)
        self._box_form = form
        for name, label, widget in (
            ("TILES", tr("Real tiles"), FolderChooser(["tileset"], tr("Tileset"), only=is_real)),
            ("SYNTHETIC", tr("Synthetic tiles"), FolderChooser(["tileset"], tr("Tileset"), only=is_synthetic)),
            ("SEEDS", tr("Runs of each"), number(3, 0, 50)),
            ("STEPS", tr("Steps"), number(1000, 1, 10_000_000, step=100)),
            ("BUDGET", tr("Time there is"), QLineEdit()),
        ):
            widget.setObjectName(f"geosynth_evaluate_{name}")
            self.hold(name, widget)
            form.addRow(label, widget)
        self.field("SEEDS").setToolTip(tr("Below three runs nothing is claimed; 0 compares the tiles only"))
        self.field("BUDGET").setPlaceholderText(tr("30min, 2h …"))
        self.form.addRow(box)
        self.add_output(tr("Report"))
        self.made.changed.connect(self._chosen)

    def refresh(self, project: QgsProject) -> None:
        self.made.refresh(project)
        super().refresh(project)
        self._chosen()

    def values(self) -> dict[str, Any]:
        found = super().values()
        if found.get("SEEDS") is None:
            found["SEEDS"] = self.field("SEEDS").value()
        return found

    def problems(self) -> list[str]:
        tiles, synthetic = self.field("TILES").value(), self.field("SYNTHETIC").value()
        if not tiles or not synthetic:
            return [tr("To measure, choose a real and a synthetic tileset.")]
        if tiles == synthetic:
            return [tr("Real and synthetic tiles are the same folder.")]
        return []

    def _chosen(self) -> None:
        value, synthetic = self.made.value(), False
        folder = Path(value) if value else None
        kind = kind_of(folder) if folder is not None else None
        if folder is None or kind is None:
            self._facts.setText(tr("Nothing yet."))
        else:
            about = provenance(folder)
            synthetic = about.synthetic
            self._facts.setText("\n".join([_KINDS[kind], *(_shortened(line) for line in about.lines)]))
        self.buttons["load"].setEnabled(kind in ("tileset", "scene", "classes"))
        self.buttons["review"].setEnabled(kind == "tileset")
        self.buttons["nearest"].setEnabled(kind == "tileset" and synthetic)
        self.buttons["scores"].setEnabled(kind == "report")


def _shortened(line: str) -> str:
    """A hash in full has no place where a line could be broken."""
    return " ".join(word if len(word) < 40 else f"{word[:12]}…" for word in line.split(" "))
