"""Sufficient statistics of noise, and the initialisation of models from them."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.model import NoiseModel

__all__ = [
    "BOX",
    "FindsComponents",
    "NoiseStatistics",
    "components_of",
    "expected_signal",
    "is_closed_form",
    "local_mean",
    "refine_start",
    "refine_start_on_codes",
    "signal_bins",
    "start_from",
]

BOX = 2
"""Radius of the local mean, in pixels of a plane."""

ALIKE = 512
"""Values whose neighbours are alike, and that get their mean as expected signal: its noise is then 1/√512 of theirs."""


@dataclass(frozen=True, eq=False)
class NoiseStatistics:
    """Sums of noise and signal in cells of camera, ISO and clean level.

    One row per cell; all are float64 of shape (N,), except the two indices.

    Parameters
    ----------
    camera, iso_index : Tensor of long
        Index of the camera, and of the ISO in `isos`.
    count : Tensor
        Number of values.
    clean : Tensor
        Mean clean signal, normalised.
    mean : Tensor
        Mean noise.
    square : Tensor
        Mean squared noise.
    cameras : tuple of str
        Camera names, in index order.
    isos : tuple of float
        ISOs in rising order.
    """

    camera: Tensor
    iso_index: Tensor
    count: Tensor
    clean: Tensor
    mean: Tensor
    square: Tensor
    cameras: tuple[str, ...]
    isos: tuple[float, ...]

    def of(self, camera: int, iso_index: int) -> "NoiseStatistics":
        """Select the cells of one camera at one ISO; there may be none."""
        rows = (self.camera == camera) & (self.iso_index == iso_index)
        names = ("camera", "iso_index", "count", "clean", "mean", "square")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def signal_bins(clean: Tensor, bins: int) -> Tensor:
    """Bin index of each clean value; the `bins` bins are evenly spaced in the square root of the signal.

    So bins widen with the shot noise, and bins in the dark are narrow compared with the read noise.  Bin 0 contains
    all values at or below black.
    """
    return (clean.clamp(0, 1).sqrt() * (bins - 1)).ceil().long()


def local_mean(signal: Tensor, *, hollow: bool = False) -> Tensor:
    """Mean of the 5×5 pixels of a plane around each pixel, fewer at the border; without that pixel if `hollow`."""
    side = 2 * BOX + 1
    mean = functional.avg_pool2d(signal, side, stride=1, padding=BOX, count_include_pad=False)
    if not hollow:
        return mean
    count = side**2 * functional.avg_pool2d(torch.ones_like(signal), side, stride=1, padding=BOX)
    return (count * mean - signal) / (count - 1)


def expected_signal(clean: Tensor, estimated: Tensor, group: Tensor, observed: Tensor | None = None) -> Tensor:
    """Clean signal that the neighbours of a pixel let expect, whose noise is independent of the pixel's.

    A clean signal that is the mean of few frames is noisy.  As the condition of a variance it lets pixels count as
    dark because their noise is low, and the gain comes out too small: for two frames of a dark scene by half.  The
    variance is linear in the signal, so that its mean over pixels with similar neighbours follows from their mean
    signal, whatever the texture.

    Parameters
    ----------
    clean : Tensor, shape (B, C, H, W)
        Clean signal, normalised.
    estimated : Tensor of bool, shape (B,)
        Whether it is an estimate; where it is not, it is returned as it is.
    group : Tensor of long, shape (B,)
        Number of each element's group (camera and ISO); groups are not mixed.
    observed : Tensor of bool, shape (B, C, H, W), optional
        Pixels that count.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The expected signal.
    """
    if not estimated.any() or clean[0, 0].numel() < 2:
        return clean
    found = clean.clone()
    around = local_mean(clean, hollow=True)
    for number in set(group[estimated].tolist()):
        own = (estimated & (group == number))[:, None, None, None].expand_as(clean)
        own = own if observed is None else own & observed
        order = around[own].argsort()
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        # The last values join those before them: the mean of a few would be their own noise.
        alike = (rank // ALIKE).clamp(max=max(len(rank) // ALIKE - 1, 0))
        count = torch.bincount(alike)
        mean = torch.bincount(alike, clean[own].double()) / count
        found[own] = mean[alike].to(clean.dtype)
    return found


@runtime_checkable
class StartsFromStatistics(Protocol):
    """A model that can be fitted to patches."""

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Set the parameters from statistics: the fit itself in closed form, or a starting point."""


@runtime_checkable
class StartsFromPatches(Protocol):
    """A model whose initialisation is refined on training patches, for what cell statistics do not contain."""

    def start_from_patches(self, noise: Tensor, cond: Resolved, bands: Tensor | None = None) -> None:
        """Refine the start; `bands`, (B,) or (B, 2) of int, is equal for patches on the same sensor rows."""


@runtime_checkable
class StartsFromCodes(Protocol):
    """A model whose initialisation is refined by the likelihood of integer codes."""

    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Refine the start; see `noiseflow.models.capabilities.ExactCodes` for the arguments."""


@runtime_checkable
class EndsOnCodes(Protocol):
    """A model with parameters that depend on trained ones, and are set by integer codes after training."""

    def end_on_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Set them, with the codes of the start."""


@runtime_checkable
class FindsComponents(Protocol):
    """A model whose initialisation decides which components of a camera's noise it has."""

    found: list[str]
    """The components that were tried, with their gains, in words."""


def components_of(model: NoiseModel) -> tuple[str, ...]:
    """Components that a model's initialisation found, in words; empty if it does not look for any."""
    return tuple(model.found) if isinstance(model, FindsComponents) else ()


def is_closed_form(model: NoiseModel) -> bool:
    """Whether `start_from` already gives the maximum-likelihood fit, as declared by ``closed_form = True``."""
    return bool(getattr(model, "closed_form", False))


def start_from(model: NoiseModel, statistics: NoiseStatistics) -> None:
    """Set a model's parameters from statistics of the training data.

    Raises
    ------
    ModelError
        The model cannot be fitted to a patch store.
    """
    if not isinstance(model, StartsFromStatistics):
        raise ModelError(f"{model.spec.model}: cannot be fitted to a patch store")
    model.start_from(statistics)


def refine_start(model: NoiseModel, noise: Tensor, cond: Resolved, bands: Tensor | None = None) -> None:
    """Refine the initialisation on training patches if the model can; see `StartsFromPatches`."""
    if isinstance(model, StartsFromPatches):
        model.start_from_patches(noise, cond, bands)


def refine_start_on_codes(model: NoiseModel, codes: Tensor, cond: Resolved, levels: Levels) -> None:
    """Refine the initialisation on the codes of training patches if the model can; see `StartsFromCodes`."""
    if isinstance(model, StartsFromCodes):
        model.start_from_codes(codes, cond, levels)
