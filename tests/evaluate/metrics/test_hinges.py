"""The boundary of a discriminant that sees hinge functions."""

import numpy as np

from noiseflow.evaluate.metrics.two_sample import _bent, _discriminant, _hits


def test_with_hinges_the_boundary_is_half_way_between_the_means_of_all_that_is_seen() -> None:
    rng = np.random.default_rng(4)
    real, sampled = rng.normal(size=(60, 2)) ** 3, rng.normal(size=(60, 2))
    test = np.arange(60) % 3 == 0
    middle = (real[~test].mean(0) + sampled[~test].mean(0)) / 2
    scale = np.sqrt((real[~test].var(0) + sampled[~test].var(0)) / 2)
    one, other = ((each - middle) / scale for each in (real, sampled))
    one, other = (np.concatenate([each, _bent(each)], 1) for each in (one, other))
    direction, boundary = _discriminant(one[~test], other[~test], 0.1)
    expected = (one[test] @ direction > boundary) * 1.0 + (other[test] @ direction < boundary)
    assert _hits(real, sampled, ~test, test, True).tolist() == expected.tolist()
    # The boundary is not 0: a sign would show.
    assert abs(boundary) > 0.1
