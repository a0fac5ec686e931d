"""What nflows, zuko and normflows ask of their own transforms, asked of every line of `transform_table`.

What the contract asks already (shapes, round trips, log-det against autograd, state) is not repeated here.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transform_table import TRANSFORMS, Case, as_dtype, conditions, generator, made, noise_like

from noiseflow.flows import Conditions, Flow
from noiseflow.flows.transform import Transform

each_transform = pytest.mark.parametrize("case", TRANSFORMS.values(), ids=TRANSFORMS.keys())
STEP = 1e-5


@each_transform
def test_the_log_dets_of_both_directions_cancel(case: Case) -> None:
    """nflows' `inverse_compatible`, normflows' `checkForwardInverse`."""
    transform = made(case)
    for height, width in case.sizes:
        cond = conditions(3, case.planes, height, width)
        z = noise_like(cond)
        x, log_det = transform.inverse_and_log_det(z, cond)
        torch.testing.assert_close(x, transform.inverse(z, cond), rtol=1e-10, atol=1e-11)
        assert log_det.shape == (3,)
        torch.testing.assert_close(log_det, -transform(x, cond)[1], rtol=1e-8, atol=1e-8)


@each_transform
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_log_dets_keep_the_dtype_both_ways(case: Case, dtype: torch.dtype) -> None:
    transform = made(case).to(dtype)
    cond = as_dtype(conditions(2, case.planes, *case.sizes[0]), dtype)
    values = noise_like(cond)
    for way in (transform.forward, transform.inverse_and_log_det):
        assert {each.dtype for each in way(values, cond)} == {dtype}


@each_transform
@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_gradients_of_parameters_agree_with_differences(case: Case, way: str) -> None:
    """zuko's and nflows' training goes forward, a reverse KL (normflows) and `rsample` (zuko) go back."""
    transform = made(replace(case, spread=min(case.spread, 0.1)))
    cond = conditions(3, case.planes, 4, 3)
    values, weight = noise_like(cond, scale=0.7), noise_like(cond, seed=9)

    def scalar() -> Tensor:
        found, log_det = (transform.forward if way == "forward" else transform.inverse_and_log_det)(values, cond)
        return (weight * found.square()).sum() + log_det.sum()

    parameters = [each for each in transform.parameters() if each.numel()]
    draw = generator(4)
    directions = [torch.randn(each.shape, generator=draw, dtype=each.dtype) for each in parameters]
    gradients = torch.autograd.grad(scalar(), parameters, allow_unused=True)
    assert all(each is not None for each in gradients)
    found = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def moved(step: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += step * direction
            value = float(scalar())
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= step * direction
        return value

    coarse, fine = ((moved(step) - moved(-step)) / (2 * step) for step in (STEP, STEP / 2))
    assert found == pytest.approx((4 * fine - coarse) / 3, rel=1e-6, abs=1e-6)


@each_transform
def test_two_in_a_chain_are_one_transform(case: Case) -> None:
    """nflows' `CompositeTransform`, zuko's `ComposedTransform`: log-dets add, inverses go the other way round."""
    one, two = made(case, seed=1), made(case, seed=2)
    flow = Flow([one, two]).double().eval()
    cond = conditions(2, case.planes, *case.sizes[-1])
    x = noise_like(cond)
    between, first = one(x, cond)
    z, second = two(between, cond)
    found, log_det = flow(x, cond)
    torch.testing.assert_close(found, z, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(log_det, first + second, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow.inverse(z, cond), x, rtol=1e-7, atol=1e-8)


@each_transform
def test_a_functional_call_with_other_parameters_is_the_other_transform(
    case: Case, request: pytest.FixtureRequest
) -> None:
    """`torch.func.functional_call`, and an ensemble of weights under `vmap`."""
    one, other = made(case, seed=1), made(case, seed=5)
    cond = conditions(2, case.planes, *case.sizes[0])
    x = noise_like(cond)
    weights = [{**dict(each.named_parameters()), **dict(each.named_buffers())} for each in (one, other)]
    z, log_det = torch.func.functional_call(one, weights[1], (x, cond))
    expected = other(x, cond)
    torch.testing.assert_close(z, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, expected[1], rtol=1e-12, atol=1e-12)
    if request.node.callspec.id.startswith("remembering_rows"):
        return  # it looks at its weights, whether the light's part remembers: no ensemble under `vmap`
    stacked = {name: torch.stack([each[name].detach() for each in weights]) for name in weights[0]}
    both = torch.func.vmap(lambda weight: torch.func.functional_call(one, weight, (x, cond)))(stacked)
    torch.testing.assert_close(both[0][0], one(x, cond)[0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(both[0][1], expected[0], rtol=1e-9, atol=1e-10)


class Within:
    """Our transform as one of nflows: the clean signal, ISO and camera are the context."""

    @staticmethod
    def nflows(transform: Transform) -> nn.Module:
        from nflows.transforms.base import Transform as Theirs

        class OfNflows(Theirs):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.inner = transform

            def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
                found: tuple[Tensor, Tensor] = self.inner(inputs, unpacked(context))
                return found

            def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
                return transform.inverse_and_log_det(inputs, unpacked(context))

        return OfNflows()


def packed(cond: Conditions) -> Tensor:
    """Conditions as one tensor, for libraries whose context is one: two planes more, of ISO and camera."""
    settings = torch.stack([cond.iso.to(cond.clean.dtype), cond.camera.to(cond.clean.dtype)], 1)
    planes = settings[:, :, None, None].expand(-1, -1, *cond.clean.shape[2:])
    return torch.cat([cond.clean, planes], 1)


def unpacked(context: Tensor) -> Conditions:
    return Conditions(context[:, :-2], context[:, -2, 0, 0], context[:, -1, 0, 0].long())


@pytest.fixture
def draws_in_float64() -> Iterator[None]:
    """nflows draws in the dtype that is torch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@each_transform
@pytest.mark.usefixtures("draws_in_float64")
def test_it_works_within_a_flow_of_nflows(case: Case) -> None:
    """Composed, inverted, and sampled with the density of the samples, by that library's own classes."""
    flows = pytest.importorskip("nflows.flows", reason="nflows is not installed")
    from nflows.distributions import StandardNormal
    from nflows.transforms import CompositeTransform, InverseTransform

    transform = made(case)
    cond = conditions(2, case.planes, *case.sizes[0])
    ours = Flow([transform]).double()
    theirs = flows.Flow(
        CompositeTransform([Within.nflows(transform)]), StandardNormal(tuple(cond.clean.shape[1:]))
    ).double()
    x = noise_like(cond)
    torch.testing.assert_close(theirs.log_prob(x, packed(cond)), ours.log_prob(x, cond), rtol=1e-9, atol=1e-9)
    torch.manual_seed(0)
    samples, log_prob = theirs.sample_and_log_prob(2, packed(cond))
    for row in range(2):
        torch.testing.assert_close(log_prob[:, row], ours.log_prob(samples[:, row], cond), rtol=1e-7, atol=1e-7)
    back = InverseTransform(Within.nflows(transform))
    assert torch.equal(back(x, packed(cond))[0], transform.inverse_and_log_det(x, cond)[0])
