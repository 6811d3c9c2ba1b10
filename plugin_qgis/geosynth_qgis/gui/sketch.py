"""A mask drawn by hand: polygons by class in a scratch layer, with QGIS's own digitizing, undo and vertex tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsDefaultValue,
    QgsEditFormConfig,
    QgsFeature,
    QgsFeatureRequest,
    QgsFillSymbol,
    QgsProject,
    QgsRectangle,
    QgsRendererCategory,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..core.words import tr
from .descriptions import ClassEntry

CLASS, ORDER = "class", "nr"
_PROPERTY = "geosynth/sketch"
_LARGEST = 2048
"""Pixels a side: more takes hours on a CPU."""


class Sketch(QObject):
    """The scratch layer and what is drawn in it."""

    changed = pyqtSignal()

    def __init__(self, iface, parent: QObject | None = None) -> None:  # type: ignore[no-untyped-def]
        super().__init__(parent)
        self._iface = iface
        self._layer: QgsVectorLayer | None = None

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer, or None where there is none yet or somebody removed it."""
        if self._layer is not None and QgsProject.instance().mapLayer(self._layer_id) is None:
            self._layer = None
        return self._layer

    def draw(self, entry: ClassEntry, classes: Sequence[ClassEntry]) -> None:
        """Give the next polygons this class, and QGIS's tool to draw them."""
        layer = self.layer or self._begin(classes)
        self._style(layer, classes)
        fields = layer.fields()
        quoted = entry.name.replace("'", "''")
        layer.setDefaultValueDefinition(fields.indexOf(CLASS), QgsDefaultValue(f"'{quoted}'"))
        if not layer.isEditable():
            layer.startEditing()
        self._show()
        self._iface.setActiveLayer(layer)
        self._iface.actionAddFeature().trigger()

    def undo(self) -> None:
        layer = self.layer
        if layer is not None and layer.isEditable() and layer.undoStack().canUndo():
            layer.undoStack().undo()
            layer.triggerRepaint()

    def clear(self) -> None:
        layer = self.layer
        if layer is not None:
            if not layer.isEditable():
                layer.startEditing()
            layer.deleteFeatures(layer.allFeatureIds())
            layer.triggerRepaint()

    def count(self) -> int:
        layer = self.layer
        return 0 if layer is None else int(layer.featureCount())

    def extent(self) -> QgsRectangle:
        """Around all that is drawn, in the layer's CRS."""
        box = QgsRectangle()
        box.setMinimal()
        layer = self.layer
        for feature in layer.getFeatures() if layer is not None else ():
            box.combineExtentWith(feature.geometry().boundingBox())
        return box

    def pixels(self, ground: float | None, pixel: float) -> tuple[int, int] | None:
        """Width and height of the drawing in pixels of the generator; None where nothing is drawn."""
        layer, box = self.layer, self.extent()
        if layer is None or self.count() == 0 or box.isEmpty():
            return None
        size = ground or pixel
        crs = layer.crs()
        if crs.isGeographic() or crs.authid() == "EPSG:3857":
            center = QgsCoordinateTransform(
                crs, QgsCoordinateReferenceSystem("EPSG:4326"), QgsProject.instance()
            ).transform(box.center())
            zone = min(60, max(1, int((center.x() + 180) // 6) + 1))
            utm = QgsCoordinateReferenceSystem(f"EPSG:{(32600 if center.y() >= 0 else 32700) + zone}")
            box = QgsCoordinateTransform(crs, utm, QgsProject.instance()).transformBoundingBox(box)
        return max(1, round(box.width() / size)), max(1, round(box.height() / size))

    def save(self, path: Path) -> None:
        """Write what is drawn as a GeoPackage, in the order it was drawn: later polygons lie over earlier ones.

        Raises:
            OSError: it cannot be written.
        """
        layer = self.layer
        if layer is None:
            raise OSError(tr("nothing is drawn"))
        self.finish()
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = QgsVectorLayer(f"MultiPolygon?crs={layer.crs().authid()}", "mask", "memory")
        drawn.setCrs(layer.crs())
        drawn.dataProvider().addAttributes(layer.fields().toList())
        drawn.updateFields()
        request = QgsFeatureRequest().addOrderBy(ORDER)
        copies = []
        for feature in layer.getFeatures(request):
            copy = QgsFeature(drawn.fields())
            geometry = feature.geometry()
            geometry.convertToMultiType()
            copy.setGeometry(geometry)
            copy.setAttributes(feature.attributes())
            copies.append(copy)
        drawn.dataProvider().addFeatures(copies)
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName, options.layerName = "GPKG", "mask"
        context = QgsProject.instance().transformContext()
        written = QgsVectorFileWriter.writeAsVectorFormatV3(drawn, str(path), context, options)
        if written[0] != QgsVectorFileWriter.WriterError.NoError:
            raise OSError(f"{path}: {written[1]}")

    def finish(self) -> None:
        """Keep what is drawn in the layer; drawing can go on."""
        layer = self.layer
        if layer is not None and layer.isEditable():
            layer.commitChanges(False)

    def put_aside(self) -> None:
        """Hide it, so that what was painted is seen, and let the mouse move the map again."""
        layer = self.layer
        node = None if layer is None else QgsProject.instance().layerTreeRoot().findLayer(layer.id())
        if node is not None:
            node.setItemVisibilityChecked(False)
        self._iface.actionPan().trigger()

    def _show(self) -> None:
        """On top of all, ticked."""
        root = QgsProject.instance().layerTreeRoot()
        node = root.findLayer(self._layer_id)
        if node is not None and root.children()[0] != node:
            top = node.clone()
            root.insertChildNode(0, top)
            node.parent().removeChildNode(node)
            node = top
        if node is not None:
            node.setItemVisibilityChecked(True)
            node.setExpanded(False)

    def _begin(self, classes: Sequence[ClassEntry]) -> QgsVectorLayer:
        project = QgsProject.instance()
        crs = self._iface.mapCanvas().mapSettings().destinationCrs()
        where = crs.authid() if crs.isValid() else "EPSG:3857"
        layer = QgsVectorLayer(f"Polygon?crs={where}&field={CLASS}:string&field={ORDER}:integer", "", "memory")
        if crs.isValid():
            layer.setCrs(crs)
        layer.setName(tr("Mask to paint"))
        layer.setCustomProperty(_PROPERTY, True)
        number = QgsDefaultValue(f'coalesce(maximum("{ORDER}"), 0) + 1')
        layer.setDefaultValueDefinition(layer.fields().indexOf(ORDER), number)
        form = layer.editFormConfig()
        form.setSuppress(QgsEditFormConfig.FeatureFormSuppress.SuppressOn)
        layer.setEditFormConfig(form)
        self._style(layer, classes)
        project.addMapLayer(layer, False)
        project.layerTreeRoot().insertLayer(0, layer)
        for signal in (layer.featureAdded, layer.featureDeleted, layer.geometryChanged):
            signal.connect(lambda *_: self.changed.emit())
        layer.willBeDeleted.connect(self._gone)
        self._layer, self._layer_id = layer, layer.id()
        return layer

    def _gone(self) -> None:
        self._layer = None
        self.changed.emit()

    @staticmethod
    def _style(layer: QgsVectorLayer, classes: Sequence[ClassEntry]) -> None:
        categories = [
            QgsRendererCategory(
                entry.name,
                QgsFillSymbol.createSimple({"color": entry.color, "outline_color": "#202020", "outline_width": "0.3"}),
                entry.name,
            )
            for entry in classes
        ]
        renderer = QgsCategorizedSymbolRenderer(CLASS, categories)
        renderer.setOrderBy(QgsFeatureRequest.OrderBy([QgsFeatureRequest.OrderByClause(ORDER, True)]))
        renderer.setOrderByEnabled(True)
        layer.setRenderer(renderer)
        layer.setOpacity(0.7)
        layer.triggerRepaint()


def too_large(pixels: tuple[int, int]) -> bool:
    return max(pixels) > _LARGEST
