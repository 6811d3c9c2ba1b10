"""Layers of results that Processing loads when an algorithm has ended: named, styled and grouped as everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from qgis.core import (
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
)

from ..core.artefacts import Result
from ..styling import finish

_KEPT: list[_Finish] = []
"""QGIS does not own post-processors: one that Python forgot would crash it."""


class _Finish(QgsProcessingLayerPostProcessorInterface):
    def __init__(self, result: Result, folder: str) -> None:
        super().__init__()
        self._result, self._folder = result, folder

    def postProcessLayer(  # noqa: N802 - QGIS's name
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        finish(layer, self._result, context.project(), self._folder)
        if self in _KEPT:
            _KEPT.remove(self)


def load_on_completion(results: Iterable[Result], context: QgsProcessingContext, folder: str) -> None:
    """Have the layers among the results loaded when the algorithm has ended, if there is a project to load them into.

    A layer that the dialog loads anyway (a vector destination) is only finished; where the user does not want it, it
    is left alone.
    """
    project = context.project()
    if project is None:
        return
    for result in results:
        if result.kind not in ("raster", "vector"):
            continue
        path = str(result.path)
        if result.key == "OUTPUT":
            if not context.willLoadLayerOnCompletion(path):
                continue
            details = context.layerToLoadOnCompletionDetails(path)
        else:
            details = QgsProcessingContext.LayerDetails(result.title, project, result.key)
        finisher = _Finish(result, folder)
        _KEPT.append(finisher)
        details.setPostProcessor(finisher)
        if result.key != "OUTPUT":
            context.addLayerToLoadOnCompletion(path, details)
