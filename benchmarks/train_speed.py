"""What a training step costs: geosynth's against a bare PyTorch loop and against denoising-diffusion-pytorch.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/train_speed.py --steps 12 --rounds 3

All train on random images of three bands and three mask bits of the same size, with the same batch, precision and
(within a per cent) number of parameters. The bare loop is the same network on a batch that lies ready: forward,
backward, clipping, AdamW. geosynth's steps are those of `geosynth train`: batches drawn, turned and moved, levels and
noise drawn, moving average, reports. The peer's are those of its Trainer: gradients, clipping, Adam, moving average.
They take turns; the best round counts. Prints a table in Markdown. The peer is left out where it is not installed.
"share of peak" is the operations of a bare step over what a large matrix product reaches in that time on the device.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basing import means_of, precision_of
from lightning import Callback
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from geosynth.devices import choose_device
from geosynth.diffusion.batches import Batch
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.training import DiffusionTask, Means, Plan
from geosynth.events import Events
from geosynth.fitting import fit
from geosynth.metriclog import MetricLog

BANDS, CLASSES, BITS = 3, 6, 3
WARM = 2
"""First steps of a round that do not count."""

Times = tuple[float, float]
"""Wall and CPU seconds a step."""


class Tiles:
    """Random pairs in memory."""

    def __init__(self, count: int, side: int) -> None:
        random = np.random.default_rng(0)
        self.images = random.integers(0, 256, (count, BANDS, side, side)).astype(np.uint8)
        self.masks = random.integers(0, CLASSES, (count, side, side)).astype(np.uint8)
        self.valid = np.ones((side, side), bool)

    def __len__(self) -> int:
        return len(self.images)

    def raw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
        return self.images[index], self.valid, self.masks[index]


class Clock:
    """Notes the ends of steps."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def tick(self) -> None:
        if self.device == "cuda" and len(self.wall) == WARM:
            torch.cuda.synchronize()
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def times(self) -> Times:
        if self.device == "cuda":  # steps are only asked for; what counts is when all are done
            torch.cuda.synchronize()
            steps = len(self.wall) - WARM - 1
            return (time.perf_counter() - self.wall[WARM]) / steps, (time.process_time() - self.cpu[WARM]) / steps
        return statistics.median(np.diff(self.wall[WARM:])), statistics.median(np.diff(self.cpu[WARM:]))


class Ticks(Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, *_: Any) -> None:
        self.clock.tick()


def network(size: int) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(image_channels=BANDS, mask_channels=BITS, sample_size=size, shortcut=True)


def task_of(args: argparse.Namespace, device: str) -> DiffusionTask:
    plan = Plan(steps=args.steps + WARM + 1, batch=args.batch, size=args.size)
    scale = BandScale((127.5,) * BANDS, (74.0,) * BANDS, (0.0,) * BANDS, (255.0,) * BANDS)
    tiles = Tiles(64, args.size)
    means = Means(means_of(device).workers, device == "cuda", args.compile)
    return DiffusionTask(network(args.size), tiles, tiles, scale, CLASSES, plan, means=means)


def ours(args: argparse.Namespace, device: str) -> Times:
    clock, events, task = Clock(device), Events(), task_of(args, device)
    with tempfile.TemporaryDirectory() as folder:
        report = [Progress(events, MetricLog(events, Path(folder))), Ticks(clock)]
        fit(
            task, {}, Path(folder), events, report, steps=task.plan.steps, device=device, precision=precision_of(device)
        )
    return clock.times()


def bare(args: argparse.Namespace, device: str) -> Times:
    clock, task = Clock(device), task_of(args, device).to(device)
    batch = Batch(*(part.to(device) for part in task.drawing.step(0)))
    noisy = batch.noise + 1
    if device == "cuda":
        noisy = noisy.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(task.denoiser.parameters(), lr=1e-4, fused=True)
    for _ in range(task.plan.steps):
        with torch.autocast(device, torch.bfloat16, enabled=precision_of(device) == "bf16"):
            answer = task.denoiser(noisy, batch.image_level, batch.mask_level)
            loss = (answer - batch.noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.denoiser.parameters(), 1.0)
        optimizer.step()
        clock.tick()
    return clock.times()


