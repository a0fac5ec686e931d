"""A gain per value, by patches held out: weighted by their numbers of values, with its error from their spread."""

import math

import pytest
import torch

from noiseflow.models.flow.starts.telegraph import HELD_OUT, _mean_and_error


def test_the_mean_is_over_values_and_the_error_of_independent_patches() -> None:
    patch = torch.tensor([0, 0, 0, 2, 2, 3, 5, 5, 5, 5])
    gain = torch.tensor([1.0, 2, 3, -1, 0, 4, 0.5, 0.5, 1, 2], dtype=torch.float64)
    mean, error = _mean_and_error(gain, patch)
    expected = float(gain.mean())
    assert mean == pytest.approx(expected)
    # Patches 1 and 4 have no value, and no part.
    rest = [6 - 3 * expected, -1 - 2 * expected, 4 - expected, 4 - 4 * expected]
    assert error == pytest.approx(math.sqrt(sum(each**2 for each in rest)) / 10)


@pytest.mark.parametrize(("patches", "known"), [(HELD_OUT, True), (HELD_OUT - 1, False)])
def test_fewer_than_four_patches_tell_nothing(patches: int, known: bool) -> None:
    mean, error = _mean_and_error(torch.ones(patches, dtype=torch.float64), torch.arange(patches))
    assert (mean, math.isfinite(error)) == ((1.0, True) if known else (0.0, False))
