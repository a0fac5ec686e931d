"""Notes on the limits of the data, at the numbers where they begin; names of models; copies with other names."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from noiseflow.evaluate.baselines import named
from noiseflow.evaluate.presentation.formatting import renamed
from noiseflow.evaluate.presentation.present import FEW_GROUPS, MOST_CLIPPED, notes


def said(**changed: Any) -> list[str]:
    """Notes on data of two ISOs and enough scenes, changed."""
    cells = [SimpleNamespace(iso=iso) for iso in changed.pop("isos", (100.0, 200.0))]
    without = changed.pop("without", {})
    survey = {"cells": cells, "clipped": 0.0, "still": 0, "groups": 20, "group_is": "scene", **changed}
    setup: Any = SimpleNamespace(survey=SimpleNamespace(**survey), without_density=without)
    return list(notes(setup))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"groups": FEW_GROUPS}, ""),
        ({"groups": FEW_GROUPS - 1}, "only 4 scenes"),
        ({"clipped": 0.99 * MOST_CLIPPED}, ""),
        ({"clipped": 1.01 * MOST_CLIPPED}, "0.1 % of the pixels are clipped"),
        ({"still": 1}, "contains 1 patch without any noise"),
        ({"isos": (100.0, 100.0)}, "All of the data is at ISO 100"),
        ({"without": {"m": "samples only"}}, "m has no likelihood: “samples only”."),
    ],
)
def test_limits_are_said_from_their_number_on(changed: dict[str, Any], words: str) -> None:
    found = said(**changed)
    assert len(found) == bool(words)
    assert words in " ".join(found)


def test_five_scenes_are_enough_for_an_interval() -> None:
    """Student's t of 4 degrees is 2.8, of 3 degrees 3.2 and of 1 degree 12.7."""
    assert FEW_GROUPS == 5


def test_models_that_share_a_name_have_that_of_their_folder_too() -> None:
    models = [(Path(f"/runs/{run}"), SimpleNamespace(spec=SimpleNamespace(model=name))) for run, name in
              (("a", "nlf"), ("b", "glow"), ("c", "nlf"))]  # fmt: skip
    found = named(models)  # type: ignore[arg-type]
    assert {name: model.spec.model for name, model in found.items()} == {
        "nlf (a)": "nlf",
        "glow": "glow",
        "nlf (c)": "nlf",
    }


@dataclass(frozen=True)
class Held:
    """A name beside what is none."""

    name: str
    number: int
    more: Any


def test_names_are_replaced_wherever_they_are_and_nothing_else_is() -> None:
    value = Held("a", 3, ({"a": None, "b": Held("of a and b", 0, float)}, ["a"], 2.5))
    found = renamed(value, {"a": "x", "b": "y"})
    assert found == Held("x", 3, ({"x": None, "y": Held("of x xnd y", 0, float)}, ["a"], 2.5))
    assert renamed(value, {}) is value
