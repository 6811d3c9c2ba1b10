"""The lower part of the panel: how far a run is, how long it will take, its curves, its pictures, and Cancel."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import QSize, Qt, QTimer, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices, QImage, QPixmap
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..core.progress import ProgressTracker
from ..core.words import tr
from .runs import Run, newest_sample, resumable
from .sparkline import Sparkline

_LINES, _PICTURE = 500, 150


class Picture(QLabel):
    """An image file as wide as there is room; a click opens it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path: Path | None = None
        self._image = QImage()
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setVisible(False)

    @property
    def path(self) -> Path | None:
        return self._path

    def show_file(self, path: Path | None) -> None:
        image = QImage(str(path)) if path else QImage()
        self._path, self._image = (None, QImage()) if image.isNull() else (path, image)
        self.setToolTip(tr("{} — click to open").format(path.name) if self._path and path else "")
        self._fit()

    def _fit(self) -> None:
        self.setVisible(self._path is not None)
        if self._path is not None:
            size = QSize(max(60, self.width()), _PICTURE)
            smooth = Qt.TransformationMode.SmoothTransformation
            self.setPixmap(QPixmap.fromImage(self._image).scaled(size, Qt.AspectRatioMode.KeepAspectRatio, smooth))
            self.setFixedHeight(self.pixmap().height() + 4)

    def resizeEvent(self, event: object) -> None:  # noqa: N802
        super().resizeEvent(event)
        if self._path is not None:
            QTimer.singleShot(0, self._fit)

    def mousePressEvent(self, _: object) -> None:  # noqa: N802
        if self._path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._path)))


class RunView(QFrame):
    """Shows one run. Hidden until there is one."""

    go_on = pyqtSignal(object)
    """Run this one again with the same parameters; it goes on where it stopped."""
    ask_diagnostics = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: Run | None = None
        self._tracker = ProgressTracker()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self._title, self._line, self._message = QLabel(), QLabel(), QLabel()
        self._title.setStyleSheet("font-weight: bold")
        for label in (self._title, self._line, self._message):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self._message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._bar = QProgressBar()
        self._curves, self._picture = Sparkline(), Picture()
        self._log = QPlainTextEdit()
        self._log.setReadOnly(True)
        self._log.setMaximumBlockCount(_LINES)
        self._log.setFixedHeight(110)
        self._log.setVisible(False)
        self.cancel_button = QPushButton(tr("Cancel"))
        self.cancel_button.setObjectName("geosynthCancel")
        self.cancel_button.clicked.connect(self.cancel)
        self._again = QPushButton(tr("Go on"))
        self._again.clicked.connect(lambda: self.go_on.emit(self._run))
        self._close = QPushButton(tr("Close"))
        self._close.clicked.connect(self._put_away)
        self._diagnostics = QPushButton(tr("Copy diagnostics"))
        self._diagnostics.clicked.connect(self.ask_diagnostics)
        show_log = QToolButton()
        show_log.setText(tr("Log"))
        show_log.setCheckable(True)
        show_log.toggled.connect(self._log.setVisible)
        buttons = QHBoxLayout()
        for button in (self.cancel_button, self._again, self._close):
            buttons.addWidget(button)
        buttons.addStretch()
        buttons.addWidget(self._diagnostics)
        buttons.addWidget(show_log)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(4)
        for widget in (self._title, self._bar, self._line, self._message, self._curves, self._picture):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        layout.addWidget(self._log)
        self.setVisible(False)

    @property
    def run(self) -> Run | None:
        return self._run

    @property
    def busy(self) -> bool:
        return self._run is not None and self._run.state == "running"

    def watch(self, run: Run) -> None:
        """Show this run; call before it is started. The one shown before goes on unseen if it is detached."""
        self._unhook()
        self._run, self._tracker = run, ProgressTracker()
        run.received.connect(self._take)
        run.spoke.connect(self._log.appendPlainText)
        run.ended.connect(self._ended)
        self._title.setText(run.title)
        self._line.setText(tr("starting …"))
        self._message.setText("")
        self._message.setVisible(False)
        self._log.clear()
        self._bar.setRange(0, 0)
        self._bar.setVisible(True)
        self._curves.show_curves({})
        self._picture.show_file(None)
        self._buttons()
        self.setVisible(True)

    def cancel(self) -> None:
        if self._run is not None and self.busy:
            self.cancel_button.setEnabled(False)
            self._line.setText(tr("stopping …"))
            self._run.cancel()

    def _unhook(self) -> None:
        if self._run is None:
            return
        for signal, slot in (
            (self._run.received, self._take),
            (self._run.spoke, self._log.appendPlainText),
            (self._run.ended, self._ended),
        ):
            signal.disconnect(slot)
        if self._run.detached:
            self._run.leave()
        self._run = None

    def _put_away(self) -> None:
        self._unhook()
        self.setVisible(False)

    def _take(self, event: object) -> None:
        self._tracker.update(event)
        fraction = self._tracker.fraction
        if fraction is None:
            self._bar.setRange(0, 0)
        else:
            self._bar.setRange(0, 1000)
            self._bar.setValue(round(1000 * fraction))
        if self.cancel_button.isEnabled():
            self._line.setText(self._tracker.line() or tr("starting …"))
        if event.kind == "metric":
            self._curves.show_curves(self._tracker.metrics)
        elif event.kind in ("log", "error"):
            self._log.appendPlainText(str(event.get("message", "")))
        if event.kind in ("metric", "progress", "artifact") and self._run is not None:
            drawn = newest_sample(self._run.output) if self._run.command == "train" else None
            if drawn is not None and drawn != self._picture.path:
                self._picture.show_file(drawn)

    def _ended(self, state: str, message: str) -> None:
        said = {
            "done": tr("Done."),
            "failed": tr("It failed."),
            "cancelled": tr("Cancelled. What is finished is kept."),
            "dead": tr("It is no longer running."),
        }
        self._bar.setVisible(False)
        self._line.setText(said.get(state, state))
        self._message.setText(message)
        self._message.setVisible(bool(message))
        self._message.setStyleSheet("color: #a33c00" if state in ("failed", "dead") else "")
        self._buttons()

    def _buttons(self) -> None:
        self.cancel_button.setEnabled(self.busy)
        self.cancel_button.setVisible(self.busy)
        self._close.setVisible(not self.busy or bool(self._run and self._run.detached))
        self._close.setText(tr("Hide") if self.busy else tr("Close"))
        self._again.setVisible(self._run is not None and resumable(self._run))
        self._diagnostics.setVisible(self._run is not None and self._run.state in ("failed", "dead"))
