"""The contract of a noise model: conditions in, a density and samples out."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from noiseflow.core.errors import DataError, ExtrapolationWarning, ModelError
from noiseflow.flows.conditions import Conditions, all_finite
from noiseflow.models.adc_levels import Levels
from noiseflow.models.intervals import log_cells
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.models.spec import ModelSpec
from noiseflow.ops.random.sampling import Source

__all__ = ["MODELS", "NoiseModel", "build", "register"]

SCALE_SAMPLES = 8
"""Samples from which `NoiseModel.scale` is taken: with 25 neighbours it errs by 5 %."""


class NoiseModel(nn.Module, ABC):
    """Distribution of normalised noise given clean signal, ISO and camera.

    A subclass writes `_log_prob` and `_sample` for checked conditions, and
    `start_from`, its fit in closed form or its starting point.

    Parameters
    ----------
    spec : ModelSpec
        What it is and was fitted for.
    """

    options: tuple[str, ...] = ()
    """Names that the options of its spec may have, besides ``before_rounding``."""

    left_out: Mapping[str, Any] = {}
    """Options that specs of earlier versions leave out, and what they stood for; today's specs have them all."""

    closed_form: bool = False
    """Whether `start_from` is already the maximum-likelihood fit."""

    one_iso: str = "its parameters stay those of that one ISO"
    """What a model that was fitted at one ISO does at others, for a warning."""

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

    @property
    def elementwise(self) -> bool:
        """Whether `latent` takes each value by itself and rises with it; Φ of it is then a distribution function."""
        return False

    @property
    def exact_codes(self) -> bool:
        """Whether `log_prob_of_codes` has the probability of each code."""
        return self.elementwise

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
        if not all_finite(noise):
            raise DataError("noise: holds NaN or infinite values; mask or drop those patches first")
        return self._log_prob(noise, cond)

    def forward(self, noise: Tensor, cond: Conditions) -> Tensor:
        """`log_prob` of values that are known to fit, as those of a patch store: what a fit trains.

        Nothing is checked, since a look at the values would make a GPU wait.
        """
        return self._log_prob(noise, cond)

    def sample(self, cond: Conditions, generator: Source = None, temperature: float = 1.0) -> Tensor:
        """Draw noise.

        Parameters
        ----------
        cond : Conditions
            Clean signal of any H×W.
        generator : torch.Generator or Keyed, optional
            A generator on the device of the clean signal, or random numbers keyed by position.
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

    def latent(self, noise: Tensor, cond: Conditions) -> Tensor | None:
        """The noise as the model's own standard normal, (B, C, H, W): it is one where the density is right.

        A flow's z; of a Gaussian, noise ÷ σ.  None where the model has no such thing.
        """
        return self._latent(noise, self.checked(cond))

    def joint_log_prob_of_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> Tensor | None:
        """Exact log-probability of all integer codes of an element together, nats, float64, (B,); None if not known."""
        return None

    def log_prob_of_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> Tensor | None:
        """Exact log-probability of each integer code, nats, float64; None where it has no closed form.

        Here by the distribution function of an `elementwise` model at the ends of each code's
        interval.  `noiseflow.models.integers.discrete_log_prob.discrete_log_prob` gives a bound where this is None.

        Parameters
        ----------
        codes : Tensor, shape (B, C, H, W)
            DN, whole numbers from 0 to the white level.
        cond : Conditions
        levels : Levels

        Returns
        -------
        Tensor, shape (B, C, H, W), or None
        """
        if not self.elementwise:
            return None
        cond = self.checked(cond)
        cells = levels.cells(codes, cond.clean)
        # The ends in float64 under conditions in the model's own precision: only the nets need that.
        z_low, z_high = self._latent(cells.low, cond), self._latent(cells.high, cond)
        assert z_low is not None
        assert z_high is not None
        return log_cells(z_low, z_high, cells)

    def scale(self, cond: Conditions, generator: torch.Generator | None = None) -> Tensor:
        """About the σ of the noise at each pixel, (B, C, H, W), for proposals; here from samples nearby."""
        square = torch.stack([self.sample(cond, generator).square() for _ in range(SCALE_SAMPLES)]).mean(0)
        wide = functional.avg_pool2d(square, 5, 1, 2, count_include_pad=False)
        return wide.clamp(min=torch.finfo(wide.dtype).tiny).sqrt()

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
            rule = "its parameters are extrapolated in log ISO" if low < high else self.one_iso
            warnings.warn(
                f"ISO {', '.join(asked[:3])} is outside {low:g}…{high:g}, at which this "
                f"{self.spec.model} was fitted; {rule}",
                ExtrapolationWarning,
                stacklevel=3,
            )
        return cond

    def linear_variance(self, cond: Conditions) -> tuple[Tensor, Tensor] | None:
        """β₁ and β₂ of a variance that is β₁·clean + β₂ of the normalised signal, clipping apart.

        Returns
        -------
        two Tensors of shape (B, C or 1, 1, 1), or None
            None if the variance is no such line, or not known in closed form.
        """
        return None

    @abstractmethod
    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor: ...

    @abstractmethod
    def _sample(self, cond: Conditions, generator: Source, temperature: float) -> Tensor: ...

    def _latent(self, noise: Tensor, cond: Conditions) -> Tensor | None:
        return None

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Set the parameters from the training data's statistics: the fit, or where it starts."""
        raise ModelError(f"{self.spec.model}: cannot be fitted to a patch store")

    def start_from_patches(self, noise: Tensor, cond: Conditions, bands: Tensor | None = None) -> None:
        """Refine the start by training patches, for what cell statistics do not tell; nothing by default.

        `bands`, (B,) of int, numbers alike what lies in the same sensor rows of a frame.
        """

    def start_from_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> None:
        """After `start_from_patches`: the same by the likelihood of training patches' integers; nothing by default."""


MODELS: dict[str, type[NoiseModel]] = {}
"""Registry: name in a spec → constructor."""


def register(name: str) -> Callable[[type[NoiseModel]], type[NoiseModel]]:
    """Class decorator: make a model known under a name in `MODELS`."""

    def enter(model: type[NoiseModel]) -> type[NoiseModel]:
        MODELS[name] = model
        return model

    return enter


LARGEST_OPTION = 10_000
"""Largest number that an option of a model may have: of couplings, planes, bins."""


def build(spec: ModelSpec) -> NoiseModel:
    """Build the model that a spec describes, with its starting parameters.

    Raises
    ------
    ModelError
        If no model of that name is registered, or it has no such option.
    """
    if spec.model not in MODELS:
        raise ModelError(f"model {spec.model!r} is not known; expected one of {', '.join(sorted(MODELS))}")
    model = MODELS[spec.model]
    unknown = sorted(spec.options.keys() - {"before_rounding", *model.options})
    if unknown:
        known = f"it has {', '.join(model.options)}" if model.options else "it has none"
        raise ModelError(f"{spec.model}: option {unknown[0]!r} is not known; {known}")
    for name, value in spec.options.items():
        # Before anything is allocated or built layer by layer.
        if isinstance(value, (int, float)) and not abs(value) <= LARGEST_OPTION:
            raise ModelError(f"{spec.model}: option {name}={value}: expected a number up to {LARGEST_OPTION:,}")
    return model(spec)
