"""Encoder weights from a local file, fitted to an encoder of any number of bands. Nothing in a file is ever run."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from geosynth.colourbands import colour_bands
from geosynth.errors import ModelError
from geosynth.segmentation.segmenter import META, describe_segmenter

_RGB = 3
_ENOUGH = 0.5
"""Share of an encoder's tensors below which a file is not one of that encoder."""

_NAMED = 3

_SIDE = 64


@dataclass(frozen=True, eq=False)
class EncoderFile:
    """Tensors by the names they have in a file, and the file's sha256.

    ``bands`` are those of the segmenter the file lies in; empty where it lies elsewhere.
    """

    path: Path
    tensors: dict[str, Tensor]
    sha256: str
    bands: tuple[str, ...] = ()


def read_encoder_file(path: str | PathLike[str]) -> EncoderFile:
    """The tensors of a safetensors file, or of one that ``torch.save`` wrote: a state dict, or one inside a checkpoint.

    Raises:
        ModelError: no such file, a damaged one, or one with more than tensors, which would have to be run.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot be read ({error.strerror})", where=file, remedy="give a file of encoder weights"
        ) from None
    try:
        # A safetensors file begins with the length of its header, and that with a brace.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = (
                safetensors.load(content)
                if content[8:9] == b"{"
                else torch.load(BytesIO(content), map_location="cpu", weights_only=True)
            )
    except pickle.UnpicklingError:
        raise ModelError(
            "holds more than tensors, or is no file of weights",
            where=file,
            remedy="save the state dict alone, best as safetensors",
        ) from None
    except Exception as error:  # torch raises whatever a damaged file makes of it, down to failed assertions
        reason = str(error).splitlines()[0][:100] if str(error) else "no weights in it"
        raise ModelError(
            f"is not a file of weights ({reason})", where=file, remedy="give a safetensors file or a state dict"
        ) from None
    tensors = _tensors(loaded)
    if not tensors:
        raise ModelError("holds no weights", where=file, remedy="give a safetensors file or a state dict")
    beside = (file.parent / META).is_file()
    bands = tuple(band["name"] for band in describe_segmenter(file.parent)["bands"]) if beside else ()
    return EncoderFile(file, tensors, hashlib.sha256(content).hexdigest(), bands)


def _tensors(loaded: Any) -> dict[str, Tensor]:
    """All tensors of what a file holds, by name; those of a checkpoint's parts under the part's name."""
    found: dict[str, Tensor] = {}
    for name, value in loaded.items() if isinstance(loaded, Mapping) else ():
        if isinstance(value, Tensor):
            found[str(name)] = value
        elif isinstance(value, Mapping):
            found |= {f"{name}.{inner}": tensor for inner, tensor in _tensors(value).items()}
    return found


def load_encoder(encoder: nn.Module, file: EncoderFile, bands: Sequence[str], side: int = _SIDE) -> str:
    """Give an encoder the weights of a file; returns in a line what fitted and what did not.

    Names are compared without what stands before all of them (``encoder.``, ``module.``, the parts of a checkpoint)
    and with dots and underscores alike, as timm writes both. A first layer of other bands is adapted (some encoders
    have several side by side): each band takes the weights of a band of the file (red, green and blue by their names),
    one that is not there their mean, all scaled so that the answer stays as strong.

    Args:
        encoder: changed in place.
        file: the weights.
        bands: names of the image's bands.
        side: of images that the encoder takes, pixels.

    Raises:
        ModelError: a tensor in the file has another shape, or less than half of the encoder's are there.
    """
    own = {name: value for name, value in encoder.state_dict().items() if not name.endswith("num_batches_tracked")}
    # timm's encoders are inside a module called model.
    lead = "model." if all(name.startswith("model.") for name in own) else ""
    wanted = {_plain(name.removeprefix(lead)): name for name in own}
    prefix = _common_prefix(file.tensors, wanted)
    first = _first_layers(encoder, len(bands), side)
    fitting: dict[str, Tensor] = {}
    unused: list[str] = []
    said = ""
    for name, tensor in file.tensors.items():
        target = wanted.get(_plain(name.removeprefix(prefix))) if name.startswith(prefix) else None
        if target is not None and tensor.shape == own[target].shape:
            fitting[target] = tensor
            if target in first:
                fitting[target], said = _adapted(tensor, file.bands, bands)
        elif target is not None and target in first and _differ_in_bands(tensor, own[target]):
            fitting[target], said = _adapted(tensor, file.bands, bands)
        elif target is not None:
            raise ModelError(
                f"does not hold this encoder: its {name} has the shape {tuple(tensor.shape)}, here it is"
                f" {tuple(own[target].shape)}",
                where=file.path,
                remedy="give weights of the very --encoder",
            )
        elif not name.endswith("num_batches_tracked"):
            unused.append(name)
    if len(fitting) < _ENOUGH * len(own):
        raise ModelError(
            f"does not hold this encoder: {len(fitting)} of its {len(own)} tensors are there",
            where=file.path,
            remedy="give weights of the very --encoder",
        )
    for name, tensor in fitting.items():  # some encoders' own load_state_dict takes no part of a state
        own[name].copy_(tensor)
    missing = [name for name in own if name not in fitting]
    parts = [f"{len(fitting)} of the encoder's {len(own)} tensors are from {file.path.name}"]
    parts += [said] if said else []
    parts += [f"not in it: {_some(missing)}"] if missing else []
    parts += [f"not used: {_some(unused)}"] if unused else []
    return "; ".join(parts)


@torch.no_grad()
def _first_layers(encoder: nn.Module, bands: int, side: int) -> set[str]:
    """Names of the weights that meet the image itself: told by running it, for names and places tell nothing sure."""
    image, found, training = torch.zeros(1, bands, side, side), set[str](), encoder.training

    def look(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].data_ptr() == image.data_ptr():
                found.add(f"{name}.weight")

        return hook

    layers = [(name, module) for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_pre_hook(look(name)) for name, module in layers]
    try:
        encoder.eval()(image)
    finally:
        encoder.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _common_prefix(names: Mapping[str, Tensor], wanted: Mapping[str, str]) -> str:
    """What stands before most of the names that are wanted; the shortest of equals."""
    votes: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts)):
            if "_".join(parts[cut:]) in wanted:
                votes["".join(f"{part}." for part in parts[:cut])] += 1
    return max(votes, key=lambda prefix: (votes[prefix], -len(prefix)), default="")


def _differ_in_bands(a: Tensor, b: Tensor) -> bool:
    return a.dim() == b.dim() and a.shape[0] == b.shape[0] and a.shape[2:] == b.shape[2:]


def _adapted(weight: Tensor, given: Sequence[str], bands: Sequence[str]) -> tuple[Tensor, str]:
    """First-layer weights (out, n, …) of a file for ``bands``, and what was done; nothing is said when nothing was.

    ``given`` names the file's bands; without names, three are red, green and blue as in photographs.
    """
    there, here = weight.shape[1], len(bands)
    sources: list[int | None] = [band if band < there else None for band in range(here)]
    if set(given) & set(bands):
        sources = [given.index(name) if name in given else None for name in bands]
    elif there == _RGB and here >= _RGB and not given:
        colours = colour_bands(bands)
        sources = [colours.index(band) if band in colours else None for band in range(here)]
    elif here == 1 < there:
        sources = [None]
    if sources == list(range(there)):
        return weight, ""
    taken = [weight.mean(1) if source is None else weight[:, source] for source in sources]
    own = ", ".join(
        f"{name} is its {source + 1}." for name, source in zip(bands, sources, strict=True) if source is not None
    )
    rest = ", ".join(name for name, source in zip(bands, sources, strict=True) if source is None)
    how = [own] if own else []
    how += [f"{rest} the mean of all"] if rest else []
    return torch.stack(taken, 1) * (there / here), f"first layer from {there} to {here} bands ({', '.join(how)})"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}"
