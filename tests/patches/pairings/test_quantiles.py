"""Quantiles against those of scipy, and that a burst does not import scipy for them."""

import subprocess
import sys
from pathlib import Path

import pytest
from builders import frame
from burst_of_steps import exposures
from scipy import stats

from noiseflow.patches.pairings.frames.blocks import chi2_upper, f_upper
from noiseflow.raw.formats.dng import write_dng

CHANCES = [0.5, 0.1, 1e-3, 1e-6, 1e-10, 1e-14]
FREE = [1, 2, 3, 4, 7, 20, 99, 1000, 65535]


@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("free", FREE)
def test_chi2(free: int, chance: float) -> None:
    assert chi2_upper(free, chance) == pytest.approx(stats.chi2.isf(chance, free), rel=1e-10)


@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize(("above", "below"), [*((free, 8 * free) for free in FREE), (40, 3), (5, 10_000)])
def test_f(above: int, below: int, chance: float) -> None:
    # scipy's isf of F is found in its sf, of which it is the inverse to 1e-8 only.
    assert stats.f.sf(f_upper(above, below, chance), above, below) == pytest.approx(chance, rel=1e-8)


def test_a_burst_is_ingested_without_scipy_special(tmp_path: Path) -> None:
    """Its import takes 0.11 s, a fifth of an ingest of small frames."""
    (tmp_path / "burst").mkdir()
    for number, codes in enumerate(exposures()):
        write_dng(tmp_path / "burst" / f"{number}.dng", frame(codes))
    code = (
        "import sys; from noiseflow.patches import IngestOptions, ingest; "
        f"ingest([{str(tmp_path / 'burst')!r}], {str(tmp_path / 'p.h5')!r}, IngestOptions(patch_size=16), jobs=1); "
        "print('scipy.special' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
