"""Converters of unlike gain for every second line are said; other lines are not doubted."""

import re

import numpy as np
import pytest
from static_burst import CONTRAST, SHAPE, Frame, X, Y, exposed, plain, relative

from noiseflow.fit.residue.interleaved_gains import interleaved_gains


@pytest.mark.parametrize(("at", "name"), [(X, "column"), (Y, "row")])
@pytest.mark.parametrize("size", [8, 16])
def test_every_second_line_of_another_gain_is_said(at: np.ndarray, name: str, size: int) -> None:
    """K was 0.86 for 0.8."""
    factor = np.where(at // 2 % 2, 1.15, 1.0)
    (words,) = interleaved_gains(relative(lambda number, rng: factor * plain(number, rng), 6, size=size))
    said = re.match(rf"K is ([\d.]+) to ([\d.]+) times as large in every second {name} of a plane", words)
    assert said is not None
    assert float(said[1]) - 0.02 < 1.15 < float(said[2])


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("kind", ["plain", "stripes", "read noise", "offsets"])
def test_lines_of_one_gain_are_not_doubted(kind: str, count: int) -> None:
    """Seven standard errors; unlike read noise of lines is no gain."""
    frames: dict[str, Frame] = {
        "plain": plain,
        "stripes": lambda number, rng: exposed(200 + 20.0 * (X // 4 % 2), rng),
        "read noise": lambda number, rng: plain(number, rng) + 2 * (X // 2 % 2) * rng.normal(size=SHAPE),
        "offsets": lambda number, rng: plain(number, rng) + 5 * (X // 2 % 2) + 0 * CONTRAST,
    }
    for seed in range(3):
        assert list(interleaved_gains(relative(frames[kind], count, seed))) == []
