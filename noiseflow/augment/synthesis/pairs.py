"""One pair of a synthesised data set: a clean picture, what was drawn for it, and its two files."""

import hashlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from noiseflow.augment.distributions import Distribution
from noiseflow.augment.frames.frame import sample_frame
from noiseflow.core.errors import DataError, ExtrapolationWarning
from noiseflow.core.output.marks import MARK
from noiseflow.core.output.names import private_name
from noiseflow.models import NoiseModel, load
from noiseflow.patches.assembly.parts import write_whole
from noiseflow.patches.checksums import file_sha256
from noiseflow.patches.ingestion.plan import stamp
from noiseflow.patches.sources import Frame
from noiseflow.raw.bayer import unpack
from noiseflow.raw.formats.dng import dng_bytes
from noiseflow.raw.image import RawImage

__all__ = ["FORMATS", "NOTES", "Choice", "Pair", "Recipe", "make_pair", "note_file", "read_note"]

FORMATS = ("dng", "h5")
"""Suffixes of the files of a pair; both are read by `noiseflow.raw.read_raw`."""

NOTES = ".pairs"
"""Folder of the notes of pairs that are done, until the manifest is made of them."""


@dataclass(frozen=True)
class Choice:
    """A camera that may be drawn: its run folder, what the run is known by, and its ISOs."""

    camera: str
    run: Path
    checksum: str
    iso: Distribution


@dataclass(frozen=True)
class Recipe:
    """What holds for all pairs.

    Parameters
    ----------
    choices : tuple of Choice
        Each as likely as the others.
    exposure : Distribution
        Factor on the clean signal, at most 1.
    kind : str
        One of `FORMATS`.
    seed : int
    one_twin : bool
        Whether the pairs of a picture share their clean twin, their exposures being the same.
    """

    choices: tuple[Choice, ...]
    exposure: Distribution
    kind: str
    seed: int
    one_twin: bool


@dataclass(frozen=True)
class Pair:
    """A pair to be made: the clean frame, the picture's name (its path without suffix) and the pair's number."""

    frame: Frame
    picture: str
    number: int

    @property
    def name(self) -> str:
        """Unique in the set."""
        return f"{self.picture}_{self.number:03d}"


def note_file(folder: Path, pair: Pair) -> Path:
    """Where a pair's line of the manifest waits for the others."""
    return folder / NOTES / f"{pair.name}.json"


def read_note(folder: Path, pair: Pair) -> dict[str, Any] | None:
    """The line of a pair that is done, and whose clean file is still what it was; else None."""
    path = note_file(folder, pair)
    if not path.exists():
        return None
    note = json.loads(path.read_text(encoding="utf-8"))
    line: dict[str, Any] = note["line"]
    return line if note["stamp"] == list(stamp(pair.frame.path)) else None


