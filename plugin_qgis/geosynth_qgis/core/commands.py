"""Command lines from plain values, and what is wrong with the values."""

from __future__ import annotations

import os
import shlex
import subprocess  # only its quoting of arguments is used here  # nosec B404
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .command_table import COMMANDS
from .environment import run_argv
from .options import FOLDERS_IN, LAYER_LISTS, Command, Option
from .processes import WINDOWS
from .words import tr

__all__ = ["COMMANDS", "Problem", "arguments", "command_text", "listed", "problems"]

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a value, in words. ``option`` is the name of its option, or empty."""

    option: str
    text: str


def listed(value: Any) -> list[str]:
    """The entries of a value that may hold several: a list, or a text with one a line or ``;`` between them."""
    if value is None:
        return []
    parts = value.replace("\r", "\n").replace(";", "\n").split("\n") if isinstance(value, str) else map(str, value)
    return [part.strip() for part in parts if part.strip()]


def arguments(command: Command, values: Values) -> list[str]:
    """The arguments after ``geosynth`` for plain values; options at their defaults are left out.

    Args:
        command: which.
        values: by option name: text, number, boolean, or for options of several values a list (or one text).
    """
    flags: list[str] = []
    positional: list[str] = []
    for option in command.options:
        value = values.get(option.name, option.default)
        if option.positional and option.kind != "rerun":
            positional += listed(value) if option.multiple else [str(value)] if _filled(value) else []
        else:
            flags += _flags(option, value)
    guard = ["--"] if any(part.startswith("-") for part in positional) else []
    return [command.name, *flags, *guard, *positional]


def _flags(option: Option, value: Any) -> list[str]:
    kind = option.kind
    if kind == "rerun":
        return [f"--{value}"] if value in ("resume", "overwrite") else []
    if kind == "flag":
        return [option.flag] if value else []
    if kind == "unflag":
        return [] if value or value is None else ["--no-" + option.flag[2:]]
    if option.multiple:
        return [part for entry in listed(value) for part in _pair(option.flag, option.prefix + entry)]
    if not _filled(value) or (value == option.default and not option.required):
        return []
    if kind == "integer":
        value = int(value)
    elif kind == "number":
        value = _number(value)
    return _pair(option.flag, option.prefix + str(value))


def _pair(flag: str, value: str) -> list[str]:
    """A value that begins with a dash would be taken for an option unless it is bound to its own."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _filled(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _number(value: Any) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def command_text(python: str, command: Command, values: Values) -> str:
    """What to paste into a terminal to do the same: quoted for this system's shell."""
    argv = run_argv(python, arguments(command, values))
    return subprocess.list2cmdline(argv) if WINDOWS else shlex.join(argv)


def problems(command: Command, values: Values) -> list[Problem]:
    """What keeps the command from running, in words, as far as that can be said without starting it."""
    found = [problem for option in command.options for problem in _of_option(option, values.get(option.name))]
    rule = _RULES.get(command.name)
    if rule is not None:
        found += rule(lambda name: _filled(values.get(name)) and values.get(name) not in (False, []), values)
    return found


def _of_option(option: Option, value: Any) -> list[Problem]:
    label = tr(option.label)
    if not _filled(value) or (option.multiple and not listed(value)):
        missing = tr("{label}: is needed").format(label=label)
        return [Problem(option.name, missing)] if option.required else []
    complaint = _complaint(option, value)
    return [Problem(option.name, f"{label}: {complaint}")] if complaint else []


def _complaint(option: Option, value: Any) -> str:
    kind, text = option.kind, str(value)
    if text in option.words:
        return ""
    if kind in FOLDERS_IN and not os.path.isdir(text):
        return tr("{path} is no folder").format(path=text)
    if kind in ("choice", "rerun") and text not in option.choices:
        return tr("{value} is none of {choices}").format(value=text, choices=", ".join(option.choices))
    if kind in ("integer", "number"):
        return _out_of_bounds(option, value)
    files = [text] if kind in ("file", "path") else []
    if kind in LAYER_LISTS:  # those that are no absolute paths may be patterns, or anything else that GDAL opens
        files = [path.partition("|")[0] for path in listed(value) if os.path.isabs(path)]
    gone = [path for path in files if not os.path.exists(path)]
    return tr("{path} is not there").format(path=gone[0]) if gone else ""


def _out_of_bounds(option: Option, value: Any) -> str:
    try:
        number = int(value) if option.kind == "integer" else float(value)
    except (TypeError, ValueError):
        return tr("{value} is no number").format(value=value)
    low, high = option.minimum, option.maximum
    if low is not None and (number <= low if option.above else number < low):
        text = tr("must be above {bound}") if option.above else tr("must be at least {bound}")
        return text.format(bound=f"{low:g}")
    if high is not None and (number >= high if option.below else number > high):
        text = tr("must be below {bound}") if option.below else tr("must be at most {bound}")
        return text.format(bound=f"{high:g}")
    return ""


Given = Callable[[str], bool]
_VECTORS = (".gpkg", ".shp", ".geojson", ".json", ".kml", ".gml", ".fgb", ".sqlite", ".parquet", ".tab")


def _is_vector(path: str) -> bool:
    return "|layername=" in path or path.partition("|")[0].lower().endswith(_VECTORS)


def _one_of(given: Given, names: Sequence[str], text: str) -> list[Problem]:
    return [] if any(map(given, names)) else [Problem(names[0], text)]


