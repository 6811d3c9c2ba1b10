"""What the frozen autoencoder makes of views, computed once and kept on disk while a training lasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from geosynth.diffusion.batches import Pairs
from geosynth.events import Events
from geosynth.folders import write_whole
from geosynth.legend import UNKNOWN
from geosynth.pretrained.base import BaseModel
from geosynth.pretrained.colours import ColourCode
from geosynth.pretrained.prompts import Part
from geosynth.pretrained.tones import Tones
from geosynth.pretrained.views import View, cut

_CHUNK = 32
"""Views a file."""
_AT_ONCE = 4
"""Views the autoencoder takes together."""


@dataclass(frozen=True)
class Latents:
    """Latents of views in files of ``_CHUNK``.

    Of each view: ``image`` and ``label`` float16 (c, h, w), scaled as the U-Net takes them (the most likely ones: the
    autoencoder's own spread is far below the noise that training adds), and ``valid`` and ``known``, uint8 (h, w): 1
    where all pixels behind a latent pixel have data, or a class.
    """

    folder: Path
    count: int

    def read(self, number: int, part: Part) -> tuple[Tensor, Tensor]:
        """Latents float32 (c, h, w) of view ``number``, and their weights float32 (h, w), 0 or 1."""
        with safe_open(_path(self.folder, number // _CHUNK), "pt") as file:
            at = number % _CHUNK
            weights = "valid" if part == "image" else "known"
            return file.get_slice(part)[at].float(), file.get_slice(weights)[at].float()


@torch.no_grad()
def encode_views(
    base: BaseModel,
    pairs: Pairs,
    views: Sequence[View],
    size: int,
    tones: Tones,
    code: ColourCode,
    folder: Path,
    device: str,
    events: Events,
) -> Latents:
    """Encode views, or what is missing of them: files that are there and whole are kept.

    Computed in 32 bits, whatever the training computes in.

    Args:
        base: of which the autoencoder is used, on ``device``.
        pairs: the tiles.
        views: which parts of them.
        size: side, pixels.
        tones, code: pixel values and classes to colours.
        folder: where files go; ``folder/tmp`` is scratch space.
        device: where the autoencoder is.
        events: told the progress, asked whether to stop after every file.
    """
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    chunks = range(-(-len(views) // _CHUNK))
    for chunk in chunks:
        events.check()
        path = _path(folder, chunk)
        if not _is_whole(path):
            own = views[chunk * _CHUNK : (chunk + 1) * _CHUNK]
            parts = [
                _encoded(base, pairs, own[start : start + _AT_ONCE], size, tones, code, device)
                for start in range(0, len(own), _AT_ONCE)
            ]
            write_whole(path, save({name: torch.cat([part[name] for part in parts]) for name in parts[0]}), scratch)
        events.progress(min((chunk + 1) * _CHUNK, len(views)), len(views), "views encoded")
    return Latents(folder, len(views))


def _encoded(
    base: BaseModel,
    pairs: Pairs,
    views: Sequence[View],
    size: int,
    tones: Tones,
    code: ColourCode,
    device: str,
) -> dict[str, Tensor]:
    pictures = [cut(pairs, view, size, tones, len(code.classes)) for view in views]
    mask = torch.stack([picture.mask for picture in pictures])
    valid = torch.stack([picture.valid for picture in pictures])
    both = torch.cat([torch.stack([picture.image for picture in pictures]), code.encode(mask)])
    image, label = to_latents(base, both.to(device)).cpu().half().chunk(2)
    return {
        "image": image.contiguous(),
        "label": label.contiguous(),
        "valid": _all_of(valid, base.factor),
        "known": _all_of(mask != UNKNOWN, base.factor),
    }


def to_latents(base: BaseModel, picture: Tensor) -> Tensor:
    """Colours (B, 3, H, W) in -1..1 to latents (B, c, h, w) as the U-Net takes them; in 32 bits."""
    with torch.autocast(picture.device.type, enabled=False):
        latents: Tensor = base.latent_scale * base.vae.encode(picture.float()).latent_dist.mode()
        return latents


def to_pictures(base: BaseModel, latents: Tensor) -> Tensor:
    """Latents (B, c, h, w) to colours float32 (B, 3, H, W), about -1..1; in 32 bits, one after the other."""
    with torch.autocast(latents.device.type, enabled=False):
        return torch.cat([base.vae.decode(row[None]).sample for row in latents.float() / base.latent_scale])


def _all_of(on: Tensor, factor: int) -> Tensor:
    """Bool (B, H, W) to uint8 (B, h, w): 1 where all pixels of a latent pixel are on."""
    return 1 - F.max_pool2d((~on)[:, None].float(), factor)[:, 0].to(torch.uint8)


def _path(folder: Path, chunk: int) -> Path:
    return folder / f"views-{chunk:06d}.safetensors"


def _is_whole(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return set(file.keys()) == {"image", "label", "valid", "known"}
    except (OSError, SafetensorError):
        return False
