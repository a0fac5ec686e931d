"""Tables over ISO, by the numbers: between knots, at a switch of the conversion gain, and beyond the ends."""

import math

import pytest
import torch

from noiseflow.flows.iso_table import (
    READ_SLOPE,
    SAME_ISO,
    STEEPEST,
    STEP,
    at_iso,
    conversion_steps,
    falls,
    range_caution,
    read_at_iso,
    switch_caution,
)

KNOTS = (100.0, 400.0, 800.0, 3200.0)
TABLE = (1.0, 2.0, 1.4, 2.0)
"""Falls from 400 to 800."""


def read(iso: float, table: tuple[float, ...] = TABLE, knots: tuple[float, ...] = KNOTS, **known: object) -> float:
    tensors = (torch.tensor(each, dtype=torch.float64) for each in (table, knots))
    values, isos = tensors
    return float(read_at_iso(values, isos.log(), torch.tensor([iso], dtype=torch.float64), **known))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("iso", "expected"),
    [
        (100.0, 1.0),
        (200.0, 1.5),
        (400.0, 2.0),
        # The slope from 100 to 400, 1/ln 4, goes on up to the knot, and within 1 % of it is the knot's.
        (500.0, 2.0 + math.log(500 / 400) / math.log(4)),
        (800 * (1 - SAME_ISO) * 0.9999, 2.0 + math.log(792 * 0.9999 / 400) / math.log(4)),
        (800 * (1 - SAME_ISO) * 1.0001, 1.4),
        (800.0, 1.4),
        (1600.0, 1.7),
        (3200.0, 2.0),
        # No step is next to either end: the last slopes.
        (6400.0, 2.3),
        (50.0, 0.5),
    ],
)
def test_read_noise_between_knots_and_at_a_switch(iso: float, expected: float) -> None:
    assert read(iso) == pytest.approx(expected, abs=1e-9)


def test_the_slope_below_a_switch_is_held_within_what_amplifiers_do() -> None:
    steep, falling = (0.0, 9.0, 1.0), (2.0, 1.9, 1.0)
    knots = (100.0, 200.0, 800.0)
    assert read(400.0, steep, knots) == pytest.approx(9.0 + STEEPEST * math.log(2))
    assert read(400.0, falling, knots) == pytest.approx(1.9)
    # Without a knot before, and beyond the ends next to a step, it is the rule.
    assert read(150.0, (2.0, 1.0), (100.0, 200.0)) == pytest.approx(2.0 + READ_SLOPE * math.log(1.5))
    assert read(400.0, (2.0, 1.0), (100.0, 200.0)) == pytest.approx(1.0 + READ_SLOPE * math.log(2))
    assert read(50.0, (2.0, 1.0), (100.0, 200.0)) == pytest.approx(2.0 - READ_SLOPE * math.log(2))


def test_a_switch_that_is_told_counts_before_one_that_is_seen() -> None:
    none, first = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, False])
    assert read(500.0, switched=none) == pytest.approx(2.0 - 0.6 * math.log2(1.25))
    assert read(200.0, switched=first) == pytest.approx(1.0 + READ_SLOPE * math.log(2))


def test_one_knot_goes_on_by_the_slope() -> None:
    assert read(200.0, (1.0,), (100.0,)) == pytest.approx(1.0 + READ_SLOPE * math.log(2))
    table = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    isos = torch.tensor([200.0, 50.0], dtype=torch.float64)
    found = at_iso(table, torch.tensor([100.0], dtype=torch.float64).log(), isos, torch.tensor([3.0, 1.0]))
    assert found.tolist() == pytest.approx([1 + 3 * math.log(2), 2 - math.log(2)])


def test_a_step_is_a_fall_of_more_than_a_tenth_of_sigma() -> None:
    table = torch.tensor([0.0, STEP + 1e-3, 2 * STEP])
    assert falls(table).tolist() == [False, True]
    assert falls(torch.tensor([0.0, STEP - 1e-3])).tolist() == [True]
    ((camera, below, above, factor),) = conversion_steps([(torch.tensor([0.0, 0.5, -0.3]), (100.0, 200.0, 400.0))])
    assert camera == 0
    assert (below, above) == (200.0, 400.0)
    assert factor == pytest.approx(math.exp(-0.4))


@pytest.mark.parametrize(
    ("iso", "warned"),
    [(400 * 1.0101, True), (400 * 1.0099, False), (800 * 0.9899, True), (800 * 0.9901, False), (900.0, False)],
)
def test_a_switch_is_cautioned_between_its_isos_alone(iso: float, warned: bool) -> None:
    words = switch_caution(torch.tensor([100.0, iso], dtype=torch.float64), (400.0, 800.0, 0.7), "'A'", "nlf")
    assert (words is not None) == warned
    assert words is None or f"ISO {iso:g} lies between ISO 400 and 800" in words


@pytest.mark.parametrize(
    ("iso", "warned"), [(98.99, True), (99.01, False), (100.0, False), (1600.0, False), (1615.9, False), (1616.1, True)]
)
def test_an_iso_outside_of_the_fitted_range_is_cautioned(iso: float, warned: bool) -> None:
    # Only those outside are listed, of any that are within.
    isos = torch.tensor([102.0, 1590.0, iso], dtype=torch.float64)
    words = range_caution(isos, (100.0, 1600.0), "nlf", "rule")
    assert (words is not None) == warned
    assert words is None or words.startswith(f"ISO {iso:g} is outside 100…1600")
