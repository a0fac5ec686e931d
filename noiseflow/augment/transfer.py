"""Transfer of noise between cameras: whitening with one model, colouring with the other."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from noiseflow.augment.frames.frame import NoisyFrame
from noiseflow.augment.frames.frame_camera import camera_for
from noiseflow.augment.noise_level import NoiseLevelMap, noise_profile
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.capabilities import HasVariance
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import NoiseModel, checked_conditions
from noiseflow.raw import RawImage

__all__ = ["Transferred", "colour", "transfer_frame", "transfer_noise", "transferred_image", "whiten"]

SMOOTHED = 5
"""Side of the window, in pixels of a plane, whose mean replaces a missing clean signal."""


def whiten(model: NoiseModel, noise: Tensor, cond: Conditions) -> Tensor:
    """Map noise to the latent of a model, (B, C, H, W), which is standard normal if the model is correct.

    Parameters
    ----------
    model : NoiseModel
        Model of the noise.
    noise : Tensor, shape (B, C, H, W)
        Noise, normalised.
    cond : Conditions
        Clean signal, ISO and camera.

    Raises
    ------
    ModelError
        The model has no latent, for example because it can only sample.
    """
    cond = checked_conditions(model, cond)
    if isinstance(model, FlowModel):
        latent: Tensor = model.flow(noise, cond)[0]
        return latent
    if isinstance(model, HasVariance):
        return noise / model.variance(cond).sqrt()
    raise ModelError(
        f"{model.spec.model}: noise is transferred through a latent, which this model lacks; use a fitted flow, or "
        "poisson_gaussian for a camera's profile"
    )


def colour(model: NoiseModel, latent: Tensor, cond: Conditions) -> Tensor:
    """Map the latent of a model to noise, normalised, (B, C, H, W): the inverse of `whiten`."""
    cond = checked_conditions(model, cond)
    if isinstance(model, FlowModel):
        noise: Tensor = model.flow.inverse(latent, cond)
        return noise
    if isinstance(model, HasVariance):
        return latent * model.variance(cond).sqrt()
    raise ModelError(
        f"{model.spec.model}: noise is transferred through a latent, which this model lacks; use a fitted flow, or "
        "poisson_gaussian for a camera's profile"
    )


@torch.no_grad()
def transfer_noise(
    noise: Tensor, source: NoiseModel, source_cond: Conditions, target: NoiseModel, target_cond: Conditions
) -> Tensor:
    """Turn the noise of one camera into that of another: n_B = f_B⁻¹(f_A(n_A | clean, A) | clean, B).

    For flows and Gaussian models the transfer is invertible: A → B → A returns the noise up to rounding.

    Parameters
    ----------
    noise : Tensor, shape (B, C, H, W)
        Noisy − clean of the source camera, normalised.
    source, target : NoiseModel
        Models of the two cameras.
    source_cond, target_cond : Conditions
        Clean signal, ISO and camera for each model; both clean signals show the same scene.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        Noise of the target camera, normalised.
    """
    return colour(target, whiten(source, noise, source_cond), target_cond)


@dataclass(frozen=True, eq=False)
class Transferred:
    """A frame with the noise of another camera.

    Parameters
    ----------
    signal : Tensor, shape (B, C, H, W)
        Noisy signal, normalised, not clipped.
    remains : float
        Fraction of the variance that exceeds the target's noise because the source is noisier, averaged over pixels;
        0 if the target is noisier everywhere, or if the clean signal was given.
    """

    signal: Tensor
    remains: float


@torch.no_grad()
def transfer_frame(
    noisy: Tensor,
    source: NoiseModel,
    source_iso: float,
    target: NoiseModel,
    target_iso: float,
    *,
    clean: Tensor | None = None,
    cameras: tuple[str, str] | None = None,
    generator: torch.Generator | None = None,
) -> Transferred:
    """Turn a noisy frame of one camera into one of another camera, at the same normalised signal.

    With the clean signal, or a denoised one, the noise itself is transferred by `transfer_noise`.  Without it, noise
    cannot be removed, only added: normal noise of the missing variance, var_B − var_A at the local mean.  `remains`
    then tells how much of the source's noise is left where the target has less.

    Parameters
    ----------
    noisy : Tensor, shape (B, C, H, W)
        Noisy planes, normalised.
    source, target : NoiseModel
        Models of the two cameras.
    source_iso, target_iso : float
        ISO of the frame, and ISO of the result.
    clean : Tensor, shape (B, C, H, W), optional
        Clean signal, normalised.
    cameras : tuple of str, optional
        Camera of each model; if None, the first of each.
    generator : torch.Generator, optional
        Random generator for added noise.

    Returns
    -------
    Transferred
        The frame, and the remaining excess of the source's noise.

    Raises
    ------
    DataError
        Shapes that differ.
    ModelError
        Models with different planes, or a model without a latent.
    """
    if source.planes != target.planes:
        raise ModelError(
            f"the source model has {source.planes} planes, the target model {target.planes}; expected the same layout"
        )
    if noisy.ndim != 4 or noisy.shape[1] != source.planes or (clean is not None and clean.shape != noisy.shape):
        shapes = f"noisy {tuple(noisy.shape)}" + ("" if clean is None else f", clean {tuple(clean.shape)}")
        raise DataError(f"{shapes}: expected both of shape (B, {source.planes}, H, W)")
    names = cameras if cameras is not None else (source.cameras[0], target.cameras[0])
    mean = _local_mean(noisy) if clean is None else noisy
    signal = clean if clean is not None else mean.abs().clamp(max=1)
    conds = Conditions(signal, source_iso, names[0]), Conditions(signal, target_iso, names[1])
    if clean is not None:
        return Transferred(clean + transfer_noise(noisy - clean, source, conds[0], target, conds[1]), 0.0)
    levels = NoiseLevelMap(source), NoiseLevelMap(target)
    has, wants = (
        level.variance(checked_conditions(level.model, cond)) for level, cond in zip(levels, conds, strict=True)
    )
    dark = torch.zeros_like(noisy[:, :, :1, :1])
    has_dark, wants_dark = (
        level.variance(checked_conditions(level.model, replace(cond, clean=dark)))
        for level, cond in zip(levels, conds, strict=True)
    )
    # The mean of a dark part is noisy too, and below black for half of the pixels.  Continuing the line there keeps the
    # mean of the added variance right; cutting the mean at black would raise it.
    missing, missing_dark = wants - has, wants_dark - has_dark
    below = (2 * missing_dark - missing) * (missing_dark > 0)
    missing = torch.where(mean < 0, below, missing)
    added = torch.randn(noisy.shape, generator=generator, dtype=noisy.dtype, device=noisy.device)
    result = noisy + added * missing.clamp(min=0).sqrt()
    return Transferred(result, float(((has - wants).clamp(min=0) / torch.maximum(has, wants)).mean()))


def transferred_image(
    image: RawImage,
    source: NoiseModel,
    target: NoiseModel,
    *,
    iso: float | None = None,
    clean: RawImage | None = None,
    cameras: tuple[str | None, str | None] = (None, None),
    seed: int = 0,
) -> tuple[NoisyFrame, float]:
    """Turn a raw frame into one of another camera; see `transfer_frame`.

    Parameters
    ----------
    image : RawImage
        Frame of the source camera; its ISO must be known.  Its levels are kept.
    source, target : NoiseModel
        Models of the two cameras.
    iso : float, optional
        ISO of the result; if None, that of `image`.
    clean : RawImage, optional
        Clean frame of the same scene and size.
    cameras : tuple of str or None
        Camera of each model.  If None, the source camera is that of `image` or its model's only one, and the target
        camera is its model's only one.
    seed : int
        Seed of the noise that is added if there is no clean frame.

    Returns
    -------
    tuple of NoisyFrame and float
        The frame, and `Transferred.remains`.

    Raises
    ------
    DataError
        The ISO of `image` is not known.
    ModelError
        A camera that its model does not know, or a model with several cameras of which none is selected.
    """
    if image.iso is None:
        raise DataError(f"{image.source}: its ISO is not known, but the source's noise depends on it")
    names = camera_for(source.cameras, image, cameras[0]), camera_for(target.cameras, None, cameras[1], "--to-camera")
    layout, wanted = source.spec.layout, iso if iso is not None else image.iso
    noisy = torch.from_numpy(image.normalised(layout)).float()[None]
    twin = None if clean is None else torch.from_numpy(clean.normalised(layout)).float()[None]
    generator = torch.Generator().manual_seed(seed)
    found = transfer_frame(noisy, source, image.iso, target, wanted, clean=twin, cameras=names, generator=generator)
    signal = found.signal[0].numpy()
    profile = noise_profile(target, wanted, names[1])
    result = replace(image.with_signal(signal, iso=wanted), noise_profile=profile)
    return NoisyFrame(result, signal), found.remains


def _local_mean(noisy: Tensor) -> Tensor:
    """Mean over a window of `SMOOTHED` pixels a side, smaller near the border, so that a slope has no effect."""
    mean = noisy.clone()
    for side in range(3, SMOOTHED + 1, 2):
        if min(noisy.shape[2:]) >= side:
            half = side // 2
            mean[:, :, half:-half, half:-half] = functional.avg_pool2d(noisy, side, 1)
    return mean
