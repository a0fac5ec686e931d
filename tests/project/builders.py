"""What tests build: small folders of frames and stores with a known density."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields
from noiseflow.patches.store.store import PatchStore
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.image import RawImage

BLACK, WHITE = 64.0, 1023.0
GAIN, READ = 0.8, 3.0


def frame(mosaic: np.ndarray, cfa: str = "RGGB", **fields_: object) -> RawImage:
    """A raw image of a made-up camera, 10 bit."""
    black = (BLACK,) * (1 if cfa == "MONO" else 4)
    known = {"iso": 400.0, "exposure_s": 0.01, "make": "Maker", "model": "One", "source": "made"}
    return RawImage(mosaic=mosaic, cfa=cfa, black=black, white=WHITE, **{**known, **fields_})  # type: ignore[arg-type]


def noisy_mosaic(signal_dn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of variance GAIN·signal + READ², rounded; `signal_dn` above black."""
    noise = rng.normal(size=signal_dn.shape) * np.sqrt(GAIN * signal_dn + READ**2)
    return np.clip(np.rint(BLACK + signal_dn + noise), 0, WHITE).astype(np.uint16)


def burst_folder(folder: Path, frames: int, size: tuple[int, int], seed: int, drift: float = 0.0) -> np.ndarray:
    """A static burst of DNG files of one ramp; the signal above black, in DN."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    signal = np.linspace(20, 600, size[1])[None].repeat(size[0], 0)
    for number in range(frames):
        mosaic = noisy_mosaic(signal + drift * number, rng)
        write_dng(folder / f"frame_{number:02d}.dng", frame(mosaic))
    return signal


def gaussian_store(
    path: Path,
    patches: int = 600,
    seed: int = 0,
    isos: tuple[float, ...] = (400.0,),
    cameras: tuple[str, ...] = ("One",),
    correlation: float = 0.0,
) -> PatchStore:
    """A store of heteroscedastic Gaussian noise: β₁, β₂ = GAIN, (10·READ)² in DN, times ISO/400.

    `correlation` is that between the second plane and the first.
    """
    rng = np.random.default_rng(seed)
    with StoreWriter(path, layout="bayer", patch_size=8, pairing="gt", provenance={}) as writer:
        for number in range(patches):
            iso = isos[number % len(isos)]
            table = np.zeros(1, fields(4))
            table["camera"] = writer.label("cameras", cameras[number % len(cameras)])
            table["iso"] = iso
            table["scene"] = writer.label("scenes", f"scene {number % 10}")
            table["source"] = writer.source("made", "0")
            table["split"] = (0, 0, 0, 0, 0, 0, 0, 0, 1, 2)[number % 10]
            clean = rng.uniform(0, 3000, (1, 4, 1, 1)) + np.linspace(0, 500, 64).reshape(8, 8)
            sigma = np.sqrt(iso / 400 * (GAIN * clean + READ**2 * 100))
            white = rng.normal(size=clean.shape)
            white[:, 1] = correlation * white[:, 0] + np.sqrt(1 - correlation**2) * white[:, 1]
            noisy = 1000 + clean + sigma * white
            table["black"] = 1000
            table["white"] = 11_000
            writer.append(np.rint(noisy), 1000 + clean, table)
    return PatchStore(path)


def array_file(path: Path, array: np.ndarray) -> Path:
    """Write an array as NPY, NPZ, HDF5 or FITS, by the suffix; without astropy a test of FITS is skipped."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, mosaic=array)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["mosaic"] = array
    elif path.suffix == ".fits":
        pytest.importorskip("astropy.io.fits").PrimaryHDU(array).writeto(path)
    else:
        tifffile.imwrite(path, array, photometric="rgb" if array.shape[2] == 3 else "minisblack")
    return path
