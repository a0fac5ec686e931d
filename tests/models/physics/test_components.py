"""Components that a start finds by itself: columns and neighbours where they are, nothing on a plain camera."""

import math

import numpy as np
import pytest
import torch
from model_table import generator
from scipy import stats
from torch import Tensor
from torch.nn import functional

from noiseflow.flows import Conditions
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.telegraph_tails import TelegraphTails
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.physics_flow import PhysicsFlow
from noiseflow.models.flow.starts import telegraph

READ, SPAN, BANDS, ACROSS = 3.0, 4095.0, 24, 8


def frames(seed: int, *, rows: float = 0.0, columns: float = 0.0, kernel: Tensor | None = None) -> Tensor:
    """Read noise of 24 mosaics of 64 × 512, unit variance before offsets of these variances, perhaps filtered."""
    draws = generator(seed)
    mosaic = torch.randn(BANDS, 1, 64, 512, generator=draws)
    if kernel is not None:
        mosaic = functional.conv2d(functional.pad(mosaic, (kernel.shape[0] // 2,) * 4, "circular"), kernel[None, None])
    mosaic += math.sqrt(rows) * torch.randn(BANDS, 1, 64, 1, generator=draws)
    mosaic += math.sqrt(columns) * torch.randn(BANDS, 1, 1, 512, generator=draws)
    return mosaic


def patches(mosaic: Tensor) -> tuple[Tensor, Tensor]:
    """Noise of packed patches of 32 × 32, (192, 4, 32, 32), and their bands."""
    packed = mosaic.reshape(BANDS, 32, 2, ACROSS, 32, 2).permute(0, 3, 2, 5, 1, 4)
    noise = packed.reshape(-1, 4, 32, 32) * (READ / SPAN)
    return noise.contiguous(), torch.arange(BANDS).repeat_interleave(ACROSS)


def started(mosaic: Tensor, **options: bool) -> PhysicsFlow:
    noise, bands = patches(mosaic)
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), options))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(0.9 / SPAN))
        model.shot_read.log_beta2.fill_(math.log(float(noise.square().mean())))
    model.start_from_patches(noise, Conditions(torch.zeros_like(noise), 100.0, "A"), bands)
    return model


def sampled(model: PhysicsFlow, seed: int) -> Tensor:
    """Mosaics of 64 × 512 in read noise, (48, 64, 512)."""
    again = build(model.spec)
    again.load_state_dict(model.state_dict())
    noise = again.sample(Conditions(torch.zeros(48, 4, 32, 256), 100.0, "A"), generator(seed)) / (READ / SPAN)
    return noise.reshape(48, 2, 2, 32, 256).permute(0, 3, 1, 4, 2).reshape(48, 64, 512)


FOUND = {"row_flicker", "row_memory", "column_noise", "neighbours"}


@pytest.mark.parametrize("rows", [0.0, 0.03])
def test_a_plain_camera_gets_no_component(rows: float) -> None:
    model = started(frames(1, rows=rows))
    assert not FOUND & model.spec.options.keys()
    assert [note.split(":")[1][:5] for note in model.found[1:]] == [" none", " none", " none"]


@pytest.mark.parametrize("seed", [14, 15])
def test_read_noise_beside_strong_rows_is_that_within_rows(seed: int) -> None:
    """Rows of 3 σ, 4 of 24 frames dark: their 256 rows know their variance to 9 %, that of the read noise to 80 %.

    What all rows know of their variance is not what these have.  Pixels within rows know the read noise to 0.4 %.
    """
    shot = torch.where(torch.arange(BANDS) < 4, 0.0, 16.0)
    light = torch.randn(BANDS, 1, 64, 512, generator=generator(seed + 100)) * shot.sqrt()[:, None, None, None]
    noise, bands = patches(frames(seed, rows=9.0) + light)
    clean = (shot[bands, None, None, None] * (READ / SPAN) ** 2 / (0.9 / SPAN)).expand_as(noise).contiguous()
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(0.9 / SPAN))
        model.shot_read.log_beta2.fill_(math.log(float(noise[bands < 4].square().mean())))
    model.start_from_patches(noise, Conditions(clean, 100.0, "A"), bands)
    assert float(model.shot_read.log_beta2.detach().exp()) == pytest.approx((READ / SPAN) ** 2, rel=0.02)
    assert "telegraph" not in model.spec.options


@pytest.mark.parametrize("masked", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("planes_apart", [False, True])
def test_strong_rows_keep_their_variance_and_masked_pixels_have_no_part(masked: float, planes_apart: bool) -> None:
    """256 rows of 5 σ know their variance to 9 %: 27 % is three of it; masked pixels would leave m²·25 in the rest."""
    noise, bands = patches(frames(31, rows=25.0))
    observed = torch.rand(noise.shape, generator=generator(32)) >= masked if masked else None
    model = build(ModelSpec("physics_flow", "bayer", ("A",), (100.0,), {"row_memory": False}))
    assert isinstance(model, PhysicsFlow)
    read = (READ / SPAN) ** 2
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(0.9 / SPAN))
        model.shot_read.log_beta2.fill_(math.log((1.9 if planes_apart else 1) * 26 * read))
    model.start_from_patches(noise, Conditions(torch.zeros_like(noise), 100.0, "A", observed), bands)
    head, rows = model.shot_read, model.flow.transforms[1]
    assert isinstance(rows, LineNoise)
    found = (head.log_beta2 + head.plane_beta2.mean(1)).detach().exp()
    assert float(found) == pytest.approx(read, rel=0.02)
    assert float(rows.offset_variance().detach() * found) == pytest.approx(25 * read, rel=0.27)


