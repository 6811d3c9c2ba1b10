"""A tiny Stable Diffusion, built from configurations and trained for seconds on patchworks; nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import RGB
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from torch import Tensor

from geosynth.devices import cpu_threads
from geosynth.diffusion.request import GenerateRequest
from geosynth.events import Events
from geosynth.folders import claim
from geosynth.grid import Grid
from geosynth.legend import Legend, LegendClass
from geosynth.pretrained.colours import ColourCode
from geosynth.pretrained.generate import generate_painted
from geosynth.pretrained.inputs import PaintRequest
from geosynth.pretrained.request import Manner
from geosynth.pretrained.train import train_painter
from geosynth.tileset import TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles

SIDE = 32
LEGEND = Legend(
    (LegendClass(1, "building", "#d1495b"), LegendClass(3, "water", "#2274a5"), LegendClass(4, "tree", "#2d6a4f"))
)
COLOURS = np.array([(200, 120, 90), (40, 70, 160), (60, 130, 40)], np.float64)
"""Of the classes in images: neither those of the legend nor those of the colour code."""


def build(folder: Path, *, steps: int = 240, prediction: str = "v_prediction", text: int = 32) -> Path:
    """Write a Stable Diffusion in diffusers' layout: about a million weights, 4 px a side in a latent pixel.

    It is taught with one thread, so that what tests see of it does not depend on how many there are.

    Args:
        folder: to write.
        steps: training steps of the autoencoder and of the U-Net; 0 leaves weights random.
        prediction: what the U-Net predicts.
        text: width of the text encoder.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    with cpu_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vocabulary = write_vocabulary(folder / "vocabulary")
        tokenizer = CLIPTokenizer(
            str(folder / "vocabulary" / "vocab.json"),
            str(folder / "vocabulary" / "merges.txt"),
            model_max_length=77,
        )
        encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=text,
                intermediate_size=2 * text,
                num_hidden_layers=1,
                num_attention_heads=2,
                bos_token_id=vocabulary - 2,
                eos_token_id=vocabulary - 1,
                pad_token_id=vocabulary - 1,
            )
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(16, 16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=SIDE,
            scaling_factor=1.0,
            mid_block_add_attention=False,
        )
        unet = UNet2DConditionModel(
            sample_size=SIDE // 4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(24, 48),
            layers_per_block=1,
            cross_attention_dim=text,
            attention_head_dim=8,
            norm_num_groups=8,
        )
        # More noise at the end than Stable Diffusion has: in so few pixels its last level would still show the colours.
        schedule = DDPMScheduler(
            beta_start=0.00085, beta_end=0.03, beta_schedule="scaled_linear", prediction_type=prediction
        )
        if steps:
            pictures = pictures_of(1000, 96)
            scale = teach_autoencoder(vae, pictures, steps)
            vae.register_to_config(scaling_factor=scale)
            teach_network(unet, vae, encoder, schedule, pictures[::2], 2 * steps, scale)
        for name, part in {"unet": unet, "vae": vae, "text_encoder": encoder}.items():
            part.save_pretrained(folder / name, safe_serialization=True)
        tokenizer.save_pretrained(folder / "tokenizer")
        schedule.save_pretrained(folder / "scheduler")
    return folder


def learnt(base: Path, tiles: Path, out: Path, told: list[tuple[str, int, float]]) -> Path:
    """Train a generator; what it tells of its losses is put into ``told``."""

    def keep(record: dict[str, Any]) -> None:
        if record["event"] == "metric":
            told.append((record["name"], record["step"], record["value"]))

    request = PaintRequest(
        str(base),
        steps=240,
        label_steps=120,
        batch=8,
        learning_rate=3e-3,
        label_learning_rate=5e-3,
        rank=8,
    )
    train_painter(tiles, request, out, Events([keep]), threads=1, precision="32")
    return out


def paint(model: Path, tiles: Path, out: Path) -> Path:
    """Make an image for each mask of ``tiles``."""
    request = GenerateRequest(steps=12, masks_from=(str(tiles),), guidance=1.0)
    generate_painted(model, request, Manner(), out, Events(), precision="32")
    return out


