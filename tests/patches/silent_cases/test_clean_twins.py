"""Clean twins that once made K or σ wrong without a word: read rightly, said or refused."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import frame
from burst_of_steps import BLACK, EXIF, GAIN, READ, SAID, SHAPE, SIGNAL, WHITE, exposures, measured
from tiff_writer import write_dng_tags

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches import IngestOptions, ingest
from noiseflow.patches.ingestion.believed import shared_with_mean
from noiseflow.patches.pairings.pairing import FramePair
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.settings import RawSettings

TWINS = {
    "scene/noisy_0 … gt": ("s/noisy_{}.dng", "s/gt.dng"),
    "a_noisy_0 … a_gt": ("a_noisy_{}.dng", "a_gt.dng"),
    "noisy/ beside clean/": ("noisy/a_{}.dng", "clean/a.dng"),
    "reference": ("desk_{}.dng", "reference.dng"),
}


@pytest.mark.parametrize(("names", "finer"), zip(TWINS, (16, 1, 16, 1), strict=True))
def test_clean_twins_as_people_name_them(
    names: str, finer: int, tmp_path: Path, plain: dict[str, tuple[float, float]]
) -> None:
    """Deltas of fractions, of a twin on the camera's grid and on one 16 times as fine."""
    deltas = np.round(np.sin(np.arange(SHAPE[0])) * 4, 4)
    folder = tmp_path / "in"

    def tags(scale: int) -> dict[int, tuple[str, list[float]]]:
        return {
            50714: ("short", [BLACK * scale]),
            50716: ("srational", (deltas * scale).tolist()),
            50717: ("long", [WHITE * scale]),
        }

    noisy, clean = TWINS[names]
    for path in (folder / noisy, folder / clean):
        path.parent.mkdir(parents=True, exist_ok=True)
    for number, codes in enumerate(exposures(BLACK + deltas[:, None])):
        write_dng_tags(folder / noisy.format(number), codes, "GRBG", tags(1), exif=EXIF)
    twin = np.rint(finer * (BLACK + deltas[:, None] + SIGNAL)).astype(np.uint16)
    write_dng_tags(folder / clean, twin, "GRBG", tags(finer), exif=EXIF)
    found = measured(folder)
    # The twin's own rounding is 1/12 of its DN², which the plain pair has too on the camera's grid.
    read = math.sqrt(plain["gt"][1] ** 2 - (1 - 1 / finer**2) / 12)
    assert found == (pytest.approx(plain["gt"][0], rel=2e-3), pytest.approx(read, rel=5e-3))


@pytest.mark.parametrize(
    ("clean", "said"),
    [
        (SIGNAL, ""),
        (1.1 * SIGNAL, "is 90.9 % as bright as its clean signal"),
        ("noisy", "of the noise variance is explained by the clean signal"),
        (np.roll(SIGNAL, 6, 1), "is common to neighbouring pixels"),
    ],
)
@pytest.mark.parametrize("black", [0, BLACK])
def test_a_clean_twin_that_is_none_is_said(tmp_path: Path, clean: np.ndarray | str, said: str, black: int) -> None:
    """A twin of another exposure, one as noisy as the frame, one that does not lie on it: each made K wrong unsaid."""
    folder = tmp_path / "pair"
    folder.mkdir()
    light = exposures(black)[3] if isinstance(clean, str) else np.rint(black + clean).astype(np.uint16)
    levels = {"black": (float(black),) * 4, "white": float(WHITE)}
    write_dng(folder / "a_noisy.dng", replace(frame(exposures(black)[0]), **levels))  # type: ignore[arg-type]
    write_dng(folder / "a_gt.dng", replace(frame(light), **levels))  # type: ignore[arg-type]
    result = ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    doubted = [note for note in result.notes if "clean signal" in note and "a_noisy.dng" in note]
    assert any(said in note for note in doubted) if said else not doubted


