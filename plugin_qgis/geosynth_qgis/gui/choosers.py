"""Fields of the pages: layers of the project or files, folders of geosynth, numbers that may be left open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer, QgsWkbTypes
from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from ..core.words import tr
from .folders import known_folders

_VALUE = Qt.ItemDataRole.UserRole
_ROWS = 4
_NARROWEST = 60
BROWSE = "…"


def is_raster(layer: QgsMapLayer) -> bool:
    return isinstance(layer, QgsRasterLayer) and layer.providerType() == "gdal"


def is_label(layer: QgsMapLayer) -> bool:
    """A raster, or a vector layer of polygons or lines."""
    if isinstance(layer, QgsVectorLayer):
        return layer.geometryType() in (
            QgsWkbTypes.GeometryType.PolygonGeometry,
            QgsWkbTypes.GeometryType.LineGeometry,
        )
    return is_raster(layer)


class LayerList(QWidget):
    """Layers of the project with a tick each, and files added beside them. The value is layer ids and paths."""

    changed = pyqtSignal()

    def __init__(self, accepts, title: str, rows: int = _ROWS, parent: QWidget | None = None) -> None:  # type: ignore[no-untyped-def]
        super().__init__(parent)
        self._accepts, self._title, self._rows = accepts, title, rows
        self._list = QListWidget()
        self._list.setMinimumWidth(_NARROWEST)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.itemChanged.connect(lambda _: self.changed.emit())
        add = QToolButton()
        add.setText(BROWSE)
        add.setToolTip(tr("Add files that are not in the project"))
        add.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._list)
        layout.addWidget(add, 0, Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._fit()

    def refresh(self, project: QgsProject) -> None:
        """Offer the layers that are there now; ticks and added files stay."""
        ticked, files = set(self.value()), [entry for entry in self._values() if entry not in project.mapLayers()]
        files = [entry for entry in files if entry in ticked and Path(entry).exists()]
        self._list.blockSignals(True)
        self._list.clear()
        for node in project.layerTreeRoot().findLayers():
            layer = node.layer()
            if layer is not None and layer.isValid() and self._accepts(layer):
                self._add(layer.name(), layer.id(), layer.id() in ticked, layer.publicSource())
        for path in files:
            self._add(Path(path).name, path, path in ticked, path)
        self._list.blockSignals(False)
        self._fit()
        self.changed.emit()

    def value(self) -> list[str]:
        return [str(item.data(_VALUE)) for item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def tick(self, values: Sequence[str]) -> None:
        """Tick these; paths that are no layers of the project are added."""
        known = self._values()
        for value in values:
            if value not in known:
                self._add(Path(value).name, value, True, value)
        for item in self._items():
            on = item.data(_VALUE) in values
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self._fit()

    def item_area(self, value: str) -> tuple[QListWidget, QListWidgetItem] | None:
        """Where a value is shown."""
        return next(((self._list, item) for item in self._items() if item.data(_VALUE) == value), None)

    def _items(self) -> list[QListWidgetItem]:
        return [self._list.item(row) for row in range(self._list.count())]

    def _values(self) -> list[str]:
        return [str(item.data(_VALUE)) for item in self._items()]

    def _add(self, name: str, value: str, ticked: bool, hint: str) -> None:
        item = QListWidgetItem(name)
        item.setData(_VALUE, value)
        item.setToolTip(hint)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self._list.addItem(item)

    def _browse(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, self._title)
        if files:
            self.tick([*self.value(), *files])
            self.changed.emit()

    def _fit(self) -> None:
        rows = max(2, min(self._rows, self._list.count()))
        row = self._list.sizeHintForRow(0) if self._list.count() else self.fontMetrics().height() + 4
        self._list.setFixedHeight(rows * row + 6)


class FolderChooser(QWidget):
    """A folder of geosynth: one the project knows, or any other. Words such as ``base`` may be among the choices.

    ``only`` says which of the known folders are offered; any other can be chosen all the same.
    """

    changed = pyqtSignal()

    def __init__(
        self,
        kinds: Sequence[str],
        title: str,
        words: Sequence[tuple[str, str]] = (),
        only: Callable[[Path], bool] = Path.is_dir,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._kinds, self._title, self._words, self._only = tuple(kinds), title, tuple(words), only
        self.box = QComboBox()
        self.box.setEditable(False)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(12)
        self.box.setMinimumWidth(_NARROWEST)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())
        browse = QToolButton()
        browse.setText(BROWSE)
        browse.setToolTip(tr("Choose another folder"))
        browse.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(browse)
        self.refresh(None)

    def refresh(self, project: QgsProject | None) -> None:
        """Offer the folders that are there now; the choice stays."""
        chosen = self.value()
        self.box.blockSignals(True)
        self.box.clear()
        for value, text in self._words:
            self.box.addItem(text, value)
        for folder in known_folders(self._kinds, project) if project is not None else []:
            if self._only(folder):
                self._add(folder)
        if chosen and self.box.findData(chosen) < 0 and chosen not in dict(self._words):
            self._add(Path(chosen))
        index = self.box.findData(chosen) if chosen else -1
        # with words ("none", "base") the first is the default; else the likeliest folder
        self.box.setCurrentIndex(index if index >= 0 else 0 if self.box.count() else -1)
        self.box.blockSignals(False)
        self.changed.emit()

    def value(self) -> str:
        data = self.box.currentData()
        return "" if data is None else str(data)

    def choose(self, value: str) -> None:
        if self.box.findData(value) < 0:
            self._add(Path(value))
        self.box.setCurrentIndex(self.box.findData(value))

    def _add(self, folder: Path) -> None:
        self.box.addItem(f"{folder.parent.name}/{folder.name}", str(folder))
        self.box.setItemData(self.box.count() - 1, str(folder), Qt.ItemDataRole.ToolTipRole)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self._title, self.value())
        if folder:
            self.choose(folder)


class OutputField(QWidget):
    """Where the result goes. Follows the suggestion until somebody writes another name."""

    changed = pyqtSignal()

    def __init__(self, is_file: bool = False, files: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_file, self._files, self._own = is_file, files, False
        self.line = QLineEdit()
        self.line.setMinimumWidth(_NARROWEST)
        self.line.textEdited.connect(self._edited)
        self.line.textChanged.connect(lambda _: self.changed.emit())
        browse = QToolButton()
        browse.setText(BROWSE)
        browse.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(browse)

    def suggest(self, path: Path, anew: bool = False) -> None:
        if anew:
            self._own = False
        if not self._own:
            self.line.setText(str(path))
            self.line.setToolTip(str(path))

    def value(self) -> str:
        return self.line.text().strip()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(120, super().sizeHint().height())

    def _edited(self, text: str) -> None:
        self._own = bool(text.strip())

    def _browse(self) -> None:
        if self._is_file:
            path, _ = QFileDialog.getSaveFileName(self, tr("Write to"), self.value(), self._files)
        else:
            path = QFileDialog.getExistingDirectory(self, tr("Write to"), self.value())
        if path:
            self._own = True
            self.line.setText(path)
