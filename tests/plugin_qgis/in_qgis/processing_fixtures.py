"""What the tests of Processing share: the provider, a pretended interpreter, waiting without blocking QGIS."""

import os
import shutil
import stat
import time
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProcessingFeedback,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QEventLoop, QTimer

HERE = Path(__file__).parent
TILES = Path(os.environ["GEOSYNTH_TEST_TILES"])
SCENES = Path(os.environ["GEOSYNTH_TEST_SCENES"])
PYTHON = os.environ["GEOSYNTH_TEST_PYTHON"]


def wait_for(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        loop = QEventLoop()
        QTimer.singleShot(20, loop.quit)
        loop.exec()
        QCoreApplication.sendPostedEvents()


@pytest.fixture(scope="session", autouse=True)
def provider(qgis_processing):
    from geosynth_qgis.plugin import GeosynthPlugin

    plugin = GeosynthPlugin(None)
    plugin.initProcessing()
    yield QgsApplication.processingRegistry().providerById("geosynth")
    plugin.unload()
    assert QgsApplication.processingRegistry().providerById("geosynth") is None


@pytest.fixture(autouse=True)
def interpreter(monkeypatch, tmp_path):
    from geosynth_qgis import settings

    monkeypatch.setenv("GEOSYNTH_PYTHON", PYTHON)
    monkeypatch.setattr(settings, "profile_folder", lambda: tmp_path / "profile")


@pytest.fixture
def project():
    here = QgsProject.instance()
    here.clear()
    yield here
    here.clear()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A pretended interpreter whose runs last and have a worker."""
    folder = tmp_path / "fake"
    folder.mkdir()
    shutil.copy(HERE / "fake_geosynth.py", folder / "python")
    (folder / "python").chmod(0o700 | stat.S_IXUSR)
    monkeypatch.setenv("GEOSYNTH_PYTHON", str(folder / "python"))
    return folder


class Spoken(QgsProcessingFeedback):
    """Keeps what was said."""

    def __init__(self):
        super().__init__(False)
        self.texts, self.shares = [], []

    def setProgressText(self, text):  # noqa: N802
        self.texts.append(text)

    def setProgress(self, share):  # noqa: N802
        self.shares.append(share)


def run(name, feedback=None, context=None, **parameters):
    return processing.run(f"geosynth:{name}", parameters, feedback=feedback, context=context)


def polygons(project, name="drawn é/1"):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=class:string", name, "memory")
    feature = QgsFeature(layer.fields())
    feature.setGeometry(
        QgsGeometry.fromWkt("POLYGON((500000 4999900, 500064 4999900, 500064 5000000, 500000 4999900))")
    )
    feature.setAttribute("class", "water")
    layer.dataProvider().addFeatures([feature])
    project.addMapLayer(layer)
    return layer
