"""Scenes and labels to tiles."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsFields, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtWidgets import QComboBox

from ...core.words import tr
from ..choosers import LayerList, is_label, is_raster
from .page import Page, choice, decimal, number

_SIDE = 64
"""Pixels: what the base generator was trained on."""


class TilesPage(Page):
    command, title, verb, result_name = "tile", tr("Tiles"), tr("Cut tiles"), "tiles"
    says = tr(
        "Cuts scenes and their labels into small pairs of image and mask, split by place into train, val and test."
    )

    def build(self) -> None:
        self._scenes = LayerList(is_raster, tr("Scenes"))
        self._labels = LayerList(is_label, tr("Labels"))
        self._field = QComboBox()
        self._field.setEditable(True)
        self._outside = choice(
            (None, tr("choose …")),
            ("background", tr("background: every object is drawn")),
            ("unknown", tr("unknown: only some are drawn")),
        )
        self.add("SCENES", tr("Scenes"), self._scenes)
        self.add("LABELS", tr("Labels"), self._labels, tr("Polygons, lines or mask rasters. None: all masks unknown."))
        self.add("CLASS_FIELD", tr("Class attribute"), self._field, tr("Empty: the label layer is one class"))
        self.add("OUTSIDE", tr("Outside of polygons"), self._outside)
        self.add("SIZE", tr("Tile side"), number(_SIDE, 8, 4096, step=8)).setSuffix(" px")
        self.add("GSD", tr("Ground pixel"), decimal(None, 0.01, 10_000, tr("as the scenes"), 0.01)).setSuffix(" m")
        self.add_output(tr("Tileset"))
        legend = QComboBox()
        legend.setEditable(True)
        for name in ("", "world", "loveda"):
            legend.addItem(name)
        tip = tr("A ready-made legend, or a JSON file. Empty: the classes are those of the labels.")
        self.add("LEGEND", tr("Legend"), legend, tip, more=True)
        split = choice((None, tr("blocks of tiles")), ("scene", tr("whole scenes")))
        self.add("SPLIT", tr("Split by"), split, more=True)
        self.add("VAL", tr("Share for val"), decimal(0.15, 0, 1, step=0.05), more=True)
        self.add("TEST", tr("Share for test"), decimal(0.15, 0, 1, step=0.05), more=True)
        self.add("OVERLAP", tr("Overlap"), number(0, 0, 4096), more=True).setSuffix(" px")
        self.add("SEED", tr("Seed"), number(0, 0, 2**31 - 1), more=True)
        self._labels.changed.connect(self._labels_changed)
        self._labels_changed()

    def values(self) -> dict[str, Any]:
        found = super().values()
        if not self._vectors():
            found.pop("CLASS_FIELD", None)
            found.pop("OUTSIDE", None)
        return found

    def problems(self) -> list[str]:
        found = []
        both = set(self._scenes.value()) & set(self._labels.value())
        if not self._scenes.value():
            found.append(tr("Scenes: tick a raster layer, or add files with …"))
        if both:
            found.append(tr("A layer cannot be scene and label at once."))
        if self._vectors() and not self._outside.currentData():
            found.append(tr("Outside of polygons: say whether every object is drawn."))
        return found

    def hint(self) -> str:
        side, layers = self.field("SIZE").value(), self._layers(self._scenes)
        rasters = [layer for layer in layers if isinstance(layer, QgsRasterLayer)]
        if len(rasters) != len(self._scenes.value()) or self.field("GSD").value() > self.field("GSD").minimum():
            return ""
        count = sum((layer.width() // side) * (layer.height() // side) for layer in rasters)
        if count == 0:
            return tr("The scenes are smaller than a tile.")
        text = tr("About {count} tiles of {side} px.").format(count=count, side=side)
        return text if self._labels.value() else text + " " + tr("No labels: all masks will be unknown.")

    def _layers(self, chosen: LayerList) -> list[object]:
        project = QgsProject.instance()
        return [layer for layer in (project.mapLayer(value) for value in chosen.value()) if layer is not None]

    def _vectors(self) -> list[QgsVectorLayer]:
        """Label layers that are vectors; files count by their ending."""
        layers = [layer for layer in self._layers(self._labels) if isinstance(layer, QgsVectorLayer)]
        endings = (".gpkg", ".shp", ".geojson", ".json", ".kml", ".fgb", ".parquet")
        paths = [value for value in self._labels.value() if value.lower().split("|")[0].endswith(endings)]
        return layers + [QgsVectorLayer(path, "", "ogr") for path in paths]

    def _labels_changed(self) -> None:
        vectors = self._vectors()
        for widget in (self._field, self._outside):
            label = self.form.labelForField(widget)
            for part in (widget, label):
                if part is not None:
                    part.setVisible(bool(vectors))
        names = sorted({name for layer in vectors for name in _texts(layer.fields())})
        if names != [self._field.itemText(row) for row in range(1, self._field.count())]:
            chosen = self._field.currentText()
            self._field.clear()
            self._field.addItems(["", *names])
            likely = [name for name in names if name.lower() in ("class", "klass", "label", "landcover", "type")]
            self._field.setCurrentText(chosen if chosen in names else likely[0] if likely else "")


def _texts(fields: QgsFields) -> list[str]:
    return [field.name() for field in fields if field.name().lower() not in ("fid", "ogc_fid")]
