"""A contact sheet of pairs: accept and reject, then write the verdicts through the command ``review``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from qgis.PyQt.QtCore import QSize, Qt, QTimer
from qgis.PyQt.QtGui import QColor, QIcon, QImage, QKeySequence, QPixmap
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..core.artefacts import legend
from ..core.words import tr
from .pairs import ACCEPTED, REJECTED, UNSEEN, PairRow, pair_picture, read_pairs, with_verdict

_SIDE, _PAGE, _AT_ONCE = 96, 48, 4
_ID = Qt.ItemDataRole.UserRole

Runner = Callable[..., Any]
"""``GeosynthDock.run``: command, values, title -> Run or None."""


class ReviewDialog(QDialog):
    """Pages of pairs. A and R say accept and reject, U takes it back; nothing is written before Save."""

    def __init__(self, folder: str, run: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("geosynthReview")
        self.setWindowTitle(tr("Review pairs: {name}").format(name=Path(folder).name))
        self.resize(940, 640)
        self._folder, self._run = folder, run
        self._rows: tuple[PairRow, ...] = ()
        self._given: dict[str, str] = {}
        self._pictures: dict[str, QImage] = {}
        self._page = 0
        self.list = QListWidget()
        self.list.setViewMode(QListWidget.ViewMode.IconMode)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setMovement(QListWidget.Movement.Static)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setIconSize(QSize(2 * _SIDE + 9, _SIDE + 6))
        self.list.setGridSize(QSize(2 * _SIDE + 24, _SIDE + 36))
        self.list.setUniformItemSizes(True)
        self.list.itemDoubleClicked.connect(lambda item: self._turn_over([item]))
        top, bottom = self._top(), self._bottom()
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self.list, 1)
        classes = QLabel("   ".join(_swatch(name, color) for name, color in legend(folder)))
        classes.setWordWrap(True)
        layout.addWidget(classes)
        layout.addLayout(bottom)
        self._drawing = QTimer(self)
        self._drawing.timeout.connect(self._draw_some)
        self.read()

    def _top(self) -> QHBoxLayout:
        self.shown = QComboBox()
        for value, words in (
            ("", tr("all pairs")),
            (UNSEEN, tr("not yet seen")),
            (ACCEPTED, tr("accepted")),
            (REJECTED, tr("rejected")),
            ("doubtful", tr("doubtful to a filter")),
        ):
            self.shown.addItem(words, value)
        self.shown.currentIndexChanged.connect(lambda _: self._turn_page(0))
        self._back, self._next = QPushButton("◀"), QPushButton("▶")
        self._back.clicked.connect(lambda: self._turn_page(self._page - 1))
        self._next.clicked.connect(lambda: self._turn_page(self._page + 1))
        self._where, self._counts = QLabel(), QLabel()
        top = QHBoxLayout()
        for widget in (self.shown, self._back, self._where, self._next):
            top.addWidget(widget)
        top.addStretch()
        top.addWidget(self._counts)
        return top

    def _bottom(self) -> QHBoxLayout:
        bottom = QHBoxLayout()
        self.buttons: dict[str, QPushButton] = {}
        for verdict, words, key in (
            (ACCEPTED, tr("Accept (A)"), "A"),
            (REJECTED, tr("Reject (R)"), "R"),
            (UNSEEN, tr("Take back (U)"), "U"),
        ):
            button = QPushButton(words)
            button.setObjectName(f"geosynthVerdict_{verdict}")
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, verdict=verdict: self.say(verdict))
            button.setShortcut(QKeySequence(key))
            bottom.addWidget(button)
            self.buttons[verdict] = button
        words = QLabel(tr("Rejected pairs are left out of all training."))
        bottom.addWidget(words)
        bottom.addStretch()
        self.save_button = QPushButton(tr("Save"))
        self.save_button.setObjectName("geosynthSaveVerdicts")
        self.save_button.clicked.connect(self.save)
        bottom.addWidget(self.save_button)
        return bottom

    def read(self) -> None:
        """Read the index anew; what was given but not saved is gone."""
        try:
            self._rows = read_pairs(Path(self._folder)).rows
        except OSError as error:
            self._counts.setText(str(error))
            self._rows = ()
        self._given = {}
        self._turn_page(self._page)

    def verdict(self, row: PairRow) -> str:
        return self._given.get(row.id, row.review)

    def say(self, verdict: str) -> None:
        """Give the selected pairs a verdict, and go on to the next."""
        items = self.list.selectedItems()
        known = {row.id: row for row in self._rows}
        for item in items:
            row = known[item.data(_ID)]
            if verdict == row.review:
                self._given.pop(row.id, None)
            else:
                self._given[row.id] = verdict
            self._paint(item, row)
        if len(items) == 1 and self.list.row(items[0]) + 1 < self.list.count():
            self.list.setCurrentRow(self.list.row(items[0]) + 1)
        self._count()

    def save(self) -> None:
        """Write what was given through the command ``review``."""
        values: dict[str, Any] = {"TILES": self._folder}
        for verdict, name in ((ACCEPTED, "ACCEPT"), (REJECTED, "REJECT"), (UNSEEN, "UNSEEN")):
            ids = [id_ for id_, given in self._given.items() if given == verdict]
            if ids:
                values[name] = "\n".join(ids)
        title = tr("Review: {count} verdicts on {name}").format(count=len(self._given), name=Path(self._folder).name)
        run = self._run("review", values, title)
        if run is not None:
            self.save_button.setEnabled(False)
            run.ended.connect(self._saved)

    def _saved(self, state: str, message: str) -> None:
        if state == "done":
            self.read()
        else:
            self._counts.setText(message)
            self.save_button.setEnabled(True)

    def _turn_over(self, items: list[QListWidgetItem]) -> None:
        known = {row.id: row for row in self._rows}
        for item in items:
            now = self.verdict(known[item.data(_ID)])
            item.setSelected(True)
            self.say(REJECTED if now != REJECTED else ACCEPTED)

    def _wanted(self) -> list[PairRow]:
        kind = self.shown.currentData()
        if not kind:
            return list(self._rows)
        if kind == "doubtful":
            return [row for row in self._rows if row.filter in ("cleaned", "rejected")]
        return [row for row in self._rows if row.review == kind]

    def _turn_page(self, page: int) -> None:
        wanted = self._wanted()
        pages = max(1, -(-len(wanted) // _PAGE))
        self._page = max(0, min(page, pages - 1))
        self.list.clear()
        for row in wanted[self._page * _PAGE : (self._page + 1) * _PAGE]:
            item = QListWidgetItem(row.id)
            item.setData(_ID, row.id)
            item.setSizeHint(self.list.gridSize())  # measured before there is a picture, it would be a line of text
            item.setToolTip(f"{row.id}\n{row.review}" + (f"\nfilter: {row.filter}" if row.filter else ""))
            self.list.addItem(item)
        self._where.setText(tr("page {page} of {pages}").format(page=self._page + 1, pages=pages))
        self._back.setEnabled(self._page > 0)
        self._next.setEnabled(self._page + 1 < pages)
        self._count()
        self._drawing.start(0)

    def _draw_some(self) -> None:
        """A few pictures at a time, so that the window stays alive."""
        known = {row.id: row for row in self._rows}
        missing = [item for item in map(self.list.item, range(self.list.count())) if item.icon().isNull()]
        for item in missing[:_AT_ONCE]:
            self._paint(item, known[item.data(_ID)])
        if len(missing) <= _AT_ONCE:
            self._drawing.stop()

    def _paint(self, item: QListWidgetItem, row: PairRow) -> None:
        if row.id not in self._pictures:
            self._pictures[row.id] = pair_picture(row, _SIDE)
        picture = with_verdict(self._pictures[row.id], self.verdict(row))
        icon = QIcon(QPixmap.fromImage(picture))
        icon.addPixmap(QPixmap.fromImage(picture), QIcon.Mode.Selected)
        item.setIcon(icon)

    def _count(self) -> None:
        counts = Counter(self.verdict(row) for row in self._rows)
        self._counts.setText(
            tr("{accepted} accepted · {rejected} rejected · {unseen} not yet seen").format(
                accepted=counts[ACCEPTED], rejected=counts[REJECTED], unseen=counts[UNSEEN]
            )
        )
        self.save_button.setEnabled(bool(self._given))
        count = len(self._given)
        self.save_button.setText(tr("Save {count} verdicts").format(count=count) if count else tr("Save"))


def _swatch(name: str, color: str) -> str:
    """A class of the legend as rich text; names and colours come from a file."""
    shown = QColor(color).name() if QColor(color).isValid() else "#808080"
    return f'<span style="color:{shown}">■</span>&nbsp;{escape(name)}'
