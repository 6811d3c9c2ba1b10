"""“Create environment …”: what it will do, how large it is and where it goes, before anything is done."""

from __future__ import annotations

from qgis.gui import QgsCollapsibleGroupBox, QgsFileWidget
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .. import settings
from ..core.creation import ACCELERATORS, REQUIREMENT, CreationPlan, create, plan_environment
from ..core.environment import default_folder
from ..core.events import Event
from ..core.interpreters import find_interpreters, find_uv
from ..core.runner import Outcome
from ..core.words import tr
from .background import Background
from .choosers import BROWSE
from .pages.page import new_form

_BAD = "color: #a33c00"


class CreationBox(QgsCollapsibleGroupBox):
    """Looks for Pythons when it is opened, plans as one chooses, and creates when told to."""

    made = pyqtSignal(str)
    """The interpreter of the finished environment."""
    _event = pyqtSignal(object)
    _line = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Create an environment …"), parent)
        self.setObjectName("geosynthCreation")
        self.setCollapsed(True)
        self._looked = self._making = False
        self._uv: str | None = None
        self._plan: CreationPlan | None = None
        self._looker, self._maker = Background(self), Background(self)
        self._looker.answered.connect(self._found)
        self._looker.failed.connect(lambda words: self._found(([], None)))
        self._maker.answered.connect(self._ended)
        self._maker.failed.connect(lambda words: self._ended(Outcome("failed", words)))
        self._event.connect(self._progress)
        self._line.connect(self._spoken)
        inner = QWidget()  # opening the box shows all its children; those of this one keep their own mind
        QVBoxLayout(self).addWidget(inner)
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._fields())
        self._words = QLabel()
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self.bar = QProgressBar()
        self.bar.setFormat(tr("%v of %m steps done"))
        self.bar.setVisible(False)
        self._log = QPlainTextEdit()
        self._log.setReadOnly(True)
        self._log.setMaximumBlockCount(400)
        self._log.setFixedHeight(110)
        self._log.setVisible(False)
        layout.addWidget(self._words)
        layout.addWidget(self.bar)
        layout.addWidget(self._log)
        layout.addLayout(self._buttons())
        self.collapsedStateChanged.connect(self._opened)
        for signal in (
            self.pythons.currentIndexChanged,
            self.folder.fileChanged,
            self.accelerator.currentIndexChanged,
            self.source.textChanged,
        ):
            signal.connect(lambda *_: self._replan())

    def _fields(self) -> QFormLayout:
        self.pythons = QComboBox()
        self.pythons.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.pythons.addItem(tr("looking …"), None)
        self.folder = QgsFileWidget()
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.setFilePath(str(default_folder()))
        self.accelerator = QComboBox()
        for name, label in ACCELERATORS.items():
            self.accelerator.addItem(tr(label), name)
        self.source = QLineEdit(REQUIREMENT)
        self.source.setToolTip(tr("The name on the package index, a wheel (.whl), or the folder of a checkout"))
        self._browse_button = QToolButton()
        self._browse_button.setText(BROWSE)
        self._browse_button.clicked.connect(self._browse)
        source = QHBoxLayout()
        source.addWidget(self.source)
        source.addWidget(self._browse_button)
        form = new_form()
        form.addRow(tr("Made with"), self.pythons)
        form.addRow(tr("Folder"), self.folder)
        form.addRow(tr("Computes on"), self.accelerator)
        form.addRow(tr("geosynth from"), source)
        return form

    def _buttons(self) -> QHBoxLayout:
        self.create_button = QPushButton(tr("Create environment"))
        self.create_button.setObjectName("geosynthCreate")
        self.create_button.clicked.connect(self._create)
        self._cancel_button = QPushButton(tr("Cancel"))
        self._cancel_button.setObjectName("geosynthCreateCancel")
        self._cancel_button.clicked.connect(self._cancel)
        self._cancel_button.setVisible(False)
        row = QHBoxLayout()
        row.addWidget(self.create_button)
        row.addWidget(self._cancel_button)
        row.addStretch()
        return row

    def stop(self) -> None:
        """The dialog goes away: what is being made stops, and can be gone on with."""
        self._looker.give_up()
        self._maker.give_up()

    def _opened(self, collapsed: bool) -> None:
        if not collapsed and not self._looked:
            self._looked = True
            self._looker.ask(lambda _: (find_interpreters(), find_uv()))

    def _found(self, answer: object) -> None:
        pythons, self._uv = answer
        self.pythons.blockSignals(True)
        self.pythons.clear()
        for python in pythons:
            self.pythons.addItem(python.label, python)
        if self._uv:
            self.pythons.addItem(tr("uv, which fetches a Python of its own"), None)
        self.pythons.blockSignals(False)
        self._replan()

    def _replan(self) -> None:
        if not self._looked or self._making:
            return
        proxy, exceptions = settings.proxy_url(), ",".join(settings.proxy_exceptions())
        self._plan = plan_environment(
            self.folder.filePath().strip() or str(default_folder()),
            self.pythons.currentData(),
            self._uv,
            accelerator=str(self.accelerator.currentData()),
            source=self.source.text().strip() or REQUIREMENT,
            proxy=proxy,
            no_proxy=exceptions,
        )
        problems = self._plan.problems()
        self._say("\n".join(problems) if problems else self._plan.text(), _BAD if problems else "")
        self.create_button.setEnabled(not problems)
        finished = self._plan.finished()
        self.create_button.setText(tr("Go on creating it") if finished else tr("Create environment"))

    def _create(self) -> None:
        plan = self._plan
        if plan is None:
            return
        self._busy(True)
        self._log.clear()
        self._maker.ask(
            lambda is_cancelled: create(
                plan, on_event=self._event.emit, on_line=self._line.emit, is_cancelled=is_cancelled
            )
        )

    def _cancel(self) -> None:
        """Only when the installer has ended may the next one begin: both would unpack in the same place."""
        self._cancel_button.setEnabled(False)
        self._say(tr("cancelling …"))
        self._maker.stop()

    def _progress(self, event: Event) -> None:
        if self._making:
            self.bar.setRange(0, int(event.number("total") or 0))
            self.bar.setValue(int(event.number("done") or 0))
            self._say(f"{event.task} …")

    def _spoken(self, line: str) -> None:
        if self._making:
            self._log.appendPlainText(line)

    def _ended(self, outcome: Outcome) -> None:
        self._busy(False)
        if outcome.state == "done" and self._plan is not None:
            self._say(tr("The environment is ready."))
            self.made.emit(self._plan.python_path)
            return
        self._replan()
        self._say(outcome.message, _BAD)

    def _busy(self, making: bool) -> None:
        self._making = making
        fields = (self.pythons, self.folder, self.accelerator, self.source, self._browse_button)
        for widget in (*fields, self.create_button):
            widget.setEnabled(not making)
        self._cancel_button.setEnabled(making)
        self._cancel_button.setVisible(making)
        self.bar.setVisible(making)
        self.bar.setRange(0, 0)
        self._log.setVisible(making or bool(self._log.toPlainText()))

    def _say(self, text: str, style: str = "") -> None:
        self._words.setText(text)
        self._words.setStyleSheet(style)

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, tr("Wheel of geosynth"), "", tr("Wheels (*.whl)"))
        if path:
            self.source.setText(path)
