"""Fits by the likelihood of the integers: coarse codes, and a camera whose black level is 0."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseflow.core.errors import DataError, FitWarning
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from noiseflow.patches.store.store import PatchStore

GAIN, READ, WHITE, SIZE = 0.5, 1.4, 1023.0, 4
DISCRETISED = FitSettings(objective="discretised")


def store_of(
    path: Path,
    *,
    black: float,
    read: float,
    gain: float = GAIN,
    brightest: float = 20.0,
    drop: bool = False,
    patches: int = 6000,
) -> PatchStore:
    """Gaussian noise of variance gain·signal + read², rounded and clipped at 0; `drop` leaves clipped patches out."""
    rng = np.random.default_rng(0)
    with StoreWriter(path, layout="bayer", patch_size=SIZE, pairing="gt", provenance={}) as writer:
        clean = np.broadcast_to(brightest * rng.uniform(size=(patches, 1, 1, 1)), (patches, 4, SIZE, SIZE))
        noise = rng.normal(size=clean.shape) * np.sqrt(gain * clean + read**2)
        noisy = np.clip(np.rint(black + clean + noise), 0, WHITE)
        kept = ~(noisy == 0).any((1, 2, 3)) if drop else np.ones(patches, bool)
        number = np.flatnonzero(kept)
        table = np.zeros(len(number), fields(4))
        table["camera"], table["iso"] = writer.label("cameras", "One"), 100
        table["scene"] = [writer.label("scenes", f"scene {each % 10}") for each in number]
        table["source"] = writer.label("sources", "made")
        table["split"] = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2])[number % 10]
        table["black"], table["white"] = black, WHITE
        writer.append(noisy[kept], clean[kept] + black, table)
    return PatchStore(path)


def fitted(store: PatchStore, out: Path, objective: str) -> tuple[float, float]:
    """K in DN/e⁻ and the read noise in DN that a noise level function finds."""
    model = fit(store, spec_for(store, "nlf"), out, FitSettings(objective=objective)).model
    assert isinstance(model, NoiseLevelFunction)
    model.requires_grad_(False)
    span = WHITE - float(store.table["black"][0, 0])
    beta1, beta2 = float(model.log_beta1.exp()), float(model.log_beta2.exp())
    return beta1 * span, beta2**0.5 * span


def test_a_camera_of_black_level_0_is_found_by_counting_clipped_codes_as_tails(tmp_path: Path) -> None:
    with store_of(tmp_path / "all.h5", black=0.0, read=READ) as store:
        assert (store.codes(store.indices("train"))[0] == 0).mean() > 0.05
        gain, read = fitted(store, tmp_path / "censored", "discretised")
        with pytest.warns(FitWarning, match="at code 0"):
            as_they_are = fitted(store, tmp_path / "continuous", "continuous")
    with store_of(tmp_path / "dropped.h5", black=0.0, read=READ, drop=True) as store:
        dropped = fitted(store, tmp_path / "kept", "continuous")
    # 307,200 values: standard errors 0.5 % of K and 0.5 % of the read noise; four of them, once in 8,000.
    assert gain == pytest.approx(GAIN, rel=0.02)
    assert read == pytest.approx(READ, rel=0.02)
    # The other two are off by far more, whatever the 1/12 DN² of rounding (2 % of the read noise).
    assert abs(as_they_are[0] / GAIN - 1) > 0.08
    assert abs(as_they_are[1] / READ - 1) > 0.08
    assert dropped[0] / GAIN - 1 > 0.04
    assert dropped[1] / READ - 1 < -0.04


def test_coarse_codes_do_not_swell_the_read_noise(tmp_path: Path) -> None:
    with store_of(tmp_path / "s.h5", black=64.0, read=0.3, gain=0.02) as store:
        found = {name: fitted(store, tmp_path / name, name)[1] for name in ("continuous", "discretised")}
    assert found["discretised"] == pytest.approx(0.3, rel=0.03)
    assert found["continuous"] > 1.2 * 0.3


@pytest.mark.parametrize("name", ["noise_flow", "physics_flow", "realnvp"])
def test_a_flow_is_trained_by_the_bound_and_its_fit_is_repeatable(tmp_path: Path, name: str) -> None:
    settings = FitSettings(objective="discretised", epochs=2, steps_per_epoch=4, batch=64, held_out=64)
    with store_of(tmp_path / "s.h5", black=0.0, read=0.5, brightest=6.0, patches=800) as store:
        results = [fit(store, spec_for(store, name), tmp_path / run, settings) for run in "ab"]
        nlf = fit(store, spec_for(store, "nlf"), tmp_path / "nlf", settings)
    one, other = (result.model.state_dict() for result in results)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert results[0].epochs == 2
    assert results[0].model.spec.before_rounding
    # It starts as the noise level function of the integers, but for the slack of its bound.
    assert nlf.best_nll - 0.01 < results[0].start_nll < nlf.best_nll + 0.03
    assert results[0].best_nll <= results[0].start_nll


@pytest.mark.parametrize(("read", "name"), [(1.9, "discretised"), (2.2, "continuous")])
def test_the_data_choose_the_objective_and_the_fit_says_which(tmp_path: Path, read: float, name: str) -> None:
    """Codes are coarse below a σ of 2.04 DN in the dark, which 4 % of the values, 200,000 / 25, know to 0.8 %."""
    with store_of(tmp_path / "s.h5", black=64.0, read=read, gain=0.02, patches=3000) as store:
        result = fit(store, spec_for(store, "nlf"), tmp_path / "run")
    assert result.objective.name == name
    assert result.model.spec.before_rounding == (name == "discretised")
    record = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert record["objective"] == {"name": name, "reason": result.objective.reason}
    assert "DN in the dark of One at ISO 100, rounding is" in result.objective.reason


def test_an_objective_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="objective: expected one of auto, continuous, discretised; got 'mse'"):
        FitSettings(objective="mse")
