import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import rawpy
import tifffile
import torch
from builders import BLACK, WHITE, frame

from noiseflow.augment import WRITERS, develop, sample_frame, sample_to_files, write_frame, write_preview
from noiseflow.augment.fixed_pattern import FixedPattern
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.core.errors import DataError, ModelError, OutputError
from noiseflow.flows import Conditions
from noiseflow.models import ModelSpec, NoiseModel, build, from_profile
from noiseflow.models.capabilities import linear_variance
from noiseflow.models.model import checked_conditions
from noiseflow.raw import RawImage, read_raw, unpack
from noiseflow.raw.black_levels import BlackMap
from noiseflow.raw.formats.dng import dng_bytes


def model(name: str = "nlf", layout: str = "bayer") -> NoiseModel:
    return build(ModelSpec(name, layout, ("Maker One", "Other"), (100.0, 1600.0))).eval()


def clean(height: int, width: int, cfa: str = "RGGB") -> RawImage:
    return frame(np.full((height, width), 500, np.uint16), cfa)


@pytest.mark.parametrize("name", ["gaussian", "nlf", "noise_flow"])
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (34, 50), (65, 127)])
def test_any_size_and_the_odd_last_line_keeps_its_codes(name: str, size: tuple[int, int]) -> None:
    noisy = sample_frame(model(name), clean(*size)).image.mosaic
    assert noisy.shape == size
    even = noisy[: size[0] // 2 * 2, : size[1] // 2 * 2]
    assert (even != 500).any()
    assert (noisy[even.shape[0] :] == 500).all()
    assert (noisy[:, even.shape[1] :] == 500).all()


def test_the_variance_is_the_model_s() -> None:
    frame_ = clean(400, 400)
    noisy = sample_frame(model(), frame_, iso=400).signal
    signal = (500 - BLACK) / (WHITE - BLACK)
    # 160,000 values: standard error of the variance 0.35 %; five of them.
    assert noisy.var() == pytest.approx(1e-3 * signal + 1e-6, rel=0.018)


def test_seeds_decide_and_the_iso_is_said() -> None:
    a, b, c = (sample_frame(model(), clean(16, 16), seed=seed, iso=800) for seed in (1, 1, 2))
    assert np.array_equal(a.image.mosaic, b.image.mosaic)
    assert not np.array_equal(a.image.mosaic, c.image.mosaic)
    assert a.image.iso == 800


@pytest.mark.parametrize("suffix", [".dng", ".tiff"])
def test_a_frame_that_keeps_no_signal_has_the_same_codes(tmp_path: Path, suffix: str) -> None:
    kept, dropped = (sample_frame(model(), clean(35, 48), iso=800, keep_signal=keep) for keep in (True, False))
    assert dropped.signal.shape == (4, 0, 0)
    assert np.array_equal(dropped.image.mosaic, kept.image.mosaic)
    (path,) = sample_to_files(model(), clean(35, 48), tmp_path / f"noisy{suffix}", iso=800)
    write_frame(tmp_path / f"kept{suffix}", kept)
    assert path.read_bytes() == (tmp_path / f"kept{suffix}").read_bytes()
    if suffix == ".dng":
        assert path.read_bytes() == dng_bytes(path, kept.image)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_every_writer(tmp_path: Path, suffix: str) -> None:
    noisy = sample_frame(model(), clean(32, 48), iso=800)
    path = tmp_path / f"noisy{suffix}"
    write_frame(path, noisy)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".dng":
        read = read_raw(path)
        assert np.array_equal(read.mosaic, noisy.image.mosaic)
        assert (read.cfa, read.black, read.white, read.iso) == ("RGGB", (BLACK,) * 4, WHITE, 800.0)
    elif suffix == ".npy":
        assert np.array_equal(np.load(path), noisy.signal)
    elif suffix == ".h5":
        with h5py.File(path) as file:
            assert np.array_equal(file["signal"][:], noisy.signal)
            assert list(file["signal"].attrs["planes"]) == ["R", "G1", "G2", "B"]
    elif suffix in (".tif", ".tiff"):
        assert np.array_equal(tifffile.imread(path), noisy.image.mosaic)
    with pytest.raises(OutputError, match="pass --overwrite"):
        write_frame(path, noisy)
    write_frame(path, noisy, overwrite=True)
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="was not written by noiseflow"):
        write_frame(path, noisy, overwrite=True)


@pytest.mark.parametrize("suffix", [".dng", ".npy"])
def test_a_file_with_the_name_of_an_old_half_is_left_alone(tmp_path: Path, suffix: str) -> None:
    mine = tmp_path / f".o2.partial{suffix}"
    mine.write_text("mine")
    write_frame(tmp_path / f"o2{suffix}", sample_frame(model(), clean(32, 48)))
    assert mine.read_text() == "mine"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    noisy = sample_frame(model(), clean(32, 48))
    for path, message in ((tmp_path / "a.jpg", "cannot write .jpg"), (tmp_path / "no" / "a.npy", "no such folder")):
        with pytest.raises((DataError, OutputError), match=message):
            write_frame(path, noisy)


