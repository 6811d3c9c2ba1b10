"""What people say of pairs: accepted, rejected or not yet seen, in the column ``review`` of the index."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from geosynth.errors import TilesetError
from geosynth.revision import revise
from geosynth.tileset import Tileset
from geosynth.tilesetwriter import rewrite_index

Verdict = Literal["unseen", "accepted", "rejected"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def matching(tileset: Tileset, asked: Mapping[Verdict, Iterable[str]]) -> dict[str, Verdict]:
    """Verdicts by tile id, from ids or patterns with ``*``, ``?`` and ``[…]`` by verdict.

    Raises:
        TilesetError: a pattern fits no tile, or a tile is given two verdicts.
    """
    found: dict[str, Verdict] = {}
    ids = [tile.id for tile in tileset.tiles]
    known = set(ids)
    for verdict, patterns in asked.items():
        for pattern in patterns:
            hits = [pattern] if pattern in known else [id_ for id_ in ids if fnmatchcase(id_, pattern)]
            if not hits:
                raise TilesetError(
                    f"no tile is called '{pattern}'", where=tileset.path, remedy=f"ids look like {ids[0]}, or s0_*"
                )
            for id_ in hits:
                if found.setdefault(id_, verdict) != verdict:
                    raise TilesetError(
                        f"tile {id_} is given two verdicts, {found[id_]} and {verdict}",
                        where=tileset.path,
                        remedy="give one",
                    )
    return found


def read_verdicts(path: str | PathLike[str]) -> dict[Verdict, list[str]]:
    """Ids by verdict from a table with columns ``id`` and ``review``: CSV, or a layer such as ``index.gpkg``.

    Raises:
        TilesetError: the table cannot be read, or holds something else.
    """
    file = Path(path)
    try:
        if file.suffix.casefold() == ".csv":
            with file.open(newline="", encoding="utf-8-sig") as stream:
                rows = [(row["id"], row["review"]) for row in csv.DictReader(stream)]
        else:
            import pyogrio

            frame = pyogrio.read_dataframe(file, columns=["id", "review"], read_geometry=False)
            rows = list(zip(frame["id"], frame["review"], strict=True))
    except (OSError, KeyError, ValueError, RuntimeError, csv.Error) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else str(error)[:120]
        raise TilesetError(
            f"cannot be read as verdicts ({reason})", where=file, remedy="give a table with columns id and review"
        ) from None
    result: dict[Verdict, list[str]] = {verdict: [] for verdict in VERDICTS}
    for id_, text in rows:
        verdict = next((entry for entry in VERDICTS if entry == str(text).strip().casefold()), None)
        if verdict is None:
            raise TilesetError(f"tile {id_} has verdict '{text}'", where=file, remedy=f"give {', '.join(VERDICTS)}")
        result[verdict].append(str(id_))
    return result


def set_verdicts(path: str | PathLike[str], verdicts: Mapping[str, Verdict]) -> Tileset:
    """Write verdicts on tiles into the index of a tileset, all or none; others stay as they are.

    Args:
        path: the tileset.
        verdicts: by tile id.

    Returns:
        the tileset as it is now.

    Raises:
        TilesetError: no finished tileset, or it has no such tile.
        OutputError: another run writes there, or the disk refuses.
    """
    with revise(path) as (tileset, temporary):
        missing = sorted(verdicts.keys() - {tile.id for tile in tileset.tiles})
        if missing:
            raise TilesetError(f"no tile is called '{missing[0]}'", where=path, remedy="see its index")
        rows = [replace(tile, review=verdicts.get(tile.id, tile.review)) for tile in tileset.tiles]
        rewrite_index(tileset, temporary, rows)
    return Tileset(path)


def counts_line(tileset: Tileset) -> str:
    """How many tiles have which verdict, for people."""
    counts = Counter(tile.review for tile in tileset.tiles)
    return ", ".join(f"{verdict} {counts[verdict]}" for verdict in VERDICTS)
