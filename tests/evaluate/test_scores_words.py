"""What every score says of its method."""

import pytest

from noiseflow.evaluate.metric import Score
from noiseflow.evaluate.metrics.registry import LEGACY, METRICS  # noqa: F401  (imported so that every score is known)


@pytest.mark.parametrize("score", Score.__subclasses__(), ids=lambda score: score.__name__)
def test_a_method_holds_no_name_that_was_not_filled_in(score: type[Score]) -> None:
    assert score.title
    assert score.method
    assert "{" not in score.title + score.method
