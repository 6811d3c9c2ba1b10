"""What an experiment is asked before anything is written or trained: can it be run, and would it be fair?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from geosynth.devices import choose_device
from geosynth.diffusion.generator import load_generator
from geosynth.errors import GeosynthError, ModelError, TilesetError
from geosynth.evaluation.arms import NEEDS_TEACHER, Arm, reference_arm, slug
from geosynth.evaluation.experiment import ExperimentPlan, Fitting, Job, segmenter_plan
from geosynth.evaluation.fairness import Maker, allowed_subsets, check_leak, check_real, check_subsets, tileset_maker
from geosynth.events import Events
from geosynth.samples import TilesetDataModule, check_compatible
from geosynth.segmentation.networks import build_network
from geosynth.tileset import Tile, Tileset


def check(subsets: Sequence[Tileset], plan: ExperimentPlan, events: Events) -> Fitting:
    """Refuse what cannot be run or would be unfair, before anything is written or trained.

    Args:
        subsets: the real tileset, or several label subsets of it.
        plan: what is to be compared.
        events: warned of what cannot be ruled out.

    Returns:
        Which subsets each synthetic tileset or generator is for.

    Raises:
        GeosynthError: no arms, names or seeds used twice, or an arm with nothing to learn from.
        TilesetError: no labelled test or training tiles where something is to be trained, real tilesets that are not
            subsets of one place, or a synthetic tileset that does not fit.
        LeakError: the real tiles, or something behind an arm's synthetic ones, saw test ground; or more labels than
            any subset has, or there is nothing for one of the subsets. (A plan without seeds compares no scores; its
            report says so.)
    """
    _check_plan(subsets, plan)
    check_subsets(subsets)
    real = subsets[0]
    if plan.seeds and not real.select("test", labelled=True):
        raise TilesetError(
            "has no labelled tiles in split=test", where=real.path, remedy="tile again with a test part (--split)"
        )
    for subset in subsets if plan.seeds else ():
        check_real(subset)
    everywhere = tuple(range(len(subsets)))
    fitting: dict[Path, tuple[int, ...]] = {}
    for arm in {arm.synthetic: arm for arm in plan.arms}.values() if plan.seeds else ():
        _check_generators(arm, events)
    for arm in plan.arms:
        for subset in subsets:
            if plan.seeds and arm.real and not subset.select("train", labelled=True):
                raise TilesetError("has no labelled tiles in split=train", where=subset.path, remedy="label some tiles")
        for path in arm.synthetic:
            if path in fitting:
                continue
            maker, fitting[path] = _maker(path, arm, real), everywhere
            if plan.seeds:
                check_leak(real, maker, arm.label or arm.name, events)
                fitting[path] = allowed_subsets(subsets, maker, arm.label or arm.name)
        served = {number for path in arm.synthetic for number in fitting[path]}
        if arm.synthetic and len(served) < len(subsets):
            raise TilesetError(
                f"arm '{arm.label or arm.name}' has no tiles that were made with the labels of this subset alone",
                where=subsets[min(set(everywhere) - served)].path,
                remedy="train a generator on it, generate, and give these tiles as well: --arm NAME=TILES,TILES…",
            )
    return fitting


def _check_generators(arm: Arm, events: Events) -> None:
    """Warn where tilesets that count as several generators come from one: their spread says nothing of generators."""
    makers: dict[str, int] = {}
    for path in arm.synthetic:
        made = {str(path)} if arm.source == "answers" else {tile.generator for tile in Tileset(path).tiles} - {""}
        for maker in made:
            makers[maker] = makers.get(maker, 0) + 1
    most = max(makers.values(), default=0)
    if most > 1:
        events.warn(
            f"arm '{arm.label or arm.name}': {most} of its {len(arm.synthetic)} tilesets come from one generator; they"
            " show how much drawing matters, not how much the generator does"
        )


def _check_plan(subsets: Sequence[Tileset], plan: ExperimentPlan) -> None:
    """Raise GeosynthError for a plan that makes no sense, whatever the tiles."""
    slugs = [slug(arm.name) for arm in plan.arms]
    if not plan.arms:
        raise GeosynthError("an experiment needs at least one arm")
    if len(set(slugs)) < len(slugs) or len(set(plan.seeds)) < len(plan.seeds) or "" in slugs:
        raise GeosynthError("each arm needs a name of its own and each seed may be given once", remedy="rename an arm")
    if 0 < len(plan.seeds) < len(subsets):
        raise GeosynthError(
            f"{len(subsets)} label subsets, but {len(plan.seeds)} seeds", remedy=f"give --seeds {len(subsets)} or more"
        )
    if any(arm.source in NEEDS_TEACHER for arm in plan.arms) and reference_arm(plan.arms) is None:
        raise GeosynthError("filtering and self-training need the arm of real tiles only", remedy="add it")
    for arm in plan.arms:
        if not arm.real and not arm.synthetic:
            raise GeosynthError(f"arm '{arm.name}' has no tiles to learn from", remedy="give it synthetic tiles")


def _maker(path: Path, arm: Arm, real: Tileset) -> Maker:
    """What an arm's tiles come from; raises when it does not go with the real tileset."""
    if arm.source == "answers":
        generator = load_generator(path)
        mine, theirs = real.spec, generator.spec
        if [(b.name, b.dtype) for b in mine.bands] != [(b.name, b.dtype) for b in theirs.bands]:
            misfit = "bands"
        elif [(c.id, c.name) for c in mine.legend.classes] != [(c.id, c.name) for c in theirs.legend.classes]:
            misfit = "classes"
        else:
            misfit = "tile size" if mine.tile_size != theirs.tile_size else ""
        if misfit:
            raise ModelError(
                f"makes other {misfit} than {real.path} has", where=path, remedy="train a generator on these tiles"
            )
        if not generator.pipeline.two_levels:
            raise ModelError(
                "makes new pairs only, no masks for images", where=path, remedy="train one with the default recipe"
            )
        return Maker(path, generator.lineage, not generator.lineage.seen)
    synthetic = Tileset(path)
    check_compatible(real, synthetic)
    return tileset_maker(synthetic)


