from pathlib import Path

import numpy as np
import pytest
from builders import gaussian_store

from noiseflow.fit.batches import gather


def test_sums_are_those_of_numpy(tmp_path: Path) -> None:
    with gaussian_store(tmp_path / "s.h5", patches=200, isos=(400.0, 1600.0), cameras=("One", "Two", "Three")) as store:
        cells = gather(store, store.indices("train"))
        batch = store.read(store.indices("train"))
    for camera in range(3):
        for index, iso in enumerate((400.0, 1600.0)):
            rows = (batch.camera == camera) & (batch.iso == iso)
            noise, clean = batch.noise[rows].double().numpy(), batch.clean[rows].double().numpy()
            some = cells.of(camera, index)
            assert float(some.count.sum()) == noise.size
            if noise.size:
                assert float((some.count * some.square).sum()) == pytest.approx(np.square(noise).sum(), rel=1e-6)
                assert float((some.count * some.mean).sum()) == pytest.approx(noise.sum(), rel=1e-5, abs=1e-5)
                assert float((some.count * some.clean).sum()) == pytest.approx(clean.sum(), rel=1e-6)
