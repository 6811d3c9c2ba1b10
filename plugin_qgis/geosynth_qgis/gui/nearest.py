"""Each synthetic image beside the real training tile nearest to it: was it copied?"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsCoordinateTransform, QgsProject
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QPixmap
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..core.words import tr
from .choosers import FolderChooser
from .folders import is_real
from .pairs import PairRow, PairTable, pair_picture, read_pairs

_SIDE = 176
_TABLE = "nearest.csv"


@dataclass(frozen=True)
class Near:
    """A row of ``nearest.csv``."""

    id: str
    nearest_id: str
    distance: float
    suspect: bool


def read_nearest(folder: Path) -> list[Near]:
    """The table that the command wrote, the nearest first; empty where there is none, or a damaged one."""
    try:
        with (folder / _TABLE).open(newline="", encoding="utf-8") as stream:
            found = [
                Near(row["id"], row["nearest_id"], float(row["distance"]), row["suspect"] == "1")
                for row in csv.DictReader(stream)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    return sorted(found, key=lambda near: near.distance)


class NearestDialog(QDialog):
    """A list of synthetic tiles by distance; the chosen one and its nearest real tile side by side."""

    def __init__(self, folder: str, iface, run: Callable[..., Any], parent: QWidget | None = None) -> None:  # type: ignore[no-untyped-def]
        super().__init__(parent)
        self.setObjectName("geosynthNearest")
        self.setWindowTitle(tr("Nearest real tiles: {name}").format(name=Path(folder).name))
        self.resize(900, 520)
        self._folder, self._iface, self._run = folder, iface, run
        self._made: dict[str, PairRow] = {}
        self._real: PairTable | None = None
        self.real = FolderChooser(["tileset"], tr("Real tileset"), only=is_real)
        self.real.refresh(QgsProject.instance())
        self.find_button = QPushButton(tr("Find"))
        self.find_button.setObjectName("geosynthFindNearest")
        self.find_button.clicked.connect(self.find)
        top = QHBoxLayout()
        top.addWidget(QLabel(tr("Real tiles")))
        top.addWidget(self.real, 1)
        top.addWidget(self.find_button)
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels([tr("Synthetic"), tr("Distance"), tr("Nearest real tile")])
        self.tree.setRootIsDecorated(False)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.tree.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.tree.itemSelectionChanged.connect(self._show)
        self._pictures = QLabel(), QLabel()
        self._names = QLabel(), QLabel()
        grid = QGridLayout()
        for row in range(2):
            self._pictures[row].setFixedSize(2 * _SIDE + 9, _SIDE + 6)
            grid.addWidget(self._names[row], 2 * row, 0)
            grid.addWidget(self._pictures[row], 2 * row + 1, 0)
        self._go = QPushButton(tr("Show the real tile on the map"))
        self._go.clicked.connect(self._zoom)
        self._go.setEnabled(False)
        grid.addWidget(self._go, 4, 0, Qt.AlignmentFlag.AlignLeft)
        grid.setRowStretch(5, 1)
        middle = QHBoxLayout()
        middle.addWidget(self.tree, 1)
        middle.addLayout(grid)
        self._words = QLabel()
        self._words.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addLayout(middle, 1)
        layout.addWidget(self._words)
        self.real.changed.connect(self.read)
        self.read()

    def read(self) -> None:
        """Show the table that is there."""
        near = read_nearest(Path(self._folder))
        self._real = None
        try:
            self._made = read_pairs(Path(self._folder)).by_id()
            if self.real.value():
                self._real = read_pairs(Path(self.real.value()))
        except OSError as error:
            self._words.setText(str(error))
        self.tree.clear()
        for entry in near:
            mark = tr(" — very near") if entry.suspect else ""
            item = QTreeWidgetItem([entry.id, f"{entry.distance:.3f}{mark}", entry.nearest_id])
            item.setData(0, Qt.ItemDataRole.UserRole, entry)
            self.tree.addTopLevelItem(item)
        suspect = sum(entry.suspect for entry in near)
        if not near:
            self._words.setText(
                tr("Not looked for yet: choose the tiles the generator was trained on, and press Find.")
            )
        else:
            self._words.setText(
                tr(
                    "{suspect} of {count} are nearer than all but 1 in 100 of real held-out tiles. Distances are in"
                    " standard deviations of the bands, over all flips and turns."
                ).format(suspect=suspect, count=len(near))
            )
            self.tree.setCurrentItem(self.tree.topLevelItem(0))

    def find(self) -> None:
        """Run the command ``nearest``."""
        name = Path(self._folder).name
        values = {"TILES": self._folder, "OF": self.real.value()}
        run = self._run("nearest", values, tr("Nearest real tiles of {name}").format(name=name))
        if run is not None:
            self.find_button.setEnabled(False)
            run.ended.connect(self._found)

    def _found(self, state: str, message: str) -> None:
        self.find_button.setEnabled(True)
        self.read()
        if state != "done":
            self._words.setText(message)

    def _chosen(self) -> Near | None:
        items = self.tree.selectedItems()
        return items[0].data(0, Qt.ItemDataRole.UserRole) if items else None

    def _show(self) -> None:
        near = self._chosen()
        real = {} if self._real is None else self._real.by_id()
        rows = (None, None) if near is None else (self._made.get(near.id), real.get(near.nearest_id))
        for picture, name, row, words in zip(
            self._pictures, self._names, rows, (tr("SYNTHETIC: {id}"), tr("real: {id}"))
        ):
            picture.setPixmap(QPixmap() if row is None else QPixmap.fromImage(pair_picture(row, _SIDE)))
            name.setText("" if row is None else words.format(id=row.id))
        self._go.setEnabled(rows[1] is not None)

    def _zoom(self) -> None:
        near = self._chosen()
        row = self._real.by_id().get(near.nearest_id) if near is not None and self._real is not None else None
        if row is None:
            return
        canvas = self._iface.mapCanvas()
        there = canvas.mapSettings().destinationCrs()
        transform = QgsCoordinateTransform(self._real.layer.crs(), there, QgsProject.instance())
        box = transform.transformBoundingBox(row.outline.boundingBox())
        box.scale(3)
        canvas.setExtent(box)
        canvas.refresh()
        canvas.flashGeometries([row.outline], self._real.layer.crs())