def peer(args: argparse.Namespace, device: str, parameters: int) -> Times | None:
    try:
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    except ImportError:
        return None
    channels = BANDS + BITS
    unets = (Unet(dim=dim, dim_mults=(1, 2, 4), channels=channels) for dim in range(16, 129, 8))
    unet = min(unets, key=lambda made: abs(count(made) - parameters))
    diffusion = GaussianDiffusion(unet, image_size=args.size).to(device)
    average = copy.deepcopy(diffusion).requires_grad_(False)
    print(f"peer: dim {unet.init_conv.out_channels}, {count(unet) / 1e6:.2f} M parameters", flush=True)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    images = torch.rand(args.batch, channels, args.size, args.size, device=device)
    clock = Clock(device)
    for _ in range(args.steps + WARM + 1):
        with torch.autocast(device, torch.bfloat16, enabled=precision_of(device) == "bf16"):
            loss = diffusion(images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(diffusion.parameters()), 0.005)
        clock.tick()
    return clock.times()


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def operations(args: argparse.Namespace) -> int:
    """Multiplications and additions of a step of the bare loop, forward and backward, counted on the CPU."""
    denoiser = network(args.size)
    state, levels = torch.randn(args.batch, BANDS + BITS, args.size, args.size), torch.full((args.batch,), 0.5)
    with FlopCounterMode(display=False) as counter:
        denoiser(state, levels, levels).square().mean().backward()
    return int(counter.get_total_flops())


def peak_rate(device: str) -> float:
    """Operations a second of a large matrix product in the precision of training."""
    side = 8192 if device == "cuda" else 2048
    matrix = torch.randn(side, side, device=device)
    if precision_of(device) == "bf16":
        matrix = matrix.bfloat16()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def batch_making(args: argparse.Namespace) -> float:
    """Seconds in which one core makes a batch."""
    drawing = task_of(args, "cpu").drawing
    took = []
    for step in range(5):
        began = time.process_time()
        drawing.step(step)
        took.append(time.process_time() - began)
    return min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compile the network, ours and the bare loop's")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    parameters = count(network(args.size))
    runs: dict[str, Callable[[], Times | None]] = {
        "bare PyTorch loop, same network": lambda: bare(args, device),
        "geosynth train": lambda: ours(args, device),
        "denoising-diffusion-pytorch": lambda: peer(args, device, parameters),
    }
    best: dict[str, Times] = {}
    for _ in range(args.rounds):
        for name, run in runs.items():
            times = run()
            if times is not None:
                best[name] = tuple(map(min, zip(times, best.get(name, times), strict=True)))  # type: ignore[assignment]
    mine = best["geosynth train"]
    print(
        f"\n{args.size} px, batch {args.batch}, {parameters / 1e6:.2f} M parameters, {precision_of(device)}, {device},"
        f" {args.threads} thread(s). One core makes a batch in {batch_making(args) * 1e3:.1f} ms.\n"
    )
    needed, peak = operations(args), peak_rate(device)
    print(f"{needed / 1e9:.1f} G operations a step; a large matrix product reaches {peak / 1e12:.3g} T a second.\n")
    print(
        "| | wall ms a step | CPU ms a step | images a second | wall, of ours | CPU, of ours | share of peak |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, (wall, cpu) in best.items():
        print(
            f"| {name} | {wall * 1e3:.1f} | {cpu * 1e3:.1f} | {args.batch / wall:.1f} |"
            f" {wall / mine[0]:.2f} | {cpu / mine[1]:.2f} |"
            f" {'–' if 'diffusion-pytorch' in name else f'{needed / wall / peak:.0%}'} |"
        )


if __name__ == "__main__":
    main()
