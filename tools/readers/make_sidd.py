"""Make a tiny SIDD: the folders, names and bytes of the real one, with pictures of our own.

The mosaics are MAT files of version 7.3 (HDF5 behind MATLAB's 512-byte header, transposed,
single precision, deflated), the metadata nested structs of version 5, as MATLAB wrote them.

    python -m tools.readers.make_sidd out --scenes 6
    noiseflow ingest out/SIDD_Medium_Raw --max-clipped 1 --out patches.h5
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import scipy.io

from noiseflow.patches.sources.sidd_published import published
from noiseflow.raw.bayer import unpack
from noiseflow.raw.formats.sidd import SceneName

LEVELS = {"S6": (0, 1023), "GP": (64, 1023), "IP": (528, 4095), "N6": (64, 1023), "G4": (64, 1023)}
"""Black and white level of each camera in DN: of the S6 as in its real metadata, of the others made up."""

HEADER_BYTES = 512


def write_mat73(path: Path, image: np.ndarray, name: str = "x") -> None:
    """Write an array as MATLAB's ``save -v7.3`` does; shape (H, W), stored transposed."""
    with h5py.File(path, "w", userblock_size=HEADER_BYTES, libver="earliest") as file:
        data = file.create_dataset(
            name, data=np.ascontiguousarray(image.T, np.float32), chunks=True, compression="gzip", compression_opts=3
        )
        data.attrs["MATLAB_class"] = np.bytes_("single")
    text = b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Thu Sep 27 10:48:01 2018 HDF5 schema 1.00 ."
    with path.open("r+b") as file:
        # MAT-file format, level 5: 116 bytes of text, 8 of sub-system offset, the version 0x0200, the byte order.
        file.write(text.ljust(116) + b" " * 8 + b"\x00\x02IM")


