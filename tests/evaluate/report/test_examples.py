"""Colours of the examples in a report."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from noiseflow.evaluate.examples import preview
from noiseflow.evaluate.metric import DATA

COLOURS = torch.tensor([0.05, 0.2, 0.2, 0.4])


def shown(clean: Tensor, noise: dict[str, Tensor], variance: float = 0.0) -> dict[str, Any]:
    batch: Any = SimpleNamespace(
        clean=clean[None], noise={name: each[None] for name, each in noise.items()}, clean_variance=[variance]
    )
    return preview(batch, 0)


def srgb(linear: float) -> int:
    """The curve of IEC 61966-2-1."""
    return round(255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("light", [0.1, 1.0])
def test_the_mean_of_a_patch_is_grey_at_four_fifths_of_the_range(light: float) -> None:
    """However bright and of whatever colour it is; noise is shown at the same balance and exposure."""
    clean = light * COLOURS[:, None, None].expand(4, 6, 6)
    found = shown(clean, {DATA: -0.5 * clean, "dark": -clean, "bright": clean})
    for name, part in (("clean", 1.0), (DATA, 0.5), ("dark", 0.0), ("bright", 2.0)):
        assert {pixel for row in found[name] for pixel in row} == {(srgb(min(0.8 * part, 1.0)),) * 3}


def test_green_is_the_mean_of_both_greens() -> None:
    clean = COLOURS[:, None, None].expand(4, 6, 6)
    change = torch.zeros(4, 6, 6)
    change[1] = -0.1
    assert {pixel for row in shown(clean, {"m": change})["m"] for pixel in row} == {(srgb(0.8), srgb(0.6), srgb(0.8))}


def test_real_noise_has_its_own_spread_again() -> None:
    """Noise over an estimated clean signal is stored divided by √(1 + v), samples are not."""
    clean = COLOURS[:, None, None].expand(4, 6, 6)
    found = shown(clean, {DATA: -0.25 * clean, "m": -0.25 * clean}, variance=3.0)
    assert (found[DATA][0][0][0], found["m"][0][0][0]) == (srgb(0.4), srgb(0.6))


@pytest.mark.parametrize("linear", [0.001, 0.003, 0.0032, 0.01, 0.5])
def test_the_curve_is_that_of_srgb(linear: float) -> None:
    """One pixel in three hundred is dark, so that the exposure is that of the others."""
    clean = torch.full((4, 18, 18), 0.5)
    clean[:, 0, 0] = 0.5 * linear / 0.8
    assert shown(clean, {})["clean"][0][0] == (srgb(linear),) * 3
