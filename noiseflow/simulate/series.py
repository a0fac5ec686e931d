"""Simulate the frames needed to calibrate a camera: flats, darks and a burst."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.progress import Progress, silent
from noiseflow.raw.formats.dng import dng_bytes
from noiseflow.simulate.physics import CameraPhysics, expose
from noiseflow.simulate.scenes import in_pattern, render, scene_names
from noiseflow.simulate.write import checked_camera, image_of

__all__ = ["BURST", "DARKS", "LEVELS", "simulate_series"]

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0, 1.1)
"""Exposures of the flats as fractions of the one that fills the range; two frames each."""

DARKS = {0.001: 20, 1.0: 2}
"""Exposure time in seconds → number of dark frames."""

BURST = 8
"""Number of frames of the static scene."""

FULL_S = 0.1
"""Exposure time in seconds at which the flats fill the range."""


def simulate_series(
    out: str | Path,
    camera: str,
    isos: Sequence[float] | None = None,
    *,
    size: tuple[int, int] = (512, 768),
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[Path]:
    """Write DNG frames for a calibration as in docs/calibrate.md: folders ``flats``, ``darks`` and ``burst``.

    The simulated sensor has no dark current, fixed pattern or PRNU.

    Parameters
    ----------
    out : path
        Folder to write.
    camera : str
        Name of the camera, see `noiseflow.simulate.camera_names`.
    isos : sequence of float, optional
        ISOs to simulate; by default all that are known for the camera.  The burst has the first.
    size : tuple of int
        (H, W) of the mosaic in pixels, both even.
    seed : int
        Seed of all random numbers.
    overwrite : bool
        Replace an earlier series in `out`.
    progress : Progress
        Called after each frame.

    Returns
    -------
    list of Path
        The files, in the order in which they were written.

    Raises
    ------
    RawError
        If the camera or an ISO is unknown, or the size is odd or too small.
    OutputError
        If `out` may not be written, or the disk is too small.
    """
    physics, chosen = checked_camera(camera, isos, size)
    shots = _shots(physics, chosen, size, seed)
    with (
        writing(out, folder=True, overwrite=overwrite, needs=2 * size[0] * size[1] * len(shots)) as out,
        whole_folder(out, "simulation", overwrite=overwrite) as partial,
    ):
        for index, shot in enumerate(shots):
            path = partial / shot.name
            path.parent.mkdir(exist_ok=True)
            mosaic = expose(shot.signal_dn, physics, shot.iso, np.random.default_rng((seed, 1, index)))
            image = image_of(mosaic, physics, shot.iso, physics.black_dn, physics.white_dn, shot.seconds)
            path.write_bytes(dng_bytes(path, image))
            progress(index + 1, len(shots), path.name)
    return [out / shot.name for shot in shots]


@dataclass(frozen=True)
class _Shot:
    """A frame to simulate: path in the folder, ISO, exposure time in s, expected signal (H, W) above black in DN."""

    name: str
    iso: float
    seconds: float
    signal_dn: NDArray[np.float64]


def _shots(physics: CameraPhysics, isos: Sequence[float], size: tuple[int, int], seed: int) -> list[_Shot]:
    """List the flats, darks and burst frames in the order in which they are written."""
    span = physics.white_dn - physics.black_dn
    scene = in_pattern(render(scene_names(1)[0], size, np.random.default_rng((seed, 0))), physics.cfa)
    flat, dark = np.full(size, span), np.zeros(size)
    shots = [
        _Shot(f"flats/flat_ISO{iso:g}_{level:g}_{index}.dng", iso, FULL_S * level, level * flat)
        for iso in isos
        for level in LEVELS
        for index in range(2)
    ]
    shots += [
        _Shot(f"darks/dark_ISO{iso:g}_{seconds:g}_{index:02d}.dng", iso, seconds, dark)
        for iso in isos
        for seconds, frames in DARKS.items()
        for index in range(frames)
    ]
    still = np.maximum(scene, 0) * span
    return shots + [_Shot(f"burst/frame_{index}.dng", isos[0], FULL_S, still) for index in range(BURST)]
