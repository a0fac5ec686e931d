"""A fit ends no worse than it began, and says what it had to do and what its data contradict."""

import math
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import gaussian_store

from noiseflow.core.errors import DataError, FitWarning
from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.contradictions import Levels, contradictions
from noiseflow.fit.residue.beyond_models import beyond_models
from noiseflow.fit.safeguards import Notes, best_start, check_light, check_neighbours
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.patches.schema import fields
from noiseflow.patches.store.patches import PatchBatch

LEVELS = [Levels(400.0, 10_400.0)]
"""A span of 10,000 DN."""


def doubts(cells: NoiseStatistics) -> list[str]:
    found, bends = contradictions(cells, LEVELS)
    return found + bends.get("One", [])


def statistics(
    variance: np.ndarray, signal: np.ndarray, isos: tuple[float, ...] = (400.0,), seed: int = 0
) -> NoiseStatistics:
    """Cells of 10,000 values; one row of `variance` an ISO."""
    rng = np.random.default_rng(seed)
    square = np.atleast_2d(variance) * rng.chisquare(10_000, np.atleast_2d(variance).shape) / 10_000
    clean = np.tile(signal, len(isos))
    parts = [torch.from_numpy(part) for part in (np.full(len(clean), 1e4), clean, 0 * clean, square.ravel())]
    index = torch.arange(len(isos)).repeat_interleave(len(signal))
    return NoiseStatistics(0 * index, index, *parts, ("One",), isos)


SIGNAL = np.linspace(0.02, 0.5, 60)


def test_a_black_level_that_is_too_low_is_said_with_the_one_that_the_data_imply() -> None:
    # K = 1 DN/e⁻, read noise 3 DN, black at 800 DN where 400 is declared: the variance vanishes at 800 − 9 DN.
    found = doubts(statistics((1e4 * SIGNAL - 400 + 9) / 1e8, SIGNAL + 0.03))
    assert len(found) == 1
    said = re.search(
        r"read variance is negative.*vanishes at ([\d.]+) ± ([\d.]+) DN.*too low; it is at least ([\d.]+) DN", found[0]
    )
    assert said is not None
    # Read noise adds to the variance, so it vanishes below the true black level of 1100 DN.
    assert float(said[3]) == float(said[1]) < 1100
    # Signals were declared 300 DN further up: black is 400 + 300 + 400 − 9 = 1091 DN.
    assert float(said[1]) == pytest.approx(1091, abs=5 * float(said[2]))
    assert float(said[2]) < 10


def test_a_black_level_that_is_too_high_and_a_white_level_are_said() -> None:
    dark = np.r_[-0.02, SIGNAL]
    cells = statistics((1e4 * (dark + 0.021) + 9) / 1e8, dark)
    heavy = torch.where(cells.clean < 0, 1e6, cells.count)
    found = doubts(NoiseStatistics(**{**vars(cells), "count": heavy}))
    assert len(found) == 1
    assert "too high; it is at most 200 DN" in found[0]
    variance = np.where(SIGNAL > 0.45, 0.01, 1) * (1e4 * SIGNAL + 9) / 1e8
    (text,) = doubts(statistics(variance, SIGNAL))
    assert "white level is too high" in text


def test_an_iso_that_does_not_scale_is_said() -> None:
    variance = np.stack([(1e4 * gain * SIGNAL + 9) / 1e8 for gain in (1, 2, 2.1)])
    (text,) = doubts(statistics(variance, SIGNAL, (400.0, 800.0, 1600.0)))
    assert "from ISO 800 to 1600 the gain rises by 1.0" in text
    assert "but the ISO by 2.00" in text


def test_a_response_that_bends_is_said_where_nothing_else_is() -> None:
    line = (1e4 * SIGNAL + 9) / 1e8
    (text,) = doubts(statistics(np.where(SIGNAL > 0.42, 1.5, 1) * line, SIGNAL))
    said = re.search(r"it is (\d+) % above its straight line at (\d+) DN", text)
    assert said is not None
    assert int(said[1]) == pytest.approx(50, abs=3)
    assert 400 + 4200 < int(said[2]) < 400 + 5000
    # A part that grows with the square of the light; the gain is that at black, 1 DN/e⁻, to three of its errors.
    (text,) = doubts(statistics(line + (0.02 * SIGNAL) ** 2, SIGNAL))
    said = re.search(r"grows with the square of the light, over a gain of ([\d.]+) DN/e⁻", text)
    assert said is not None
    assert float(said[1]) == pytest.approx(1, abs=0.05)
    # A curve that loses a tenth of its slope towards the end bends by less than is said.
    assert doubts(statistics((1 - 0.1 * SIGNAL) * line, SIGNAL)) == []
    # With a black level that is too low the levels are said alone.
    (only,) = doubts(statistics(np.where(SIGNAL > 0.42, 1.5, 1) * (line - 4e-6), SIGNAL + 0.03))
    assert "black level" in only


