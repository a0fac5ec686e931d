"""`AddCameraNoise`: the noise is the model's, reproducible however it is loaded, and bad input is named."""

import functools
import math
import warnings

import pytest
import torch
from model_table import CAMERAS, ISOS, generator, spec_of
from torch.utils.data import DataLoader, Dataset

from noiseflow.augment import AddCameraNoise, AutoExposure, Choice, LogUniform, NoisyBatch, Uniform
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.core.errors import DataError, ExtrapolationWarning, ModelError
from noiseflow.models import NoiseModel, build, from_profile

SIZE = (4, 4, 12, 10)


def nlf(layout: str = "bayer") -> NoiseModel:
    model = build(spec_of("nlf", layout)).eval()
    with torch.no_grad():
        model.log_beta1 += torch.tensor(ISOS).div(400).log()
        model.log_beta2 += 2 * torch.tensor(ISOS).div(400).log()
    return model


def clean(seed: int = 0, size: tuple[int, ...] = SIZE) -> torch.Tensor:
    return torch.rand(size, generator=generator(seed))


def test_noise_of_an_index_is_its_own() -> None:
    add = AddCameraNoise(nlf(), exposure=LogUniform(0.1, 1.0), seed=3)
    together = add(clean(), [7, 0, 40, 4_000_000_000])
    for row, index in enumerate([7, 0, 40, 4_000_000_000]):
        alone = add(clean()[row : row + 1], [index])
        torch.testing.assert_close(alone.noisy, together.noisy[row : row + 1], rtol=1e-6, atol=1e-7)
        assert alone.camera == together.camera[row : row + 1]
        assert alone.iso == together.iso[row]
        assert torch.equal(add(clean()[row], [index]).noisy, alone.noisy[0])
    assert not torch.equal(add(clean(), [7, 0, 40, 4_000_000_000], epoch=1).noisy, together.noisy)
    other = AddCameraNoise(nlf(), exposure=LogUniform(0.1, 1.0), seed=4)(clean(), [7, 0, 40, 4_000_000_000])
    assert not torch.equal(other.noisy, together.noisy)


def test_a_generator_decides_all_of_it() -> None:
    add = AddCameraNoise(nlf())
    one, two = (add(clean(), generator=generator(5)) for _ in range(2))
    assert torch.equal(one.noisy, two.noisy)
    torch.manual_seed(1)
    three = add(clean())
    torch.manual_seed(1)
    assert torch.equal(three.noisy, add(clean()).noisy)
    assert not torch.equal(three.noisy, add(clean()).noisy)


class Samples(Dataset[torch.Tensor]):
    """Clean patches that get their noise where they are loaded."""

    def __init__(self) -> None:
        self.add = AddCameraNoise(nlf(), exposure=Uniform(0.2, 1.0), seed=9)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.add(clean(index, (4, 6, 6)), [index], epoch=2).noisy


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_batches_do_not_change_the_noise(workers: int) -> None:
    expected = torch.stack([Samples()[index] for index in range(12)])
    loader = DataLoader(Samples(), batch_size=5, num_workers=workers, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), expected)
    # Ranks of a distributed run take every second sample each.
    ranks = [DataLoader(Samples(), batch_size=3, sampler=range(rank, 12, 2)) for rank in (0, 1)]
    for rank, loader in enumerate(ranks):
        assert torch.equal(torch.cat(list(loader)), expected[rank::2])


@pytest.mark.parametrize("name", ["nlf", "gaussian", "realnvp", "poisson_gaussian", "poisson_gaussian_exact", "eld"])
def test_the_noise_level_is_the_noise_s(name: str) -> None:
    if name in ("nlf", "gaussian", "realnvp"):
        model, iso = build(spec_of(name, "bayer")).eval(), 400.0
    else:
        profile = shipped_profile("Sony A7S2")
        model, iso = from_profile(name, profile), 800.0
    # ISO 1600 of the tables is far below the noise that would clip at 0.3 of the range.
    add = AddCameraNoise(model, iso=iso)
    flat = torch.full((1, 4, 200, 200), 0.3)
    batch = add(flat, [1])
    for plane in range(4):
        found = (batch.noisy - flat)[0, plane].std()
        # 40,000 values, 200 rows: standard errors 0.35 % and, of the small row part, 5 %; measured curves 1.1 %.
        assert float(batch.noise_level[0, plane].mean()) == pytest.approx(float(found), rel=0.035), plane


