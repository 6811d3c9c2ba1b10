"""The generator folder of this route: diffusers' layout, the base model in it or named by id and hash.

MODEL/
  geosynth.json                       what it makes, how it was trained, hashes of all files; written last
  pytorch_lora_weights.safetensors    the LoRA that draws labels
  controlnet/                         the ControlNet that paints images
  scheduler/                          that of the base model
  unet/ vae/ text_encoder/ tokenizer/ model_index.json   only where the base model is embedded
  lineage.json  README.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from geosynth.descriptions import STABLE_DIFFUSION, description_hash
from geosynth.diffusion.generator import FORMAT, KIND, META, describe
from geosynth.errors import ModelError
from geosynth.folders import STATE, OutputFolder, file_hash
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import Lineage, read_lineage
from geosynth.pretrained import adapter
from geosynth.pretrained.base import SCHEDULER, BaseFiles, BaseModel, find_base, load_base
from geosynth.pretrained.card import model_card
from geosynth.pretrained.colours import ColourCode
from geosynth.pretrained.prompts import Prompting
from geosynth.pretrained.tones import Tones
from geosynth.tileset import TileSpec

CONTROLNET = "controlnet"
_PLACE = Path(STATE) / "log" / "base.json"
"""Where the base model was at the training: a path of that machine, so no part of the folder's bytes."""


@dataclass(frozen=True)
class LabelPainter:
    """A generator of this route, without its networks.

    Attributes:
        folder: where it is.
        spec: its tiles.
        tones: pixel values.
        template, style: of its prompts.
        scales: those it learnt, rising.
        compositions: class shares of training tiles, in legend order: what new labels are asked to hold.
        base: name and hash of the base model, and whether it is embedded.
        training, lineage, hash: as ``diffusion.generator.Generator`` has them.
    """

    folder: Path
    spec: TileSpec
    tones: Tones
    template: str
    style: str
    scales: tuple[float, ...]
    compositions: tuple[tuple[float, ...], ...]
    base: Mapping[str, Any]
    training: Mapping[str, Any]
    lineage: Lineage
    hash: str

    @property
    def code(self) -> ColourCode:
        return ColourCode.of(self.spec.legend)

    def prompting(self, template: str | None = None, style: str | None = None) -> Prompting:
        """How it is told what to draw; None takes what it was trained with."""
        return Prompting(
            self.template if template is None else template,
            self.style if style is None else style,
            self.spec.legend.names,
            self.spec.gsd_m,
        )


@dataclass(frozen=True)
class Networks:
    """The base model with the LoRA in its U-Net (switched off), and the ControlNet."""

    base: BaseModel
    controlnet: Any


