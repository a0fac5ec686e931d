"""The published conditioner, against the layers of its description one by one."""

import torch
from torch.nn.functional import conv2d, pad

from noiseflow.flows.nets.border_aware_net import BorderAwareNet


def test_norms_that_are_folded_into_convolutions_are_the_norms() -> None:
    """In evaluation, with running statistics, biases and scales that are none of 0 and 1."""
    draw = torch.Generator().manual_seed(0)
    net = BorderAwareNet(2, 3, generator=draw).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    for norm in (net.norm1, net.norm2):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(torch.randn(4, generator=draw, dtype=torch.float64))
        norm.running_var.copy_(0.3 + torch.rand(4, generator=draw, dtype=torch.float64))
    values = torch.randn(2, 2, 5, 6, generator=draw, dtype=torch.float64)
    hidden = net.norm1(conv2d(values, net.conv1.weight, net.conv1.bias, padding=1)).relu()
    hidden = net.norm2(conv2d(hidden, net.conv2.weight, net.conv2.bias)).relu()
    border = pad(torch.zeros(2, 1, 5, 6, dtype=torch.float64), (1, 1, 1, 1), value=1.0)
    padded = torch.cat([pad(hidden, (1, 1, 1, 1)), border], 1)
    expected = conv2d(padded, net.conv3.weight, net.conv3.bias) * (3 * net.logs).exp()[:, None, None]
    torch.testing.assert_close(net(values), expected, rtol=1e-12, atol=1e-12)


def test_an_output_depends_on_the_inputs_within_its_reach_and_on_no_others() -> None:
    draw = torch.Generator().manual_seed(0)
    net = BorderAwareNet(2, 3, generator=draw).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        x = torch.randn(1, 2, 11, 11, generator=draw, dtype=torch.float64)
        moved = x.clone()
        moved[..., 5, 5] += 3
        changed = (net(moved) != net(x)).any(1)[0].nonzero() - 5
    assert int(changed.abs().max()) == net.reach
