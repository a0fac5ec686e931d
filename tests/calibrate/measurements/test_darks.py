"""When dark codes are taken for censored at 0."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from noiseflow.calibrate.measured import Dark
from noiseflow.calibrate.stack import StackSums


@pytest.mark.parametrize(("zeros", "censored"), [(3, False), (4, True), (40, True)])
def test_from_a_thousandth_of_the_codes_at_zero_on(zeros: int, censored: bool) -> None:
    """Of 4,000; the level is then that of the analogue value, below the mean of the codes."""
    rng = np.random.default_rng(0)
    sums = StackSums((40, 50), 1000.0)
    for number in range(2):
        frame = np.clip(np.rint(rng.normal(30, 5, (40, 50))), 1, None).astype(np.uint16)
        frame.ravel()[: (zeros + number) // 2] = 0
        sums.add(frame)
    group: Any = SimpleNamespace(exposure_s=0.01, spatial=False, timed=True)
    found = Dark.of(group, sums.finish())
    assert found.stack.at_black == zeros / 4000
    assert (found.censored is not None) is censored