def test_frames_that_do_not_fit_the_model() -> None:
    with pytest.raises(ModelError, match="a MONO frame"):
        sample_frame(model(), clean(8, 8, "MONO"))
    with pytest.raises(ModelError, match="it knows Maker One, Other"):
        sample_frame(model(), clean(8, 8), camera="None")
    with pytest.raises(DataError, match="does not contain its ISO"):
        sample_frame(model(), frame(np.full((8, 8), 500, np.uint16), iso=None))


@pytest.mark.parametrize("layout", ["mono", "mono2x2"])
def test_monochrome_frames(layout: str) -> None:
    noisy = sample_frame(model("nlf", layout), clean(6, 8, "MONO"))
    assert noisy.image.mosaic.shape == (6, 8)
    assert (noisy.image.mosaic != 500).any()


@pytest.mark.parametrize("name", ["gaussian", "nlf", "realnvp", "poisson_gaussian", "poisson_gaussian_exact", "eld"])
def test_a_dng_says_the_model_s_noise_profile(tmp_path: Path, name: str) -> None:
    if name in ("gaussian", "nlf", "realnvp"):
        drawn_from, iso = model(name), 400.0
    else:
        drawn_from, iso = from_profile(name, shipped_profile("Sony A7S2")), 800.0
    camera = drawn_from.cameras[0]
    frame_ = clean(32, 48)
    write_frame(tmp_path / "noisy.dng", sample_frame(drawn_from, frame_, iso=iso, camera=camera))
    with rawpy.imread(str(tmp_path / "noisy.dng")) as raw:
        assert raw.raw_image.shape == (32, 48)
        assert raw.raw_pattern.tolist() == [[0, 1], [3, 2]]
        assert (raw.black_level_per_channel, raw.white_level) == ([BLACK] * 4, WHITE)
    read = read_raw(tmp_path / "noisy.dng")
    assert (read.iso, read.exposure_s, read.make, read.model) == (iso, pytest.approx(0.01), "Maker", "One")
    (slope, offset), *_ = read.noise_profile
    if (line := linear_variance(drawn_from)) is not None:
        cond = checked_conditions(drawn_from, Conditions(torch.zeros(1, 4, 1, 1), iso, camera))
        assert (slope, offset) == (*(float(beta.detach().flatten()[0]) for beta in line.linear_variance(cond)),)
    # And it is the variance of what is drawn: 40,000 values a level, and 200 rows of a small row noise.
    for signal in (0.02, 0.3):
        cond = Conditions(torch.full((1, 4, 100, 100), signal), iso, camera)
        found = float(drawn_from.sample(cond, torch.Generator().manual_seed(1)).var())
        assert found == pytest.approx(slope * signal + offset, rel=0.05)


def test_the_white_balance_of_the_source_stays(tmp_path: Path) -> None:
    tinted = unpack(np.array([100, 200, 200, 150])[:, None, None].repeat(16, 1).repeat(24, 2), "RGGB") + 64
    source = frame(tinted.astype(np.uint16), neutral=(0.5, 1.0, 0.75))
    noisy = sample_frame(model(), source, camera="Other", temperature=0.0)
    write_frame(tmp_path / "noisy.dng", noisy)
    read = read_raw(tmp_path / "noisy.dng")
    assert read.neutral == pytest.approx((0.5, 1.0, 0.75), rel=1e-4)
    with rawpy.imread(str(tmp_path / "noisy.dng")) as raw:
        red, green, blue, _ = raw.camera_whitebalance
        assert (red / green, blue / green) == pytest.approx((2, 4 / 3), rel=1e-4)
    # What is white under that light is grey in the preview.
    picture = develop(read).astype(int)
    assert np.abs(picture - picture.mean(2, keepdims=True)).max() <= 2


def test_the_white_balance_of_the_real_arw_goes_into_a_dng(shared_data: Path, tmp_path: Path) -> None:
    arw = read_raw(shared_data / "raw" / "_DSC2164.ARW")
    # As shot: 2528, 1024, 1564.
    assert arw.neutral == pytest.approx((1024 / 2528, 1.0, 1024 / 1564))
    part = replace(arw, mosaic=arw.mosaic[1000:1064, 2000:2064])
    write_frame(tmp_path / "noisy.dng", sample_frame(model(), part, iso=1600, camera="Other"))
    with rawpy.imread(str(tmp_path / "noisy.dng")) as raw:
        red, green, blue, _ = raw.camera_whitebalance
        assert (red / green, blue / green) == pytest.approx((2528 / 1024, 1564 / 1024), rel=1e-4)
        assert raw.other.iso_speed == 1600


