"""Read noise with jumps, against its distribution function written out."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from noiseflow.flows.camera.telegraph_tails import TelegraphTails
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters

RATES, SIZES, SPREADS = (0.02, 0.005), (4.0, 7.0), (0.5, 2.0)


def layer() -> TelegraphTails:
    found = TelegraphTails(1, (100.0,)).double().requires_grad_(False)
    rates = [rate / (1 - sum(RATES)) for rate in RATES]
    for table, values in zip((found.log_rate, found.log_size, found.log_spread), (rates, SIZES, SPREADS), strict=True):
        table.copy_(torch.tensor(values, dtype=torch.float64).log()[None, :, None])
    return found


def given(x: Tensor, share: float) -> tuple[Resolved, NoiseParameters]:
    """Conditions under which read noise is this share of the variance."""
    cond = Resolved(torch.full_like(x, (1 - share) / share), torch.tensor([100.0]), torch.tensor([0]))
    one = torch.ones(1, 1, 1, 1, dtype=x.dtype)
    return cond, NoiseParameters(cond.clean, one, one)


def parts(share: float) -> list[tuple[float, float, float]]:
    """Weight, mean and deviation: shot noise, read noise and jumps are independent, and have variance 1 together."""
    own = share / (1 + sum(p * (d**2 + t**2) for p, d, t in zip(RATES, SIZES, SPREADS, strict=True)))
    shot = 1 - share
    found = [(1 - sum(RATES), 0.0, math.sqrt(shot + own))]
    for rate, size, spread in zip(RATES, SIZES, SPREADS, strict=True):
        deviation = math.sqrt(shot + own * (1 + spread**2))
        found += [(rate / 2, sign * size * math.sqrt(own), deviation) for sign in (1, -1)]
    return found


def mixed(x: NDArray[np.float64], share: float, what: str) -> NDArray[np.float64]:
    total: NDArray[np.float64] = sum(p * getattr(stats.norm(m, s), what)(x) for p, m, s in parts(share))  # type: ignore[assignment]
    return total


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_z_has_the_same_tail_and_the_slope_is_the_density_s(share: float) -> None:
    values = np.linspace(-12, 12, 97)
    x = torch.from_numpy(values)[:, None, None, None]
    z, log_det = layer()(x, *given(x, share))
    # Of the smaller tail, where the other one is 1 to the last digit.
    tail = np.where(values < 0, mixed(values, share, "cdf"), mixed(values, share, "sf"))
    assert stats.norm.sf(z.numpy().ravel() * np.where(values < 0, -1, 1)) == pytest.approx(tail, rel=1e-8)
    density = stats.norm.logpdf(z.numpy().ravel()) + log_det.numpy()
    assert density == pytest.approx(np.log(mixed(values, share, "pdf")), abs=1e-8)


def test_variance_is_one_and_the_kurtosis_is_that_of_the_parts() -> None:
    values = np.linspace(-40, 40, 8001)
    x = torch.from_numpy(values)[:, None, None, None]
    z, log_det = layer()(x, *given(x, 1.0))
    density = np.exp(stats.norm.logpdf(z.numpy().ravel()) + log_det.numpy()) * (values[1] - values[0])
    assert density.sum() == pytest.approx(1, abs=1e-9)
    assert density @ values**2 == pytest.approx(1, abs=1e-9)
    excess = float(layer().read_excess(given(x[:1], 1.0)[0]))
    assert density @ values**4 - 3 == pytest.approx(excess, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_valley_before_a_rare_and_large_jump_is_crossed(dtype: torch.dtype) -> None:
    """One pixel in 10⁵ jumps by 30 σ: between the two the distribution function is flat."""
    tails = layer().to(dtype)
    tails.log_rate.copy_(torch.tensor([[[math.log(1e-5)], [-20.0]]]))
    tails.log_size.copy_(torch.tensor([[[math.log(30.0)], [0.0]]]))
    tails.log_spread.fill_(-1.0)
    z = torch.linspace(-6, 6, 481, dtype=dtype).reshape(1, 1, 1, -1)
    x = tails.inverse(z, *given(z, 1.0))
    assert bool((x.diff() > 0).all())
    assert float(x.max()) > 25
    assert float(x[z.abs() < 4].abs().max()) < 4.1
    torch.testing.assert_close(tails(x, *given(x, 1.0))[0], z, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-9)


def test_a_value_is_found_whatever_lies_beside_it() -> None:
    tails, draw = layer().float(), torch.Generator().manual_seed(0)
    z = 2 * torch.randn(1, 1, 1, 1000, generator=draw)
    whole = tails.inverse(z, *given(z, 0.7))
    for begin, end in ((0, 1), (1, 8), (100, 117), (500, 1000)):
        part = z[..., begin:end]
        assert torch.equal(tails.inverse(part, *given(part, 0.7)), whole[..., begin:end])


def drawn_layer(seed: int) -> TelegraphTails:
    """Jumps of any rate, size and spread."""
    draw = torch.Generator().manual_seed(seed)
    found = TelegraphTails(1, (100.0,)).requires_grad_(False)
    for table, low, high in ((found.log_rate, -8, -1), (found.log_size, 0, 3), (found.log_spread, -2, 2)):
        table.copy_(low + (high - low) * torch.rand(table.shape, generator=draw))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_slope_at_0_is_that_beside_it(dtype: torch.dtype) -> None:
    """As of a masked pixel, whose value is set to 0: F may round to above ½ there."""
    for seed in range(40):
        tails, slopes = drawn_layer(seed).to(dtype), []
        for at in (0.0, 1e-3):
            x = torch.full((1, 1, 1, 3), at, dtype=dtype, requires_grad=True)
            cond = Resolved(torch.tensor([[[[0.0, 1.0, 30.0]]]], dtype=dtype), torch.tensor([100.0]), torch.tensor([0]))
            one = torch.ones(1, 1, 1, 1, dtype=dtype)
            z, _ = tails(x, cond, NoiseParameters(cond.clean, one, one))
            slopes.append(torch.autograd.grad(z.sum(), x)[0])
        assert slopes[0].numpy() == pytest.approx(slopes[1].numpy(), rel=1e-3)


def test_gradients_are_finite_where_near_and_far_values_stand_side_by_side() -> None:
    x = torch.tensor([0.0, 1.0, 8.0, 40.0, 300.0], dtype=torch.float64).reshape(1, 1, 1, -1).requires_grad_()
    z, _ = layer()(x, *given(x.detach(), 0.5))
    (slope,) = torch.autograd.grad(z.sum(), x, create_graph=True)
    step = torch.full_like(x, 1e-5).detach()
    (above, _), (below, _) = (layer()(x.detach() + sign * step, *given(x.detach(), 0.5)) for sign in (1, -1))
    assert slope.detach().numpy() == pytest.approx(((above - below) / 2e-5).numpy(), rel=1e-6)
    (second,) = torch.autograd.grad(slope.sum(), x)
    assert bool(second.isfinite().all())


@pytest.mark.parametrize("columns", [1, 7, 16, 33])
def test_the_bits_of_a_value_do_not_depend_on_its_place(columns: int) -> None:
    """SIMD kernels may take another way at the end of an array than within it."""
    tails, draw = drawn_layer(3), torch.Generator().manual_seed(4)
    z = 2 * torch.randn(1, 1, 5, columns, generator=draw)
    clean = torch.rand(z.shape, generator=draw)

    def noise_of(rows: slice, places: slice) -> Tensor:
        cond = Resolved(clean[..., rows, places], torch.tensor([100.0]), torch.tensor([0]))
        one = torch.ones(1, 1, 1, 1)
        return tails.inverse(z[..., rows, places], cond, NoiseParameters(cond.clean, one, one))

    whole = noise_of(slice(None), slice(None))
    for row in range(5):
        for place in range(columns):
            own = noise_of(slice(row, row + 1), slice(place, place + 1))
            assert torch.equal(own[..., 0, 0], whole[..., row, place])


def test_bfloat16_is_computed_in_float32() -> None:
    tails = drawn_layer(5)
    x = torch.linspace(-6, 6, 25).reshape(1, 1, 1, -1)
    cond = Resolved(torch.ones_like(x), torch.tensor([100.0]), torch.tensor([0]))
    noise = NoiseParameters(cond.clean, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    z, log_det = tails(x.bfloat16(), cond, noise)
    expected, _ = tails(x.bfloat16().float(), cond, noise)
    assert z.dtype == torch.bfloat16
    assert log_det.dtype == torch.float32
    assert torch.equal(z, expected.bfloat16())
    assert torch.equal(tails.inverse(z, cond, noise), tails.inverse(z.float(), cond, noise).bfloat16())


def test_many_at_once_under_vmap_are_each_by_itself() -> None:
    tails = drawn_layer(6)
    x = torch.tensor([-40.0, -3.0, 0.0, 0.5, 5.0, 100.0]).reshape(6, 1, 1, 1, 1)
    cond = Resolved(torch.ones(1, 1, 1, 1), torch.tensor([100.0]), torch.tensor([0]))
    noise = NoiseParameters(cond.clean, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    z = torch.func.vmap(lambda each: tails(each, cond, noise)[0])(x)
    assert torch.allclose(z, torch.stack([tails(each, cond, noise)[0] for each in x]))
    back = torch.func.vmap(lambda each: tails.inverse(each, cond, noise))(z)
    assert torch.allclose(back, x, rtol=1e-4, atol=1e-5)


def test_tails_beyond_the_smallest_float32_keep_their_precision() -> None:
    """Of a tail of e⁻⁸⁰ to e⁻¹⁰⁰, which float32 cannot hold or holds with few digits; z is near 12.4 to 14."""
    x = torch.linspace(11, 27, 400, dtype=torch.float64)[:, None, None, None]
    exact, _ = layer()(x, *given(x, 0.5))
    found, _ = layer().float()(x.float(), *given(x.float(), 0.5))
    far = (exact > 12.3) & (exact < 14.2)
    assert far.sum() > 20
    torch.testing.assert_close(found[far].double(), exact[far], rtol=4e-6, atol=0)
