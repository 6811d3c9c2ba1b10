"""Where to compute, and what that place is good at."""

from __future__ import annotations

import torch

from geosynth.errors import ModelError


def choose_device(name: str) -> str:
    """``auto`` to the accelerator there is, else the CPU; other names are checked.

    Raises:
        ModelError: this machine lacks the device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available.get(name, False):
        raise ModelError(f"no device '{name}' here", remedy="give --device cpu or auto")
    return name


def has_fast_bfloat16(device: str) -> bool:
    """Whether bf16 autocast pays: on CUDA devices, and on CPUs with AVX-512 bf16 instructions."""
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return device == "cuda"
