"""The generator folder: a diffusers pipeline on disk that also says what it makes.

``geosynth.json`` holds bands, legend, statistics, CRS, pixel size, a summary of the training, and the sha256 of every
file that is read back; it is written last and checked on load. Weights are safetensors; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from geosynth.descriptions import DESCRIPTIONS, STABLE_DIFFUSION, description_hash, misfit
from geosynth.diffusion.card import model_card
from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.pipeline import PairPipeline
from geosynth.diffusion.process import Process
from geosynth.errors import GeosynthError, ModelError
from geosynth.folders import OutputFolder, file_hash
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import Lineage, read_lineage
from geosynth.tileset import TileSpec

FORMAT = 1
KIND = "generator"
META = DESCRIPTIONS[KIND]
BASE = "base"
"""Name under which ``--from`` finds the generator that ships in the package."""


@dataclass(frozen=True)
class Generator:
    """A trained generator: network and scheduler, what its tiles look like, what it saw, and its content hash."""

    pipeline: PairPipeline
    spec: TileSpec
    scale: BandScale
    training: Mapping[str, Any]
    lineage: Lineage
    hash: str

    @property
    def bands(self) -> int:
        return len(self.spec.bands)

    @property
    def classes(self) -> int:
        return len(self.spec.legend)

    @property
    def bit_size(self) -> float:
        """Absolute value of the analog bits of its masks."""
        return float(self.pipeline.denoiser.bit_size)


def resolve(model: str | PathLike[str]) -> Path:
    """The folder of a model: the path itself, or the shipped one for the name ``base`` (``./base`` is a path)."""
    if str(model) == BASE:
        return Path(str(files("geosynth") / "base"))
    return Path(model)


def describe(folder: Path) -> dict[str, Any]:
    """The content of ``geosynth.json``, its form checked but no other file read.

    Raises:
        ModelError: not a generator, or a damaged one.
    """
    path = folder / META
    if not path.is_file():
        what, remedy = misfit(folder, KIND)
        raise ModelError(what, where=folder, remedy=remedy)
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["kind"] != KIND or content["format"] != FORMAT:
            raise ModelError(
                f"holds a {content['kind']} of format {content['format']}, wanted a {KIND} of format {FORMAT}",
                where=path,
                remedy="make one with: geosynth train",
            )
        if content["hash"] != description_hash(content):
            raise ModelError("was changed after it was written", where=path, remedy="copy or train the model again")
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, GeosynthError):
            raise
        raise ModelError(f"is damaged ({error})", where=path, remedy="copy or train the model again") from None
    return content


def load_generator(model: str | PathLike[str]) -> Generator:
    """A generator from its folder, every file checked against its hash before it is read.

    Raises:
        ModelError: not a generator, or a file is missing or damaged.
    """
    folder = resolve(model)
    content = describe(folder)
    if content.get("route") == STABLE_DIFFUSION:
        raise ModelError(
            "draws with Stable Diffusion, which can only: geosynth generate",
            where=folder,
            remedy="give a generator of another recipe",
        )
    for name, expected in content["files"].items():
        path = folder / name
        if not path.is_file() or file_hash(path) != expected:
            raise ModelError(
                "is damaged" if path.is_file() else "is missing", where=path, remedy="copy or train the model again"
            )
    try:
        spec = TileSpec.from_json(content["spec"])
        scale = BandScale(
            **{name: tuple(map(tuple, v) if name == "mixing" else v) for name, v in content["scale"].items()}
        )
        denoiser = Denoiser.from_pretrained(
            folder / "denoiser", torch_dtype=torch.float32, use_safetensors=True, low_cpu_mem_usage=False
        ).eval()
        scheduler = _scheduler(folder / "scheduler")
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(f"cannot be loaded ({error})", where=folder, remedy="copy or train the model again") from None
    return Generator(
        PairPipeline(denoiser, scheduler), spec, scale, content["training"], read_lineage(folder), content["hash"]
    )


def _scheduler(folder: Path) -> Any:
    """The saved scheduler, of one of the classes ``Process`` writes and of no other."""
    name = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))["_class_name"]
    kinds = {kind.__name__: kind for kind in (FlowMatchEulerDiscreteScheduler, DDPMScheduler)}
    return kinds[name].from_pretrained(folder)


@lru_cache(maxsize=2)
def cached_generator(folder: str, expected_hash: str) -> Generator:
    """``load_generator``, once a process; the hash is part of the key, so another model is another entry.

    Raises:
        ModelError: also when the folder now holds another model than the run began with.
    """
    generator = load_generator(folder)
    if generator.hash != expected_hash:
        raise ModelError("changed while it was in use", where=folder, remedy="run the command again")
    return generator


def save_generator(
    out: OutputFolder,
    denoiser: Denoiser,
    spec: TileSpec,
    scale: BandScale,
    training: Mapping[str, Any],
    lineage: Lineage,
    *,
    process: Process,
    half: bool = False,
) -> str:
    """Write a generator folder.

    Args:
        out: the claimed folder; not marked complete here.
        denoiser: weights to save (the moving average, usually).
        spec, scale, training, lineage: see ``Generator``.
        process: what the weights were trained to tell.
        half: store the U-Net in 16 bits. Its weights are loaded as 32 bits again.

    Returns:
        The content hash, which names the generator in everything it makes.
    """
    scratch = out.temporary / "pipeline"
    network = Denoiser(**denoiser.settings)
    network.load_state_dict(denoiser.state_dict())
    if half:
        network.unet.half()  # the shortcut's directions are few, and want to be at right angles
    PairPipeline(network, process.scheduler()).save_pretrained(scratch, safe_serialization=True)
    hashes = {}
    for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
        name = path.relative_to(scratch).as_posix()
        hashes[name] = out.write(name, path.read_bytes())
    shutil.rmtree(scratch)
    hashes[LINEAGE] = out.write(LINEAGE, json.dumps(lineage.to_json()) + "\n")
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "spec": spec.to_json(),
        "scale": {name: list(values) for name, values in asdict(scale).items()},
        "training": dict(training),
        "files": hashes,
    }
    content["hash"] = description_hash(content)
    parameters = sum(weight.numel() for weight in denoiser.parameters())
    out.write(
        "README.md",
        model_card(spec, training, lineage, content["hash"], parameters=parameters, two_levels=denoiser.two_levels),
    )
    out.write(META, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return str(content["hash"])


_LINES = ("image_line.", "mask_line.")
"""Of the shortcut: they are learnt from the new data when training begins."""


def adapt(source: Generator, spec: TileSpec, sample_size: int, *, shortcut: bool | None = None) -> Denoiser:
    """A network for other bands and classes that starts from a trained one.

    Everything between the first and the last layer is kept. In those two, a band takes the weights of the band of the
    same name, else (with as many bands) of the same position, else it starts anew: bands with equal weights would look
    alike to the network, which could then not tell the noise of one from that of another. Mask bits keep theirs only
    when the legend is the same, because a bit means something else in another legend, and start anew otherwise. With a
    ``shortcut`` (see ``Denoiser``) that the old network has not, or without its own, all of the last layer starts anew.
    """
    old = source.pipeline.denoiser
    config = old.settings | {
        "image_channels": len(spec.bands),
        "mask_channels": bit_count(len(spec.legend)),
        "sample_size": sample_size,
        "shortcut": old.shortcut if shortcut is None else shortcut,
    }
    new: Denoiser = Denoiser(**config)
    weights, fresh = old.state_dict(), new.state_dict()
    edges = {"unet.conv_in.weight": 1, "unet.conv_out.weight": 0, "unet.conv_out.bias": 0}
    for name, value in weights.items():
        if name not in edges and not name.startswith(_LINES):
            fresh[name].copy_(value)
    fresh["unet.conv_in.bias"].copy_(weights["unet.conv_in.bias"])
    same_legend = spec.legend.names == source.spec.legend.names
    for name, axis in edges.items():
        if new.shortcut != old.shortcut and name.startswith("unet.conv_out"):
            continue
        before = _by_channel(weights[name], axis, old.patch)
        after = _by_channel(fresh[name], axis, old.patch)
        donors = _donor_bands(source.spec, spec)
        for band, donor in enumerate(donors):
            if donor is not None:
                after[band] = before[donor]
        if same_legend:
            after[len(spec.bands) :] = before[source.bands :]
        fresh[name].copy_(after.flatten(0, 1).movedim(0, axis))
    return new


def _by_channel(weight: torch.Tensor, axis: int, patch: int) -> torch.Tensor:
    """A weight with its folded channel axis first and split into (channel, patch * patch, ...)."""
    first = weight.movedim(axis, 0)
    return first.reshape(-1, patch * patch, *first.shape[1:]).clone()


def _donor_bands(source: TileSpec, target: TileSpec) -> list[int | None]:
    """For each band of ``target`` the one of ``source`` it starts from: none serves twice."""
    names = [band.name for band in source.bands]
    donors = [names.index(band.name) if band.name in names else None for band in target.bands]
    if len(names) == len(donors):
        for position, donor in enumerate(donors):
            if donor is None and position not in donors:
                donors[position] = position
    return donors
