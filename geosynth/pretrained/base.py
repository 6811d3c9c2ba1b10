"""The pretrained Stable Diffusion: found in a folder or on a hub, checked, named by its files, loaded.

Only the diffusers layout with safetensors weights is read, file by file from a list: nothing is unpickled, and no code
that comes with a model is run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from geosynth.errors import GeosynthError, ModelError
from geosynth.folders import canonical_json, file_hash

_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
"""Parts with weights, and what their weights are called."""
_TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
SCHEDULER = "scheduler/scheduler_config.json"
_HALF = ".fp16"
"""Some models have their weights in 16 bits only."""

_HUB_ID = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
_OFFLINE = (
    "download it where there is a network (hf download ID --include '*.json' '*.txt' '*.safetensors' --local-dir"
    " FOLDER) and give --pretrained FOLDER"
)


@dataclass(frozen=True)
class BaseFiles:
    """A Stable Diffusion on disk.

    Attributes:
        folder: where it is.
        name: hub id, or the folder's own name.
        files: sha256 of every file that is read, by its path in the folder.
        half: whether the weights are those in 16 bits.
    """

    folder: Path
    name: str
    files: Mapping[str, str]
    half: bool

    @property
    def hash(self) -> str:
        """Names the model by its content, whatever the folder is called."""
        return hashlib.sha256(canonical_json(dict(self.files)).encode()).hexdigest()

    @property
    def factor(self) -> int:
        """Pixels a side of a latent pixel."""
        return _factor(_json(self.folder / "vae" / "config.json"))

    @property
    def layers(self) -> list[str]:
        """Names of the U-Net's layers that multiply by a matrix or convolve."""
        from safetensors import safe_open

        (weights,) = (name for name in self.files if name.startswith("unet/") and name.endswith(".safetensors"))
        with safe_open(self.folder / weights, "pt") as file:
            return [
                name.removesuffix(".weight")
                for name in file.keys()  # noqa: SIM118 (it is no dictionary)
                if name.endswith(".weight") and len(file.get_slice(name).get_shape()) > 1
            ]


@dataclass(frozen=True)
class BaseModel:
    """The loaded parts, weights in 32 bits, frozen, for inference."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Mapping[str, Any]

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels a side of a latent pixel."""
        return _factor(self.vae.config)

    @property
    def latent_scale(self) -> float:
        return float(self.vae.config.scaling_factor)

    def tokens(self, prompts: list[str]) -> torch.Tensor:
        """Token ids int64 (N, L); what is too long is cut."""
        coded = self.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        ids: torch.Tensor = coded.input_ids
        return ids


def _factor(vae: Mapping[str, Any]) -> int:
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def check_installed() -> None:
    """Raise ModelError where the libraries of this route are missing; those that are there tell errors only."""
    missing = [name for name in ("transformers", "peft") if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"recipe stable-diffusion needs {' and '.join(missing)}",
            remedy="pip install 'geosynth-eo[stable-diffusion]'",
        )
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    for library in (of_diffusers, of_transformers):  # our events say what there is to say
        library.set_verbosity_error()
        library.disable_progress_bar()


def find_base(pretrained: str) -> BaseFiles:
    """The Stable Diffusion in a folder, or on the hub by its id (``owner/name`` or ``owner/name@revision``).

    Raises:
        ModelError: nothing there, the hub does not give it, or it is no Stable Diffusion 1 or 2 with safetensors.
    """
    path = Path(pretrained)
    if path.is_dir():
        return _files(path, path.resolve().name)
    if path.is_file():
        raise ModelError(
            "is one file, wanted a diffusers folder",
            where=path,
            remedy="convert it with diffusers: StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)",
        )
    asked = _HUB_ID.fullmatch(pretrained)
    if asked is None:
        raise ModelError("no such folder", where=path, remedy="give a folder, or a hub id as owner/name")
    return _files(_from_hub(asked["id"], asked["revision"]), pretrained)


def load_base(base: BaseFiles) -> BaseModel:
    """Load all parts.

    Raises:
        ModelError: a part cannot be loaded.
    """
    check_installed()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    folder = base.folder
    shared: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    if base.half:
        shared["variant"] = _HALF[1:]
    unet = _part(
        folder / "unet", lambda at: UNet2DConditionModel.from_pretrained(at, torch_dtype=torch.float32, **shared)
    )
    vae = _part(folder / "vae", lambda at: AutoencoderKL.from_pretrained(at, torch_dtype=torch.float32, **shared))
    text = _part(folder / "text_encoder", lambda at: CLIPTextModel.from_pretrained(at, dtype=torch.float32, **shared))
    tokenizer = _part(folder / "tokenizer", lambda at: CLIPTokenizer.from_pretrained(at, local_files_only=True))
    for network in (unet, vae, text):
        network.requires_grad_(False).eval()
    return BaseModel(unet, vae, text, tokenizer, _json(folder / SCHEDULER))


