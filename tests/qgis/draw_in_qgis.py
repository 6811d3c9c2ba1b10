"""Runs inside QGIS's own Python: draws rasters over magenta, as the map canvas would.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 draw_in_qgis.py PICTURES.json, a list of {raster, extent, size, picture}
"""

import json
import os
import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsMapRendererSequentialJob, QgsMapSettings, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

app = QgsApplication([], False)
app.initQgis()
for wanted in json.loads(Path(sys.argv[1]).read_text()):
    layer = QgsRasterLayer(wanted["raster"], "layer")  # with the style that QGIS finds beside it
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setBackgroundColor(QColor(255, 0, 255))
    settings.setFlag(QgsMapSettings.Antialiasing, True)
    settings.setDestinationCrs(layer.crs())
    settings.setOutputSize(QSize(*wanted["size"]))
    settings.setExtent(QgsRectangle(*wanted["extent"]))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    assert layer.isValid() and job.renderedImage().save(wanted["picture"]), wanted
os._exit(0)  # QGIS's own clean-up may crash after all is done
