import pytest

from geosynth.errors import ModelError
from geosynth.pretrained.prompts import TEMPLATE, Prompting

NAMES = ("building", "storage_tank", "water")


def test_a_prompt_says_what_there_is() -> None:
    prompting = Prompting(TEMPLATE, "desert town", NAMES, 0.3)
    assert prompting.prompt("label", (0.41, 0.0, 0.59)) == (
        "satellite imagery, remote sensing, segmentation map, water 60%, building 40%, 0.3 m per pixel, desert town"
    )
    assert "storage tank below 5%" in prompting.prompt("label", (0.2, 0.01, 0.79))
    assert "0.6 m per pixel" in prompting.prompt("image", (1, 0, 0), scale=2)


def test_what_is_empty_goes() -> None:
    prompting = Prompting(TEMPLATE, "", NAMES, None)
    assert prompting.prompt("image", (0, 0, 0)) == "satellite imagery, remote sensing, aerial photograph, scale 1"


@pytest.mark.parametrize(
    ("template", "what"), [("a {town}", "field {town}"), ("a {kind", "cannot be read"), ("{style:d}", "be filled")]
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        Prompting(template, "", NAMES, None)
