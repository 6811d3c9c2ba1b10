"""What tests of generating share: a tileset under other ids, and all bytes of an output."""

from dataclasses import replace
from pathlib import Path

from geosynth.folders import claim, file_hash
from geosynth.legend import Legend
from geosynth.tileset import Tileset
from geosynth.tilesetwriter import compact, encode_tile, write_tiles


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).is_relative_to(".geosynth/log")
    }


def copy_with_ids(source: Path, target: Path, offset: int) -> None:
    tileset = Tileset(source)
    legend = Legend(tuple(replace(entry, id=entry.id + offset) for entry in tileset.spec.legend.classes))
    spec = replace(tileset.spec, legend=legend, id="shifted")
    names = ("split", "scene", "row", "col", "image_origin", "mask_origin", "placement")
    with claim(target, {"command": "copy"}) as out:
        records = []
        for tile in tileset.tiles:
            image, valid, mask = tileset.read(tile)
            columns = {name: getattr(tile, name) for name in names}
            records.append(encode_tile(spec, tile.id, tileset.grid(tile), image, valid, mask + offset, {}, **columns))
        out.record("all", {"tiles": write_tiles(out.path, records)})
        compact(out, spec)
