"""Inputs that once gave a wrong number without a word: each now gives the K and σ of the plain file of the same codes.

The exposures are the same in all cases, so that they differ by nothing but how they are written:
no statistics stand between a case and the plain one.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from builders import frame
from tiff_writer import write_dng_tags

from noiseflow.core.errors import NoiseflowError
from noiseflow.fit.batches import gather
from noiseflow.models.closed_form.variance_line import fit_line
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.formats.ser import HEADER, SIGNATURE
from noiseflow.raw.packed_bits import PACKINGS
from noiseflow.raw.settings import RawSettings

GAIN, READ, BLACK, WHITE, FRAMES = 0.8, 3.0, 64, 1023, 4
SHAPE = (160, 240)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
SIGNAL = 600 * ((X / SHAPE[1] + np.sin(Y / 30) / 16 + 1 / 16) / 1.125) ** 2
EXIF = {34855: ("short", [400]), 33434: ("rational", [0.01])}
SAID = RawSettings(black=(float(BLACK),), white=float(WHITE), iso=400.0, exposure_s=0.01, camera="Maker One")


def exposures(black: np.ndarray | float = BLACK) -> list[np.ndarray]:
    """Codes of the burst: of equal electrons, whatever the black level of each pixel is."""
    rng = np.random.default_rng(5)
    frames = []
    for _ in range(FRAMES):
        dn = GAIN * rng.poisson(SIGNAL / GAIN) + rng.normal(0, READ, SHAPE)
        frames.append(np.clip(np.rint(dn + black), 0, None).astype(np.uint16))
    return frames


def gain_and_read(path: Path) -> tuple[float, float]:
    """K in DN/e⁻ and σ in DN, as `nlf` fits them; their standard errors are 0.53 and 0.85 % here."""
    with PatchStore(path) as store:
        span = float(store.table["white"][0] - np.mean(store.table["black"][0]))
        beta1, beta2 = fit_line(gather(store, np.arange(len(store))))
    return float(beta1) * span, math.sqrt(float(beta2)) * span


def measured(folder: Path, settings: RawSettings | None = None, pairing: str = "auto") -> tuple[float, float]:
    options = IngestOptions(patch_size=16, pairing=pairing, settings=settings)
    ingest([folder], folder.with_suffix(".h5"), options)
    return gain_and_read(folder.with_suffix(".h5"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """K and σ of plain DNGs; the black level of each pixel is the same there."""
    found = {}
    for pairing in ("burst", "gt"):
        folder = tmp_path_factory.mktemp(pairing) / "in"
        folder.mkdir()
        for number, codes in enumerate(exposures()):
            write_dng(folder / f"a_noisy_{number}.dng", frame(codes))
        if pairing == "gt":
            write_dng(folder / "a_gt.dng", frame(np.rint(BLACK + SIGNAL).astype(np.uint16)))
        found[pairing] = measured(folder, pairing=pairing)
        # Five standard errors of the fit to these 150,000 pixels.
        assert found[pairing] == (pytest.approx(GAIN, rel=0.027), pytest.approx(READ, rel=0.043))
    return found


Case = Callable[[Path, str, str], RawSettings | None]
"""Writes the burst into a folder, of a phase and a byte order; what is to be said beside the files."""

CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def dngs(folder: Path, cfa: str, order: str, black: np.ndarray | float, tags: dict[int, object], **how: object) -> None:
    for number, codes in enumerate(exposures(black)):
        known = {50717: ("long", [WHITE]), **tags}
        write_dng_tags(folder / f"{number}.dng", codes, cfa, known, order=order, exif=EXIF, **how)  # type: ignore[arg-type]


@case
def row_deltas(folder: Path, cfa: str, order: str) -> None:
    deltas = np.arange(SHAPE[0]) % 7 - 3.0
    dngs(
        folder, cfa, order, BLACK + deltas[:, None], {50714: ("short", [BLACK]), 50716: ("srational", deltas.tolist())}
    )


@case
def fractional_column_deltas_in_a_sub_directory(folder: Path, cfa: str, order: str) -> None:
    deltas = np.round(np.sin(np.arange(SHAPE[1]) / 9) * 5, 3)
    tags = {50714: ("short", [BLACK]), 50715: ("srational", deltas.tolist())}
    dngs(folder, cfa, order, BLACK + deltas, tags, raw_in="subifd")


@case
def deltas_alone(folder: Path, cfa: str, order: str) -> None:
    dngs(folder, cfa, order, BLACK, {50716: ("srational", [float(BLACK)] * SHAPE[0])})


@case
def a_cell_of_4x3(folder: Path, cfa: str, order: str) -> None:
    cell = np.arange(12).reshape(4, 3) + 60
    tags = {50713: ("short", [4, 3]), 50714: ("short", cell.ravel().tolist())}
    dngs(folder, cfa, order, cell[Y % 4, X % 3], tags)


@case
def four_levels_without_a_cell(folder: Path, cfa: str, order: str) -> None:
    cell = np.array([[60, 64], [68, 72]])
    dngs(folder, cfa, order, cell[Y % 2, X % 2], {50714: ("short", [60, 64, 68, 72])})


@case
def masked_pixels_beside_deltas(folder: Path, cfa: str, order: str) -> None:
    masked = np.full((SHAPE[0], 8), BLACK, np.uint16)
    tags = {
        50829: ("long", [0, 8, SHAPE[0], SHAPE[1] + 8]),
        50830: ("long", [0, 0, SHAPE[0], 8]),
        50716: ("srational", [float(BLACK)] * SHAPE[0]),
        50717: ("long", [WHITE]),
    }
    for number, codes in enumerate(exposures()):
        write_dng_tags(folder / f"{number}.dng", np.hstack([masked, codes]), cfa, tags, order=order, exif=EXIF)


@case
def masked_pixels_alone(folder: Path, cfa: str, order: str) -> None:
    masked = np.full((8, SHAPE[1]), BLACK, np.uint16)
    tags = {
        50829: ("long", [8, 0, SHAPE[0] + 8, SHAPE[1]]),
        50830: ("long", [0, 0, 8, SHAPE[1]]),
        50717: ("long", [WHITE]),
    }
    for number, codes in enumerate(exposures()):
        write_dng_tags(folder / f"{number}.dng", np.vstack([masked, codes]), cfa, tags, order=order, exif=EXIF)


@case
def iso_in_the_first_directory(folder: Path, cfa: str, order: str) -> None:
    for number, codes in enumerate(exposures()):
        tags = {50714: ("short", [BLACK]), 50717: ("long", [WHITE])}
        write_dng_tags(folder / f"{number}.dng", codes, cfa, tags, order=order, camera=EXIF, raw_in="subifd")


@case
def pages_of_a_tiff(folder: Path, cfa: str, order: str) -> RawSettings:
    tifffile.imwrite(folder / "a.tiff", np.stack(exposures()), photometric="minisblack", byteorder=order)  # type: ignore[call-overload]
    return RawSettings(cfa=cfa).over(SAID)


@case
def left_aligned_codes(folder: Path, cfa: str, order: str) -> RawSettings:
    for number, codes in enumerate(exposures()):
        np.save(folder / f"{number}.npy", (codes << 4).astype(f"{order}u2"))
    return RawSettings(cfa=cfa, shift=4).over(SAID)


@case
def a_stack_of_arrays(folder: Path, cfa: str, order: str) -> RawSettings:
    np.save(folder / "a.npy", np.stack(exposures()).astype(f"{order}u2"))
    return RawSettings(cfa=cfa).over(SAID)


@case
def a_ser_film(folder: Path, cfa: str, order: str) -> RawSettings:
    colour = {"RGGB": 8, "GRBG": 9, "GBRG": 10, "BGGR": 11}[cfa]
    text = b"".ljust(40)
    # Files in the wild say 0 for little-endian pixels, whatever the description says.
    little = 0 if order == "<" else 1
    header = HEADER.pack(SIGNATURE, 0, colour, little, SHAPE[1], SHAPE[0], 10, FRAMES, text, text, text, 0, 0)
    (folder / "a.ser").write_bytes(header + np.stack(exposures()).astype(f"{order}u2").tobytes())
    return SAID


@case
def packed_pixels_with_a_stride(folder: Path, cfa: str, order: str) -> RawSettings:
    name = "RAW10" if order == "<" else "Mono10p"
    row = PACKINGS[name].row_bytes(SHAPE[1])
    for number, codes in enumerate(exposures()):
        groups = codes.reshape(SHAPE[0], -1, 4).astype(np.uint64)
        if name == "RAW10":
            low = sum((groups[..., place] & 3) << np.uint64(2 * place) for place in range(4))
            packed = np.concatenate([groups >> np.uint64(2), np.asarray(low)[..., None]], -1).astype(np.uint8)
        else:
            word = sum(groups[..., place] << np.uint64(10 * place) for place in range(4))
            packed = np.stack([(word >> np.uint64(8 * byte)) & np.uint64(255) for byte in range(5)], -1)
        rows = packed.astype(np.uint8).reshape(SHAPE[0], row)
        (folder / f"{number}.raw").write_bytes(np.pad(rows, ((0, 0), (0, 12))).tobytes())
    return RawSettings(cfa=cfa, size=SHAPE[::-1], dtype=name, stride=row + 12).over(SAID)


@case
def a_fits_image_upside_down(folder: Path, cfa: str, order: str) -> RawSettings:
    fits = pytest.importorskip("astropy.io.fits")
    for number, codes in enumerate(exposures()):
        bottom_up = order == ">"
        primary = fits.PrimaryHDU()
        primary.header.update(BAYERPAT=cfa, EXPTIME=0.01, ROWORDER="BOTTOM-UP" if bottom_up else "TOP-DOWN")
        image = fits.ImageHDU(codes[::-1].copy() if bottom_up else codes)
        fits.HDUList([primary, image]).writeto(folder / f"{number}.fits")
    return SAID


@pytest.mark.parametrize(("cfa", "order"), [("RGGB", "<"), ("GBRG", ">")])
@pytest.mark.parametrize("name", CASES)
def test_a_burst_as_people_have_it(
    name: str, cfa: str, order: str, tmp_path: Path, plain: dict[str, tuple[float, float]]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    settings = CASES[name](folder, cfa, order)
    found = measured(folder, settings)
    # Levels of fractions of a DN round anew.
    assert found == (pytest.approx(plain["burst"][0], rel=2e-3), pytest.approx(plain["burst"][1], rel=5e-3))


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


@pytest.mark.parametrize(("cfa", "order"), [("GRBG", "<"), ("BGGR", ">")])
def test_a_clip_below_the_declared_white_level_leaves_the_fit_alone(cfa: str, order: str, tmp_path: Path) -> None:
    """Bright parts clip at 600; K of what is left is that of a file that declares it."""
    found = []
    for declared in (WHITE, 600):
        folder = tmp_path / str(declared)
        folder.mkdir()
        tags = {50714: ("short", [BLACK]), 50717: ("long", [declared])}
        for number, codes in enumerate(exposures()):
            write_dng_tags(folder / f"{number}.dng", np.minimum(codes, 600), cfa, tags, order=order, exif=EXIF)
        found.append(measured(folder))
    assert found[0] == (pytest.approx(found[1][0], rel=2e-3), pytest.approx(found[1][1], rel=5e-3))
    assert found[0][0] == pytest.approx(GAIN, rel=0.03)


def written(folder: Path, cfa: str = "RGGB") -> list[Path]:
    folder.mkdir()
    dngs(folder, cfa, "<", BLACK, {50714: ("short", [BLACK])})
    return sorted(folder.iterdir())


def again(files: list[Path]) -> None:
    write_dng_tags(files[0].with_name("z.dng"), exposures()[1], "RGGB", {50714: ("short", [BLACK])}, exif=EXIF)


def zeros(files: list[Path]) -> None:
    content = bytearray(files[2].read_bytes())
    content[len(content) // 2 : len(content) // 2 + 12_000] = bytes(12_000)
    files[2].write_bytes(bytes(content))


def one_code(files: list[Path]) -> None:
    for number, file in enumerate(files):
        file.unlink()
        write_dng(file, frame(np.full(SHAPE, 500, np.uint16), exposure_s=0.01 * (1 + 1e-6 * number)))


def bytes_of_two(files: list[Path]) -> None:
    for file, codes in zip(files, exposures(), strict=True):
        file.unlink()
        np.save(file.with_suffix(".npy"), codes.view(np.uint8))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (again, "holds the same pixels as"),
        (zeros, "they were not decoded"),
        (one_code, "holds the same pixels as|no pixel changes"),
        (bytes_of_two, "holds codes of 8 bits, under a white level of 1023 DN"),
    ],
)
def test_what_cannot_be_right_is_refused_with_the_reason(
    spoil: Callable[[list[Path]], None], reason: str, tmp_path: Path
) -> None:
    spoil(written(tmp_path / "in"))
    with pytest.raises(NoiseflowError, match=reason):
        ingest([tmp_path / "in"], tmp_path / "a.h5", IngestOptions(16, settings=RawSettings(cfa="RGGB").over(SAID)))
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("name", ["000_denoised", "zz_stacked"])
@pytest.mark.parametrize("pairing", ["auto", "dark"])
def test_a_frame_without_the_others_noise_is_refused(tmp_path: Path, name: str, pairing: str) -> None:
    """In the burst it made K 25 % too low, and nothing was said."""
    folder = tmp_path / "burst"
    folder.mkdir()
    for number, codes in enumerate(exposures()[:3]):
        write_dng(folder / f"{number:03d}_noisy.dng", frame(codes))
    write_dng(folder / f"{name}.dng", frame(np.rint(BLACK + SIGNAL).astype(np.uint16)))
    with pytest.raises(NoiseflowError, match=rf"{name}\.dng has 0\.?\d* of the noise variance of the other frames"):
        measured(folder, pairing=pairing)


@pytest.mark.parametrize(
    ("clean", "said"),
    [
        (SIGNAL, ""),
        (1.1 * SIGNAL, "as bright as its clean signal"),
        ("noisy", "of the noise's variance goes with the clean signal"),
        (np.roll(SIGNAL, 6, 1), "is alike in neighbouring pixels"),
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


@pytest.mark.parametrize("name", ["b", "denoised"])
def test_two_frames_of_which_one_has_no_noise_are_refused(tmp_path: Path, name: str) -> None:
    """K was half of the truth, and nothing was said: two frames' differences do not tell whose noise it is."""
    folder = tmp_path / "burst"
    folder.mkdir()
    write_dng(folder / "a.dng", frame(exposures()[0]))
    write_dng(folder / f"{name}.dng", frame(np.rint(BLACK + SIGNAL).astype(np.uint16)))
    with pytest.raises(NoiseflowError, match=rf"{name}\.dng has 0\.?\d* of the noise variance of the other frames"):
        measured(folder, pairing="burst")


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
    with pytest.raises(NoiseflowError, match=r"gt\.npy: its values lie within .* is it normalised\?"):
        measured(folder, RawSettings(cfa="RGGB").over(SAID))