def test_a_right_camera_is_told_nothing() -> None:
    # 200 draws: none may be called wrong.
    for seed in range(200):
        rng = np.random.default_rng(seed)
        signal = np.sort(rng.uniform(-0.001, rng.uniform(0.05, 0.9), rng.integers(5, 200)))
        variance = np.maximum(rng.uniform(0.1, 3) * 1e4 * signal, 0) + rng.uniform(0, 50) + 1e-2
        assert doubts(statistics(variance / 1e8, signal, seed=seed)) == []


def _fill(model: NoiseModel, value: float) -> None:
    for parameter in model.parameters():
        parameter.data.fill_(value)


def test_a_start_worse_than_gaussian_is_replaced_aloud() -> None:
    model, notes = build(ModelSpec("nlf")), Notes()
    nll = {5.0: 80.0, 1.0: -4.0, 2.0: math.nan}

    def held_out(each: NoiseModel) -> float:
        return nll[next(each.parameters()).flatten()[0].item()]

    starts = {f"start {value:g}": (lambda value=value: _fill(model, value)) for value in (5.0, 2.0, 1.0)}
    with pytest.warns(FitWarning, match=r"nlf: start 5 has a held-out NLL of 80.0000.*replaced by start 1 \(-4.0000\)"):
        best_start(model, starts, held_out, -4.0, notes)
    assert next(model.parameters()).flatten()[0].item() == 1.0
    assert len(notes.said) == 1
    with pytest.raises(DataError, match="not finite from any start"):
        best_start(model, {"start 2": starts["start 2"]}, held_out, -4.0, notes)
    # A start that is right is taken as it is, without a word.
    quiet = Notes()
    best_start(model, {"start 1": starts["start 1"]}, held_out, -4.0, quiet)
    assert quiet.said == []


def test_a_fit_that_diverges_says_so_and_keeps_its_best(tmp_path: Path) -> None:
    settings = FitSettings(epochs=3, batch=64, steps_per_epoch=4, learning_rate=3.0, schedule="constant", clip=1e9)
    with (
        gaussian_store(tmp_path / "s.h5", patches=200) as store,
        pytest.warns(FitWarning, match=r"diverged.*are kept|not finite.*are kept"),
    ):
        result = fit(store, spec_for(store, "noise_flow"), tmp_path / "run", settings)
    assert result.best_nll <= result.start_nll
    assert "are kept" in (tmp_path / "run" / "fit.json").read_text(encoding="utf-8")


