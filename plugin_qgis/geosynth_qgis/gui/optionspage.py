"""geosynth among QGIS's options: the interpreter it runs in, for whoever looks for it there."""

from __future__ import annotations

from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from .. import settings
from ..core.words import tr
from ..processing.provider import icon
from .environmentdialog import EnvironmentDialog
from .pages.page import new_form


class OptionsPage(QgsOptionsPageWidget):
    """Takes any path without asking it: the panel asks, and says what it answers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.python = QgsFileWidget()
        self.python.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.python.setDialogTitle(tr("Python that has geosynth"))
        self.python.setFilePath(settings.python_path())
        words = QLabel(tr("geosynth runs in a Python environment of its own, never in that of QGIS."))
        words.setWordWrap(True)
        button = QPushButton(tr("Environment …"))
        button.setToolTip(tr("Choose one and see what it answers, or have one made"))
        button.clicked.connect(self._open)
        form = new_form()
        form.addRow(tr("Python"), self.python)
        layout = QVBoxLayout(self)
        layout.addWidget(words)
        layout.addLayout(form)
        layout.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addStretch()

    def apply(self) -> None:
        """QGIS's options are accepted."""
        path = self.python.filePath().strip()
        if path != settings.python_path():
            settings.set_python_path(path)

    def _open(self) -> None:
        dialog = EnvironmentDialog(self)
        dialog.chosen.connect(lambda: self.python.setFilePath(settings.python_path()))
        dialog.exec()


class OptionsFactory(QgsOptionsWidgetFactory):
    """What ``iface.registerOptionsWidgetFactory`` takes."""

    def __init__(self) -> None:
        super().__init__()
        self.setTitle("geosynth")

    def icon(self) -> object:
        return icon()

    def createWidget(self, parent: QWidget) -> OptionsPage:  # noqa: N802 - QGIS's name
        return OptionsPage(parent)
