"""Clean twins that once made K or σ wrong without a word: read rightly, said or refused."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import frame
from burst_of_steps import BLACK, EXIF, SAID, SHAPE, SIGNAL, WHITE, exposures, measured
from tiff_writer import write_dng_tags

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches import IngestOptions, ingest
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
        ("noisy", "of the noise variance is correlated with the clean signal"),
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


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("own", [True, False])
def test_a_clean_twin_that_is_the_frames_own_mean_is_said(tmp_path: Path, count: int, own: bool) -> None:
    """K and σ² are 1/n too small by it, and no frame by itself shows it."""
    folder = tmp_path / "pair"
    folder.mkdir()
    for number, codes in enumerate(exposures()[:count]):
        write_dng(folder / f"a_noisy_{number}.dng", frame(codes))
    clean = np.mean(exposures()[:count], 0) if own else BLACK + SIGNAL
    write_dng(folder / "a_gt.dng", frame(np.rint(clean).astype(np.uint16)))
    result = ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    assert result.pairing == "gt"
    assert [f"the mean of these {count} frames themselves" in note for note in result.notes[1:]] == [True] * own


def test_a_normalised_clean_twin_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    np.save(folder / "noisy.npy", exposures()[0])
    np.save(folder / "gt.npy", (SIGNAL / (WHITE - BLACK)).astype(np.float32))
    with pytest.raises(NoiseflowError, match=r"gt\.npy: its values lie between .* is it normalised\?"):
        measured(folder, RawSettings(cfa="RGGB").over(SAID))
