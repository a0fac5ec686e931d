"""The zoo's cameras have the covariances that they are judged by, and its figures see a planted fault."""

import numpy as np
import pytest
from click.testing import CliRunner

from tools.studies.zoo.__main__ import ZOO, main
from tools.studies.zoo.frames import Pair
from tools.studies.zoo.measures import deviations
from tools.studies.zoo.truth import COVARIANCES

SIDE, MARGIN, DRAWS = 16, 8, 600


@pytest.mark.parametrize("name", COVARIANCES)
def test_a_camera_has_the_covariance_that_is_called_true(name: str) -> None:
    """Of 600 crops a variance is known to 6 %: of all, of means of rows, of columns and of crops; four of these."""
    frames, rng = ZOO[name][0], np.random.default_rng(5)
    crop = slice(MARGIN, MARGIN + SIDE)
    for light in (1, 6):
        wide = frames.signal(3, light)[: SIDE + 2 * MARGIN, : SIDE + 2 * MARGIN]
        noise = np.stack([(frames.shot(rng, "zoo", 100.0, wide) - wide)[crop, crop] for _ in range(DRAWS)])
        expected = COVARIANCES[name](wide[crop, crop]).reshape(SIDE, SIDE, SIDE, SIDE)
        assert (noise**2).mean() == pytest.approx(np.einsum("abab->", expected) / SIDE**2, rel=0.1)
        for axes, sums in (((2,), "abac->"), ((1,), "abcb->"), ((1, 2), "abcd->")):
            found = float((noise.sum(axes) ** 2).reshape(DRAWS, -1).sum(1).mean())
            assert found == pytest.approx(float(np.einsum(sums, expected)), rel=4 * 0.06)


def test_rows_that_are_too_strong_are_seen() -> None:
    rng = np.random.default_rng(6)

    def frame(rows: float) -> np.ndarray:
        return rng.standard_normal((64, 128)) + rows * rng.standard_normal((64, 1))

    pairs = [Pair("zoo", 100.0, 0.5, frame(0.3), frame(0.3), frame(0.35)) for _ in range(40)]
    found = next(iter(deviations(pairs).values()))
    rows = found["rows, full"]
    assert rows.value == pytest.approx((1 + 0.35**2 * 128) / (1 + 0.3**2 * 128) * 1.09 / 1.1225, abs=3 * rows.error)
    assert rows.value - 1 > 5 * rows.error
    assert abs(rows.floor - 1) < 5 * rows.error
    assert abs(found["ρ below"].value) < 5 * found["ρ below"].error


def test_a_camera_that_is_not_there_is_refused() -> None:
    result = CliRunner().invoke(main, ["page.md", "--camera", "none"])
    assert result.exit_code == 2
    assert "'none'" in result.output
