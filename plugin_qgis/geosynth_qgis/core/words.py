"""Text for people, translated. The core knows no Qt: the plugin hands the translator over."""

from __future__ import annotations

from collections.abc import Callable

_translate: Callable[[str], str] = str


def tr(text: str) -> str:
    """The text in the user's language; format it afterwards: ``tr("{count} tiles").format(count=3)``."""
    return _translate(text)


def set_translator(translate: Callable[[str], str]) -> None:
    """From now on texts go through this function."""
    global _translate  # noqa: PLW0603 - one language a process
    _translate = translate
