"""What QGIS loads: the Processing provider, the panel and its action."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, QLocale, Qt, QTranslator

from .core.words import set_translator, tr
from .processing.provider import GeosynthProvider, icon

try:  # where it is in Qt 6
    from qgis.PyQt.QtGui import QAction
except ImportError:  # and in Qt 5
    from qgis.PyQt.QtWidgets import QAction

_CONTEXT = "geosynth"


class GeosynthPlugin:
    """The plugin.

    Args:
        iface: of QGIS; None in qgis_process, where only the provider is registered.
    """

    def __init__(self, iface: Any) -> None:
        self._iface = iface
        self._provider: GeosynthProvider | None = None
        self._action: QAction | None = None
        self._dock: Any = None
        self._options: Any = None
        self._translator = _translator()
        set_translator(lambda text: QCoreApplication.translate(_CONTEXT, text))

    def initProcessing(self) -> None:  # noqa: N802 - QGIS asks for this name
        """Register the algorithms; all that qgis_process needs."""
        self._provider = GeosynthProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:  # noqa: N802 - QGIS asks for this name
        """Register the algorithms and the action that shows the panel."""
        self.initProcessing()
        self._action = QAction(icon(), "geosynth", self._iface.mainWindow())
        self._action.setObjectName("geosynthAction")
        self._action.setToolTip(tr("Show or hide the geosynth panel"))
        self._action.setCheckable(True)
        self._action.toggled.connect(self._show)
        self._iface.addToolBarIcon(self._action)
        self._iface.addPluginToRasterMenu("geosynth", self._action)
        from .gui.optionspage import OptionsFactory

        self._options = OptionsFactory()
        self._iface.registerOptionsWidgetFactory(self._options)

    def unload(self) -> None:
        """Take everything back. Detached jobs go on."""
        if self._dock is not None:
            self._dock.stop()
            self._iface.removeDockWidget(self._dock)
            self._dock.deleteLater()
            self._dock = None
        if self._options is not None:
            self._iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self._action is not None:
            self._iface.removeToolBarIcon(self._action)
            self._iface.removePluginRasterMenu("geosynth", self._action)
            self._action.deleteLater()
            self._action = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
        if self._translator is not None:
            QCoreApplication.removeTranslator(self._translator)
            self._translator = None
        set_translator(str)

    @property
    def dock(self) -> Any:
        """The panel, made when it is first asked for."""
        if self._dock is None:
            from .gui.dock import GeosynthDock

            self._dock = GeosynthDock(self._iface, self._iface.mainWindow())
            self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self._dock)
            self._dock.visibilityChanged.connect(self._seen)
        return self._dock

    def _show(self, wanted: bool) -> None:
        if wanted or self._dock is not None:
            self.dock.setUserVisible(wanted) if hasattr(self.dock, "setUserVisible") else self.dock.setVisible(wanted)

    def _seen(self, _: bool) -> None:
        if self._action is not None and self._dock is not None:
            self._action.blockSignals(True)
            # A panel behind another tab is still shown.
            self._action.setChecked(not self._dock.isHidden())
            self._action.blockSignals(False)


def _translator() -> QTranslator | None:
    """The translation for QGIS's language, when there is one."""
    language = str(QgsSettings().value("locale/userLocale", "") or QLocale.system().name())
    folder = os.path.join(os.path.dirname(__file__), "i18n")
    for name in (language, language[:2]):
        path = os.path.join(folder, f"geosynth_{name}.qm")
        translator = QTranslator()
        if os.path.exists(path) and translator.load(path):
            QCoreApplication.installTranslator(translator)
            return translator
    return None
