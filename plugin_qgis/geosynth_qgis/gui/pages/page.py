"""What the pages have in common: a form, what is missing in words, and a button that runs the algorithm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import QgsProject
from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...core.words import tr
from ...processing.running import check
from ..choosers import FolderChooser, LayerList, OutputField
from ..folders import free_name, working_folder

_CHECK_MS = 150
_NARROWEST = 60
"""Pixels: a panel is as wide as its user wants."""


class Page(QWidget):
    """One step. Subclasses lay out fields in ``build``; ``values`` and ``problems`` say what fields cannot."""

    command, title, says, verb = "", "", "", ""
    result_name = ""
    """What the output is called in the working folder."""
    can_detach = detached_first = False
    """Whether a run may go on without QGIS, and whether that is ticked."""

    wanted = pyqtSignal(object)
    """Run this page."""
    copy_wanted = pyqtSignal(object)
    """Copy this page's command."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fields: dict[str, tuple[QWidget, Callable[[], Any]]] = {}
        self._held, self._ready = False, False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.check)
        self.setObjectName(f"geosynthPage_{self.command or type(self).__name__}")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        heading = QLabel(self.title)
        heading.setStyleSheet("font-weight: bold; font-size: 12pt")
        layout.addWidget(heading)
        self._says = QLabel(self.says)
        self._says.setWordWrap(True)
        layout.addWidget(self._says)
        self.form = new_form()
        layout.addLayout(self.form)
        self.more = QgsCollapsibleGroupBox(tr("More options"))
        self.more.setCollapsed(True)
        self.more_form = new_form(self.more)
        self.output: OutputField | None = None
        self.run_button: QPushButton | None = None
        self.build()
        if self.more_form.rowCount():
            layout.addWidget(self.more)
        self._foot(layout)

    # -- for subclasses

    def build(self) -> None:
        """Lay out the fields."""
        raise NotImplementedError

    def values(self) -> dict[str, Any]:
        """Parameters of the algorithm. Empty fields are left out: the command has defaults of its own."""
        found = {name: read() for name, (widget, read) in self._fields.items() if widget.isEnabledTo(self)}
        return {name: value for name, value in found.items() if value not in (None, "", [])}

    def values_to_check(self) -> dict[str, Any]:
        """The parameters as they can be checked before ``prepare`` has written anything."""
        return self.values()

    def problems(self) -> list[str]:
        """What is missing, in words, beyond what the algorithm itself says."""
        return []

    def hint(self) -> str:
        """What will happen, when nothing is missing."""
        return ""

    def refresh(self, project: QgsProject) -> None:
        """Layers, folders or results have come or gone."""
        for widget, _ in self._fields.values():
            if isinstance(widget, (LayerList, FolderChooser)):
                widget.refresh(project)
        self.suggest()

    def add(self, name: str, label: str, widget: QWidget, tip: str = "", more: bool = False) -> QWidget:
        """A row of the form that fills the parameter ``name``."""
        if tip:
            widget.setToolTip(tip)
        widget.setObjectName(f"geosynth_{self.command}_{name}")
        self.hold(name, widget)
        (self.more_form if more else self.form).addRow(label, widget)
        return widget

    def hold(self, name: str, widget: QWidget) -> None:
        """Let the widget fill the parameter ``name``, wherever it is laid out."""
        widget.setMinimumWidth(_NARROWEST)
        self._fields[name] = (widget, reader(widget))
        notice(widget, self.touched)

    def add_output(self, label: str, is_file: bool = False, files: str = "") -> None:
        self.output = OutputField(is_file, files)
        self.add("OUTPUT", label, self.output)

    def field(self, name: str) -> QWidget:
        return self._fields[name][0]

    # -- for the dock

    def suggest(self, anew: bool = False) -> None:
        """Suggest a place for the result; ``anew`` after one has been made."""
        if self.output is not None and self.result_name:
            folder = working_folder(QgsProject.instance())
            self.output.suggest(free_name(folder, self.result_name), anew)
        self.touched()

    def touched(self) -> None:
        """Something changed: check again, soon."""
        self._timer.start(_CHECK_MS)

    def prepare(self) -> None:
        """What has to be written before the algorithm can run.

        Raises:
            OSError: it cannot be written.
        """

    def after(self, state: str) -> None:
        """The page's run has ended: done, failed or cancelled."""

    def hold_back(self, held: bool, ready: bool) -> None:
        """No second run beside one that is going on, and none without an environment that has answered."""
        self._held, self._ready = held, ready
        self.check()

    def check(self) -> bool:
        """Say what is missing; whether the page can be run."""
        if not self.verb:
            return False
        found = self.problems()
        if not found:
            labels = {name: self._label(widget) for name, (widget, _) in self._fields.items()}
            found = [
                f"{labels[entry.option]}: {entry.text}"
                if entry.text[:1].islower() and labels.get(entry.option)
                else entry.text
                for entry in check(self.command, self.values_to_check())
            ]
        if found:
            self._words.setText("\n".join(f"• {text}" for text in dict.fromkeys(found[:3])))
        elif not self._ready:
            self._words.setText(tr("No environment to run in: see the page Setup."))
        elif self._held:
            self._words.setText(tr("Another run is going on."))
        else:
            self._words.setText(self.hint())
        self._words.setStyleSheet("color: #a33c00" if found else "")
        self._words.setVisible(bool(self._words.text()))
        self.run_button.setEnabled(not found and self._ready and not self._held)
        self.copy_button.setEnabled(not found)
        return not found

    def run_title(self) -> str:
        """What the run is called in the panel and in the list of jobs."""
        name = Path(str(self.values().get("OUTPUT", ""))).name
        return f"{self.title}: {name}" if name else self.title

    def _foot(self, layout: QVBoxLayout) -> None:
        """What is missing, and the buttons."""
        self.detach = QCheckBox(tr("Goes on when QGIS is closed"))
        self.detach.setChecked(self.detached_first)
        self.detach.setToolTip(tr("The run has a life of its own. The panel shows it again when QGIS is opened."))
        self.detach.setVisible(self.can_detach)
        layout.addWidget(self.detach)
        self._words = QLabel()
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setObjectName("geosynthProblems")
        layout.addWidget(self._words)
        self.run_button = QPushButton(self.verb)
        self.run_button.setObjectName(f"geosynthRun_{self.command}")
        self.run_button.setDefault(True)
        self.run_button.setStyleSheet("font-weight: bold; padding: 4px 14px")
        self.run_button.clicked.connect(lambda: self.wanted.emit(self))
        self.copy_button = QPushButton(tr("Copy command"))
        self.copy_button.setToolTip(tr("The same as a command line, for a terminal or a script"))
        self.copy_button.clicked.connect(lambda: self.copy_wanted.emit(self))
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button)
        buttons.addWidget(self.copy_button)
        buttons.addStretch()
        layout.addLayout(buttons)
        self.run_button.setVisible(bool(self.verb))
        self.copy_button.setVisible(bool(self.verb))
        layout.addStretch()

    def _label(self, widget: QWidget) -> str:
        for form in (self.form, self.more_form):
            label = form.labelForField(widget)
            if label is not None:
                return str(label.text()).rstrip(":")
        return ""


