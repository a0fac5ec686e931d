"""Denoising of a raw file to a new file: the work of ``noiseflow denoise``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.raw.formats.tags.carried import carried_from, noise_reduction
from noiseflow.raw.image import RawImage
from noiseflow.raw.reading import read_raw
from noiseflow.raw.settings import RawSettings

__all__ = ["PICTURES", "DenoisedPhoto", "denoise_photo_file", "read_photo"]

PICTURES = frozenset((".jpg", ".jpeg", ".heic", ".heif", ".avif", ".webp", ".jxl", ".gif", ".bmp"))
"""Suffixes of developed pictures."""


@dataclass(frozen=True, eq=False)
class DenoisedPhoto:
    """Result of denoising a file.

    Parameters
    ----------
    image : RawImage
        The denoised frame.
    network : str
        Network that was used, for the user.
    noise : str
        Source of the noise level, for the user.
    gaps : tuple of str
        Sentences about what the body's maps lack for this frame.
    """

    image: RawImage
    network: str
    noise: str
    gaps: tuple[str, ...] = ()


def read_photo(path: str | Path, settings: RawSettings | None = None) -> RawImage:
    """Read a raw photo that has not been denoised.

    Raises
    ------
    RawError
        The file cannot be read.
    DataError
        The file is a developed picture, or its metadata say that it is already denoised.
    """
    path = Path(path)
    if path.suffix.lower() in PICTURES:
        raise DataError(
            f"{path}: is a developed picture, whose noise is no longer that of the sensor; expected the camera's raw "
            "file. To add raw noise to such pictures for training, use noiseflow.augment.AddNoiseToPictures"
        )
    image = read_raw(path, settings)
    applied = noise_reduction(path)
    if applied > 0:
        raise DataError(
            f"{path}: is already denoised (NoiseReductionApplied is {applied:g}); give the camera's original file"
        )
    return image


def denoise_photo_file(
    noisy: str | Path,
    out: str | Path,
    *,
    denoiser: str | Path | None = None,
    model: str | Path | None = None,
    body: str | Path | None = None,
    iso: float | None = None,
    camera: str | None = None,
    strength: float = 1.0,
    settings: RawSettings | None = None,
    preview: str | Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = silent,
) -> DenoisedPhoto:
    """Denoise a raw photo with the shipped network, or with one trained by ``noiseflow train-denoiser``.

    Parameters
    ----------
    noisy : path
        Raw file of a Bayer camera.
    out : path
        File to write; its suffix selects the format, as in `noiseflow.augment.write_frame`.  A DNG keeps the shot's
        metadata, and records the strength as NoiseReductionApplied.
    denoiser : path, optional
        Run folder of ``noiseflow train-denoiser``; if None, the shipped network.
    model : path or str, optional
        Noise model that gives the noise level, by a name for `noiseflow.load`.  If None, the level comes from the
        file's NoiseProfile, or is measured on its pixels.
    body : path, optional
        Maps of ``noiseflow calibrate --maps``.  Their fixed pattern is removed first, completely, at any strength.
    iso, camera : optional
        ISO and camera for the noise model and the maps; if None, those of the file.
    strength : float
        Fraction of the noise to remove, 0 to 1.
    settings : RawSettings, optional
        Values that override those of the file.
    preview : path, optional
        PNG file for a preview of the developed result.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    overwrite : bool
        Whether existing files may be replaced.
    progress : Progress
        Called after each tile with the number of pixels done.

    Returns
    -------
    DenoisedPhoto
        The frame, and which network and noise level were used.

    Raises
    ------
    OutputError
        An output exists and may not be replaced.
    RawError, DataError, ModelError
        The file, its noise level or a model cannot be used; the message says which and why.
    """
    from noiseflow.augment.frames.preview import check_preview, write_preview
    from noiseflow.augment.frames.write import check_target, write_frame
    from noiseflow.core.output.checks import check_apart, check_output, writing

    noisy, out = Path(noisy), Path(out)
    inputs: Sequence[str | Path] = [path for path in (noisy, denoiser, body) if path is not None]
    if model is not None and Path(model).exists():
        inputs = [*inputs, model]
    with writing(out, inputs=inputs, overwrite=overwrite):
        check_target(out, overwrite=overwrite, inputs=inputs)
        if preview is not None:
            check_output(preview, inputs=inputs, overwrite=overwrite)
            check_preview(preview, overwrite=overwrite)
            check_apart(preview, out)
        # Read the file before importing torch, which takes seconds, so that unusable files are refused at once.
        image = read_photo(noisy, settings)

        from noiseflow.augment.denoise.files import load_photo_denoiser
        from noiseflow.augment.denoise.noise_line import find_noise
        from noiseflow.augment.denoise.photo import check_photo, denoise_photo
        from noiseflow.augment.denoise.shipped import shipped_denoiser
        from noiseflow.augment.denoise.without_body import without_body
        from noiseflow.calibrate.body.body_file import read_body
        from noiseflow.fit.training.session import device_of
        from noiseflow.models.io.named import load

        check_photo(image)
        gaps: list[str] = []
        if body is not None:
            maps = read_body(body)
            gaps = maps.gaps(iso or image.iso, image.exposure_s)
            image = without_body(image, maps, iso=iso, camera=camera)
        network = shipped_denoiser() if denoiser is None else load_photo_denoiser(denoiser)
        noise = find_noise(image, None if model is None else load(model), iso=iso, camera=camera)
        frame = denoise_photo(network.to(device_of(device)), image, noise, strength=strength, progress=progress)
        frame = replace(frame, carried=carried_from(noisy).with_noise_reduction(strength))
        write_frame(out, frame, overwrite=overwrite)
        if preview is not None:
            write_preview(preview, frame.image, overwrite=overwrite)
    name = "the shipped network" if denoiser is None else f"the network in {denoiser}"
    return DenoisedPhoto(frame.image, name, noise.source, tuple(gaps))
