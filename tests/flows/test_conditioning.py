"""A net that is told of its own place's signal only cannot see a neighbour's."""

import math

import pytest
import torch
from transform_table import conditions, generator, noise_like, own_signal_net

from noiseflow.flows import Conditions
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.nets.conditional_net import SampleFeatures, signal_features


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


def features_at(iso: float) -> float:
    net = SampleFeatures(2, generator=generator(0)).double().eval()
    cond = Conditions(torch.zeros(1, 1, 1, 1, dtype=torch.float64), iso, 0).resolve(("A", "B"))
    return float(net(cond).detach()[0, 0])


@pytest.mark.parametrize(("iso", "stops"), [(800.0, 0.0), (1600.0, 1.0), (100.0, -3.0), (6400.0, 3.0)])
def test_log_iso_is_counted_in_units_of_six_stops_from_800(iso: float, stops: float) -> None:
    """Weights of published and saved nets are of this unit.  Between its bounds the soft clamp is nearly a line."""
    assert features_at(iso) == pytest.approx(2 * math.tanh(stops / 6 / 2), abs=0.02)
    assert features_at(iso) == pytest.approx(-features_at(800.0**2 / iso), abs=1e-12)


@pytest.mark.parametrize("iso", [1e-3, 1e9])
def test_beyond_two_units_it_saturates(iso: float) -> None:
    assert abs(features_at(iso)) <= 2.0
    assert features_at(iso) * (iso - 800) > 0


def test_the_signal_is_shown_as_a_root_and_as_a_log() -> None:
    clean = torch.tensor([-0.5, 0.0, 1e-3, 0.25, 1.0], dtype=torch.float64).reshape(1, 1, 1, 5)
    root, log = signal_features(clean)[0, :, 0]
    assert root.tolist() == pytest.approx([0, 0, math.sqrt(1e-3), 0.5, 1])
    assert log.tolist() == pytest.approx([0, 0] + [math.log(1 + 1000 * y) / math.log(1001) for y in (1e-3, 0.25, 1.0)])


def test_constants_keep_their_precision_wherever_the_module_goes() -> None:
    """Log ISOs that were rounded to float32 would be those for ever."""
    net = LineNoise(1, 1, (100.0, 333.0))
    exact = torch.tensor([100.0, 333.0], dtype=torch.float64).log()
    assert torch.equal(net.double().log_isos, exact)
    assert torch.equal(net.half().double().log_isos, exact)
    assert torch.equal(net.float().log_isos, exact.float())
    with torch.device("meta"):
        empty = LineNoise(1, 1, (100.0, 333.0))
    assert torch.equal(empty.to_empty(device="cpu").double().log_isos, exact)


def test_light_and_offset_of_rows_are_the_sums_of_their_parts() -> None:
    rows = RowMemory(1, 2, (100.0, 400.0))
    with torch.no_grad():
        for number, parameter in enumerate(rows.parameters()):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator(number)) - 2)
    parts = [rows.log_flicker, rows.log_memory[2], rows.log_frame[1]]
    assert torch.allclose(rows.light_variance(), sum(part.exp() for part in parts))
    parts = [rows.log_variance, rows.log_memory[0], rows.log_memory[1], rows.log_frame[0]]
    assert torch.allclose(rows.offset_variance(), sum(part.exp() for part in parts))
