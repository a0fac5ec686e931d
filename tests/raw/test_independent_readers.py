"""DNGs read by Adobe's own SDK and by a third reader, which must agree with us; skipped where not installed."""

from pathlib import Path

import numpy as np
import pytest
from tiff_writer import write_dng_tags

from noiseflow.raw.bayer import BAYER_PHASES, offsets
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import CELLS, cell_side, shifted
from noiseflow.raw.reading import read_raw

SHAPE = (48, 64)
CODES = np.random.default_rng(0).integers(300, 3000, SHAPE).astype(np.uint16)
LEVELS = {
    "one level": {50714: ("short", [64])},
    "2x2 cell": {50713: ("short", [2, 2]), 50714: ("rational", [60.5, 61.0, 62.25, 63.0])},
    "4x4 cell": {50713: ("short", [4, 4]), 50714: ("short", list(range(60, 76)))},
    "row deltas": {50714: ("short", [64]), 50716: ("srational", np.linspace(-3, 3, SHAPE[0]).round(3).tolist())},
    "column deltas": {50714: ("short", [64]), 50715: ("srational", [0.0, 10.0] * (SHAPE[1] // 2))},
}


@pytest.mark.parametrize("cfa", BAYER_PHASES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("levels", LEVELS)
def test_pixels_and_levels_are_those_of_flashraw(tmp_path: Path, cfa: str, order: str, levels: str) -> None:
    flashraw = pytest.importorskip("flashraw")
    tags = {50717: ("long", [4000]), **LEVELS[levels]}
    path = write_dng_tags(tmp_path / "a.dng", CODES, cfa, tags, order=order, exif={34855: ("short", [800])})
    image, said = read_raw(path), flashraw.open(str(path)).metadata
    assert (image.cfa, image.iso, image.white) == (said.cfa.pattern, said.exposure.iso, said.white_level[0])
    level = said.black_level
    cell = np.array(level.values).reshape(level.rows, level.cols)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    expected = cell[y % level.rows, x % level.cols]
    expected = expected + (np.array(level.row_deltas)[:, None] if level.row_deltas else 0)
    expected = expected + (np.array(level.col_deltas)[None] if level.col_deltas else 0)
    ours = np.broadcast_to(image.levels()[0], (4, SHAPE[0] // 2, SHAPE[1] // 2))
    for plane, (row, column) in enumerate(offsets(cfa)):
        assert np.allclose(ours[plane], expected[row::2, column::2], atol=2e-4)


@pytest.mark.parametrize("cfa", BAYER_PHASES)
def test_adobes_sdk_reads_our_files_without_a_warning(
    tmp_path: Path, cfa: str, capfd: pytest.CaptureFixture[str]
) -> None:
    dngpy = pytest.importorskip("dngpy")
    path = tmp_path / "a.dng"
    write_dng(path, RawImage(CODES, cfa, (60.0, 61.0, 62.0, 63.5), 4000.0, 400.0, 0.01, "Maker", "One"))
    read = dngpy.Dng(str(path))
    assert np.array_equal(np.squeeze(np.asarray(read.raw_pixels)), CODES)
    found = capfd.readouterr()
    assert "Warning" not in found.err + found.out


LARGE = [CELLS["xtrans"], shifted(CELLS["xtrans"], 2, 5), CELLS["quad"], shifted(CELLS["quad"], 1, 3)]


@pytest.mark.parametrize("cfa", LARGE)
@pytest.mark.parametrize("reader", ["flashraw", "dngpy"])
def test_arrays_of_larger_cells(tmp_path: Path, cfa: str, reader: str, capfd: pytest.CaptureFixture[str]) -> None:
    module = pytest.importorskip(reader)
    path, side = tmp_path / "a.dng", cell_side(cfa)
    black = tuple(60.0 + plane for plane in range(side**2))
    image = RawImage(CODES, cfa, black, 4000.0, 400.0, 0.01, "Maker", "One")
    write_dng(path, image)
    if reader == "dngpy":
        assert np.array_equal(np.squeeze(np.asarray(module.Dng(str(path)).raw_pixels)), CODES)
        found = capfd.readouterr()
        assert "Warning" not in found.err + found.out
        return
    raw = module.open(str(path))
    level = raw.metadata.black_level
    cell = np.array(level.values).reshape(level.rows, level.cols)
    assert [cell[offset] for offset in offsets(cfa)] == list(black)
    assert raw.metadata.cfa.pattern == cfa
