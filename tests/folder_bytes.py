"""What a folder holds, file by file, without what may differ between equal runs."""

from __future__ import annotations

from pathlib import Path

from geosynth.folders import file_hash


def folder_bytes(folder: Path) -> dict[str, str]:
    """sha256 by relative path, logs and the lock left out."""
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    skipped = (".geosynth/log/", ".geosynth/lock")
    return {name: file_hash(path) for name, path in names.items() if not name.startswith(skipped)}
