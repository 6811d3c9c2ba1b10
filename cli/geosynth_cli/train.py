"""geosynth train"""

from __future__ import annotations

from typing import Any

import click

from geosynth.events import Events
from geosynth.folders import Rerun
from geosynth_cli.options import (
    batch_option,
    device_option,
    out_option,
    precision_option,
    rerun_options,
    seed_option,
    threads_option,
)
from geosynth_cli.session import session


def _numbers(text: str) -> tuple[float, ...]:
    """``1,2`` as numbers."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.UsageError(f"--scales {text} is no list of numbers, for example 1,2") from None


@click.command("train", epilog="Example: geosynth train tiles --from base --steps 1500 --out generator")
@click.argument("tiles", type=click.Path())
@out_option("Generator folder to write.")
@click.option("--from", "start", metavar="MODEL|base", help="Start from a generator; base ships with geosynth.")
@click.option(
    "--recipe",
    type=click.Choice(["default", "flow", "v", "satsynth", "stable-diffusion"]),
    default="default",
    show_default=True,
    help="Objective: flow is the default; satsynth is the paper's, for comparison. stable-diffusion fine-tunes a"
    " pretrained model instead: see --pretrained.",
)
@click.option(
    "--pretrained",
    metavar="FOLDER|ID",
    help="Stable Diffusion 1 or 2: a diffusers folder, or the id of one on the hub (owner/name, owner/name@revision)."
    " This and all below it that begin with [SD] are for --recipe stable-diffusion.",
)
@click.option("--label-steps", type=click.IntRange(1), help="[SD] Steps that learn labels. [default: --steps]")
@click.option(
    "--label-learning-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="[SD] Of the LoRA that draws labels. [default: 1e-4; --learning-rate is the ControlNet's: 1e-5]",
)
@click.option("--lora-rank", type=click.IntRange(1), help="[SD] Rank of the LoRA. [default: 16]")
@click.option("--lora-targets", metavar="LAYER,…", help="[SD] Layers it is put beside. [default: the attention's]")
@click.option(
    "--prompt", metavar="TEXT", help="[SD] Template of prompts, with {kind}, {classes}, {ground} and {style} in it."
)
@click.option("--style", metavar="TEXT", help="[SD] Fills {style}: what all tiles have in common.")
@click.option(
    "--scales", metavar="N,…", help="[SD] Coarser pixels that are learnt, too. [default: 2, 4 … as far as tiles allow]"
)
@click.option("--views", type=click.IntRange(1), help="[SD] Crops and turns of a tile that are learnt. [default: 8]")
@click.option("--embed", is_flag=True, help="[SD] Copy the pretrained model into OUT.")
@click.option(
    "--save-memory",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    show_default=True,
    help="[SD] Compute activations again instead of keeping them; auto: on a GPU.",
)
@click.option("--steps", type=click.IntRange(1), default=4000, show_default=True, help="Optimiser steps.")
@batch_option
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="[default: 2e-3; half of it with --from]",
)
@click.option(
    "--size", type=click.IntRange(1), help="Side of what is learnt, pixels: larger tiles are cropped at random."
)
@click.option(
    "--labelled-share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of labelled tiles in a batch, where some have no label. [default: as in TILES, at least 0.5]",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Dropout inside the network, for small tilesets. [default: 0; with --from the model's]",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Stop after so many measurements of the held-out loss without a better one; the best weights are kept.",
)
@click.option(
    "--evaluate-every", type=click.IntRange(1), default=250, show_default=True, help="Steps between measurements."
)
@click.option("--samples-every", type=click.IntRange(1), help="Draw samples into OUT/samples every so many steps.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files into OUT/.geosynth/log/tensorboard.")
@precision_option
@click.option(
    "--compile", "compiled", is_flag=True, help="Let torch compile the network: slow start, faster steps on GPUs."
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="GPUs of this machine that share each batch, or on a CPU processes that share it and the cores.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that make batches ahead. [default: up to 8 for a GPU; for a CPU 0, or 1 that reads a large TILES]",
)
@click.option("--checkpoint-every", type=click.IntRange(1), default=500, show_default=True, help="Steps.")
@seed_option
@device_option
@threads_option
@rerun_options
@session
def command(
    events: Events,
    tiles: str,
    out: str,
    start: str | None,
    recipe: str,
    pretrained: str | None,
    label_steps: int | None,
    label_learning_rate: float | None,
    lora_rank: int | None,
    lora_targets: str | None,
    prompt: str | None,
    style: str | None,
    scales: str | None,
    views: int | None,
    embed: bool,
    save_memory: str,
    steps: int,
    batch: int,
    learning_rate: float | None,
    size: int | None,
    labelled_share: float | None,
    dropout: float | None,
    patience: int | None,
    evaluate_every: int,
    samples_every: int | None,
    tensorboard: bool,
    precision: str,
    compiled: bool,
    devices: int,
    workers: int | None,
    checkpoint_every: int,
    seed: int,
    device: str,
    threads: int | None,
    rerun: Rerun,
) -> str:
    """Train a generator of image-mask pairs on the tileset TILES.

    One diffusion model learns images and masks together from the tiles of split=train; the loss on split=val is
    reported. Tiles whose masks are unknown count too: they teach it how places look. Metrics are kept in
    OUT/.geosynth/log/metrics.csv.

    With --recipe stable-diffusion a pretrained model of pictures learns to draw label maps (a LoRA) and to paint images
    for them (a ControlNet); tiles must have three bands.
    """
    painting = {
        "label_steps": label_steps,
        "label_learning_rate": label_learning_rate,
        "rank": lora_rank,
        "targets": None if lora_targets is None else tuple(filter(None, lora_targets.split(","))),
        "template": prompt,
        "style": style,
        "scales": None if scales is None else _numbers(scales),
        "views": views,
    }
    given: dict[str, Any] = {name: value for name, value in painting.items() if value is not None}
    if recipe == "stable-diffusion":
        if pretrained is None:
            raise click.UsageError("--recipe stable-diffusion needs --pretrained FOLDER or a hub id")
        if start or labelled_share or dropout or patience or compiled or devices > 1 or workers is not None:
            raise click.UsageError(
                "--from, --labelled-share, --dropout, --patience, --compile, --devices and --workers are for the other"
                " recipes"
            )
        from geosynth.pretrained.inputs import PaintRequest
        from geosynth.pretrained.train import train_painter

        if learning_rate is not None:
            given["learning_rate"] = learning_rate
        wanted = PaintRequest(
            pretrained,
            steps=steps,
            batch=batch,
            seed=seed,
            size=size,
            embed=embed,
            evaluate_every=evaluate_every,
            samples_every=samples_every,
            **given,
        )
        with events.task("train"):
            made = train_painter(
                tiles,
                wanted,
                out,
                events,
                rerun=rerun,
                device=device,
                threads=threads,
                precision=precision,
                save_memory={"auto": None, "yes": True, "no": False}[save_memory],
                tensorboard=tensorboard,
                checkpoint_every=checkpoint_every,
            )
        if made.nothing_to_do:
            return f"nothing to do: {out} is complete"
        by_part = {"label": made.label_loss, "image": made.image_loss}
        told = ", ".join(f"{part} {loss:.3f}" for part, loss in by_part.items() if loss is not None)
        return f"generator {made.hash[:12]} in {out}" + (f" (held-out loss: {told})" if told else "")
    if pretrained is not None or given or embed or save_memory != "auto":
        raise click.UsageError("--pretrained and the options marked [SD] are for --recipe stable-diffusion")
    from geosynth.diffusion.train import TrainRequest, train_generator

    request = TrainRequest(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        start=start,
        recipe=None if recipe == "default" else recipe,
        size=size,
        dropout=dropout,
        labelled_share=labelled_share,
        evaluate_every=evaluate_every,
        patience=patience,
        samples_every=samples_every,
    )
    with events.task("train"):
        summary = train_generator(
            tiles,
            request,
            out,
            events,
            rerun=rerun,
            device=device,
            threads=threads,
            precision=precision,
            compiled=compiled,
            devices=devices,
            workers=workers,
            tensorboard=tensorboard,
            checkpoint_every=checkpoint_every,
        )
    if summary.nothing_to_do:
        return f"nothing to do: {out} is complete"
    of_step = "" if summary.step == steps else f", weights of step {summary.step}"
    losses = [f"{side} {loss:.3f}" for side, loss in summary.held_out_loss._asdict().items() if loss is not None]
    held_out = f" (held-out loss: {', '.join(losses)})" if losses else ""
    return f"generator {summary.hash[:12]} in {out}{of_step}{held_out}"
