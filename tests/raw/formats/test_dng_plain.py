"""DNGs whose pixels need no decoding are read without LibRaw, to what LibRaw tells of them."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
from hypothesis import given, settings, strategies as st

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO
from noiseflow.raw.formats import dng_pixels, libraw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw

SAID = [
    (33421, "H", 2, (2, 2), True),
    (50706, "B", 4, bytes((1, 4, 0, 0)), True),
    (50714, "H", 1, 64, True),
    (50717, "I", 1, 4000, True),
    (34855, "H", 1, 200, True),
    (33434, "2I", 1, (1, 30), True),
]
"""CFARepeatPatternDim, DNGVersion, BlackLevel, WhiteLevel, ISO, exposure time."""


def by_libraw(path: Path) -> RawImage:
    """The file read by LibRaw, which is not asked otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(libraw, "_plain", lambda *_: None)
        return read_raw(path)


def assert_same(path: Path) -> None:
    """Pixels and every field, to the last bit."""
    ours, theirs = read_raw(path), by_libraw(path)
    with rawpy.imread(str(path)) as raw:
        assert np.array_equal(ours.mosaic, raw.raw_image_visible)
    assert ours.mosaic.dtype == theirs.mosaic.dtype
    for field in fields(RawImage):
        if field.name != "mosaic":
            assert getattr(ours, field.name) == getattr(theirs, field.name), field.name


def plain(path: Path) -> bool:
    page = dng_pixels.page_facts(path)
    return page is not None and page.plain


@settings(max_examples=60, deadline=None)
@given(
    cfa=st.sampled_from((*BAYER_PHASES, MONO)),
    shape=st.tuples(st.integers(22, 60), st.integers(22, 60)),
    black=st.lists(st.floats(0, 300, width=32), min_size=4, max_size=4),
    iso=st.integers(1, 2**20),
    exposure_s=st.floats(1e-5, 900),
    neutral=st.none() | st.tuples(*[st.floats(0.125, 1, width=32)] * 3),
    seed=st.integers(0, 99),
)
def test_our_own_files(
    tmp_path_factory: pytest.TempPathFactory,
    cfa: str,
    shape: tuple[int, int],
    black: list[float],
    iso: int,
    exposure_s: float,
    neutral: tuple[float, float, float] | None,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("plain") / "a.dng"
    mosaic = np.random.default_rng(seed).integers(0, 2**16, shape).astype(np.uint16)
    levels = tuple(black[:1] if cfa == MONO else black)
    write_dng(path, RawImage(mosaic, cfa, levels, 16000.0, float(iso), exposure_s, "Maker", "One", neutral=neutral))
    assert plain(path)
    assert_same(path)


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from("<>"),
    cfa=st.sampled_from(BAYER_PHASES),
    area=st.none() | st.tuples(*[st.integers(0, 5)] * 4),
    strips=st.none() | st.integers(1, 48),
)
def test_files_of_others(
    tmp_path_factory: pytest.TempPathFactory,
    order: str,
    cfa: str,
    area: tuple[int, int, int, int] | None,
    strips: int | None,
) -> None:
    path = tmp_path_factory.mktemp("plain") / "a.dng"
    codes = np.random.default_rng(0).integers(0, 4096, (48, 50)).astype(np.uint16)
    tags = [*SAID, (33422, "B", 4, bytes("RGB".index(colour) for colour in cfa), True)]
    if area is not None:
        tags.append((50829, "H", 4, (area[0], area[1], 48 - area[2], 50 - area[3]), True))
    how = {"byteorder": order, "rowsperstrip": strips, "metadata": None}
    tifffile.imwrite(path, codes, photometric=32803, extratags=tags, **how)
    assert plain(path)
    assert_same(path)


@pytest.mark.parametrize(
    "tag",
    [
        (50712, "H", 4096, np.arange(4096)[::-1].tolist(), True),
        (50715, "2i", 50, (3, 1) * 50, True),
        (50716, "2i", 48, (3, 1) * 48, True),
        (50727, "2I", 3, (2, 1, 1, 1, 1, 1), True),
        (50830, "H", 4, (0, 0, 48, 4), True),
    ],
    ids=["linearisation", "black by column", "black by row", "analog balance", "masked"],
)
def test_what_a_tag_changes_is_left_to_libraw(tmp_path: Path, tag: tuple[object, ...]) -> None:
    path = tmp_path / "a.dng"
    codes = np.random.default_rng(0).integers(0, 4096, (48, 50)).astype(np.uint16)
    tags = sorted([*SAID, (33422, "B", 4, bytes((0, 1, 1, 2)), True), tag])
    tifffile.imwrite(path, codes, photometric=32803, extratags=tags, metadata=None)
    assert not plain(path)
    assert_same(path)


@pytest.mark.parametrize("lacking", [50717, 34855, 33434])
def test_what_the_tags_do_not_say_is_left_to_libraw(tmp_path: Path, lacking: int) -> None:
    path = tmp_path / "a.dng"
    codes = np.random.default_rng(0).integers(0, 4096, (48, 50)).astype(np.uint16)
    tags = [tag for tag in (*SAID, (33422, "B", 4, bytes((0, 1, 1, 2)), True)) if tag[0] != lacking]
    tifffile.imwrite(path, codes, photometric=32803, extratags=tags, metadata=None)
    assert_same(path)


def test_a_lozenge_of_pixels_is_not_taken_for_a_rectangle(tmp_path: Path) -> None:
    path = tmp_path / "a.dng"
    tags = sorted([*SAID, (33422, "B", 4, bytes((0, 1, 1, 2)), True), (50711, "H", 1, 2, True)])
    tifffile.imwrite(path, np.zeros((48, 50), np.uint16), photometric=32803, extratags=tags, metadata=None)
    with pytest.raises(RawError, match="RG/GB with the staggered CFALayout 2 is not supported"):
        read_raw(path)
