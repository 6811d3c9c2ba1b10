"""One error tree. Every message names the file, what is wrong with it, and what to do.

Each error also inherits the builtin a caller would expect: ``except FileExistsError`` works without knowing geosynth.
"""

from __future__ import annotations

from os import PathLike, fspath


class GeosynthError(Exception):
    """Root of every error geosynth raises on purpose.

    Args:
        what: what is wrong, in a few words.
        where: the file or folder it is wrong with.
        remedy: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | PathLike[str] | None = None, remedy: str | None = None) -> None:
        self.what = " ".join(what.split())
        self.where = None if where is None else fspath(where)
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.remedy is None else f"{text} — {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders; the default would lose the keyword arguments.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[GeosynthError], what: str, where: str | None, remedy: str | None) -> GeosynthError:
    return kind(what, where=where, remedy=remedy)


class LegendError(GeosynthError, ValueError):
    """A legend cannot be read, or a class is not in it."""


class SceneError(GeosynthError, OSError):
    """A raster cannot be read, or cannot be used as a scene."""


class LabelError(GeosynthError, ValueError):
    """Labels cannot be read, or do not fit the scene or the legend."""


class TilesetError(GeosynthError, ValueError):
    """A folder is not a tileset, or is a damaged one."""


class ModelError(GeosynthError, ValueError):
    """A folder is not a generator or segmenter, is damaged, or does not fit the data."""


class OutputError(GeosynthError, FileExistsError):
    """An output cannot be written, or writing it would destroy something."""


class LeakError(GeosynthError, ValueError):
    """A comparison would be unfair: something saw what it must not have seen."""


class Cancelled(GeosynthError):
    """The user cancelled. What is finished is kept and can be resumed."""
