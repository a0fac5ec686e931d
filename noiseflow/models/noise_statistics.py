"""Sufficient statistics of noise, and the initialisation of models from them."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.model import NoiseModel

__all__ = [
    "FindsComponents",
    "NoiseStatistics",
    "components_of",
    "is_closed_form",
    "refine_start",
    "refine_start_on_codes",
    "signal_bins",
    "start_from",
]


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
