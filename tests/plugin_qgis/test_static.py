"""Every Qt name of the plugin is one of Qt 6, and every enum is written with its class."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import required
from qgispython import has_bindings, shared_qgis_python

HERE = Path(__file__).parent
PLUGIN = HERE.parents[1] / "plugin_qgis" / "geosynth_qgis"


def check(python: Path, *paths: Path) -> list[str]:
    result = subprocess.run(
        [python, "-I", HERE / "qt6" / "qt_names.py", *paths], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found: list[str] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def python() -> Path:
    required("QGIS", has_bindings())
    return shared_qgis_python()


def test_the_plugin_is_written_for_qt_6(python: Path) -> None:
    modules = sorted(PLUGIN.rglob("*.py"))
    assert len(modules) > 30
    assert check(python, *modules) == []


BAD = {
    "from qgis.PyQt.QtCore import Qt\nx = Qt.AlignLeft\n": "Qt.AlignLeft",
    "from qgis.PyQt.QtWidgets import QMessageBox\nx = QMessageBox.Yes\n": "QMessageBox.Yes",
    "from qgis.PyQt.QtWidgets import QDesktopWidget\n": "QDesktopWidget",
    "from qgis.PyQt.QtCore import QRegExp\n": "QRegExp",
    "from qgis.PyQt.QtWidgets import QDialog\nQDialog(None).exec_()\n": "exec_",
    "from PyQt5.QtCore import Qt\n": "PyQt5",
    "from qgis.PyQt.QtCore import Qt\nx = Qt.AlignmentFlag.AlignNowhere\n": "AlignNowhere",
    "from qgis.core import QgsMapLayerProxyModel\nx = QgsMapLayerProxyModel.RasterLayer\n": "RasterLayer",
    "from qgis.core import Qgis\nx = Qgis.Warning\n": "Qgis.Warning",
}


@pytest.mark.parametrize("code", BAD)
def test_the_check_finds_what_qt_6_has_not(python: Path, code: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(code)
    found = check(python, tmp_path / "bad.py")
    assert len(found) == 1 and BAD[code] in found[0]


GOOD = """
from qgis.PyQt.QtCore import Qt, QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QDialog, QMessageBox
from qgis.core import Qgis, QgsMapLayerProxyModel
try:
    from qgis.PyQt.QtGui import QAction
except ImportError:
    from qgis.PyQt.QtWidgets import QAction
x = Qt.AlignmentFlag.AlignLeft | Qt.ItemDataRole.UserRole
y = QMessageBox.StandardButton.Yes, QObject.tr, QDialog.exec
z = QgsMapLayerProxyModel.Filter.RasterLayer, Qgis.MessageLevel.Warning, Qgis.QGIS_VERSION
"""


def test_the_check_lets_good_code_pass(python: Path, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    assert check(python, tmp_path / "good.py") == []
