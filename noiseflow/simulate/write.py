"""A folder of raw files with clean twins, as a camera of known physics would have written it."""

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
"""Make of every simulated camera, so that its files never pass for those of the real one."""

EXPOSURE_S = 0.01


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

    The clean twin is a 16-bit DNG with black and white level scaled by a power of two.
    The expected signal *is* its codes, so that the twin has no error of its own; the ISO
    brightens the picture only through the noise, the exposure being taken as set for it.

    Parameters
    ----------
    out : path
        Folder; ``simulation.json`` in it is written last, and lists scenes, files and the
        physics.
    camera : str
        See `noiseflow.simulate.camera_names`.
    isos : sequence of float, optional
        All that are known of the camera if None.
    scenes : int
        Number of scenes, each taken at every ISO.
    size : tuple of int
        (H, W) of the mosaic, even.
    seed : int
        Each frame draws from its own child of it.
    frames : int
        Noisy frames of each scene at each ISO.
    light : float
        Exposure as a fraction of the full one, in (0, 1]: 0.01 is the "ratio 100" of extreme
        low light.
    overwrite : bool
        Whether a simulation in `out` may be replaced.
    progress : Progress
        Called after each frame.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    RawError
        Unknown camera or ISO, odd size, no light or too much.
    OutputError
        `out` is in the way, or the disk too small.
    """
    physics, chosen = checked_camera(camera, isos, size)
    if not 0 < light <= 1:
        raise RawError(f"light {light:g}: expected more than 0 and at most 1, the full exposure")
    total = scenes * len(chosen) * frames
    # The clean twins are frames too.
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
                # By the ISO itself, so that its frames are the same whatever other ISOs there are.
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
    """Physics of a camera, and the ISOs to simulate: those given, or all that are known of it.

    Raises
    ------
    RawError
        Unknown camera or ISO, or a size (H, W) of the mosaic that is odd or too small.
    """
    physics = load_camera(camera)
    chosen = [float(iso) for iso in (isos or sorted(physics.isos))]
    for iso in chosen:
        physics.at(iso)
    if min(size) < SMALLEST or size[0] % 2 or size[1] % 2:
        raise RawError(f"size {size[0]}×{size[1]}: expected even numbers of at least {SMALLEST}")
    return physics, chosen


def _part(progress: Progress, before: int, total: int) -> Progress:
    """Progress of one scene at one ISO as part of all."""
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
    """Write the clean twin of a scene at one ISO and its noisy frames; its entry of the manifest."""
    clean_name, noisy_names = f"{name}_ISO{iso:g}_CLEAN.dng", []
    _write_dng(folder / clean_name, clean)
    # One black level for all planes.
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
    """Write a file of a private folder, which is whole when it gets its name."""
    path.write_bytes(dng_bytes(path, image, noise_profile=noise_profile, neutral=WHITE_BALANCE))


def truth_of(physics: CameraPhysics, isos: Sequence[float]) -> dict[str, Any]:
    """What the noise of simulated files is drawn from, by the camera's name in them."""
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
    """The expected signal, on the finest grid of 16-bit codes that is a power of two finer."""
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
    """A frame as the simulated camera would label it; levels in DN."""
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
