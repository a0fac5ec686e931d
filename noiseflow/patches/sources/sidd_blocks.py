"""SIDD's Validation and Benchmark block files: 40 instances of 32 blocks of 256×256 in one array.

``ValidationNoisyBlocksRaw.mat`` belongs to ``ValidationGtBlocksRaw.mat`` (both MATLAB version 5);
``BenchmarkNoisyBlocksRaw.mat`` has no ground truth.  Each block makes a scene.  The files contain
the signal in [0, 1] without levels: black is taken as 0, and the number of codes between black
and white follows from the spacing of an instance's values.  The cameras of SIDD's 40 instances
are published; for files of another camera the user gives its name.
"""

import tempfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.sources.scene import Collection, Frame, Scene
from noiseflow.patches.sources.sidd_departures import shape_departure
from noiseflow.patches.sources.sidd_published import facts_of, published
from noiseflow.raw.formats.sidd import SceneName, restored, signal_in_dn
from noiseflow.raw.guards import MAX_PIXELS, decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "read_block", "recognises"]

SETS = {"Validation": "val", "Benchmark": "test"}
"""First word of a file's name → the split of its blocks."""

MANY_CODES = 2**16 - 1
"""Number of codes assumed if the spacing of the values is not found; fine enough to lose nothing."""


def recognises(path: Path) -> bool:
    """Whether a path is a file of noisy blocks, or a folder that contains one."""
    return bool(_files(path))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each block of each file.

    Raises
    ------
    RawError
        If a file is damaged, or the cameras of its instances are unknown.
    """
    scenes: list[Scene] = []
    report: list[str] = []
    for noisy in _files(path):
        which = noisy.name.removesuffix("NoisyBlocksRaw.mat")
        clean = noisy.with_name(f"{which}GtBlocksRaw.mat")
        instances, blocks = _shape(noisy)
        if clean.is_file() and _shape(clean) != (instances, blocks):
            raise RawError(f"{clean}: has {_shape(clean)} instances and blocks; {noisy.name} has {instances, blocks}")
        if not clean.is_file():
            report.append(f"{noisy}: {clean.name} is missing; its blocks have no clean signal")
        names = _names(noisy, instances, settings)
        report += shape_departure(noisy, _array_of(noisy)[1]) if names else ()
        report += [] if names else [f"{noisy}: {instances} instances of {settings.camera}, given by --camera"]
        for index in range(instances):
            name = names[index] if names else f"{index + 1:02d}"
            parsed = SceneName.parse(name)
            scenes += [
                Scene(
                    name=f"{which}/{name}/{block:02d}",
                    frames=(Frame(noisy, partial(read_block, noisy, noisy, index, block, settings)),),
                    clean=Frame(clean, partial(read_block, clean, noisy, index, block, settings))
                    if clean.is_file()
                    else None,
                    subject=f"{which}/{name}",
                    split=SETS[which],
                    facts={**(facts_of(parsed) if parsed is not None else {}), "block": block},
                )
                for block in range(blocks)
            ]
    return Collection(tuple(scenes), report=tuple(report))


def read_block(path: Path, noisy: Path, index: int, block: int, settings: RawSettings) -> RawImage:
    """Read one block: integer codes of a noisy file, or fractional DN of a ground truth.

    Parameters
    ----------
    path : Path
        File of noisy blocks or of their ground truth.
    noisy : Path
        The file of noisy blocks, from which the number of codes is found.
    index, block : int
        Number of the instance, and of the block in it, from 0.
    settings : RawSettings
        The user's settings; they override the published facts.

    Raises
    ------
    RawError
        If the file is damaged or has another shape.
    """
    names = _names(noisy, _shape(noisy)[0], settings)
    name = SceneName.parse(names[index]) if names else None
    black = (settings.black or (0.0,))[0]
    white = settings.white or black + _codes(noisy, noisy.stat().st_mtime_ns, index)
    signal = np.nan_to_num(_blocks(path, path.stat().st_mtime_ns)[index, block])
    mosaic = restored(signal, black, white, str(path)) if path == noisy else signal_in_dn(signal, black, white)
    where = {"black": "SIDD's normalised signal", "white": "the spacing of the values"}
    if name is None:
        return settings.image(
            mosaic, f"{path} (instance {index + 1}, block {block})", black=(black,), white=white, where=where
        )
    return settings.image(
        mosaic,
        f"{path} ({names[index]}, block {block})",
        cfa=published().cfa[name.camera],
        black=(black,),
        white=white,
        iso=name.iso,
        exposure_s=name.exposure_s,
        model=name.camera,
        where={**where, **dict.fromkeys(("cfa", "iso", "exposure_s"), "SIDD's published names")},
    )


def _names(noisy: Path, instances: int, settings: RawSettings) -> tuple[str, ...]:
    """SIDD's published names of the instances; empty if the user named another camera.

    Raises
    ------
    RawError
        If the number of instances is not SIDD's and no camera was given.
    """
    names = published().blocks
    if settings.camera is not None:
        return ()
    if instances != len(names):
        raise RawError(
            f"{noisy}: has {instances} instances; SIDD's files have {len(names)}, whose cameras and ISOs are "
            "published; for another camera give --camera, --cfa and --iso"
        )
    return names


def _files(path: Path) -> list[Path]:
    names = {f"{which}NoisyBlocksRaw.mat" for which in SETS}
    if path.is_dir():
        return sorted(path / name for name in names if (path / name).is_file())
    return [path] if path.is_file() and path.name in names else []


def _shape(path: Path) -> tuple[int, int]:
    """Number of instances in a file, and of blocks per instance."""
    with decoding(path, "a MAT file of version 5"):
        shape = tuple(int(length) for length in _array_of(path)[1])
    if len(shape) != 4 or np.prod(shape, dtype=np.float64) > MAX_PIXELS:
        raise RawError(f"{path}: contains an array of shape {shape}; expected 40×32 blocks of 256×256")
    return shape[0], shape[1]


def _array_of(path: Path) -> tuple[str, tuple[int, ...]]:
    for name, shape, _ in scipy.io.whosmat(path):
        if name == path.stem:
            return name, shape
    raise RawError(f"{path}: contains no array {path.stem!r}; is it the file that its name says?")


@lru_cache(maxsize=2)
def _blocks(path: Path, modified_ns: int) -> NDArray[Any]:
    """Blocks of a file, shape (40, 32, 256, 256), mapped from a temporary file to save memory."""
    with decoding(path, "a MAT file of version 5"):
        name, shape = _array_of(path)
        array = scipy.io.loadmat(path, variable_names=[name])[name]
    with tempfile.TemporaryFile() as file:
        # MATLAB's order scatters each block over the whole array, so reorder it once, instance by instance.
        for instance in array:
            file.write(np.ascontiguousarray(instance, np.float32).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r", shape=shape)


@lru_cache(maxsize=64)
def _codes(path: Path, modified_ns: int, index: int) -> float:
    """Number of codes between black and white: 1 / (smallest spacing of values), if all values are multiples of it."""
    values = np.unique(np.asarray(_blocks(path, modified_ns)[index], np.float64))
    values = values[np.isfinite(values)]
    steps = np.diff(values)
    steps = steps[steps > 1 / MANY_CODES]
    if not steps.size:
        return float(MANY_CODES)
    codes = float(np.rint(1 / steps.min()))
    whole = np.abs(values * codes - np.rint(values * codes)).max() < 0.01
    return codes if whole else float(MANY_CODES)