def write_vocabulary(folder: Path) -> int:
    """Tokens of single characters; returns how many."""
    folder.mkdir(parents=True)
    characters = [chr(code) for code in range(33, 127)]
    tokens = [*characters, *(f"{letter}</w>" for letter in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return len(tokens)


def patchwork(number: int, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Land made of a few patches: image uint8 (3, S, S), class ids uint8 (S, S)."""
    random = np.random.default_rng(number)
    patches = 3 * (side // SIDE) ** 2
    points, classes = random.uniform(0, side, (patches, 2)), random.integers(len(LEGEND), size=patches)
    rows, cols = np.mgrid[:side, :side] + 0.5
    nearest = np.square(rows[..., None] - points[:, 0]) + np.square(cols[..., None] - points[:, 1])
    index = classes[nearest.argmin(axis=2)]
    image = COLOURS[index].transpose(2, 0, 1) + random.normal(0, 8, (3, side, side))
    return image.clip(0, 255).astype(np.uint8), np.array(LEGEND.ids, np.uint8)[index]


def tiles(path: Path, side: int = SIDE, count: int = 24, gsd: float = 0.5, other: int = 0) -> Path:
    """A tileset of patchworks: two thirds for training, the rest for val; the last training tile is half unknown.

    With ``other`` the images are those of patchworks so many further on: they do not fit their masks.
    """
    spec = TileSpec("patchwork", RGB, LEGEND, CRS.from_epsg(32633), (gsd, gsd), gsd, side)
    with claim(path, {"command": "test", "side": side, "count": count}) as out:
        records = []
        for number in range(count):
            image, mask = patchwork(number, side)
            image = patchwork(number + other, side)[0]
            split = "train" if number < count * 2 // 3 else "val"
            if number == count * 2 // 3 - 1:
                mask[:, side // 2 :] = 255
            grid = Grid(spec.crs, Affine(gsd, 0, 500_000 + number * side, 0, -gsd, 5_000_000), side, side)
            records.append(
                encode_tile(
                    spec,
                    f"scene_c{number:05d}",
                    grid,
                    image,
                    np.ones((side, side), bool),
                    mask,
                    {"GEOSYNTH_SYNTHETIC": "none"},
                    split=split,
                    scene="scene",
                    row=0,
                    col=number * side,
                    image_origin="real",
                    mask_origin="human",
                    placement="real",
                )
            )
        out.record("row", {"tiles": write_tiles(out.path, records)})
        compact(out, spec)
    return path


def pictures_of(first: int, count: int) -> Tensor:
    """Images and colour-coded masks of patchworks in turn: float32 (2 * count, 3, S, S)."""
    code, pictures = ColourCode.of(LEGEND), []
    for number in range(first, first + count):
        image, mask = patchwork(number)
        pictures.append(torch.from_numpy(image).float() / 127.5 - 1)
        pictures.append(code.encode(torch.from_numpy(LEGEND.to_index(mask))))
    return torch.stack(pictures)


def teach_autoencoder(vae: object, pictures: Tensor, steps: int) -> float:
    """Train to give back what it gets; returns the factor that brings latents to spread 1."""
    optimizer = torch.optim.AdamW(vae.parameters(), lr=5e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / steps) + 1e-4
        batch = pictures[torch.randint(len(pictures), (8,))]
        spread = vae.encode(batch).latent_dist
        loss = (vae.decode(spread.mode()).sample - batch).square().mean() + 1e-3 * spread.mode().square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        return float(1 / vae.encode(pictures[:64]).latent_dist.mode().std())


def teach_network(
    unet: object, vae: object, encoder: object, schedule: object, pictures: Tensor, steps: int, scale: float
) -> None:
    """Train to tell the noise in images: the tiny model knows pictures of land, as a large one does, and no labels."""
    with torch.no_grad():
        latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pictures.split(16)]) * scale
        silence = encoder(torch.full((1, 77), encoder.config.eos_token_id))[0].expand(16, -1, -1)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=3e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps) + 1e-4
        clean = latents[torch.randint(len(latents), (16,))]
        noise, levels = torch.randn_like(clean), torch.randint(1000, (16,))
        target = noise
        if schedule.config.prediction_type == "v_prediction":
            target = schedule.get_velocity(clean, noise, levels)
        told = unet(schedule.add_noise(clean, noise, levels), levels, silence).sample
        loss = (told - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