def test_exposure_scales_the_clean_signal_first() -> None:
    batch = AddCameraNoise(nlf(), iso=400.0, exposure=0.25)(clean(), [0, 1, 2, 3])
    assert torch.equal(batch.clean, 0.25 * clean())
    assert torch.equal(batch.exposure, torch.full((4,), 0.25))


def test_distributions_have_their_quantiles() -> None:
    u = torch.linspace(0.001, 0.999, 999)
    assert Uniform(2, 4)(u).mean() == pytest.approx(3)
    assert LogUniform(100, 1600)(u).log().mean() == pytest.approx(math.log(400))
    assert set(Choice((100.0, 800.0))(u).tolist()) == {100.0, 800.0}
    iso, exposure = AutoExposure(1 / 64, 100, 1600).settings(u)
    # Four stops of light are made up for by ISO; two are lost.
    assert iso.max() == 1600
    assert float(exposure.min()) == pytest.approx(0.25, rel=0.01)
    assert ((iso < 1600) == (exposure > 0.9999)).float().mean() > 0.99
    assert float((iso < 1600).float().mean()) == pytest.approx(4 / 6, abs=0.01)
    batch = AddCameraNoise(nlf(), iso=AutoExposure(1 / 64, 100, 1600), exposure=0.5)(clean(), [1, 2, 3, 4])
    assert ((batch.iso == 1600) | (batch.exposure == 0.5)).all()


def test_isos_and_cameras_are_the_ones_asked_for() -> None:
    add = AddCameraNoise(nlf(), iso=[100, 800], cameras=["C", "A"])
    many = add(clean(size=(50, 4, 2, 2)), list(range(50)))
    assert set(many.camera) == {"A", "C"}
    assert set(many.iso.tolist()) == {100.0, 800.0}
    default = AddCameraNoise(nlf())(clean(size=(50, 4, 2, 2)), list(range(50)))
    assert set(default.camera) == set(CAMERAS)
    assert 100 <= default.iso.min() < 200 < 800 < default.iso.max() <= 1600


