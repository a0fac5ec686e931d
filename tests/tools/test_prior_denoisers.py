"""The study of denoisers on sampled cameras trains and tries them on the same noise."""

import numpy as np
import pytest
import torch

from noiseflow.augment.denoise.training.cameras import add_noise
from noiseflow.calibrate.prior.few_shot import shipped_prior
from noiseflow.simulate import load_camera
from tools.studies.cameras.denoisers import _exact, at_iso, compared, rows_of, rows_of_prior, shot

CAMERA, ISO = load_camera("Sony A7S2"), 1600.0


def test_noise_of_a_training_is_that_of_the_simulator() -> None:
    """Of 400,000 values the variances are known to 0.3 %, those of 800 means of rows to 5 %."""
    rows = rows_of(CAMERA)
    clean = torch.full((1, 4, 200, 500), 0.004)
    own = add_noise(clean, _exact(rows[rows[:, 0] == ISO]), torch.Generator().manual_seed(0), jitter=0.0)
    other = shot(clean, CAMERA, ISO, 0)
    for one, two in ((own.slope, other.slope), (own.offset, other.offset), (own.floor, other.floor)):
        assert float(one.mean()) == pytest.approx(float(two.mean()), rel=1e-3)
    one, two = ((crops.noisy - crops.clean).double() for crops in (own, other))
    assert float(one.var() / two.var()) == pytest.approx(1, abs=0.015)
    assert float((own.slope * 0.004 + own.offset).mean() / two.var()) == pytest.approx(1, abs=0.015)
    assert float(one.mean(3).var() / two.mean(3).var()) == pytest.approx(1, abs=0.25)


def test_cameras_of_the_prior_scatter_about_what_an_iso_says() -> None:
    """Of 60 cameras a mean is known to a seventh of their scatter."""
    prior = shipped_prior()
    rows = rows_of_prior(prior, 60, 0)
    slope, _ = at_iso(prior, rows[:, 0])
    off = np.log(rows[:, 1] * slope[:, 0, 0, 0].double().numpy())
    assert abs(off.mean()) < 3.5 * off.std() / 60**0.5
    assert 0.5 < off.std() < 2.5


def test_an_interval_is_that_of_pairs() -> None:
    picture = np.array([30.0, 40.0, 50.0])
    assert compared(picture + 0.1, picture) == pytest.approx((0.1, 0.1, 0.1))
    found = compared(picture + np.array([0.1, 0.2, 0.3]), picture)
    assert found == pytest.approx((0.2, 0.2 - 4.303 * 0.1 / 3**0.5, 0.2 + 4.303 * 0.1 / 3**0.5), abs=1e-3)
