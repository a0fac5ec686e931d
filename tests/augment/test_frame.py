from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from builders import BLACK, WHITE, frame

from noiseflow.augment import WRITERS, sample_frame, write_frame
from noiseflow.errors import DataError, ModelError
from noiseflow.models import ModelSpec, NoiseModel, build
from noiseflow.raw import RawImage, read_raw


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
    else:
        assert np.array_equal(tifffile.imread(path), noisy.image.mosaic)
    with pytest.raises(DataError, match="pass --overwrite"):
        write_frame(path, noisy)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    noisy = sample_frame(model(), clean(32, 48))
    for path, message in ((tmp_path / "a.jpg", "cannot write .jpg"), (tmp_path / "no" / "a.npy", "no such folder")):
        with pytest.raises(DataError, match=message):
            write_frame(path, noisy)


def test_frames_that_do_not_fit_the_model() -> None:
    with pytest.raises(ModelError, match="a MONO frame"):
        sample_frame(model(), clean(8, 8, "MONO"))
    with pytest.raises(ModelError, match="it knows Maker One, Other"):
        sample_frame(model(), clean(8, 8), camera="None")
    with pytest.raises(DataError, match="does not say its ISO"):
        sample_frame(model(), frame(np.full((8, 8), 500, np.uint16), iso=None))


@pytest.mark.parametrize("layout", ["mono", "mono2x2"])
def test_monochrome_frames(layout: str) -> None:
    noisy = sample_frame(model("nlf", layout), clean(6, 8, "MONO"))
    assert noisy.image.mosaic.shape == (6, 8)
    assert (noisy.image.mosaic != 500).any()
