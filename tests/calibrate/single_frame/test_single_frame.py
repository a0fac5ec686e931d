"""One picture: its numbers hold within their intervals, and what cannot be measured is refused with the reason."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.fft import dctn

from noiseflow.calibrate import calibrate, measure_picture
from noiseflow.calibrate.single_frame.blocks import HIGH, SIDE
from noiseflow.cli import main
from noiseflow.core.errors import DataError
from noiseflow.raw import RawImage
from noiseflow.raw.bayer import pack, unpack
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import load_camera
from noiseflow.simulate.physics import CameraPhysics, expose
from tools.studies.one_picture import PROCESSED, picture_of

SIZE = (384, 512)
CAMERA = load_camera("Sony A7S2")


def with_codes(image: RawImage, mosaic: np.ndarray) -> RawImage:
    return replace(image, mosaic=mosaic)


@pytest.mark.parametrize(("name", "iso"), [("Sony A7S2", 3200), ("ROW-12", 400), ("IMX686", 6400)])
@pytest.mark.parametrize("scene", [0, 2])
def test_numbers_of_one_picture(name: str, iso: float, scene: int) -> None:
    camera = load_camera(name)
    found = measure_picture(picture_of(camera, iso, scene, SIZE, 0))
    at = camera.at(iso)
    gain = found.gain[1]
    # Three standard errors of twelve numbers: a false alarm in thirty; the seeds are fixed.
    assert abs(gain.value - at.gain_dn_per_e) < min(3 * gain.standard_error, 0.08 * at.gain_dn_per_e)
    read = found.read_noise[1]
    assert read is not None
    truth = np.sqrt(camera.read_sigma_dn(iso) ** 2 + at.row_sigma_dn**2 + 1 / 12)
    assert abs(read.value - truth) < max(3 * read.standard_error, 0.02 * truth)
    assert found.black[1].covers(camera.black_dn)
    if found.row_noise is not None:
        assert found.row_noise.interval[0] <= 1.2 * at.row_sigma_dn
        assert found.row_noise.interval[1] >= 0.8 * at.row_sigma_dn


def test_noise_is_measured_in_34_coefficients_that_no_row_and_no_column_enters() -> None:
    assert HIGH.sum() == 34
    lines = np.random.default_rng(0).normal(size=(2, SIDE, SIDE))
    block = lines[0][:1] + lines[1][:, :1]
    assert np.abs(dctn(block, norm="ortho")[HIGH]).max() < 1e-12
    # Nor a slope, and a bend in both directions by a thousandth of its variance.
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    assert np.abs(dctn(3 * x - 2 * y, norm="ortho")[HIGH]).max() < 1e-12
    found = dctn(x * y, norm="ortho")
    assert (found[HIGH] ** 2).sum() < 1e-3 * (found**2).sum()


def test_selection_does_not_favour_quiet_noise() -> None:
    """Heavy tails and a dark scene: a choice by the blocks' own noise would be 10 % low here."""
    camera = load_camera("ROW-12")
    ramp = np.linspace(0, 300, 512)[:, None] * np.ones(768)
    found = measure_picture(RawImage(expose(ramp, camera, 400, np.random.default_rng(1)), "RGGB", (256.0,) * 4, 4095.0))
    read = found.read_noise[0]
    assert read is not None
    truth = np.sqrt(camera.read_sigma_dn(400) ** 2 + camera.at(400).row_sigma_dn ** 2 + 1 / 12)
    assert read.value == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("name", list(PROCESSED))
def test_a_processed_picture_is_refused(name: str) -> None:
    image = picture_of(CAMERA, 1600, 2, SIZE, 0)
    spoilt = unpack(PROCESSED[name](pack(image.mosaic, "RGGB")), "RGGB")
    with pytest.raises(DataError, match=r"002_coffee: .*(measured|gain)"):
        measure_picture(with_codes(image, spoilt))


def test_planes_that_were_scaled_apart_keep_their_own_gains() -> None:
    image = picture_of(CAMERA, 1600, 0, (512, 768), 0)
    planes = pack(image.mosaic, "RGGB").astype(float)
    planes[0] = 512 + 1.25 * (planes[0] - 512)
    found = measure_picture(with_codes(image, unpack(np.clip(np.rint(planes), 0, 16383).astype(np.uint16), "RGGB")))
    assert found.gain[0].value == pytest.approx(1.25 * CAMERA.at(1600).gain_dn_per_e, rel=0.06)
    assert found.gain[1].value == pytest.approx(CAMERA.at(1600).gain_dn_per_e, rel=0.06)


def test_a_wrong_black_level_is_named_with_its_interval() -> None:
    image = replace(picture_of(CAMERA, 1600, 0, SIZE, 0), black=(400.0,) * 4)
    found = measure_picture(image)
    assert "black level of 400 DN is wrong" in found.cautions[0]
    assert found.read_noise[0] is None
    assert found.black[0].covers(512)


def flat(level: float, camera: CameraPhysics = CAMERA, size: tuple[int, int] = SIZE) -> RawImage:
    mosaic = expose(np.full(size, level), camera, 1600, np.random.default_rng(0))
    return RawImage(mosaic, "RGGB", (camera.black_dn,) * 4, camera.white_dn, iso=1600, source="p.dng")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (flat(3000), r"p\.dng: has only one level of signal.*K ≤ 1\.\d"),
        (flat(40000), r"p\.dng: .*100 % of it is clipped"),
        (flat(0), r"p\.dng: .*(one level|few levels)"),
        (flat(3000, size=(100, 100)), r"p\.dng: 100×100 pixels are too few.*expected at least 128×128"),
        (picture_of(CAMERA, 100, 8, SIZE, 0), "grass: .*(flat parts|texture)"),
        (RawImage(np.full((256, 256), 700, np.uint16), "RGGB", (512.0,) * 4, 16383.0, source="p.dng"), r"p\.dng: "),
    ],
)
def test_what_cannot_be_measured_says_why(image: RawImage, message: str) -> None:
    with pytest.raises(DataError, match=message):
        measure_picture(image)


def test_command_of_one_picture(tmp_path: Path) -> None:
    image = replace(picture_of(CAMERA, 1600, 0, SIZE, 0), model="A", make="")
    write_dng(tmp_path / "one.dng", image)
    words = ["calibrate", str(tmp_path / "one.dng"), "--out", str(tmp_path / "c.json"), "--json"]
    result = CliRunner().invoke(main, [*words, "--report", str(tmp_path / "c.html")])
    assert result.exit_code == 0, result.output
    profile = json.loads((tmp_path / "c.json").read_text())
    first = profile["settings"][0]
    assert profile["provenance"]["method"].startswith("one picture")
    assert set(first["estimates"]) == {"gain_dn_per_e", "black_dn", "read_noise_dn", "row_noise_dn"}
    assert "Flat blocks of the picture" in (tmp_path / "c.html").read_text()


def test_the_shared_raw(shared_data: Path) -> None:
    profile = calibrate([shared_data / "raw" / "_DSC2164.ARW"]).profile
    for plane in ("G1", "G2"):
        estimates = profile.at(3200, plane).estimates
        # A line through the flattest blocks, without the correction for choosing them, is var = 7.7 x + 74 DN².
        assert 7.7 < estimates["gain_dn_per_e"].interval[0] < estimates["gain_dn_per_e"].interval[1] < 11
        assert 1.0 < estimates["read_noise_dn"].value / estimates["gain_dn_per_e"].value < 1.3
