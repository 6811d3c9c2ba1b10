"""Which Python runs geosynth: choose one that has it, or have an environment made. Nothing happens by itself."""

from __future__ import annotations

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QEvent, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from .. import settings
from ..core.environment import Handshake, handshake
from ..core.words import tr
from .background import Background
from .creationbox import CreationBox

_BAD = "color: #a33c00"


class EnvironmentDialog(QDialog):
    """An interpreter is kept only once its geosynth has answered, and speaks this plugin's protocol."""

    chosen = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("geosynthEnvironmentDialog")
        self.setWindowTitle(tr("Environment of geosynth"))
        self.setMinimumWidth(560)
        self._asker = Background(self)
        self._asker.answered.connect(self._answered)
        self._asker.failed.connect(self._refused)
        words = QLabel(
            tr("It needs Python 3.12 or newer and several gigabytes of libraries. QGIS's own Python is never used.")
        )
        words.setWordWrap(True)
        self.python = QgsFileWidget()
        self.python.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.python.setDialogTitle(tr("Python that has geosynth"))
        self.python.setFilePath(settings.python_path())
        self.python.setToolTip(tr("For example .venv/bin/python, or .venv\\Scripts\\python.exe on Windows"))
        self.ask_button = QPushButton(tr("Use it"))
        self.ask_button.setObjectName("geosynthUsePython")
        self.ask_button.clicked.connect(self.ask)
        self._answer = QLabel()
        self._answer.setObjectName("geosynthHandshake")
        self._answer.setWordWrap(True)
        self._answer.setTextFormat(Qt.TextFormat.PlainText)
        self._answer.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box = QGroupBox(tr("A Python that has geosynth"))
        inside = QVBoxLayout(box)
        row = QHBoxLayout()
        row.addWidget(self.python, 1)
        row.addWidget(self.ask_button)
        inside.addLayout(row)
        inside.addWidget(self._answer)
        self.creation = CreationBox()
        self.creation.made.connect(self._made)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(words)
        layout.addWidget(box)
        layout.addWidget(self.creation)
        layout.addWidget(buttons)

    def ask(self) -> None:
        """The handshake with the interpreter in the field."""
        python = self.python.filePath().strip()
        self.ask_button.setEnabled(False)
        self._say(tr("asking … (some seconds)"))
        environment = settings.run_environment()
        self._asker.ask(lambda is_cancelled: handshake(python, is_cancelled=is_cancelled, environment=environment))

    def _answered(self, answer: Handshake) -> None:
        self.ask_button.setEnabled(True)
        self._say("\n".join([*answer.summary(), tr("It is used from now on.")]), _BAD if answer.missing else "")
        settings.set_python_path(answer.python)
        self.chosen.emit()

    def _refused(self, words: str) -> None:
        self.ask_button.setEnabled(True)
        self._say(words, _BAD)

    def _made(self, python: str) -> None:
        self.python.setFilePath(python)
        self.ask()

    def _say(self, text: str, style: str = "") -> None:
        self._answer.setText(text)
        self._answer.setStyleSheet(style)

    def event(self, event: QEvent) -> bool:
        """As high as what is in it, which comes and goes: more would pull that apart, less would cut the texts."""
        handled = super().event(event)
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
            self.resize(self.width(), self.layout().totalHeightForWidth(self.width()))
        return handled

    def closeEvent(self, event: object) -> None:  # noqa: N802
        self._asker.give_up()
        self.creation.stop()
        super().closeEvent(event)
