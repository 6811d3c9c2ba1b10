"""From a tileset and a Stable Diffusion to a generator folder: labels are learnt, then images for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import torch
from lightning import Callback
from safetensors.torch import load_file, save
from torch import Tensor

from geosynth.devices import choose_device, cpu_threads, decided_precision, kept_machine
from geosynth.diffusion.generator import describe
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.training import Plan
from geosynth.errors import TilesetError
from geosynth.events import Events
from geosynth.fitting import fit
from geosynth.folders import OutputFolder, Rerun, claim, is_done, keep_apart, write_whole
from geosynth.lineage import Lineage, read_lineage
from geosynth.metriclog import MetricLog, check_tensorboard
from geosynth.noise import mix_seed, sample_noise
from geosynth.normalisation import Normalisation
from geosynth.pretrained import adapter
from geosynth.pretrained.base import BaseModel, check_installed, load_base
from geosynth.pretrained.inputs import Inputs, PaintRequest, asked_of, inputs_of
from geosynth.pretrained.latents import encode_views
from geosynth.pretrained.model import note_place, save_label_painter
from geosynth.pretrained.prompts import Part
from geosynth.pretrained.sampling import GUIDANCE, SAMPLERS, sampled
from geosynth.pretrained.task import HELD_OUT, Drawing, LatentTask, Material, condition
from geosynth.pretrained.views import View, cut_mask, drawn_views, fixed_views, shares, spread
from geosynth.pretrained.watching import PICTURES, HeldOutLatents, Pictures
from geosynth.samples import Pair, TilesetDataset
from geosynth.tileset import Tile

_LATENTS = "latents"
"""Where, in the folder's state, it is kept what the autoencoder made of the tiles."""

_COMPOSITIONS = 1024
"""Class shares of training tiles that are kept with a model, at most."""


@dataclass(frozen=True)
class PaintSummary:
    """What training gave: the generator's hash, held-out losses (None without val tiles), whether it was there."""

    hash: str
    label_loss: float | None = None
    image_loss: float | None = None
    nothing_to_do: bool = False