def load_label_painter(folder: Path) -> LabelPainter:
    """Read a generator of this route, every file checked against its hash; no network is loaded.

    Raises:
        ModelError: none, or a file is missing or damaged.
    """
    content = describe(folder)
    if content.get("route") != STABLE_DIFFUSION:
        raise ModelError("was not trained with recipe stable-diffusion", where=folder, remedy="give one that was")
    for name, expected in content["files"].items():
        path = folder / name
        if not path.is_file() or file_hash(path) != expected:
            raise ModelError(
                "is damaged" if path.is_file() else "is missing", where=path, remedy="copy or train the model again"
            )
    try:
        return LabelPainter(
            folder,
            TileSpec.from_json(content["spec"]),
            Tones.from_json(content["tones"]),
            content["prompt"]["template"],
            content["prompt"]["style"],
            tuple(content["scales"]),
            tuple(tuple(row) for row in content["compositions"]),
            content["base"],
            content["training"],
            read_lineage(folder),
            content["hash"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"is damaged ({error})", where=folder / META, remedy="copy or train the model again") from None


def base_of(model: LabelPainter, pretrained: str | None) -> BaseFiles:
    """The base model of a generator: embedded, where the user says, where it was at the training, or on the hub.

    Raises:
        ModelError: it is nowhere, or what is there is another one.
    """
    if model.base["embedded"]:
        return find_base(str(model.folder))
    place = pretrained or _noted_place(model.folder) or str(model.base["name"])
    try:
        found = find_base(place)
    except ModelError as error:
        raise ModelError(
            f"the Stable Diffusion it was trained on ({model.base['name']}) is not at {error.where}: {error.what}",
            where=model.folder,
            remedy="give its folder: --pretrained FOLDER",
        ) from None
    if found.hash != model.base["hash"]:
        raise ModelError(
            f"is not the Stable Diffusion that {model.folder} was trained on ({model.base['name']},"
            f" {str(model.base['hash'])[:12]})",
            where=place,
            remedy="give that one: --pretrained FOLDER",
        )
    return found


def note_place(folder: Path, base: BaseFiles) -> None:
    """Remember where the base model is on this machine."""
    (folder / _PLACE).write_text(json.dumps(str(base.folder.resolve())), encoding="utf-8")


def _noted_place(folder: Path) -> str | None:
    try:
        place = json.loads((folder / _PLACE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return place if isinstance(place, str) and Path(place).is_dir() else None


@lru_cache(maxsize=1)
def cached_networks(folder: str, expected_hash: str, base: str, half: bool, device: str) -> Networks:
    """The networks of a generator on ``device``, loaded once a process.

    Args:
        folder: of the generator.
        expected_hash: its hash; its files were checked by who began the run.
        base: folder of the base model.
        half: whether its weights are those in 16 bits.
        device: where to.

    Raises:
        ModelError: the generator changed meanwhile, or a network cannot be loaded.
    """
    from diffusers import ControlNetModel

    if describe(Path(folder))["hash"] != expected_hash:
        raise ModelError("changed while it was in use", where=folder, remedy="run the command again")
    loaded = load_base(BaseFiles(Path(base), "", {}, half))
    try:
        weights = load_file(Path(folder) / adapter.FILE)
        controlnet = ControlNetModel.from_pretrained(
            Path(folder) / CONTROLNET, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot be loaded ({error})", where=folder, remedy="copy or train the model again") from None
    adapter.load_adapter(loaded.unet, weights)
    loaded.unet.disable_lora()
    controlnet.requires_grad_(False).eval()
    for network in (loaded.unet, loaded.vae, loaded.text_encoder, controlnet):
        network.to(device).eval()
    return Networks(loaded, controlnet)


def save_label_painter(
    out: OutputFolder,
    *,
    lora: Mapping[str, Tensor],
    controlnet: Any,
    base: BaseFiles,
    embed: bool,
    spec: TileSpec,
    tones: Tones,
    prompting: Prompting,
    scales: Sequence[float],
    compositions: Sequence[Sequence[float]],
    training: Mapping[str, Any],
    lineage: Lineage,
) -> str:
    """Write a generator folder; not marked complete here.

    Args:
        out: the claimed folder.
        lora, controlnet: what was trained, averaged.
        base: the base model; its files are copied where it is to be embedded.
        embed: whether to.
        spec, tones, prompting, scales, compositions, training, lineage: see ``LabelPainter``.

    Returns:
        the content hash.
    """
    scratch = out.temporary / "controlnet"
    controlnet.save_pretrained(scratch, safe_serialization=True)
    hashes = {adapter.FILE: out.write(adapter.FILE, save(dict(lora), {"format": "pt"}))}
    for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
        name = f"{CONTROLNET}/{path.relative_to(scratch).as_posix()}"
        hashes[name] = out.write(name, path.read_bytes())
    copied = sorted(base.files) if embed else [SCHEDULER]
    for name in copied:
        hashes[name] = out.write(name, (base.folder / name).read_bytes())
    if embed:
        schedule = json.loads((base.folder / SCHEDULER).read_text(encoding="utf-8"))
        index = _INDEX | {"scheduler": ["diffusers", schedule.get("_class_name", "PNDMScheduler")]}
        hashes["model_index.json"] = out.write("model_index.json", json.dumps(index, indent=2, sort_keys=True) + "\n")
    hashes[LINEAGE] = out.write(LINEAGE, json.dumps(lineage.to_json()) + "\n")
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "route": STABLE_DIFFUSION,
        "spec": spec.to_json(),
        "tones": tones.to_json(),
        "prompt": {"template": prompting.template, "style": prompting.style},
        "colours": {
            name: list(colour)
            for name, colour in zip(spec.legend.names, ColourCode.of(spec.legend).classes, strict=True)
        },
        "scales": list(scales),
        "compositions": [list(row) for row in compositions],
        "base": {"name": base.name, "hash": base.hash, "embedded": embed, "files": dict(base.files)},
        "training": dict(training),
        "files": hashes,
    }
    content["hash"] = description_hash(content)
    out.write("README.md", model_card(spec, training, lineage, content["base"], content["hash"]))
    out.write(META, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return str(content["hash"])


_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""What diffusers' own pipeline reads of an embedded base model."""
