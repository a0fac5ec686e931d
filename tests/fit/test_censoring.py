"""Fits of a camera that clips its own dark noise at code 0."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import frame

from noiseflow.core.errors import FitWarning
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.batches import conditions_of
from noiseflow.fit.objective_choice import away_from_the_clip, censored_values
from noiseflow.flows import Conditions
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from noiseflow.raw import RawSettings
from noiseflow.raw.formats.dng import write_dng

GAIN, READ, WHITE, SIDE = 1.0, 3.0, 1023, 8


def store_of(path: Path, black: int, patches: int = 160, side: int = SIDE) -> PatchStore:
    """Half of the patches dark, with the true clean signal."""
    rng = np.random.default_rng(3)
    with StoreWriter(path, layout="bayer", patch_size=side, pairing="gt", provenance={}) as writer:
        table = np.zeros(patches, fields(4))
        table["camera"], table["scene"] = writer.label("cameras", "One"), writer.label("scenes", "a")
        table["source"], table["iso"] = writer.source("a.dng", "0"), 100
        table["black"], table["white"], table["frame"] = black, WHITE, np.arange(patches)
        table["split"] = np.arange(patches) % 4 == 0
        light = np.where(np.arange(patches) % 2 == 0, 0, rng.uniform(0, 300, patches))
        clean = np.broadcast_to(light[:, None, None, None], (patches, 4, side, side))
        noisy = black + GAIN * rng.poisson(clean / GAIN) + READ * rng.standard_normal(clean.shape)
        writer.append(np.clip(np.rint(noisy), 0, WHITE), black + clean, table)
    return PatchStore(path)


@pytest.mark.parametrize("black", [0, 4])
def test_clipped_blacks_are_fitted_as_censored_observations(tmp_path: Path, black: int) -> None:
    store = store_of(tmp_path / "s.h5", black)
    assert "at code 0" in censored_values(store, store.indices("train"), 0)
    result = fit(store, spec_for(store, "nlf"), tmp_path / "run", FitSettings(epochs=1, device="cpu"))
    assert result.objective.name == "discretised"
    assert "at code 0" in result.objective.reason
    span = WHITE - black
    # 46,000 values: σ is known to 0.5 %.
    assert float(result.model.log_beta2.detach().exp().sqrt()) * span == pytest.approx(READ, rel=0.02)
    assert float(result.model.log_beta1.detach().exp()) * span == pytest.approx(GAIN, rel=0.02)


@pytest.mark.parametrize("estimated", [False, True])
def test_errors_of_a_line_are_those_of_the_values_that_were_fitted(tmp_path: Path, estimated: bool) -> None:
    """Of clipped blacks: a half of them with a true clean signal, none where that is a mean of other frames.

    Printed was ± 0.009 DN where 40 bursts of a half-dark scene scattered by 0.191 DN; it is ± 0.192 DN now.
    """
    store = store_of(tmp_path / "s.h5", 0)
    if estimated:
        store.table["clean_variance"][:] = 0.01
    (found,) = fit(store, spec_for(store, "nlf"), tmp_path / "run", FitSettings(epochs=1, device="cpu")).estimates
    batch = store.read(store.indices("train"))
    light, codes = (batch.clean.numpy() * WHITE, (batch.clean + batch.noise).numpy() * WHITE)
    kept = light > 7 if estimated else codes > 0.5
    s = light[kept].astype(np.float64)
    weight = 1 / (2 * (GAIN * s + READ**2) ** 2)
    information = np.array([[(weight * s**2).sum(), (weight * s).sum()], [(weight * s).sum(), weight.sum()]])
    errors = np.sqrt(np.linalg.inv(information).diagonal() * (1.01 if estimated else 1.0))
    assert found.gain_error == pytest.approx(errors[0], rel=0.05)
    assert found.read_noise_error == pytest.approx(errors[1] / (2 * READ), rel=0.1)


def test_the_mean_of_clipped_blacks_is_no_row_noise(tmp_path: Path) -> None:
    """Half of the rows have an offset of 0.4 σ in common, by clipping; the moments of all rows found a memory."""
    store = store_of(tmp_path / "s.h5", 0, 240, 16)
    batch = store.read(store.indices("train"))
    cond = away_from_the_clip(batch, conditions_of(batch))
    assert cond.observed is not None
    dark = batch.clean.amax((1, 2, 3)) == 0
    assert not cond.observed[dark].any()
    assert cond.observed[~dark].float().mean() > 0.95
    result = fit(
        store, spec_for(store, "physics_flow"), tmp_path / "run", FitSettings(epochs=1, steps_per_epoch=1, batch=16)
    )
    assert result.components[0] == "row noise: none"
    # The planes' factors are of light values; the head was first that of all, clipped ones included.
    for light, variance in ((0.0, READ**2), (100.0, READ**2 + 100 * GAIN)):
        flat = Conditions(torch.full((8, 4, 64, 64), light / WHITE), 100.0, "One")
        drawn = result.model.sample(flat, torch.Generator().manual_seed(1)) * WHITE
        # 131,072 values: the variance is drawn to 0.4 %, and known to 1 % where it was fitted.
        assert float(drawn.var(dim=(0, 2, 3)).mean()) == pytest.approx(variance, rel=0.06)
    # Dead pixels in the light, which are masked, are no clipped blacks.
    batch.noise[~dark, :, :2, :2] = -batch.clean[~dark, :, :2, :2]
    masked = torch.ones_like(batch.noise, dtype=torch.bool)
    masked[~dark, :, :2, :2] = False
    again = away_from_the_clip(replace(batch, observed=masked), replace(conditions_of(batch), observed=masked))
    assert again.observed is not None
    assert torch.equal(again.observed, cond.observed & masked)
    # So few that nothing would be left: all are taken.
    few = store.read(store.indices("train")[:4])
    assert away_from_the_clip(few, conditions_of(few)).observed is None


def test_the_density_of_clipped_codes_is_warned_of(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s.h5", 0)
    settings = FitSettings(epochs=1, device="cpu", objective="continuous")
    with pytest.warns(FitWarning, match="at code 0.*objective 'discretised'"):
        fit(store, spec_for(store, "nlf"), tmp_path / "run", settings)


def test_blacks_far_from_0_are_no_reason(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s.h5", 16)
    assert censored_values(store, store.indices("train"), 0) == ""


def test_means_of_clipped_darks_are_said_to_be_biased(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "dark").mkdir()
    for number in range(4):
        codes = np.clip(np.rint(READ * rng.standard_normal((64, 64))), 0, WHITE).astype(np.uint16)
        np.save(tmp_path / "dark" / f"{number}.npy", codes)
    settings = RawSettings(cfa="RGGB", black=(0,), white=WHITE, iso=100, camera="One")
    result = ingest([tmp_path / "dark"], tmp_path / "d.h5", IngestOptions(patch_size=8, settings=settings))
    assert (result.clipped, result.masked) == (0, 0)
    assert any("lies above the signal" in note for note in result.notes)


@pytest.mark.parametrize("count", [3, 8])
def test_clipped_blacks_of_a_burst_leave_the_gain_alone(tmp_path: Path, count: int) -> None:
    """K was 0.83 and σ 2.82 for 0.8 and 3 DN: the mean of the other frames lies above a signal at which they clip."""
    folder = tmp_path / "burst"
    folder.mkdir()
    rng = np.random.default_rng(0)
    signal = np.zeros((160, 240)) + np.linspace(-200, 360, 240).clip(min=0)
    for number in range(count):
        codes = np.clip(np.rint(0.8 * rng.poisson(signal / 0.8) + rng.normal(0, READ, signal.shape)), 0, WHITE)
        write_dng(folder / f"{number}.dng", replace(frame(codes.astype(np.uint16)), black=(0.0,) * 4))
    ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    with PatchStore(tmp_path / "p.h5") as store, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = fit(store, spec_for(store, "nlf"), tmp_path / "run", FitSettings(epochs=1, device="cpu"))
    assert not said
    (found,) = result.estimates
    # Three standard errors of the gain; the read noise is known from the light alone.
    assert found.gain_dn_per_e == pytest.approx(0.8, rel={3: 0.04, 8: 0.02}[count])
    assert found.read_noise_dn == pytest.approx(READ, rel={3: 0.12, 8: 0.03}[count])