def train_painter(
    tiles: str | PathLike[str],
    request: PaintRequest,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    save_memory: bool | None = None,
    tensorboard: bool = False,
    checkpoint_every: int = 500,
) -> PaintSummary:
    """Train a LoRA that draws the label maps of a tileset, and a ControlNet that paints images for them.

    Both learn from split=train; labels from the tiles that have some, images from all. What the autoencoder makes of
    the tiles is computed once and kept in ``.geosynth`` until the end.

    Args:
        tiles: tileset folder.
        request: what to train.
        out: generator folder to write.
        events: progress, metrics, cancellation.
        rerun: rules for an existing output.
        device: "cpu", "cuda", "mps" or "auto".
        threads: CPU threads; kept with the run, because their number decides the last bits of the weights.
        precision: "32", "bf16", or "auto" (bf16 where the device is fast at it); the autoencoder always has 32.
        save_memory: activations are computed again instead of kept; None: on a GPU.
        tensorboard: write TensorBoard's files into ``.geosynth/log/tensorboard`` too.
        checkpoint_every: steps between checkpoints.

    Raises:
        TilesetError: no training tiles, or none with labels.
        ModelError: the base model is not there or is none; the tiles have other than three bands; training fails.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    check_installed()
    where = choose_device(device)
    if tensorboard:
        check_tensorboard()
    inputs = inputs_of(tiles, request)
    asked = asked_of(inputs)
    keep_apart(out, tiles, inputs.base.folder)
    if not is_done(out, asked, rerun):
        inputs.tileset.verify((*inputs.train, *inputs.held_out))  # before anything of an earlier run goes
    with claim(out, asked, rerun) as folder:
        if folder.complete:
            return PaintSummary(describe(folder.path)["hash"], nothing_to_do=True)
        machine = kept_machine(
            folder,
            {
                "device": where,
                "threads": threads or torch.get_num_threads(),
                "precision": decided_precision(precision, where),
                "save_memory": where == "cuda" if save_memory is None else save_memory,
            },
            events,
        )
        note_place(folder.path, inputs.base)
        with cpu_threads(machine["threads"]):
            return _Training(inputs, folder, machine, events, tensorboard, checkpoint_every).run()


@dataclass
class _Training:
    """A training where it is done."""

    inputs: Inputs
    folder: OutputFolder
    machine: dict[str, Any]
    events: Events
    tensorboard: bool
    checkpoint_every: int

    def run(self) -> PaintSummary:
        inputs, folder, events = self.inputs, self.folder, self.events
        events.log(f"reading {len(inputs.train)} training and {len(inputs.held_out)} held-out tiles")
        train, held_out = self._read(inputs.train), self._read(inputs.held_out)
        base = load_base(inputs.base)
        base.vae.to(self.machine["device"])
        materials = self._materials(base, train, held_out)
        losses = {name: record["val_loss"] for name, record in folder.records().items()}
        if "label" not in losses:
            losses["label"] = self._learn_labels(base, *materials)
        controlnet, losses["image"] = self._learn_images(base, *materials)
        return self._save(base, controlnet, losses, materials[0])

    def _read(self, tiles: tuple[Tile, ...]) -> TilesetDataset:
        tileset = self.inputs.tileset
        pairs = [Pair(tileset, tile) for tile in tiles]
        return TilesetDataset(pairs, Normalisation.of(tileset.statistics), events=self.events)

    def _materials(
        self, base: BaseModel, train: TilesetDataset, held_out: TilesetDataset
    ) -> tuple[Material, Material | None]:
        """Views of training and of held-out tiles, with what the autoencoder makes of them."""
        inputs, request = self.inputs, self.inputs.request
        # No more than will be drawn.
        most = max(inputs.plan("label").steps, request.steps) * request.batch
        each = min(request.views, max(1, -(-most // len(train))))
        side = inputs.tileset.spec.tile_size
        views = drawn_views(len(train), side, inputs.size, inputs.scales, each, request.seed)
        fixed = fixed_views(spread(len(held_out), HELD_OUT), inputs.size, 1.0)
        first = self._material(base, train, views, "train")
        return first, self._material(base, held_out, fixed, "held-out") if fixed else None

    def _material(self, base: BaseModel, pairs: TilesetDataset, views: Sequence[View], name: str) -> Material:
        inputs = self.inputs
        latents = encode_views(
            base,
            pairs,
            views,
            inputs.size,
            inputs.tones,
            inputs.code,
            self.folder.state / _LATENTS / name,
            self.machine["device"],
            self.events,
        )
        return Material(pairs, views, latents)

    def _learn_labels(self, base: BaseModel, train: Material, held_out: Material | None) -> float | None:
        """Train the LoRA and keep its averaged weights in the folder's state; gives the held-out loss."""
        request = self.inputs.request
        adapter.add_adapter(base.unet, request.rank, request.targets, request.seed)
        task = self._task("label", base, None, train, held_out)
        inputs, plan = self.inputs, self.inputs.plan("label")
        prompts = [
            inputs.prompting.prompt("label", row) for row in self._compositions(train)[:PICTURES]
        ]  # of the first tiles

        def draw() -> tuple[Tensor, Tensor]:
            drawn = self._sampled(base, None, prompts, None, plan)
            return drawn, inputs.code.decode(drawn)[0]

        loss = self._fit(task, "label", draw)
        weights = adapter.adapter_weights(task.average)
        write_whole(self.folder.state / adapter.FILE, save(weights, {"format": "pt"}), self.folder.temporary)
        self.folder.record("label", {"val_loss": loss})
        base.unet.unload_lora()
        base.unet.requires_grad_(False)
        return loss

    def _learn_images(self, base: BaseModel, train: Material, held_out: Material | None) -> tuple[Any, float | None]:
        """Train the ControlNet; gives it with its averaged weights, and the held-out loss."""
        from diffusers import ControlNetModel

        inputs, plan = self.inputs, self.inputs.plan("image")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix_seed("controlnet", inputs.request.seed))
            controlnet = ControlNetModel.from_unet(
                base.unet, conditioning_embedding_out_channels=_CONDITION_WIDTHS[: base.factor.bit_length()]
            )
        controlnet.requires_grad_(True)
        task = self._task("image", base, controlnet, train, held_out)
        shown = held_out or train
        masks = torch.stack(
            [cut_mask(shown.pairs, view, inputs.size, len(inputs.code.classes)) for view in shown.views[:PICTURES]]
        )
        prompts = [inputs.prompting.prompt("image", shares(mask, len(inputs.code.classes))) for mask in masks]

        def draw() -> tuple[Tensor, Tensor]:
            # Unknown pixels are drawn as the first class: these are pictures to look at.
            known = torch.where(masks < len(inputs.code.classes), masks, 0)
            return self._sampled(base, controlnet, prompts, condition(inputs.code, masks), plan), known

        loss = self._fit(task, "image", draw)
        with torch.no_grad():
            for name, weight in controlnet.named_parameters():
                weight.copy_(task.average[name])
        return controlnet.cpu(), loss

    def _task(
        self, part: Part, base: BaseModel, controlnet: Any, train: Material, held_out: Material | None
    ) -> LatentTask:
        from diffusers import DDPMScheduler

        inputs, plan = self.inputs, self.inputs.plan(part)
        schedule = DDPMScheduler.from_config(dict(base.scheduler))
        levels = int(schedule.config.num_train_timesteps)

        def drawing(material: Material) -> Drawing:
            return Drawing(
                part, base, material, material.usable(part), inputs.code, inputs.prompting, inputs.size, plan, levels
            )

        learnt, measured = drawing(train), None if held_out is None else drawing(held_out)
        if not learnt.chosen:
            raise TilesetError(
                f"shows no {part} that fills a square of {base.factor} px",
                where=inputs.tileset.path,
                remedy="tile with more data or labels, or give a larger --size",
            )
        return LatentTask(base, controlnet, learnt, measured, schedule, plan, save_memory=self.machine["save_memory"])

    def _fit(self, task: LatentTask, part: Part, draw: Callable[[], tuple[Tensor, Tensor]]) -> float | None:
        """Train ``task`` to its end; gives the held-out loss there, None without held-out tiles."""
        request, state = self.inputs.request, self.folder.state / part
        log = MetricLog(self.events, self.folder.state / "log" / part, tensorboard=self.tensorboard)
        measured = HeldOutLatents(log, part, request.evaluate_every)
        report: list[Callback] = [Progress(self.events, log, names=(f"loss_{part}",)), measured]
        if request.samples_every:
            legend = self.inputs.tileset.spec.legend
            before = 0 if part == "label" else self.inputs.plan("label").steps
            report.append(Pictures(self.folder, legend, part, before, request.samples_every, draw))
        self.events.log("learning to draw labels" if part == "label" else "learning to paint images for labels")
        fit(
            task,
            {},
            state,
            self.events,
            report,
            steps=task.plan.steps,
            device=self.machine["device"],
            precision=self.machine["precision"],
            clip=task.plan.clip,
            checkpoint_every=self.checkpoint_every,
        )
        # A run that was stopped after its last step measures now. (Not always: a GPU has been left by here.)
        return task.held_out_loss() if measured.at_end is None else measured.at_end

    def _sampled(
        self, base: BaseModel, controlnet: Any, prompts: list[str], given: Tensor | None, plan: Plan
    ) -> Tensor:
        side = self.inputs.size // base.factor
        shape = (base.latent_channels, side, side)
        noise = torch.stack([sample_noise(plan.seed, index, shape) for index in range(len(prompts))])
        sampler = next(iter(SAMPLERS))
        return sampled(
            base, controlnet, noise, prompts, given, sampler=sampler, steps=SAMPLERS[sampler], guidance=GUIDANCE
        )

    def _compositions(self, material: Material) -> list[list[float]]:
        """Class shares of views that show any class, evenly spread over all."""
        classes = len(self.inputs.code.classes)
        usable = material.usable("label")
        rows = [
            shares(cut_mask(material.pairs, material.views[usable[number]], self.inputs.size, classes), classes)
            for number in spread(len(usable), _COMPOSITIONS)
        ]
        return [[round(share, 3) for share in row] for row in rows]

    def _save(
        self, base: BaseModel, controlnet: Any, losses: dict[str, float | None], material: Material
    ) -> PaintSummary:
        inputs, request, folder = self.inputs, self.inputs.request, self.folder
        spec = replace(inputs.tileset.spec, tile_size=inputs.size)
        training = {
            "recipe": "stable-diffusion",
            "steps": request.steps,
            "label_steps": inputs.plan("label").steps,
            "batch": request.batch,
            "learning_rate": request.learning_rate,
            "label_learning_rate": request.label_learning_rate,
            "lora_rank": request.rank,
            "lora_targets": ", ".join(request.targets),
            "views": len(material.views),
            "seed": request.seed,
            "started_from": inputs.base.name,
            "tileset": spec.id,
            "precision": self.machine["precision"],
            "pixels_per_latent": base.factor,
            **{f"val_loss_{part}": loss for part, loss in sorted(losses.items()) if loss is not None},
        }
        lineage = Lineage.of(inputs.train, spec.crs_name) | read_lineage(inputs.tileset.path)
        content_hash = save_label_painter(
            folder,
            lora=load_file(folder.state / adapter.FILE),
            controlnet=controlnet,
            base=inputs.base,
            embed=request.embed,
            spec=spec,
            tones=inputs.tones,
            prompting=inputs.prompting,
            scales=inputs.scales,
            compositions=self._compositions(material),
            training=training,
            lineage=lineage,
        )
        for kept in ("label", "image", _LATENTS):
            shutil.rmtree(folder.state / kept, ignore_errors=True)
        (folder.state / adapter.FILE).unlink(missing_ok=True)
        folder.finish()
        self.events.artifact(folder.path, "generator")
        return PaintSummary(content_hash, losses["label"], losses["image"])


_CONDITION_WIDTHS = (16, 32, 96, 256)
"""Widths of the layers that read a label map; each but the first halves its sides (Zhang et al. 2023)."""
