from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings, strategies as st

from noiseflow.core.errors import RawError
from noiseflow.raw import RawSettings, read_raw
from noiseflow.raw.formats.sidd import SceneName, metadata_beside, read_metadata, restored, signal_in_dn
from tools.readers.make_sidd import LEVELS, codes_of, make_tree, normalised, signal_of, write_mat73, write_metadata

SCENES = {
    "S6": "0004_001_S6_00100_00060_4400_L",
    "GP": "0018_001_GP_00100_00160_5500_L",
    "IP": "0028_001_IP_00100_00160_5500_N",
    "N6": "0022_001_N6_00100_00060_5500_N",
    "G4": "0025_001_G4_00100_00060_5500_L",
}
REAL = "sidd/0001_METADATA_RAW_010.MAT"


def named(camera: str) -> SceneName:
    name = SceneName.parse(SCENES[camera])
    assert name is not None
    return name


def test_the_real_metadata_file(shared_data: Path) -> None:
    metadata = read_metadata(shared_data / REAL)
    assert (metadata.cfa, metadata.black, metadata.white, metadata.iso) == ("GRBG", 0.0, 1023.0, 100.0)
    assert (metadata.make, metadata.model) == ("samsung", "SM-G925I")
    assert metadata.exposure_s == pytest.approx(1 / 60, rel=1e-6)
    # INDEX.md: NoiseProfile [4.794565e-4, 0] per channel.
    assert np.array(metadata.noise_profile) == pytest.approx(np.array([(4.794565e-4, 0.0)] * 3), rel=1e-6)


@pytest.mark.parametrize(
    ("start", "cfa"), [((0, 0), "GRBG"), ((1, 0), "BGGR"), ((0, 1), "RGGB"), ((3, 5), "GBRG"), ((2, 4), "GRBG")]
)
def test_the_phase_is_that_of_the_sensor_not_of_its_active_area(
    tmp_path: Path, start: tuple[int, int], cfa: str
) -> None:
    """The authors' crops begin at even rows and columns of the sensor, wherever the active area begins."""
    write_metadata(tmp_path / "m.MAT", named("S6"), (32, 48), (4e-4, 1e-6), active_area=(*start, 32, 48))
    assert read_metadata(tmp_path / "m.MAT").cfa == cfa


def test_made_metadata_has_the_form_of_the_real_one(shared_data: Path, tmp_path: Path) -> None:
    write_metadata(tmp_path / "m.MAT", named("S6"), (32, 48), (4e-4, 1e-6))
    real, made = (scipy.io.loadmat(path)["metadata"] for path in (shared_data / REAL, tmp_path / "m.MAT"))
    assert made.shape == real.shape == (1, 1)
    assert set(made.dtype.names) <= set(real.dtype.names)
    for name in made.dtype.names:
        assert made[0, 0][name].dtype.kind == real[0, 0][name].dtype.kind or made[0, 0][name].dtype.kind in "uif"
        assert made[0, 0][name].ndim == real[0, 0][name].ndim, name
    tags = [file[0, 0]["UnknownTags"] for file in (real, made)]
    assert [tag.item() for tag in tags[1]["ID"].ravel()] == [tag.item() for tag in tags[0]["ID"].ravel()]
    assert [tag.shape for tag in tags[1]["Value"].ravel()] == [tag.shape for tag in tags[0]["Value"].ravel()]
    # As the published code looks it up.
    assert tags[1][7, 0][2][0][0:2].tolist() == [4e-4, 1e-6]


