"""A net that is told of its own place's signal only cannot see a neighbour's."""

import torch
from transform_table import conditions, generator, noise_like, own_signal_net

from noiseflow.flows import Conditions


def test_a_neighbour_s_signal_changes_nothing_and_a_neighbour_s_value_does() -> None:
    net = own_signal_net(generator(1)).double().eval()
    torch.nn.init.normal_(net.conv3.weight, generator=generator(2))
    cond = conditions(1, 4, 5, 5)
    values = noise_like(cond)
    before = net(values, cond)
    brighter = cond.clean.clone()
    brighter[..., 2, 2] += 0.5
    after = net(values, Conditions(brighter, cond.iso, cond.camera))
    changed = (after != before).any(1)[0]
    assert changed.nonzero().tolist() == [[2, 2]]
    other = values.clone()
    other[..., 2, 2] += 1
    changed = (net(other, cond) != before).any(1)[0]
    assert changed.nonzero().tolist() == [[row, column] for row in (1, 2, 3) for column in (1, 2, 3)]
    assert net.reach == 1
