from dataclasses import replace

import numpy as np
import pytest
from builders import BLACK, WHITE, frame
from hypothesis import given, strategies as st

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES
from noiseflow.raw.image import RawImage


def test_normalised_maps_black_to_0_and_white_to_1_per_plane() -> None:
    image = RawImage(np.array([[10, 20], [30, 40]]), "GRBG", (20.0, 10.0, 40.0, 30.0), 100.0)
    assert np.allclose(image.normalised(), 0)
    full = RawImage(np.full((2, 2), 100), "GRBG", (20.0, 10.0, 40.0, 30.0), 100.0)
    assert np.allclose(full.normalised(), 1)


def test_normalised_is_not_clipped() -> None:
    values = frame(np.array([[0, 1023], [64, 64]], np.uint16)).normalised()
    assert values.min() == pytest.approx(-BLACK / (WHITE - BLACK))


@given(st.sampled_from(BAYER_PHASES), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_with_signal_of_its_own_signal_changes_nothing(cfa: str, height: int, width: int, seed: int) -> None:
    mosaic = np.random.default_rng(seed).integers(0, 1024, (height + 1, width + 1)).astype(np.uint16)
    image = frame(mosaic, cfa)
    assert np.array_equal(image.with_signal(image.normalised()).mosaic, mosaic)


def test_with_signal_rounds_and_clips_to_codes() -> None:
    image = frame(np.full((2, 2), 500, np.uint16))
    far = image.with_signal(np.array([-5.0, 5.0, 0.0, 1.0]).reshape(4, 1, 1))
    assert far.mosaic.ravel().tolist() == [0, 1023, 64, 1023]
    assert far.mosaic.dtype == np.uint16


@given(st.sampled_from([*BAYER_PHASES, "MONO"]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_signal_and_codes_are_those_of_whole_arrays(cfa: str, height: int, width: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    mosaic = draw.integers(0, 1024, (2 * height + 1, 2 * width)).astype(np.uint16)
    image = RawImage(mosaic, cfa, (60.0, 61.5, 64.0, 70.25) if cfa != "MONO" else (60.0,), 1000.0)
    black, white = image.levels()
    signal = (image.planes() - black) / (white - black)
    assert np.array_equal(image.normalised(), signal)
    assert np.array_equal(image.normalised(dtype=np.float32), signal.astype(np.float32))
    noisy = (signal + draw.normal(0, 0.3, signal.shape)).astype(np.float32)
    part = replace(image, mosaic=mosaic.copy())
    part.put_signal(noisy)
    codes = np.clip(np.rint(noisy * (white - black) + black), 0, white)
    assert np.array_equal(part.planes(), codes)
    assert np.array_equal(part.mosaic[-1], mosaic[-1])


def test_put_signal_refuses_other_planes() -> None:
    with pytest.raises(RawError, match="expected 4 planes of a RGGB frame; got 3"):
        frame(np.zeros((2, 2), np.uint16)).put_signal(np.zeros((3, 1, 1)))


def test_monochrome_packs_to_one_plane_or_four() -> None:
    image = frame(np.arange(12, dtype=np.uint16).reshape(2, 6), "MONO")
    assert image.planes("mono").shape == (1, 2, 6)
    assert image.planes("mono2x2").shape == (4, 1, 3)
    assert np.array_equal(image.with_signal(image.normalised("mono")).mosaic, image.mosaic)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cfa": "XTRANS"}, "not supported"),
        ({"black": (0.0,)}, "expected 4 black level"),
        ({"white": 10.0, "black": (10.0,) * 4}, "not above the black level"),
        ({"mosaic": np.zeros((0, 4))}, "expected a mosaic"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    parts = {"mosaic": np.zeros((2, 2)), "cfa": "RGGB", "black": (0.0,) * 4, "white": 1023.0, **change}
    with pytest.raises(RawError, match=message):
        RawImage(**parts)  # type: ignore[arg-type]


def test_camera_does_not_say_the_make_twice() -> None:
    assert frame(np.zeros((2, 2)), make="NIKON", model="NIKON D850").camera == "NIKON D850"
    assert frame(np.zeros((2, 2)), make="SONY", model="ILCE-7RM3").camera == "SONY ILCE-7RM3"
    assert frame(np.zeros((2, 2)), make="", model="").camera == "unknown"


@pytest.mark.parametrize(
    ("low", "high", "dtype", "whole"),
    [
        (0, 65535, np.uint16, True),
        (0, 65535, np.int32, True),
        (1, 65536, np.int32, False),
        (-1, 1, np.int16, False),
        (0, 1, np.float32, False),
    ],
)
def test_codes_are_whole_from_0_to_65535(low: int, high: int, dtype: type, whole: bool) -> None:
    assert frame(np.array([[low, 5], [6, high]], dtype), "MONO").whole is whole
