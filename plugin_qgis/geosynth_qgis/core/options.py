"""What describes a command and its options: the words the command table is written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FOLDERS_IN = ("tileset", "generator", "segmenter", "folder")
LAYER_LISTS = ("rasters", "layers")
MANY = (*LAYER_LISTS, "texts")


@dataclass(frozen=True)
class Option:
    """One option of a command, or one of its arguments.

    Attributes:
        name: of the Processing parameter, for example ``CLASS_FIELD``.
        kind: ``tileset generator segmenter folder`` (an input folder), ``rasters layers`` (lists of layers or files),
            ``file path legend crs`` , ``text texts`` (several: one a line, or with ``;`` between), ``integer number``,
            ``flag`` (given when true), ``unflag`` (given as ``--no-…`` when false), ``choice``, ``rerun``,
            ``save_folder save_vector`` (the output).
        flag: ``--size``; empty for an argument without one.
        default: what the command does when the option is not given; it is then left out of the command line.
        minimum, maximum: bounds of a number, inclusive unless ``above``.
        above: the minimum itself is not allowed.
        below: the maximum itself is not allowed.
        prefix: written before the value, as in ``--arm synthetic=FOLDER``.
        words: words that stand for something that ships with geosynth, such as ``base``.
    """

    name: str
    kind: str
    label: str
    flag: str = ""
    help: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    below: bool = False
    required: bool = False
    advanced: bool = False
    prefix: str = ""
    words: tuple[str, ...] = ()

    @property
    def multiple(self) -> bool:
        return self.kind in MANY

    @property
    def positional(self) -> bool:
        return not self.flag


@dataclass(frozen=True)
class Output:
    """Something a command makes beside its output folder.

    Attributes:
        name: of the Processing output, for example ``MASKS``.
        kind: ``raster``, ``vector``, ``layers``, ``file`` or ``folder``.
        files: where it lies in the output folder; the first that is there counts.
    """

    name: str
    kind: str
    label: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """One command of geosynth.

    Attributes:
        name: as typed.
        title: of the algorithm.
        summary: one or two sentences, shown as help.
        group: ``data``, ``generator``, ``segmentation`` or ``tools``.
        options: in the order of the form.
        outputs: beside the output folder.
        keeps_in: of a command that changes a tileset in place, the option that holds it.
        detachable: worth running without QGIS.
    """

    name: str
    title: str
    summary: str
    group: str
    options: tuple[Option, ...]
    outputs: tuple[Output, ...] = ()
    keeps_in: str = ""
    detachable: bool = False

    def option(self, name: str) -> Option:
        """The option of that name.

        Raises:
            KeyError: there is none.
        """
        for option in self.options:
            if option.name == name:
                return option
        raise KeyError(name)

    @property
    def destination(self) -> Option | None:
        """The option that says where the result goes."""
        return next((option for option in self.options if option.kind.startswith("save_")), None)


def given(flag: str, kind: str, label: str, *, name: str = "", **more: Any) -> Option:
    """An option with a flag; its name is the flag's unless another is given."""
    return Option(name or flag.lstrip("-").replace("-", "_").upper(), kind, label, flag, **more)


def argument(name: str, kind: str, label: str, **more: Any) -> Option:
    """An argument without a flag."""
    return Option(name, kind, label, **more)