def test_made_mosaics_have_matlab_s_header_and_layout(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((6, 10))
    write_mat73(tmp_path / "a.MAT", image)
    head = (tmp_path / "a.MAT").read_bytes()[:512]
    assert head.startswith(b"MATLAB 7.3 MAT-file, Platform: PCWIN64")
    assert head[124:128] == b"\x00\x02IM"
    with h5py.File(tmp_path / "a.MAT") as file:
        assert file.userblock_size == 512
        assert (file["x"].shape, file["x"].dtype, file["x"].attrs["MATLAB_class"]) == ((10, 6), np.float32, b"single")
    with pytest.raises(NotImplementedError, match=r"HDF reader for matlab v7\.3"):
        scipy.io.loadmat(tmp_path / "a.MAT")


@settings(deadline=None)
@given(st.integers(0, 4096), st.integers(1, 2**14 - 1), st.integers(0, 2**32 - 1))
def test_codes_come_back_exactly(black: int, span: int, seed: int) -> None:
    white = black + span
    codes = np.random.default_rng(seed).integers(black, white + 1, (20, 30))
    signal = ((codes - black) / (white - black)).astype(np.float32)
    dn = signal_in_dn(signal, black, white)
    assert np.abs(dn - codes).max() < 0.01
    assert np.array_equal(restored(signal, black, white, "made"), codes)


def test_wrong_levels_are_noticed() -> None:
    codes = np.random.default_rng(0).integers(64, 1024, (50, 50))
    signal = ((codes - 64) / (1023 - 64)).astype(np.float32)
    with pytest.raises(RawError, match=r"made: black 0 and white 1023 do not give whole codes \(median 0\.\d"):
        restored(signal, 0, 1023, "made")


@pytest.mark.parametrize("camera", SCENES)
@pytest.mark.parametrize("full", [False, True])
def test_every_camera_s_frames(tmp_path: Path, camera: str, full: bool) -> None:
    root = make_tree(tmp_path, [SCENES[camera]], size=(24, 40), frames=[10], full=full)
    name = named(camera)
    noisy_file, gt_file = (next(root.rglob(f"*_{kind}_RAW_010.MAT")) for kind in ("NOISY", "GT"))
    noisy, clean = read_raw(noisy_file), read_raw(gt_file)
    black, white = LEVELS[camera]
    assert (noisy.black, noisy.white, noisy.camera, noisy.iso) == ((black,) * 4, white, camera, 100.0)
    assert noisy.cfa == {"S6": "GRBG", "GP": "BGGR", "IP": "RGGB", "N6": "BGGR", "G4": "BGGR"}[camera]
    assert noisy.exposure_s == pytest.approx(name.exposure_s)
    signal = signal_of(name, (24, 40), 0)
    rng = np.random.default_rng((0, name.instance, 1))
    assert len(noisy.noise_profile) == 3
    codes = codes_of(name, signal, noisy.noise_profile[0], rng)
    # A code below black was cut off when the data set was made.
    assert np.array_equal(noisy.mosaic, np.maximum(codes, black))
    assert noisy.whole
    # The ground truth keeps its fractions to single precision.
    assert not clean.whole
    assert clean.mosaic == pytest.approx(signal * (white - black) + black, rel=3e-7)
    # Green pixels are brighter than red ones: the file is turned the right way round.
    red, green1, green2, _ = clean.normalised().mean((1, 2))
    assert green1 == pytest.approx(green2, rel=0.01)
    assert red == pytest.approx(0.6 * green1, rel=0.01)


def test_nan_is_taken_as_zero_signal(tmp_path: Path) -> None:
    root = make_tree(tmp_path, [SCENES["S6"]], size=(24, 40), frames=[10])
    path = next(root.rglob("*NOISY*"))
    signal = normalised(named("S6"), np.full((24, 40), 500.0))
    signal[3, 5] = np.nan
    write_mat73(path, signal)
    image = read_raw(path)
    assert image.mosaic[3, 5] == 0
    assert image.mosaic[3, 6] == 500


def test_without_metadata_the_levels_are_asked_for(tmp_path: Path) -> None:
    root = make_tree(tmp_path, [SCENES["S6"]], size=(24, 40), frames=[10])
    path = next(root.rglob("*NOISY*"))
    whole = read_raw(path)
    beside = metadata_beside(path)
    assert beside is not None
    beside.unlink()
    with pytest.raises(RawError, match=r"its metadata file is missing; .* or --cfa, --black and --white"):
        read_raw(path)
    image = read_raw(path, RawSettings(cfa="GRBG", black=(0.0,), white=1023.0))
    assert np.array_equal(image.mosaic, whole.mosaic)
    assert (image.camera, image.iso) == ("S6", 100.0)


@pytest.mark.parametrize("name", ["0001_001_S6_100_00060_3200_L", "Data", "0001_001_S6_00100_00000_3200_L"])
def test_other_folder_names_are_no_scenes(name: str) -> None:
    assert SceneName.parse(name) is None
