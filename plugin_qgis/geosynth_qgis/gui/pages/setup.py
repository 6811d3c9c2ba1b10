"""The environment geosynth runs in, where results go, and jobs that go on without QGIS."""

from __future__ import annotations

from qgis.core import QgsProject
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QGroupBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from ...core.environment import Handshake
from ...core.jobs import JobStore
from ...core.words import tr
from ..folders import choose_working_folder, working_folder
from ..joblist import JobList
from .page import Page


class SetupPage(Page):
    title = tr("Setup")
    says = tr("geosynth runs in a Python environment of its own, never in that of QGIS.")

    environment_wanted = pyqtSignal()
    check_wanted = pyqtSignal()
    diagnostics_wanted = pyqtSignal()
    folder_changed = pyqtSignal()

    def __init__(self, store: JobStore, parent: object = None) -> None:
        self.jobs = JobList(store)
        super().__init__(parent)

    def build(self) -> None:
        self._state = QLabel()
        self._state.setWordWrap(True)
        self._state.setTextFormat(Qt.TextFormat.PlainText)
        self._state.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._state.setObjectName("geosynthEnvironmentState")
        self.environment_button = QPushButton(tr("Environment …"))
        self.environment_button.setObjectName("geosynthEnvironment")
        self.environment_button.clicked.connect(self.environment_wanted)
        again = QPushButton(tr("Check again"))
        again.clicked.connect(self.check_wanted)
        box = QGroupBox(tr("Environment"))
        inside = QVBoxLayout(box)
        inside.addWidget(self._state)
        row = QHBoxLayout()
        row.addWidget(self.environment_button)
        row.addWidget(again)
        row.addStretch()
        inside.addLayout(row)
        self.form.addRow(box)
        self.folder = QgsFileWidget()
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.setDialogTitle(tr("Working folder"))
        self.folder.setToolTip(tr("Results are suggested to go here. It is kept with the project."))
        self.folder.fileChanged.connect(self._folder_chosen)
        self.form.addRow(tr("Working folder"), self.folder)
        box = QGroupBox(tr("Runs that go on without QGIS"))
        QVBoxLayout(box).addWidget(self.jobs)
        self.form.addRow(box)
        copy = QPushButton(tr("Copy diagnostics"))
        copy.setToolTip(tr("Versions and what the last run said, for a report of a problem"))
        copy.clicked.connect(self.diagnostics_wanted)
        row = QHBoxLayout()
        row.addWidget(copy)
        row.addStretch()
        self.form.addRow(row)

    def refresh(self, project: QgsProject) -> None:
        self.folder.blockSignals(True)
        self.folder.setFilePath(str(working_folder(project)))
        self.folder.blockSignals(False)
        self.jobs.refresh()

    def suggest(self, anew: bool = False) -> None:
        """Nothing is written from here."""

    def asking(self) -> None:
        self._say(tr("asking the environment … (some seconds)"), "")

    def ready(self, answer: Handshake) -> None:
        self._say("\n".join(answer.summary()), "" if not answer.missing else "color: #a33c00")

    def refused(self, words: str) -> None:
        self._say(words, "color: #a33c00")

    def _say(self, text: str, style: str) -> None:
        self._state.setText(text)
        self._state.setStyleSheet(style)

    def _folder_chosen(self, folder: str) -> None:
        if folder:
            choose_working_folder(QgsProject.instance(), folder)
            self.folder_changed.emit()
