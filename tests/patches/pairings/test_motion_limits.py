"""Limits of the test of a static scene, from both sides, on residuals made for it."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from noiseflow.patches.pairings.frames.motion import Motion, Shift, find_motion


def judged(residuals: np.ndarray, flows: list[list[Shift]] | None = None) -> Motion:
    return find_motion(residuals, np.ones(residuals.shape[1:]), flows or [[] for _ in residuals])


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (8, 7), (7, 8), (8, 8)])
def test_what_a_line_of_eight_blocks_has_in_common_is_no_motion(rows: int, columns: int) -> None:
    """Of n frames the residuals have the variance 1 + π/2n; of the offset of one row an eighth of the blocks has it."""
    of_rows, of_columns = np.zeros((2, 3, 1, rows, columns))
    of_rows[0, 0, 2], of_columns[1, 0, :, 3] = 5.0, 4.0
    unit = 1 + np.pi / 6
    assert judged(of_rows).chi2 == pytest.approx(0.0 if columns > 7 else 25 / unit / (3 * rows))
    assert judged(of_columns).chi2 == pytest.approx(0.0 if rows > 7 else 16 / unit / (3 * columns))


@pytest.mark.parametrize("spread", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_a_block_moves_from_bonferroni_s_threshold_on(spread: float, factor: float) -> None:
    """1.25 of it, and of the residuals' robust spread up to twice that of white noise; of two frames half is left."""
    rng = np.random.default_rng(0)
    residuals = rng.choice([-1.0, 1.0], (2, 1, 7, 7)) * spread / 1.4826 * 0.5**0.5
    quantile = -NormalDist().inv_cdf(1e-3 / 2 / residuals.size)
    residuals[1, 0, 3, 4] = factor * 1.25 * quantile * min(spread, 2.0) * 0.5**0.5
    found = judged(residuals)
    assert found.part == (1 / 49 if factor > 1 else 0.0)
    assert int(found.blocks.sum()) == (9 if factor > 1 else 0)
    assert found.frames == ((1,) if factor > 1 else ())


@pytest.mark.parametrize(("moving", "whole"), [(12, False), (13, True)])
def test_a_frame_of_which_a_quarter_moves_moves_as_a_whole(moving: int, whole: bool) -> None:
    residuals = np.zeros((3, 1, 7, 7))
    residuals[2].reshape(-1)[:moving] = 100.0
    found = judged(residuals)
    assert found.whole == whole
    assert found.part == pytest.approx(moving / 49)


@pytest.mark.parametrize(
    ("chi2", "part", "counts"), [(1.02, 0.0102, True), (0.98, 0.5, False), (50.0, 0.0098, False), (50.0, 0.0102, True)]
)
def test_a_shift_counts_if_it_is_sure_and_explains_a_hundredth(chi2: float, part: float, counts: bool) -> None:
    """χ² with two degrees of freedom is below −2 log(chance): one in a thousand over all frames and planes."""
    sure = -2 * math.log(1e-3 / 4)
    flows = [[Shift(0.0, 0.0, 0.0), Shift(chi2 * sure, part, 0.3)], [Shift(0.0, 0.0, 0.0), Shift(0.0, 0.9, 0.2)]]
    found = judged(np.zeros((2, 2, 7, 7)), flows)
    assert found.shift == (0.3 if counts else 0.0)
    assert found.whole == counts
    assert found.frames == ((0,) if counts else ())
