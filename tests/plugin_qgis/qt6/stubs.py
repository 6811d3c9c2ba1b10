"""Just enough of ``qgis`` to build the panel where there is no QGIS: PyQt6 behind ``qgis.PyQt``, the rest hollow.

Widgets and objects that the panel derives from or lays out are real ones of Qt 6; everything else takes whatever is
done to it. So what is tested is the panel's own use of Qt 6.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from PyQt6 import QtCore, QtGui, QtWidgets
from PyQt6.QtCore import pyqtSignal


class Hollow:
    """Takes every call and attribute; is empty and false."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Hollow()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Hollow()

    def __iter__(self) -> Any:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __or__(self, _: Any) -> Any:
        return self

    def __int__(self) -> int:
        return 0

    def __str__(self) -> str:
        return ""


class HollowMeta(type):
    """Classes whose every attribute is hollow: enums and static methods."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Hollow()


class Project:
    """An empty project."""

    def __getattr__(self, name: str) -> Any:
        return Hollow()

    @staticmethod
    def instance() -> Project:
        return Project()

    def readEntry(self, *_: Any) -> tuple[str, bool]:  # noqa: N802
        return "", False

    def homePath(self) -> str:  # noqa: N802
        return ""

    def mapLayers(self) -> dict[str, Any]:  # noqa: N802
        return {}


class Settings:
    """Nothing is set."""

    def value(self, _: str, default: Any = None, type: Any = None) -> Any:
        return default

    def setValue(self, *_: Any) -> None:  # noqa: N802
        pass


class Application:
    @staticmethod
    def qgisSettingsDirPath() -> str:  # noqa: N802
        return "/nonexistent"

    @staticmethod
    def clipboard() -> Any:
        return QtWidgets.QApplication.clipboard()

    @staticmethod
    def taskManager() -> Any:  # noqa: N802
        return Hollow()

    @staticmethod
    def processingRegistry() -> Any:  # noqa: N802
        return Hollow()


class Object(QtCore.QObject):
    def __init__(self, *_: Any) -> None:
        super().__init__()


class GroupBox(QtWidgets.QGroupBox):
    collapsedStateChanged = pyqtSignal(bool)  # noqa: N815

    def __init__(self, title: str = "", parent: Any = None) -> None:
        super().__init__(title, parent)

    def setCollapsed(self, collapsed: bool) -> None:  # noqa: N802
        self.collapsedStateChanged.emit(collapsed)


class FileWidget(QtWidgets.QWidget):
    fileChanged = pyqtSignal(str)  # noqa: N815
    StorageMode = Hollow()

    def filePath(self) -> str:  # noqa: N802
        return ""

    def __getattr__(self, name: str) -> Any:
        if name in ("setStorageMode", "setDialogTitle", "setFilePath", "setFilter"):
            return Hollow()
        raise AttributeError(name)


KNOWN = {
    "core": {
        "QgsProject": Project,
        "QgsSettings": Settings,
        "QgsApplication": Application,
        "QgsProcessingException": type("QgsProcessingException", (Exception,), {}),
        "QgsProcessingFeedback": Object,
        "QgsProcessingProvider": Object,
        "QgsTask": Object,
    },
    "gui": {"QgsDockWidget": QtWidgets.QDockWidget, "QgsCollapsibleGroupBox": GroupBox, "QgsFileWidget": FileWidget},
}


class HollowModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = KNOWN[self.__name__.rpartition(".")[2]].get(name) or HollowMeta(name, (Hollow,), {})
        setattr(self, name, found)
        return found


def install() -> None:
    """From now on ``import qgis`` finds these."""
    root, pyqt = types.ModuleType("qgis"), types.ModuleType("qgis.PyQt")
    root.__path__ = pyqt.__path__ = []
    sys.modules |= {"qgis": root, "qgis.PyQt": pyqt}
    for name in KNOWN:
        module = HollowModule(f"qgis.{name}")
        sys.modules[f"qgis.{name}"] = module
        setattr(root, name, module)
    for name in ("QtCore", "QtGui", "QtWidgets"):
        sys.modules[f"qgis.PyQt.{name}"] = importlib.import_module(f"PyQt6.{name}")
    root.PyQt = pyqt


__all__ = ["Hollow", "QtGui", "install"]
