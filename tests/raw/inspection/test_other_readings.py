"""Bytes read in another order, another packing, or with the sides exchanged; and honest ones, which pass."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.core.errors import RawError
from noiseflow.raw.inspection.other_readings import _near_multiple, doubt_of_sides, other_order_is_smoother
from noiseflow.raw.packed_bits import PACKINGS
from noiseflow.raw.reading import read_raw
from noiseflow.raw.settings import RawSettings

SHAPE = (160, 240)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
SCENES = {
    "ramp": X / SHAPE[1],
    "waves": 0.5 + 0.25 * np.sin(X / 17) + 0.25 * np.cos(Y / 23),
    "edges": ((X // 37 + Y // 29) % 2) * 0.8 + 0.1,
    "vignette": 1 - ((X - 120) ** 2 + (Y - 80) ** 2) / 40_000,
}
PLAIN = {"flat": np.full(SHAPE, 0.5), "dark": np.zeros(SHAPE), "rows": Y / SHAPE[0]}


def codes(signal: np.ndarray, seed: int = 0, bits: int = 10) -> np.ndarray:
    """Shot and read noise on a Bayer sensor of unequal colours."""
    rng, top = np.random.default_rng(seed), 2**bits - 1
    colours = np.array([[0.5, 1.0], [1.0, 0.7]])[Y % 2, X % 2]
    dn = rng.poisson(0.7 * top * signal * colours / 0.8) * 0.8 + rng.normal(64, 3, SHAPE)
    return np.clip(np.rint(dn), 0, top).astype(np.uint16)


def packed(values: np.ndarray, name: str) -> bytes:
    """Pixels packed by the definition of each packing, written out anew."""
    packing = PACKINGS[name]
    groups = values.reshape(SHAPE[0], -1, packing.pixels).astype(np.uint64)
    low = packing.bits - 8
    if name.startswith("RAW"):
        tail = sum((groups[..., n] & ((1 << low) - 1)) << np.uint64(low * n) for n in range(packing.pixels))
        parts = [groups[..., n] >> np.uint64(low) for n in range(packing.pixels)]
        parts += [(tail >> np.uint64(8 * n)) & np.uint64(255) for n in range(packing.size - packing.pixels)]
    elif name.endswith("p"):
        word = sum(groups[..., n] << np.uint64(packing.bits * n) for n in range(packing.pixels))
        parts = [(word >> np.uint64(8 * n)) & np.uint64(255) for n in range(packing.size)]
    else:
        mask = np.uint64((1 << low) - 1)
        middle = (groups[..., 0] & mask) | (groups[..., 1] & mask) << np.uint64(4)
        parts = [groups[..., 0] >> np.uint64(low), middle, groups[..., 1] >> np.uint64(low)]
    return np.stack(parts, -1).astype(np.uint8).tobytes()


def said(**more: object) -> RawSettings:
    return RawSettings(**{"cfa": "RGGB", "black": (64.0,), "white": 1023.0, "size": SHAPE[::-1], **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("scene", [*SCENES, *PLAIN])
@pytest.mark.parametrize("order", "<>")
def test_honest_frames_pass_and_the_other_order_is_refused(tmp_path: Path, scene: str, order: str) -> None:
    frame = codes({**SCENES, **PLAIN}[scene])
    (tmp_path / "a.raw").write_bytes(frame.astype(f"{order}u2").tobytes())
    assert np.array_equal(read_raw(tmp_path / "a.raw", said(dtype=f"{order}u2")).mosaic, frame)
    other = "<" if order == ">" else ">"
    if scene == "dark":
        # Multiples of 256 in the other order: the look at the pixels says that.
        return
    with pytest.raises(RawError, match=rf"two bytes of each pixel exchanged; give --dtype '{order}u2'"):
        read_raw(tmp_path / "a.raw", said(dtype=f"{other}u2"))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("shift", [True, False])
def test_no_order_is_doubted_that_is_right(bits: int, shift: bool) -> None:
    for seed, signal in enumerate((*SCENES.values(), *PLAIN.values())):
        assert not other_order_is_smoother(codes(signal, seed, bits) << (16 - bits if shift else 0))


@pytest.mark.parametrize("scene", ["edges", "flat", "dark"])
@pytest.mark.parametrize("name", PACKINGS)
def test_packings_are_told_apart(tmp_path: Path, scene: str, name: str) -> None:
    packing = PACKINGS[name]
    frame = codes({**SCENES, **PLAIN}[scene], bits=packing.bits)
    white = float(2**packing.bits - 1)
    (tmp_path / "a.raw").write_bytes(packed(frame, name))
    assert np.array_equal(read_raw(tmp_path / "a.raw", said(dtype=name, white=white)).mosaic, frame)
    for other, its in PACKINGS.items():
        alike = its.row_bytes(SHAPE[1]) == packing.row_bytes(SHAPE[1])
        if other != name and alike:
            with pytest.raises(RawError, match=rf"bytes .*(and not|not of) {other}; give --dtype"):
                read_raw(tmp_path / "a.raw", said(dtype=other, white=white))


@pytest.mark.parametrize("empty", [0, 2, 4])
def test_empty_bits_of_12_are_not_taken_for_10(tmp_path: Path, empty: int) -> None:
    """Left-aligned codes of 8, 10 and 12 bits in Mono12Packed."""
    frame = codes(SCENES["waves"], bits=12 - empty) << empty
    (tmp_path / "a.raw").write_bytes(packed(frame, "Mono12Packed"))
    assert np.array_equal(read_raw(tmp_path / "a.raw", said(dtype="Mono12Packed", white=4095.0)).mosaic, frame)


# Squares all over the frame repeat at so many distances that they tell nothing.
@pytest.mark.parametrize("scene", [name for name in SCENES if name != "edges"])
@pytest.mark.parametrize("seed", range(5))
def test_exchanged_sides_are_refused(tmp_path: Path, scene: str, seed: int) -> None:
    (tmp_path / "a.raw").write_bytes(codes(SCENES[scene], seed).tobytes())
    with pytest.raises(RawError, match=r"width and height are exchanged; give --size 240x160"):
        read_raw(tmp_path / "a.raw", said(size=SHAPE))


FLATS = {
    "dark with row noise": lambda rng, y, x: rng.normal(64, 4, y.shape) + rng.normal(0, 0.8, (len(y), 1)),
    "dark with column offsets": lambda rng, y, x: rng.normal(64, 4, y.shape) + rng.normal(0, 0.8, (1, y.shape[1])),
    "banding": lambda rng, y, x: rng.normal(64, 4, y.shape) + 3 * np.sin(2 * np.pi * y / 3),
    "flat": lambda rng, y, x: rng.normal(1, 0.05, y.shape) * np.array([[200, 400], [400, 280]])[y % 2, x % 2],
    "shaded flat": lambda rng, y, x: (
        rng.normal(0, 20, y.shape) + 600 - 100 * ((x / 288 - 0.5) ** 2 + (y / 512 - 0.5) ** 2)
    ),
}
"""Frames without a picture: what tells their sides is the mean of a row, of a column, or of a colour."""


@pytest.mark.parametrize("kind", FLATS)
@pytest.mark.parametrize("seed", range(3))
def test_exchanged_sides_of_flats_and_darks_are_said(tmp_path: Path, kind: str, seed: int) -> None:
    rows, columns = np.mgrid[:512, :288]
    frame = np.rint(FLATS[kind](np.random.default_rng(seed), rows, columns)).clip(0).astype(np.uint16)
    (tmp_path / "a.raw").write_bytes(frame.tobytes())
    assert not read_raw(tmp_path / "a.raw", said(size=(288, 512))).cautions
    if kind == "flat":
        # Rows of red and of blue pixels are a picture of its own.
        with pytest.raises(RawError, match="width and height are exchanged; give --size 288x512"):
            read_raw(tmp_path / "a.raw", said(size=(512, 288)))
        return
    (words,) = read_raw(tmp_path / "a.raw", said(size=(512, 288))).cautions
    assert "width and height exchanged; if they are, give --size 288x512" in words


@pytest.mark.parametrize("period", range(2, 9))
@pytest.mark.parametrize("shape", [(600, 400), (400, 600), (800, 400), (400, 800), (640, 480), (402, 400)])
def test_banding_is_no_reason_to_doubt_the_sides(period: int, shape: tuple[int, int]) -> None:
    """Rows of a period of 3 repeat at 3 × 400 pixels, which are 2 × 600: a portrait frame of 600 × 400 was refused."""
    rng = np.random.default_rng(period)
    rows = np.arange(shape[0])[:, None]
    for amplitude in (0.5, 3.0, 30.0):
        frame = rng.normal(200, 4, shape) + amplitude * np.sin(2 * np.pi * rows / period + 0.3)
        assert not doubt_of_sides(Path("a.raw"), np.rint(frame).clip(0).astype(np.uint16))


@pytest.mark.parametrize("side", [2, 4, 6])
def test_no_sides_are_doubted_that_are_right(side: int) -> None:
    """0 of 2,100 frames of natural spectra, ramps, stripes, vignettes and darks when this was written; 20 here."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = tuple(2 * rng.integers(32, 160, 2))
        across, down = np.fft.rfftfreq(shape[1])[None], np.fft.fftfreq(shape[0])[:, None]
        power = np.maximum(np.hypot(across, down), 1e-3) ** -rng.uniform(0.8, 2)
        picture = np.fft.irfft2(power * (rng.normal(size=power.shape) + 1j * rng.normal(size=power.shape)), s=shape)
        picture = (picture - picture.min()) / np.ptp(picture) * rng.uniform(5, 900)
        frame = np.rint(picture + rng.normal(64, 4, shape)).clip(0).astype(np.uint16)
        assert not doubt_of_sides(Path("a.raw"), frame, side)


