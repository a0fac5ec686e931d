"""Sums of likelihoods by intensity, group and plane, and the limits that reports state."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from noiseflow.evaluate.data_summary import COARSE, FEWEST_SCENES, Survey, signal_bins
from noiseflow.evaluate.metric import CodesNll
from noiseflow.evaluate.metrics.likelihood import CodeLikelihoodMetric, DensityLikelihoodMetric
from noiseflow.evaluate.presentation import (
    denoising,
    distribution,
    judges,
    likelihood,
    moments,
    sample_checks,
    structure,
)
from noiseflow.evaluate.statistics.intervals import Interval, bootstrap_ratio
from noiseflow.evaluate.statistics.noise_curve import LOOKUP, NoiseCurve

GROUPS, EACH = 6, 4
COUNT = GROUPS * EACH
GROUP = np.arange(COUNT) % GROUPS
BRIGHT = np.linspace(0.0, 0.36, COUNT)
CELLS = tuple(
    SimpleNamespace(camera=camera, iso=iso, signal_low=0.0, signal_high=90.0, scale_dn=1000.0)
    for camera, iso in (("A", 100.0), ("A", 200.0), ("B", 100.0))
)
CELL_OF_GROUP = np.array([0, 0, 1, 1, 2, 2])


def survey() -> Any:
    made: Any = object.__new__(Survey)
    curve = NoiseCurve(torch.full((3, LOOKUP), 0.004))
    curve.sigma[1, : round(0.3 * (LOOKUP - 1)) + 1] = 0.002
    facts = {
        "groups": GROUPS,
        "group_is": "frame",
        "cells": CELLS,
        "whole": SimpleNamespace(camera=None, iso=None),
        "cell_of_group": CELL_OF_GROUP,
        "brightness": BRIGHT,
        "plane_names": ("R", "B"),
        "curve": curve,
        "rows": np.arange(COUNT),
    }
    for name, value in facts.items():
        object.__setattr__(made, name, value)
    return made


def setup() -> Any:
    return SimpleNamespace(
        survey=survey(),
        models=("m", "n"),
        densities={"m": "continuous", "n": "continuous"},
        codes={"m": "exact", "n": "bound"},
        without_density={},
    )


RNG = np.random.default_rng(0)
NLL = {name: RNG.normal(-500, 20, COUNT) for name in ("m", "n")}
SCALE = RNG.uniform(900, 1100, (COUNT, 2))


def batch(part: slice, **more: Any) -> Any:
    number = np.arange(COUNT)[part]
    clean = torch.zeros(len(number), 2, 3, 5)
    return SimpleNamespace(number=number, group=GROUP[part], clean=clean, scale_dn=SCALE[part], **more)


def same(found: Interval, numerator: np.ndarray, denominator: np.ndarray) -> None:
    expected = bootstrap_ratio(numerator=numerator, denominator=denominator, level=0.95)
    assert found.value == pytest.approx(expected.value)
    assert (found.low is None) == (expected.low is None)
    if expected.low is not None:
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def by_group(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.bincount(GROUP[chosen], values[chosen], GROUPS)


def check(cell: Any, chosen: np.ndarray, groups: np.ndarray, values: dict[str, np.ndarray], field: str) -> None:
    dims = by_group(np.full(COUNT, 30.0), chosen)[groups]
    for name, each in values.items():
        same(getattr(cell, field)[name], by_group(each, chosen)[groups], dims)
    same(cell.behind["n"], by_group(values["n"] - values["m"], chosen)[groups], dims)
    assert cell.patches == chosen.sum()
    assert cell.groups == (dims > 0).sum()
    assert cell.signal_dn == pytest.approx((BRIGHT * SCALE.mean(1))[chosen].mean())


def bins() -> np.ndarray:
    """Six steps even in the root of the signal."""
    return np.minimum(np.floor(np.sqrt(BRIGHT) / 0.1 + 1e-9), 5).astype(int)


def test_signals_are_sorted_evenly_in_their_root() -> None:
    assert signal_bins(survey()).tolist() == bins().tolist()


def test_a_density_s_nll_is_by_dimension_and_in_dn_larger_by_the_log_of_the_scale() -> None:
    metric = DensityLikelihoodMetric(setup())
    for part in (slice(0, 10), slice(10, COUNT)):
        metric.update(batch(part, nll={name: each[part] for name, each in NLL.items()}))
    found = metric.score()
    every = np.ones(GROUPS, bool)
    in_dn = {name: each + 30 * np.log(SCALE).mean(1) for name, each in NLL.items()}
    for k, cell in enumerate(found.cells):
        groups = every if k == 0 else k - 1 == CELL_OF_GROUP
        chosen = groups[GROUP]
        check(cell, chosen, groups, NLL, "nats_per_dim")
        for name, each in in_dn.items():
            dims = by_group(np.full(COUNT, 30.0), chosen)[groups]
            same(cell.nats_per_pixel_dn[name], by_group(each, chosen)[groups], dims)
    assert [(each.camera, each.iso) for each in found.cells] == [(None, None), ("A", 100.0), ("A", 200.0), ("B", 100.0)]
    assert [each.camera for each in found.cameras] == ["A", "B"]
    check(found.cameras[0], GROUP < 4, CELL_OF_GROUP < 2, NLL, "nats_per_dim")
    for number, cell in zip(np.unique(bins()), found.signals, strict=True):
        assert cell.part == f"intensity {number}"
        check(cell, bins() == number, every, NLL, "nats_per_dim")
    assert found.group_dims == tuple([120.0] * GROUPS)
    assert found.group_nats["n"] == pytest.approx(tuple(by_group(NLL["n"], np.ones(COUNT, bool))))
    # The smallest σ of the signals up to 90 DN: 2 DN, in the second cell alone; 1/12 is more than 2 % of 4.
    assert survey().smallest_sigma_dn == pytest.approx(2.0)
    assert found.coarse


def test_codes_are_of_the_close_patches_and_by_plane_where_a_model_is_exact() -> None:
    looked = np.flatnonzero(np.arange(COUNT) % 3 > 0)
    planes = RNG.normal(-250, 10, (len(looked), 2))
    codes = {"m": CodesNll(planes.sum(1), planes), "n": CodesNll(NLL["n"][looked], None)}
    metric = CodeLikelihoodMetric(setup())
    metric.update(batch(slice(0, COUNT), codes=codes, looked_at=looked))
    found = metric.score()
    chosen = np.isin(np.arange(COUNT), looked)
    values = {"m": np.zeros(COUNT), "n": NLL["n"]}
    values["m"][looked] = planes.sum(1)
    check(found.cells[0], chosen, np.ones(GROUPS, bool), values, "nats_per_pixel")
    pixels = by_group(np.full(COUNT, 15.0), chosen)
    for index, (name, cell) in enumerate(zip(("R", "B"), found.planes, strict=True)):
        assert cell.part == f"plane {name}"
        of_plane = np.zeros(COUNT)
        of_plane[looked] = planes[:, index]
        same(cell.nats_per_pixel["m"], by_group(of_plane, chosen), pixels)
        assert list(cell.nats_per_pixel) == ["m"]
        assert cell.patches == len(looked)
    assert found.sigma_dn == pytest.approx(2.0)


@pytest.mark.parametrize(("sigma", "coarse"), [(2.04, True), (2.05, False)])
def test_codes_are_coarse_where_rounding_is_a_fiftieth_of_the_variance(sigma: float, coarse: bool) -> None:
    made = survey()
    made.curve.sigma[:] = sigma / 1000
    assert made.coarse == coarse


@pytest.mark.parametrize(
    ("module", "limits"),
    [
        (structure, {"ROW_MARGIN": 0.05, "CORRELATION_MARGIN": 0.01, "PLANE_MARGIN": 0.02, "COLUMN_MARGIN": 0.05}),
        (moments, {"VARIANCE_MARGIN": 0.02, "FEWEST_IN_BIN": 10_000, "TAIL_MARGIN": 0.25, "TAIL_UNSURE": 2.0}),
        (moments, {"FEWEST_BEYOND": 100, "BINS": 24, "THRESHOLDS": (3.0, 4.0, 5.0, 6.0, 8.0)}),
        (distribution, {"VARIANCE_MARGIN": 0.02, "FEWEST_IN_BIN": 10_000}),
        (sample_checks, {"TIME_MARGIN": 0.01, "TIME_WIDE": 0.05, "CALIBRATION_MARGIN": 0.01, "ROUNDING_MARGIN": 0.02}),
        (sample_checks, {"ACCURACY_MARGIN": 0.01, "MOST_ACCURACY": 0.1}),
        (denoising, {"COST_MARGIN": 0.05, "COST_WIDE": 0.5}),
        (judges, {"MARGIN": 0.01, "MOST_ACCURACY": 0.15}),
        (likelihood, {"ORACLE_MARGIN": 0.002}),
    ],
)
def test_limits_are_those_that_the_documents_state(module: Any, limits: dict[str, Any]) -> None:
    """A limit that moves moves verdicts, and its words with it: nothing else would tell."""
    assert {name: getattr(module, name) for name in limits} == limits


def test_the_few_scenes_and_the_coarse_codes_of_the_documents() -> None:
    assert (FEWEST_SCENES, COARSE) == (8, 0.02)
