"""What tiling starts from: scenes, the labels of each, their classes, found and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from geosynth.errors import GeosynthError, LabelError, SceneError, TilesetError
from geosynth.events import Events
from geosynth.legend import Legend
from geosynth.scenes.burning import placed
from geosynth.scenes.finding import find_files, match_labels, name_apart
from geosynth.scenes.identity import label_identity, scene_identity
from geosynth.scenes.labels import Codes, Labels, Outside, PolygonLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.loveda import Layout, find_loveda
from geosynth.scenes.source import SceneInfo, inspect_scene, select_bands
from geosynth.scenes.splitareas import inspect_areas
from geosynth.scenes.vectors import split_layer
from geosynth.tileset import Split, Tileset
from geosynth.tilingplan import TilingPlan


@dataclass(frozen=True)
class Sources:
    """Scenes and labels as they were found.

    Attributes:
        infos: the scenes, named apart.
        labels: all labels.
        matched: the labels of every scene, put onto it.
        areas: the polygons that say the splits, if any do.
        legend: the classes.
        codes: what the labels' values mean.
        assign: (scene name, split) of the scenes whose split is given.
        gsd_m: ground metres a pixel where the files do not say.
    """

    infos: tuple[SceneInfo, ...]
    labels: tuple[Labels, ...]
    matched: tuple[tuple[Labels, ...], ...]
    areas: PolygonLabels | None
    legend: Legend
    codes: Codes
    assign: tuple[tuple[str, Split], ...]
    gsd_m: float | None

    def without(self, path: str) -> Sources:
        """The same without one scene."""
        left = [number for number, info in enumerate(self.infos) if info.path != path]
        return replace(
            self,
            infos=tuple(self.infos[number] for number in left),
            matched=tuple(self.matched[number] for number in left),
        )

    def request(self, plan: TilingPlan) -> dict[str, Any]:
        """What is asked for, without where the files are: names, hashes, and where their pixels lie."""
        return {
            "command": "tile",
            "scenes": [scene_identity(info) for info in self.infos],
            "labels": [label_identity(entry) for entry in self.labels],
            "matched": [[self.labels.index(_unplaced(entry, self.labels)) for entry in own] for own in self.matched],
            "areas": None if self.areas is None else label_identity(self.areas),
            "legend": self.legend.to_json(),
            **plan.to_json(),
        }


def find_sources(plan: TilingPlan, held: Tileset | None, events: Events) -> Sources:
    """Find and check the inputs of ``plan``; ``held`` is the tileset that is added to.

    Raises:
        SceneError, LabelError, LegendError, TilesetError, Cancelled: as ``tile_scenes``.
    """
    if plan.layout is None:
        layout = None
        infos, labels, matched = _found(plan, held, events)
    else:
        layout = find_loveda(plan.scenes[0])
        infos, labels, matched = _laid_out(layout, plan, held, events)
    outside = cast(Outside | None, plan.outside)
    ignore = plan.ignore if layout is None else (*layout.ignore, *plan.ignore)
    legend = _legend(plan, held, layout)
    if legend is None and labels:
        legend = infer_legend(labels, outside, ignore)
    if legend is None:
        raise LabelError("no labels and no legend", remedy="give --legend to tile scenes without labels")
    areas = None if plan.areas is None else inspect_areas(_whole_path(plan.areas))
    assign = cast(tuple[tuple[str, Split], ...], plan.assign)
    return Sources(
        tuple(infos),
        tuple(labels),
        tuple(matched),
        areas,
        legend,
        make_codes(labels, legend, outside, ignore),
        (*(() if layout is None or areas is not None else layout.assign), *assign),
        None if layout is None else layout.gsd_m,
    )


def _legend(plan: TilingPlan, held: Tileset | None, layout: Layout | None) -> Legend | None:
    legend = plan.legend or (None if layout is None else layout.legend)
    if held is None or legend is None:
        return legend if held is None else held.spec.legend
    if legend != held.spec.legend:
        raise TilesetError("has other classes than --legend", where=held.path, remedy="leave --legend out")
    return legend


def _found(
    plan: TilingPlan, held: Tileset | None, events: Events
) -> tuple[list[SceneInfo], list[Labels], list[tuple[Labels, ...]]]:
    """Scenes and labels from files, folders and patterns."""
    scene_files, label_files = find_files(plan.scenes, plan.labels)
    infos: list[SceneInfo] = []
    for path in scene_files:
        try:
            infos.append(_absolute(inspect_scene(path)))
        except SceneError as error:
            if not plan.skip_unusable or (path == scene_files[-1] and not infos):
                raise
            events.warn(f"left out: {error}")
        events.check()
    infos = _picked(name_apart(infos), plan, held)
    labels: list[Labels] = []
    for path in label_files:
        labels += inspect_labels(_whole_path(path), plan.class_field, line_width=plan.line_width)
        events.check()
    named = {_whole_path(split_layer(str(source))[0]) for source in plan.labels}
    matched = match_labels(infos, labels, {entry.path for entry in labels} - named)
    used = {(entry.path, getattr(entry, "layer", "")) for entries in matched for entry in entries}
    kept = [entry for entry in labels if (entry.path, getattr(entry, "layer", "")) in used]
    if len(kept) < len(labels):
        events.warn(f"{len(labels) - len(kept)} of the labels belong to none of the scenes and are left out")
    if labels and not kept:
        raise LabelError(
            "belongs to no scene", where=labels[0].path, remedy="check names and coordinate systems of both"
        )
    return infos, kept, matched


def _laid_out(
    layout: Layout, plan: TilingPlan, held: Tileset | None, events: Events
) -> tuple[list[SceneInfo], list[Labels], list[tuple[Labels, ...]]]:
    """Scenes and labels of a label set as it is downloaded."""
    if len(plan.scenes) > 1 or plan.labels:
        raise GeosynthError("--layout takes one folder and finds the labels itself", remedy="give nothing else")
    masks = dict(layout.labels)
    infos: list[SceneInfo] = []
    labels: list[Labels] = []
    matched: list[tuple[Labels, ...]] = []
    for done, (name, file) in enumerate(layout.scenes):
        info = replace(_absolute(inspect_scene(file)), name=name)
        own = inspect_labels(Path(masks[name]).absolute()) if name in masks else ()
        infos.append(info)
        labels += own
        matched.append(tuple(placed(entry, info) for entry in own))
        if done % 100 == 0:
            events.progress(done, len(layout.scenes), "scenes looked at")
            events.check()
    return _picked(infos, plan, held), labels, matched


def _picked(infos: list[SceneInfo], plan: TilingPlan, held: Tileset | None) -> list[SceneInfo]:
    """Scenes with the bands asked for. Picked, bands of one place are one band, whatever the files call them."""
    if not plan.bands:
        return infos
    infos = [select_bands(info, plan.bands) for info in infos]
    bands = infos[0].bands if held is None else held.spec.bands
    return [_called(info, [band.name for band in bands]) for info in infos]


def _called(info: SceneInfo, names: Sequence[str]) -> SceneInfo:
    if len(info.bands) != len(names):  # it will be refused, by its own names
        return info
    bands = tuple(replace(band, name=name) for band, name in zip(info.bands, names, strict=True))
    return replace(info, bands=bands)


def _unplaced(entry: Labels, labels: Sequence[Labels]) -> Labels:
    """Labels as they were found: a mask without georeference was given its scene's since."""
    layer = getattr(entry, "layer", "")
    return next(other for other in labels if other.path == entry.path and getattr(other, "layer", "") == layer)


def _whole_path(text: str) -> str:
    """The absolute path of a plain file or a layer of it; what else GDAL reads as it is."""
    return str(Path(text).absolute()) if Path(split_layer(text)[0]).exists() else text


def _absolute(info: SceneInfo) -> SceneInfo:
    """Workers may run elsewhere: a plain file gets its whole path."""
    return replace(info, path=str(Path(info.path).absolute())) if Path(info.path).exists() else info