def test_previews_show_the_frame(tmp_path: Path) -> None:
    cells = np.linspace(64, 1000, 30 * 40).reshape(30, 40).astype(np.uint16)
    ramp = cells.repeat(2, 0).repeat(2, 1)
    for cfa in ("RGGB", "GBRG", "MONO"):
        picture = develop(frame(ramp, cfa))
        assert picture.shape == (60, 80, 3)
        assert picture[:8].mean() < 110 < 230 < picture[-8:].mean()
        # Grey on the sensor stays grey, up to what is interpolated across the step from cell to cell.
        assert np.abs(picture[6:].astype(int) - picture[6:].mean(2, keepdims=True)).max() < 6
    write_preview(tmp_path / "p.png", frame(ramp))
    with pytest.raises(OutputError, match="pass --overwrite"):
        write_preview(tmp_path / "p.png", frame(ramp))
    with pytest.raises(DataError, match=r"suffix \.png"):
        write_preview(tmp_path / "p.jpg", frame(ramp))
    with pytest.raises(DataError, match="at least one whole"):
        develop(frame(ramp[:1, :1]))
    assert develop(frame(ramp[:1, :1], "MONO")).shape == (1, 1, 3)


def test_a_burst_is_a_file_a_frame_and_refused_before_it_is_drawn(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    files = sample_to_files(
        model(),
        clean(32, 48),
        tmp_path / "b.npy",
        frames=3,
        seed=2,
        preview=tmp_path / "b.png",
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "b_000.npy", "b_001.npy", "b_002.npy"]
    assert told[-1] == (3 * 32 * 48, 3 * 32 * 48)
    assert len({np.load(path).tobytes() for path in files}) == 3
    assert np.array_equal(np.load(files[2]), sample_frame(model(), clean(32, 48), seed=2, frame=2).signal)
    files[0].unlink()
    with pytest.raises(OutputError, match=r"b_001\.npy: exists"):
        sample_to_files(model(), clean(32, 48), tmp_path / "b.npy", frames=3)
    assert not files[0].exists()


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    # A limit on the size of files stands for the disk: writing fails half-way, in the library's own code.
    code = f"""
import resource, signal, sys
import numpy as np
sys.path.insert(0, {str(Path(__file__).parents[1] / "project")!r})
from builders import frame
from noiseflow.augment import WRITERS, NoisyFrame, write_frame, write_preview
from noiseflow.core.errors import NoiseflowError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
# Python itself leaves a compiled module half-written where files are limited.
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
rng = np.random.default_rng(0)
image, values = frame(rng.integers(64, 1000, (200, 300)).astype(np.uint16)), rng.random((4, 100, 150), np.float32)
writers = [lambda path=f"noisy{{suffix}}": write_frame(path, NoisyFrame(image, values)) for suffix in WRITERS]
for write in (*writers, lambda: write_preview("noisy.png", image)):
    try:
        write()
    except NoiseflowError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = [*(f"noisy{suffix}" for suffix in WRITERS), "noisy.png"]
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == names, done.stdout
    assert done.stdout.count("cannot be written (") == len(names)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_far_outside_the_range_names_the_levels() -> None:
    with pytest.raises(DataError, match="--black and --white"):
        sample_frame(model(), frame(np.full((8, 8), 9000, np.uint16)), camera="Other")


def test_one_pixel() -> None:
    noisy = sample_frame(model("nlf", "mono"), clean(1, 1, "MONO"))
    assert noisy.signal.shape == (1, 1, 1)
    # A Bayer frame of one pixel has at least one whole: it keeps its code.
    assert sample_frame(model(), clean(1, 1)).image.mosaic.tolist() == [[500]]


@pytest.mark.parametrize("name", ["nlf", "noise_flow"])
@pytest.mark.parametrize("patterned", [False, True])
def test_a_black_level_of_each_row_is_that_of_its_own_rows(name: str, patterned: bool) -> None:
    """A frame is computed in tiles, with margins where a model looks at neighbours."""
    rows = np.arange(700) * 0.25
    mosaic = np.repeat((500 + np.rint(rows)).astype(np.uint16)[:, None], 24, 1)
    black = BlackMap(((BLACK, BLACK), (BLACK, BLACK)), tuple(rows.tolist()))
    levelled = replace(frame(mosaic), black_map=black)
    pattern = FixedPattern(seed=1, hot_fraction=1e-9) if patterned else None
    noisy = sample_frame(model(name), levelled, temperature=1e-9, iso=400, pattern=pattern)
    assert np.array_equal(noisy.image.mosaic, mosaic)
    expected = levelled.normalised()
    assert noisy.signal == pytest.approx(expected, abs=1e-4)


def test_no_worker_is_one() -> None:
    noisy = sample_frame(model(), clean(8, 8), iso=400, workers=0)
    assert np.array_equal(noisy.image.mosaic, sample_frame(model(), clean(8, 8), iso=400, workers=1).image.mosaic)
