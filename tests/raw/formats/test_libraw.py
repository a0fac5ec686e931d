import gc
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rawpy

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.libraw import _cfa, _said
from noiseflow.raw.formats.tags.carried import _matrix_of_libraw
from noiseflow.raw.formats.tags.metadata import ISO_SATURATED, Metadata
from noiseflow.raw.patterns import CELLS
from noiseflow.raw.reading import read_raw


def test_the_real_arw(shared_data: Path) -> None:
    image = read_raw(shared_data / "raw" / "_DSC2164.ARW")
    assert image.mosaic.shape == (3464, 5184)
    assert (image.cfa, image.iso, image.black, image.white) == ("RGGB", 3200.0, (512.0,) * 4, 16383.0)
    assert (image.make, image.model) == ("SONY", "ILCE-7RM3")
    assert image.exposure_s == pytest.approx(1 / 640, rel=1e-3)
    # The two greens agree and the others do not: the phase is right.
    red, green1, green2, blue = image.normalised().mean((1, 2))
    assert abs(green1 / green2 - 1) < 0.01
    assert min(abs(red / green1 - 1), abs(blue / green1 - 1)) > 0.2


def test_a_truncated_arw_is_refused_by_name(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "raw" / "_DSC2164.ARW").read_bytes()
    short = tmp_path / "short.ARW"
    short.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(RawError, match=r"short\.ARW: truncated"):
        read_raw(short)


def test_a_text_file_named_dng_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.dng"
    text.write_text("not a raw file")
    with pytest.raises(RawError, match=r"notes\.dng: LibRaw cannot decode it"):
        read_raw(text)


@pytest.mark.parametrize(
    ("name", "message"), [("gone.dng", "no such file"), ("photo.jpg", r"\.jpg is not a supported raw")]
)
def test_what_is_no_raw_file(tmp_path: Path, name: str, message: str) -> None:
    if name.startswith("photo"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(RawError, match=message):
        read_raw(tmp_path / name)


def test_the_mosaic_outlives_what_decoded_it(shared_data: Path) -> None:
    path = shared_data / "raw" / "_DSC2164.ARW"
    image = read_raw(path)
    with rawpy.imread(str(path)) as raw:
        expected = np.array(raw.raw_image_visible, copy=True)
    gc.collect()
    # What LibRaw let go of would be given to these.
    others = [np.full(expected.shape, number, np.uint16) for number in range(4)]
    assert np.array_equal(image.mosaic, expected)
    assert len(others) == 4


@pytest.mark.parametrize(
    ("found", "tags", "expected"),
    [
        ((0.0, 0.0), Metadata(), (None, None)),
        ((0.0, 0.0), Metadata(iso=200.0, exposure_s=0.0), (200.0, 0.0)),
        ((400.0, 0.25), Metadata(iso=200.0, exposure_s=0.5), (400.0, 0.25)),
        ((ISO_SATURATED, 0.25), Metadata(iso=102400.0), (102400.0, 0.25)),
        ((ISO_SATURATED, 0.0), Metadata(exposure_s=0.5), (ISO_SATURATED, 0.5)),
    ],
)
def test_what_libraw_found_counts_before_the_tags_but_for_an_iso_beyond_16_bits(
    found: tuple[float, float], tags: Metadata, expected: tuple[float | None, float | None]
) -> None:
    said = _said(Path("a.dng"), tags, iso=found[0], exposure_s=found[1])
    assert (said["iso"], said["exposure_s"]) == expected


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 1), (1, 0), (2, 3), (3, 2), (5, 4)])
def test_the_array_is_that_of_the_first_visible_pixel_of_a_cell_of_36(rows: int, columns: int) -> None:
    """A DNG gives its array at its active area, which LibRaw's margins need not meet."""
    cell = np.array(list(CELLS["xtrans"])).reshape(6, 6)
    page = SimpleNamespace(pattern="X", cfa=CELLS["xtrans"], levels=SimpleNamespace(area=(7, 4, 90, 90)))
    raw = SimpleNamespace(sizes=SimpleNamespace(top_margin=7 + rows, left_margin=4 + columns))
    found = _cfa(raw, Path("a.dng"), page)  # type: ignore[arg-type]
    assert found == "".join(np.roll(cell, (-rows, -columns), (0, 1)).ravel())


@pytest.mark.parametrize(
    "matrix", [np.array([[0.8, -0.1234, 0.1], [0.0, 1.25, -0.3], [0.05, 0.1, 0.61]]), np.zeros((3, 3))]
)
def test_a_colour_matrix_is_carried_in_ten_thousandths(matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the illuminant D65, for which LibRaw's matrices are; without one, nothing is."""
    raw = SimpleNamespace(rgb_xyz_matrix=np.concatenate([matrix, np.ones((1, 3))]))
    monkeypatch.setattr(rawpy, "imread", lambda _: nullcontext(raw))
    found = {code: values for code, _, values in _matrix_of_libraw(Path("a.arw"))}
    if not matrix.any():
        assert not found
        return
    assert [top / bottom for top, bottom in found[0xC621]] == matrix.ravel().tolist()
    assert found[0xC65A] == [21]
