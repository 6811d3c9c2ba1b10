"""The provider that QGIS lists in its toolbox."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..core.command_table import COMMANDS
from .algorithm import CommandAlgorithm

ICON = os.path.join(os.path.dirname(os.path.dirname(__file__)), "icon.svg")


def icon() -> Any:
    """The plugin's icon."""
    return QIcon(ICON)


class GeosynthProvider(QgsProcessingProvider):
    """One algorithm per command, ``geosynth:tile`` and so on."""

    def id(self) -> str:
        return "geosynth"

    def name(self) -> str:
        return "geosynth"

    def icon(self) -> Any:
        return icon()

    def svgIconPath(self) -> str:  # noqa: N802 - QGIS's names, here and below
        return ICON

    def loadAlgorithms(self) -> None:  # noqa: N802
        for command in COMMANDS.values():
            self.addAlgorithm(CommandAlgorithm(command, icon))

    def supportedOutputVectorLayerExtensions(self) -> list[str]:  # noqa: N802
        return ["gpkg", "geojson", "shp", "parquet"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:  # noqa: N802, N803
        return "gpkg"

    def supportsNonFileBasedOutput(self) -> bool:  # noqa: N802
        return False
