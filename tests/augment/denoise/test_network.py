import numpy as np
import pytest
import torch
from small_denoiser import network

from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec, lines_of
from noiseflow.augment.denoise.stabilise import stabilised, unstabilised
from noiseflow.core.errors import DataError, ModelError


def column(value: float) -> torch.Tensor:
    return torch.full((1, 4, 1, 1), value, dtype=torch.float64)


def test_the_transform_and_its_inverse() -> None:
    signal = torch.linspace(-0.05, 1, 500, dtype=torch.float64).expand(1, 4, 1, 500)
    for slope, offset in ((0.0, 1e-4), (1e-3, 0.0), (0.02, 1e-5)):
        value = stabilised(signal, column(slope), column(offset))
        torch.testing.assert_close(unstabilised(value, column(slope), column(offset)), signal, rtol=1e-10, atol=1e-12)
        assert bool((value.diff() > 0).all())
    straight = stabilised(signal, column(0.0), column(1e-4))
    torch.testing.assert_close(straight, signal / 0.01)


def test_noise_has_unit_variance_in_its_units() -> None:
    # 0.012 is the standard error of a standard deviation of 3,500 draws; five of them.
    rng, gain, read = np.random.default_rng(0), 1 / 2000, 2e-3
    for electrons in (20, 100, 1000):
        drawn = gain * rng.poisson(electrons, (1, 1, 1, 3500)) + read * rng.standard_normal((1, 1, 1, 3500))
        value = stabilised(torch.from_numpy(drawn), column(gain)[:, :1], column(read**2)[:, :1])
        assert float(value.std()) == pytest.approx(1, abs=0.06)


def test_a_new_network_changes_nothing() -> None:
    noisy = torch.rand(2, 4, 11, 13, generator=torch.Generator().manual_seed(0))
    line = torch.full((2, 4, 1, 1), 1e-3)
    found = PhotoDenoiser(PhotoDenoiserSpec((4, 8)))(noisy, line, line, -line)
    torch.testing.assert_close(found, noisy, rtol=1e-5, atol=1e-6)


def test_units_do_not_matter() -> None:
    """D(s·x; s·β₁, s²·β₂) = s·D(x; β₁, β₂) far from the ends of the range: gain and ISO are nothing to it."""
    noisy = 0.2 + 0.01 * torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = network().double()
    once = made(noisy, column(1e-4), column(1e-5), column(-1))
    twice = made(2 * noisy, column(2e-4), column(4e-5), column(-1))
    torch.testing.assert_close(twice, 2 * once)
    assert float((once - noisy).detach().abs().max()) > 1e-4


def test_lines_show_the_offset_of_rows_and_columns() -> None:
    off = torch.zeros(1, 4, 16, 24)
    off[:, :2, 5] = 0.1
    off[:, 1::2, :, 7] += 0.2
    rows_1, rows_2, columns_1, columns_2 = lines_of(off)[0]
    assert float(rows_1[5, 0]) == pytest.approx(0.1, rel=0.06)
    assert float(columns_2[0, 7]) == pytest.approx(0.2, rel=0.06)
    assert float(rows_2.abs().max()) < 0.02
    assert float(columns_1[:, 8].abs().max()) < 0.02
    assert float(lines_of(torch.full((1, 4, 8, 8), 50.0)).abs().max()) < 1e-6


def test_the_reach_is_one() -> None:
    made = network().double()
    side = 2 * made.reach + 8
    noisy = torch.full((1, 4, side, side), 0.2, dtype=torch.float64)
    changed = noisy.clone()
    changed[..., side // 2, side // 2] += 0.02
    line = column(1e-4)
    off = (made(changed, line, line, -line) - made(noisy, line, line, -line)).detach().abs().amax((0, 1)) > 0
    rows = off.any(1).nonzero()
    assert 8 < int(rows.max() - rows.min()) <= 2 * made.reach


def test_every_weight_learns() -> None:
    made = network()
    line = torch.full((1, 4, 1, 1), 1e-3)
    noisy = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    made(noisy, line, line, -line).square().mean().backward()
    assert all(each.grad is not None and bool(each.grad.abs().sum() > 0) for each in made.parameters())


def test_what_does_not_fit_is_refused() -> None:
    line = torch.full((1, 4, 1, 1), 1e-3)
    with pytest.raises(DataError, match=r"expected shape \(B, 4, H, W\)"):
        network()(torch.zeros(1, 3, 8, 8), line, line, line)
    with pytest.raises(ModelError, match="two to four widths"):
        PhotoDenoiserSpec((4,))
