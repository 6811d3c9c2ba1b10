"""A command of geosynth as a Processing algorithm."""

from __future__ import annotations

import html
import shlex
import time
from collections.abc import Callable
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
)

from .. import settings
from ..core.artefacts import results_of
from ..core.command_table import GROUPS
from ..core.commands import arguments, problems
from ..core.environment import EnvironmentProblem, checked_python, run_argv
from ..core.events import Event
from ..core.options import Command
from ..core.progress import ProgressTracker
from ..core.runner import Outcome, run, working_folder
from ..core.words import tr
from .feedback import GeosynthFeedback
from .loading import load_on_completion
from .parameters import LOAD, MESSAGE, outputs_of, parameters_of
from .values import Exports, plain_values

_TELL_EVERY = 2.0
"""Seconds between lines of progress: each is one more line in the log of the dialog."""
_RUN_OPTIONS = ("--progress", "jsonl", "--watch-stdin")


class CommandAlgorithm(QgsProcessingAlgorithm):
    """Runs one command in the chosen environment. All that is special to a command is in the command table."""

    def __init__(self, command: Command, icon: Callable[[], Any]) -> None:
        super().__init__()
        self._command, self._icon = command, icon
        self._values: dict[str, Any] = {}
        self._python = ""
        self._arguments: list[str] = []
        self._problem = ""

    def createInstance(self) -> QgsProcessingAlgorithm:  # noqa: N802 - QGIS's names, here and below
        return CommandAlgorithm(self._command, self._icon)

    @property
    def command(self) -> Command:
        return self._command

    def name(self) -> str:
        return self._command.name

    def displayName(self) -> str:  # noqa: N802
        return tr(self._command.title)

    def group(self) -> str:
        return tr(GROUPS[self._command.group])

    def groupId(self) -> str:  # noqa: N802
        return self._command.group

    def icon(self) -> Any:
        return self._icon()

    def shortDescription(self) -> str:  # noqa: N802
        return tr(self._command.summary).split(". ")[0]

    def shortHelpString(self) -> str:  # noqa: N802
        explained = [option for option in self._command.options if option.help]
        lines = [f"<p>{html.escape(tr(self._command.summary))}</p>"]
        lines += [
            f"<p><b>{html.escape(tr(option.label))}</b>: {html.escape(tr(option.help))}</p>" for option in explained
        ]
        return "\n".join(lines)

    def helpUrl(self) -> str:  # noqa: N802
        return f"{settings.HOMEPAGE}/blob/main/docs/commands.md"

    def tags(self) -> list[str]:
        return ["geosynth", "synthetic", "segmentation", self._command.name]

    def initAlgorithm(self, configuration: Any = None) -> None:  # noqa: N802
        for parameter in parameters_of(self._command):
            self.addParameter(parameter)
        for output in outputs_of(self._command):
            self.addOutput(output)

    def checkParameterValues(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        fine, why = super().checkParameterValues(parameters, context)
        if not fine:
            return fine, why
        try:
            found = problems(self._command, plain_values(self, self._command, parameters, context, None))
        except QgsProcessingException as problem:
            return False, str(problem)
        return not found, "\n".join(problem.text for problem in found)

    def prepareAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """In the GUI thread, where layers may be touched.

        What is wrong is raised when it is run: whoever calls ``processing.run`` then gets the words, and not only that
        there were errors.
        """
        try:
            self._python, self._arguments = self.command_line(parameters, context)
        except QgsProcessingException as problem:
            self._problem = str(problem)
        return True

    def command_line(
        self, parameters: dict[str, Any], context: QgsProcessingContext, exports: Exports | None = None
    ) -> tuple[str, list[str]]:
        """The interpreter, and the arguments it will be given; keeps the values.

        Raises:
            QgsProcessingException: it cannot be run, in words.
        """
        try:
            python = checked_python(settings.python_path())
        except EnvironmentProblem as problem:
            raise QgsProcessingException(str(problem)) from problem
        self._values = plain_values(self, self._command, parameters, context, exports or Exports())
        found = problems(self._command, self._values)
        if found:
            raise QgsProcessingException("\n".join(problem.text for problem in found))
        return python, arguments(self._command, self._values)

    @property
    def values(self) -> dict[str, Any]:
        """The plain values of the last ``command_line``."""
        return self._values

    def processAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        if self._problem:
            raise QgsProcessingException(self._problem)
        feedback.pushCommandInfo(shlex.join(["geosynth", *self._arguments]))
        outcome = run(
            run_argv(self._python, self._arguments, _RUN_OPTIONS),
            environment=settings.run_environment(),
            cwd=working_folder(str(self._values.get("OUTPUT") or "")),
            on_event=_Teller(feedback),
            on_line=_line_teller(feedback),
            is_cancelled=feedback.isCanceled,
        )
        if isinstance(feedback, GeosynthFeedback):
            feedback.arguments, feedback.outcome = list(self._arguments), outcome
        if outcome.state != "done":
            raise QgsProcessingException(outcome.message)
        feedback.pushInfo(outcome.message)
        return self._results(parameters, context, outcome)

    def _results(self, parameters: dict[str, Any], context: QgsProcessingContext, outcome: Outcome) -> dict[str, Any]:
        results: dict[str, Any] = {MESSAGE: outcome.message}
        folder = self._values.get(self._command.keeps_in or "OUTPUT")
        if folder:
            results["OUTPUT"] = folder
        self._ask_to_load(parameters, context, str(folder))
        made = results_of(self._command, self._values)
        for result in made:
            if result.key == "LAYERS":
                results.setdefault("CLASSES", str(result.path))
                results.setdefault("LAYERS", []).append(str(result.path))
            else:
                results[result.key] = str(result.path)
        wanted = self.parameterAsBoolean(parameters, LOAD, context) if self.parameterDefinition(LOAD) else True
        if wanted and folder:
            load_on_completion(made, context, str(folder))
        return results

    def _ask_to_load(self, parameters: dict[str, Any], context: QgsProcessingContext, path: str) -> None:
        """Have a vector destination loaded that is wanted in a project.

        What prepareAlgorithm asked for is forgotten where the algorithm runs in a thread. Asking QGIS again would make
        another temporary file of TEMPORARY_OUTPUT.
        """
        destination = self._command.destination
        if destination is None or destination.kind != "save_vector" or context.willLoadLayerOnCompletion(path):
            return
        wanted = parameters.get(destination.name)
        if isinstance(wanted, QgsProcessingOutputLayerDefinition) and wanted.destinationProject is not None:
            name = wanted.destinationName or self.parameterDefinition(destination.name).description()
            details = QgsProcessingContext.LayerDetails(name, wanted.destinationProject, destination.name)
            context.addLayerToLoadOnCompletion(path, details)


class _Teller:
    """Events as progress and lines of a feedback."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._tracker = ProgressTracker()
        self._task, self._told = "", 0.0

    def __call__(self, event: Event) -> None:
        feedback = self._feedback
        self._tracker.update(event)
        if isinstance(feedback, GeosynthFeedback):
            feedback.received.emit(event)
        if event.kind == "progress":
            fraction = self._tracker.fraction
            if fraction is not None:
                feedback.setProgress(100.0 * fraction)
            now = time.monotonic()
            if event.task != self._task or now - self._told >= _TELL_EVERY:
                self._task, self._told = event.task, now
                feedback.setProgressText(self._tracker.line())
        elif event.kind == "log":
            warning = event.get("level") == "warning"
            (feedback.pushWarning if warning else feedback.pushInfo)(event.text("message"))
        elif event.kind == "metric":
            value = event.number("value")
            if value is not None:
                feedback.pushDebugInfo(f"{event.text('name')} {value:g}")


def _line_teller(feedback: QgsProcessingFeedback) -> Callable[[str], None]:
    def tell(line: str) -> None:
        feedback.pushConsoleInfo(line)
        if isinstance(feedback, GeosynthFeedback):
            feedback.spoke.emit(line)

    return tell
