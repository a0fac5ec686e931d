"""One pair of a synthesised data set: its clean picture, its random parameters and its two files."""

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
from noiseflow.core.output.ends import END, ENDED
from noiseflow.core.output.leftovers import private_name
from noiseflow.core.output.marks import MARK
from noiseflow.models import NoiseModel, load
from noiseflow.patches.assembly.parts import write_whole
from noiseflow.patches.checksums import file_sha256
from noiseflow.patches.ingestion.plan import stamp
from noiseflow.patches.sources import Frame
from noiseflow.raw.bayer import unpack
from noiseflow.raw.formats.dng import dng_bytes
from noiseflow.raw.image import RawImage

__all__ = ["FORMATS", "NOTES", "CameraChoice", "PairTask", "Recipe", "make_pair", "note_file", "read_note"]

FORMATS = ("dng", "h5")
"""Suffixes of the files of a pair, both readable by `noiseflow.raw.read_raw`."""

NOTES = ".pairs"
"""Folder with one note per finished pair, from which the manifest is written at the end."""


@dataclass(frozen=True)
class CameraChoice:
    """A camera to choose from: name, run folder or profile of its model, its checksum, and distribution of its ISO."""

    camera: str
    run: Path
    checksum: str
    iso: Distribution


@dataclass(frozen=True)
class Recipe:
    """Settings common to all pairs.

    Parameters
    ----------
    choices : tuple of CameraChoice
        Cameras to choose from, all equally likely.
    exposure : Distribution
        Factor on the clean signal, at most 1.
    kind : str
        File format, one of `FORMATS`.
    seed : int
        Seed of all draws.
    one_twin : bool
        Whether the pairs of a picture share one clean file, because all have the same exposure.
    device : str
        PyTorch device on which noise is sampled.
    """

    choices: tuple[CameraChoice, ...]
    exposure: Distribution
    kind: str
    seed: int
    one_twin: bool
    device: str = "cpu"


@dataclass(frozen=True)
class PairTask:
    """A pair to make: its clean frame, the picture's name (path without suffix), and the number of the pair."""

    frame: Frame
    picture: str
    number: int

    @property
    def name(self) -> str:
        """Name of the pair, unique within the data set."""
        return f"{self.picture}_{self.number:03d}"


def note_file(folder: Path, pair: PairTask) -> Path:
    """Path of the note with the manifest line of a finished pair."""
    return folder / NOTES / f"{pair.name}.json"


def read_note(folder: Path, pair: PairTask) -> dict[str, Any] | None:
    """Manifest line of a finished pair; None if it is unfinished, its clean file has changed or its note is damaged."""
    path = note_file(folder, pair)
    if not path.exists():
        return None
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        line: dict[str, Any] = note["line"]
        made_of = note["stamp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return line if made_of == list(stamp(pair.frame.path)) else None


def make_pair(folder: Path, pair: PairTask, recipe: Recipe) -> str:
    """Draw and write one pair; its note, written last, marks it as finished.

    The draws depend only on the seed, the picture's name and the pair's number, not on other pictures or the
    process.

    Returns
    -------
    str
        Name of the pair.

    Raises
    ------
    NoiseflowError
        The clean file cannot be read or does not match the model, or the files cannot be written.
    """
    before = stamp(pair.frame.path)
    image = _even(pair.frame.read())
    words = np.random.SeedSequence((recipe.seed, _number(pair.picture), pair.number)).generate_state(4)
    camera_at, iso_at, exposure_at = (
        torch.tensor((int(word) + 0.5) / 2**32, dtype=torch.float64) for word in words[:3]
    )
    choice = recipe.choices[int(float(camera_at) * len(recipe.choices))]
    # A DNG stores the ISO as a whole number.
    iso, factor = float(choice.iso(iso_at).round()), min(1.0, float(recipe.exposure(exposure_at)))
    exposure_s = None if image.exposure_s is None else image.exposure_s * factor
    twin = _twin(replace(image, exposure_s=exposure_s), factor, recipe.kind)
    with _one_thread(), warnings.catch_warnings():
        # `synthesize` has already warned about extrapolation.
        warnings.simplefilter("ignore", ExtrapolationWarning)
        model = _model(choice.run, choice.checksum, recipe.device)
        sampled = sample_frame(model, twin, iso=iso, camera=choice.camera, seed=int(words[3]))
    # The noisy frame has the camera's codes; the clean twin may have finer ones.
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
        raise DataError(f"{pair.frame.path}: changed while it was read; repeat the command when it is complete")
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
def _model(run: Path, checksum: str, device: str) -> NoiseModel:
    return load(run).to(device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context with one thread, so that sums have the same order and bits on any number of processors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _even(image: RawImage) -> RawImage:
    """Crop rows and columns that do not belong to whole cells."""
    side = image.side
    height, width = (length - length % side for length in image.mosaic.shape)
    if not (height and width):
        raise DataError(f"{image.source}: {image.mosaic.shape} pixels; expected at least one {side}×{side} cell")
    return replace(image, mosaic=image.mosaic[:height, :width])


def _twin(image: RawImage, exposure: float, kind: str) -> RawImage:
    """Clean frame as it will be stored, for which the noise is drawn.

    HDF5 stores float32 in the camera's DN.  A DNG stores 16-bit codes, finer than the camera's by the largest
    power of two that fits.
    """
    black, white = image.levels()
    image = replace(image, noise_profile=())
    signal = image.normalised() * exposure
    if not np.isfinite(signal).all():
        raise DataError(f"{image.source}: contains NaN or infinite values; expected a clean signal in DN")
    if kind == "h5":
        exact = (signal * (white - black) + black).astype(np.float32)
        return replace(image, mosaic=unpack(exact, image.cfa))
    factor = 2 ** max(0, int(np.floor(np.log2((2**16 - 1) / white))))
    finer = replace(image, black=tuple(level * factor for level in image.black), white=white * factor)
    return finer.with_signal(signal)


def _write(path: Path, image: RawImage) -> None:
    """Write a frame atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same clean twin at once.
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
    """Write the HDF5 layout that `noiseflow.raw.formats.hdf5` reads."""
    said = {name: getattr(image, name) for name in ("cfa", "black", "white", "iso", "exposure_s", "make", "model")}
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs.update({"made_by": MARK, ENDED: True})
        data = file.create_dataset("mosaic", data=image.mosaic, compression="gzip", shuffle=True)
        data.attrs.update({name: value for name, value in said.items() if value is not None})
    # Written at once by Python, which reports a full disk better than HDF5.
    content.seek(0, io.SEEK_END)
    content.write(END)
    path.write_bytes(content.getbuffer())
