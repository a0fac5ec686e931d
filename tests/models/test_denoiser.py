import math
from pathlib import Path

import pytest
import torch

from noiseflow.core.errors import DataError, ModelError
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, load_denoiser, save_denoiser
from noiseflow.models.noise_statistics import local_mean

SPEC = DenoiserSpec("bayer", ("One", "Two"), (100.0, 1600.0), width=8)


@pytest.fixture
def denoiser() -> Denoiser:
    """With a last layer that does something."""
    model = Denoiser(SPEC).eval()
    with torch.no_grad():
        model.layers[-1].weight.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
        model.level.log_beta1[1] += 1
    return model


def noisy(*shape: int) -> torch.Tensor:
    return 0.3 + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_it_starts_as_a_local_mean_that_stops_at_edges() -> None:
    """On flat noise of variance v a 5×5 mean leaves v/25; a pixel 30 σ off is left alone."""
    denoiser = Denoiser(SPEC)
    sigma = float((denoiser.level.log_beta1[0, 0].exp() * 0.3 + denoiser.level.log_beta2[0, 0].exp()).sqrt().detach())
    x = 0.3 + 0.2 * sigma * torch.randn((1, 4, 64, 64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert float((denoiser(x, 100.0) - 0.3).var()) == pytest.approx((0.2 * sigma) ** 2 / 25, rel=0.1)
        x[0, 0, 30, 30] += 30 * sigma
        assert float(denoiser(x, 100.0)[0, 0, 30, 30]) == pytest.approx(float(x[0, 0, 30, 30]))


@pytest.mark.parametrize("height", [0.5, 3.0, 6.0])
def test_at_the_start_a_deviation_is_taken_off_by_how_surely_it_is_noise(height: float) -> None:
    """Of a deviation d from the mean of 25 pixels, in σ at that mean: d·exp(−d²/(2·3²)) is noise."""
    denoiser = Denoiser(SPEC).double()
    beta1, beta2 = (float(each[0, 0].exp().detach()) for each in (denoiser.level.log_beta1, denoiser.level.log_beta2))
    x = torch.full((1, 4, 9, 9), 0.3, dtype=torch.float64)
    spike = height * math.sqrt(beta1 * 0.3 + beta2)
    x[0, 1, 4, 4] += spike
    mean = 0.3 + spike / 25
    sigma = math.sqrt(beta1 * mean + beta2)
    off = (0.3 + spike - mean) / sigma
    with torch.no_grad():
        found = float(denoiser(x, 100.0)[0, 1, 4, 4])
    assert (0.3 + spike - found) / sigma == pytest.approx(off * math.exp(-(off**2) / 18), abs=1e-5)


def test_each_element_has_its_own_camera_and_iso(denoiser: Denoiser) -> None:
    x, isos, cameras = noisy(3, 4, 12, 12), torch.tensor([100.0, 800.0, 1600.0]), ["One", "Two", "One"]
    with torch.no_grad():
        together = denoiser(x, isos, cameras)
        single = torch.cat([denoiser(x[n : n + 1], float(isos[n]), cameras[n]) for n in range(3)])
    torch.testing.assert_close(together, single)
    assert not torch.allclose(together, x)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (40, 33)])
def test_any_size(denoiser: Denoiser, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert torch.isfinite(denoiser(noisy(1, 4, *size), 100.0)).all()


def test_nothing_beyond_its_reach_counts(denoiser: Denoiser) -> None:
    x = noisy(1, 4, 80, 3)
    other = x.clone()
    other[:, :, 40 + denoiser.reach + 1 :] += 1
    with torch.no_grad():
        torch.testing.assert_close(denoiser(x, 100.0)[:, :, :41], denoiser(other, 100.0)[:, :, :41])
        other[:, :, 40 + denoiser.reach] += 1
        assert not torch.equal(denoiser(x, 100.0)[:, :, 40], denoiser(other, 100.0)[:, :, 40])


def test_the_hollow_mean_knows_nothing_of_its_pixel() -> None:
    x = noisy(1, 1, 6, 6)
    for y, column in ((0, 0), (3, 2), (5, 1)):
        other = x.clone()
        other[..., y, column] = 9.0
        torch.testing.assert_close(
            local_mean(x, hollow=True)[..., y, column], local_mean(other, hollow=True)[..., y, column]
        )
    torch.testing.assert_close(local_mean(x, hollow=True)[0, 0, 0, 0], (x[0, 0, :3, :3].sum() - x[0, 0, 0, 0]) / 8)


def test_on_disk_and_back(denoiser: Denoiser, tmp_path: Path) -> None:
    save_denoiser(denoiser, tmp_path)
    x = noisy(1, 4, 8, 8)
    with torch.no_grad():
        for place in (tmp_path, tmp_path / "denoiser"):
            assert torch.equal(load_denoiser(place)(x, 200.0, "Two"), denoiser(x, 200.0, "Two"))
    (tmp_path / "denoiser" / "denoiser.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="was changed since it was written"):
        load_denoiser(tmp_path)


def test_the_smallest_one_on_disk_and_back(tmp_path: Path) -> None:
    """One plane, one camera of one letter, one ISO, one hidden plane, two convolutions."""
    save_denoiser(Denoiser(DenoiserSpec("mono", ("A",), (100.0,), width=1, depth=2)), tmp_path)
    found = load_denoiser(tmp_path)
    assert found.spec == DenoiserSpec("mono", ("A",), (100.0,), width=1, depth=2, seed=0)
    assert found(noisy(1, 1, 3, 3), 100.0, "A").shape == (1, 1, 3, 3)


def test_what_does_not_fit_is_refused(denoiser: Denoiser) -> None:
    with pytest.raises(DataError, match="expected 4 plane"):
        denoiser(noisy(1, 1, 8, 8), 100.0)
    with pytest.raises(ModelError, match="'Three' is not one"):
        denoiser(noisy(1, 4, 8, 8), 100.0, "Three")
    with pytest.raises(ModelError, match="depth of 2"):
        DenoiserSpec(depth=1)
