"""When dark codes are taken for censored at 0."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from noiseflow.calibrate.measured import Dark, Take
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


def test_a_series_has_no_spatial_stack_and_no_unknown_time_unless_nothing_else_is_there() -> None:
    timed, spatial, unknown = (
        SimpleNamespace(spatial=spatial, timed=timed)
        for spatial, timed in ((False, True), (True, True), (False, False))
    )

    def series(*darks: Any) -> list[Any]:
        take: Any = Take(100.0, "Y", 0, [], [], None)  # type: ignore[arg-type]
        vars(take)["darks"] = list(darks)
        return list(take.dark_series)

    assert series(spatial, timed, unknown) == [timed]
    assert series(spatial, unknown) == [unknown]
    assert series(spatial) == [spatial]
