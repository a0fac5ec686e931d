"""One evaluation with every metric, of which the tests in this folder look at the numbers, figures and tables."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noiseflow.evaluate import Evaluation, evaluate
from noiseflow.fit import spec_for
from noiseflow.models import build

ISOS, CAMERAS = (100.0, 400.0), ("One", "One", "Two")
"""Frame g is of ISO g mod 2 and camera g mod 3: four cells, of two cameras."""


def noise_of(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise with something of everything: skewness, rows, columns, neighbours, planes; of a variance near 1."""
    noise = (rng.gamma(12.0, size=shape) - 12) / np.sqrt(12)
    noise += 0.15 * rng.normal(size=(*shape[:-1], 1)) + 0.1 * rng.normal(size=(*shape[:-2], 1, shape[-1]))
    noise[..., 1:] += 0.05 * noise[..., :-1]
    noise[:, 1] += 0.1 * noise[:, 0]
    return noise


@pytest.fixture(scope="session")
def whole(shared_workshop: Any) -> Evaluation:
    """Three models, 24 frames of 12 scenes, and all metrics, optional ones too."""
    shop = shared_workshop
    store = shop.store(
        noise=noise_of, groups=24, patches=240, isos=ISOS, cameras=CAMERAS, clean_variance=0.1, name="whole.h5"
    )
    rows = shop.with_rows(0.15)
    of = {"cameras": ("One", "Two"), "isos": ISOS}
    models = {
        "mine": shop.model(noise=rows, factor=1.05, **of),
        "nlf": build(spec_for(store, "nlf")).eval(),
        "codes": shop.model(noise=shop.skewed, step=1, **of),
    }
    return evaluate(models, store, metrics=["judges", "proper_scores", "legacy_kl"])
