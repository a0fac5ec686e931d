"""Rows that share an offset and a change of their light: against dense covariances, and found again in data."""

import math

import pytest
import torch
from transform_table import CAMERAS, ISOS, conditions, flickering_rows, noise_like, randomised

from noiseflow.flows import Conditions
from noiseflow.flows.camera.line_noise import SURE
from noiseflow.flows.camera.row_noise import RowNoise, _line
from noiseflow.models import ModelSpec, build
from noiseflow.models.flow.physics_flow import PhysicsFlow


@pytest.mark.parametrize("planes", [1, 4])
@torch.no_grad()
def test_the_density_is_that_of_the_rows_covariance(planes: int) -> None:
    cond = conditions(3, planes, 2, 5)
    transform = randomised(flickering_rows(planes), 0.3)
    rows, noise = transform.inner, transform.found(cond)
    assert isinstance(rows, RowNoise)
    x = noise_like(cond)
    z, log_det = rows(x, cond, noise)
    density = (log_det - 0.5 * z.square().sum((1, 2, 3))).tolist()
    d, e = rows._offset(x, noise), rows.relative_signal(x, noise)
    for element, found in enumerate(density):
        r, f = float(rows.variance(cond)[element]), float(rows.flicker(cond)[element])
        expected = 0.0
        for sub in range(d.shape[1]):
            for line in range(2):
                offset, light = d[element, sub, :, line].flatten(), e[element, sub, :, line].flatten()
                values = x.reshape(d.shape)[element, sub, :, line].flatten()
                covariance = torch.eye(len(values)).double() + r * offset.outer(offset) + f * light.outer(light)
                expected -= 0.5 * float(values @ torch.linalg.solve(covariance, values) + torch.logdet(covariance))
        assert found == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_without_flicker_it_is_line_noise() -> None:
    cond = conditions(3, 4, 4, 6)
    transform = randomised(flickering_rows(4), 0.0)
    rows, noise = transform.inner, transform.found(cond)
    assert isinstance(rows, RowNoise)
    torch.nn.init.constant_(rows.log_flicker, math.log(1e-14))
    x = noise_like(cond)
    plain = super(RowNoise, rows).forward(x, cond, noise)
    for found, expected in zip(rows(x, cond, noise), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def patches(flicker: float, draws: torch.Generator) -> tuple[PhysicsFlow, torch.Tensor, Conditions]:
    """400 patches from dark to bright, read noise 2 DN, K 0.5 DN/e⁻, rows of r = 0.02 and of this flicker."""
    span, gain, read, r = 1023.0, 0.5, 2.0, 0.02
    model = build(ModelSpec("physics_flow", "mono", ("A",), (100.0,), {}))
    assert isinstance(model, PhysicsFlow)
    clean = torch.linspace(0, 0.8, 400)[:, None, None, None].expand(400, 1, 32, 64).contiguous()
    variance = gain / span * clean + (read / span) ** 2
    noise = variance.sqrt() * torch.randn(clean.shape, generator=draws)
    noise += read / span * math.sqrt(r) * torch.randn(400, 1, 32, 1, generator=draws)
    noise += clean * math.sqrt(flicker) * torch.randn(400, 1, 32, 1, generator=draws)
    with torch.no_grad():
        model.shot_read.log_beta1.fill_(math.log(gain / span))
        model.shot_read.log_beta2.fill_(math.log((1 + r) * (read / span) ** 2))
    return model, noise, Conditions(clean, 100.0, "A")


def test_rows_that_flicker_are_found_and_the_spec_says_so() -> None:
    """f = 10⁻⁵ and r = 0.02 from 12,800 rows: f is known to 2 %, r to 15 %; four of these are allowed."""
    model, noise, cond = patches(1e-5, torch.Generator().manual_seed(1))
    model.start_from_patches(noise, cond)
    rows = model.flow.transforms[1]
    assert isinstance(rows, RowNoise)
    assert model.spec.options["row_flicker"] is True
    assert float(rows.log_flicker.detach().exp()) == pytest.approx(1e-5, rel=0.08)
    assert float(rows.log_variance.detach().exp()) == pytest.approx(0.02, rel=0.6)
    again = build(model.spec)
    again.load_state_dict(model.state_dict())
    drawn = again.sample(cond, torch.Generator().manual_seed(2))
    for part in (slice(0, 100), slice(300, 400)):
        found, true = (float(each[part].mean(3).var()) for each in (drawn, noise))
        assert found == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_rows_without_flicker_stay_plain(seed: int) -> None:
    """`SURE` standard errors: less than one camera in 10,000 is taken for one that flickers."""
    model, noise, cond = patches(0.0, torch.Generator().manual_seed(seed))
    model.start_from_patches(noise, cond)
    assert not isinstance(model.flow.transforms[1], RowNoise)
    assert "row_flicker" not in model.spec.options


def test_shapes_of_its_tables() -> None:
    assert RowNoise(4, CAMERAS, ISOS).log_flicker.shape == (CAMERAS, len(ISOS))


def test_a_line_over_the_light_is_found_and_sure_from_its_own_standard_error_on() -> None:
    """Estimates on a line are that line, whatever their weights; its slope's error is that of least squares."""
    light = torch.linspace(0.5, 4, 2000, dtype=torch.float64)
    norm = torch.linspace(20, 90, 2000, dtype=torch.float64)

    def error(r: float, f: float) -> float:
        weight = 1 / (2 * (1 / norm + r + f * light) ** 2)
        return float((weight * (light - (weight * light).sum() / weight.sum()) ** 2).sum() ** -0.5)

    seen = []
    for r in (0.0, 0.03):
        for f in (0.002, 0.01, 0.02, 0.03, 0.05, 0.1):
            found = _line(light, r + f * light, norm)
            assert found[:2] == pytest.approx((r, f), abs=1e-12)
            assert found[2] == (f > SURE * error(r, f))
            seen.append(found[2])
    assert {True, False} == set(seen)
    # Rows that get quieter with the light do not flicker; rows of one light tell nothing of it.
    r, f, sure = _line(light, 1 - 0.1 * light, norm)
    assert 0.5 < r < 1
    assert (f, sure) == (0.0, False)
    assert _line(torch.full_like(light, 2.0), torch.full_like(light, 0.3), norm) == (pytest.approx(0.3), 0.0, False)
    assert _line(light, torch.full_like(light, -0.3), norm) == (0.0, 0.0, False)
