"""Shot noise of a response that bends, against the formula written out."""

import math

import pytest
import torch

from noiseflow.flows.camera.bent_scale import PARTS, BentScale
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import at_signal

ISOS = (100.0, 400.0)


def scale() -> BentScale:
    layer = BentScale(1, 2, ISOS).double()
    with torch.no_grad():
        layer.bend.copy_(torch.randn(layer.bend.shape, generator=torch.Generator().manual_seed(0)) / 2)
    return layer.requires_grad_(False)


def bend_by_hand(layer: BentScale, camera: int, iso: float, y: float) -> float:
    """b(y) between its knots at k/16 and its ISOs, constant beyond both."""
    part = min(max(y, 0.0), 1.0) * PARTS
    left = min(int(part), PARTS - 1)
    weight = min(max(math.log(iso / ISOS[0]) / math.log(ISOS[1] / ISOS[0]), 0.0), 1.0)
    low, high = (
        (1 - weight) * float(layer.bend[camera, 0, knot]) + weight * float(layer.bend[camera, 1, knot])
        for knot in (left, left + 1)
    )
    return low + (part - left) * (high - low)


SIGNALS = (-0.1, 0.0, 0.01, 1 / 16, 0.4, 0.5, 15 / 16, 0.97, 1.0, 1.2)


@pytest.mark.parametrize("iso", [50.0, 100.0, 200.0, 400.0, 900.0])
@pytest.mark.parametrize("camera", [0, 1])
def test_the_light_is_that_of_a_straight_sensor_with_the_same_shot_noise(iso: float, camera: int) -> None:
    layer, clean = scale(), torch.tensor(SIGNALS, dtype=torch.float64).reshape(1, 1, 1, -1)
    cond = Conditions(clean, iso, camera).resolve(("A", "B"))
    expected = [y * math.exp(bend_by_hand(layer, camera, iso, y)) for y in SIGNALS]
    assert layer.bent(cond).flatten().tolist() == pytest.approx(expected, rel=1e-9)
    noise = layer.noise_parameters(cond)
    beta1, beta2 = (float(each) for each in (noise.beta1, noise.beta2))
    z, log_det = layer(torch.ones_like(clean), cond)
    variances = [max(beta1 * light + beta2, beta2 / 10) for light in expected]
    assert z.flatten().tolist() == pytest.approx([each**-0.5 for each in variances], rel=1e-6)
    assert float(log_det) == pytest.approx(-0.5 * sum(map(math.log, variances)), rel=1e-6)


def test_a_table_over_the_signal_holds_at_its_knots_and_beyond_its_ends() -> None:
    table = torch.tensor([[1.0, 3.0, -1.0]])
    clean = torch.tensor([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0]).reshape(1, 1, 1, -1)
    assert at_signal(table, clean).flatten().tolist() == [1.0, 1.0, 2.0, 3.0, 1.0, -1.0, -1.0]
