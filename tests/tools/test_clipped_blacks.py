"""Figures of the study of clipped blacks, from numbers whose answer is known."""

import numpy as np
import pytest

from tools.studies.clipped_blacks import PARAMETERS, held, rounded, summary


def test_the_deviation_of_rounded_values_depends_on_their_level() -> None:
    """First harmonic of the sawtooth: σ² + 1/12 − (1/π² + 4σ²)·exp(−2π²σ²)·cos 2πμ."""
    for level in (4.0, 4.25, 4.5):
        turn = (1 / np.pi**2 + 4 * 0.5**2) * np.exp(-2 * np.pi**2 * 0.5**2) * np.cos(2 * np.pi * level)
        assert rounded(level, 0.5) ** 2 == pytest.approx(0.25 + 1 / 12 - turn, abs=1e-5)
    assert rounded(4.1, 2.0) == pytest.approx((4 + 1 / 12) ** 0.5, rel=1e-9)


def test_intervals_of_clipped_and_of_whole_darks_hold_their_own_read_noise() -> None:
    """Eight calibrations: K is known to 0.2 %, read noise to 1 and 0.3 %, of which four are allowed."""
    for black in (0.0, 4.0):
        found = held(10, black, 1.0, trials=8)
        assert found["K"] == pytest.approx(0, abs=0.8)
        assert found["read noise"] == pytest.approx(0, abs=4 * (1.0 if black == 0 else 0.3))
        assert all(found[f"{name} held"] >= 50 for name in PARAMETERS)


def test_a_row_has_the_farthest_mean_and_the_least_of_what_is_held() -> None:
    def cell(departure: float, share: float) -> dict[str, float]:
        found = {f"{name} held": share for name in PARAMETERS}
        return found | dict.fromkeys(PARAMETERS, departure) | {f"± {name}": 0.1 for name in PARAMETERS}

    rows = summary({(8, 0.0, 0.5): cell(-0.3, 96.0), (8, 0.0, 2.0): cell(0.2, 93.0), (10, 0.0, 2.0): cell(0.2, 95.0)})
    assert rows[0] == ["8", "0", *["-0.300 ± 0.100"] * 3, *["94.5 (93.0)"] * 3]
    assert [row[0] for row in rows] == ["8", "10"]
