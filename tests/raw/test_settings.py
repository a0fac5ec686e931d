from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from noiseflow.core.errors import RawError
from noiseflow.raw import RawSettings, read_raw
from noiseflow.raw.bayer import BAYER_PHASES, offsets
from noiseflow.raw.black_levels import BlackMap
from noiseflow.raw.settings import _shifted
from noiseflow.raw.side_cars import settings_for

SIZE = 'size = [8, 6]\ncfa = "RGGB"\nblack = 2\nwhite = 500\n'


def headerless(folder: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 400, (6, 8)).astype("<u2")
    path = folder / "a.raw"
    path.write_bytes(pixels.tobytes())
    return path


def test_flags_win_over_the_side_car_of_the_file_over_that_of_the_folder(tmp_path: Path) -> None:
    path = headerless(tmp_path)
    (tmp_path / "noiseflow.toml").write_text(SIZE + 'iso = 100\ncamera = "Folder"\n')
    (tmp_path / "a.toml").write_text("iso = 200\nexposure_s = 0.5\n")
    image = read_raw(path, RawSettings(exposure_s=0.25))
    assert (image.iso, image.exposure_s, image.camera, image.white) == (200.0, 0.25, "Folder", 500.0)


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    from builders import burst_folder

    burst_folder(tmp_path, frames=1, size=(32, 32), seed=0)
    said = RawSettings(cfa="BGGR", black=(1.0, 2.0, 3.0, 4.0), white=999.0, iso=50.0, camera="Mine")
    image = read_raw(tmp_path / "frame_00.dng", said)
    assert (image.cfa, image.black, image.white) == ("BGGR", (1.0, 2.0, 3.0, 4.0), 999.0)
    assert (image.iso, image.camera, image.exposure_s) == (50.0, "Mine", pytest.approx(0.01))
    # A side-car of a frame that was cut by one row exchanged the greens without a word.
    (words,) = image.cautions
    assert words.endswith("gives the colours as RGGB; BGGR of --cfa was taken")
    assert read_raw(tmp_path / "frame_00.dng", RawSettings(cfa="RGGB")).cautions == ()
    # What a reader says of a file without colours contradicts nobody.
    pixels, given = np.zeros((4, 4), np.uint16), RawSettings(cfa="GBRG", black=(0.0,), white=1.0)
    assert given.image(pixels, "a.fit", cfa="MONO").cautions == ()
    assert given.image(pixels, "a.fit", cfa="RGGB").cautions != ()


@settings(deadline=None)
@given(st.sampled_from(BAYER_PHASES), st.integers(0, 2), st.integers(0, 3), st.integers(1, 4), st.integers(1, 5))
def test_a_crop_keeps_every_pixel_s_colour(
    tmp_path_factory: pytest.TempPathFactory, cfa: str, top: int, left: int, height: int, width: int
) -> None:
    path = tmp_path_factory.mktemp("crop") / "a.npy"
    colours = np.array([ord(colour) for colour in cfa], np.uint16).reshape(2, 2)
    np.save(path, np.tile(colours, (3, 4)))
    image = read_raw(path, RawSettings(cfa=cfa, black=(0.0,), white=200.0, crop=(top, left, height, width)))
    assert image.mosaic.shape == (height, width)
    seen = [chr(image.mosaic[row, column]) for row, column in np.ndindex(min(height, 2), min(width, 2))]
    expected = np.array(list(image.cfa)).reshape(2, 2)[: min(height, 2), : min(width, 2)].ravel().tolist()
    assert seen == expected


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_the_masked_area_is_the_black_level_of_each_plane(tmp_path: Path, cfa: str) -> None:
    cell = np.array([[10, 20], [30, 40]], np.uint16)
    np.save(tmp_path / "a.npy", np.tile(cell, (4, 4)))
    image = read_raw(tmp_path / "a.npy", RawSettings(cfa=cfa, white=99.0, masked=(1, 1, 5, 4), crop=(1, 0, 6, 8)))
    # The crop begins one row down: what is row 1 of the cell is row 0 of the image.
    expected = tuple(float(cell[(row + 1) % 2, column]) for row, column in offsets(image.cfa))
    assert image.black == expected
    assert not image.cautions
    np.save(tmp_path / "leak.npy", np.tile(cell, (4, 4)) + 3 * np.arange(8, dtype=np.uint16))
    leaking = read_raw(tmp_path / "leak.npy", RawSettings(cfa=cfa, white=99.0, masked=(0, 0, 8, 6)))
    (words,) = leaking.cautions
    assert "leak.npy: the masked pixels are uneven" in words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1\n", r"a\.toml: unknown key 'colour'; expected cfa, black, white"),
        ('white = "high"\n', r"a\.toml: white: expected a number; got 'high'"),
        ("iso = true\n", r"a\.toml: iso: expected a number; got True"),
        ("iso = [100, 200]\n", r"a\.toml: iso: expected a number"),
        ("black = [1, 2]\n", r"a\.toml: black: expected a number or a list of four"),
        ("size = [8]\n", r"a\.toml: size: expected a list of width and height"),
        ('size = ["8", "6"]\n', r"a\.toml: size: expected a list of width and height"),
        ('cfa = "RYYB"\n', r"a\.toml: cfa: expected RGGB"),
        ('dtype = "O"\n', r"a\.toml: dtype: expected integers or floats"),
        ('dtype = "what"\n', r"a\.toml: dtype: expected a numpy type"),
        ("white = -1\n", r"a\.toml: white: expected a number above 0"),
        ("white = nan\n", r"a\.toml: white: expected a number above 0"),
        ("crop = [0, 0, 99, 99]\n", "crop 99×99 at row 0, column 0 is not within its 6×8 pixels"),
        ("crop = [0, 0, 0, 2]\n", r"a\.toml: crop: expected top, left, height, width"),
        ("white =\n", r"a\.toml: cannot be read as TOML"),
    ],
)
def test_a_bad_side_car_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = headerless(tmp_path)
    (tmp_path / "noiseflow.toml").write_text(SIZE)
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(RawError, match=message) as caught:
        read_raw(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "taken"), [(2**53, True), (2**53 + 1, False), (-(2**53) - 1, False)])
