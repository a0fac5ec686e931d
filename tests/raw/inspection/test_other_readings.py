"""Bytes read in another order, another packing, or with the sides exchanged; and honest ones, which pass."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.core.errors import RawError
from noiseflow.raw.inspection.other_readings import other_order_is_smoother, refuse_exchanged_sides
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
    with pytest.raises(RawError, match=rf"two bytes of each exchanged; give --dtype '{order}u2'"):
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
    # The low bits of the older packing stand in the same byte whatever their number is.
    same = {"Mono10Packed", "Mono12Packed"}
    for other, its in PACKINGS.items():
        alike = its.row_bytes(SHAPE[1]) == packing.row_bytes(SHAPE[1])
        if other != name and alike and {name, other} != same:
            with pytest.raises(RawError, match=f"if its bytes are .* and not {other}"):
                read_raw(tmp_path / "a.raw", said(dtype=other, white=white))


# Squares all over the frame repeat at so many distances that they tell nothing.
@pytest.mark.parametrize("scene", [name for name in SCENES if name != "edges"])
@pytest.mark.parametrize("seed", range(5))
def test_exchanged_sides_are_refused(tmp_path: Path, scene: str, seed: int) -> None:
    (tmp_path / "a.raw").write_bytes(codes(SCENES[scene], seed).tobytes())
    with pytest.raises(RawError, match=r"width and height are exchanged; give --size 240x160"):
        read_raw(tmp_path / "a.raw", said(size=SHAPE))


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
        refuse_exchanged_sides(Path("a.raw"), frame, side)