def check_training(planned: Iterable[Job], plan: ExperimentPlan, device: str = "auto") -> dict[str, str]:
    """Refuse arms that could not be trained, so that the last one does not fail after hours.

    Returns:
        Why arms that are ``optional`` must be left out, by name.

    Raises:
        ModelError: a number of the plan is out of range; no such network or device.
        TilesetError: an arm has too few tiles for its ratio.
    """
    choose_device(device)
    tilesets: dict[Path, Tileset] = {}
    checked = set[tuple[str, Path, Path | None]]()
    missing: dict[str, str] = {}
    for job in planned:
        arm, key = job.arm, (job.arm.name, job.real, job.synthetic)
        if arm.name in missing or key in checked or arm.source == "answers":
            continue
        checked.add(key)
        for path in (job.real, job.synthetic):
            if path is not None and path not in tilesets:
                tilesets[path] = Tileset(path)
        real, added = tilesets[job.real], [] if job.synthetic is None else [tilesets[job.synthetic]]
        settings = segmenter_plan(plan, arm, job.seeds)
        if len(checked) == 1:
            build_network(plan.architecture, plan.encoder, len(real.spec.bands), len(real.spec.legend))
        try:
            _check_source(arm, real)
            TilesetDataModule(real, added, ratio=settings.ratio, real=arm.real, pretrain=settings.pretrain)
        except TilesetError as error:
            if not arm.optional:
                raise
            missing[arm.name] = error.what
    return missing


def _check_source(arm: Arm, real: Tileset) -> None:
    """Raise TilesetError where a real tileset lacks what the source of an arm's tiles needs."""
    if arm.source == "pseudo" and not unlabelled(real):
        raise TilesetError(
            "has no unlabelled training tiles for self-training",
            where=real.path,
            remedy="tile scenes without labels, too, or leave the arm out",
        )
    if arm.source == "filtered" and not real.select("val", labelled=True):
        raise TilesetError(
            "has no labelled tiles in split=val, which say what losses are normal",
            where=real.path,
            remedy="tile with a val part, or leave the filtered arms out",
        )


def unlabelled(real: Tileset) -> list[Tile]:
    """Training tiles with a real image and no known pixel."""
    return [tile for tile in real.select("train", labelled=False) if tile.image_origin == "real"]
