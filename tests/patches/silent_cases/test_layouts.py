"""Files as people have them, which once gave a wrong number without a word: K and σ are those of the plain file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from burst_of_steps import BLACK, EXIF, FRAMES, SAID, SHAPE, WHITE, X, Y, dngs, exposures, measured
from tiff_writer import write_dng_tags

from noiseflow.raw.formats.ser import HEADER, SIGNATURE
from noiseflow.raw.packed_bits import PACKINGS
from noiseflow.raw.settings import RawSettings

Case = Callable[[Path, str, str], RawSettings | None]
"""Writes the burst into a folder, of a phase and a byte order; what is to be said beside the files."""

CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


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


def test_16_bits_of_a_film_in_the_other_order_are_seen(tmp_path: Path, plain: dict[str, tuple[float, float]]) -> None:
    """Its depth excludes no code: K was a thousand times too large."""
    folder = tmp_path / "in"
    folder.mkdir()
    text = b"".ljust(40)
    header = HEADER.pack(SIGNATURE, 0, 8, 0, SHAPE[1], SHAPE[0], 16, FRAMES, text, b"Maker One".ljust(40), text, 0, 0)
    (folder / "a.ser").write_bytes(header + np.stack(exposures()).astype(">u2").tobytes())
    found = measured(folder, replace(SAID, white=None))
    assert found == (pytest.approx(plain["burst"][0], rel=2e-3), pytest.approx(plain["burst"][1], rel=5e-3))
