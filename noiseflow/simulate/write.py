"""Simulate a folder of raw files with clean twins."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.progress import Progress, silent
from noiseflow.core.version import __version__
from noiseflow.raw.formats.dng import SMALLEST, dng_bytes
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import cell_side
from noiseflow.simulate.cameras import load_camera
from noiseflow.simulate.manifest import MANIFEST
from noiseflow.simulate.physics import CameraPhysics, expose
from noiseflow.simulate.scenes import WHITE_BALANCE, in_pattern, render, scene_names

__all__ = ["checked_camera", "image_of", "simulate", "truth_of"]

MAKE = "Simulated"
"""Make of all simulated cameras, so that their files are not mistaken for those of real ones."""

EXPOSURE_S = 0.01
"""Exposure time in seconds of a full exposure."""


def simulate(
    out: str | Path,
    camera: str,
    isos: Sequence[float] | None = None,
    *,
    scenes: int = 8,
    size: tuple[int, int] = (512, 768),
    seed: int = 0,
    frames: int = 1,
    light: float = 1.0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write noisy DNG files and their clean twins.

    The clean twin is a 16-bit DNG with black and white level scaled by a power of two.  Noise is
    simulated for the rounded codes of the twin, so the twin has no error.  The scene has the same
    brightness at every ISO, as if the exposure were adjusted; the ISO changes only the noise.

    Parameters
    ----------
    out : path
        Folder to write.  Its ``simulation.json`` lists scenes, files and the physics.
    camera : str
        Name of the camera, see `noiseflow.simulate.camera_names`.
    isos : sequence of float, optional
        ISOs to simulate; by default all that are known for the camera.
    scenes : int
        Number of scenes, each simulated at every ISO.
    size : tuple of int
        (H, W) of the mosaic in pixels, both even.
    seed : int
        Seed of all random numbers; each frame has its own stream.
    frames : int
        Number of noisy frames of each scene at each ISO.
    light : float
        Exposure as a fraction of the full one, in (0, 1]; 0.01 corresponds to the "ratio 100" of
        low-light data sets.
    overwrite : bool
        Replace an earlier simulation in `out`.
    progress : Progress
        Called after each frame.

    Returns
    -------
    dict
        The content of ``simulation.json``.

    Raises
    ------
    RawError
        If the camera or an ISO is unknown, the size is odd or too small, or `light` is out of range.
    OutputError
        If `out` may not be written, or the disk is too small.
    """
    physics, chosen = checked_camera(camera, isos, size)
    if not 0 < light <= 1:
        raise RawError(f"light {light:g}: expected more than 0 and at most 1 (the full exposure)")
    total = scenes * len(chosen) * frames
    # Count the clean twins too.
    needs = 2 * size[0] * size[1] * scenes * len(chosen) * (frames + 1)
    with (
        writing(out, folder=True, overwrite=overwrite, needs=needs) as out,
        whole_folder(out, "simulation", overwrite=overwrite) as partial,
    ):
        entries: list[dict[str, Any]] = []
        for index, name in enumerate(scene_names(scenes)):
            levels = light * render(name, size, np.random.default_rng((seed, index)))
            for iso in chosen:
                done = len(entries) * frames
                reported = _part(progress, done, total)
                # Seeded by the ISO itself, so that its frames do not depend on the other ISOs.
                iso_seed = np.random.SeedSequence((seed, index, round(iso)))
                clean = _clean_twin(levels, physics, iso, EXPOSURE_S * light)
                entries.append(_write_scene(partial, name, clean, physics, iso, iso_seed.spawn(frames), reported))
        manifest = {
            "schema": 1,
            "tool": f"noiseflow {__version__}",
            "camera": camera,
            "physics": asdict(physics),
            "seed": seed,
            "size": list(size),
            "light": light,
            "truth": truth_of(physics, chosen),
            "scenes": entries,
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def checked_camera(
    camera: str, isos: Sequence[float] | None, size: tuple[int, int]
) -> tuple[CameraPhysics, list[float]]:
    """Load a camera and check the arguments of a simulation.

    Parameters
    ----------
    camera : str
        Name of the camera.
    isos : sequence of float or None
        ISOs to simulate; None for all that are known for the camera.
    size : tuple of int
        (H, W) of the mosaic in pixels.

    Returns
    -------
    physics : CameraPhysics
        The camera.
    isos : list of float
        ISOs to simulate.

    Raises
    ------
    RawError
        If the camera or an ISO is unknown, or the size is odd or too small.
    """
    physics = load_camera(camera)
    chosen = [float(iso) for iso in (isos or sorted(physics.isos))]
    for iso in chosen:
        physics.at(iso)
    if min(size) < SMALLEST or size[0] % 2 or size[1] % 2:
        raise RawError(f"size {size[0]}×{size[1]}: expected even numbers of at least {SMALLEST}")
    return physics, chosen


def _part(progress: Progress, before: int, total: int) -> Progress:
    """Report the progress of one scene at one ISO as part of the whole."""
    return lambda done, _, note="": progress(before + done, total, note)


def _write_scene(
    folder: Path,
    name: str,
    clean: RawImage,
    physics: CameraPhysics,
    iso: float,
    seeds: Sequence[np.random.SeedSequence],
    progress: Progress,
) -> dict[str, Any]:
    """Write the clean twin and the noisy frames of a scene at one ISO; return its entry in the manifest."""
    clean_name, noisy_names = f"{name}_ISO{iso:g}_CLEAN.dng", []
    _write_dng(folder / clean_name, clean)
    # All planes have the same black level.
    black, white = clean.black[0], clean.white
    signal_dn = np.maximum((clean.mosaic - black) / (white - black), 0) * (physics.white_dn - physics.black_dn)
    exposure_s = clean.exposure_s or EXPOSURE_S
    for number, child in enumerate(seeds):
        mosaic = expose(signal_dn, physics, iso, np.random.default_rng(child))
        noisy_names.append(f"{name}_ISO{iso:g}_NOISY_{number:03d}.dng")
        image = image_of(mosaic, physics, iso, physics.black_dn, physics.white_dn, exposure_s)
        _write_dng(folder / noisy_names[-1], image, [physics.noise_profile(iso)])
        progress(number + 1, len(seeds), noisy_names[-1])
    return {"name": name, "iso": iso, "clean": clean_name, "noisy": noisy_names}


def _write_dng(path: Path, image: RawImage, noise_profile: Sequence[tuple[float, float]] | None = None) -> None:
    """Write a file into a private folder."""
    path.write_bytes(dng_bytes(path, image, noise_profile=noise_profile, neutral=WHITE_BALANCE))


def truth_of(physics: CameraPhysics, isos: Sequence[float]) -> dict[str, Any]:
    """True parameters of simulated noise: camera name in the files → parameters, with lists over the ISOs."""
    name = image_of(np.zeros((1, 1), np.uint16), physics, isos[0], physics.black_dn, physics.white_dn).camera
    at = [physics.at(iso) for iso in isos]
    return {
        name: {
            "isos": list(isos),
            "gain_dn_per_e": [each.gain_dn_per_e for each in at],
            "read_shape": physics.read_shape,
            "read_scale_dn": [each.read_scale_dn for each in at],
            "read_lambda": [each.read_lambda for each in at],
            "row_sigma_dn": [each.row_sigma_dn for each in at],
            "black_dn": physics.black_dn,
            "white_dn": physics.white_dn,
        }
    }


def _clean_twin(levels: NDArray[np.float64], physics: CameraPhysics, iso: float, exposure_s: float) -> RawImage:
    """Make the clean twin, with levels scaled by the largest power of two that fits into 16 bits."""
    factor = 2 ** int(np.floor(np.log2((2**16 - 1) / physics.white_dn)))
    black, white = physics.black_dn * factor, physics.white_dn * factor
    mosaic = in_pattern(levels, physics.cfa)
    codes = np.clip(np.rint(black + mosaic * (white - black)), black, white).astype(np.uint16)
    return image_of(codes, physics, iso, black, white, exposure_s)


def image_of(
    mosaic: NDArray[np.uint16],
    physics: CameraPhysics,
    iso: float,
    black: float,
    white: float,
    exposure_s: float = EXPOSURE_S,
) -> RawImage:
    """Make a frame with the metadata of the simulated camera.

    Parameters
    ----------
    mosaic : ndarray of uint16, shape (H, W)
        Codes in DN.
    physics : CameraPhysics
        The camera.
    iso : float
        ISO.
    black, white : float
        Levels in DN.
    exposure_s : float
        Exposure time in seconds.
    """
    return RawImage(
        mosaic=mosaic,
        cfa=physics.cfa,
        black=(float(black),) * cell_side(physics.cfa) ** 2,
        white=float(white),
        iso=iso,
        exposure_s=exposure_s,
        make=MAKE,
        model=physics.name,
        source=f"simulated {physics.name}",
    )