@pytest.mark.parametrize("shape", [(1080, 1920), (720, 1280), (480, 640)])
@pytest.mark.parametrize("field", [8, 16, 32, 40, 60])
def test_a_chessboard_does_not_doubt_its_sides(shape: tuple[int, int], field: int) -> None:
    """A shift of whole periods is no shift: 24 of 77 boards were doubted, of 7 shapes and 11 fields; 0 now."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(field).normal(100, 5, shape)
    frame = np.rint((columns // field + rows // field) % 2 * 600 + noise).astype(np.uint16)
    assert not doubt_of_sides(Path("a.raw"), frame)


@pytest.mark.parametrize(
    ("lag", "near"),
    [
        (50, False),
        (51, False),
        (98, False),
        (99, True),
        (100, True),
        (101, True),
        (102, False),
        (199, True),
        (1, False),
    ],
)
def test_a_multiple_of_the_width_is_one_to_within_two_percent(lag: int, near: bool) -> None:
    assert _near_multiple(lag, 100) is near


@pytest.mark.parametrize("order", "<>")
def test_colours_of_a_cell_of_36_are_compared_with_their_own(tmp_path: Path, order: str) -> None:
    """Every second pixel differs by half of the range; every sixth, of the same colour, by the noise alone."""
    rng = np.random.default_rng(0)
    cell = rng.permutation(np.linspace(2000, 60000, 36)).reshape(6, 6)
    frame = np.rint(np.tile(cell, (20, 30)) + rng.normal(0, 30, (120, 180))).astype(np.uint16)
    (tmp_path / "a.raw").write_bytes(frame.astype(f"{order}u2").tobytes())
    settings = said(cfa="xtrans", size=(180, 120), white=65535.0, dtype="<u2")
    if order == "<":
        assert np.array_equal(read_raw(tmp_path / "a.raw", settings).mosaic, frame)
        return
    with pytest.raises(RawError, match="two bytes of each pixel exchanged; give --dtype '>u2'"):
        read_raw(tmp_path / "a.raw", settings)


def test_a_frame_without_known_colours_is_looked_at_too(tmp_path: Path) -> None:
    frame = codes(SCENES["waves"])
    (tmp_path / "a.raw").write_bytes(frame.astype(">u2").tobytes())
    settings = RawSettings(size=SHAPE[::-1], white=1023.0, black=(64.0,))
    with pytest.raises(RawError, match="two bytes of each pixel exchanged"):
        read_raw(tmp_path / "a.raw", settings)