def test_whole_numbers_of_a_side_car_are_those_that_a_double_holds(tmp_path: Path, value: int, taken: bool) -> None:
    (tmp_path / "a.toml").write_text(f"header_bytes = {value}\n")
    expected = nullcontext() if taken else pytest.raises(RawError, match="header_bytes: expected")
    with expected:
        assert settings_for(tmp_path / "a.raw").header_bytes == value


@pytest.mark.parametrize(("size", "taken"), [(1 << 16, True), ((1 << 16) + 1, False)])
def test_a_side_car_has_at_most_64_kib(tmp_path: Path, size: int, taken: bool) -> None:
    (tmp_path / "a.toml").write_text("iso = 100\n".ljust(size, "#"))
    with nullcontext() if taken else pytest.raises(RawError, match=r"a\.toml: "):
        assert settings_for(tmp_path / "a.raw").iso == 100


@pytest.mark.parametrize(
    ("name", "least", "below"), [("stride", 1, 0), ("size", (1, 1), (1, 0)), ("header_bytes", 0, -1), ("shift", 0, -1)]
)
def test_the_least_of_a_setting_is_taken_and_what_is_below_refused(name: str, least: object, below: object) -> None:
    assert getattr(RawSettings(**{name: least}), name) == least  # type: ignore[arg-type]
    with pytest.raises(RawError, match=f"{name}: expected"):
        RawSettings(**{name: below})  # type: ignore[arg-type]


def test_what_is_not_known_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(RawError, match=r"lacks cfa, white; give --cfa --white or .* in a\.toml"):
        read_raw(tmp_path / "a.npy", RawSettings(black=(0.0,)))


@pytest.mark.parametrize("cfa", ["mono", "Mono", "MONO"])
def test_a_side_car_spells_the_pattern_as_the_flag_does(tmp_path: Path, cfa: str) -> None:
    np.save(tmp_path / "frame.npy", np.full((8, 8), 100, np.uint16))
    (tmp_path / "frame.toml").write_text(f'cfa = "{cfa}"\nblack = 64\nwhite = 1023\n', encoding="utf-8")
    assert read_raw(tmp_path / "frame.npy").cfa == "MONO"


def test_no_side_car_changes_nothing(tmp_path: Path) -> None:
    given_ = RawSettings(iso=100.0)
    assert settings_for(tmp_path / "a.raw", given_) == given_


@pytest.mark.parametrize("shift", [1, 4])
def test_left_aligned_codes_and_their_levels_are_divided_alike(shift: int) -> None:
    """By 2^shift, a map of black levels too; a white of 65535 is the largest code, without its empty bits."""
    codes = (np.arange(12).reshape(3, 4) << shift).astype(np.uint16)
    pixels, black, white = _shifted(codes, (32.0, 48.0, 24.0, 8.0), 65535.0, shift, "a.tif")
    assert pixels.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert black == pytest.approx(tuple(level / 2**shift for level in (32, 48, 24, 8)))
    assert white == 65535 // 2**shift
    mapped = BlackMap(((32.0, 48.0),), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0, 7.0))
    _, levels, none = _shifted(codes, mapped, None, shift, "a.tif")
    assert isinstance(levels, BlackMap)
    assert levels.pixels((3, 4)) == pytest.approx(mapped.pixels((3, 4)) / 2**shift)
    assert none is None
    with pytest.raises(RawError, match=f"multiples of {2**shift}"):
        _shifted(codes + 1, None, None, shift, "a.tif")
    with pytest.raises(RawError, match="fractional"):
        _shifted(codes.astype(np.float32), None, None, shift, "a.tif")
