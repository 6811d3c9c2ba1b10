"""Runs the panel shows: attached ones (a QGIS task) and detached ones (jobs that outlive QGIS), told alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingOutputLayerDefinition, QgsProject
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ..core.commands import COMMANDS
from ..core.jobs import Job
from ..processing.running import RunningAlgorithm, load_job_results

_POLL_MS, _PATIENCE_MS = 400, 1700
_ENDED = ("done", "failed", "cancelled", "dead")


class Run(QObject):
    """What the two have in common. ``ended`` says done, failed, cancelled or dead, and a message for people."""

    received = pyqtSignal(object)
    spoke = pyqtSignal(str)
    ended = pyqtSignal(str, str)

    def __init__(self, title: str, command: str, parameters: dict[str, Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.title, self.command, self.parameters = title, command, parameters
        self.output = str(parameters.get("OUTPUT") or parameters.get("TILES") or "")
        self.state = "running"
        self.results: dict[str, Any] = {}
        self.outcome: object | None = None

    @property
    def detached(self) -> bool:
        return False

    def cancel(self) -> None:
        """Ask it to stop; all its processes are gone within two seconds."""
        raise NotImplementedError

    def leave(self) -> None:
        """QGIS or the panel goes away."""
        raise NotImplementedError

    def _end(self, state: str, message: str) -> None:
        if self.state == "running":
            self.state = state
            self.ended.emit(state, message)


class AttachedRun(Run):
    """A Processing algorithm in QGIS's task manager, the same that the toolbox runs."""

    def __init__(self, title: str, command: str, parameters: dict[str, Any], parent: QObject | None = None) -> None:
        super().__init__(title, command, parameters, parent)
        self._running = RunningAlgorithm(self)
        self._running.received.connect(self.received)
        self._running.spoke.connect(self.spoke)
        self._running.finished.connect(self._finished)

    def start(self) -> None:
        parameters, project = dict(self.parameters), QgsProject.instance()
        destination = COMMANDS[self.command].destination
        if destination is not None and destination.kind == "save_vector":
            # As the toolbox says that the layer is wanted in the project; a path alone is only written.
            parameters["OUTPUT"] = QgsProcessingOutputLayerDefinition(str(parameters["OUTPUT"]), project)
        self._running.start(self.command, parameters, project)

    def cancel(self) -> None:
        self._running.cancel()

    def leave(self) -> None:
        self._running.cancel()

    def _finished(self, state: str, results: dict[str, Any], outcome: object) -> None:
        self.results, self.outcome = dict(results or {}), outcome
        self._end(state, str(getattr(outcome, "message", "") or self.results.get("MESSAGE", "")))


class DetachedRun(Run):
    """A job with a life of its own, watched through the file it writes its events to."""

    def __init__(self, job: Job, parameters: dict[str, Any] | None = None, parent: QObject | None = None) -> None:
        super().__init__(job.title, job.command, parameters or {}, parent)
        self.job = job
        self.output = str(job.output or "")
        self._read = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._kill)

    @property
    def detached(self) -> bool:
        return True

    def start(self) -> None:
        """Begin to watch; what it has said until now is told at once."""
        self._timer.start(_POLL_MS)
        QTimer.singleShot(0, self._look)

    def cancel(self) -> None:
        self.job.cancel()
        self._patience.start(_PATIENCE_MS)

    def leave(self) -> None:
        self._timer.stop()

    def _kill(self) -> None:
        self.job.kill()  # it may have ended itself and left workers behind
        self._look()

    def _look(self) -> None:
        if self.state != "running":
            return
        state = self.job.state()  # before the events: what it says last is then surely read
        events, self._read = self.job.read(self._read)
        for event in events:
            self.received.emit(event)
        if state not in _ENDED:
            return
        self._timer.stop()
        if state == "done":
            load_job_results(self.job, QgsProject.instance())
        self._end(state, self.job.message())


def resumable(run: Run) -> bool:
    """Whether going on with the same parameters makes sense."""
    return run.state in ("cancelled", "failed", "dead") and bool(run.parameters) and bool(run.output)


def newest_sample(output: str) -> Path | None:
    """The last picture that a training drew into its output (``train --samples-every``)."""
    drawn = sorted(Path(output, "samples").glob("step-*.png")) if output else []
    return drawn[-1] if drawn else None
