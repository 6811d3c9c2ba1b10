"""Numbers of a training, kept where they can be drawn: a CSV file always, TensorBoard's files when asked for.

Both live among the logs of an output folder, which are no part of its bytes. A resumed run takes back what was said of
steps it does again.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geosynth.errors import GeosynthError
from geosynth.events import Events

FILE = "metrics.csv"
_HEADER = ("step", "name", "value")


def check_tensorboard() -> None:
    """Raise GeosynthError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise GeosynthError(
            "TensorBoard is not installed", remedy="pip install tensorboard, or leave out --tensorboard"
        )


class MetricLog:
    """Tells metrics to the events and keeps them in ``folder``.

    Args:
        events: hear every metric.
        folder: where ``metrics.csv`` and ``tensorboard/`` go; None keeps nothing.
        tensorboard: write TensorBoard's files too.
    """

    def __init__(self, events: Events, folder: Path | None = None, *, tensorboard: bool = False) -> None:
        self.events, self.folder, self.tensorboard = events, folder, tensorboard
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """From here on steps after ``step`` are told; what is kept of them already goes."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / FILE
        kept: list[list[str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                # A run that was killed may have left half a line.
                rows = [row for row in csv.reader(stream) if len(row) == len(_HEADER) and row[0].isdigit()]
            kept = [row for row in rows if int(row[0]) <= step]
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([_HEADER, *kept])
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def tell(self, name: str, value: float, step: int) -> None:
        self.events.metric(name, value, step)
        if self.folder is None:
            return
        with (self.folder / FILE).open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow((step, name, f"{value:.6g}"))
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
