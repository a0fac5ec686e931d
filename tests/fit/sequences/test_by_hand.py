"""Tiles of a sequence and what parts gain on them, by the numbers themselves."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noiseflow.fit.sequences.part_trials import SURE, _sure, gain_of
from noiseflow.fit.sequences.tiles import _places, _spread, cut_tiles, without_scene
from noiseflow.models.temporal.sequence_density import LatentDensity


def test_frames_less_their_mean_keep_the_variance_of_independent_noise() -> None:
    frames = torch.tensor([1.0, 4.0, 7.0]).reshape(1, 3, 1, 1, 1)
    assert without_scene(frames).flatten().tolist() == pytest.approx([-3 * 1.5**0.5, 0.0, 3 * 1.5**0.5])
    noise = torch.randn(4000, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0)) + 50.0
    assert float(without_scene(noise).var()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("down", "across", "most"), [(1, 1, 64), (8, 8, 64), (20, 10, 64), (100, 2, 64), (3, 200, 64), (9, 9, 1)]
)
def test_places_are_spread_evenly_and_no_more_than_asked(down: int, across: int, most: int) -> None:
    rows, columns = _spread(down, across, most)
    assert 1 <= len(rows) * len(columns) <= most
    for places, length in ((rows, down), (columns, across)):
        assert places == sorted(set(places))
        assert 0 == places[0] <= places[-1] < length
    if down * across <= most:
        assert (len(rows), len(columns)) == (down, across)
    else:
        assert len(rows) * len(columns) > most / 4 or min(down, across) <= 2


def test_tiles_are_cut_at_their_places() -> None:
    frame = np.arange(2 * 40 * 70, dtype=np.float64).reshape(2, 40, 70)
    tiles, places = cut_tiles(frame, 16, 5), _places(frame.shape, 16, 5)
    assert len(tiles) == len(places) <= 5
    for tile, (y, x) in zip(tiles, places.tolist(), strict=True):
        assert np.array_equal(tile, frame[:, y : y + 16, x : x + 16].astype(np.float32))
    assert cut_tiles(frame[:, :5, :9], 16, 5).shape == (1, 2, 5, 9)


def test_a_gain_is_per_dimension_and_its_error_of_strata() -> None:
    """Two sequences of 3 and 2 tiles, of 10 and 20 dimensions."""
    data = [SimpleNamespace(z=range(3), dims=10), SimpleNamespace(z=range(2), dims=20)]
    values = torch.tensor([1.0, 2.0, 6.0, 10.0, 14.0], dtype=torch.float64)
    gain, error = gain_of(values, data)  # type: ignore[arg-type]
    assert gain == pytest.approx(33 / 70)
    assert error == pytest.approx(math.sqrt(3 * np.var([1, 2, 6], ddof=1) + 2 * np.var([10, 14], ddof=1)) / 70)
    assert math.isinf(gain_of(torch.ones(1), [SimpleNamespace(z=range(1), dims=10)])[1])  # type: ignore[arg-type]


def test_a_gain_is_sure_by_its_error_or_by_its_ranks() -> None:
    mixed = torch.tensor([5.0, -4.0, 3.0, -2.0, 1.0] * 4)
    assert _sure(mixed, SURE * 1.0001, 1.0)
    assert not _sure(mixed, SURE * 0.9999, 1.0)
    # Tiles that all gain, of which one gains so much that the error says nothing.
    assert _sure(torch.cat([torch.ones(40), torch.tensor([1e4])]), 1.0, 1.0)
    assert not _sure(torch.zeros(20), 0.0, 1.0)
    assert not _sure(-torch.ones(40), -1.0, 1.0)


def test_another_mask_makes_another_signal_for_the_memory() -> None:
    density = object.__new__(LatentDensity)
    density.signals = []
    clean, other = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    mask = torch.tensor([[[[True, False], [True, True]]]])
    steps = [
        (clean, None),
        (clean.clone(), None),
        (clean, mask),
        (clean, mask.clone()),
        (other, None),
        (clean, None),
        (other, mask),
    ]
    assert [density._place(*step) for step in steps] == [
        (0, True),
        (0, False),
        (1, True),
        (1, False),
        (2, True),
        (0, False),
        (3, True),
    ]
