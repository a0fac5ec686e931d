"""What every presenter says of its metric's method."""

import pytest

from noiseflow.evaluate.metrics.registry import METRICS, OPTIONAL
from noiseflow.evaluate.presentation.present import presenter_of


@pytest.mark.parametrize("name", [*METRICS, *OPTIONAL])
def test_a_method_holds_no_name_that_was_not_filled_in(name: str) -> None:
    presenter = presenter_of(name)
    assert presenter.title
    assert presenter.method
    assert "{" not in presenter.title + presenter.method
