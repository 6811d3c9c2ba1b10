"""geosynth in QGIS: a panel and Processing algorithms that run the geosynth program in an interpreter of its own."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: N802 - QGIS asks for this name
    """The plugin, as QGIS loads it."""
    from .plugin import GeosynthPlugin

    return GeosynthPlugin(iface)
