"""What every presenter says of its metric's method."""

import pytest

from noiseflow.evaluate.metrics.registry import LEGACY, METRICS
from noiseflow.evaluate.presentation.present import PRESENTERS


@pytest.mark.parametrize("name", [*METRICS, *LEGACY])
def test_a_method_holds_no_name_that_was_not_filled_in(name: str) -> None:
    presenter = PRESENTERS[name]
    assert presenter.title
    assert presenter.method
    assert "{" not in presenter.title + presenter.method
