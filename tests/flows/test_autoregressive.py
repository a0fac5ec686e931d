"""The autoregressive convolution: its order, its cached sampler, its gradient, and MADE of two other libraries."""

import time

import pytest
import torch
from torch import Tensor
from transform_table import CAMERAS, Conditions, autoregressive, conditions, generator, noise_like, randomised

from noiseflow.core.errors import ModelError
from noiseflow.flows.autoregressive.transform import MaskedAutoregressive
from noiseflow.flows.combinators import Inverse
from noiseflow.flows.nets.masked_net import MaskedNet

WINDOWS = [(0, 0), (0, 2), (1, 1), (2, 0), (1, 3)]


def made(planes: int = 4, above: int = 1, beside: int = 2, spread: float = 0.1) -> MaskedAutoregressive:
    transform = randomised(autoregressive(generator(1), planes, above, beside), spread)
    assert isinstance(transform, MaskedAutoregressive)
    return transform


def pass_by_pass(transform: MaskedAutoregressive, z: Tensor, cond: Conditions) -> Tensor:
    """The inverse by definition: a whole pass of the net for every value of a sample."""
    x = torch.zeros_like(z)
    for _ in range(z[0].numel()):
        x = transform.step(x, z, cond, dict(transform.net.named_parameters()))
    return x


@pytest.mark.parametrize(("above", "beside"), WINDOWS)
@pytest.mark.parametrize("planes", [1, 4])
def test_a_value_depends_on_those_before_it_alone_and_on_its_whole_window(planes: int, above: int, beside: int) -> None:
    transform, cond = made(planes, above, beside), conditions(1, planes, 5, 6)
    x = noise_like(cond)
    jacobian = torch.autograd.functional.jacobian(lambda x: transform.net(x, cond)[0], x)
    jacobian = jacobian[0, :, :, :, 0].permute(1, 2, 0, 4, 5, 3)
    assert isinstance(jacobian, Tensor)
    order = torch.arange(30 * planes).reshape(5, 6, planes)
    row, column = torch.arange(5)[:, None, None], torch.arange(6)[:, None]
    for place in order.flatten().tolist():
        i, j, _ = (int(index) for index in torch.nonzero(order == place)[0])
        near = ((row - i).abs() <= above) & ((column - j).abs() <= beside)
        expected = (order < place) & near.expand(5, 6, planes)
        assert torch.equal(jacobian.reshape(-1, 5, 6, planes)[place] != 0, expected)


