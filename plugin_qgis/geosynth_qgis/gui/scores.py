"""Real against augmented, as a report measured it: mean scores, and what each class gains or loses."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt, QUrl
from qgis.PyQt.QtGui import QColor, QDesktopServices, QPainter, QPalette, QPen
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..core.artefacts import inside
from ..core.words import tr

_REAL = "real"
_BAR, _ROW = 11, 36


@dataclass(frozen=True)
class ArmScore:
    """A line of ``arms.csv``; numbers are None where the report has none. Scores are 0..1."""

    arm: str
    runs: int
    mean_iou: float | None
    standard_error: float | None
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassScore:
    """A line of ``classes.csv``."""

    arm: str
    name: str
    iou: float | None
    standard_error: float | None
    gain: float | None


def read_arms(report: Path) -> list[ArmScore]:
    """Scores by arm; empty where the report trained nothing."""
    return [
        ArmScore(
            row["arm"],
            int(row["runs"]),
            _number(row["mean_iou"]),
            _number(row["mean_iou_se"]),
            _number(row["difference"]),
            _number(row["seeds_low"]),
            _number(row["seeds_high"]),
        )
        for row in _rows(report / "arms.csv", report)
    ]


def read_classes(report: Path) -> list[ClassScore]:
    """Scores by arm and class."""
    return [
        ClassScore(row["arm"], row["class"], _number(row["iou"]), _number(row["iou_se"]), _number(row["gain"]))
        for row in _rows(report / "classes.csv", report)
    ]


def _rows(path: Path, report: Path) -> list[dict[str, str]]:
    file = inside(path, report)
    try:
        with file.open(newline="", encoding="utf-8") if file is not None else path.open() as stream:
            return list(csv.DictReader(stream))
    except (OSError, csv.Error):
        return []


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def verdict(score: ArmScore) -> str:
    """What the difference to real tiles alone says, in words."""
    if score.arm == _REAL or score.difference is None:
        return ""
    if score.low is None or score.high is None or score.runs < 3:
        return tr("too few runs to say")
    if score.low > 0:
        return tr("better")
    if score.high < 0:
        return tr("worse")
    return tr("no difference beyond noise")


class ClassBars(QWidget):
    """A pair of bars a class: real tiles alone above, the compared arm below, with their standard errors."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pairs: list[tuple[str, ClassScore | None, ClassScore | None]] = []

    def show_scores(self, real: list[ClassScore], other: list[ClassScore]) -> None:
        theirs = {score.name: score for score in other}
        ours = {score.name: score for score in real}
        self._pairs = [(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]
        self.setMinimumHeight(self.sizeHint().height())
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(480, _ROW * max(1, len(self._pairs)) + 26)

    def paintEvent(self, _: object) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        left = 10 + max((metrics.boundingRect(name).width() for name, _, _ in self._pairs), default=0)
        right = 14 + metrics.boundingRect("0.000 +0.000").width()
        wide = max(40.0, self.width() - left - right)
        faint = QColor(ink)
        faint.setAlpha(50)
        bottom = _ROW * len(self._pairs)
        for tenth in range(0, 11, 2):
            x = left + wide * tenth / 10
            painter.setPen(faint)
            painter.drawLine(QPointF(x, 0), QPointF(x, bottom))
            painter.setPen(ink)
            box = QRectF(x - 20, bottom + 4, 40, 18)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignHCenter), f"{tenth / 10:g}")
        colors = QColor("#8d99ae"), self.palette().color(QPalette.ColorRole.Highlight)
        middle = int(Qt.AlignmentFlag.AlignVCenter)
        for number, (name, real, other) in enumerate(self._pairs):
            top = number * _ROW
            painter.setPen(ink)
            painter.drawText(QRectF(0, top, left, _ROW - 6), middle, name)
            for place, score in enumerate((real, other)):
                if score is not None and score.iou is not None:
                    y = top + 3 + place * (_BAR + 1)
                    painter.fillRect(QRectF(left, y, wide * score.iou, _BAR), colors[place])
                    self._whisker(painter, left, wide, y, score, ink)
            if other is not None and other.iou is not None:
                gain = "" if other.gain is None else f"{other.gain:+.3f}"
                painter.setPen(ink)
                box = QRectF(left + wide + 12, top, right, _ROW - 6)
                painter.drawText(box, middle, f"{other.iou:.3f} {gain}")
        painter.end()

    @staticmethod
    def _whisker(painter: QPainter, left: float, wide: float, y: float, score: ClassScore, ink: QColor) -> None:
        if score.standard_error:
            painter.setPen(QPen(ink, 1.2))
            low, high = (score.iou - score.standard_error, score.iou + score.standard_error)
            middle = y + _BAR / 2
            painter.drawLine(QPointF(left + wide * max(0, low), middle), QPointF(left + wide * min(1, high), middle))


class ScoresDialog(QDialog):
    """A table of arms and bars by class."""

    def __init__(self, folder: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("geosynthScores")
        self.setWindowTitle(tr("Scores: {name}").format(name=Path(folder).name))
        self.resize(760, 620)
        self._folder = Path(folder)
        arms, self._classes = read_arms(self._folder), read_classes(self._folder)
        heads = [tr("Trained on"), tr("Runs"), tr("Mean IoU"), tr("Difference to real"), tr("Says")]
        table = QTableWidget(len(arms), len(heads))
        table.setHorizontalHeaderLabels(heads)
        table.verticalHeader().setVisible(False)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        for row, score in enumerate(arms):
            for column, text in enumerate(_cells(score)):
                table.setItem(row, column, QTableWidgetItem(text))
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        table.horizontalHeader().setStretchLastSection(True)
        table.setMinimumHeight(34 + 31 * min(6, max(1, len(arms))))
        self.arm = QComboBox()
        for score in arms:
            if score.arm != _REAL:
                self.arm.addItem(score.arm)
        self.arm.currentTextChanged.connect(self._compare)
        self.bars = ClassBars()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self.bars)
        row = QHBoxLayout()
        row.addWidget(QLabel(tr("IoU by class on the test tiles: <b>real</b> (grey) against")))
        row.addWidget(self.arm)
        row.addStretch()
        report = QPushButton(tr("Open the report"))
        report.clicked.connect(self._open)
        row.addWidget(report)
        layout = QVBoxLayout(self)
        if not arms:
            layout.addWidget(QLabel(tr("This report compares tiles only; nothing was trained.")))
        layout.addWidget(table)
        layout.addLayout(row)
        layout.addWidget(scroll, 1)
        self._compare(self.arm.currentText())

    def _compare(self, arm: str) -> None:
        self.bars.show_scores(
            [score for score in self._classes if score.arm == _REAL],
            [score for score in self._classes if score.arm == arm],
        )

    def _open(self) -> None:
        path = inside(self._folder / "report.html", self._folder)
        if path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


def _cells(score: ArmScore) -> list[str]:
    iou = "" if score.mean_iou is None else f"{score.mean_iou:.3f}"
    if score.standard_error is not None:
        iou += f" ± {score.standard_error:.3f}"
    difference = "" if score.difference is None else f"{score.difference:+.3f}"
    if score.low is not None and score.high is not None:
        difference += f" ({score.low:+.3f} … {score.high:+.3f})"
    return [score.arm, str(score.runs), iou, difference, verdict(score)]
