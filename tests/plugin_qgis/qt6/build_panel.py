"""Builds the panel and its dialogs under PyQt6, lets them draw themselves, and says what it saw.

python build_panel.py PLUGINS REPORT PICTURE
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path[:0] = [str(Path(__file__).parent), sys.argv[1]]

import stubs  # noqa: E402

stubs.install()

from PyQt6.QtWidgets import QApplication, QMainWindow  # noqa: E402

application = QApplication([])

from geosynth_qgis.core.events import Event  # noqa: E402
from geosynth_qgis.gui.descriptions import ClassEntry, Description  # noqa: E402
from geosynth_qgis.gui.dock import GeosynthDock  # noqa: E402
from geosynth_qgis.gui.environmentdialog import EnvironmentDialog  # noqa: E402
from geosynth_qgis.gui.nearest import NearestDialog  # noqa: E402
from geosynth_qgis.gui.review import ReviewDialog  # noqa: E402
from geosynth_qgis.gui.runs import Run  # noqa: E402
from geosynth_qgis.gui.scores import ScoresDialog  # noqa: E402


def colors(widget: object) -> int:
    """How many colours a widget draws: one means that it drew nothing."""
    image = widget.grab().toImage()
    return len({image.pixel(x, y) for x in range(0, image.width(), 3) for y in range(0, image.height(), 3)})


window = QMainWindow()
dock = GeosynthDock(stubs.Hollow(), window)
dock.resize(440, 860)
dock.show()
for row, page in enumerate(dock.pages):
    dock.steps.setCurrentRow(row)
    page.check()
    application.processEvents()
    assert colors(page) > 2, page.title
box = dock.generate._box
box.offer(
    Description((ClassEntry(1, "water", "#2274a5"), ClassEntry(2, "tree", "#2d6a4f")), 64, 1.0, 1.0, "EPSG:32633")
)
for index in range(dock.generate.mode.count()):
    dock.generate.mode.setCurrentIndex(index)
    application.processEvents()
assert list(box.buttons) == ["water", "tree"]


class Going(Run):
    def cancel(self) -> None:
        self._end("cancelled", "stopped")

    def leave(self) -> None:
        pass


run = Going("Training", "train", {"OUTPUT": "/nonexistent"})
dock.view.watch(run)
run.received.emit(Event("progress", "train", 1, {"done": 3, "total": 10, "unit": "steps"}))
for step in range(8):
    run.received.emit(Event("metric", "train", step, {"name": "loss_image", "value": 1 / (step + 1), "step": step}))
    run.received.emit(
        Event("metric", "train", step, {"name": "val_loss_image", "value": 1.1 / (step + 1), "step": step})
    )
application.processEvents()
assert colors(dock.view._curves) > 3
assert dock.view._bar.value() == 300
dock.grab().save(sys.argv[3])
dock.view.cancel()
assert run.state == "cancelled" and not dock.view.busy

scores = ScoresDialog(sys.argv[2])
scores.show()
application.processEvents()
assert colors(scores.bars) > 3
for dialog in (
    EnvironmentDialog(),
    ReviewDialog("/nonexistent", dock.run),
    NearestDialog("/nonexistent", None, dock.run),
):
    dialog.show()
    application.processEvents()
    assert colors(dialog) > 2, dialog.objectName()
    dialog.close()
dock.stop()
print("built under Qt", application.applicationVersion() or stubs.QtCore.QT_VERSION_STR, flush=True)
os._exit(0)
