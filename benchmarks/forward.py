"""What one pass of the denoiser costs, by where it has attention, precision, memory layout and compilation.

    python benchmarks/forward.py [--size 64] [--batch 8] [--rounds 5] [--compile]

The networks are those of `geosynth train` for three bands and six classes. All ways take turns; the best round counts.
Prints a table in Markdown: milliseconds an image, of a wall clock and of the processor, and parts of the first row.
Quality with each attention is measured by `benchmarks/ablation.py network`, with bfloat16 by `ablation.py precision`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from geosynth.devices import choose_device
from geosynth.diffusion.denoiser import Denoiser

BANDS, BITS = 3, 3
ATTENTION = {
    "two lower levels": (False, True, True),
    "lowest level": (False, False, True),
    "none": (False, False, False),
}
WIDTHS = (64, 96, 128)


def network(attention: tuple[bool, ...], size: int, device: str) -> Denoiser:
    torch.manual_seed(0)
    made = Denoiser(
        image_channels=BANDS,
        mask_channels=BITS,
        sample_size=size,
        patch=2 if size <= 96 else 4,
        widths=WIDTHS,
        attention=attention,
        shortcut=True,
    )
    return made.to(device).eval()


def one_pass(denoiser: Denoiser, state: Tensor, half: bool) -> Callable[[], Tensor]:
    levels = torch.full((len(state),), 0.5, device=state.device)

    @torch.no_grad()
    def run() -> Tensor:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
            answer: Tensor = denoiser(state, levels, levels)
        return answer

    return run


def timed(run: Callable[[], Tensor], device: str) -> tuple[float, float]:
    """Wall and CPU seconds of a pass, the mean of three."""
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(3):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - wall) / 3, (time.process_time() - cpu) / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compiled passes, too")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    state = torch.randn(args.batch, BANDS + BITS, args.size, args.size, device=device)
    runs: dict[str, Callable[[], Tensor]] = {}
    for where, attention in ATTENTION.items():
        plain = network(attention, args.size, device)
        last = network(attention, args.size, device).to(memory_format=torch.channels_last)
        state_last = state.contiguous(memory_format=torch.channels_last)
        for half in (False, True):
            name = f"attention: {where}, {'bf16' if half else 'float32'}"
            runs[name] = one_pass(plain, state, half)
            runs[f"{name}, channels last"] = one_pass(last, state_last, half)
            if args.compile:
                compiled = network(attention, args.size, device)
                compiled.compile()
                runs[f"{name}, compiled"] = one_pass(compiled, state, half)
    best: dict[str, tuple[float, float]] = {}
    for _ in range(args.rounds):
        for name, run in runs.items():
            wall, cpu = timed(run, device)
            so_far = best.get(name, (wall, cpu))
            best[name] = (min(wall, so_far[0]), min(cpu, so_far[1]))
    reference = next(iter(best.values()))
    print(f"{args.size} px, batch {args.batch}, {device}, {args.threads} thread(s)\n")
    print("| | wall ms an image | CPU ms an image | wall, of the first | CPU, of the first |\n|---|---|---|---|---|")
    for name, (wall, cpu) in best.items():
        print(
            f"| {name} | {wall * 1e3 / args.batch:.2f} | {cpu * 1e3 / args.batch:.2f} |"
            f" {wall / reference[0]:.2f} | {cpu / reference[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