def test_several_models_each_with_its_camera() -> None:
    names = [name for name in shipped_names() if shipped_profile(name).layout == "bayer"][:2]
    models = [from_profile("poisson_gaussian", shipped_profile(name)) for name in names]
    isos = sorted(set(models[0].spec.isos) & set(models[1].spec.isos)) or [float(models[0].spec.isos[0])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        batch = AddCameraNoise(models, iso=isos)(clean(size=(20, 4, 4, 4)), list(range(20)))
        assert set(batch.camera) == set(names)
        for row in range(3):
            number = names.index(batch.camera[row])
            alone = AddCameraNoise(models, iso=isos, cameras=[names[number]])
            assert alone(clean(size=(20, 4, 4, 4))[row], [row]).camera == (names[number],)


@functools.cache
def adding(name: str) -> AddCameraNoise:
    """Measuring the noise of a flow takes a second: once for all dtypes."""
    model = from_profile(name, shipped_profile("Sony A7S2")) if "exact" in name else build(spec_of(name, "bayer"))
    return AddCameraNoise(model.eval(), iso=800.0, exposure=0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["nlf", "physics_flow", "glow", "poisson_gaussian_exact"])
def test_any_floating_dtype_is_taken_and_given_back(name: str, dtype: torch.dtype) -> None:
    add = adding(name)
    values = clean().to(dtype)
    batch, exact = add(values, [0, 1, 2, 3]), add(values.float(), [0, 1, 2, 3])
    for got, expected in (
        (batch.noisy, exact.noisy),
        (batch.clean, exact.clean),
        (batch.noise_level, exact.noise_level),
    ):
        assert got.dtype == dtype
        # The same draw, rounded to the dtype; counts of photons may differ by one where float64 moves their rate.
        close = (got.float() - expected).abs() <= 2 * max(torch.finfo(dtype).eps, 1e-6)
        assert close.float().mean() > 0.99
    assert batch.iso.tolist() == [800.0] * 4


def test_a_float64_signal_keeps_its_digits() -> None:
    values = clean().double() + 1e-10
    batch = AddCameraNoise(build(spec_of("physics_flow", "bayer")).eval(), iso=800.0)(values, [0, 1, 2, 3])
    assert torch.equal(batch.clean, values)
    assert not torch.equal(batch.noisy, batch.noisy.float().double())


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_mosaics_are_packed_and_unpacked(cfa: str) -> None:
    mosaic = torch.rand(2, 1, 8, 6, generator=generator(0))
    batch = AddCameraNoise(nlf(), iso=100.0, cfa=cfa)(mosaic, [3, 4])
    assert isinstance(batch, NoisyBatch)
    assert torch.equal(batch.clean, mosaic)
    red = cfa.index("R")
    planes = AddCameraNoise(nlf(), iso=100.0)(
        torch.zeros(2, 4, 4, 3).index_copy(1, torch.tensor([0]), mosaic[:, :, red // 2 :: 2, red % 2 :: 2]), [3, 4]
    )
    assert torch.equal(batch.noisy[:, 0, red // 2 :: 2, red % 2 :: 2], planes.noisy[:, 0])
    with pytest.raises(DataError, match="even height"):
        AddCameraNoise(nlf(), cfa=cfa)(mosaic[..., :5], [3, 4])


def test_clipping_and_codes() -> None:
    add = AddCameraNoise(nlf(), iso=1600.0, levels=(64.0, 1023.0), clip=True, quantise=True)
    flats = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 4, 40, 40)
    noisy = add(flats, [0, 1]).noisy.double()
    codes = noisy * (1023 - 64) + 64
    assert (codes - codes.round()).abs().max() < 1e-3
    assert codes.min() >= -1e-3
    assert codes.max() <= 1023.001
    assert (codes[1] > 1022.9).double().mean() > 0.4
    assert AddCameraNoise(nlf(), iso=1600.0)(flats, [0, 1]).noisy.max() > 1


def test_training_leaves_the_models_in_evaluation_mode_and_gradients_out() -> None:
    add = AddCameraNoise(nlf()).train()
    assert not add.models[0].training
    assert not add(clean(), [0, 1, 2, 3]).noisy.requires_grad


def test_an_iso_outside_the_range_warns_once() -> None:
    add = AddCameraNoise(nlf(), iso=6400.0)
    with pytest.warns(ExtrapolationWarning, match=r"ISO 6400 is outside 100…1600.*extrapolated in log ISO") as caught:
        [add(clean(), [0, 1, 2, 3]) for _ in range(3)]
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(1, 8, 8, 4), r"expected shape \(B, 4, H, W\).*permute\(0, 3, 1, 2\)"),
        (torch.zeros(1, 3, 8, 8), "RGB"),
        (torch.zeros(1, 1, 8, 8), "cfa='RGGB'"),
        (torch.zeros(8, 8), "expected shape"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.uint16), "floating point.*normalise"),
        (torch.full((1, 4, 8, 8), 700.0), "0 to 1; got 700 to 700.*black level"),
        (torch.full((1, 4, 8, 8), -0.5), "0 to 1"),
        (torch.full((1, 4, 8, 8), math.nan), "NaN"),
        (torch.zeros(1, 4, 0, 8), "with pixels"),
    ],
)
def test_clean_signals_that_cannot_be(value: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        AddCameraNoise(nlf())(value, [0])


def test_arguments_that_cannot_be() -> None:
    for make, error, message in (
        (lambda: AddCameraNoise([]), ModelError, "at least one"),
        (lambda: AddCameraNoise([nlf(), nlf("mono")]), ModelError, "one plane layout"),
        (lambda: AddCameraNoise(nlf("mono"), cfa="RGGB"), ModelError, "not on a Bayer"),
        (lambda: AddCameraNoise(nlf(), cameras=["Z"]), ModelError, "expected A, B, C"),
        (lambda: AddCameraNoise(nlf(), cameras=[]), ModelError, "at least one of A"),
        (lambda: AddCameraNoise(nlf(), quantise=True), DataError, "levels"),
        (lambda: AddCameraNoise(nlf(), levels=(100.0, 100.0)), DataError, "black < white"),
        (lambda: AddCameraNoise(nlf(), seed=-1), DataError, "seed"),
        (lambda: AddCameraNoise(nlf(), iso="high"), DataError, "iso: expected a number"),  # type: ignore[arg-type]
        (lambda: AddCameraNoise(nlf(), exposure=0.0), DataError, "exposure: expected positive"),
        (lambda: LogUniform(0, 1), DataError, "low ≤ high"),
        (lambda: Uniform(2, 1), DataError, "low ≤ high"),
        (lambda: AutoExposure(2, 100, 200), DataError, "darkest"),
        (lambda: AddCameraNoise(nlf())(clean(), [0]), DataError, "index: expected 4"),
        (lambda: AddCameraNoise(nlf())(clean(), [0] * 4, generator=generator()), DataError, "one of them"),
    ):
        with pytest.raises(error, match=message):
            make()
