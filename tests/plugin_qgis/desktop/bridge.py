"""Runs inside the QGIS desktop (``qgis --code``): answers questions of the test that has started it.

A question is a Python expression in a file; its value comes back as JSON. The test moves the mouse and presses the
keys itself, from outside.
"""

import json
import os
import traceback
from pathlib import Path

from qgis.core import QgsProject, QgsRectangle
from qgis.PyQt.QtCore import QEventLoop, QPoint, QTimer
from qgis.PyQt.QtWidgets import QApplication, QToolButton, QWidget
from qgis.utils import iface, plugins

FOLDER = Path(os.environ["GEOSYNTH_DESKTOP"])
window = iface.mainWindow()
window.setGeometry(0, 0, 1400, 900)


def dock():
    return plugins["geosynth_qgis"].dock


def project():
    return QgsProject.instance()


def widget(name):
    """A visible widget by its object name, in any window."""
    found = [entry for entry in QApplication.allWidgets() if entry.objectName() == name and entry.isVisible()]
    return found[0] if found else None


def place(what):
    """The middle of a widget on the screen."""
    what = widget(what) if isinstance(what, str) else what
    return None if what is None else _global(what, what.rect().center())


def cell(view, row, text=None):
    """The middle of a row of a list or tree."""
    item = view.item(row) if text is None else next(i for i in map(view.item, range(view.count())) if i.text() == text)
    return _global(view.viewport(), view.visualItemRect(item).center())


def tick(view, text):
    """The box of a row that can be ticked."""
    item = next(i for i in map(view.item, range(view.count())) if i.text() == text)
    view.scrollToItem(item)
    box = view.visualItemRect(item)
    return _global(view.viewport(), QPoint(box.left() + 10, box.center().y()))


def on_map(x, y):
    """Where a point of the map is on the screen."""
    canvas = iface.mapCanvas()
    point = canvas.getCoordinateTransform().transform(x, y)
    return _global(canvas.viewport(), QPoint(round(point.x()), round(point.y())))


def _global(what: QWidget, point):
    there = what.mapToGlobal(point)
    return [there.x(), there.y()]


def action_place(name):
    """The button of an action in a tool bar."""
    buttons = [b for b in window.findChildren(QToolButton) if b.defaultAction() is not None and b.isVisible()]
    return next((place(b) for b in buttons if b.defaultAction().objectName() == name), None)


def show_map(west, south, east, north):
    """Move the map; the numbers are in its CRS."""
    iface.mapCanvas().setExtent(QgsRectangle(west, south, east, north))
    iface.mapCanvas().refresh()


def redrawn(seconds=30):
    """Draw the map, and wait for it; says whether it was. Until then QGIS shows the picture of before, stretched to
    where the map is now: much the same at a glance, and up to a quarter of its pixels elsewhere."""
    canvas = iface.mapCanvas()
    loop, drawn = QEventLoop(), []
    end = canvas.mapCanvasRefreshed.connect(lambda: (drawn.append(True), loop.quit()))
    QTimer.singleShot(seconds * 1000, loop.quit)
    canvas.stopRendering()  # the end of an earlier drawing is not that of this one
    canvas.refreshAllLayers()
    loop.exec()
    canvas.mapCanvasRefreshed.disconnect(end)
    canvas.viewport().repaint()
    QTimer.singleShot(100, loop.quit)  # what was painted goes to the screen
    loop.exec()
    return bool(drawn) and not canvas.isDrawing()


def only_layer(name):
    """Tick this layer and no other."""
    for node in project().layerTreeRoot().findLayers():
        node.setItemVisibilityCheckedParentRecursive(True)
    for node in project().layerTreeRoot().findLayers():
        node.setItemVisibilityChecked(node.layer().name() == name)


def into_view(name):
    """Scroll the panel so that a widget can be clicked."""
    found = widget(name)
    area = found.parentWidget()
    while area is not None and not hasattr(area, "ensureWidgetVisible"):
        area = area.parentWidget()
    if area is not None:
        area.ensureWidgetVisible(found)
    return True


def do(*_):
    """For expressions that are called for what they do."""
    return True


def answer():
    for question in sorted(FOLDER.glob("*.ask")):
        text = question.read_text(encoding="utf-8")
        question.unlink()
        try:
            told = {"value": eval(text, globals())}
        except Exception:
            told = {"error": traceback.format_exc()}
        temporary = question.with_suffix(".tmp")
        temporary.write_text(json.dumps(told, default=str), encoding="utf-8")
        temporary.rename(question.with_suffix(".answer"))


timer = QTimer()
timer.timeout.connect(answer)
timer.start(40)