def batch_of(seed: int, kind: str) -> tuple[PatchBatch, np.ndarray]:
    """144 patches of 4 × 16 × 16 in 12 frames, dark and bright in turn, σ 1 DN in the dark and 3 in the light."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(12), 12)
    sigma = np.where(frame % 2, 3.0, 1.0)[:, None, None, None]
    noise = sigma * rng.standard_normal((144, 4, 16, 16))
    if kind == "rows":
        noise += 0.3 * np.tile(rng.standard_normal((144, 2, 1, 16, 1)), (1, 1, 2, 1, 1)).reshape(144, 4, 16, 1)
    if kind == "rows of one plane":
        noise[:, 1] += 0.6 * rng.standard_normal((144, 16, 1))
    if kind == "neighbours":
        noise[..., 1:] += 0.4 * noise[..., :-1].copy()
    if kind == "black of G2":
        noise[:, 2] += 0.7
    if kind == "black that drifts":
        noise += rng.standard_normal(12)[frame][:, None, None, None]
    if kind == "fixed columns":
        noise += (
            2
            * rng.standard_normal((1, 4, 1, 64))[..., np.add.outer(16 * (np.arange(144) % 4), np.arange(16))][
                0, :, 0
            ].swapaxes(0, 1)[:, :, None]
        )
    if kind == "particles":
        noise += np.where(rng.random(noise.shape) < 5e-5, 200 * rng.exponential(size=noise.shape), 0)
    if kind.endswith("frames"):
        noise /= sigma
    if kind == "dim ramp":
        noise *= np.sqrt(1 + 2 * frame)[:, None, None, None] / sigma
    if kind == "two gains":
        noise *= np.where(frame // 2 % 2, 1.3, 0.8)[:, None, None, None]
    table = np.zeros(144, fields(4))
    table["black"], table["white"] = 64.0, 1063.0
    light = np.where(frame % 2, 0.5, 0.0) if kind != "dim ramp" else frame * 5e-4
    if kind.endswith("frames"):
        light[:] = 0.3 if kind == "flat frames" else 0
    clean = np.broadcast_to(light[:, None, None, None], noise.shape)
    parts = (torch.from_numpy(np.ascontiguousarray(each)).float() for each in (noise / 999, clean))
    return PatchBatch(*parts, torch.full((144,), 100.0), torch.zeros(144, dtype=torch.long), table), frame


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("rows of one plane", "row offsets differ between planes R and G1: "),
        ("black of G2", r"plane G2 has a mean of \+0.[67]"),
        ("two gains", "variance of frames of the same light differs"),
    ],
)
def test_noise_that_no_model_has_is_said(kind: str, said: str) -> None:
    batch, frame = batch_of(1, kind)
    (text,) = beyond_models(batch, frame, ("One",), ("R", "G1", "G2", "B"))
    assert text.startswith("camera 'One', ISO 100: ")
    assert re.search(said, text)


@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "rows",
        "neighbours",
        "black that drifts",
        "fixed columns",
        "particles",
        "dim ramp",
        "dark frames",
        "flat frames",
    ],
)
def test_noise_that_models_have_is_not_doubted(kind: str) -> None:
    """Ten draws each and ten statements a draw, at five standard errors: a false alarm in 10,000 runs."""
    for seed in range(10):
        assert beyond_models(*batch_of(seed, kind), ("One",), ("R", "G1", "G2", "B")) == []


def test_a_masked_frame_does_not_hide_a_wrong_black_level() -> None:
    batch, frame = batch_of(1, "black of G2")
    observed = torch.ones(batch.noise.shape, dtype=torch.bool)
    observed[torch.from_numpy(frame == 3), 2] = False
    observed[torch.from_numpy(frame == 5)] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (text,) = beyond_models(replace(batch, observed=observed), frame, ("One",), ("R", "G1", "G2", "B"))
    assert "plane G2 has a mean of +0." in text


@pytest.mark.parametrize(
    ("light", "own_error", "alike"),
    [(100, 0.0, True), (20, 0.0, True), (100, 8.0, True), (100, 30.0, False), (20, 30.0, False), (0, 0.0, False)],
)
def test_light_that_is_the_same_everywhere_is_said(light: float, own_error: float, alike: bool) -> None:
    """The clean signal of four frames has a third of the noise, which looked like light without shot noise: K was 0."""
    rng = np.random.default_rng(0)
    variance = 0.8 * light + 9.0
    clean = light + own_error * rng.uniform(-1, 1, 400) + rng.normal(0, np.sqrt(variance / 3), 400)
    cells = statistics(np.full(400, variance) / 1e8, clean / 1e4)
    notes = Notes(aloud=False)
    check_light(cells, 1 / 3, 1e4, notes)
    assert [text.startswith("camera 'One', ISO 400: the light is about") for text in notes.said] == [True] * alike


@pytest.mark.parametrize(
    ("kind", "along", "said"),
    [
        ("plain", None, ()),
        ("rows", None, ()),
        ("fixed columns", None, ()),
        ("particles", None, ()),
        ("blurred", (-1, -2), ("0.67 along rows and 0.68 along columns", "5.5 times")),
        ("blurred", (-1,), ("0.67 along rows and 0.01 along columns", "2.4 times")),
        ("shared", None, ("0.67 between planes",)),
    ],
)
def test_filtered_frames_are_said(kind: str, along: tuple[int, ...] | None, said: tuple[str, ...]) -> None:
    """Frames that were denoised or resized had gains 2 to 7 times too small, unsaid."""
    batch, _ = batch_of(2, "plain" if kind in ("blurred", "shared") else kind)
    for axis in along or ():
        shifted = sum(part * batch.noise.roll(step, axis) for step, part in ((-1, 0.25), (0, 0.5), (1, 0.25)))
        batch = replace(batch, noise=shifted)
    if kind == "shared":
        batch = replace(batch, noise=batch.noise + batch.noise.mean(1, keepdim=True) * 2)
    notes = Notes(aloud=False)
    check_neighbours(batch, ("One",), notes)
    assert len(notes.said) == bool(said)
    assert all(words in notes.said[0] for words in said)
    # Nine in ten pixels masked, and what was there does not count.
    seen = torch.rand(batch.noise.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    check_neighbours(replace(batch, noise=torch.where(seen, 0.0, 1e3), observed=seen), ("One",), notes)
    assert len(notes.said) == bool(said)


@pytest.mark.parametrize(
    ("kind", "said"), [("leaves", "correlated in the light (0."), ("all", "were the frames denoised")]
)
def test_what_moves_in_the_light_is_no_filter(kind: str, said: str) -> None:
    """Leaves in the wind made K 1.25 for 0.8, and the words were that the frames had been denoised."""
    batch, _ = batch_of(2, "plain")
    shared = batch.noise.roll(1, -1) + batch.noise.roll(1, -2)
    lit = batch.clean > 0.1 if kind == "leaves" else torch.tensor(True)
    notes = Notes(aloud=False)
    check_neighbours(replace(batch, noise=batch.noise + torch.where(lit, 0.5, 0.0) * shared), ("One",), notes)
    (words,) = notes.said
    assert said in words
