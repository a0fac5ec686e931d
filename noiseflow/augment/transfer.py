"""Transfer of noise between cameras: whitened by one model, coloured by the other."""

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
"""Side of the window, in pixels of a plane, whose mean stands for the clean signal where none is given."""


def whiten(model: NoiseModel, noise: Tensor, cond: Conditions) -> Tensor:
    """Latent of a model's noise, standard normal if the model is right, (B, C, H, W).

    Raises
    ------
    ModelError
        The model has no latent, as one that only samples.
    """
    cond = checked_conditions(model, cond)
    if isinstance(model, FlowModel):
        latent: Tensor = model.flow(noise, cond)[0]
        return latent
    if isinstance(model, HasVariance):
        return noise / model.variance(cond).sqrt()
    raise ModelError(
        f"{model.spec.model}: has no latent to transfer by; take a fitted flow, or poisson_gaussian of a profile"
    )


def colour(model: NoiseModel, latent: Tensor, cond: Conditions) -> Tensor:
    """Noise of a model from its latent: the inverse of `whiten`, (B, C, H, W)."""
    cond = checked_conditions(model, cond)
    if isinstance(model, FlowModel):
        noise: Tensor = model.flow.inverse(latent, cond)
        return noise
    if isinstance(model, HasVariance):
        return latent * model.variance(cond).sqrt()
    raise ModelError(
        f"{model.spec.model}: has no latent to transfer by; take a fitted flow, or poisson_gaussian of a profile"
    )


@torch.no_grad()
def transfer_noise(
    noise: Tensor, source: NoiseModel, source_cond: Conditions, target: NoiseModel, target_cond: Conditions
) -> Tensor:
    """Noise of one camera as the other would have it: n_B = f_B⁻¹(f_A(n_A | clean, A) | clean, B).

    Where both are flows, or normal, it is exact both ways: A → B → A gives the noise back but for rounding.

    Parameters
    ----------
    noise : Tensor, shape (B, C, H, W)
        Noisy − clean of the source camera, normalised.
    source, target : NoiseModel
        Models of the two cameras.
    source_cond, target_cond : Conditions
        Clean signal, ISO and camera of each; the clean signals are of one scene.

    References
    ----------
    Conditional flows in both directions between two domains, after CFlow.
    """
    return colour(target, whiten(source, noise, source_cond), target_cond)


@dataclass(frozen=True, eq=False)
class Transferred:
    """A frame in another camera's noise.

    Parameters
    ----------
    signal : Tensor, shape (B, C, H, W)
        Normalised, not clipped.
    remains : float
        Part of the result's variance that is the source's noise and more than the target has, mean over pixels: 0 if
        the target is noisier everywhere, or the clean signal was given.
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
    """A noisy frame of one camera as another would have recorded it, at the same normalised signal.

    With the clean signal, or a denoised one, the noise itself is transferred by `transfer_noise`. Without it nothing
    can be taken from a frame: noise of the missing variance, var_B − var_A at the local mean, is added, and
    `remains` says how much of the source's noise is left where the target has less.

    Parameters
    ----------
    noisy : Tensor, shape (B, C, H, W)
        Normalised planes.
    source, target : NoiseModel
        Models of the two cameras.
    source_iso, target_iso : float
        ISOs.
    clean : Tensor, optional
        Shape of `noisy`.
    cameras : tuple of str, optional
        Names of the two among their models' cameras; the first of each if None.
    generator : torch.Generator, optional
        Source of the added noise's random numbers.

    Raises
    ------
    DataError
        Shapes differ.
    ModelError
        Models of different planes, or one without a latent.
    """
    if source.planes != target.planes:
        raise ModelError(f"source of {source.planes} planes, target of {target.planes}; expected models of one layout")
    if noisy.ndim != 4 or noisy.shape[1] != source.planes or (clean is not None and clean.shape != noisy.shape):
        shapes = f"noisy {tuple(noisy.shape)}" + ("" if clean is None else f", clean {tuple(clean.shape)}")
        raise DataError(f"{shapes}: expected both of shape (B, {source.planes}, H, W)")
    names = cameras if cameras is not None else (source.cameras[0], target.cameras[0])
    signal = clean if clean is not None else _local_mean(noisy)
    conds = Conditions(signal, source_iso, names[0]), Conditions(signal, target_iso, names[1])
    if clean is not None:
        return Transferred(clean + transfer_noise(noisy - clean, source, conds[0], target, conds[1]), 0.0)
    has, wants = (
        NoiseLevelMap(model).variance(checked_conditions(model, cond))
        for model, cond in zip((source, target), conds, strict=True)
    )
    added = torch.randn(noisy.shape, generator=generator, dtype=noisy.dtype, device=noisy.device)
    result = noisy + added * (wants - has).clamp(min=0).sqrt()
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
    """A raw frame in another camera's noise: see `transfer_frame`.

    Parameters
    ----------
    image : RawImage
        Frame of the source camera; its ISO must be known. Its levels stay.
    source, target : NoiseModel
        Models of the two cameras.
    iso : float, optional
        ISO of the result; that of `image` if None.
    clean : RawImage, optional
        Clean twin of `image`, of its size.
    cameras : tuple of str or None
        Camera of each model; if None, that of `image`, or the model's only one, of the source, and the model's only
        one of the target.
    seed : int
        Seed of the noise that is added where no clean twin is given.

    Returns
    -------
    tuple of NoisyFrame and float
        The frame, and the part of its variance that remains of the source's noise.

    Raises
    ------
    DataError
        The ISO of `image` is not known.
    ModelError
        A camera that its model does not know, or several of which none is named.
    """
    if image.iso is None:
        raise DataError(f"{image.source}: no ISO is known; the source's noise depends on it")
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
    """Mean over a window, borders over what there is, kept in [0, 1]."""
    mean = functional.avg_pool2d(noisy, SMOOTHED, 1, SMOOTHED // 2, count_include_pad=False)
    return mean.clamp(0, 1)