def test_16_bits_of_a_film_in_the_other_order_are_seen(tmp_path: Path, plain: dict[str, tuple[float, float]]) -> None:
    """Its depth excludes no code: K was a thousand times too large."""
    folder = tmp_path / "in"
    folder.mkdir()
    text = b"".ljust(40)
    header = HEADER.pack(SIGNATURE, 0, 8, 0, SHAPE[1], SHAPE[0], 16, FRAMES, text, b"Maker One".ljust(40), text, 0, 0)
    (folder / "a.ser").write_bytes(header + np.stack(exposures()).astype(">u2").tobytes())
    found = measured(folder, replace(SAID, white=None))
    assert found == (pytest.approx(plain["burst"][0], rel=2e-3), pytest.approx(plain["burst"][1], rel=5e-3))


@pytest.mark.parametrize("full", [400, 500])
@pytest.mark.parametrize("spread", [6, 40])
def test_pixels_that_are_full_at_a_code_of_their_own_are_said(tmp_path: Path, full: int, spread: int) -> None:
    """There is no spike of one code at the top, and K came out 9 % too low."""
    folder = tmp_path / "burst"
    folder.mkdir()
    wells = full + np.random.default_rng(3).integers(0, spread, SHAPE)
    for number, codes in enumerate(exposures()):
        write_dng(folder / f"{number}.dng", frame(np.minimum(codes, wells).astype(np.uint16)))
    result = ingest([folder], tmp_path / "p.h5", IngestOptions(patch_size=16))
    (words,) = [note for note in result.notes if "are full" in note]
    found = float(words.split("noise of what is ")[1].split(" DN")[0])
    assert full - BLACK - 60 < found < full - BLACK + spread
