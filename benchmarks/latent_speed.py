"""What the Stable Diffusion route costs: a small latent model from scratch, trained and sampled on real tiles.

    python benchmarks/latent_speed.py TILES [--sides 256,512] [--width 128] [--device auto]

No pretrained weights are needed: a latent diffusion model of the given width with random weights is built, laid out as
Stable Diffusion is (eight pixels a side in a latent pixel), and goes through the same code. So this measures mechanics
and memory, not quality: pictures are noise. ``--width 320`` has the U-Net of Stable Diffusion 1.5.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from geosynth.devices import choose_device
from geosynth.diffusion.request import GenerateRequest
from geosynth.events import Events
from geosynth.pretrained.generate import generate_painted
from geosynth.pretrained.inputs import PaintRequest
from geosynth.pretrained.request import Manner
from geosynth.pretrained.train import train_painter


def build(folder: Path, width: int, text: int) -> int:
    """Write a Stable Diffusion of random weights; returns the number of weights of its U-Net."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    characters = [chr(code) for code in range(33, 127)]
    tokens = [*characters, *(f"{letter}</w>" for letter in characters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=text,
            intermediate_size=4 * text,
            num_hidden_layers=12 if text >= 768 else 2,
            num_attention_heads=text // 64,
            bos_token_id=len(tokens) - 2,
            eos_token_id=len(tokens) - 1,
        )
    )
    widths = (width, 2 * width, 4 * width, 4 * width)
    unet = UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=text, attention_head_dim=8)
    small = max(32, 128 * width // 320 // 32 * 32)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(small, 2 * small, 4 * small, 4 * small),
        layers_per_block=2,
        latent_channels=4,
    )
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    for name, part in {"unet": unet, "vae": vae, "text_encoder": encoder}.items():
        part.save_pretrained(folder / name, safe_serialization=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    schedule.save_pretrained(folder / "scheduler")
    return sum(weight.numel() for weight in unet.parameters())


class Watch:
    """Times of the steps of each part of a training, the first ones left out."""

    def __init__(self) -> None:
        self.marks: dict[str, list[tuple[int, float]]] = {}

    def __call__(self, record: dict[str, object]) -> None:
        if record["event"] == "metric" and str(record["name"]).startswith("loss_"):
            self.marks.setdefault(str(record["name"]), []).append((int(str(record["step"])), time.perf_counter()))

    def rate(self, name: str) -> float:
        """Steps a second between the first mark and the last."""
        (first, began), (last, ended) = self.marks[name][0], self.marks[name][-1]
        return (last - first) / (ended - began) if last > first else float("nan")


def peak(device: str) -> float:
    """Peak memory in GB: of the GPU's tensors since the last call, or of this process."""
    if device == "cuda":
        used = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
        return used
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", help="tileset of three bands; its tiles are at least as large as the sides")
    parser.add_argument("--sides", default="256,512")
    parser.add_argument("--width", type=int, default=128, help="of the U-Net's first level, a multiple of 32")
    parser.add_argument("--text", type=int, default=768, help="width of the text encoder")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60, help="training steps of each part, at least 20")
    parser.add_argument("--sampling", type=int, default=25)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or 'CPU'}"
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        weights = build(base, arguments.width, arguments.text)
        print(f"{name}, torch {torch.__version__}; U-Net of {weights / 1e6:.0f} M weights; batch {arguments.batch}")
        print("| side | saved memory | labels: views/s | images: views/s | training GB | pairs/s | sampling GB |")
        print("|---|---|---|---|---|---|---|")
        for side in map(int, arguments.sides.split(",")):
            for saving in (True, False):
                row = measured(arguments, device, base, side, saving, Path(scratch) / f"{side}-{saving}")
                print(f"| {side} | {'yes' if saving else 'no'} | {' | '.join(row)} |", flush=True)


def measured(
    arguments: argparse.Namespace, device: str, base: Path, side: int, saving: bool, scratch: Path
) -> list[str]:
    """The numbers of one row."""
    watch = Watch()
    request = PaintRequest(
        str(base), steps=arguments.steps, batch=arguments.batch, size=side, scales=(1.0,), views=1, evaluate_every=10**9
    )
    peak(device)
    train_painter(
        arguments.tiles,
        request,
        scratch / "model",
        Events([watch]),
        device=device,
        precision=arguments.precision,
        save_memory=saving,
        checkpoint_every=10**9,
    )
    training = peak(device)
    asked = GenerateRequest(arguments.batch, steps=arguments.sampling, block=arguments.batch)
    times = []
    for seed in range(2):  # the first loads the networks
        began = time.perf_counter()
        generate_painted(
            scratch / "model",
            replace(asked, seed=seed),
            Manner(),
            scratch / f"pairs-{seed}",
            Events(),
            device=device,
            precision=arguments.precision,
        )
        times.append(time.perf_counter() - began)
    rates = [f"{watch.rate(f'loss_{part}') * arguments.batch:.2f}" for part in ("label", "image")]
    return [*rates, f"{training:.2f}", f"{arguments.batch / times[-1]:.3f}", f"{peak(device):.2f}"]


if __name__ == "__main__":
    main()
