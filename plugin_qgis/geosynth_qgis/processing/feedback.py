"""What an algorithm says while it runs, for a panel that shows more than a bar."""

from __future__ import annotations

from qgis.core import QgsProcessingFeedback
from qgis.PyQt.QtCore import pyqtSignal

from ..core.runner import Outcome


class GeosynthFeedback(QgsProcessingFeedback):
    """A feedback that hands every event on, and keeps how the run ended.

    ``received`` brings each ``core.events.Event`` and ``spoke`` each line that is none; both are emitted in the
    thread of the algorithm.
    """

    received = pyqtSignal(object)
    spoke = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__(False)
        self.outcome: Outcome | None = None
        self.arguments: list[str] = []
        self.errors: list[str] = []

    def reportError(self, error: str, fatalError: bool = False) -> None:  # noqa: N802, N803 - QGIS's names
        self.errors.append(error)
        super().reportError(error, fatalError)
