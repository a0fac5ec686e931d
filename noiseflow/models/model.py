"""The contract of a noise model: conditions in, a density and samples out."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from noiseflow.errors import DataError, ExtrapolationWarning, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.spec import ModelSpec
from noiseflow.models.statistics import NoiseStatistics

__all__ = ["MODELS", "NoiseModel", "build", "register"]


class NoiseModel(nn.Module, ABC):
    """Distribution of normalised noise given clean signal, ISO and camera.

    A subclass writes `_log_prob` and `_sample` for checked conditions, and
    `start_from`, its fit in closed form or its starting point.

    Parameters
    ----------
    spec : ModelSpec
        What it is and was fitted for.
    """

    closed_form: bool = False
    """Whether `start_from` is already the maximum-likelihood fit."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self._warned_of_iso = False

    @property
    def planes(self) -> int:
        """Number of planes of noise and clean signal."""
        return self.spec.planes

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras it was fitted for, in index order."""
        return self.spec.cameras

    @property
    def iso_range(self) -> tuple[float, float]:
        """Lowest and highest ISO it was fitted at."""
        return self.spec.isos[0], self.spec.isos[-1]

    @property
    def reach(self) -> int:
        """Receptive radius in pixels of a plane: the halo that a tile of a frame needs."""
        return 0

    def log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        """Continuous log-density of the noise.

        Parameters
        ----------
        noise : Tensor, shape (B, C, H, W)
            Noisy − clean, normalised.
        cond : Conditions
            Of the same shape; cameras by name or index.

        Returns
        -------
        Tensor, shape (B,)
            Nats, summed over C·H·W dimensions.

        Raises
        ------
        DataError
            Shapes that do not fit, NaN or infinite noise.
        ModelError
            A camera that the model does not know.

        Warns
        -----
        ExtrapolationWarning
            Once, if an ISO is outside `iso_range`.
        """
        cond = self.checked(cond)
        if noise.shape != cond.clean.shape:
            raise DataError(f"noise: expected the shape of clean, {tuple(cond.clean.shape)}; got {tuple(noise.shape)}")
        if not torch.isfinite(noise).all():
            raise DataError("noise: holds NaN or infinite values; mask or drop those patches first")
        return self._log_prob(noise, cond)

    def forward(self, noise: Tensor, cond: Conditions) -> Tensor:
        """`log_prob` of values that are known to fit, as those of a patch store: what a fit trains.

        Nothing is checked, since a look at the values would make a GPU wait.
        """
        return self._log_prob(noise, cond)

    def sample(self, cond: Conditions, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw noise.

        Parameters
        ----------
        cond : Conditions
            Clean signal of any H×W.
        generator : torch.Generator, optional
            On the device of the clean signal.
        temperature : float
            Factor on the base distribution's scale; 1 is the fitted density.

        Returns
        -------
        Tensor, shape (B, C, H, W)
            Normalised noise, to be added to the clean signal.
        """
        if not temperature >= 0:
            raise DataError(f"temperature: expected 0 or above; got {temperature}")
        with torch.no_grad():
            return self._sample(self.checked(cond), generator, temperature)

    def checked(self, cond: Conditions) -> Conditions:
        """Conditions resolved to tensors, refused if they do not fit this model."""
        cond = cond.resolve(self.cameras)
        if cond.clean.shape[1] != self.planes:
            raise DataError(
                f"clean: expected {self.planes} plane(s) ({self.spec.layout}); got shape {tuple(cond.clean.shape)}"
            )
        low, high = self.iso_range
        if not self._warned_of_iso and ((cond.isos < 0.99 * low) | (cond.isos > 1.01 * high)).any():
            self._warned_of_iso = True
            asked = sorted({f"{iso:g}" for iso in cond.isos.tolist() if not 0.99 * low <= iso <= 1.01 * high})
            warnings.warn(
                f"ISO {', '.join(asked[:3])} is outside {low:g}…{high:g}, at which this "
                f"{self.spec.model} was fitted; its parameters are extrapolated in log ISO",
                ExtrapolationWarning,
                stacklevel=3,
            )
        return cond

    @abstractmethod
    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor: ...

    @abstractmethod
    def _sample(self, cond: Conditions, generator: torch.Generator | None, temperature: float) -> Tensor: ...

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Set the parameters from the training data's statistics: the fit, or where it starts."""
        raise ModelError(f"{self.spec.model}: cannot be fitted to a patch store")

    def start_from_patches(self, noise: Tensor, cond: Conditions) -> None:
        """Refine the start by training patches, for what cell statistics do not tell; nothing by default."""


MODELS: dict[str, Callable[[ModelSpec], NoiseModel]] = {}
"""Registry: name in a spec → constructor."""


def register(name: str) -> Callable[[type[NoiseModel]], type[NoiseModel]]:
    """Class decorator: make a model known under a name in `MODELS`."""

    def enter(model: type[NoiseModel]) -> type[NoiseModel]:
        MODELS[name] = model
        return model

    return enter


def build(spec: ModelSpec) -> NoiseModel:
    """Build the model that a spec describes, with its starting parameters.

    Raises
    ------
    ModelError
        If no model of that name is registered.
    """
    if spec.model not in MODELS:
        raise ModelError(f"model {spec.model!r} is not known; expected one of {', '.join(sorted(MODELS))}")
    return MODELS[spec.model](spec)
