"""What the panel's tests share: a pretended interpreter, the dock, waiting without blocking QGIS."""

import json
import os
import shutil
import stat
import time
from pathlib import Path

import pytest
from qgis.core import QgsProject, QgsRasterLayer, QgsSettings, QgsVectorLayer
from qgis.PyQt.QtCore import QCoreApplication, QEventLoop, QTimer

HERE = Path(__file__).parent
TILES = Path(os.environ["GEOSYNTH_TEST_TILES"])
"""A real tileset, of the toolkit's own tests."""
SCENES = Path(os.environ["GEOSYNTH_TEST_SCENES"])
"""A folder with scene.tif and its labels scene_mask.tif."""
PYTHON = os.environ["GEOSYNTH_TEST_PYTHON"]
"""An interpreter that has the real geosynth."""


def wait_for(true, seconds=20.0, what=""):
    """Let QGIS go on until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s {what}"
        loop = QEventLoop()
        QTimer.singleShot(20, loop.quit)
        loop.exec()
        QCoreApplication.sendPostedEvents()


def words(page):
    """What a page says is missing."""
    page.check()
    return page._words.text()


@pytest.fixture
def fake(tmp_path):
    """The folder of a pretended interpreter; files in it say how it behaves."""
    folder = tmp_path / "fake"
    (folder / "base").mkdir(parents=True)
    shutil.copy(HERE / "fake_geosynth.py", folder / "python")
    (folder / "python").chmod(0o700 | stat.S_IXUSR)
    legend = [
        {"id": 1, "name": "building", "color": "#d1495b"},
        {"id": 3, "name": "water", "color": "#2274a5"},
    ]
    spec = {"legend": legend, "tile_size": 64, "pixel_size": [1.0, 1.0], "gsd_m": 1.0, "crs": "EPSG:32633"}
    (folder / "base" / "geosynth.json").write_text(json.dumps({"kind": "generator", "spec": spec}))
    return folder


@pytest.fixture
def project(tmp_path):
    QgsSettings().remove("geosynth/recent_folders")
    here = QgsProject.instance()
    here.clear()
    (tmp_path / "work").mkdir(exist_ok=True)
    here.writeEntry("geosynth", "folder", str(tmp_path / "work"))
    yield here
    here.clear()


@pytest.fixture
def make_dock(qgis_iface, project, fake, monkeypatch, tmp_path):
    """Makes docks as the plugin does; each is stopped at the end."""
    from geosynth_qgis import settings
    from geosynth_qgis.gui.dock import GeosynthDock

    monkeypatch.setenv("GEOSYNTH_PYTHON", str(fake / "python"))
    monkeypatch.setattr(settings, "profile_folder", lambda: tmp_path / "profile")
    made = []

    def make():
        dock = GeosynthDock(qgis_iface, qgis_iface.mainWindow())
        made.append(dock)
        dock.show()
        return dock

    yield make
    for dock in made:
        dock.stop()
        dock.deleteLater()


@pytest.fixture
def dock(make_dock):
    ready = make_dock()
    wait_for(lambda: ready._handshake is not None, what="for the handshake")
    return ready


def scene_layers(project):
    """The made-up scene and its labels, in the project."""
    layers = [QgsRasterLayer(str(SCENES / f"{name}.tif"), name) for name in ("scene", "scene_mask")]
    project.addMapLayers(layers)
    return layers


def polygons(project, fields="class:string"):
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32633&field={fields}", "drawn", "memory")
    project.addMapLayer(layer)
    return layer


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
