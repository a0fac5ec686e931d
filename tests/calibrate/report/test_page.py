"""The page of a calibration: numbers of the summary."""

import pytest

from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.report.page import _short


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [(3.2e-6, 0.0, "3.2e-06"), (0.25, 0.0, "0.25"), (3.21234, 0.012, "3.212"), (51234.5, 20.0, "51,234")],
)
def test_a_value_without_an_error_has_four_digits(value: float, error: float, shown: str) -> None:
    """It had four decimals: 3.2e-6 was 0.0000."""
    assert _short(from_error(value, error, "DN")) == shown