def test_columns_are_found_and_sampled() -> None:
    """12,288 columns of 64 pixels know a ratio of 1 + 64·0.05 = 4.2 to 1.3 %; samples to 0.6 %: five of both."""
    model = started(frames(2, rows=0.03, columns=0.05))
    assert model.spec.options["column_noise"] is True
    assert any(note.startswith("columns: worth") for note in model.found)
    drawn = sampled(model, 3)
    ratio = float(drawn.mean(1).square().mean() * 64 / drawn.square().mean())
    assert ratio == pytest.approx((1.0 + 0.03 + 0.05 * 64) / 1.08, rel=0.08)


@pytest.mark.parametrize("columns", [0.36, 2.0])
def test_read_noise_beside_columns_is_what_they_leave(columns: float) -> None:
    """12,288 columns know 0.36 of a variance to 0.5 % of the read noise's; of 2 they leave 3 %, within them 0.2 %.

    Divided by 1 + c in place of less c the read variance was 6 % too large at 0.36.
    """
    model = started(frames(21, rows=0.03, columns=columns))
    found = model.shot_read.log_beta2.detach().exp()
    assert float(found) == pytest.approx((READ / SPAN) ** 2, rel=0.02)
    lines = model.flow.transforms[2]
    assert isinstance(lines, LineNoise)
    assert float(lines.offset_variance().detach() * found) == pytest.approx(columns * (READ / SPAN) ** 2, rel=0.05)


def test_neighbours_are_found_and_sampled_and_are_no_rows() -> None:
    """A kernel of 1, ¼ to all four sides: ρ = 0.4 beside; rows and columns are not made up for it."""
    kernel = torch.tensor([[0.0, 0.25, 0.0], [0.25, 1.0, 0.25], [0.0, 0.25, 0.0]])
    model = started(frames(4, kernel=kernel / kernel.square().sum().sqrt()))
    assert FOUND & model.spec.options.keys() == {"neighbours"}
    assert model.spec.options["neighbours"] == "mosaic"
    drawn = sampled(model, 5)
    for one, other in ((drawn[:, :, 1:], drawn[:, :, :-1]), (drawn[:, 1:], drawn[:, :-1])):
        assert float((one * other).mean() / drawn.square().mean()) == pytest.approx(0.4, abs=0.01)
    assert float(drawn.square().mean()) == pytest.approx(1.0, rel=0.02)


def line_figures(mosaic: Tensor) -> tuple[float, float]:
    """Variance of the means of rows, times their pixels, and the correlation of one row's with the next's."""
    rows = mosaic.mean(2)
    variance = rows.square().mean()
    return float(variance) * mosaic.shape[2], float((rows[:, 1:] * rows[:, :-1]).mean() / variance)


@pytest.mark.parametrize("step", [1, 2])
def test_rows_are_added_to_neighbours_and_do_not_multiply_with_them(step: int) -> None:
    """Neighbours `step` apart, rows of 0.03: the means of rows vary 1.7 times as much where both multiply.

    1,536 rows know the variance to 3.6 %, samples of 3,072 to 2.6 %, and both the correlation to 0.04: three of both.
    """
    kernel = torch.zeros(2 * step + 1, 2 * step + 1)
    kernel[step, ::step], kernel[::step, step] = 0.25, 0.25
    kernel[step, step] = 1.0
    mosaic = frames(6, rows=0.03, kernel=kernel / kernel.square().sum().sqrt())
    model = started(mosaic)
    assert model.spec.options["neighbours"] == ("mosaic", "plane")[step - 1]
    assert "row_memory" not in model.spec.options
    expected, found = line_figures(mosaic[:, 0]), line_figures(sampled(model, 7))
    assert found[0] == pytest.approx(expected[0], rel=0.13)
    assert found[1] == pytest.approx(expected[1], abs=0.12)


def jumping(seed: int, rate: float, size: float) -> Tensor:
    """Noise of the core 1, of which some pixels jump up or down, as `frames`."""
    draws = generator(seed)
    shape = (BANDS, 1, 64, 512)
    sign = torch.where(torch.rand(shape, generator=draws) < 0.5, -1.0, 1.0)
    return torch.randn(shape, generator=draws) + size * sign * (torch.rand(shape, generator=draws) < rate)


