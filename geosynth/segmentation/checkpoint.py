"""A Mask2Former as transformers saves it, to start from. Weights are safetensors; nothing in the folder is ever run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from geosynth.errors import ModelError
from geosynth.segmentation.encoderfile import EncoderFile, load_encoder
from geosynth.segmentation.mask2former import BACKBONES, MASK2FORMER, Mask2FormerNetwork, check_installed

CONFIG = "config.json"
_WEIGHTS = "*.safetensors"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_NOT_KEPT = {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "torch_dtype", "transformers_version"}
"""Settings that say where and how the weights were saved, or what for; not what the network is."""

_REMEDY = "give a folder with config.json and model.safetensors, as save_pretrained of a Mask2Former writes them"


@dataclass(frozen=True)
class Checkpoint:
    """A folder, the settings of its network, the names of its classes, and the sha256 of its weights."""

    path: Path
    settings: dict[str, Any]
    names: tuple[str, ...]
    sha256: str


def read_checkpoint(folder: str | PathLike[str]) -> Checkpoint:
    """What a checkpoint folder holds; the weights are not read yet.

    Raises:
        ModelError: no Mask2Former, one with code of its own or another backbone, or without safetensors.
    """
    path = Path(folder)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        kind, backbone = config["model_type"], (config.get("backbone_config") or {}).get("model_type", "none")
    except OSError:
        raise ModelError(f"has no {CONFIG}", where=path, remedy=_REMEDY) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError("is not the configuration of a network", where=path / CONFIG, remedy=_REMEDY) from None
    if kind != MASK2FORMER:
        raise ModelError(f"holds a {kind}, not a {MASK2FORMER}", where=path, remedy=_REMEDY)
    if backbone not in BACKBONES or "auto_map" in json.dumps(config):
        raise ModelError(
            f"has the backbone {backbone}" if backbone not in BACKBONES else "needs code of its own",
            where=path / CONFIG,
            remedy=f"give a Mask2Former over {', '.join(BACKBONES)}",
        )
    files = sorted(path.glob(_WEIGHTS))
    if not files:
        pickled = any(any(path.glob(pattern)) for pattern in _PICKLED)
        raise ModelError(
            "holds its weights in a format that would have to be run" if pickled else "holds no weights",
            where=path,
            remedy="save it as safetensors" if pickled else _REMEDY,
        )
    digest = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    names = tuple(str(name) for _, name in sorted(_labels(config).items()))
    return Checkpoint(path, _kept(config), names, digest)


def load_checkpoint(network: Mask2FormerNetwork, checkpoint: Checkpoint, bands: Sequence[str], names: Sequence[str],
    side: int) -> str:  # fmt: skip
    """Give a network, built with a checkpoint's settings, its weights; returns in a line what fitted.

    The first layer is adapted to the ``bands`` (see ``encoderfile``). Classes that the checkpoint has by the same name
    keep their weights, others stay random.

    Args:
        network: changed in place.
        checkpoint: from ``read_checkpoint``.
        bands: names of the image's bands.
        names: names of the classes.
        side: of images that the network takes, pixels.

    Raises:
        ModelError: the weights are damaged, or not those of the settings.
    """
    theirs = _loaded(checkpoint)
    pixels = theirs.model.pixel_level_module
    tensors = {f"inner.{name}": value for name, value in pixels.encoder.state_dict().items()}
    file = EncoderFile(checkpoint.path, tensors, checkpoint.sha256)
    said = [load_encoder(network.encoder, file, bands, side)]
    network.pixels.load_state_dict(pixels.decoder.state_dict())
    network.queries.load_state_dict(theirs.model.transformer_module.state_dict())
    known = [name.casefold() for name in checkpoint.names]
    pairs = [(k, known.index(name.casefold())) for k, name in enumerate(names) if name.casefold() in known]
    pairs.append((len(names), len(known)))  # "nothing"
    with torch.no_grad():
        for own, other in pairs:
            network.head.weight[own] = theirs.class_predictor.weight[other]
            network.head.bias[own] = theirs.class_predictor.bias[other]
    said.append(f"{len(pairs) - 1} of {len(names)} classes are known by name")
    return "; ".join(said)


def _loaded(checkpoint: Checkpoint) -> Any:
    check_installed()
    from transformers import Mask2FormerForUniversalSegmentation
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            model, found = Mask2FormerForUniversalSegmentation.from_pretrained(
                checkpoint.path,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises whatever comes to it
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot be loaded ({reason})", where=checkpoint.path, remedy=_REMEDY) from None
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"lacks {len(missing)} of its weights ({missing[0]} …)",
            where=checkpoint.path,
            remedy="copy or save it again",
        )
    return model


def _labels(config: dict[str, Any]) -> dict[int, Any]:
    return {int(number): name for number, name in (config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}).items()}


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if name not in _NOT_KEPT}
    return kept | {"backbone_config": {n: v for n, v in config["backbone_config"].items() if n not in _NOT_KEPT}}
