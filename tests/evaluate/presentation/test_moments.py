"""Which quantiles of residuals are drawn."""

from typing import Any

import matplotlib.figure
import pytest

from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.moments import Tails
from noiseflow.evaluate.presentation.figures import pens_for
from noiseflow.evaluate.presentation.moments import TailsPresenter

LEVELS = (0.00999, 0.01, 0.02, 0.5, 0.98, 0.99, 0.99001)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [(1000, (-2.0, -1.0, 0.0, 1.0, 2.0)), (999, (-1.0, 0.0, 1.0)), (500, (-1.0, 0.0, 1.0)), (499, ())],
)
def test_quantiles_are_drawn_with_ten_values_or_more_beyond(
    values: int, drawn: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1,000 values ten are below their 1 % quantile; one quantile alone is no line."""
    kept: list[Any] = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: kept.append(figure))
    quantiles = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    score = Tails(values, {}, (), LEVELS, {DATA: quantiles, "mine": tuple(2 * each for each in quantiles)})
    assert len(TailsPresenter().plates(score, pens_for(DATA, ("mine",)))) == bool(drawn)
    if drawn:
        (line,) = (each for each in kept[0].axes[0].lines if each.get_label() == "mine")
        assert tuple(line.get_xdata()) == drawn
        assert tuple(line.get_ydata()) == tuple(2 * each for each in drawn)
