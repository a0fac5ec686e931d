"""The best linear prediction from neighbours, where its weights are known."""

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from noiseflow.flows.camera.neighbour_filter import TAPS, _yule_walker


@pytest.mark.parametrize(("rows", "down"), [(1, 0.0), (2, 0.0), (512, 0.4)])
def test_the_weights_of_a_first_order_process_along_rows_and_columns(rows: int, down: float) -> None:
    """(1 − a·right)(1 − b·down) x = white noise: weights a and b, −ab on the diagonal, and 0 elsewhere.

    Of 2¹⁸ pixels a correlation is known to 0.002 (of a pair of rows the one between them): 5 of these.
    """
    across = 0.6
    white = np.random.default_rng(0).normal(size=(rows, 2**18 // rows + 100))
    picture = lfilter([1], [1, -down], lfilter([1], [1, -across], white, axis=1), axis=0)[:, 100:]
    weights, sigma = _yule_walker(torch.from_numpy(picture)[None, None])
    expected = {(0, -1): across, (-1, 0): down, (-1, -1): -across * down}
    assert weights.tolist() == pytest.approx([expected.get(tap, 0.0) for tap in TAPS], abs=0.01)
    assert float(sigma) == pytest.approx(1, abs=0.01)
