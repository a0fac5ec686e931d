"""Models, stores, profiles and runs of this and earlier versions give the numbers that they gave when written.

A change that breaks one of these belongs into the changelog; `tests/project/golden/README.md` says how files are added.
"""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from noiseflow.models import MODELS, load
from noiseflow.patches.schema import READABLE
from tools.checks.golden import (
    MODELS_MADE,
    NUMBERS,
    Numbers,
    main,
    numbers_of_model,
    numbers_of_profile,
    numbers_of_store,
)

REGISTERED = frozenset(MODELS)
"""Before other tests register toys."""

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-6
"""Of a density or sample, relative to the largest of its kind: sums in another order are nearer than that."""


def off(found: Numbers, expected: Numbers) -> dict[str, float]:
    """Largest difference of each kind of number, relative to the largest number."""
    assert found.keys() == expected.keys()
    assert all(found[name].shape == expected[name].shape for name in found)
    return {name: _off(found[name].double(), value.double()) for name, value in expected.items()}


def _off(found: torch.Tensor, expected: torch.Tensor) -> float:
    # Intervals of what was published without an error are infinite.
    difference = torch.where(found == expected, 0.0, found - expected).abs().max()
    return float(difference / expected[expected.isfinite()].abs().max().clamp(min=1e-300))


def beyond(found: Numbers, expected: Numbers) -> dict[str, float]:
    return {name: error for name, error in off(found, expected).items() if not error <= TOLERANCE}


@pytest.mark.parametrize("folder", sorted([*HERE.glob("models/*"), *HERE.glob("runs/*")]), ids=lambda path: path.name)
def test_models_and_runs_give_the_numbers_that_they_gave(folder: Path) -> None:
    assert not beyond(numbers_of_model(load(folder)), load_file(folder / NUMBERS))


@pytest.mark.parametrize("path", sorted(HERE.glob("stores/*.h5")), ids=lambda path: path.stem)
def test_stores_of_every_schema_give_the_patches_that_they_gave(path: Path) -> None:
    assert not beyond(numbers_of_store(path), load_file(path.with_suffix(".safetensors")))


@pytest.mark.parametrize("path", sorted(HERE.glob("profiles/*.json")), ids=lambda path: path.stem)
def test_profiles_give_the_measurements_that_they_gave(path: Path) -> None:
    assert not beyond(numbers_of_profile(path), load_file(path.with_suffix(".safetensors")))


def test_every_model_and_schema_has_a_golden_file() -> None:
    assert set(MODELS_MADE) == REGISTERED == {path.name for path in HERE.glob("models/*")}
    assert {f"schema_{number}" for number in READABLE} == {path.stem for path in HERE.glob("stores/*.h5")}
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()) < 1_000_000


def test_stores_of_the_same_frames_are_the_same_in_every_schema() -> None:
    """Written by the versions of their time, of one pair with a clean twin and of one burst."""
    for same in ((2, 4, 6), (3, 5, 7)):
        *earlier, now = [load_file(HERE / "stores" / f"schema_{number}.safetensors") for number in same]
        for each in earlier:
            # Splits were drawn otherwise.
            assert not beyond({**each, "split": now["split"]}, now)


def test_a_weight_that_is_changed_by_a_thousandth_is_seen() -> None:
    model = load(HERE / "models" / "physics_flow")
    with torch.no_grad():
        next(model.parameters()).mul_(1.001)
    assert beyond(numbers_of_model(model), load_file(HERE / "models" / "physics_flow" / NUMBERS))


def test_what_stands_there_is_not_written_again(tmp_path: Path) -> None:
    words = [str(tmp_path), "--only", "nlf"]
    assert CliRunner().invoke(main, words).exit_code == 0
    (tmp_path / "models" / "nlf" / NUMBERS).write_bytes(b"kept")
    made = {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    assert CliRunner().invoke(main, words).exit_code == 0
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()} == made
