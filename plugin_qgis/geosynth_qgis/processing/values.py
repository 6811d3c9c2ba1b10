"""Plain values for the core out of Processing parameters: layers become files."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingUtils,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from ..core.commands import listed
from ..core.options import FOLDERS_IN, LAYER_LISTS, Command, Option
from ..core.words import tr


class Exports:
    """Where layers that are no files are written to, when an algorithm needs them as files.

    Args:
        folder: made when the first layer is written; QGIS's temporary folder when None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def path(self, name: str) -> str:
        """A new file for a layer of that name."""
        folder = self._folder or Path(QgsProcessingUtils.tempFolder())
        # Its name may matter: labels called like a scene are its own.
        stem = re.sub(r"[^\w\-. ]", "_", name) or "layer"
        home = folder / secrets.token_hex(4)
        home.mkdir(parents=True, exist_ok=True)
        return str(home / f"{stem}.gpkg")


def plain_values(
    algorithm: QgsProcessingAlgorithm,
    command: Command,
    parameters: Mapping[str, Any],
    context: QgsProcessingContext,
    exports: Exports | None,
) -> dict[str, Any]:
    """The values of a command's options, as ``core.commands.arguments`` takes them.

    Args:
        exports: where scratch layers, filtered layers and layers being edited are written; None writes nothing, and
            such layers are given by their names, which is enough to check the rest.

    Raises:
        QgsProcessingException: a layer cannot be used, in words.
    """
    return {
        option.name: _value(algorithm, option, dict(parameters), context, exports)
        for option in command.options
        if parameters.get(option.name) is not None or option.default is not None or option.kind.startswith("save_")
    }


def _value(
    algorithm: QgsProcessingAlgorithm,
    option: Option,
    parameters: dict[str, Any],
    context: QgsProcessingContext,
    exports: Exports | None,
) -> Any:
    name, kind = option.name, option.kind
    raw = parameters.get(name, option.default)
    if kind in LAYER_LISTS:
        return [
            _layer_file(entry, option, context, exports) for entry in _entries(algorithm, name, parameters, context)
        ]
    if kind == "texts" and isinstance(raw, (list, tuple)):
        return [str(entry) for entry in raw]
    if raw is None or raw == "":
        return None
    read = _READ.get(kind, QgsProcessingAlgorithm.parameterAsString)
    if kind == "save_vector" and exports is None:
        return str(raw)  # to ask for the path would have QGIS wait for a layer there
    value = read(algorithm, parameters, name, context)
    if kind == "crs":
        return (value.authid() or value.toWkt()) if value.isValid() else None
    return _as_path(value, option) if isinstance(value, str) else value


_READ = {
    "flag": QgsProcessingAlgorithm.parameterAsBoolean,
    "unflag": QgsProcessingAlgorithm.parameterAsBoolean,
    "choice": QgsProcessingAlgorithm.parameterAsEnumString,
    "rerun": QgsProcessingAlgorithm.parameterAsEnumString,
    "crs": QgsProcessingAlgorithm.parameterAsCrs,
    "integer": QgsProcessingAlgorithm.parameterAsInt,
    "number": QgsProcessingAlgorithm.parameterAsDouble,
    "save_vector": QgsProcessingAlgorithm.parameterAsOutputLayer,
}


def _as_path(text: str, option: Option) -> str | None:
    """Paths become absolute, because geosynth runs in a folder of its own; words such as "base" stay."""
    if not text or text in option.words:
        return text or None
    if option.kind in FOLDERS_IN or option.kind in ("path", "file", "save_folder"):
        return os.path.abspath(os.path.expanduser(text))
    return os.path.abspath(text) if option.kind == "legend" and os.path.exists(text) else text


def _entries(
    algorithm: QgsProcessingAlgorithm, name: str, parameters: dict[str, Any], context: QgsProcessingContext
) -> list[Any]:
    """Layers, files and names of layers in a parameter that takes several."""
    raw = parameters.get(name)
    if raw is None or raw == "":
        return []
    if isinstance(raw, (QgsMapLayer, str)):
        raw = [raw]
    if not isinstance(raw, (list, tuple)):
        return list(algorithm.parameterAsLayerList(parameters, name, context))
    entries: list[Any] = []
    for entry in raw:
        whole = not isinstance(entry, str) or os.path.exists(entry) or _known(entry, context) is not None
        entries += [entry] if whole else listed(entry)
    return entries


def _known(text: str, context: QgsProcessingContext) -> QgsMapLayer | None:
    """The layer of the project that has this id or name."""
    project = context.project() or QgsProject.instance()
    layer = project.mapLayer(text) or context.temporaryLayerStore().mapLayer(text)
    if layer is None:
        named = project.mapLayersByName(text)
        layer = named[0] if named else None
    return layer


def _layer_file(entry: Any, option: Option, context: QgsProcessingContext, exports: Exports | None) -> str:
    """The file of a layer, a path, or the name of a layer."""
    layer = entry if isinstance(entry, QgsMapLayer) else None
    if layer is None:
        text = str(entry)
        path, bar, rest = text.partition("|")
        if os.path.exists(path):
            return os.path.abspath(path) + bar + rest
        layer = _known(text, context)
        if layer is None:
            return text  # a pattern, or something GDAL opens; geosynth says when it does not
    if isinstance(layer, QgsRasterLayer):
        return _raster_file(layer)
    if isinstance(layer, QgsVectorLayer) and option.kind == "layers":
        return _vector_file(layer, context, exports)
    raise QgsProcessingException(tr("{layer} is no layer that can be used here").format(layer=layer.name()))


def _raster_file(layer: QgsRasterLayer) -> str:
    if layer.dataProvider() is None or layer.dataProvider().name() != "gdal":
        raise QgsProcessingException(
            tr("{layer} does not come from a file; export it to a GeoTIFF first").format(layer=layer.name())
        )
    source: str = layer.source()
    return os.path.abspath(source) if os.path.exists(source) else source


def _vector_file(layer: QgsVectorLayer, context: QgsProcessingContext, exports: Exports | None) -> str:
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    path = str(parts.get("path") or "")
    as_it_is = (
        layer.providerType() == "ogr" and os.path.exists(path) and not layer.subsetString() and not layer.isModified()
    )
    if as_it_is:
        inner = str(parts.get("layerName") or "")
        return os.path.abspath(path) + (f"|layername={inner}" if inner else "")
    if exports is None:
        return layer.name() + ".gpkg"
    if layer.featureCount() == 0:
        raise QgsProcessingException(tr("{layer} is empty").format(layer=layer.name()))
    try:
        target = exports.path(layer.name())
    except OSError as error:
        raise QgsProcessingException(
            tr("{layer} cannot be written to a file: {why}").format(layer=layer.name(), why=error)
        ) from error
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.fileEncoding = "GPKG", "UTF-8"
    options.layerName = Path(target).stem
    # The numbers of features are the file's own business: copied features that are not saved yet share them.
    kept = [at for at, field in enumerate(layer.fields()) if field.name().lower() != "fid"]
    options.attributes, options.skipAttributeCreation = kept, not kept
    written = QgsVectorFileWriter.writeAsVectorFormatV3(layer, target, context.transformContext(), options)
    if written[0] != QgsVectorFileWriter.WriterError.NoError:
        raise QgsProcessingException(
            tr("{layer} cannot be written to a file: {why}").format(layer=layer.name(), why=written[1])
        )
    return target
