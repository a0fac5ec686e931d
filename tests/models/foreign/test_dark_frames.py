"""Dark frames and their spectrum as models, on frames of known rows, columns and tails."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import NoiseModel, load, save
from noiseflow.models.foreign.formats import import_model
from noiseflow.models.foreign.source import ForeignSource
from noiseflow.ops.random.sampling import Keyed
from noiseflow.raw.settings import RawSettings

RAW = RawSettings(cfa="RGGB", black=(64.0,), white=4095.0, iso=100.0, camera="Mine")
SIZE, ROWS, COLUMNS, PIXELS = 256, 3.0, 1.5, 4.0


def dark(rng: np.random.Generator) -> NDArray[np.uint16]:
    """Rows and columns of the mosaic that shift together, and pixels with heavy tails."""
    pixels = PIXELS * rng.standard_t(6, (SIZE, SIZE)) / np.sqrt(1.5)
    lines = ROWS * rng.normal(size=(SIZE, 1)) + COLUMNS * rng.normal(size=(1, SIZE))
    return np.rint(64.0 + pixels + lines).clip(0).astype(np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("darks")
    for number in range(3):
        np.save(path / f"dark{number}.npy", dark(rng))
    return path


def drawn(model: NoiseModel, count: int = 64, level: float = 0.0) -> Tensor:
    cond = Conditions(torch.full((count, 4, 32, 32), level), 100.0, "Mine")
    return model.sample(cond, torch.Generator().manual_seed(3)).double() * (4095.0 - model_black(model))


def model_black(model: NoiseModel) -> float:
    return float(np.mean(model.spec.options["profile"]["Mine"]["black"]))


def lines(noise: Tensor, axis: int) -> float:
    """Variance of the means of lines × their length ÷ variance of the pixels."""
    centred = noise - noise.mean((2, 3), keepdim=True)
    return float(centred.mean(axis).var() * noise.shape[axis] / centred.var())


@pytest.mark.parametrize("form", ["dark_frames", "spectral"])
def test_rows_columns_planes_and_tails_come_along(folder: Path, tmp_path: Path, form: str) -> None:
    model = import_model(ForeignSource(folder, RAW, gain_dn_per_e=0.5), form)
    save(model, tmp_path / "run")
    again = load(tmp_path / "run")
    noise = drawn(again)
    assert torch.equal(noise, drawn(model))
    frame = torch.from_numpy(np.load(folder / "dark0.npy").astype(np.float64))
    planes = torch.nn.functional.pixel_unshuffle(frame[None, None], 2)
    tiles = planes.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    # 2,048 rows in all of the frame's planes: 3 % of their variance.
    assert float(noise.var()) == pytest.approx(float(planes.var()), rel=0.06)
    assert lines(noise, 3) == pytest.approx(lines(tiles, 3), rel=0.15)
    assert lines(noise, 2) == pytest.approx(lines(tiles, 2), rel=0.15)
    kurtosis = float((noise - noise.mean()).pow(4).mean() / noise.var() ** 2)
    theirs = float((planes - planes.mean()).pow(4).mean() / planes.var() ** 2)
    assert kurtosis == pytest.approx(theirs, rel=0.1)
    assert kurtosis > 3.3
    # R and G1 stand in one sensor row, R and G2 in one column.
    rows = noise.mean(3)
    assert float(torch.corrcoef(torch.stack([rows[:, 0].flatten(), rows[:, 1].flatten()]))[0, 1]) > 0.8
    assert abs(float(torch.corrcoef(torch.stack([rows[:, 0].flatten(), rows[:, 2].flatten()]))[0, 1])) < 0.2


def test_the_read_noise_is_that_of_differences(tmp_path: Path) -> None:
    """A pattern of 8 DN and a black level that drifts by 5 DN a frame are no noise of 2 DN."""
    rng = np.random.default_rng(2)
    pattern = 8.0 * rng.normal(size=(64, 64))
    for number in range(4):
        codes = np.rint(200 + 5 * number + pattern + 2.0 * rng.normal(size=(64, 64))).astype(np.uint16)
        np.save(tmp_path / f"dark{number}.npy", codes)
    model = import_model(ForeignSource(tmp_path, RAW, gain_dn_per_e=0.5), "dark_frames")
    read = np.ravel(model.spec.options["profile"]["Mine"]["read"])
    # 3 × 1,024 differences of neighbours in time: 2 %.
    np.testing.assert_allclose(read, (4 + 1 / 12) ** 0.5, rtol=0.08)


def test_shot_noise_is_added(folder: Path) -> None:
    model = import_model(ForeignSource(folder, RAW, gain_dn_per_e=0.5), "spectral")
    signal = 0.2 * (4095.0 - model_black(model))
    assert float((drawn(model, level=0.2) + 0).var()) == pytest.approx(
        0.5 * signal + float(drawn(model).var()), rel=0.03
    )


def test_tiles_of_a_frame_are_the_frame(folder: Path) -> None:
    model = import_model(ForeignSource(folder, RAW, gain_dn_per_e=0.5), "spectral")
    clean = torch.rand(1, 4, 48, 64, generator=torch.Generator().manual_seed(0)) / 2
    whole = model.sample(Conditions(clean, 100.0, "Mine"), Keyed(7, (1,)))
    tile = Conditions(clean[:, :, 16:40, 24:64], 100.0, "Mine")
    assert torch.equal(model.sample(tile, Keyed(7, (1,), 16, 24, (48, 64))), whole[:, :, 16:40, 24:64])


def test_a_single_frame_keeps_its_own_spectrum(folder: Path) -> None:
    """At the frame's own size the mean power of many draws is the frame's, before the histogram is matched."""
    from noiseflow.models.physics.spectral import Spectral

    model = import_model(ForeignSource(folder, RAW, gain_dn_per_e=0.5), "spectral")
    assert isinstance(model, Spectral)
    amplitude = model._amplitude(100.0, (SIZE // 2, SIZE // 2))
    frame = torch.from_numpy(np.load(folder / "dark0.npy").astype(np.float64))
    planes = torch.nn.functional.pixel_unshuffle(frame[None, None], 2)[0]
    unit = (planes - planes.mean((1, 2), keepdim=True)) / planes.std((1, 2), keepdim=True)
    power = torch.fft.rfft2(torch.nn.functional.pixel_shuffle(unit[None], 2)[0, 0], norm="ortho").abs().square()
    assert amplitude[0].square().double() == pytest.approx(power, rel=1e-3, abs=1e-9)


def test_what_is_missing_is_asked_for(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give --profile, or --gain in DN/e-"):
        import_model(ForeignSource(folder, RAW))
    with pytest.raises(DataError, match="its ISO is not known; give --iso"):
        import_model(ForeignSource(folder, RawSettings(cfa="RGGB", black=(64.0,), white=4095.0), gain_dn_per_e=1.0))
    with pytest.raises(DataError, match="no raw file; expected dark frames"):
        import_model(ForeignSource(tmp_path, RAW, gain_dn_per_e=1.0), "dark_frames")
    model = import_model(ForeignSource(folder, RAW, gain_dn_per_e=0.5), "spectral")
    with pytest.raises(
        ModelError, match="128×128 pixels per plane, but the clean signal has 129×1; use whole dark frames"
    ):
        model.sample(Conditions(torch.zeros(1, 4, 1, 129), 100.0, "Mine"))
    with pytest.raises(ModelError, match="spectral: has no density"):
        model.log_prob(torch.zeros(1, 4, 8, 8), Conditions(torch.zeros(1, 4, 8, 8), 100.0, "Mine"))
