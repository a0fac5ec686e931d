"""Small valid files of every kind that our readers take, for `tools.readers.fuzz_readers` to mutate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from PIL import Image

from noiseflow.patches.sources import collect
from noiseflow.raw.formats.dng import write_dng
from noiseflow.raw.formats.ser import HEADER, SIGNATURE
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import CELLS, cell_side
from noiseflow.raw.reading import frame_count, read_frame, read_raw
from noiseflow.raw.settings import RawSettings
from tools.readers.make_sidd import make_blocks, make_tree

__all__ = ["Kind", "kinds"]

SETTINGS = RawSettings(cfa="RGGB", black=(64.0,), white=1023.0, size=(24, 32))

DNG_TAGS = [
    (33421, "H", 2, (2, 2), True),
    (33422, "B", 4, bytes((0, 1, 1, 2)), True),
    (50706, "B", 4, bytes((1, 4, 0, 0)), True),
    (50829, "H", 4, (0, 2, 32, 24), True),
    (50830, "H", 4, (0, 0, 32, 2), True),
]
PLAIN_TAGS = [
    *DNG_TAGS[:4],
    (50714, "H", 1, 64, True),
    (50717, "I", 1, 1023, True),
    (34855, "H", 1, 200, True),
    (33434, "2I", 1, (1, 30), True),
]
"""Of a DNG that is read without LibRaw: its levels, ISO and exposure time, and no masked pixels."""


@dataclass(frozen=True)
class Kind:
    """A valid file: its bytes, its name in a folder, its companions, and what is called on it."""

    name: str
    data: bytes
    file: str
    others: dict[str, bytes]
    call: Callable[[Path], Any]


def read_with_settings(path: Path) -> None:
    """Read one file, with settings that let headerless and unspoken ones through."""
    read_raw(path, SETTINGS)


def read_alone(path: Path) -> None:
    """Read one file by what it and its side-car say."""
    read_raw(path)


def collect_all(path: Path) -> None:
    """Sort a folder into scenes and read the first frame and its clean twin."""
    scene = collect(path.parent).scenes[0]
    scene.frames[0].read()
    if scene.clean is not None:
        scene.clean.read()


def read_ends(path: Path) -> None:
    """Read the first and the last frame of a file of several, and look at their pixels."""
    for frame in {0, frame_count(path) - 1}:
        read_frame(path, SETTINGS, frame)


def read_bytes(path: Path) -> None:
    """Read the first frame of a file of 8-bit pixels, and look at them."""
    read_frame(path, replace(SETTINGS, white=255.0), 0)


def kinds(folder: Path) -> list[Kind]:
    """Valid files of every kind, made in `folder`."""
    rng = np.random.default_rng(0)
    mosaic = rng.integers(0, 1024, (32, 24)).astype(np.uint16)
    made: list[Kind] = []

    def add(name: str, file: str, call: Callable[[Path], Any], others: dict[str, bytes] | None = None) -> None:
        made.append(Kind(name, (folder / file).read_bytes(), file, others or {}, call))

    for name, how in (
        ("tiff", {}),
        ("tiff big-endian", {"byteorder": ">"}),
        ("tiff deflate", {"compression": "zlib", "predictor": True}),
        ("tiff tiles", {"tile": (16, 16), "compression": "zlib"}),
        ("tiff big", {"bigtiff": True}),
    ):
        tifffile.imwrite(folder / "a.tiff", mosaic, photometric="minisblack", metadata=None, **how)
        add(name, "a.tiff", read_with_settings)
    for bits in (8, 16):
        Image.fromarray(mosaic if bits == 16 else (mosaic >> 2).astype(np.uint8)).save(folder / "a.png")
        add(f"png {bits}", "a.png", read_with_settings)
    np.save(folder / "a.npy", mosaic)
    add("npy", "a.npy", read_with_settings)
    facts = {"cfa": "RGGB", "black": [64.0], "white": 1023.0, "iso": 100.0}
    for name, save in (("npz", np.savez), ("npz deflate", np.savez_compressed)):
        save(folder / "a.npz", mosaic=mosaic, **facts)
        add(name, "a.npz", read_alone)
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("mosaic", data=mosaic, chunks=(8, 8), compression="gzip")
        data.attrs.update(facts)
    add("hdf5", "a.h5", read_alone)
    (folder / "a.raw").write_bytes(mosaic.tobytes())
    add("headerless", "a.raw", read_with_settings)
    side_car = b'cfa = "RGGB"\nblack = [64, 64, 65, 64]\nwhite = 1023\nsize = [24, 32]\ncrop = [0, 0, 8, 8]\n'
    made.append(Kind("side-car", side_car, "noiseflow.toml", {"a.raw": mosaic.tobytes()}, collect_all))
    _add_fits(folder, mosaic, add)
    _add_dngs(folder, mosaic, add)
    _add_large_cells(folder, mosaic, add)
    _add_stacks(folder, mosaic, add)
    _add_packed(folder, mosaic, made)
    _add_data_sets(folder, mosaic, made)
    return made


def _add_fits(folder: Path, mosaic: np.ndarray, add: Callable[..., None]) -> None:
    from astropy.io import fits

    unit = fits.PrimaryHDU(mosaic)
    unit.header.update(BAYERPAT="RGGB", EXPTIME=0.5, GAIN=120, SATURATE=1023)
    unit.writeto(folder / "a.fits")
    add("fits", "a.fits", read_with_settings)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(mosaic.astype(np.int32))]).writeto(folder / "b.fits")
    add("fits tiles", "b.fits", read_with_settings)


def _add_dngs(folder: Path, mosaic: np.ndarray, add: Callable[..., None]) -> None:
    image = RawImage(mosaic, "RGGB", (64.0,) * 4, 1023.0, 100.0, 0.01, "Maker", "One", "made", ((1e-4, 1e-6),))
    write_dng(folder / "a.dng", image)
    add("dng", "a.dng", read_alone)
    for name, pixels, how in (
        ("dng float", (mosaic / 1023).astype(np.float32), {}),
        ("dng deflate", mosaic, {"compression": "zlib"}),
        ("dng masked", mosaic, {}),
    ):
        tifffile.imwrite(folder / "b.dng", pixels, photometric=32803, extratags=DNG_TAGS, metadata=None, **how)
        add(name, "b.dng", read_alone)
    how = {"byteorder": ">", "rowsperstrip": 7}
    tifffile.imwrite(folder / "c.dng", mosaic, photometric=32803, extratags=PLAIN_TAGS, metadata=None, **how)
    add("dng strips big-endian", "c.dng", read_alone)


def _add_data_sets(folder: Path, mosaic: np.ndarray, made: list[Kind]) -> None:
    scene = "0004_001_S6_00100_00060_4400_L"
    root = make_tree(folder, [scene], size=(32, 24), frames=[10]) / "Data" / scene
    files = {file.name: file.read_bytes() for file in root.iterdir()}
    for name in sorted(files):
        others = {f"{scene}/{other}": data for other, data in files.items() if other != name}
        made.append(Kind(f"sidd {name[5:-12].lower()}", files[name], f"{scene}/{name}", others, collect_all))
    noisy = make_blocks(folder / "blocks", blocks=1, side=8)
    clean = noisy.with_name("ValidationGtBlocksRaw.mat")
    made.append(Kind("sidd blocks", noisy.read_bytes(), noisy.name, {clean.name: clean.read_bytes()}, collect_all))
    Image.fromarray(mosaic).save(folder / "e.png")
    listing = b"n 12 24 32\r\nb 1000.0 9.0\r\ni e.png\r\nd 1000.0\r\ni e.png\r\n"
    picture = (folder / "e.png").read_bytes()
    made.append(Kind("emva listing", listing, "EMVA1288_Data.txt", {"e.png": picture}, collect_all))
    manifest = b'{"scenes": [{"name": "a", "iso": 100, "noisy": ["a.dng"], "clean": "a.dng"}], "truth": {}}'
    dng = (folder / "a.dng").read_bytes()
    made.append(Kind("simulation manifest", manifest, "simulation.json", {"a.dng": dng}, collect_all))
    _add_lists(dng, made)


def _add_large_cells(folder: Path, mosaic: np.ndarray, add: Callable[..., None]) -> None:
    for name, exposure_s in (("xtrans", 0.01), ("quad", None)):
        cfa = CELLS[name]
        black = tuple(60.0 + plane for plane in range(cell_side(cfa) ** 2))
        write_dng(folder / f"{name}.dng", RawImage(mosaic, cfa, black, 1023.0, 100.0, exposure_s, "Maker", "One"))
        add(f"dng {name}", f"{name}.dng", read_alone)
    height, width = mosaic.shape
    cell = (50713, "H", 2, (2, 2), True), (50714, "H", 4, (60, 61, 62, 63), True)
    deltas = (
        (50715, "2i", width, (-1, 10) * width, True),
        (50716, "2i", height, (3, 10) * height, True),
    )
    tags = [*PLAIN_TAGS[:4], *cell, *deltas, *PLAIN_TAGS[5:]]
    tifffile.imwrite(folder / "deltas.dng", mosaic, photometric=32803, extratags=tags, metadata=None, byteorder=">")
    add("dng deltas", "deltas.dng", read_alone)


def _add_stacks(folder: Path, mosaic: np.ndarray, add: Callable[..., None]) -> None:
    from astropy.io import fits

    stack = np.stack([mosaic, mosaic[::-1], mosaic[:, ::-1]])
    tifffile.imwrite(folder / "stack.tiff", stack, photometric="minisblack", metadata=None)
    np.save(folder / "stack.npy", stack)
    np.savez_compressed(folder / "stack.npz", mosaic=stack)
    with h5py.File(folder / "stack.h5", "w") as file:
        file.create_dataset("mosaic", data=stack, chunks=(1, 8, 8), compression="gzip")
    fits.PrimaryHDU(stack).writeto(folder / "stack.fits")
    for name in ("tiff", "npy", "npz", "h5", "fits"):
        add(f"{name} stack", f"stack.{name}", read_ends)
    text = b"x".ljust(40)
    for depth, pixels in ((8, (stack >> 2).astype(np.uint8)), (16, stack)):
        header = HEADER.pack(SIGNATURE, 0, 8, 0, mosaic.shape[1], mosaic.shape[0], depth, 3, text, text, text, 0, 0)
        (folder / f"{depth}.ser").write_bytes(header + pixels.astype(f"<u{depth // 8}").tobytes())
        add(f"ser {depth}", f"{depth}.ser", read_ends if depth > 8 else read_bytes)


def _add_packed(folder: Path, mosaic: np.ndarray, made: list[Kind]) -> None:
    """Bytes of packed pixels, read by a side-car: it is what is mutated."""
    for dtype, bits in (("RAW10", 10), ("Mono12p", 12), ("Mono12Packed", 12)):
        content = mosaic.tobytes()[: mosaic.shape[0] * (mosaic.shape[1] * bits // 8 + 2)]
        text = f'cfa = "QUAD"\nblack = 64\nwhite = 4095\nsize = [24, 32]\ndtype = "{dtype}"\n'
        text += f"stride = {mosaic.shape[1] * bits // 8 + 2}\nshift = 0\niso = 100\n"
        made.append(Kind(f"packed {dtype}", text.encode(), "a.toml", {"a.raw": content}, read_beside))


def read_beside(path: Path) -> None:
    """Read the headerless file that a side-car lies beside."""
    read_frame(path.with_suffix(".raw"))


def _add_lists(dng: bytes, made: list[Kind]) -> None:
    """Lists and names by which the readers of published data sets sort."""
    lines = b"./Sony/short/1_00_0.1s.ARW ./Sony/long/1_00_10s.ARW ISO100 F8\n"
    frames = {f"Sony/{name}.ARW": dng for name in ("short/1_00_0.1s", "long/1_00_10s")}
    made.append(Kind("sid list", lines, "Sony_train_list.txt", frames, collect_all))
    videos = {f"{name}.ARW": dng for name in ("short/0001/0", "short/0001/1", "long/0001/half0001")}
    made.append(Kind("smid list", b"0001\n", "train_list.txt", videos, collect_all))