def bursts(folder: Path, given: int, of: int, *, scenes: int = 1, own: bool = True) -> list[str]:
    """What is said of scenes whose twin is the mean of some frames, or the signal, of which some are given."""
    rng = np.random.default_rng(7)
    for scene in range(scenes):
        (folder / f"{scene}").mkdir(parents=True)
        light = [0.97, 1.0, 1.03] if given == 3 else [1.0]
        frames = [
            np.rint(BLACK + GAIN * rng.poisson(SIGNAL * light[n % len(light)] / GAIN) + rng.normal(0, READ, SHAPE))
            for n in range(of)
        ]
        clean = np.mean(frames, 0) if own else BLACK + SIGNAL
        for number, codes in enumerate(frames[:given]):
            np.save(folder / f"{scene}" / f"noisy_{number}.npy", np.clip(codes, 0, WHITE).astype(np.uint16))
        np.save(folder / f"{scene}" / "gt.npy", clean)
    options = IngestOptions(patch_size=16, settings=RawSettings(cfa="RGGB").over(SAID))
    result = ingest([folder], folder.with_suffix(".h5"), options)
    assert result.pairing == "gt"
    return [note for note in result.notes if "its clean twin is the mean of" in note]


@pytest.mark.parametrize(
    ("given", "of", "said"),
    [
        (2, 2, "of these 2 frames themselves: each frame is part of it"),
        (4, 4, "of these 4 frames themselves: each frame is part of it"),
        (2, 4, "frames, with these 2 among them: each frame is part of it"),
        (3, 4, "frames, with these 3 among them: each frame is part of it"),
        (6, 16, "frames, with these 6 among them: each frame is part of it"),
    ],
)
def test_a_clean_twin_that_frames_are_in_is_said(tmp_path: Path, given: int, of: int, said: str) -> None:
    """K and σ² are 1/n too small by it, and no frame by itself shows it."""
    assert [said in note for note in bursts(tmp_path / "in", given, of)] == [True]


def test_the_part_that_a_twin_shares_is_one_over_its_frames() -> None:
    """Of 2 of 4, 12 % of the pixels had most of the weight, and it was said to be 7 frames."""
    rng = np.random.default_rng(0)
    for given, of in ((2, 4), (3, 4), (6, 16)):
        frames = rng.normal(0, 5, (of, *SHAPE)) + BLACK + SIGNAL
        clean = frames.mean(0).astype(np.float32)[None, ::2, ::2]
        found = shared_with_mean(
            [FramePair(None, 0, frame(each), clean, 0.0).noise_sample() for each in frames[:given]]  # type: ignore[arg-type]
        )
        assert found is not None
        assert found.part == pytest.approx(1 / of, abs=4 * found.error)
        assert found.error < 0.1 / of if given == of else found.error < 0.35 / of


@pytest.mark.parametrize("given", [2, 3, 6])
def test_a_clean_twin_that_frames_are_not_in_is_not_doubted(tmp_path: Path, given: int) -> None:
    assert not bursts(tmp_path / "in", given, given, own=False)


@pytest.mark.parametrize("own", [True, False])
def test_many_scenes_tell_what_two_frames_of_one_leave_open(tmp_path: Path, own: bool) -> None:
    """Two frames of ten: 2.5 to 4.7 standard errors in one scene, and K 10 % too small in all of them."""
    found = bursts(tmp_path / "in", 2, 10, scenes=6, own=own)
    assert [("0/gt: " in note, "of 5 other scenes" in note) for note in found] == [(True, True)] * own


@pytest.mark.parametrize("own", [True, False])
def test_noise_of_rows_hides_no_mean_and_makes_none(own: bool) -> None:
    """Strong rows made 40 independent numbers of 1,600."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        frames = rng.normal(0, 5, (4, *SHAPE)) + rng.normal(0, 15, (4, SHAPE[0], 1)) + BLACK + SIGNAL
        clean = (frames.mean(0) if own else BLACK + SIGNAL).astype(np.float32)
        noise = [FramePair(None, 0, frame(each), clean[None, ::2, ::2], 0.0).noise_sample() for each in frames]  # type: ignore[arg-type]
        found = shared_with_mean(noise[:3])
        assert found is not None
        assert found.sure == own


def test_a_normalised_clean_twin_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    np.save(folder / "noisy.npy", exposures()[0])
    np.save(folder / "gt.npy", (SIGNAL / (WHITE - BLACK)).astype(np.float32))
    with pytest.raises(NoiseflowError, match=r"gt\.npy: its values lie between .* is it normalised\?"):
        measured(folder, RawSettings(cfa="RGGB").over(SAID))
