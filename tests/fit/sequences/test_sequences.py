"""Sequences of frames: read, split into tiles, refused where they say nothing or move."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.fit.sequences.from_files import read_sequences
from noiseflow.fit.sequences.from_store import _sequence, sequences_of_store
from noiseflow.fit.sequences.read_sequence import frame_places, read_sequence
from noiseflow.fit.sequences.standing_still import check_still
from noiseflow.fit.sequences.tiles import SIDE, SequenceTiles, cut_tiles, tiles_of
from noiseflow.models import ModelSpec
from noiseflow.raw import RawSettings

SPEC = ModelSpec("nlf", "mono", ("Cam",), (100.0,))
SETTINGS = RawSettings(cfa="MONO", black=(64.0,), white=4095.0, iso=100.0)
Frames = NDArray[np.float64]


def noisy(scene: Frames, frames: int, sigma: float = 4.0, seed: int = 0) -> Frames:
    """DN."""
    return scene + sigma * np.random.default_rng(seed).normal(size=(frames, *scene.shape))


def flat(frames: int = 6, size: tuple[int, int] = (96, 128)) -> Frames:
    return noisy(np.full(size, 800.0), frames)


def texture(size: tuple[int, int] = (96, 128)) -> Frames:
    y, x = np.mgrid[: size[0], : size[1]]
    return 800 + 200 * np.sin(x / 3) * np.cos(y / 4)


def write(folder: Path, frames: Frames, numbers: list[int] | None = None) -> Path:
    from PIL import Image

    folder.mkdir()
    for number, frame in zip(numbers or range(len(frames)), frames, strict=True):
        Image.fromarray(np.rint(frame).astype(np.uint16)).save(folder / f"frame_{number:03d}.png")
    return folder


def tiles(frames: Frames, scene: str = "flat") -> SequenceTiles:
    planes = ((frame[None] - 64) / (4095 - 64) for frame in frames)
    return tiles_of(planes, iso=100.0, camera="Cam", source="made", scene=scene)  # type: ignore[arg-type]


def test_tiles_are_the_same_places_of_every_frame() -> None:
    frame = np.arange(3 * 100 * 140, dtype=np.float32).reshape(3, 100, 140)
    found = cut_tiles(frame)
    assert found.shape == (12, 3, SIDE, SIDE)
    assert np.array_equal(found[5], frame[:, 32:64, 32:64])
    assert cut_tiles(frame, most=4).shape[0] == 4
    assert cut_tiles(frame[:, :20, :9]).shape == (1, 3, 20, 9)


@pytest.mark.parametrize("scene", ["flat", "static"])
def test_a_folder_of_frames_gives_its_noise(scene: str, tmp_path: Path) -> None:
    frames = flat()
    found = read_sequence(write(tmp_path / "f", frames), SPEC, scene=scene, settings=SETTINGS)  # type: ignore[arg-type]
    assert found.noise.shape == (12, 6, 1, SIDE, SIDE)
    sigma = float(found.noise.std()) * (4095 - 64)
    assert sigma == pytest.approx((16 + 1 / 12) ** 0.5, rel=0.02)
    assert float(found.clean.mean()) * (4095 - 64) == pytest.approx(736, abs=0.2)


def test_the_surface_of_an_even_scene_follows_its_shading_and_not_its_pixels(tmp_path: Path) -> None:
    y, x = np.mgrid[:96, :128]
    own = 6 * np.random.default_rng(1).normal(size=(96, 128))
    shading = 800 + 30 * (x / 128) ** 2 - 20 * y / 96
    found = tiles(noisy(shading + own, 40))
    together = (found.noise.double().mean(1) * (4095 - 64)).square().mean()
    assert float(together) == pytest.approx(36 + 16 / 40, rel=0.05)


def test_shading_that_no_surface_follows_is_no_pattern() -> None:
    """A wave of two σ: of the 5.2 DN² that it would add to the pattern, its slopes within tiles leave 0.4."""
    y, x = np.mgrid[:256, :320]
    shading = 800 + 8 * np.sin(2 * np.pi * x / 400) * np.cos(2 * np.pi * y / 500)
    found = tiles(noisy(shading, 20))
    noise = found.noise.double() * (4095 - 64)
    assert float(noise.mean((1, 2, 3, 4)).abs().max()) < 1e-3
    assert float(noise.mean(1).square().mean()) == pytest.approx(16 / 20 + 0.4, abs=0.1)


def test_a_clean_twin_is_taken_as_it_is(tmp_path: Path) -> None:
    scene = texture()
    folder = write(tmp_path / "f", noisy(scene, 4))
    write(tmp_path / "c", scene[None])
    (found,) = read_sequences([folder], SPEC, scene="static", clean=tmp_path / "c" / "frame_000.png", settings=SETTINGS)
    assert found.scene == "known"
    assert float(found.noise.std()) * (4095 - 64) == pytest.approx(16.2**0.5, rel=0.03)


@pytest.mark.parametrize("scene", ["flat", "static"])
def test_a_scene_that_moves_is_refused(scene: str) -> None:
    still = texture()
    if scene == "static":
        check_still(tiles(noisy(still, 6), scene))
    moving = np.stack([np.roll(still, 2 * t, 1) for t in range(6)])
    with pytest.raises(DataError, match=r"made: (something|the whole picture) moves"):
        check_still(tiles(moving + noisy(0 * still, 6), scene))
    passing = noisy(still if scene == "static" else 0 * still + 800, 6)
    passing[4, 30:60, 40:70] += 30
    with pytest.raises(DataError, match=r"something moves: in frame 4 .* % of the blocks"):
        check_still(tiles(passing, scene))


@pytest.mark.parametrize(
    ("step", "shake", "contrast"),
    [(0.05, 0.0, 10.0), (1.5, 0.0, 10.0), (0.0, 0.1, 10.0), (0.05, 0.0, 1.0), (0.0, 0.1, 1.0)],
)
@pytest.mark.parametrize("scene", ["flat", "static"])
def test_a_fine_texture_that_moves_is_refused(step: float, shake: float, contrast: float, scene: str) -> None:
    """Blocks of 8×8 pixels know nothing of it: the variance of the noise was up to 2,000 times too large.

    Contrast in σ of the noise.
    """
    rng = np.random.default_rng(4)
    fine = np.fft.fft2(800 + 4 * contrast * rng.normal(size=(64, 96)))
    waves = np.fft.fftfreq(64)[:, None], np.fft.fftfreq(96)[None]

    def frames(step: float, shake: float) -> Frames:
        moves = step * np.arange(8)[:, None] * (0.6, 0.8) + shake * rng.normal(size=(8, 2))
        turned = [np.fft.ifft2(fine * np.exp(2j * np.pi * (waves[0] * y + waves[1] * x))).real for y, x in moves]
        return np.stack(turned) + noisy(np.zeros((64, 96)), 8)

    check_still(tiles(frames(0.0, 0.0), scene))
    with pytest.raises(DataError, match=r"made: (something|the whole picture) moves"):
        check_still(tiles(frames(step, shake), scene))


def test_noise_of_neighbours_and_pixels_that_jump_do_not_move() -> None:
    rng = np.random.default_rng(5)
    for frames in (2, 3, 12):
        smooth = rng.normal(size=(frames, 97, 129))
        alike = 800 + 4 * (smooth[:, 1:, 1:] + 0.2 * smooth[:, 1:, :-1] + 0.2 * smooth[:, :-1, 1:])
        alike[:, ::17, ::13] += 25 * (rng.random(alike[:, ::17, ::13].shape) < 0.3)
        for scene in ("flat", "static"):
            check_still(tiles(alike, scene))


def interference(amplitude: float, seed: int) -> Frames:
    """A flat with a diagonal wave that comes with another phase in each frame; amplitude in σ of the noise."""
    y, x = np.mgrid[:96, :128]
    phases = 2 * np.pi * np.random.default_rng(seed).random((8, 1, 1))
    return flat(8) + 4 * amplitude * np.sin(2 * np.pi * (x / 7 + y / 5) + phases)


def test_interference_and_noise_that_lasts_are_no_copies_of_the_frame_before() -> None:
    for seed in range(12):
        for scene in ("flat", "static"):
            check_still(tiles(interference(0.38, seed), scene))
    lasting = np.random.default_rng(0).normal(size=(8, 97, 129))
    for before, frame in pairwise(lasting):
        frame *= (1 - 0.3**2) ** 0.5
        frame += 0.3 * before
    alike = lasting[:, 1:, 1:] + 0.2 * lasting[:, 1:, :-1] + 0.2 * lasting[:, :-1, 1:]
    check_still(tiles(800 + 4 * alike))


def test_interference_that_is_refused_is_named_without_a_size() -> None:
    with pytest.raises(
        DataError, match=r"something moves, or has interference: frame \d is shifted, which explains \d+ %"
    ):
        check_still(tiles(interference(1.2, 1)))


def test_drift_flicker_rows_and_a_pattern_do_not_move() -> None:
    rng = np.random.default_rng(3)
    frames = noisy(texture() * 0.5 + 400, 8) + 3 * rng.normal(size=(8, 1, 1)) + 0.7 * rng.normal(size=(8, 96, 1))
    light = 1 + 0.02 * rng.normal(size=(8, 1, 1))
    check_still(tiles(64 + (frames - 64) * light, "static"))
    # Noise goes with the light: a ramp from dark to bright.
    ramp = np.broadcast_to(np.linspace(64, 3500, 128), (96, 128))
    check_still(tiles(ramp + np.sqrt(1 + 0.5 * (ramp - 64)) * rng.normal(size=(8, 96, 128)), "static"))
    check_still(tiles(flat(8) + 8 * rng.normal(size=(96, 128)), "flat"))


def test_frames_that_are_missing_are_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", flat(4), [10, 12, 14, 16])
    assert [path.stem for path, _ in frame_places(whole)] == ["frame_010", "frame_012", "frame_014", "frame_016"]
    gap = write(tmp_path / "gap", flat(4), [1, 2, 5, 6])
    with pytest.raises(DataError, match=r"missing between frame_002\.png and frame_005\.png"):
        read_sequence(gap, SPEC, scene="flat", settings=SETTINGS)


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", flat(3))
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"shot{9 + number}.png")
    assert [path.stem for path, _ in frame_places(folder)] == ["shot9", "shot10", "shot11"]


def test_what_says_nothing_of_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 1 frame; noise in time needs at least 2 frames"):
        read_sequence(write(tmp_path / "one", flat(1)), SPEC, scene="flat", settings=SETTINGS)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="contains no raw frames"):
        read_sequence(tmp_path / "none", SPEC, scene="flat", settings=SETTINGS)
    with pytest.raises(DataError, match="does not say its ISO"):
        read_sequence(write(tmp_path / "iso", flat(2)), SPEC, scene="flat", settings=replace(SETTINGS, iso=None))
    odd = write(tmp_path / "odd", flat(2))
    write(tmp_path / "small", flat(1, (64, 64)))
    (tmp_path / "small" / "frame_000.png").rename(odd / "frame_002.png")
    with pytest.raises(DataError, match=r"frame 2 has \(64, 64\) pixels, but the first has \(96, 128\)"):
        read_sequence(odd, SPEC, scene="flat", settings=SETTINGS)
    with pytest.raises(DataError, match="give both or neither"):
        read_sequence(odd, SPEC, scene="known", settings=SETTINGS)
    with pytest.raises(DataError, match="one tile"):
        tiles(flat(3, (20, 20))).halves()


def test_two_isos_in_a_sequence_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    write(folder, flat(3))
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"scene_ISO{100 if number < 2 else 200}_{number}.png")
    with pytest.raises(DataError, match="ISO 200 in a sequence of ISO 100"):
        read_sequence(folder, SPEC, scene="flat", settings=replace(SETTINGS, iso=None))


def of_store(frames: list[int], isos: list[float]) -> SimpleNamespace:
    """Rows of a store: one patch of each frame at the same position."""
    kinds = [("frame", "i8"), ("iso", "f8"), ("x", "i8"), ("y", "i8")]
    table = np.array([(frame, iso, 0, 0) for frame, iso in zip(frames, isos, strict=True)], dtype=kinds)
    return SimpleNamespace(table=table, path="p.h5")


@pytest.mark.parametrize(
    ("frames", "isos", "message"),
    [
        ([0, 1, 3, 4], [100.0] * 4, "p.h5: scene wall lacks frame 2; ingest the sequence without gaps"),
        ([5, 6, 9], [100.0] * 3, "p.h5: scene wall lacks frame 7; ingest the sequence without gaps"),
        ([0, 1, 2], [100.0, 100.0, 400.0], "p.h5: scene wall has frames with ISO 100 and 400; split it"),
    ],
)
def test_a_store_with_gaps_or_two_isos_is_refused(frames: list[int], isos: list[float], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        _sequence(of_store(frames, isos), np.arange(len(frames)), "wall")  # type: ignore[arg-type]


def test_a_scene_of_one_frame_in_a_store_is_left_out(tmp_path: Path) -> None:
    assert _sequence(of_store([3], [100.0]), np.arange(1), "wall") is None  # type: ignore[arg-type]
    from noiseflow.patches import IngestOptions, ingest

    folder, clean = (
        write(tmp_path / "noisy", noisy(texture((64, 64)), 1)),
        write(tmp_path / "gt", texture((64, 64))[None]),
    )
    (folder / "frame_000.png").rename(folder / "001_NOISY.png")
    (clean / "frame_000.png").rename(folder / "001_CLEAN.png")
    ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16, pairing="gt", settings=SETTINGS))
    with pytest.raises(DataError, match="no scene has at least 2 frames with a patch at the same position"):
        sequences_of_store(tmp_path / "p.h5", ModelSpec("nlf", "mono2x2", ("camera",), (100.0,)))


def test_a_store_of_a_burst_gives_the_sequences_of_its_places(tmp_path: Path) -> None:
    from noiseflow.patches import IngestOptions, ingest

    frames = noisy(texture((128, 128)), 5)
    folder = write(tmp_path / "burst", frames)
    ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=32, pairing="burst", settings=SETTINGS))
    spec = ModelSpec("nlf", "mono2x2", ("camera",), (100.0,))
    (found,) = sequences_of_store(tmp_path / "p.h5", spec)
    assert found.noise.shape[1] == 5
    assert found.scene == "static"
    assert float(found.noise.std()) * (4095 - 64) == pytest.approx((16 + 1 / 12) ** 0.5, rel=0.02)
    assert float(found.noise.sum(1).abs().max()) < 1e-4
    with pytest.raises(DataError, match="the model was fitted on 'bayer'"):
        sequences_of_store(tmp_path / "p.h5", ModelSpec("nlf"))
    assert torch.equal(read_sequences([tmp_path / "p.h5"], spec, scene="flat")[0].noise, found.noise)
