"""K and σ of the plain files of the same codes."""

import numpy as np
import pytest
from builders import frame
from burst_of_steps import BLACK, GAIN, READ, SIGNAL, exposures, measured

from noiseflow.raw.formats.dng import write_dng


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """K and σ of plain DNGs; the black level of each pixel is the same there."""
    found = {}
    for pairing in ("burst", "gt"):
        folder = tmp_path_factory.mktemp(pairing) / "in"
        folder.mkdir()
        for number, codes in enumerate(exposures()):
            write_dng(folder / f"a_noisy_{number}.dng", frame(codes))
        if pairing == "gt":
            write_dng(folder / "a_gt.dng", frame(np.rint(BLACK + SIGNAL).astype(np.uint16)))
        found[pairing] = measured(folder, pairing=pairing)
        # Five standard errors of the fit to these 150,000 pixels.
        assert found[pairing] == (pytest.approx(GAIN, rel=0.027), pytest.approx(READ, rel=0.043))
    return found
