"""Options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def out_option(what: str) -> Decorator:
    """``--out``: the folder (or file) to write."""
    return click.option("--out", type=click.Path(), required=True, help=what)


seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same result.")
precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 where the device is fast at it.",
)

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU when there is one.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="CPU threads of a training process; their number decides the last digits, so --resume keeps that of the start."
    " [default: all cores]",
)
batch_option = click.option(
    "--batch", type=click.IntRange(1), default=16, show_default=True, help="Tiles a training step."
)
workers_option = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Local worker processes."
)
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", help="Run on a dask cluster, for example tcp://host:8786."
)


def rerun_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--resume`` and ``--overwrite``, handed over as one ``rerun`` argument."""

    def join(*args: Any, resume: bool, overwrite: bool, **kwargs: Any) -> Any:
        if resume and overwrite:
            raise click.UsageError("--resume and --overwrite exclude each other")
        rerun: Literal["refuse", "resume", "overwrite"] = "resume" if resume else "overwrite" if overwrite else "refuse"
        return function(*args, rerun=rerun, **kwargs)

    join.__name__, join.__doc__ = function.__name__, function.__doc__
    join.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    with_overwrite = click.option(
        "--overwrite", is_flag=True, help="Replace an earlier result of another request in --out."
    )(join)
    return click.option("--resume", is_flag=True, help="Go on with an unfinished run in --out.")(with_overwrite)


def shares_line(shares: dict[str, float]) -> str:
    """Class shares for people: ``building 12.1 %, road 8.0 %``."""
    return ", ".join(f"{name} {share * 100:.1f} %" for name, share in shares.items())
