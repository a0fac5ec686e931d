"""What frames far apart share: against samples, and a pattern that telegraph pixels displace is seen."""

import pytest
import torch
from temporal_models import temporal_model

from noiseflow.fit.sequences.distant_frames import expected_covariance, has_pattern, keeps_averages
from noiseflow.fit.sequences.fit_parts import LatentTiles, latent_tiles
from noiseflow.fit.sequences.tiles import SequenceTiles
from noiseflow.models.temporal.temporal_noise import TemporalNoise

TILES, FRAMES, SIDE = 24, 12, 32


def drawn(model: TemporalNoise, seed: int) -> LatentTiles:
    clean = torch.full((TILES, FRAMES, 1, SIDE, SIDE), 0.3)
    noise = model.sample_sequence(clean, 100.0, 0, torch.Generator().manual_seed(seed))
    return latent_tiles(model.frame, SequenceTiles(noise, clean[:, :1], 100.0, "A", "made", "flat"))


@pytest.mark.parametrize(
    "parts", [("dark_pattern", "response_pattern"), ("telegraph",), ("dark_pattern", "telegraph")], ids="+".join
)
def test_the_covariance_that_is_expected_is_that_of_samples(parts: tuple[str, ...]) -> None:
    """Within four standard errors over tiles, and the model keeps its own averages."""
    model = temporal_model(parts).float()
    tiles = drawn(model, 1)
    third = FRAMES // 3
    each = (tiles.z[:, :third].mean(1) * tiles.z[:, -third:].mean(1)).mean(1)
    error = float(each.std()) / TILES**0.5
    expected = expected_covariance(model, tiles)
    assert float(each.mean()) == pytest.approx(float(expected.mean()), abs=4 * error)
    assert float(expected.mean()) > 3 * error
    assert has_pattern([tiles])
    assert keeps_averages(model, temporal_model(()).float(), [tiles])


def test_a_pattern_that_became_too_small_is_seen_unless_it_was_before() -> None:
    """As in the light of EMVA set 002, where means of 100 frames were 6 % off."""
    model = temporal_model(("dark_pattern",)).float()
    tiles = drawn(model, 2)
    smaller = temporal_model(("dark_pattern", "telegraph")).float()
    smaller.load_state_dict({**smaller.state_dict(), **model.state_dict()})
    assert smaller.telegraph is not None
    smaller.telegraph.log_amplitude -= 5
    smaller.telegraph.logit_fraction -= 5
    assert keeps_averages(smaller, model, [tiles])
    smaller.parts["dark_pattern"].log_sigma -= 0.3  # type: ignore[operator, union-attr]
    assert not keeps_averages(smaller, model, [tiles])
    assert keeps_averages(smaller, smaller, [tiles])


def test_frames_that_share_only_their_light_keep_their_averages() -> None:
    model = temporal_model(("light_flicker",)).float()
    assert keeps_averages(model, model, [drawn(model, 3)])
    assert not has_pattern([drawn(temporal_model(()).float(), 4)])
