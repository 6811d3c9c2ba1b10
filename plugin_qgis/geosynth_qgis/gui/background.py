"""Slow questions asked beside the GUI thread: finding interpreters, a handshake."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from qgis.PyQt.QtCore import QObject, pyqtSignal


class Background(QObject):
    """Runs one function at a time in a thread; its answer comes back as a signal in the GUI thread.

    An answer to a question that has been replaced by a newer one, or given up, is dropped.
    """

    answered = pyqtSignal(object)
    failed = pyqtSignal(str)
    _came = pyqtSignal(int, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._asked = 0
        self._stop = threading.Event()
        self._came.connect(self._take)

    def ask(self, function: Callable[[Callable[[], bool]], Any]) -> None:
        """Call ``function(is_cancelled)`` in a thread."""
        self.give_up()
        number, stop = self._asked, self._stop

        def work() -> None:
            answer, problem = None, None
            try:
                answer = function(stop.is_set)
            except Exception as error:
                problem = error
            try:
                self._came.emit(number, answer, problem)
            except RuntimeError:
                return  # the dialog is gone, and with it whoever wanted to know

        threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        """Tell the function through ``is_cancelled`` to come to an end; its answer still counts."""
        self._stop.set()

    def give_up(self) -> None:
        """Forget the question that is being asked; the function is told through ``is_cancelled``."""
        self._stop.set()
        self._stop = threading.Event()
        self._asked += 1

    def _take(self, number: int, answer: object, problem: object) -> None:
        if number != self._asked:
            return
        if problem is None:
            self.answered.emit(answer)
        else:
            self.failed.emit(str(problem) or type(problem).__name__)
