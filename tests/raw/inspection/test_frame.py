"""The look at the pixels: every test on frames that fail it, and on frames that must pass."""

import re
from pathlib import Path

import numpy as np
import pytest

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO, offsets
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection import inspected
from noiseflow.raw.inspection.second_looks import empty_side
from noiseflow.raw.patterns import CELLS, cell_side, shifted
from noiseflow.raw.reading import read_frame
from noiseflow.raw.settings import RawSettings

PHASES = (*BAYER_PHASES, MONO)


def scene(cfa: str = "RGGB", *, black: float = 256, white: float = 16383, gain: float = 2.0, seed: int = 0) -> RawImage:
    """A ramp from black to three quarters of the range, with shot and read noise."""
    rng = np.random.default_rng(seed)
    signal = np.linspace(0, 0.75 * (white - black), 384)[None].repeat(256, 0)
    codes = rng.poisson(signal / gain) * gain + rng.normal(0, 4, signal.shape) + black
    mosaic = np.clip(np.rint(codes), 0, white).astype(np.uint16)
    return RawImage(mosaic, cfa, (black,) * (1 if cfa == MONO else 4), white, 100.0, 0.01, source="a.dng")


def changed(image: RawImage, mosaic: np.ndarray, **fields: object) -> RawImage:
    from dataclasses import replace

    return replace(image, mosaic=mosaic, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("cfa", PHASES)
@pytest.mark.parametrize("seed", range(20))
def test_an_honest_frame_passes_without_a_word(cfa: str, seed: int) -> None:
    image = scene(cfa, seed=seed)
    assert inspected(image).cautions == ()
    assert inspected(image).clip == ()


@pytest.mark.parametrize("level", [0.0, 0.001, 0.01])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("black", [0, 64])
def test_darks_pass(level: float, sigma: float, black: int) -> None:
    rng = np.random.default_rng(3)
    codes = np.clip(np.rint(rng.normal(black + 1023 * level, sigma, (256, 384))), 0, 1023).astype(np.uint16)
    image = inspected(RawImage(codes, "RGGB", (float(black),) * 4, 1023.0, 100.0))
    assert (image.cautions, image.clip) == ((), ())


def test_a_frame_saturated_at_its_white_level_and_one_without_noise_pass() -> None:
    image = scene(white=4095, black=64)
    mosaic = image.mosaic.copy()
    mosaic[100:200, 100:300] = 4095
    assert inspected(changed(image, mosaic)).cautions == ()
    flat = np.rint(np.linspace(100, 900, 384))[None].repeat(256, 0).astype(np.uint16)
    assert inspected(RawImage(flat, "RGGB", (64.0,) * 4, 1023.0, 100.0)).cautions == ()
    assert inspected(RawImage(np.full((256, 384), 500, np.uint16), "RGGB", (64.0,) * 4, 1023.0, 1.0)).cautions == ()


@pytest.mark.parametrize("cfa", PHASES)
@pytest.mark.parametrize("below", [9000, 12000])
def test_a_clip_below_white_is_found(cfa: str, below: int) -> None:
    image = scene(cfa)
    found = inspected(changed(image, np.minimum(image.mosaic, below)))
    assert found.clips_at == (float(below),) * len(image.black)
    assert "clips below its white level of 16383 DN" in found.cautions[0]


@pytest.mark.parametrize("cfa", BAYER_PHASES)
@pytest.mark.parametrize("plane", range(4))
def test_a_clip_of_one_plane_is_found(cfa: str, plane: int) -> None:
    image = scene(cfa)
    mosaic = image.mosaic.copy()
    row, column = offsets(cfa)[plane]
    mosaic[row::2, column::2] = np.minimum(mosaic[row::2, column::2], 9000)
    expected = [16383.0] * 4
    expected[plane] = 9000.0
    assert inspected(changed(image, mosaic)).clips_at == tuple(expected)


def test_a_white_level_that_the_user_gave_stands() -> None:
    image = scene()
    found = inspected(changed(image, np.minimum(image.mosaic, 9000), taken_from=(("white", "--white"),)))
    assert (found.clip, found.cautions) == ((), ())


@pytest.mark.parametrize("code", [0, 2048, 8192])
@pytest.mark.parametrize(
    "place", [(slice(128, 256), slice(0, 384)), (slice(0, 64), slice(320, 384)), (slice(64, 128), slice(64, 192))]
)
@pytest.mark.parametrize("cfa", ["RGGB", "GBRG", MONO])
def test_blocks_that_were_not_decoded_are_refused(code: int, place: tuple[slice, slice], cfa: str) -> None:
    image = scene(cfa)
    mosaic = image.mosaic.copy()
    mosaic[place] = code
    with pytest.raises(
        RawError, match=r"a\.dng: about .* blocks of one code .* were not decoded; .*copy the file again"
    ):
        inspected(changed(image, mosaic))


def test_a_dead_row_or_column_is_no_block() -> None:
    image = scene()
    mosaic = image.mosaic.copy()
    mosaic[40], mosaic[:, 77] = 0, 0
    assert inspected(changed(image, mosaic)).cautions == ()


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_two_bytes_read_as_two_pixels(order: str) -> None:
    image = scene(white=4095)
    pixels = image.mosaic.astype(order).view(np.uint8)
    with pytest.raises(RawError, match="8-bit codes, but the white level is 4095 DN; 16-bit pixels were read as two"):
        inspected(changed(image, pixels))
    with pytest.raises(RawError, match="16-bit pixels were read as two"):
        inspected(changed(image, pixels, white=255.0, black=(0.0,) * 4))


def test_honest_codes_of_8_bits_pass() -> None:
    image = scene(white=255, black=8, gain=0.2)
    assert inspected(changed(image, image.mosaic.astype(np.uint8))).cautions == ()


@pytest.mark.parametrize("shift", [1, 2, 4, 6])
def test_left_aligned_codes_are_said(shift: int) -> None:
    image = scene(white=1023, black=64, gain=1.0)
    wide = changed(image, image.mosaic << shift, white=float(1023 << shift), black=(float(64 << shift),) * 4)
    (words,) = inspected(wide).cautions
    assert f"multiples of {1 << shift}: left-aligned" in words
    assert f"--shift {shift}" in words
    if shift > 1:
        with pytest.raises(
            RawError, match=f"multiples of {1 << shift}, so they are left-aligned: give --shift {shift}"
        ):
            inspected(changed(image, image.mosaic << shift))


@pytest.mark.parametrize("factor", [1.1, 1.5, 1.7, 3.0])
@pytest.mark.parametrize("cfa", ["RGGB", MONO])
@pytest.mark.parametrize("planes", ["all", "red"])
def test_codes_that_were_multiplied_are_said(factor: float, cfa: str, planes: str) -> None:
    image = scene(cfa, white=1023, black=64, gain=1.0)
    codes = image.mosaic.astype(np.float64)
    where = np.s_[::2, ::2] if planes == "red" and cfa != MONO else np.s_[:]
    codes[where] *= factor
    (words,) = inspected(changed(image, np.rint(codes).astype(np.uint16), white=4095.0)).cautions
    assert "codes are missing at equal distances" in words
    assert "or the converter skips codes" in words
    first = re.search(r"by about ([\d.]+)", words)
    assert first is not None
    assert float(first[1]) == pytest.approx(factor, rel=0.02)
    assert ("G1" in words) == (planes == "all" and cfa != MONO)


def test_strays_between_multiplied_codes_hide_no_factor() -> None:
    """As in the frames of a Seestar S50, of which one code in three occurs, and the others a thousandth as often."""
    image = scene(white=4095, black=64, gain=1.0)
    rng = np.random.default_rng(0)
    codes = np.rint((image.mosaic - 64.0) * 0.2) * 3.2 + 64
    strays = rng.random(codes.shape) < 1e-3
    codes[strays] += rng.integers(-1, 2, int(strays.sum()))
    (words,) = inspected(changed(image, np.rint(codes).astype(np.uint16))).cautions
    assert "R by about 3.2" in words


def test_codes_of_a_curve_are_said() -> None:
    """Roots of codes, rounded, as lossy compressions of makers store them."""
    rng = np.random.default_rng(0)
    signal = np.linspace(0, 800, 768)[None].repeat(512, 0)
    codes = np.clip(rng.poisson(signal) + rng.normal(0, 4, signal.shape) + 64, 0, 1023)
    table = np.unique(np.rint(np.linspace(0, np.sqrt(1023), 300) ** 2))
    stored = table[np.searchsorted(table, codes).clip(0, len(table) - 1)].astype(np.uint16)
    (words,) = inspected(RawImage(stored, "RGGB", (64.0,) * 4, 1023.0, 100.0, 0.01, source="a.dng")).cautions
    assert "a curve compressed them" in words


@pytest.mark.parametrize("gain", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_a_chart_of_even_patches_has_no_gaps(gain: float, sigma: float) -> None:
    """What no code says between two patches was not taken away: 24 levels, by chance 0 of 40 frames are doubted."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        levels = np.sort(rng.uniform(20, 700, 24))
        signal = np.repeat(levels, 16)[None].repeat(256, 0)
        codes = np.rint(rng.poisson(signal / gain) * gain + rng.normal(0, sigma, signal.shape) + 64)
        image = RawImage(codes.clip(0).astype(np.uint16), "RGGB", (64.0,) * 4, 1023.0, 100.0, 0.01, source="a.dng")
        assert inspected(image).cautions == ()


def test_the_other_byte_order_is_named() -> None:
    image = scene(white=1023, black=64, gain=1.0)
    with pytest.raises(RawError, match="bytes are in the other order"):
        inspected(changed(image, image.mosaic.byteswap()))


def test_codes_below_black() -> None:
    image = scene(white=4095, black=0, gain=1.0)
    with pytest.raises(RawError, match=r"all codes .* lie below the black level"):
        inspected(changed(image, image.mosaic // 16, black=(512.0,) * 4))
    (words,) = inspected(changed(image, image.mosaic, black=(2048.0,) * 4)).cautions
    assert "half of the codes lie below the black level" in words
    (words,) = inspected(changed(image, image.mosaic, black=(600.0,) * 4)).cautions
    assert re.search(r"dark parts lie \d+ DN below black \(600, 600, 600, 600 DN\)", words)


@pytest.mark.parametrize("sigma", [2.0, 20.0, 80.0])
def test_noise_below_black_is_no_wrong_level(sigma: float) -> None:
    """Darks with row noise, of any read noise."""
    rng = np.random.default_rng(0)
    codes = 400 + rng.normal(0, sigma, (256, 384)) + rng.normal(0, 0.3 * sigma, (256, 1))
    image = RawImage(np.rint(codes).clip(0).astype(np.uint16), "RGGB", (400.0,) * 4, 4095.0, 100.0, source="a.dng")
    assert inspected(image).cautions == ()


@pytest.mark.parametrize("cfa", ["RGGB", MONO])
@pytest.mark.parametrize("across", [True, False])
def test_a_dark_with_banding_is_no_wrong_level(cfa: str, across: bool) -> None:
    """Of rows, or of columns, 4 times the noise of pixels: it was said to lie 16 DN below the black level."""
    rng = np.random.default_rng(1)
    codes = 400 + rng.normal(0, 2, (256, 384)) + rng.normal(0, 8, (256, 1) if across else (1, 384))
    black = (400.0,) * (1 if cfa == MONO else 4)
    image = RawImage(np.rint(codes).astype(np.uint16), cfa, black, 4095.0, 100.0, source="a.dng")
    assert inspected(image).cautions == ()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(2, 384), (2, 2), (256, 2)])
def test_frames_of_one_row_or_column_of_cells_pass(shape: tuple[int, int]) -> None:
    codes = np.random.default_rng(0).normal(500, 20, shape)
    image = RawImage(np.rint(codes).astype(np.uint16), "RGGB", (64.0,) * 4, 1023.0, 100.0, source="a.dng")
    assert inspected(image).cautions == ()


@pytest.mark.parametrize("cfa", ["RGGB", MONO])
@pytest.mark.parametrize("seed", range(5))
def test_codes_that_are_coarse_for_the_noise_were_decoded(cfa: str, seed: int) -> None:
    """σ 0.2 codes of 8 bits: by chance 64 pixels in a row and the next are of one code."""
    levels = np.linspace(30, 200, 256)[:, None].repeat(384, 1)
    codes = np.rint(levels + np.random.default_rng(seed).normal(0, 0.2, levels.shape)).astype(np.uint8)
    black = (8.0,) * (1 if cfa == MONO else 4)
    assert inspected(RawImage(codes, cfa, black, 255.0, 100.0, source="a.dng")).cautions == ()
    codes[64:128, 64:192] = 230
    codes[0, 0] = 240
    with pytest.raises(RawError, match="were not decoded"):
        inspected(RawImage(codes, cfa, black, 255.0, 100.0, source="a.dng"))


@pytest.mark.parametrize("wide", [16, 40])
def test_an_empty_border_is_no_missing_tile_but_an_empty_end_is(wide: int) -> None:
    image = scene()
    large = np.tile(image.mosaic, (6, 3))
    border = large.copy()
    border[:wide], border[-wide:], border[:, :wide], border[:, -wide:] = 0, 0, 0, 0
    assert not [words for words in inspected(changed(image, border)).cautions if "one code" in words]
    border[600:664, 320:448] = 0
    with pytest.raises(RawError, match="were not decoded"):
        inspected(changed(image, border))
    large[-wide:] = 0
    with pytest.raises(RawError, match="were not decoded"):
        inspected(changed(image, large))


@pytest.mark.parametrize("cfa", ["RGGB", MONO])
@pytest.mark.parametrize(
    ("band", "said", "crop"),
    [
        (np.s_[224:], "rows 224 to 255 are 0 throughout", [0, 0, 224, 384]),
        (np.s_[:21], "rows 0 to 20 are 0 throughout", [22, 0, 234, 384]),
        (np.s_[:, 317:], "columns 317 to 383 are 0 throughout", [0, 0, 256, 316]),
    ],
)
def test_an_empty_band_on_one_side_is_named_with_what_to_do(
    tmp_path: Path, band: tuple[slice, ...], said: str, crop: list[int], cfa: str
) -> None:
    """It may be the end of a file that is missing, or a border of the camera: only the user knows."""
    codes = scene().mosaic.copy()
    codes[band] = 0
    np.save(tmp_path / "a.npy", codes)
    settings = RawSettings(cfa=cfa, black=(256.0,), white=16383.0, iso=100.0)
    found = rf"{said}: copy the file again, or, .* crop = {re.escape(str(crop))} in noiseflow\.toml"
    with pytest.raises(RawError, match=found):
        read_frame(tmp_path / "a.npy", settings)
    (tmp_path / "noiseflow.toml").write_text(f"crop = {crop}\n")
    assert read_frame(tmp_path / "a.npy", settings).mosaic.shape == tuple(crop[2:])


def test_the_code_of_each_empty_band_is_named() -> None:
    codes = scene().mosaic.copy()
    codes[:20], codes[240:] = 0, 256
    assert "rows 0 to 19 are 0 and rows 240 to 255 are 256 throughout" in empty_side(codes, 2, 256.0)
    codes[240:] = 257
    assert empty_side(codes, 2, 256.0) == ""


def test_gain_zero_stands_as_one_and_is_said() -> None:
    found = inspected(changed(scene(), scene().mosaic, iso=0.0))
    assert found.iso == 1.0
    assert "gain 0" in found.cautions[0]


@pytest.mark.parametrize("colour", [True, False])
def test_a_colour_sensor_without_a_pattern_is_said(colour: bool) -> None:
    image = scene(MONO)
    mosaic = image.mosaic.copy()
    if colour:
        mosaic[::2, ::2] = 256 + (mosaic[::2, ::2] - 256) // 3
    found = inspected(changed(image, mosaic, taken_from=(("cfa", "no BAYERPAT: monochrome"),)))
    assert ["if it is a colour sensor, give --cfa" in words for words in found.cautions] == [True] * colour


@pytest.mark.parametrize("cfa", BAYER_PHASES)
@pytest.mark.parametrize("taken", BAYER_PHASES)
def test_a_phase_by_which_greens_differ_is_said(cfa: str, taken: str) -> None:
    """Of phases off by one row or column; RGGB for BGGR cannot be told, and is no other noise."""
    image = scene(cfa)
    mosaic = image.mosaic.astype(float)
    for plane, factor in ((0, 0.4), (3, 0.6)):
        row, column = offsets(cfa)[plane]
        mosaic[row::2, column::2] = 256 + (mosaic[row::2, column::2] - 256) * factor
    found = inspected(changed(image, np.rint(mosaic).astype(np.uint16), cfa=taken))
    greens_fit = (cfa[0] == "G") == (taken[0] == "G")
    assert ["positions that are green" in words for words in found.cautions] == [True] * (not greens_fit)


@pytest.mark.parametrize("name", ["quad", "xtrans"])
@pytest.mark.parametrize("moved", [True, False])
def test_a_phase_of_a_larger_cell(name: str, moved: bool) -> None:
    cfa = CELLS[name]
    side = cell_side(cfa)
    rng = np.random.default_rng(0)
    light = np.array([{"R": 400.0, "G": 1000.0, "B": 600.0}[colour] for colour in cfa]).reshape(side, side)
    mosaic = rng.poisson(np.tile(light, (40, 40))).astype(np.uint16) + 64
    taken = shifted(cfa, 1, 1) if moved else cfa
    found = inspected(RawImage(mosaic, taken, (64.0,) * side**2, 4095.0, 100.0, source="a.dng"))
    assert ["is the phase right?" in words for words in found.cautions] == [True] * moved


def places(levels: tuple[int, int, int, int], cfa: str = "RGGB", **fields: object) -> RawImage:
    """A frame of these medians at the four places of a cell, black 64 and a range of 4000 DN."""
    noise = np.random.default_rng(0).integers(-3, 4, (256, 384))
    mosaic = noise + np.tile(np.array(levels).reshape(2, 2), (128, 192))
    black = (64.0,) * (1 if cfa == MONO else 4)
    return RawImage(mosaic.astype(np.uint16), cfa, black, 4064.0, 100.0, source="a.dng", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("light", "difference", "said"),
    [(1000, 98, False), (1000, 102, True), (1000, -102, True), (84, 20, True), (76, 20, False)],
)
def test_greens_that_differ_by_more_than_a_tenth_are_said_where_there_is_light(
    light: int, difference: int, said: bool
) -> None:
    """Light is a fiftieth of the range, 80 DN."""
    first, second = (64 + light + sign * difference // 2 for sign in (1, -1))
    found = inspected(places((900, first, second, 500)))
    assert ["positions that are green" in words for words in found.cautions] == [True] * said


@pytest.mark.parametrize(
    ("light", "range_", "said"), [(1000, 148, False), (1000, 152, True), (84, 20, True), (76, 20, False)]
)
def test_places_of_no_known_colour_that_differ_by_more_than_15_percent_are_said(
    light: int, range_: int, said: bool
) -> None:
    half = range_ // 2
    image = places((64 + light + half, 64 + light, 64 + light, 64 + light - half), MONO)
    found = inspected(changed(image, image.mosaic, taken_from=(("cfa", "no keyword"),)))
    assert ["if it is a colour sensor" in words for words in found.cautions] == [True] * said
    assert inspected(image).cautions == ()


@pytest.mark.parametrize(("under", "said"), [(7, False), (9, True)])
def test_half_of_the_codes_by_a_500th_of_the_range_below_black_are_said(under: int, said: bool) -> None:
    found = inspected(places((64 - under,) * 4))
    assert ["half of the codes lie below the black level" in words for words in found.cautions] == [True] * said


@pytest.mark.parametrize(("top", "refused"), [(46, False), (43, True)])
def test_codes_that_all_lie_below_black_by_a_200th_of_the_range_are_refused(top: int, refused: bool) -> None:
    image = places((top - 3,) * 4)
    if refused:
        with pytest.raises(RawError, match="lie below the black level"):
            inspected(image)
    else:
        assert "half of the codes" in inspected(image).cautions[0]


@pytest.mark.parametrize(("share", "refused"), [(0.009, False), (0.011, True)])
@pytest.mark.parametrize("far", [True, False])
def test_a_hundredth_of_the_pixels_at_five_quarters_of_the_white_level_is_too_many(
    share: float, refused: bool, far: bool
) -> None:
    image = places((1000,) * 4)
    mosaic = image.mosaic.copy()
    chosen = np.random.default_rng(1).permutation(mosaic.size)[: round(share * mosaic.size)]
    mosaic.ravel()[chosen] = 5081 if far else 5080
    if refused and far:
        with pytest.raises(RawError, match="above the white level of 4064 DN"):
            inspected(changed(image, mosaic))
    else:
        inspected(changed(image, mosaic))


def sixteen_bits(codes: np.ndarray, cfa: str = "RGGB") -> RawImage:
    black = (0.0,) * (1 if cfa == MONO else 4)
    return RawImage(np.rint(codes).astype(np.int64).astype(np.uint16), cfa, black, 65535.0, 100.0, 0.01, source="a.npy")


@pytest.mark.parametrize("cfa", ["RGGB", MONO])
@pytest.mark.parametrize("sigma", [3, 20, 200])
@pytest.mark.parametrize("light", [0, 1000])
def test_codes_that_wrapped_below_zero_are_refused(cfa: str, sigma: float, light: float) -> None:
    """Black subtracted in unsigned numbers: K was 0.90 for 0.8 and σ 2.6 for 3, and nothing was said."""
    codes = np.linspace(0, light, 384)[None] + np.random.default_rng(0).normal(0, sigma, (256, 384))
    with pytest.raises(RawError, match=r"a\.npy: it has codes close to 0 and close to 65535, and none between"):
        inspected(sixteen_bits(codes, cfa))


@pytest.mark.parametrize("seed", range(5))
def test_codes_at_both_ends_are_not_all_wrapped(seed: int) -> None:
    """Hot pixels that saturate, stars that do, and a dark that is cut off at 0."""
    rng = np.random.default_rng(seed)
    dark = np.maximum(rng.normal(0, 3, (256, 384)), 0)
    hot = dark.copy()
    hot[rng.random(dark.shape) < 1e-3] = 65535
    spread = np.where(rng.random(dark.shape) < 1e-3, rng.uniform(63_500, 65_535, dark.shape), dark)
    stars = dark + 90_000 * np.exp(rng.normal(0, 2, dark.shape)) * (rng.random(dark.shape) < 5e-3)
    for codes in (dark, hot, spread, stars.clip(0, 65535)):
        assert not [words for words in inspected(sixteen_bits(codes)).cautions if "none between" in words]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", ["stretched", "curve", "honest", "chart"])
def test_codes_far_apart_are_said(bits: int, kind: str) -> None:
    """Fewer bits stretched to 16, by 64.06 for 10: K was 64 times too large, unsaid, as no code is a multiple."""
    if (bits, kind) == (14, "curve"):
        pytest.skip("14 bits fill a curve of 16 without gaps")
    rng, top = np.random.default_rng(bits), 2**bits - 1
    light = np.linspace(0.05, 0.6, 768)[None].repeat(512, 0)
    light = light if kind != "chart" else np.ceil(12 * light) / 12
    codes = np.rint(top * (light + np.sqrt(light) * rng.normal(0, 0.02, light.shape))).clip(0, top)
    factor = 0.98 * 65535 / top
    stored = {"stretched": codes * factor, "curve": (codes / top) ** (1 / 2.2) * 65535}.get(kind, codes)
    image = RawImage(np.rint(stored).astype(np.uint16), "RGGB", (0.0,) * 4, 65535.0, 100.0, 0.01, source="a.tif")
    said = " ".join(inspected(image).cautions)
    if kind == "stretched":
        found = re.search(r"multiplied after the converter, R by about ([\d.]+)", said)
        assert found is not None
        assert float(found[1]) == pytest.approx(factor, rel=2e-3)
    else:
        assert ("a curve" in said) == (kind == "curve")
        assert bool(said) == (kind == "curve")


@pytest.mark.parametrize("power", [1 / 2.2, 0.6, 1.0])
def test_a_gamma_curve_within_the_same_bits_is_said(power: float) -> None:
    """K was 0.07 for 0.8, unsaid: only dark codes are missing."""
    rng = np.random.default_rng(0)
    light = np.linspace(0.05, 0.7, 768)[None].repeat(512, 0)
    codes = (light + np.sqrt(light) * rng.normal(0, 0.02, light.shape)).clip(0, 1)
    stored = np.rint((np.rint(1023 * codes) / 1023) ** power * 1023).astype(np.uint16)
    said = " ".join(inspected(RawImage(stored, "RGGB", (0.0,) * 4, 1023.0, 100.0, 0.01, source="a.tif")).cautions)
    assert ("a curve (gamma) stretched them" in said) == (power < 1)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("bit", [1, 3, 4, None])
def test_a_bit_that_is_stuck_is_said(bit: int | None, value: int) -> None:
    """σ was 9 for 3 DN, unsaid."""
    codes = scene(white=1023, black=64, gain=1.0).mosaic
    if bit is not None:
        codes = codes & np.uint16(0xFFFF ^ 1 << bit) if not value else codes | np.uint16(1 << bit)
    said = " ".join(inspected(changed(scene(white=1023, black=64, gain=1.0), codes)).cautions)
    assert (f"bit {bit} (value {1 << (bit or 0)}) is {value} in every code" in said) == (bit is not None)
    assert said.count("in every code") == (bit is not None)


@pytest.mark.parametrize("kind", ["hot", "two levels"])
def test_bits_that_few_levels_have_are_not_stuck(kind: str) -> None:
    rng = np.random.default_rng(0)
    codes = np.rint(rng.normal(64, 4, (128, 192)))
    if kind == "hot":
        codes[5, 7], codes[90, 100] = 2112, 2117
    else:
        codes[:, 96:] += 512
    image = RawImage(codes.astype(np.uint16), "RGGB", (64.0,) * 4, 4095.0, 100.0, 0.01, source="a.dng")
    assert inspected(image).cautions == ()
