"""Orders of an epoch: each row once, or by weights that give every ISO and camera the same share."""

import numpy as np
import pytest

from noiseflow.core.errors import DataError
from noiseflow.patches.store.sampling_order import balanced, epoch_order

TABLE = np.zeros(6, [("iso", float), ("camera", int)])
TABLE["iso"], TABLE["camera"] = [100, 400, 400, 400, 800, 800], [0, 0, 0, 0, 0, 1]


def test_a_row_counts_as_much_as_there_are_few_like_it() -> None:
    assert balanced(TABLE, "iso").tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    assert balanced(TABLE, "camera").tolist() == pytest.approx([1 / 5] * 5 + [1])
    with pytest.raises(DataError, match="balance 'scene': expected one of iso, camera"):
        balanced(TABLE, "scene")


def test_draws_are_in_proportion_and_an_order_without_weights_has_each_row_once() -> None:
    """Of 6,000 draws a third is known to 37; five of these are allowed."""
    rows = np.arange(10, 16)
    assert sorted(epoch_order(rows, 3, 1)) == rows.tolist()
    assert epoch_order(rows, 3, 1).tolist() == epoch_order(rows, 3, 1).tolist()
    drawn = np.concatenate([epoch_order(rows, 3, epoch, balanced(TABLE, "iso")) for epoch in range(1000)])
    counts = np.bincount(drawn - 10)
    assert (counts[0], counts[1:4].sum(), counts[4:].sum()) == pytest.approx((2000, 2000, 2000), abs=185)