def _part(path: Path, load: Callable[[Path], Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return load(path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, GeosynthError):
            raise
        raise ModelError(
            f"cannot be loaded ({str(error)[:160]})", where=path, remedy="download the pretrained model again"
        ) from None


def _files(folder: Path, name: str) -> BaseFiles:
    """What is read of a folder; it is looked at, but nothing is loaded."""
    half = False
    wanted = [SCHEDULER]
    for part, stem in _WEIGHTS.items():
        wanted.append(f"{part}/config.json")
        plain, small = f"{part}/{stem}.safetensors", f"{part}/{stem}{_HALF}.safetensors"
        if not (folder / plain).is_file() and (folder / small).is_file():
            plain, half = small, True
        wanted.append(plain)
    if half:  # all parts or none: that is how they are loaded
        wanted = [name.replace(_HALF, "").replace(".safetensors", f"{_HALF}.safetensors") for name in wanted]
    tokenizer = [f"tokenizer/{file}" for file in _TOKENIZER if (folder / "tokenizer" / file).is_file()]
    if not any(file in tokenizer for file in ("tokenizer/tokenizer.json", "tokenizer/vocab.json")):
        wanted.append("tokenizer/vocab.json")
    wanted += tokenizer
    for file in wanted:
        if not (folder / file).is_file():
            raise _missing(folder, file)
    _check_kind(folder)
    return BaseFiles(folder, name, {file: file_hash(folder / file) for file in sorted(wanted)}, half)


def _missing(folder: Path, file: str) -> ModelError:
    part = file.split("/", maxsplit=1)[0]
    if file.endswith(".safetensors"):
        for pickled in (*(folder / part).glob("*.bin"), *(folder / part).glob("*.ckpt")):
            return ModelError(
                "holds weights that could run code, wanted safetensors",
                where=pickled,
                remedy="take a model that has them, or convert it: save_pretrained(FOLDER, safe_serialization=True)",
            )
    return ModelError(
        f"is no Stable Diffusion in diffusers' layout: it has no {file}",
        where=folder,
        remedy="give another --pretrained",
    )


def _check_kind(folder: Path) -> None:
    """Raise ModelError for what is no Stable Diffusion 1 or 2: other conditions, other channels, other text."""
    unet, vae = _json(folder / "unet" / "config.json"), _json(folder / "vae" / "config.json")
    text, scheduler = _json(folder / "text_encoder" / "config.json"), _json(folder / SCHEDULER)
    prediction = scheduler.get("prediction_type", "epsilon")
    checks = (
        (unet.get("_class_name") == "UNet2DConditionModel", f"its network is a {unet.get('_class_name')}"),
        (unet.get("addition_embed_type") is None, "it is an XL model"),
        (unet.get("class_embed_type") is None, "its network wants class labels"),
        (vae.get("_class_name") == "AutoencoderKL", f"its autoencoder is a {vae.get('_class_name')}"),
        (
            unet.get("in_channels") == vae.get("latent_channels", 4) == unet.get("out_channels"),
            f"its network takes {unet.get('in_channels')} channels (is it for inpainting?)",
        ),
        (
            unet.get("cross_attention_dim") == text.get("hidden_size"),
            f"its network wants texts of {unet.get('cross_attention_dim')} numbers, its text encoder gives"
            f" {text.get('hidden_size')}",
        ),
        (prediction in ("epsilon", "v_prediction"), f"its network predicts {prediction}"),
    )
    for good, what in checks:
        if not good:
            raise ModelError(f"is no Stable Diffusion 1 or 2: {what}", where=folder, remedy="give another --pretrained")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ModelError("is damaged", where=path, remedy="download the pretrained model again")
    return content


def _from_hub(repository: str, revision: str | None) -> Path:
    """The folder a hub model is kept in, downloaded when it is not there yet; only the files that are read."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    where = repository if revision is None else f"{repository}@{revision}"
    patterns = [SCHEDULER, *(f"tokenizer/{file}" for file in _TOKENIZER)]
    patterns += [f"{part}/config.json" for part in _WEIGHTS]
    weights = [f"{part}/{stem}.safetensors" for part, stem in _WEIGHTS.items()]
    small = [name.replace(".safetensors", f"{_HALF}.safetensors") for name in weights]
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*patterns, *weights]))
        if not all((folder / name).is_file() for name in weights):
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*patterns, *small]))
        return folder
    except GatedRepoError:
        what = "is gated: the hub asks for an account that accepted its terms (hf auth login)"
    except RepositoryNotFoundError:
        what = "no such folder, and the hub has no such model (or it is private)"
    except RevisionNotFoundError:
        what = f"the hub has no revision {revision} of it"
    except Exception as error:  # the network: whatever the hub's client, its transport or the system make of it
        what = f"no such folder, and the hub cannot be reached ({type(error).__name__})"
    raise ModelError(what, where=where, remedy=_OFFLINE)
