from pathlib import Path

import numpy as np
import pytest
import torch
from builders import BLACK, WHITE, frame, noisy_mosaic
from click.testing import CliRunner

from noiseflow.augment import denoise_frame
from noiseflow.cli import main
from noiseflow.core.errors import DataError, ModelError
from noiseflow.models.denoiser import Denoiser, DenoiserSpec, save_denoiser
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng


@pytest.fixture
def denoiser() -> Denoiser:
    model = Denoiser(DenoiserSpec("bayer", ("Maker One",), (400.0,), width=4)).eval()
    with torch.no_grad():
        model.layers[-1].weight.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
    return model


def test_strips_are_the_whole(denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = frame(noisy_mosaic(np.full((91, 40), 300.0), np.random.default_rng(0)))
    whole = denoise_frame(denoiser, noisy).signal
    monkeypatch.setattr("noiseflow.augment.frames.denoising.STRIP", 7)
    np.testing.assert_allclose(denoise_frame(denoiser, noisy).signal, whole, atol=1e-6)
    assert not np.allclose(whole, noisy.normalised("bayer"))


def test_the_command_writes_a_frame(denoiser: Denoiser, tmp_path: Path) -> None:
    noisy = frame(noisy_mosaic(np.full((128, 128), 300.0), np.random.default_rng(0)))
    write_dng(tmp_path / "noisy.dng", noisy)
    save_denoiser(denoiser, tmp_path / "run")
    words = ["denoise", str(tmp_path / "run"), str(tmp_path / "noisy.dng"), "--out", str(tmp_path / "out.dng")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    expected = denoise_frame(denoiser, noisy).image
    found = read_raw(tmp_path / "out.dng")
    np.testing.assert_array_equal(found.mosaic, expected.mosaic)
    assert (found.black[0], found.white) == (BLACK, WHITE)
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 1
    assert "pass --overwrite" in again.stderr


def test_what_does_not_fit_is_refused(denoiser: Denoiser) -> None:
    with pytest.raises(ModelError, match="a MONO frame"):
        denoise_frame(denoiser, frame(np.zeros((8, 8), np.uint16), "MONO"))
    with pytest.raises(DataError, match="does not contain its ISO"):
        denoise_frame(denoiser, frame(np.zeros((8, 8), np.uint16), iso=None))
