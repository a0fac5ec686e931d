import numpy as np
import pytest
from hypothesis import given, strategies as st

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO, offsets, one_plane, pack, unpack

CELLS = st.integers(1, 6)


@given(st.sampled_from([*BAYER_PHASES, MONO]), CELLS, CELLS)
def test_unpack_undoes_pack(cfa: str, rows: int, columns: int) -> None:
    mosaic = np.arange(4 * rows * columns, dtype=np.uint16).reshape(2 * rows, 2 * columns)
    planes = pack(mosaic, cfa)
    assert planes.shape == (4, rows, columns)
    assert np.array_equal(unpack(planes, cfa), mosaic)


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_planes_are_red_green_on_red_row_green_on_blue_row_blue(cfa: str) -> None:
    # Spelled from the phase itself: where each letter stands in the cell, read in raster order.
    colours = np.array(list(cfa)).reshape(2, 2)
    red_row = int(np.argwhere(colours == "R")[0, 0])
    expected = ["R", f"G{red_row}", f"G{1 - red_row}", "B"]
    named = np.array([[f"G{row}" if colour == "G" else colour for colour in line] for row, line in enumerate(colours)])
    assert pack(named, cfa).ravel().tolist() == expected


def test_offsets_of_the_galaxy_s6() -> None:
    # SIDD's metadata gives the S6 the pattern [1 0 2 1]: G R / B G.
    assert offsets("GRBG") == ((0, 1), (0, 0), (1, 1), (1, 0))


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (0, 4)])
def test_odd_or_empty_size_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(RawError, match="does not divide into 2×2 cells"):
        pack(np.zeros(shape), "RGGB")


def test_other_pattern_is_refused_by_name() -> None:
    with pytest.raises(RawError, match="RGBW"):
        pack(np.zeros((2, 2)), "RGBW")


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["<u2", ">u2", "u1", "<u4", "<f4"]),
    st.integers(0, 3),
    st.sampled_from([slice(None), slice(None, None, 2), slice(None, None, -1)]),
)
def test_one_plane_is_every_second_pixel_of_every_second_row(
    height: int, width: int, dtype: str, cut: int, columns: slice
) -> None:
    # Views into a larger array, in steps and from odd places too, as of a sensor with a border.
    mosaic = (1000 * np.arange(height + cut)[:, None] + 7 * np.arange(width + cut)).astype(dtype)[cut:, cut:][
        :, columns
    ]
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        even = mosaic[: mosaic.shape[0] // 2 * 2, : mosaic.shape[1] // 2 * 2]
        assert np.array_equal(one_plane(mosaic, (row, column)), even[row::2, column::2])