@pytest.mark.parametrize(("above", "beside"), WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cached_sampler_equals_whole_passes(above: int, beside: int, dtype: torch.dtype) -> None:
    transform = made(4, above, beside).to(dtype)
    for height, width in ((5, 6), (1, 4), (6, 1)):
        cond = conditions(3, 4, height, width)
        cond = Conditions(cond.clean.to(dtype), cond.iso.to(dtype), cond.camera)
        z = noise_like(cond)
        with torch.no_grad():
            expected = pass_by_pass(transform, z, cond)
            torch.testing.assert_close(transform.inverse(z, cond), expected, rtol=0, atol=1e-5)


def test_cached_sampler_takes_a_small_part_of_the_time() -> None:
    """On 32×32×4 there are 4096 passes to make; a hundredth of them take longer than all fronts."""
    transform, cond = made().float(), conditions(1, 4, 32, 32)
    cond = Conditions(cond.clean.float(), cond.iso.float(), cond.camera)
    z = noise_like(cond)
    with torch.no_grad():
        transform.inverse(z, cond)
        began = time.perf_counter()
        transform.inverse(z, cond)
        cached = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(10):
            transform.step(z, z, cond, dict(transform.net.named_parameters()))
        naive = (time.perf_counter() - began) / 10 * z.numel()
    assert cached < naive / 5


def test_gradient_of_the_inverse_is_that_of_whole_passes() -> None:
    transform, cond = made(spread=0.2), conditions(2, 4, 3, 4)
    weight = noise_like(cond, seed=8)
    gradients = []
    for inverse in (transform.inverse, lambda z, cond: pass_by_pass(transform, z, cond)):
        z = noise_like(cond).requires_grad_()
        transform.zero_grad()
        (inverse(z, cond) * weight).sum().backward()
        gradients.append([z.grad, *(parameter.grad.clone() for parameter in transform.parameters())])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_inverse_gives_the_log_det_of_its_sampling_pass() -> None:
    transform, cond = Inverse(made()), conditions(3, 4, 4, 5)
    z = noise_like(cond)
    x, log_det = transform.inverse_and_log_det(z, cond)
    torch.testing.assert_close(transform(x, cond)[1], -log_det, rtol=1e-9, atol=1e-9)
    generic = super(Inverse, transform).inverse_and_log_det(z, cond)
    torch.testing.assert_close(generic[1], log_det, rtol=1e-9, atol=1e-9)


def test_a_width_that_is_no_multiple_of_the_planes() -> None:
    with pytest.raises(ModelError, match="multiple of 4"):
        MaskedNet(4, 1, 6)


def test_one_pixel_is_the_made_of_nflows_in_the_autoregressive_transform_of_zuko() -> None:
    nflows = pytest.importorskip("nflows.transforms.made")
    zuko = pytest.importorskip("zuko.transforms")
    planes, size = 4, 3
    net = MaskedNet(planes, CAMERAS, planes * size, generator=generator(1)).double()
    with torch.no_grad():
        for parameter in (net.output.weight, net.output.bias, net.hidden.bias):
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator(2), dtype=torch.float64)
        # Our first group knows nothing of its pixel, and nflows has no such group: leave it out.
        net.hidden.weight[:, :size] = 0
        net.output.weight[:, :size] = 0
    transform = MaskedAutoregressive(net)
    cond = conditions(5, planes, 1, 1)
    cond = Conditions(0 * cond.clean, cond.iso, cond.camera)

    made = nflows.MADE(
        planes, (planes - 1) * size, num_blocks=1, output_multiplier=2, use_residual_blocks=False, activation=torch.tanh
    ).double()
    window, hidden, output = net.weights()
    # nflows deals its hidden units out to the degrees 1, 2, 3 in turn; ours stand in groups.
    ours = torch.arange(size, planes * size).reshape(planes - 1, size).T.flatten()
    rows = torch.arange(2 * planes).reshape(2, planes).T.flatten()
    with torch.no_grad():
        made.initial_layer.weight.copy_(window[ours, :, net.above, net.beside])
        made.initial_layer.bias.copy_(net.signal.bias[ours])
        made.blocks[0].linear.weight.copy_(hidden[ours][:, ours, 0, 0])
        made.blocks[0].linear.bias.copy_(net.hidden.bias[ours])
        made.final_layer.weight.copy_(output[rows][:, ours, 0, 0])
        made.final_layer.bias.copy_(net.output.bias[rows])

    def affine(x: Tensor) -> torch.distributions.Transform:
        shift, raw = made(x).reshape(-1, planes, 2).unbind(-1)
        scale = (transform.bound * (raw / transform.bound).tanh()).exp()
        return zuko.DependentTransform(torch.distributions.AffineTransform(shift, scale), 1)

    reference = zuko.AutoregressiveTransform(affine, passes=planes)
    x = noise_like(cond)
    z, log_det = transform(x, cond)
    expected, expected_log_det = reference(x[:, :, 0, 0]), None
    expected_log_det = reference.log_abs_det_jacobian(x[:, :, 0, 0], expected)
    torch.testing.assert_close(z[:, :, 0, 0], expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)
    inverse = transform.inverse(x, cond)[:, :, 0, 0]
    torch.testing.assert_close(inverse, reference.inv(x[:, :, 0, 0]), rtol=1e-10, atol=1e-10)