def new_form(parent: QWidget | None = None) -> QFormLayout:
    form = QFormLayout(parent) if parent is not None else QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    form.setVerticalSpacing(4)
    return form


def reader(widget: QWidget) -> Callable[[], Any]:
    """How the value of a field is read; None where it is left open."""
    if isinstance(widget, (LayerList, FolderChooser, OutputField)):
        return widget.value
    if isinstance(widget, (QSpinBox, QDoubleSpinBox)):
        return lambda: None if widget.specialValueText() and widget.value() == widget.minimum() else widget.value()
    if isinstance(widget, QComboBox):
        return lambda: widget.currentText().strip() if widget.currentData() is None else widget.currentData()
    if isinstance(widget, QCheckBox):
        return lambda: widget.isChecked() or None
    if isinstance(widget, QLineEdit):
        return lambda: widget.text().strip()
    raise TypeError(type(widget).__name__)


def notice(widget: QWidget, slot: Callable[[], None]) -> None:
    """Call the slot when the field changes."""
    for name in ("changed", "valueChanged", "currentTextChanged", "textChanged", "toggled"):
        signal = getattr(widget, name, None)
        if signal is not None:
            signal.connect(lambda *_: slot())
            return


def number(value: int | None, low: int, high: int, open_text: str = "", step: int = 1) -> QSpinBox:
    """A whole number; with ``open_text`` it may be left open, which is what None starts with."""
    box = QSpinBox()
    box.setRange(low - 1 if open_text else low, high)
    box.setSpecialValueText(open_text)
    box.setSingleStep(step)
    box.setGroupSeparatorShown(True)
    box.setValue(box.minimum() if value is None else value)
    return box


def decimal(
    value: float | None, low: float, high: float, open_text: str = "", step: float = 0.1, digits: int = 2
) -> QDoubleSpinBox:
    """A number; with ``open_text`` it may be left open, which is what None starts with."""
    box = QDoubleSpinBox()
    box.setDecimals(digits)
    box.setRange(low - step if open_text else low, high)
    box.setSpecialValueText(open_text)
    box.setSingleStep(step)
    box.setValue(box.minimum() if value is None else value)
    return box


def choice(*entries: tuple[str | None, str]) -> QComboBox:
    """One of several: (value, words)."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    for value, words in entries:
        box.addItem(words, "" if value is None else value)
    return box
