"""The contract of noise models, their specs, and the registry of models."""

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from noiseflow.core.errors import DataError, ExtrapolationWarning, ModelError, NoiseflowError
from noiseflow.core.reading.schema import ListOf, MapOf, Number, Plain, Table, Text, checked
from noiseflow.core.reading.text import json_value
from noiseflow.core.text import counted
from noiseflow.core.units import NLL_UNIT
from noiseflow.flows.conditions import Conditions, Resolved, all_finite
from noiseflow.flows.iso_table import conversion_steps, range_caution, switch_caution
from noiseflow.flows.nets.saved_state import SavedState
from noiseflow.flows.observed import imputed
from noiseflow.models.shown import in_notebook, in_one_line
from noiseflow.ops.random.sampling import Source
from noiseflow.ops.readable import check_normalised, readable
from noiseflow.raw.bayer import plane_names

__all__ = [
    "MODELS",
    "ModelEntry",
    "ModelSpec",
    "NoiseModel",
    "build",
    "checked_conditions",
    "draw",
    "in_own_precision",
    "register",
    "samples_codes",
]

LIMITS = -1.0, 8.0
"""Smallest and largest normalised clean signal accepted for sampling; values outside are probably in DN."""

SPEC_SCHEMA = Table(
    {"model": Text(200, 1)},
    {
        "layout": Text(100, 1),
        "cameras": ListOf(Text(1000, 1), 1, 10_000),
        "isos": ListOf(Number(0, 1e9, above=True), 1, 10_000),
        "options": MapOf(Plain()),
        "unit": Text(200, 1),
    },
)
"""Schema of the JSON of `ModelSpec.to_json`; the options are checked by `build`."""


