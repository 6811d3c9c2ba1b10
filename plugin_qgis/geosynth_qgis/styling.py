"""Results as layers of a project: named, styled, grouped, and marked where they show no real place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFillSymbol,
    QgsLayerTreeGroup,
    QgsLayerTreeLayer,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QTimer

from .core.artefacts import Result

ROOT_GROUP = "geosynth"
_ORDER = ("INDEX", "OUTPUT", "POLYGONS", "CLASSES", "LAYERS", "MASKS", "IMAGES")
"""From the top of the group down: outlines over polygons over rasters of classes over images."""
_RANK = "geosynth/rank"


def add_results(results: Iterable[Result], project: QgsProject, folder: str) -> list[QgsMapLayer]:
    """Add the layers among the results to a project, in the group of their folder. Call it in the GUI thread."""
    added = []
    for result in results:
        layer = open_layer(result)
        if layer is not None:
            project.addMapLayer(layer, False)
            finish(layer, result, project, folder)
            added.append(layer)
    return added


def open_layer(result: Result) -> QgsMapLayer | None:
    """The result as a layer with the style QGIS finds beside it; None when it is none or cannot be read."""
    path = str(result.path)
    if result.kind == "raster":
        layer: QgsMapLayer = QgsRasterLayer(path, result.title)
    elif result.kind == "vector":
        layer = QgsVectorLayer(path, result.title, "ogr")
    else:
        return None
    return layer if layer.isValid() else None


def finish(layer: QgsMapLayer, result: Result, project: QgsProject, folder: str) -> None:
    """Name a layer, style it where nothing else does, write its provenance into its metadata, and group it."""
    layer.loadDefaultStyle()  # Processing opens layers without the style that lies beside them
    layer.setName(result.title)
    _plain_coordinates(layer)
    if result.key == "INDEX" and isinstance(layer, QgsVectorLayer):
        _outline(layer)
    _describe(layer, result)
    layer.setCustomProperty(_RANK, _ORDER.index(result.key) if result.key in _ORDER else len(_ORDER))
    if project is not None:
        _group(layer, project, Path(folder).name or folder)


def _plain_coordinates(layer: QgsMapLayer) -> None:
    """What has no place on Earth is drawn as it is: QGIS finds no way from an engineering CRS even to itself."""
    if layer.crs().toWkt().startswith(("LOCAL_CS", "ENGCRS", "ENGINEERINGCRS")):
        layer.setCrs(QgsCoordinateReferenceSystem())


def _outline(layer: QgsVectorLayer) -> None:
    """Filled tiles would hide the images they stand for."""
    symbol = QgsFillSymbol.createSimple(
        {"style": "no", "outline_color": "#ffb000", "outline_width": "0.3", "outline_style": "solid"}
    )
    layer.setRenderer(QgsSingleSymbolRenderer(symbol))


def _describe(layer: QgsMapLayer, result: Result) -> None:
    metadata = layer.metadata()
    metadata.setTitle(result.title)
    lines = list(result.lines)
    if lines:
        metadata.setAbstract("\n".join(lines))
        metadata.setHistory(lines)
    if result.synthetic:
        metadata.setKeywords({"geosynth": ["SYNTHETIC"]})
        layer.setCustomProperty("geosynth/synthetic", True)
    layer.setMetadata(metadata)


def _group(layer: QgsMapLayer, project: QgsProject, name: str) -> None:
    node = project.layerTreeRoot().findLayer(layer.id())
    if node is None and project.mapLayer(layer.id()) is None:
        # Newer QGIS puts the layer into the project after this: then it is moved.
        identifier = layer.id()
        QTimer.singleShot(0, lambda: _group_later(identifier, project, name))
        return
    _place(layer, project, name)


def _group_later(identifier: str, project: QgsProject, name: str) -> None:
    layer = project.mapLayer(identifier)
    if layer is not None:
        _place(layer, project, name)


def _place(layer: QgsMapLayer, project: QgsProject, name: str) -> None:
    root = project.layerTreeRoot()
    group = _child_group(_on_top(root, ROOT_GROUP), name, 0)
    rank = int(layer.customProperty(_RANK))
    for older in group.findLayers():
        # A run that was gone on with has made the same file again.
        other = older.layer()
        if other is not None and other.id() != layer.id() and other.source() == layer.source():
            project.removeMapLayer(other.id())
    position = sum(1 for other in group.children() if _rank_of(other) < rank)
    placed = group.insertLayer(position, layer)
    # A mask covers its image: it is there to be switched on.
    placed.setItemVisibilityChecked(rank != _ORDER.index("MASKS"))
    placed.setExpanded(False)
    for double in root.findLayers():  # where QGIS itself has put it
        if double.layerId() == layer.id() and double != placed:
            double.parent().removeChildNode(double)
    group.setExpanded(True)


def _on_top(root: QgsLayerTreeGroup, name: str) -> QgsLayerTreeGroup:
    """The group of that name, above all others: what has just been made is there to be seen."""
    group = _child_group(root, name, 0)
    if root.children()[0] == group:
        return group
    copy = group.clone()
    root.insertChildNode(0, copy)
    root.removeChildNode(group)
    return copy


def _rank_of(node: object) -> int:
    layer = node.layer() if isinstance(node, QgsLayerTreeLayer) else None
    return int(layer.customProperty(_RANK, len(_ORDER))) if layer is not None else len(_ORDER)


def _child_group(parent: QgsLayerTreeGroup, name: str, position: int) -> QgsLayerTreeGroup:
    for child in parent.children():
        if isinstance(child, QgsLayerTreeGroup) and child.name() == name:
            return child
    return parent.insertGroup(position, name)