@pytest.mark.parametrize(("rate", "size"), [(0.01, 5.0), (0.002, 12.0), (0.05, 3.0)])
def test_pixels_that_jump_are_found_and_sampled(rate: float, size: float) -> None:
    """Of 786,432 pixels and 1,572,864 samples a variance is known to 0.6 %, a kurtosis to 5 % where 0.2 % jump."""
    mosaic = jumping(10, rate, size)
    model = started(mosaic)
    assert model.spec.options["telegraph"] is True
    assert any(each.startswith("telegraph pixels") for each in model.found)
    drawn = sampled(model, 11)
    variance = 1 + rate * size**2
    fourth = 3 + 6 * rate * size**2 + rate * size**4
    assert float(drawn.square().mean()) == pytest.approx(variance, rel=0.02)
    assert float(drawn.pow(4).mean()) / variance**2 == pytest.approx(fourth / variance**2, rel=0.1)
    assert float((drawn.abs() > 0.7 * size).double().mean()) == pytest.approx(
        float((mosaic.abs() > 0.7 * size).double().mean()), rel=0.1
    )


def test_rare_pixels_that_jump_far_are_found() -> None:
    """63 of 786,432 pixels, known to 13 %: fewer than 1 in 10,000 were not taken, and no sample was beyond 6 σ."""
    mosaic = jumping(10, 8e-5, 15.0)
    model = started(mosaic)
    assert model.spec.options["telegraph"] is True
    drawn = sampled(model, 11)
    real, found = (float((each.abs() > 6).double().mean()) for each in (mosaic, drawn))
    assert found == pytest.approx(real, rel=0.5)
    # All patches count for the fraction, and no skew of the light stretches the jumps before they are fitted.
    rate, size = (model.tails.get_parameter(name).detach().exp().flatten() for name in ("log_rate", "log_size"))
    assert float(size.max()) == pytest.approx(15, rel=0.02)
    assert float((rate / (1 + rate.sum()))[size > 6].sum()) == pytest.approx(real, rel=0.02)


def test_smooth_tails_are_not_taken_for_jumps() -> None:
    """Logistic noise has an excess kurtosis of 1.2; normal noise has none."""
    uniform = torch.rand(BANDS, 1, 64, 512, generator=generator(12)).clamp(1e-7, 1 - 1e-7)
    model = started(torch.logit(uniform) * math.sqrt(3) / math.pi)
    assert "telegraph" not in model.spec.options
    assert isinstance(model.tails, CubicTails)
    assert float(model.tails.kurtosis.detach()) == pytest.approx(1.2, abs=0.15)
    assert "telegraph" not in started(frames(12)).spec.options


def test_a_spec_decides_for_itself_whether_pixels_jump() -> None:
    assert isinstance(started(jumping(10, 0.01, 5.0), telegraph=False).tails, CubicTails)
    model = started(frames(12), telegraph=True)
    assert isinstance(model.tails, TelegraphTails)
    drawn = sampled(model, 13)
    assert float(drawn.square().mean()) == pytest.approx(1, rel=0.02)
    assert float(drawn.pow(4).mean()) == pytest.approx(3, rel=0.03)


def test_columns_are_added_to_neighbours_too() -> None:
    """1.3 times as much where they multiply; 12,288 columns of 64 pixels: see `test_columns_are_found_and_sampled`."""
    kernel = torch.tensor([[0.0, 0.25, 0.0], [0.25, 1.0, 0.25], [0.0, 0.25, 0.0]])
    mosaic = frames(8, rows=0.03, columns=0.2, kernel=kernel / kernel.square().sum().sqrt())
    model = started(mosaic)
    assert FOUND & model.spec.options.keys() == {"neighbours", "column_noise"}
    real, drawn = (each.mean(1).square().mean() for each in (mosaic[:, 0], sampled(model, 9)))
    assert float(drawn / real) == pytest.approx(1.0, rel=0.08)


def test_the_likelihood_of_pixels_that_jump_is_that_of_their_mixture() -> None:
    """Of values with a share s of read noise, of variance v with its jumps: 1 − Σp do not jump; half of p by ± a."""
    rng = np.random.default_rng(0)
    x, share, count = np.abs(rng.normal(0, 4, 50)), rng.uniform(0.1, 1, 50), rng.integers(1, 1000, 50).astype(float)
    rates, sizes, spreads = np.array([0.02, 0.005]), np.array([3.0, 12.0]), np.array([0.7, 2.5])
    odds = rates / (1 - rates.sum())
    variance = 1 + (rates * (sizes**2 + spreads**2)).sum()
    core, root = 1 - share + share / variance, np.sqrt(share / variance)
    density = (1 - rates.sum()) * stats.norm.pdf(x, 0, np.sqrt(core))
    for rate, size, spread in zip(rates, sizes, spreads, strict=True):
        for sign in (1, -1):
            density += 0.5 * rate * stats.norm.pdf(x, sign * size * root, np.sqrt(core + (spread * root) ** 2))
    expected = -np.average(np.log(density) + 0.5 * math.log(2 * math.pi), weights=count)
    cells = telegraph._Cells(*(torch.from_numpy(each) for each in (x, share, count)))
    found = telegraph._nll(torch.from_numpy(np.log(np.stack([odds, sizes, spreads]))), cells)
    assert float(found) == pytest.approx(expected, rel=1e-9)