@dataclass(frozen=True)
class ModelSpec:
    """Description of a model and of the data it was fitted to.

    Parameters
    ----------
    model : str
        Name in the registry, `noiseflow.models.MODELS`.
    layout : str
        Plane layout, such as ``"bayer"``, ``"mono"`` or ``"mono2x2"``.
    cameras : tuple of str
        Camera names, in index order.
    isos : tuple of float
        Fitted ISOs, in rising order: the knots of ISO tables.
    options : mapping
        Options specific to this model, as JSON values.
    unit : str
        Unit of its densities; only `NLL_UNIT` is accepted.
    """

    model: str
    layout: str = "bayer"
    cameras: tuple[str, ...] = ("camera",)
    isos: tuple[float, ...] = (100.0,)
    options: Mapping[str, Any] = field(default_factory=dict)
    unit: str = NLL_UNIT

    def __post_init__(self) -> None:
        """Check the cameras, ISOs and unit."""
        object.__setattr__(self, "cameras", tuple(str(name) for name in self.cameras))
        object.__setattr__(self, "isos", tuple(float(iso) for iso in self.isos))
        plane_names(self.layout)
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ModelError(f"spec: expected at least one camera, and each name once; got {self.cameras}")
        if not self.isos or min(self.isos) <= 0 or sorted(set(self.isos)) != list(self.isos):
            raise ModelError(f"spec: expected rising positive ISOs; got {self.isos}")
        if self.unit != NLL_UNIT:
            raise ModelError(f"spec: densities in {self.unit!r} cannot be mixed with {NLL_UNIT!r}; fit the model again")

    @property
    def before_rounding(self) -> bool:
        """Whether the model describes noise before rounding: samples must still be rounded and clipped to codes."""
        return bool(self.options.get("before_rounding", False))

    @cached_property
    def planes(self) -> int:
        """Number of planes."""
        return len(plane_names(self.layout))

    def to_json(self) -> str:
        """Encode as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "spec.json") -> "ModelSpec":
        """Decode the output of `to_json`.

        Raises
        ------
        ModelError
            The text is not a JSON object, or has unknown fields.
        """
        table = json_value(text, source, "the spec of a model", ModelError)
        try:
            return cls(**checked(table, SPEC_SCHEMA, source, ModelError, "expected the spec of a model"))
        except NoiseflowError as error:
            raise error if str(source) in str(error) else ModelError(f"{source}: {error}") from error


class NoiseModel(SavedState, ABC):
    """Distribution of normalised noise given clean signal, ISO and camera.

    A subclass implements `_log_prob` and `_sample` for resolved conditions.  Optional capabilities are defined
    in `noiseflow.models.capabilities` and `noiseflow.models.noise_statistics`.

    Parameters
    ----------
    spec : ModelSpec
        Description of the model and of the data it was fitted to.
    """

    _one_iso_rule: str = "it uses the parameters of that ISO"
    """How a model fitted at a single ISO extrapolates to others, for the warning."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self._warned_of_iso = False

    def __repr__(self) -> str:
        return in_one_line(self)

    def _repr_html_(self) -> str:
        """HTML for a notebook: facts, and a plot of the noise over the signal at three ISOs."""
        return in_notebook(self)

    @property
    def planes(self) -> int:
        """Number of planes of noise and clean signal."""
        return self.spec.planes

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras the model was fitted for, in index order."""
        return self.spec.cameras

    @property
    def iso_range(self) -> tuple[float, float]:
        """Lowest and highest fitted ISO."""
        return self.spec.isos[0], self.spec.isos[-1]

    def log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        """Continuous log-density of the noise.

        Parameters
        ----------
        noise : Tensor, shape (B, C, H, W)
            Noisy − clean, normalised.
        cond : Conditions
            Conditions of the same shape; cameras by name or index.

        Returns
        -------
        Tensor, shape (B,)
            Nats, summed over the C·H·W values, or over those where ``cond.observed`` is True.

        Raises
        ------
        DataError
            Shapes that do not match, NaN or infinite noise.
        ModelError
            A camera that the model does not know.

        Warns
        -----
        ExtrapolationWarning
            Once, if an ISO is outside `iso_range` or within a step where the conversion gain is switched.
        """
        cond = checked_conditions(self, cond)
        if noise.shape != cond.clean.shape:
            raise DataError(f"noise: expected the shape of clean, {tuple(cond.clean.shape)}; got {tuple(noise.shape)}")
        if cond.observed is not None:
            noise = noise.masked_fill(~cond.observed, 0.0)
        noise = noise.to(self._working_dtype(noise.dtype))
        if not all_finite(noise):
            raise DataError("noise: expected finite values; got NaN or infinity: mask or drop those patches first")
        if not len(noise):
            return noise.flatten(1).sum(1)
        return self(noise, cond)  # type: ignore[no-any-return]

    def forward(self, noise: Tensor, cond: Resolved) -> Tensor:
        """`log_prob` without checks, for fits: checks read values, for which a GPU must be synchronised."""
        return self._log_prob(noise, cond) if cond.observed is None else self._log_prob_of_observed(noise, cond)

    def sample(self, cond: Conditions, generator: Source = None, temperature: float = 1.0) -> Tensor:
        """Draw noise.

        If the clean signal requires a gradient, the noise carries the pathwise gradient: its change with the signal
        for the same random numbers.  Otherwise the noise has no gradient.

        Parameters
        ----------
        cond : Conditions
            Clean signal of any height and width, ISO and camera.
        generator : torch.Generator or Keyed, optional
            Generator on the device of the clean signal, or random numbers keyed by position.
        temperature : float
            Factor on the scale of the base distribution; 1 samples the fitted density.

        Returns
        -------
        Tensor, shape (B, C, H, W)
            Normalised noise in the dtype of the clean signal, to be added to it.

        Raises
        ------
        DataError
            A clean signal far outside 0 to 1, such as one in DN.
        ModelError
            A gradient is required, but the model samples photon counts, which have none.
        """
        if not temperature >= 0:
            raise DataError(f"temperature: expected 0 or above; got {temperature}")
        if isinstance(generator, int):
            raise DataError(
                f"generator: expected a torch.Generator; got {generator}: torch.Generator().manual_seed({generator})"
            )
        known = checked_conditions(self, cond)
        check_normalised(known.clean, *LIMITS, "about 0 to 1")
        return draw(self, known, generator, temperature).to(cond.clean.dtype)

    @abstractmethod
    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor: ...

    @abstractmethod
    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor: ...

    def _log_prob_of_observed(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Log-density of the observed pixels, nats, (B,).

        The default is a lower bound by `noiseflow.flows.observed.imputed`.  Models whose pixels are independent,
        possibly given line offsets, override it and leave masked pixels out exactly.
        """
        assert cond.observed is not None
        filled, surprise = imputed(noise, cond.observed)
        return self._log_prob(filled, replace(cond, observed=None)) + surprise

    def _working_dtype(self, given: torch.dtype) -> torch.dtype:
        """Dtype of the computation for a clean signal of the dtype `given`; at least float32."""
        return torch.promote_types(given, torch.float32)

    def _read_variances(self) -> Sequence[tuple[Tensor, Sequence[float]]]:
        """For each camera, log read variance and its ISOs; empty if the model does not interpolate it."""
        return ()

    def _check_isos(self, cond: Resolved) -> None:
        """Warn once about ISOs outside the range or in a gain switch; models that cannot extrapolate raise instead."""
        if self._warned_of_iso:
            return
        found = (
            switch_caution(cond.iso[cond.camera == camera], step, f"{self.cameras[camera]!r}", self.spec.model)
            for camera, *step in conversion_steps(self._read_variances())
        )
        caution = next(filter(None, found), None)
        caution = caution or range_caution(cond.iso, self.iso_range, self.spec.model, self._one_iso_rule)
        if caution:
            self._warned_of_iso = True
            warnings.warn(caution, ExtrapolationWarning, stacklevel=4)


