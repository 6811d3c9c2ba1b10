"""How the panel runs algorithms: as the toolbox does, in a task of QGIS, or detached from it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsMapLayer,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingUtils,
    QgsProject,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .. import settings
from ..core.artefacts import results_of
from ..core.command_table import COMMANDS
from ..core.commands import Problem, command_text, problems
from ..core.jobs import Job, JobProblem, JobStore
from ..core.runner import Outcome
from ..core.words import tr
from ..styling import add_results
from .algorithm import CommandAlgorithm
from .feedback import GeosynthFeedback
from .provider import icon
from .values import Exports, plain_values


def algorithm(name: str) -> CommandAlgorithm:
    """A fresh algorithm of a command, by its name or its id.

    Raises:
        KeyError: there is no such command.
    """
    command = COMMANDS[name.rpartition(":")[2]]
    registered = QgsApplication.processingRegistry().createAlgorithmById(f"geosynth:{command.name}")
    if isinstance(registered, CommandAlgorithm):
        return registered
    made = CommandAlgorithm(command, icon)
    made.initAlgorithm()
    return made


def context_of(project: QgsProject | None) -> QgsProcessingContext:
    context = QgsProcessingContext()
    if project is not None:
        context.setProject(project)
    return context


class RunningAlgorithm(QObject):
    """Runs one algorithm at a time as a task of QGIS; its layers are loaded as the toolbox loads them.

    ``received`` brings each event, ``spoke`` each other line, ``finished`` the state ("done", "failed", "cancelled"),
    the algorithm's results and the ``Outcome``. All are emitted in the GUI thread.
    """

    received = pyqtSignal(object)
    spoke = pyqtSignal(str)
    finished = pyqtSignal(str, dict, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task: QgsProcessingAlgRunnerTask | None = None
        self._context: QgsProcessingContext | None = None
        self.feedback: GeosynthFeedback | None = None

    @property
    def running(self) -> bool:
        return self._task is not None

    def start(self, name: str, parameters: Mapping[str, Any], project: QgsProject | None = None) -> None:
        """Start a command with parameters as the toolbox takes them. What is wrong with them comes as ``finished``.

        Raises:
            RuntimeError: one is running.
        """
        if self.running:
            raise RuntimeError("one algorithm at a time")
        self.feedback = GeosynthFeedback()
        self.feedback.received.connect(self.received)
        self.feedback.spoke.connect(self.spoke)
        self._context = context_of(project or QgsProject.instance())
        self._context.setFeedback(self.feedback)
        made = algorithm(name)
        _remember(made, dict(parameters), self._context)
        self._task = QgsProcessingAlgRunnerTask(made, dict(parameters), self._context, self.feedback)
        self._task.executed.connect(self._executed)
        QgsApplication.taskManager().addTask(self._task)

    def cancel(self) -> None:
        """Stop it; ``finished`` comes within two seconds."""
        if self.feedback is not None:
            self.feedback.cancel()
        if self._task is not None:
            self._task.cancel()

    def _executed(self, fine: bool, results: dict[str, Any]) -> None:
        feedback, context = self.feedback, self._context
        if feedback is None or context is None:
            return
        outcome = feedback.outcome
        if outcome is None or (not fine and outcome.state == "done"):
            state = "cancelled" if feedback.isCanceled() else "failed"
            message = feedback.errors[-1] if feedback.errors else tr("QGIS did not run it")
            outcome = Outcome(state, tr("cancelled") if state == "cancelled" else message)
        if outcome.state == "done":
            _load(context, feedback)
        self._task, self._context = None, None
        self.finished.emit(outcome.state, dict(results), outcome)


def _remember(made: CommandAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
    """Into Processing's history, where the toolbox keeps its runs. It moved in QGIS 3.24, and is no reason to fail."""
    command = made.asPythonCommand(parameters, context)
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        try:
            from processing.core.ProcessingLog import ProcessingLog

            ProcessingLog.addToLog(command)
        except ImportError:
            from qgis.gui import QgsGui

            entry = {
                "python_command": command,
                "algorithm_id": made.id(),
                "parameters": made.asMap(parameters, context),
            }
            QgsGui.historyProviderRegistry().addEntry("processing", entry)


def _load(context: QgsProcessingContext, feedback: GeosynthFeedback) -> None:
    """What QGIS's own dialog does after an algorithm."""
    for source, details in context.layersToLoadOnCompletion().items():
        layer = QgsProcessingUtils.mapLayerFromString(source, context, True, details.layerTypeHint)
        if layer is None:
            feedback.reportError(tr("{path} cannot be loaded").format(path=source))
            continue
        details.setOutputLayerName(layer)
        details.project.addMapLayer(context.temporaryLayerStore().takeMapLayer(layer))
        finisher = details.postProcessor()
        if finisher is not None:
            finisher.postProcessLayer(layer, context, feedback)


def check(name: str, parameters: Mapping[str, Any], project: QgsProject | None = None) -> list[Problem]:
    """What keeps a command from running with these parameters, in words, by option; empty when nothing does."""
    made = algorithm(name)
    context = context_of(project or QgsProject.instance())
    try:
        return problems(made.command, plain_values(made, made.command, parameters, context, None))
    except QgsProcessingException as problem:
        return [Problem("", str(problem))]


def command_line_text(name: str, parameters: Mapping[str, Any], project: QgsProject | None = None) -> str:
    """The command with these parameters to paste into a terminal: layers are given by their files.

    A scratch layer is given by its name only: it has no file that another program could read.

    Raises:
        QgsProcessingException: a layer cannot be used, in words.
    """
    made = algorithm(name)
    context = context_of(project or QgsProject.instance())
    values = plain_values(made, made.command, parameters, context, None)
    return command_text(settings.python_path() or "python", made.command, values)


def detached(name: str, parameters: Mapping[str, Any], title: str, project: QgsProject | None = None) -> Job:
    """Start a command with parameters as the toolbox takes them so that it goes on when QGIS is closed.

    Raises:
        JobProblem: it cannot be started, in words.
    """
    made = algorithm(name)
    context = context_of(project or QgsProject.instance())
    store = JobStore(settings.jobs_folder())
    exports = Exports(store.inputs / secrets.token_hex(4))
    try:
        python, arguments = made.command_line(dict(parameters), context, exports)
    except QgsProcessingException as problem:
        raise JobProblem(str(problem)) from problem
    output = str(made.values.get("OUTPUT") or made.values.get(made.command.keeps_in) or "")
    if QgsProcessingUtils.tempFolder() in output:
        raise JobProblem(tr("choose a folder for the result: a temporary one goes when QGIS is closed"))
    return store.start(
        python, arguments, title=title, output=output, values=made.values, environment=settings.run_environment()
    )


def load_job_results(job: Job, project: QgsProject | None = None) -> list[QgsMapLayer]:
    """Add the layers of a detached job that is done to a project."""
    command = COMMANDS.get(job.command)
    if command is None:
        return []
    folder = job.output if Path(job.output).is_dir() else str(Path(job.output).parent)
    return add_results(results_of(command, job.values), project or QgsProject.instance(), folder)
