"""The arms of an experiment: what each one learns from. Which there are is a table, ``RECIPES``.

A recipe says what an arm is made of, an arm says of which tilesets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from geosynth.errors import GeosynthError

REAL = "real"
"""Name of the arm the others are compared with."""

Source = Literal["none", "own", "synthetic", "filtered", "pseudo", "answers"]
"""Where the tiles beside the real ones come from.

none: there are none. own: the real tiles once more. synthetic: synthetic tiles as they are. filtered: those, doubtful
pixels made unknown by the segmenter that the reference arm trained with the same seeds. pseudo: real tiles without
labels, labelled by that segmenter. answers: nothing is trained; a generator says which mask goes with a test image.
"""

NEEDS_TEACHER: frozenset[Source] = frozenset({"filtered", "pseudo"})
NEEDS_SYNTHETIC: frozenset[Source] = frozenset({"synthetic", "filtered"})

Training = tuple[tuple[str, str | float | bool], ...]
"""Fields of ``SegmenterPlan`` that an arm sets differently, and their values."""


@dataclass(frozen=True)
class Recipe:
    """One kind of arm: the ``word`` it is asked for by, and ``title``, the pattern of its name.

    ``ratio`` is added pairs per labelled real one, None for all there are. ``default``: it is run unless others are
    asked for. ``curve``: it is run once for every ratio that is asked for.
    """

    word: str
    title: str
    source: Source = "none"
    ratio: float | None = None
    real: bool = True
    training: Training = ()
    default: bool = True
    curve: bool = False


RECIPES = (
    Recipe("real", REAL),
    Recipe("mixed", "real + {name}, R={ratio:g}", "synthetic", 1.0, curve=True),
    Recipe("synthetic", "{name}", "synthetic", real=False),
    Recipe("duplicated", "real twice", "own", 1.0),
    Recipe("cutmix", "real, CutMix", training=(("cutmix", 0.5),)),
    Recipe("filtered", "real + filtered {name}, R={ratio:g}", "filtered", 1.0),
    Recipe("filtered3", "real + filtered {name}, R={ratio:g}", "filtered", 3.0),
    Recipe("copypaste", "real, Copy-Paste", training=(("copy_paste", 0.5),), default=False),
    Recipe("pretrained", "pretrained on {name}, then real", "synthetic", training=(("pretrain", 0.5),), default=False),
    Recipe("selftraining", "real + self-training", "pseudo", default=False),
    Recipe("answers", "{name} itself", "answers", real=False, default=False),
)
"""Every kind of arm there is. ``mixed`` at its own ratio is the headline: it answers what most people ask."""

HEADLINE = "mixed"


@dataclass(frozen=True)
class Arm:
    """One mixture of training tiles: ``real`` ones or not, and tiles from a ``source``.

    ``synthetic`` are tilesets of one name from differently seeded generators (``answers``: the generators); a run
    takes one of them. ``ratio`` is added pairs per labelled real training pair; None takes all there are. ``training``
    are fields of the segmenter's plan that differ. ``optional``: left out, and said so, where there are too few tiles.
    """

    name: str
    synthetic: tuple[Path, ...] = ()
    ratio: float | None = None
    real: bool = True
    source: Source = "none"
    training: Training = ()
    label: str = ""
    word: str = ""
    optional: bool = False


def arm_of(recipe: Recipe, label: str, paths: Sequence[Path], ratio: float | None, *, optional: bool = False) -> Arm:
    """The arm of a recipe with the tilesets (or generators) called ``label``, at ``ratio``."""
    uses = recipe.source in NEEDS_SYNTHETIC or recipe.source == "answers"
    return Arm(
        recipe.title.format(name=label, ratio=ratio),
        tuple(paths) if uses else (),
        ratio,
        recipe.real,
        recipe.source,
        recipe.training,
        label if uses else "",
        recipe.word,
        optional,
    )


Folders = Mapping[str, str | PathLike[str] | Sequence[str | PathLike[str]]]
"""Tilesets (or generators) by name: one, or several from differently seeded generators."""


def choose_arms(
    synthetic: Folders,
    words: Sequence[str] = ("default",),
    ratios: Sequence[float] = (),
    generators: Folders | None = None,
) -> tuple[Arm, ...]:
    """The arms that ``words`` ask for.

    Args:
        synthetic: synthetic tilesets by name.
        words: words of ``RECIPES``, "default" or "all"; what these two bring is left out where there are too few
            tiles for it.
        ratios: the mixture of real and synthetic tiles is run at each of these; none: at ratio 1.
        generators: generators whose own answers are an arm, by name.

    Returns:
        Arms in the order of ``RECIPES``, real tiles alone first; each once.

    Raises:
        GeosynthError: no such word, or nothing is given that it could use.
    """
    known = {recipe.word for recipe in RECIPES}
    for word in words:
        if word not in known | {"default", "all"}:
            raise GeosynthError(f"no arm '{word}'", remedy=f"give default, all or some of: {', '.join(sorted(known))}")
    models = _paths(generators or {})
    tilesets = _paths(synthetic)
    asked = [recipe for recipe in RECIPES if _is_asked(recipe, words, bool(models))]
    arms: list[Arm] = []
    for recipe in asked:
        given = models if recipe.source == "answers" else tilesets
        named = recipe.source in NEEDS_SYNTHETIC or recipe.source == "answers"
        if named and not given:
            if recipe.word in words:
                wanted = "--generator NAME=MODEL" if recipe.source == "answers" else "--arm NAME=TILES"
                raise GeosynthError(f"arm '{recipe.word}' has nothing to use", remedy=f"give {wanted}")
            continue
        levels = tuple(ratios) if recipe.curve and ratios else (recipe.ratio,)
        optional = recipe.word not in ("real", *words) and not (recipe.curve and ratios)
        for name, paths in given.items() if named else (("", ()),):
            arms += [arm_of(recipe, name, paths, ratio, optional=optional) for ratio in levels]
    return tuple(dict.fromkeys(arms))


def _is_asked(recipe: Recipe, words: Sequence[str], models: bool) -> bool:
    return (
        recipe.word in (*words, "real")  # the others are compared with it
        or "all" in words
        or ("default" in words and recipe.default)
        or (recipe.source == "answers" and models)
    )


def _paths(folders: Folders) -> dict[str, tuple[Path, ...]]:
    return {
        name: (Path(given),) if isinstance(given, (str, PathLike)) else tuple(Path(path) for path in given)
        for name, given in folders.items()
    }


def standard_arms(synthetic: Folders, ratio: float | None = None) -> tuple[Arm, ...]:
    """The three arms of a short comparison: real only; for each name the synthetic tiles alone, and both.

    ``ratio`` is that of both together; None takes all synthetic tiles there are.
    """
    arms = [Arm(REAL, word="real")]
    for name, paths in _paths(synthetic).items():
        both = f"{REAL} + {name}"
        arms += [
            Arm(name, paths, None, real=False, source="synthetic", label=name, word="synthetic"),
            Arm(both, paths, ratio, source="synthetic", label=name, word=HEADLINE),
        ]
    return tuple(arms)


def reference_arm(arms: Sequence[Arm]) -> Arm | None:
    """The arm the others are compared with: the first that learns from real tiles only, each once."""
    return next((arm for arm in arms if arm.real and arm.source == "none" and not arm.training), None)


def headline_arm(arms: Sequence[Arm]) -> Arm | None:
    """The arm whose difference to the reference is asked for first: real and synthetic tiles, the nearest to R=1."""
    mixed = [arm for arm in arms if arm.real and arm.source == "synthetic" and not arm.training]
    return min(mixed, key=lambda arm: abs((arm.ratio or 1.0) - 1.0), default=None)


def slug(name: str) -> str:
    """An arm's name as part of a file name: letters, digits, points and hyphens, lower case."""
    return re.sub(r"[^\w.]+", "-", name.lower()).strip("-.")