def make_pair(folder: Path, pair: Pair, recipe: Recipe) -> str:
    """Draw and write one pair; it is done when its note is there, which is written last.

    What is drawn hangs on the seed, the picture's name and the pair's number: not on the
    other pictures, nor on who draws.

    Returns
    -------
    str
        The pair's name.

    Raises
    ------
    NoiseflowError
        The clean file cannot be read, or does not fit the model; the files cannot be written.
    """
    before = stamp(pair.frame.path)
    image = _even(pair.frame.read())
    words = np.random.SeedSequence((recipe.seed, _number(pair.picture), pair.number)).generate_state(4)
    camera_at, iso_at, exposure_at = (
        torch.tensor((int(word) + 0.5) / 2**32, dtype=torch.float64) for word in words[:3]
    )
    choice = recipe.choices[int(float(camera_at) * len(recipe.choices))]
    # Whole, as a DNG stores it.
    iso, factor = float(choice.iso(iso_at).round()), min(1.0, float(recipe.exposure(exposure_at)))
    exposure_s = None if image.exposure_s is None else image.exposure_s * factor
    twin = _twin(replace(image, exposure_s=exposure_s), factor, recipe.kind)
    with _one_thread(), warnings.catch_warnings():
        # Said once, before all pairs.
        warnings.simplefilter("ignore", ExtrapolationWarning)
        model = _model(choice.run, choice.checksum)
        sampled = sample_frame(model, twin, iso=iso, camera=choice.camera, seed=int(words[3]))
    # In the camera's own codes: the twin's are finer.
    noisy = replace(
        image.with_signal(sampled.signal),
        make="",
        model=choice.camera,
        iso=iso,
        exposure_s=exposure_s,
        noise_profile=sampled.image.noise_profile,
    )
    twin_name = pair.picture if recipe.one_twin else pair.name
    files = {"noisy": f"{pair.name}_NOISY.{recipe.kind}", "clean": f"{twin_name}_CLEAN.{recipe.kind}"}
    for kind, each in (("noisy", noisy), ("clean", twin)):
        _write(folder / files[kind], each)
    if stamp(pair.frame.path) != before:
        raise DataError(f"{pair.frame.path}: changed while it was read; give the command again when it is whole")
    note = {
        "name": pair.name,
        "picture": pair.picture,
        "source": str(pair.frame.path),
        "source_sha256": file_sha256(pair.frame.path),
        "camera": choice.camera,
        "iso": iso,
        "exposure": factor,
        "seed": int(words[3]),
        "run_sha256": choice.checksum,
        **files,
        **{f"{kind}_sha256": file_sha256(folder / file) for kind, file in files.items()},
    }
    path = note_file(folder, pair)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"stamp": before, "line": note}).encode())
    return pair.name


@lru_cache(maxsize=4)
def _model(run: Path, checksum: str) -> NoiseModel:
    return load(run)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of one order: the same bits whatever the processors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _even(image: RawImage) -> RawImage:
    """Without an odd last row or column, to which no plane belongs."""
    height, width = (length - length % 2 for length in image.mosaic.shape)
    if not (height and width):
        raise DataError(f"{image.source}: {image.mosaic.shape} pixels have no whole 2×2 cell")
    return replace(image, mosaic=image.mosaic[:height, :width])


def _twin(image: RawImage, exposure: float, kind: str) -> RawImage:
    """The clean signal as it will be stored, which is what the noise is drawn for.

    HDF5 holds it in float32 and the camera's own DN; a DNG on the finest grid of 16-bit
    codes that is a power of two finer than the camera's.
    """
    black, white = image.levels()
    image = replace(image, noise_profile=())
    signal = image.normalised() * exposure
    if not np.isfinite(signal).all():
        raise DataError(f"{image.source}: holds NaN or infinite values; expected a clean signal in DN")
    if kind == "h5":
        exact = (signal * (white - black) + black).astype(np.float32)
        return replace(image, mosaic=unpack(exact, image.cfa))
    factor = 2 ** max(0, int(np.floor(np.log2((2**16 - 1) / white))))
    finer = replace(image, black=tuple(level * factor for level in image.black), white=white * factor)
    return finer.with_signal(signal)


def _write(path: Path, image: RawImage) -> None:
    """Write a file that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two may write the same twin at once.
    partial = path.with_name(private_name(path.suffix))
    try:
        if path.suffix == ".dng":
            partial.write_bytes(dng_bytes(path, image))
        else:
            _write_hdf5(partial, image)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_hdf5(path: Path, image: RawImage) -> None:
    """As `noiseflow.raw.formats.hdf5` reads it."""
    said = {name: getattr(image, name) for name in ("cfa", "black", "white", "iso", "exposure_s", "make", "model")}
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["made_by"] = MARK
        data = file.create_dataset("mosaic", data=image.mosaic, compression="gzip", shuffle=True)
        data.attrs.update({name: value for name, value in said.items() if value is not None})
    # In one go: of a full disk Python tells more than HDF5 does.
    path.write_bytes(content.getbuffer())
