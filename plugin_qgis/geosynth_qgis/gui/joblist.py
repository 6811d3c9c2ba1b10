"""Detached runs: what is going on, what has ended; show, cancel, take to the map, forget."""

from __future__ import annotations

import contextlib
import time

from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..core.jobs import Job, JobProblem, JobStore
from ..core.words import tr

_LOOK_MS, _KILL_MS, _SHOWN = 2000, 1700, 30
LIVE = ("starting", "running")


def state_words(state: str) -> str:
    return {
        "starting": tr("starting"),
        "running": tr("running"),
        "done": tr("done"),
        "failed": tr("failed"),
        "cancelled": tr("cancelled"),
        "dead": tr("gone"),
    }.get(state, state)


class JobList(QWidget):
    """The jobs of this QGIS profile, newest first."""

    show_wanted = pyqtSignal(object)

    def __init__(self, store: JobStore, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._jobs: dict[str, Job] = {}
        self.tree = QTreeWidget()
        self.tree.setObjectName("geosynthJobs")
        self.tree.setHeaderLabels([tr("Run"), tr("State"), tr("Begun")])
        self.tree.setRootIsDecorated(False)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.tree.header().setStretchLastSection(False)
        self.tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.tree.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.header().setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.setFixedHeight(120)
        self.tree.itemSelectionChanged.connect(self._buttons)
        self.tree.itemDoubleClicked.connect(lambda *_: self._show())
        self._show_button = QPushButton(tr("Show"))
        self._show_button.clicked.connect(self._show)
        self._cancel_button = QPushButton(tr("Cancel"))
        self._cancel_button.clicked.connect(self._cancel)
        self._forget_button = QPushButton(tr("Forget"))
        self._forget_button.setToolTip(tr("Takes it off the list; the results stay where they are"))
        self._forget_button.clicked.connect(self._forget)
        row = QHBoxLayout()
        for button in (self._show_button, self._cancel_button, self._forget_button):
            row.addWidget(button)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tree)
        layout.addLayout(row)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._cancelled: list[Job] = []
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._insist)
        self._buttons()

    def jobs(self) -> list[Job]:
        return list(self._jobs.values())

    def live(self) -> list[Job]:
        """Those that are going on, newest first."""
        return [job for job in self._jobs.values() if job.state() in LIVE]

    def refresh(self) -> None:
        """Look again; while one is going on, keep looking."""
        chosen = self._chosen()
        jobs = self._store.jobs()[:_SHOWN]
        states = [job.state() for job in jobs]
        if [job.id for job in jobs] != list(self._jobs):
            self._fill(jobs, chosen)
        for row, state in enumerate(states):
            self.tree.topLevelItem(row).setText(1, state_words(state))
        self._buttons()
        if any(state in LIVE for state in states):
            self._timer.start(_LOOK_MS)
        else:
            self._timer.stop()

    def stop(self) -> None:
        self._timer.stop()

    def _fill(self, jobs: list[Job], chosen: Job | None) -> None:
        self._jobs = {job.id: job for job in jobs}
        self.tree.clear()
        for job in jobs:
            item = QTreeWidgetItem([job.title, "", time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started))])
            item.setData(0, Qt.ItemDataRole.UserRole, job.id)
            item.setToolTip(0, f"{job.title}\n{job.output}")
            self.tree.addTopLevelItem(item)
            if chosen is not None and job.id == chosen.id:
                item.setSelected(True)

    def _chosen(self) -> Job | None:
        items = self.tree.selectedItems()
        return self._jobs.get(items[0].data(0, Qt.ItemDataRole.UserRole)) if items else None

    def _buttons(self) -> None:
        job = self._chosen()
        live = job is not None and (job.state() in LIVE or job.alive())
        self._show_button.setEnabled(job is not None)
        self._cancel_button.setEnabled(live)
        self._forget_button.setEnabled(job is not None and not live)

    def _show(self) -> None:
        job = self._chosen()
        if job is not None:
            self.show_wanted.emit(job)

    def _cancel(self) -> None:
        job = self._chosen()
        if job is None:
            return
        job.cancel()
        self._cancelled.append(job)
        self._patience.start(_KILL_MS)

    def _insist(self) -> None:
        for job in self._cancelled:
            job.kill()  # it may have ended itself and left workers behind
        self._cancelled = []
        self.refresh()

    def _forget(self) -> None:
        job = self._chosen()
        if job is None:
            return
        with contextlib.suppress(JobProblem):  # it has only just ended: the list says so
            self._store.remove(job)
        self.refresh()