def checked_conditions(model: NoiseModel, cond: Conditions) -> Resolved:
    """Check conditions for a model and resolve them to tensors in the model's precision.

    Raises
    ------
    DataError
        A number of planes that differs from the model's, shapes that do not match, or values that are not finite.
    ModelError
        A camera that the model does not know, or an ISO that it cannot handle.
    """
    known = cond.resolve(model.cameras)
    if known.clean.shape[1] != model.planes:
        planes = f"{counted(model.planes, 'plane')} ({model.spec.layout})"
        raise DataError(f"clean: expected {planes}; got shape {tuple(known.clean.shape)}")
    return in_own_precision(model, known)


def in_own_precision(model: NoiseModel, cond: Resolved) -> Resolved:
    """Convert resolved conditions to the dtype the model computes in; values are not checked, except ISOs."""
    if readable():
        model._check_isos(cond)
    dtype = model._working_dtype(cond.clean.dtype)
    return cond if dtype == cond.clean.dtype else replace(cond, clean=cond.clean.to(dtype), iso=cond.iso.to(dtype))


def samples_codes(model: NoiseModel) -> bool:
    """Whether a model's samples are whole codes minus the clean signal, clipped as by the camera."""
    return bool(getattr(model, "samples_codes", False))


def draw(model: NoiseModel, cond: Resolved, source: Source = None, temperature: float = 1.0) -> Tensor:
    """`NoiseModel.sample` without checks, for conditions returned by `in_own_precision`."""
    pathwise = torch.is_grad_enabled() and cond.clean.requires_grad
    if pathwise and samples_codes(model):
        raise ModelError(
            f"{model.spec.model}: photon counts have no gradient with respect to the clean signal: pass clean.detach()"
        )
    if not len(cond.clean):
        return torch.zeros_like(cond.clean)
    with torch.set_grad_enabled(pathwise):
        return model._sample(cond, source, temperature)


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Parameters
    ----------
    build : callable
        Function of a spec that returns the model.
    options : tuple of str
        Options that its spec may have, besides ``before_rounding``.
    defaults_of_old : mapping
        Options that specs of earlier versions lack, with the values they had at that time.
    """

    build: Callable[[ModelSpec], NoiseModel]
    options: tuple[str, ...] = ()
    defaults_of_old: Mapping[str, Any] = field(default_factory=dict)


MODELS: dict[str, ModelEntry] = {}
"""Registry of models: name in a spec → entry."""


def register(
    name: str, options: tuple[str, ...] = (), defaults_of_old: Mapping[str, Any] | None = None
) -> Callable[[type[NoiseModel]], type[NoiseModel]]:
    """Class decorator that adds a model to `MODELS` under a name; the other arguments are those of `ModelEntry`."""

    def enter(model: type[NoiseModel]) -> type[NoiseModel]:
        MODELS[name] = ModelEntry(model, options, defaults_of_old or {})
        return model

    return enter


LARGEST_OPTION = 10_000
"""Largest number that an option of a model may have, such as couplings, planes or bins."""


def build(spec: ModelSpec) -> NoiseModel:
    """Build the model that a spec describes, with its initial parameters.

    Parameters
    ----------
    spec : ModelSpec
        Description of the model.

    Returns
    -------
    NoiseModel
        The model, in training mode.

    Raises
    ------
    ModelError
        An unknown model or option, or an option that is too large.
    """
    if spec.model not in MODELS:
        raise ModelError(f"model {spec.model!r} is not known; expected one of {', '.join(sorted(MODELS))}")
    entry = MODELS[spec.model]
    unknown = sorted(spec.options.keys() - {"before_rounding", *entry.options})
    if unknown:
        known = f"it has {', '.join(entry.options)}" if entry.options else "it has none"
        raise ModelError(f"{spec.model}: option {unknown[0]!r} is not known; {known}")
    for name, value in spec.options.items():
        # Checked before anything is allocated or built.
        if isinstance(value, (int, float)) and not abs(value) <= LARGEST_OPTION:
            raise ModelError(f"{spec.model}: option {name}={value}: expected a number up to {LARGEST_OPTION:,}")
    # Layers have generators of their own; what torch draws besides must not change the caller's random state.
    with torch.random.fork_rng(devices=[]):
        return entry.build(spec)