def signal_of(name: SceneName, size: tuple[int, int], seed: int) -> np.ndarray:
    """The clean signal in [0, 1] of an instance, shape (H, W): a ramp with the colours of its camera's mosaic."""
    height, width = size
    ramp = np.linspace(0.05, 0.6, width // 2)[None].repeat(height // 2, 0)
    rng = np.random.default_rng((seed, name.instance))
    tilt = 1 + 0.1 * rng.uniform(-1, 1, (height // 2, 1))
    planes = np.stack([ramp * tilt * colour for colour in (0.6, 1.0, 1.0, 0.8)])
    return unpack(planes, published().cfa[name.camera])


def codes_of(name: SceneName, signal: np.ndarray, nlf: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A noisy frame in whole DN: var = S·signal + O, rounded and clipped as a converter does."""
    black, white = LEVELS[name.camera]
    noisy = signal + rng.normal(size=signal.shape) * np.sqrt(nlf[0] * signal + nlf[1])
    return np.clip(np.rint(noisy * (white - black) + black), 0, white)


def normalised(name: SceneName, codes: np.ndarray) -> np.ndarray:
    """(DN − black) / (white − black), clipped to [0, 1], in single precision: as the authors did."""
    black, white = LEVELS[name.camera]
    return np.clip((codes - black) / (white - black), 0, 1).astype(np.float32)


def write_metadata(
    path: Path,
    name: SceneName,
    size: tuple[int, int],
    nlf: tuple[float, float],
    active_area: tuple[int, int, int, int] | None = None,
) -> None:
    """Write what MATLAB's ``imfinfo`` says of a DNG; of the G4 the levels stand in a sub-directory."""
    black, white = LEVELS[name.camera]
    levels = {
        "BlackLevelRepeatDim": np.array([[2, 2]], np.uint8),
        "BlackLevel": np.full((1, 4), black, np.uint16 if black else np.uint8),
        "WhiteLevel": np.array([[white]], np.uint16),
        "CFALayout": 1.0,
        "ActiveArea": np.array([active_area or (0, 0, *size)], np.uint16),
    }
    pattern = ["RGB".index(colour) for colour in published().cfa[name.camera]]
    tags = [
        (33421, np.array([[2, 2]], np.uint8)),
        (33422, np.array([pattern], np.uint8)),
        (37398, np.array([[1, 0, 0, 0]], np.uint8)),
        (50964, np.eye(3).reshape(1, 9)),
        (50965, np.eye(3).reshape(1, 9)),
        (51009, np.zeros((1, 388), np.uint8)),
        (51022, np.zeros((1, 4), np.uint8)),
        (51041, np.array([nlf * 3])),
    ]
    unknown = np.empty((len(tags), 1), [("ID", object), ("Offset", object), ("Value", object)])
    for row, (number, value) in enumerate(tags):
        unknown[row, 0] = (float(number), 0.0, value)
    metadata: dict[str, Any] = {
        "Filename": f"D:\\_New_Dataset\\{path.parent.name}\\DNG\\DSC_9324.DNG",
        "Format": "tif",
        "Width": float(size[1]),
        "Height": float(size[0]),
        "ColorType": "CFA",
        "Make": "made",
        "Model": f"up {name.camera}",
        "ExposureTime": name.exposure_s,
        "ISOSpeedRatings": name.iso,
        "DNGVersion": np.array([[1, 4, 0, 0]], np.uint8),
    }
    inside = {**levels, "UnknownTags": unknown}
    if name.camera == "G4":
        cell = np.empty((1, 1), object)
        cell[0, 0] = inside
        metadata["SubIFDs"] = cell
    else:
        metadata |= inside
    scipy.io.savemat(path, {"metadata": metadata}, do_compression=True)


def make_tree(
    out: Path,
    names: Sequence[str],
    *,
    size: tuple[int, int] = (64, 96),
    frames: Sequence[int] = (10, 11),
    full: bool = False,
    seed: int = 0,
) -> Path:
    """Write scene instances as SIDD lays them out, and say where their root is.

    Parameters
    ----------
    out : Path
        Folder in which the data set's own folder is made.
    names : sequence of str
        Of scene instances, such as 0001_001_S6_00100_00060_3200_L.
    size : tuple of int
        (H, W) of the mosaic, even.
    frames : sequence of int
        Numbers of the noisy frames of each instance.
    full : bool
        The layout of SIDD Full, with folders in between, instead of that of Medium.
    seed : int
        Seed of signals and noise.
    """
    root = out / ("SIDD_Full" if full else "SIDD_Medium_Raw")
    for text in names:
        name = SceneName.parse(text)
        if name is None:
            raise ValueError(f"{text}: expected a name such as 0001_001_S6_00100_00060_3200_L")
        start = f"{name.instance:04d}"
        nlf = published().nlf.get(f"{name.camera}_{name.iso:05.0f}", (1e-3 * name.iso / 100, 2e-6))
        signal = signal_of(name, size, seed)
        rng = np.random.default_rng((seed, name.instance, 1))
        for frame in frames:
            files = {}
            for kind in ("NOISY", "GT", "METADATA"):
                folder = root / "Data" / text / (f"{start}_{kind}_RAW" if full else "")
                folder.mkdir(parents=True, exist_ok=True)
                files[kind] = folder / f"{start}_{kind}_RAW_{frame:03d}.MAT"
            write_mat73(files["NOISY"], normalised(name, codes_of(name, signal, nlf, rng)))
            write_mat73(files["GT"], signal)
            write_metadata(files["METADATA"], name, size, nlf)
    return root


def make_blocks(
    out: Path, *, which: str = "Validation", instances: int = 40, blocks: int = 32, side: int = 256, seed: int = 0
) -> Path:
    """Write the two block files, version 5 and deflated, and say where the noisy one is."""
    out.mkdir(parents=True, exist_ok=True)
    noisy = np.empty((instances, blocks, side, side), np.float32)
    clean = np.empty_like(noisy)
    for index, text in enumerate(published().blocks[:instances]):
        name = SceneName.parse(text)
        assert name is not None
        nlf = published().nlf.get(f"{name.camera}_{name.iso:05.0f}", (1e-3 * name.iso / 100, 2e-6))
        signal = signal_of(name, (side, side), seed)
        for block in range(blocks):
            rng = np.random.default_rng((seed, index, block))
            clean[index, block] = signal
            noisy[index, block] = normalised(name, codes_of(name, signal, nlf, rng))
    for kind, array in (("Noisy", noisy), ("Gt", clean)):
        array_name = f"{which}{kind}BlocksRaw"
        scipy.io.savemat(out / f"{array_name}.mat", {array_name: array}, do_compression=True)
    return out / f"{which}NoisyBlocksRaw.mat"


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--scenes", type=click.IntRange(1), default=4, show_default=True, help="Of the published train and test.")
@click.option("--height", type=click.IntRange(2), default=64, show_default=True)
@click.option("--width", type=click.IntRange(2), default=96, show_default=True)
@click.option("--full", is_flag=True, help="The layout of SIDD Full.")
@click.option("--blocks", is_flag=True, help="The Validation block files too.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, scenes: int, height: int, width: int, full: bool, blocks: bool, seed: int) -> None:
    """Write a tiny SIDD into the folder OUT."""
    by_number = {int(text[:4]): text for text in published().scenes}
    lists = [[n for n, its in published().split.items() if its == split] for split in ("train", "test")]
    numbers = [number for pair in zip(*lists, strict=False) for number in pair][:scenes]
    click.echo(make_tree(out, [by_number[n] for n in numbers], size=(height, width), full=full, seed=seed))
    if blocks:
        click.echo(make_blocks(out, seed=seed))


if __name__ == "__main__":
    main()
