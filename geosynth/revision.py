"""Changing a finished tileset in place: verdicts on its tiles, never its images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path

from geosynth.errors import OutputError, TilesetError
from geosynth.folders import STATE, alone_in
from geosynth.tileset import Tileset


@contextmanager
def revise(path: str | PathLike[str]) -> Iterator[tuple[Tileset, Path]]:
    """Hold the only right to write into a complete tileset.

    Yields:
        the tileset as it is now, and scratch space on the same file system, removed afterwards.

    Raises:
        TilesetError: not a tileset, or its last run is unfinished.
        OutputError: another run writes there, or nobody may.
    """
    folder = Tileset(path).path
    state = folder / STATE
    if not (state / "complete").is_file():
        raise TilesetError("is not finished", where=folder, remedy="finish it first: the same command with --resume")
    temporary = state / "tmp"
    with ExitStack() as held:
        try:
            held.enter_context(alone_in(folder))
            held.callback(shutil.rmtree, temporary, ignore_errors=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"cannot be written ({error.strerror})", where=folder, remedy="check permissions"
            ) from None
        yield Tileset(folder), temporary
