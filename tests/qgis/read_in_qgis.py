"""Runs inside QGIS's own Python: loads layers as a user would and prints what QGIS makes of them as JSON.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 read_in_qgis.py LAYER... [--picture OUT.png]
"""

import json
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPalettedRasterRenderer,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def describe_raster(layer):
    renderer = layer.renderer()
    facts = {"kind": "raster", "renderer": type(renderer).__name__}
    if isinstance(renderer, QgsPalettedRasterRenderer):
        facts["classes"] = [[entry.value, entry.label, entry.color.name()] for entry in renderer.classes()]
    return facts


def describe_vector(layer):
    renderer = layer.renderer()
    facts = {"kind": "vector", "features": layer.featureCount(), "renderer": renderer.type()}
    if renderer.type() == "categorizedSymbol":
        facts["classes"] = [
            [entry.value(), entry.label(), entry.symbol().color().name()] for entry in renderer.categories()
        ]
    return facts


def load(path):
    """A layer with the style QGIS picks by itself: from the GeoPackage, or from the .qml beside the file."""
    if path.endswith((".gpkg", ".geojson", ".shp")):
        return QgsVectorLayer(path, "layer", "ogr")
    return QgsRasterLayer(path, "layer")


def picture(layers, path):
    """Draw the layers, first on top, over the extent of the last."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setBackgroundColor(QColor("white"))
    settings.setOutputSize(QSize(900, 700))
    settings.setDestinationCrs(layers[-1].crs())
    settings.setExtent(layers[-1].extent())
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)


def main():
    arguments = sys.argv[1:]
    target = None
    if "--picture" in arguments:
        at = arguments.index("--picture")
        target = arguments[at + 1]
        del arguments[at : at + 2]
    app = QgsApplication([], False)
    app.initQgis()
    layers = [load(path) for path in arguments]
    facts = []
    for layer in layers:
        extent = layer.extent()
        described = describe_vector(layer) if isinstance(layer, QgsVectorLayer) else describe_raster(layer)
        described |= {
            "valid": layer.isValid(),
            "crs": layer.crs().authid(),
            "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        }
        facts.append(described)
    if target:
        picture(layers, target)
    print(json.dumps(facts), flush=True)
    os._exit(0)  # QGIS's own clean-up may crash after all is done


main()
