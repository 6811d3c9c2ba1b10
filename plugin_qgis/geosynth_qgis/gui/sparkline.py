"""Losses and scores of a training as small curves, one row a quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QPainter, QPalette, QPen, QPolygonF
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

from ..core.words import tr

_ROW, _ROWS, _KEPT = 26, 5, 600
_HELD_OUT = "val_"


class Sparkline(QWidget):
    """One row a metric: its name, its curve, its latest value. ``val_x`` is drawn as dots over the curve of ``x``."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curves: dict[str, list[tuple[float, float]]] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setVisible(False)

    def show_curves(self, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Draw these: (step, value) by name. Readings that are not finite are left out; long curves are thinned."""
        self._curves = {}
        for name, curve in curves.items():
            finite = [(float(x), float(y)) for x, y in curve if y is not None and math.isfinite(y)]
            if finite:
                every = -(-len(finite) // _KEPT)
                self._curves[name] = finite[:-1:every] + finite[-1:]
        self.setVisible(bool(self._curves))
        self.updateGeometry()
        self.update()

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """What is drawn: (step, value) by name."""
        return {name: list(curve) for name, curve in self._curves.items()}

    def rows(self) -> list[tuple[str, list[str]]]:
        """The name of each row and the curves in it."""
        found: dict[str, list[str]] = {}
        for name in self._curves:
            base = name[len(_HELD_OUT) :] if name.startswith(_HELD_OUT) else name
            row = base if base in self._curves else name
            found.setdefault(row, []).append(name)
        return list(found.items())[:_ROWS]

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(240, _ROW * max(1, min(len(self.rows()), _ROWS)))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(160, self.sizeHint().height())

    def paintEvent(self, _: object) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        left = 8 + max((metrics.boundingRect(words(row)).width() for row, _ in self.rows()), default=0)
        right = 8 + metrics.boundingRect("0.00000").width()
        for number, (row, names) in enumerate(self.rows()):
            top = number * _ROW
            middle = QRectF(left, top + 4, max(20.0, self.width() - left - right), _ROW - 8)
            painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
            side = int(Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(QRectF(0, top, left, _ROW), side, words(row))
            latest = self._curves[names[0]][-1][1]
            end = side | int(Qt.AlignmentFlag.AlignRight)
            painter.drawText(QRectF(self.width() - right, top, right, _ROW), end, f"{latest:.3g}")
            self._draw(painter, middle, names)
        painter.end()

    def _draw(self, painter: QPainter, box: QRectF, names: list[str]) -> None:
        points = [point for name in names for point in self._curves[name]]
        x0, x1 = min(x for x, _ in points), max(x for x, _ in points)
        y0, y1 = min(y for _, y in points), max(y for _, y in points)
        wide, high = (x1 - x0) or 1.0, (y1 - y0) or 1.0
        color = self.palette().color(QPalette.ColorRole.Highlight)
        for name in names:
            placed = [
                QPointF(box.left() + (x - x0) / wide * box.width(), box.bottom() - (y - y0) / high * box.height())
                for x, y in self._curves[name]
            ]
            dots = name.startswith(_HELD_OUT) and len(names) > 1
            if dots or len(placed) == 1:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(self.palette().color(QPalette.ColorRole.WindowText) if dots else color)
                for point in placed:
                    painter.drawEllipse(point, 2.0, 2.0)
            else:
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(color, 1.5))
                painter.drawPolyline(QPolygonF(placed))


def words(name: str) -> str:
    """``val_mean_iou`` as a person would say it."""
    return name.replace("val_", tr("held-out ")).replace("mean_iou", "mean IoU").replace("_", " ")