def _needs_outside(values: Values, name: str, given: Given) -> list[Problem]:
    if any(map(_is_vector, listed(values.get(name)))) and not given("OUTSIDE"):
        return [Problem("OUTSIDE", tr("say what lies outside the polygons: sparse labels are not background"))]
    return []


def _tile(given: Given, values: Values) -> list[Problem]:
    found = _one_of(given, ("SCENES", "SCENES_FOLDER"), tr("choose scenes, or a folder of scenes"))
    found += _needs_outside(values, "LABELS", given)
    if given("APPEND") and values.get("RERUN") == "overwrite":
        found.append(Problem("APPEND", tr("adding to a tileset and replacing it exclude each other")))
    return found


def _generate(given: Given, values: Values) -> list[Problem]:
    masks = given("FROM_MASKS") or given("FROM_MASKS_TILES")
    images = given("FROM_IMAGES") or given("FROM_IMAGES_TILES")
    scene = given("SIZE") or given("WHOLE")
    found = []
    if masks and images:
        found.append(Problem("FROM_IMAGES", tr("give masks or images, not both")))
    if given("RATIO") != given("OF") or (given("COUNT") and given("RATIO")):
        found.append(Problem("RATIO", tr("give a number of pairs, or a ratio together with the real tileset")))
    elif not (scene or given("COUNT") or given("RATIO") or masks or images):
        found.append(Problem("COUNT", tr("say how many pairs, or give masks or images")))
    if scene and any(map(given, ("COUNT", "RATIO", "OF", "WANT", "BALANCE", "SCHEDULER"))):
        found.append(Problem("SIZE", tr("numbers, ratios and wanted shares are for tiles, not for a scene")))
    if scene and images:
        found.append(Problem("SIZE", tr("masks for given images are made as tiles, not as a scene")))
    if given("WHOLE") and not masks:
        found.append(Problem("WHOLE", tr("give the map to paint, or a size for a new scene")))
    if given("OVERLAP") and not scene:
        found.append(Problem("OVERLAP", tr("is for a scene: give a size, or paint a map as a whole")))
    about_masks = [name for name in ("CLASS_FIELD", "LINE_WIDTH", "OUTSIDE", "IGNORE", "LEGEND") if given(name)]
    if about_masks and not masks:
        found.append(Problem(about_masks[0], tr("is about given masks, and none are given")))
    if given("BANDS") and not images:
        found.append(Problem("BANDS", tr("is about given images, and none are given")))
    return found + _needs_outside(values, "FROM_MASKS", given)


def _review(given: Given, values: Values) -> list[Problem]:
    ways = [given("ACCEPT") or given("REJECT") or given("UNSEEN"), given("TABLE"), given("UNDO")]
    return [Problem("TABLE", tr("verdicts, a table and undo exclude each other"))] if sum(ways) > 1 else []


def _filter(given: Given, values: Values) -> list[Problem]:
    if given("UNDO"):
        both = given("BY") or given("REAL")
        return [Problem("UNDO", tr("undo takes neither a model nor a real tileset"))] if both else []
    return [] if given("BY") and given("REAL") else [Problem("BY", tr("give a model and the real tileset, or undo"))]


def _segment(given: Given, values: Values) -> list[Problem]:
    synthetic = given("SYNTHETIC") or given("MORE_SYNTHETIC")
    pretrain = given("PRETRAIN") and float(values["PRETRAIN"]) > 0
    if (given("RATIO") or given("SYNTHETIC_ONLY") or pretrain) and not synthetic:
        return [Problem("SYNTHETIC", tr("is needed for a ratio, for synthetic tiles alone and for pretraining"))]
    if given("SYNTHETIC_ONLY") and pretrain:
        return [Problem("PRETRAIN", tr("synthetic tiles alone and pretraining exclude each other"))]
    return []


def _predict(given: Given, values: Values) -> list[Problem]:
    return _one_of(given, ("SCENES", "SCENES_FOLDER"), tr("choose scenes, or a folder of scenes"))


def _vectorize(given: Given, values: Values) -> list[Problem]:
    return _one_of(given, ("MASKS", "MASKS_FOLDER"), tr("choose class rasters, or a folder of them"))


def _evaluate(given: Given, values: Values) -> list[Problem]:
    if given("SELF_TEST"):
        inputs = any(map(given, ("TILES", "MORE_TILES", "SYNTHETIC", "ARM", "GENERATOR")))
        return [Problem("SELF_TEST", tr("the test of the method makes its own tiles"))] if inputs else []
    found = _one_of(given, ("TILES", "MORE_TILES"), tr("choose the real tileset"))
    words = str(values.get("ARMS") or "default")
    if {"default", "all"} & {word.strip() for word in words.split(",")}:
        found += _one_of(given, ("SYNTHETIC", "ARM", "GENERATOR"), tr("say which synthetic tiles to judge"))
    return found


def _demo(given: Given, values: Values) -> list[Problem]:
    if given("SCENE") != given("LABELS"):
        return [Problem("SCENE", tr("give scenes and labels together, or neither for a made-up landscape"))]
    return _needs_outside(values, "LABELS", given)


_RULES: dict[str, Callable[[Given, Values], list[Problem]]] = {
    "tile": _tile, "generate": _generate, "review": _review, "filter": _filter, "segment": _segment,
    "predict": _predict, "vectorize": _vectorize, "evaluate": _evaluate, "demo": _demo,
}  # fmt: skip
