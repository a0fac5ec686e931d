"""Frames that share their noise: one exposure twice although not byte for byte, and noise reduction in time."""

from pathlib import Path

import numpy as np
import pytest
from builders import frame
from burst_of_steps import GAIN, READ, SIGNAL, WHITE

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches import IngestOptions, ingest
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.inspection import equal_steps, in_time


def burst(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = [64 + GAIN * rng.poisson(SIGNAL / GAIN) + rng.normal(0, READ, SIGNAL.shape) for _ in range(count)]
    return [np.clip(np.rint(each), 0, WHITE).astype(np.uint16) for each in codes]


def notes_of(folder: Path, frames: list[np.ndarray]) -> list[str]:
    folder.mkdir()
    for number, codes in enumerate(frames):
        write_dng(folder / f"{number}.dng", frame(codes))
    return list(ingest([folder], folder.with_suffix(".h5"), IngestOptions(patch_size=16)).notes)


def retouched(codes: np.ndarray, part: float) -> np.ndarray:
    return np.where(np.random.default_rng(9).random(codes.shape) < part, 300, codes).astype(np.uint16)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("how", ["retouched", "half retouched", "a code more", "lower half"])
def test_one_exposure_twice_is_seen_although_pixels_differ(tmp_path: Path, how: str, count: int) -> None:
    """The checksum does not see it: K was 1.005 (retouched), 0.737 (one code more) and 0.757 (a torn frame) for 0.8."""
    frames = burst(count)
    last = {
        "retouched": retouched(frames[0], 0.01),
        "half retouched": retouched(frames[0], 0.3),
        "a code more": frames[0] + np.uint16(1),
        "lower half": np.vstack([burst(1, 7)[0][:60], frames[0][60:]]),
    }[how]
    with pytest.raises(
        NoiseflowError, match=rf"{count}\.dng has the same noise as 0\.dng in a large part|no pixel changes"
    ):
        notes_of(tmp_path / "burst", [*frames, last])


@pytest.mark.parametrize("part", [0.3, 0.5, 0.8])
def test_noise_reduction_in_time_is_said(tmp_path: Path, part: float) -> None:
    """K was 0.43 and 0.28 for 0.8 where each frame has 0.3 and 0.5 of the last one."""
    frames = [each.astype(float) for each in burst(12)]
    for number in range(1, 12):
        frames[number] = (1 - part) * frames[number] + part * frames[number - 1]
    notes = notes_of(tmp_path / "burst", [np.rint(each).astype(np.uint16) for each in frames])
    assert [note for note in notes if "noise of successive frames is correlated" in note]


def test_independent_frames_are_not_doubted(tmp_path: Path) -> None:
    assert notes_of(tmp_path / "burst", burst(6)) == []


@pytest.mark.parametrize("sigma", [0.2, 0.4, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("count", [2, 3, 6, 20])
def test_coarse_codes_are_often_equal_by_chance(sigma: float, count: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pattern = rng.normal(20, 2, (2, 20_000))
        codes = np.rint(pattern + rng.normal(0, sigma, (count, 2, 20_000)) + 0.3 * np.arange(count)[:, None, None])
        steps = (codes[:, 1] - codes[:, 0]).astype(np.float32)
        assert equal_steps(steps) == ()
        assert in_time(steps) == 0


@pytest.mark.parametrize("unit", [4, 16])
def test_multiplied_codes_are_as_coarse_as_those_they_are_made_of(unit: int) -> None:
    """Two frames of 12 bits in 16 with σ of half a code, 20,000 positions."""
    rng = np.random.default_rng(0)
    codes = np.rint(rng.uniform(100, 1000, (1, 2, 20_000)) + rng.normal(0, 0.5, (2, 2, 20_000)))
    assert equal_steps((unit * (codes[:, 1] - codes[:, 0])).astype(np.float32)) == ()


def test_a_night_without_noise_in_the_dark_is_no_copy(tmp_path: Path) -> None:
    """An 8-bit camera: 70 % of the pixels are equal in both frames, and the others have noise of 10 DN."""
    rng = np.random.default_rng(0)
    light = np.where(np.arange(SIGNAL.shape[1]) % 20 < 14, 0, 500.0) + 0 * SIGNAL
    frames = [np.rint(64 + light + np.where(light > 0, 10, 0.1) * rng.normal(size=light.shape)) for _ in range(2)]
    assert not [
        note for note in notes_of(tmp_path / "burst", [each.astype(np.uint16) for each in frames]) if "noise" in note
    ]


@pytest.mark.parametrize("tail", [1e-3, 0.02])
def test_jumping_pixels_are_no_noise_in_time(tail: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (10, 20_000))
    at = rng.random(20_000) < tail
    values[:, at] += 40 * (rng.random((10, int(at.sum()))) < 0.5)
    assert in_time(values.astype(np.float32)) == 0
    assert equal_steps(np.rint(values).astype(np.float32)) == ()
