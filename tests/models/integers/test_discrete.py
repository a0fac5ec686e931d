import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from model_table import CAMERAS, TRAINED, generator, randomised_model
from scipy import stats
from torch import Tensor

from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.combinators import Inverse
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.coupling.spline import PixelSpline, spline_outputs
from noiseflow.flows.flow import Flow
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import CodesByLatent, approximate_sigma, exact_codes
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.integers.dequantise import Dequantiser, VariationalDequantiser, truncated_normal, uniform
from noiseflow.models.integers.discrete_log_prob import DiscreteLogProb, discrete_log_prob
from noiseflow.models.oracle.poisson_gaussian import PoissonGaussianOracle

ISOS = (100.0, 400.0, 1600.0)


class PixelFlow(FlowModel):
    """Heavy tails, skew, a gain: a flow of all elementwise transforms."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        planes, cameras = spec.planes, len(spec.cameras)
        net = ConditionalNet(0, spline_outputs(planes, 5), planes, cameras, 6, 1, generator=generator())
        head = ShotReadScale(planes, cameras, spec.isos, shares_features=True)
        tails = CubicTails(cameras, spec.isos, by_read_share=True)
        self.flow = Flow([head, tails, PixelSpline(net, 5), ActNorm(planes), Inverse(Gain(0.1))])


def randomised(model: NoiseModel, spread: float = 0.3) -> NoiseModel:
    model, draw = model.double().eval(), generator(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
    return model


def oracle(black: float, white: float, gain: float = 0.7, sigma: float = 0.4) -> PoissonGaussianOracle:
    of_camera = {
        "isos": list(ISOS),
        "gain_dn_per_e": [gain] * 3,
        "read_scale_dn": [sigma] * 3,
        "black_dn": black,
        "white_dn": white,
    }
    return PoissonGaussianOracle(
        ModelSpec("oracle", "mono", CAMERAS, ISOS, {"truth": dict.fromkeys(CAMERAS, of_camera)})
    )


EXACT = {
    "gaussian": lambda black, white: randomised_model("gaussian", "mono", spread=0.5),
    "nlf": lambda black, white: randomised_model("nlf", "mono", spread=0.5),
    "elementwise flow": lambda black, white: randomised(
        PixelFlow(ModelSpec("pixel", "mono", CAMERAS, ISOS)),
    ),
    "oracle": oracle,
}
"""Models that give each pixel its own probability, at any levels."""


def all_codes(model: NoiseModel, clean: float, black: float, white: float, **how: object) -> DiscreteLogProb:
    """One pixel at every code from 0 to the white level."""
    count = int(white) + 1
    codes = torch.arange(count, dtype=torch.float64)[:, None, None, None]
    cond = Conditions(torch.full(codes.shape, clean, dtype=torch.float64), 400.0, "B")
    levels = Levels(torch.full((count, 1), black), torch.full((count,), white))
    with torch.no_grad():
        return discrete_log_prob(model, codes, cond, levels, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=25, deadline=None)
@given(
    white=st.integers(1, 300),
    part=st.floats(0, 0.9),
    clean=st.floats(-0.3, 1.4),
)
def test_exact_probabilities_add_up_to_one_over_all_codes(name: str, white: int, part: float, clean: float) -> None:
    black = part * white
    found = all_codes(EXACT[name](black, white), clean, black, white)
    assert found.exact
    assert found.words == "exact"
    # The flow's spline is worth 1e-10 on its joints.
    assert float(found.values.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert (found.values <= 1e-12).all()


@pytest.mark.parametrize("name", ["gaussian", "nlf", "elementwise flow"])
def test_in_float32_they_add_up_as_well(name: str) -> None:
    model = EXACT[name](64, 1023).float()
    codes = torch.arange(1024.0)[:, None, None, None]
    levels = Levels(torch.full((1024, 1), 64.0), torch.full((1024,), 1023.0))
    with torch.no_grad():
        found = discrete_log_prob(model, codes, Conditions(torch.full(codes.shape, 0.2), 400.0, 1), levels)
    assert float(found.values.exp().sum()) == pytest.approx(1, abs=1e-6)


def fitted_nlf(sigma_dn: float, span: float, gain_dn: float = 0.0) -> NoiseLevelFunction:
    model = build(ModelSpec("nlf", "mono", isos=(400.0,))).double().requires_grad_(False)
    assert isinstance(model, NoiseLevelFunction)
    with torch.no_grad():
        model.log_beta1.fill_(math.log(max(gain_dn / span, 1e-12)))
        model.log_beta2.fill_(2 * math.log(sigma_dn / span))
    return model


def test_a_tiny_case_is_scipy_s() -> None:
    span, black, sigma = 11.0, 4.0, 1.7
    codes = torch.tensor([[[[0.0, 1.0, 9.0, 15.0]]], [[[3.0, 4.0, 5.0, 15.0]]]], dtype=torch.float64)
    clean = torch.tensor([[[[0.0, 0.1, 0.5, 0.9]]], [[[-0.1, 0.2, 0.0, 1.2]]]], dtype=torch.float64)
    levels = Levels(torch.full((2, 1), black), torch.full((2,), 15.0))
    found = discrete_log_prob(fitted_nlf(sigma, span), codes, Conditions(clean, 400.0, 0), levels)
    mean = black + clean.numpy() * span
    high = np.where(codes == 15, np.inf, codes + 0.5)
    low = np.where(codes == 0, -np.inf, codes - 0.5)
    expected = np.log(stats.norm.cdf(high, mean, sigma) - stats.norm.cdf(low, mean, sigma))
    assert found.values.detach().numpy() == pytest.approx(expected.sum((1, 2, 3)), rel=1e-6)
    assert found.per_plane is not None
    assert found.per_plane.shape == (2, 1)


def test_the_unit_is_that_of_the_codes_however_the_signal_is_normalised() -> None:
    codes = torch.tensor([[[[0.0, 60.0, 64.0, 70.0]]]], dtype=torch.float64)
    signal_dn = torch.tensor([[[[-1.0, 0.0, 2.5, 5.0]]]], dtype=torch.float64)
    found = []
    for white in (1023.0, 1982.0):  # 64 + 2·959: the same signal is half as large a part of it
        span = white - 64
        levels = Levels(torch.tensor([[64.0]]), torch.tensor([white]))
        cond = Conditions(signal_dn / span, 400.0, 0)
        for dequantiser in (None, Dequantiser(uniform)):
            how = {"dequantiser": dequantiser, "generator": generator()}
            model = fitted_nlf(0.6, span, 0.3)
            found.append(float(discrete_log_prob(model, codes, cond, levels, **how).values))  # type: ignore[arg-type]
    assert found[0] == pytest.approx(found[2], rel=1e-6)
    assert found[1] == pytest.approx(found[3], rel=1e-6)


def test_an_estimated_clean_signal_widens_the_noise() -> None:
    # Divided by √(1 + v), the noise is the model's own: the codes then are those of a model that much wider.
    codes = torch.arange(16.0, dtype=torch.float64)[:, None, None, None]
    cond = Conditions(torch.full(codes.shape, 0.3, dtype=torch.float64), 400.0, 0)
    black, white = torch.full((16, 1), 4.0), torch.full((16,), 15.0)
    spread = Levels(black, white, torch.full((16,), math.sqrt(1.5)))
    found = discrete_log_prob(fitted_nlf(1.0, 11.0), codes, cond, spread)
    expected = discrete_log_prob(fitted_nlf(math.sqrt(1.5), 11.0), codes, cond, Levels(black, white))
    assert torch.allclose(found.values, expected.values, rtol=1e-6)


def test_codes_of_an_estimated_clean_signal_are_the_nearest_ones_of_the_model() -> None:
    """Noise of spread s is divided by s, and rounded to a code of the model, whose density is then one of s DN."""
    codes = torch.arange(8.0, 15.0, dtype=torch.float64)[:, None, None, None]
    cond = Conditions(torch.full(codes.shape, 0.5, dtype=torch.float64), 400.0, 0)
    black, white = torch.full((7, 1), 4.0), torch.full((7,), 24.0)
    model = oracle(4.0, 24.0, gain=0.7, sigma=1.5)
    # The clean signal is 14 DN: codes 6, 5, 4 … below it are 3, 2.5, 2 … below it.
    nearest = torch.tensor([11.0, 12.0, 12.0, 12.0, 13.0, 14.0, 14.0], dtype=torch.float64).reshape(codes.shape)
    found = discrete_log_prob(model, codes, cond, Levels(black, white, torch.full((7,), 2.0)))
    own = discrete_log_prob(model, nearest, cond, Levels(black, white))
    assert found.values.tolist() == pytest.approx((own.values - math.log(2)).tolist(), rel=1e-9)


def test_codes_above_a_white_level_count_as_that_level() -> None:
    levels = Levels(torch.tensor([[4.0]]), torch.tensor([14.6]))
    cond = Conditions(torch.full((1, 1, 1, 1), 0.9, dtype=torch.float64), 400.0, 0)
    found = [
        float(discrete_log_prob(fitted_nlf(1, 11), torch.full((1, 1, 1, 1), code), cond, levels).values)
        for code in (15.0, 16.0, 4000.0)
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["nlf", "elementwise flow"])
@pytest.mark.parametrize("proposal", [uniform, truncated_normal])
def test_a_bound_is_below_the_exact_value_and_rises_to_it(name: str, proposal: object) -> None:
    black, white, clean = 3, 40, 0.02
    model = EXACT[name](black, white)
    with torch.no_grad():
        first = next(model.parameters())
        first.fill_(-30.0)
        list(model.parameters())[1].fill_(math.log((0.5 / (white - black)) ** 2))
    exact = all_codes(model, clean, black, white).values
    last = -math.inf
    # The bound of many samples varies less: as many repeats as give the error of 4,000 of one sample, or a smaller one.
    for samples, repeats in ((1, 4000), (4, 2000), (16, 1000), (64, 500), (256, 250)):
        codes = torch.tensor([0.0, 3.0, 4.0, 5.0], dtype=torch.float64).repeat(repeats)[:, None, None, None]
        cond = Conditions(torch.full(codes.shape, clean, dtype=torch.float64), 400.0, "B")
        levels = Levels(torch.full((len(codes), 1), float(black)), torch.full((len(codes),), float(white)))
        with torch.no_grad():
            found = discrete_log_prob(
                model,
                codes,
                cond,
                levels,
                samples=samples,
                dequantiser=Dequantiser(proposal),  # type: ignore[arg-type]
                generator=generator(samples),
            )
        assert not found.exact
        assert found.per_plane is None
        assert "bound" in found.words
        gap = exact[[0, 3, 4, 5]] - found.values.reshape(repeats, 4)
        error = gap.std(0) / math.sqrt(repeats)
        # Five standard errors, 4 codes, 5 numbers of samples, 4 cases: a false alarm in 40,000 seeds.
        assert (gap.mean(0) > -5 * error - 1e-9).all()
        mean = -float(gap.mean())
        assert mean > last - 5 * float(error.mean()) - 1e-9
        last = mean
    assert last == pytest.approx(0, abs=0.01)


def test_the_bound_of_a_joint_density_sums_to_no_more_than_one() -> None:
    # Two planes' worth of row noise: 4 values that share an offset, codes 0…3 each: 256 patches.
    model = randomised_model("physics_flow", "bayer", spread=0.05)
    white, black = 3.0, 1.0
    codes = torch.cartesian_prod(*[torch.arange(4.0, dtype=torch.float64)] * 4)[:, :, None, None]
    with torch.no_grad():
        head = model.flow.transforms[0]  # type: ignore[union-attr]
        head.log_beta2.fill_(math.log((0.6 / 2) ** 2))  # type: ignore[union-attr,operator]
        cond = Conditions(torch.full(codes.shape, 0.3, dtype=torch.float64), 400.0, "B")
        levels = Levels(torch.full((256, 4), black), torch.full((256,), white))
        found = discrete_log_prob(model, codes, cond, levels, samples=200, generator=generator())
        elbo = torch.stack(
            [
                discrete_log_prob(
                    model, codes, cond, levels, dequantiser=Dequantiser(), generator=generator(seed)
                ).values
                for seed in range(40)
            ]
        )
        alone = discrete_log_prob(model, codes, cond, levels)
    assert not found.exact
    assert alone.alone
    assert float(alone.values.exp().sum()) == pytest.approx(1, abs=1e-6)
    assert float(found.values.exp().sum()) == pytest.approx(1, abs=0.01)
    # One draw loses what the proposal is not the posterior: of this randomly moved flow a tenth.
    assert 0.8 < float(elbo.mean(0).exp().sum()) < float(found.values.exp().sum())


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_gives_a_number_and_says_what_it_is(name: str) -> None:
    model = randomised_model(name, "bayer")
    draw = generator(3)
    codes = torch.randint(0, 256, (3, 4, 4, 6), generator=draw).double()
    codes[:, :, 0, 0], codes[:, :, 0, 1] = 0, 255
    clean = (codes - 16) / 239 + 0.02 * torch.randn(codes.shape, generator=draw, dtype=torch.float64)
    cond = Conditions(clean.clamp(0, 1), torch.tensor([100.0, 400.0, 900.0], dtype=torch.float64), ["A", "C", "B"])
    levels = Levels(torch.full((3, 4), 16.0), torch.full((3,), 255.0))
    with torch.no_grad():
        found = discrete_log_prob(model, codes, cond, levels, generator=generator())
        again = discrete_log_prob(model, codes, cond, levels, generator=generator())
        single = discrete_log_prob(
            model,
            codes[1:2],
            Conditions(clean[1:2].clamp(0, 1), 400.0, "C"),
            Levels(levels.black[1:2], levels.white[1:2]),
        )
    assert torch.equal(found.values, again.values)
    assert torch.isfinite(found.values).all()
    assert found.exact == (isinstance(exact_codes(model), CodesByLatent) or found.alone)
    assert found.alone == (name == "physics_flow")
    assert (found.per_plane is not None) == found.exact
    if found.exact:
        assert float(single.values) == pytest.approx(float(found.values[1]), rel=1e-10)


def test_published_layers_of_scales_alone_are_exact() -> None:
    model = build(ModelSpec("noise_flow", "bayer", options={"architecture": "sdn5|gain4"}))
    assert isinstance(exact_codes(model), CodesByLatent)
    assert exact_codes(build(ModelSpec("noise_flow"))) is None


def variational_case(sigma_dn: float) -> tuple[NoiseModel, Tensor, Conditions, Levels]:
    """Codes of Gaussian noise of so many DN about signals at any place within a code."""
    draw = generator(5)
    span = 1000.0
    signal = 20 + 8 * torch.rand(24, 1, 16, 16, generator=draw, dtype=torch.float64)
    codes = (signal + sigma_dn * torch.randn(signal.shape, generator=draw, dtype=torch.float64)).round()
    levels = Levels(torch.zeros(24, 1), torch.full((24,), span))
    return fitted_nlf(sigma_dn, span), codes, Conditions(signal / span, 400.0, 0), levels


def test_variational_dequantisation_starts_as_uniform_and_learns() -> None:
    model, codes, cond, levels = variational_case(0.3)
    model.requires_grad_(False)
    dequantiser = VariationalDequantiser(1, 1, generator=generator()).double()

    def bound(by: Dequantiser) -> Tensor:
        how = {"dequantiser": by, "scale": approximate_sigma(model, cond), "generator": draw}
        return discrete_log_prob(model, codes, cond, levels, **how).values.mean() / 256  # type: ignore[arg-type]

    draw = generator(1)
    with torch.no_grad():
        start = bound(dequantiser)
        draw = generator(1)
        assert float(start) == pytest.approx(float(bound(Dequantiser(uniform))), rel=1e-9)
        exact = discrete_log_prob(model, codes, cond, levels).values.mean() / 256
    optimiser = torch.optim.Adam(dequantiser.parameters(), lr=0.02)
    for _ in range(60):
        loss = -bound(dequantiser)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        trained = bound(dequantiser)
    # Of 6,144 values: standard error of the bound's gap 0.01 at the start.
    assert float(exact - start) > 0.3
    assert float(exact - trained) < 0.4 * float(exact - start)
    assert float(exact - trained) > 0


def test_the_oracle_s_discretised_nll_is_the_entropy_of_its_codes() -> None:
    black, white, clean = 6.0, 60.0, 0.05
    model = oracle(black, white, gain=0.7, sigma=0.35)
    log_prob = all_codes(model, clean, black, white).values
    entropy = -float((log_prob.exp() * log_prob).sum())
    cond = Conditions(torch.full((16, 1, 64, 64), clean, dtype=torch.float64), 400.0, "B")
    levels = Levels(torch.full((16, 1), black), torch.full((16,), white))
    codes = levels.codes(model.sample(cond, generator(2)), cond.clean)
    found = -discrete_log_prob(model, codes, cond, levels).values / 4096
    spread = float((log_prob.exp() * (log_prob + entropy).square()).sum().sqrt())
    # 65,536 independent pixels; four standard errors: once in 16,000.
    assert float(found.mean()) == pytest.approx(entropy, abs=4 * spread / 256)


def test_levels_of_another_camera_are_refused() -> None:
    codes = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ModelError, match=r"expected a black level of 6 DN; the codes have 8 DN"):
        discrete_log_prob(
            oracle(6, 60), codes, Conditions(codes, 400.0, "B"), Levels(torch.tensor([[8.0]]), torch.tensor([60.0]))
        )


@pytest.mark.parametrize("bad", [0.5, -1.0, math.nan])
def test_what_are_no_codes_is_refused(bad: float) -> None:
    levels = Levels(torch.tensor([[4.0]]), torch.tensor([15.0]))
    cond = Conditions(torch.zeros(1, 1, 2, 2), 400.0, 0)
    with pytest.raises(DataError, match="whole numbers of 0 or more"):
        discrete_log_prob(fitted_nlf(1, 11), torch.full((1, 1, 2, 2), bad), cond, levels)
    with pytest.raises(DataError, match="samples: expected 1"):
        discrete_log_prob(fitted_nlf(1, 11), torch.zeros(1, 1, 2, 2), cond, levels, samples=0)
    with pytest.raises(DataError, match="white level above black"):
        Levels(torch.tensor([[15.0]]), torch.tensor([15.0]))
    with pytest.raises(DataError, match="expected the shape of clean"):
        discrete_log_prob(fitted_nlf(1, 11), torch.zeros(1, 1, 3, 2), cond, levels)
