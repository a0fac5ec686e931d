"""Parts are found where they are, not where they are not, and the fit is as good as the truth."""

import math
from pathlib import Path

import pytest
import torch
from temporal_models import temporal_model

from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.fit.sequences.choose_parts import _pattern, fit_temporal
from noiseflow.fit.sequences.fit_parts import gains, latent_tiles
from noiseflow.fit.sequences.tiles import Scene, SequenceTiles
from noiseflow.models import TemporalNoise, from_profile, load, save
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.temporal_noise import PATTERN
from noiseflow.ops.random.sampling import Keyed

ORACLE = 0.003
"""Distance from the planted model that is asked for, nats/dim."""

OTHERS = tuple(name for name in PARTS if name not in ("block_flow", "conditional_flow"))
"""All parts but the laws of what they leave, which `test_innovations` plants."""


def sequence(model: TemporalNoise, level: float, seed: int, scene: Scene = "flat") -> SequenceTiles:
    """Ten tiles of 20×20 pixels over eight frames."""
    clean = torch.full((10, 1, 1, 20, 20), level)
    noise = model.sample_sequence(clean.expand(-1, 8, -1, -1, -1), 100.0, 0, Keyed(seed, tuple(range(10))))
    return SequenceTiles(noise, clean, 100.0, "A", f"signal {level:g}", scene)


@pytest.mark.parametrize(
    "planted",
    [
        (),
        ("dark_pattern",),
        ("black_drift",),
        ("telegraph",),
        pytest.param(("response_pattern",), marks=pytest.mark.slow),
        pytest.param(("light_flicker",), marks=pytest.mark.slow),
        pytest.param(OTHERS, marks=pytest.mark.slow),
    ],
    ids="+".join,
)
def test_what_is_planted_is_found(planted: tuple[str, ...]) -> None:
    model = temporal_model(planted).float()
    sequences = [sequence(model, 0.0, 1), sequence(model, 0.5, 2)]
    fit = fit_temporal(model.frame, sequences)
    with torch.no_grad():
        held_out = [latent_tiles(model.frame, each.halves()[1]) for each in sequences]
        dims = sum(len(each.z) * each.dims for each in held_out)
        oracle = sum(float(gains(model, each).sum()) for each in held_out) / dims
    assert abs(fit.gain - oracle) < ORACLE
    if len(planted) == 1:
        assert planted[0] in fit.model.parts
        assert len(fit.model.parts) <= 2
        # Independent frames lose all of it.
        assert oracle > 3e-4
    elif not planted:
        assert fit.gain < 1e-4
    else:
        assert oracle > 10 * ORACLE
    kept = {trial.part for trial in fit.trials if trial.kept}
    assert kept == set(fit.model.parts)


def test_a_frame_model_without_the_pattern_gets_it_added() -> None:
    model = temporal_model(("dark_pattern",), pattern="added").float()
    fit = fit_temporal(model.frame, [sequence(model, 0.0, 1)], ["dark_pattern"])
    assert fit.model.adds_pattern
    assert any("is added to it" in note for note in fit.notes)
    within = temporal_model(("dark_pattern",)).float()
    assert not fit_temporal(within.frame, [sequence(within, 0.0, 1)], ["dark_pattern"]).model.adds_pattern


@pytest.mark.parametrize("kind", PATTERN)
def test_strong_flicker_does_not_decide_whether_the_pattern_is_added(kind: str) -> None:
    """It was 0.4 of the variance, and a pattern of a tenth that the frame model had was added once more."""
    model = temporal_model(("dark_pattern", "light_flicker"), pattern=kind).float()
    model.parts["light_flicker"].log_sigma.fill_(math.log(0.03))  # type: ignore[operator, union-attr]
    assert _pattern([latent_tiles(model.frame, sequence(model, 0.5, 1))]) == kind


def test_the_frame_s_model_stays_as_it_is(tmp_path: Path) -> None:
    model = temporal_model(("black_drift",)).float()
    before = {name: value.clone() for name, value in model.frame.state_dict().items()}
    fit = fit_temporal(model.frame, [sequence(model, 0.1, 1)], ["black_drift"])
    for name, value in fit.model.frame.state_dict().items():
        assert torch.equal(value, before[name])
    save(fit.model, tmp_path)
    assert '"gain_nats_per_dim"' in fit.record()
    assert isinstance(load(tmp_path), TemporalNoise)


def test_what_cannot_be_told_is_said_or_refused() -> None:
    model = temporal_model(("black_drift",)).float()
    static = sequence(model, 0.1, 1, "static")
    with pytest.raises(DataError, match="cannot be distinguished from a static scene"):
        fit_temporal(model.frame, [static], ["dark_pattern"])
    fit = fit_temporal(model.frame, [static])
    assert set(fit.model.parts) <= {"black_drift", "light_flicker", "telegraph"}
    assert any("fixed pattern was not fitted" in note for note in fit.notes)
    dark = fit_temporal(model.frame, [sequence(model, 0.0, 1)])
    assert {trial.part for trial in dark.trials}.isdisjoint({"response_pattern", "light_flicker"})
    with pytest.raises(DataError, match="at least one"):
        fit_temporal(model.frame, [])
    eld = from_profile("eld", shipped_profile("Sony A7S2"))
    with pytest.raises(ModelError, match="latent, which this model lacks"):
        fit_temporal(eld, [static])
