"""The classes of a generator as buttons: press one and draw its polygons on the map."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from ..core.words import tr
from .descriptions import ClassEntry, Description
from .sketch import Sketch

_COLUMNS = 2


class SketchBox(QWidget):
    """Buttons for a ``Sketch``."""

    changed = pyqtSignal()

    def __init__(self, sketch: Sketch, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sketch = sketch
        self._classes: tuple[ClassEntry, ...] = ()
        self._described: Description | None = None
        self.buttons: dict[str, QToolButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        words = QLabel(
            tr("Press a class, click its corners on the map, end with a right click. Later ones lie on top.")
        )
        words.setWordWrap(True)
        layout.addWidget(words)
        self._grid = QGridLayout()
        self._grid.setSpacing(3)
        layout.addLayout(self._grid)
        row = QHBoxLayout()
        for text, act in ((tr("Undo"), sketch.undo), (tr("Clear"), sketch.clear)):
            button = QPushButton(text)
            button.clicked.connect(lambda _=False, act=act: act())
            row.addWidget(button)
        row.addStretch()
        layout.addLayout(row)
        self._size = QLabel()
        layout.addWidget(self._size)
        sketch.changed.connect(self._changed)

    def offer(self, described: Description | None) -> None:
        """Show the classes of this generator."""
        self._described = described
        classes = () if described is None else described.classes
        if classes != self._classes:
            self._classes = classes
            while self._grid.count():
                self._grid.takeAt(0).widget().deleteLater()
            self.buttons = {}
            for number, entry in enumerate(classes):
                button = _class_button(entry)
                button.clicked.connect(lambda _=False, entry=entry: self._draw(entry))
                self._grid.addWidget(button, number // _COLUMNS, number % _COLUMNS)
                self.buttons[entry.name] = button
        self._changed()

    def pixels(self) -> tuple[int, int] | None:
        if self._described is None:
            return None
        return self.sketch.pixels(self._described.ground, self._described.pixel)

    def classes(self) -> Sequence[ClassEntry]:
        return self._classes

    def _draw(self, entry: ClassEntry) -> None:
        for name, button in self.buttons.items():
            button.setChecked(name == entry.name)
        self.sketch.draw(entry, self._classes)

    def _changed(self) -> None:
        pixels = self.pixels()
        count = self.sketch.count()
        text = tr("nothing drawn yet") if not count else tr("polygons: {count}").format(count=count)
        if pixels is not None:
            text += f" · {pixels[0]} × {pixels[1]} px"
        self._size.setText(text)
        self.changed.emit()


def _class_button(entry: ClassEntry) -> QToolButton:
    button = QToolButton()
    swatch = QPixmap(14, 14)
    swatch.fill(QColor(entry.color))
    button.setIcon(QIcon(swatch))
    button.setText(entry.name)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setCheckable(True)
    button.setObjectName(f"geosynthClass_{entry.name}")
    policy = button.sizePolicy()
    policy.setHorizontalPolicy(type(policy).Policy.Expanding)
    button.setSizePolicy(policy)
    return button
