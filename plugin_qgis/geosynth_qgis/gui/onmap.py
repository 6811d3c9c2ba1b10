"""Whether what was made can be seen on the map, and how to get there: new pairs lie in a made-up place."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsMapLayer, QgsProject, QgsRectangle
from qgis.gui import QgsMapCanvas

from ..core.artefacts import inside

_MARGIN, _LONGEST = 1.1, 12


def layers_of(output: str, project: QgsProject) -> list[QgsMapLayer]:
    """Layers of the project whose files lie in an output folder, or are that output."""
    found = []
    for layer in project.mapLayers().values():
        source = layer.source().split("|")[0]
        if source and (source == output or inside(source, output) is not None):
            found.append(layer)
    return found


def in_view(layers: Sequence[QgsMapLayer], canvas: QgsMapCanvas) -> bool:
    """Whether the map shows any part of them."""
    extent = _extent(layers, canvas)
    return extent is None or canvas.extent().intersects(extent)


def show(layers: Sequence[QgsMapLayer], canvas: QgsMapCanvas) -> None:
    """Move the map there: to the beginning of a long row of tiles, which would be a line if all of it were shown."""
    extent = _extent(layers, canvas)
    if extent is not None:
        extent.setXMaximum(min(extent.xMaximum(), extent.xMinimum() + _LONGEST * extent.height()))
        extent.scale(_MARGIN)
        canvas.setExtent(extent)
        canvas.refresh()


def _extent(layers: Sequence[QgsMapLayer], canvas: QgsMapCanvas) -> QgsRectangle | None:
    """Around all of them in the map's CRS; None where that cannot be said."""
    whole = QgsRectangle()
    whole.setMinimal()
    there = canvas.mapSettings().destinationCrs()
    for layer in layers:
        try:
            transform = QgsCoordinateTransform(layer.crs(), there, QgsProject.instance())
            whole.combineExtentWith(transform.transformBoundingBox(layer.extent()))
        except QgsCsException:
            continue
    return None if whole.isEmpty() else whole
