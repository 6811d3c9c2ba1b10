"""Processing parameters and outputs from the command table."""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputFile,
    QgsProcessingOutputFolder,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputString,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from ..core.options import FOLDERS_IN, Command, Option, Output
from ..core.words import tr

LOAD = "LOAD"
MESSAGE = "MESSAGE"


def parameters_of(command: Command) -> list[QgsProcessingParameterDefinition]:
    """One parameter per option, and LOAD where there are layers to load from a folder."""
    found = [_parameter(option) for option in command.options]
    if any(output.kind in ("raster", "vector", "layers") for output in command.outputs):
        load = QgsProcessingParameterBoolean(LOAD, tr("Load the results into the project"), True)
        load.setHelp(tr("Layers are named, styled and grouped; what is synthetic says so in its name."))
        found.append(load)
    return found


def outputs_of(command: Command) -> list[QgsProcessingOutputDefinition]:
    """What a model can go on with, beside the destinations."""
    found: list[QgsProcessingOutputDefinition] = []
    if command.keeps_in:
        found.append(QgsProcessingOutputFolder("OUTPUT", tr("The same tileset")))
    found += [_output(output) for output in command.outputs]
    found.append(QgsProcessingOutputString(MESSAGE, tr("What geosynth said")))
    return found


def _output(output: Output) -> QgsProcessingOutputDefinition:
    label = tr(output.label)
    if output.kind == "raster":
        return QgsProcessingOutputRasterLayer(output.name, label)
    if output.kind == "vector":
        return QgsProcessingOutputVectorLayer(output.name, label, QgsProcessing.SourceType.TypeVectorPolygon)
    if output.kind == "layers":
        return QgsProcessingOutputMultipleLayers(output.name, label)
    return QgsProcessingOutputFile(output.name, label)


def _parameter(option: Option) -> QgsProcessingParameterDefinition:
    parameter = _MAKERS[option.kind](option)
    parameter.setHelp(tr(option.help) if option.help else "")
    if option.advanced:
        parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return parameter


def _folder(option: Option) -> QgsProcessingParameterDefinition:
    behaviour = QgsProcessingParameterFile.Behavior.Folder
    default = option.default or (option.words[0] if option.words and option.required else None)
    return QgsProcessingParameterFile(
        option.name, tr(option.label), behaviour, defaultValue=default, optional=not option.required
    )


def _file(option: Option) -> QgsProcessingParameterDefinition:
    behaviour = QgsProcessingParameterFile.Behavior.File
    # QGIS's own filter for all files is *.*, and a folder or the name of a legend has no dot.
    everything = tr("All files") + " (*)"
    return QgsProcessingParameterFile(
        option.name, tr(option.label), behaviour, optional=not option.required, fileFilter=everything
    )


def _layers(option: Option) -> QgsProcessingParameterDefinition:
    kinds = QgsProcessing.SourceType
    kind = kinds.TypeRaster if option.kind == "rasters" else kinds.TypeMapLayer
    return QgsProcessingParameterMultipleLayers(option.name, tr(option.label), kind, optional=not option.required)


def _string(option: Option) -> QgsProcessingParameterDefinition:
    return QgsProcessingParameterString(
        option.name,
        tr(option.label),
        option.default or None,
        multiLine=option.kind == "texts",
        optional=not option.required,
    )


def _number(option: Option) -> QgsProcessingParameterDefinition:
    kinds = QgsProcessingParameterNumber.Type
    whole = option.kind == "integer"
    parameter = QgsProcessingParameterNumber(
        option.name, tr(option.label), kinds.Integer if whole else kinds.Double, option.default, option.default is None
    )
    # Bounds that are not allowed themselves are checked with the others, in core.commands.
    if option.minimum is not None:
        parameter.setMinimum(option.minimum)
    if option.maximum is not None:
        parameter.setMaximum(option.maximum)
    if not whole:
        parameter.setMetadata({"widget_wrapper": {"decimals": 6}})
    return parameter


def _boolean(option: Option) -> QgsProcessingParameterDefinition:
    return QgsProcessingParameterBoolean(option.name, tr(option.label), option.default)


def _choice(option: Option) -> QgsProcessingParameterDefinition:
    return QgsProcessingParameterEnum(
        option.name,
        tr(option.label),
        list(option.choices),
        defaultValue=option.default,
        optional=option.default is None,
        usesStaticStrings=True,
    )


def _crs(option: Option) -> QgsProcessingParameterDefinition:
    return QgsProcessingParameterCrs(option.name, tr(option.label), optional=not option.required)


def _save_folder(option: Option) -> QgsProcessingParameterDefinition:
    return QgsProcessingParameterFolderDestination(option.name, tr(option.label))


def _save_vector(option: Option) -> QgsProcessingParameterDefinition:
    return QgsProcessingParameterVectorDestination(
        option.name, tr(option.label), QgsProcessing.SourceType.TypeVectorPolygon
    )


_MAKERS: dict[str, Callable[[Option], QgsProcessingParameterDefinition]] = {
    **dict.fromkeys(FOLDERS_IN, _folder),
    **dict.fromkeys(("file", "path", "legend"), _file),
    **dict.fromkeys(("rasters", "layers"), _layers),
    **dict.fromkeys(("text", "texts"), _string),
    **dict.fromkeys(("integer", "number"), _number),
    **dict.fromkeys(("flag", "unflag"), _boolean),
    **dict.fromkeys(("choice", "rerun"), _choice),
    "crs": _crs,
    "save_folder": _save_folder,
    "save_vector": _save_vector,
}
