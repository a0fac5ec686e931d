"""Bad pixels in a stack change no fit: σ of the dark and K stay those of the clean camera."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import write_dng

from noiseflow.fit.fit_model import FitSettings, fit, spec_for
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw.image import RawImage

SIZE, BLACK, WHITE, GAIN, READ = (128, 192), 256, 4095, 1.0, 4.0
LEVELS = (0.0, 40.0, 300.0)
PLANTED = ("hot", "stuck", "telegraph")


def stack(folder: Path, part: float) -> Path:
    """A store of stacks of flat fields, some of the pixels bad: the same random numbers with and without them."""
    for scene, level in enumerate(LEVELS):
        rng = np.random.default_rng(scene)
        bad = np.random.default_rng(7).choice(SIZE[0] * SIZE[1], round(part * SIZE[0] * SIZE[1]), replace=False)
        hot, stuck, telegraph = np.array_split(bad, len(PLANTED))
        (folder / f"{scene}").mkdir(parents=True)
        for frame in range(10):
            values = BLACK + GAIN * rng.poisson(level / GAIN, SIZE) + rng.normal(0, READ, SIZE)
            flat, steps = values.ravel(), rng.random(len(telegraph))
            flat[hot] += 500
            flat[stuck] = 1500
            flat[telegraph] += 8 * (steps < 0.5)
            codes = np.clip(np.rint(values), 0, WHITE).astype(np.uint16)
            image = RawImage(codes, "RGGB", (BLACK,) * 4, WHITE, iso=400, exposure_s=0.01, make="Test", model="Body")
            write_dng(folder / f"{scene}" / f"{frame:02}.dng", image)
    found = ingest([folder], folder.with_suffix(".h5"), IngestOptions(patch_size=32), jobs=1)
    assert (found.masked, found.clipped) == (0, 0)
    return found.path


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    root = tmp_path_factory.mktemp("planted")
    return {part: stack(root / f"bad_{round(100 * part)}", part) for part in (0.0, 0.01)}


def test_a_hundredth_of_bad_pixels_is_masked_even_side_by_side(stacks: dict[float, Path]) -> None:
    with PatchStore(stacks[0.01]) as store:
        observed = store.read(np.arange(len(store))).observed
        assert observed is not None
        # Two thirds of them: telegraph pixels are noise.  One in six has a bad pixel of another plane beside it.
        assert float((~observed).float().mean()) == pytest.approx(0.01 * 2 / 3, rel=0.03)


def measured(model: NoiseModel) -> tuple[float, float]:
    """σ of the dark, DN, and K, DN/e⁻, of what the model samples: the same random numbers for every model."""
    variances = []
    for level in (0.0, 300.0):
        clean = torch.full((32, 4, 64, 64), level / (WHITE - BLACK))
        with torch.no_grad():
            noise = model.sample(Conditions(clean, 400.0, 0).resolve(model.cameras), torch.Generator().manual_seed(0))
        variances.append(float(noise.double().var()) * (WHITE - BLACK) ** 2)
    return variances[0] ** 0.5, (variances[1] - variances[0]) / 300


@pytest.mark.parametrize("name", ["nlf", "physics_flow"])
def test_one_percent_of_bad_pixels_changes_no_parameter(name: str, stacks: dict[float, Path], tmp_path: Path) -> None:
    found = {}
    for part, path in stacks.items():
        with PatchStore(path) as store:
            settings = FitSettings(epochs=1, steps_per_epoch=5)
            found[part] = measured(fit(store, spec_for(store, name), tmp_path / f"run_{part}", settings).model)
    # Telegraph pixels of 8 DN, a third of the bad ones, are noise and stay: 0.33 % of 16 DN² on 16.1.
    telegraph = (1 + 0.01 / 3 * 16 / (READ**2 + 1 / 12)) ** 0.5
    assert found[0.01][0] / found[0.0][0] == pytest.approx(telegraph, abs=0.01)
    assert found[0.01][1] / found[0.0][1] == pytest.approx(1, abs=0.01)
    assert found[0.0][0] == pytest.approx((READ**2 + 1 / 12) ** 0.5, rel=0.02)
