"""Noise models with physical parameters from a camera profile; nothing is trained."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noiseflow.calibrate.profiles.profile import Profile, Setting
from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import ONE_ISO_LAW, SHOT_SLOPE, at_iso, falls, read_at_iso
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.clipped_normal import clipped_variance
from noiseflow.models.closed_form.gaussian import GaussianModel
from noiseflow.models.integers.integer_model import CodesModel
from noiseflow.models.model import ModelSpec, NoiseModel, build, register
from noiseflow.models.oracle.clipped_tails import log_clipped
from noiseflow.models.oracle.poisson_gaussian import oracle_log_prob
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source, Stream
from noiseflow.raw.bayer import plane_names, rows_of_cell
from noiseflow.simulate.physics import tukey_lambda_variance

__all__ = ["Eld", "PhysicsModel", "PoissonGaussian", "PoissonGaussianExact", "from_profile", "spec_from_profile"]

QUANTISATION = 1 / 12
"""Variance of rounding to whole codes, DN²."""

PROFILE_OPTION = ("profile",)
"""Option of the spec with the profile's tables."""


def spec_from_profile(model: str, profile: Profile, layout: str | None = None) -> ModelSpec:
    """Make the spec of a physics model, with the profile's numbers as JSON tables of ISO by plane.

    Parameters
    ----------
    model : str
        ``"poisson_gaussian"``, ``"poisson_gaussian_exact"``, ``"eld"``, ``"dark_frame"`` or ``"spectral"``.
    profile : Profile
        Calibrated or published camera profile.
    layout : str, optional
        Plane layout; if None, that of the profile.  A profile with a single plane fits any layout.

    Returns
    -------
    ModelSpec
        Spec for `build`.

    Raises
    ------
    ModelError
        The profile has no gain or read noise at any ISO, is only relative, or lacks a plane.

    Warns
    -----
    UserWarning
        ISOs without gain or read noise, for example with darks only, are left out.
    """
    layout = layout or profile.layout
    planes = plane_names(layout)
    own = plane_names(profile.layout)
    if len(own) > 1 and own != planes:
        raise ModelError(f"{profile.camera}: the profile has planes {own}; expected {planes}, as layout {layout} has")
    tables: dict[str, list[list[float]]] = {name: [] for name in ("gain", "read", "row", "shape", "scale", "black")}
    isos, left_out = [], []
    for iso in profile.isos:
        settings = [profile.at(iso, plane if len(own) > 1 else own[0]) for plane in planes]
        rows = [numbers for setting in settings if (numbers := _numbers(profile, setting))]
        if len(rows) < len(settings):
            left_out.append(iso)
            continue
        isos.append(iso)
        for index, name in enumerate(tables):
            tables[name].append([row[index] for row in rows])
    if left_out:
        missing = f"no gain or no read noise at ISO {', '.join(map('{:g}'.format, left_out))}"
        if not isos:
            raise ModelError(f"{profile.camera}: the profile has {missing}; calibrate with flats and darks")
        warnings.warn(
            f"{profile.camera}: the profile has {missing}; {model} interpolates there from the other ISOs",
            stacklevel=2,
        )
    options = {"profile": {profile.camera: {"isos": isos, "white": profile.white_dn, **tables}}}
    return ModelSpec(model, layout, (profile.camera,), tuple(isos), options)


def from_profile(model: str, profile: Profile, layout: str | None = None) -> NoiseModel:
    """Build a physics model from a profile, in evaluation mode; arguments as in `spec_from_profile`."""
    return build(spec_from_profile(model, profile, layout)).eval()


def _numbers(profile: Profile, setting: Setting) -> tuple[float, ...] | None:
    """Gain, read and row noise, Tukey shape and scale, and black; None without gain or read noise."""
    where = f"{profile.camera}, ISO {setting.iso:g}, plane {setting.plane}"
    if setting.kind == "relative":
        raise ModelError(f"{where}: the profile's numbers are relative, of unknown scale; calibrate the camera")
    gain, read, black = (setting.value(name) for name in ("gain_dn_per_e", "read_noise_dn", "black_dn"))
    if gain is None or read is None:
        return None
    row = setting.value("row_noise_dn") or 0.0
    shape, scale = setting.value("tukey_shape"), setting.value("tukey_scale_dn")
    # 0.1349 and σ/1.4638: the Tukey-lambda nearest to a Gaussian of the read noise without rows.
    if shape is None or scale is None:
        shape, scale = 0.1349, max(read**2 - row**2 - QUANTISATION, 1e-6) ** 0.5 / 1.4638
    return gain, read, row, shape, scale, 0.0 if black is None else black


class PhysicsModel(NoiseModel):
    """Base class of models with tables of physical parameters by camera, ISO and plane, linear in log ISO.

    Gains and standard deviations are interpolated as logarithms, black level and shape directly.  Where the read
    noise shows a switch of the conversion gain, standard deviations follow `read_at_iso`.
    """

    closed_form = True
    _one_iso_rule = ONE_ISO_LAW
    noises = ("read", "scale", "row")
    """Parameters that are standard deviations, or proportional to one."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        if "profile" not in spec.options:
            raise ModelError(
                f"{spec.model}: is built from a camera profile, not fitted to patches; give the profile to "
                "`noiseflow sample` or to noiseflow.models.from_profile"
            )
        try:
            self._tables = [self._table(spec.options["profile"][camera]) for camera in spec.cameras]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{spec.model}: the profile in the spec is incomplete ({error!r}); use noiseflow.models.from_profile"
            ) from error

    def _table(self, profile: dict[str, Any]) -> dict[str, Tensor]:
        table = {"log_isos": torch.tensor(profile["isos"], dtype=torch.float64).log()}
        for name in ("gain", "read", "row", "shape", "scale", "black"):
            table[name] = torch.tensor(profile[name], dtype=torch.float64)
            if table[name].shape != (len(profile["isos"]), self.planes):
                raise ValueError(f"{name} of shape {tuple(table[name].shape)}")
        table["white"] = torch.tensor(float(profile["white"]), dtype=torch.float64)
        return table

    def parameter_at(self, cond: Resolved, name: str) -> Tensor:
        """Value of a parameter for each element and plane under resolved conditions, (B, C, 1, 1).

        Parameters
        ----------
        cond : Resolved
            Camera and ISO of each element.
        name : str
            ``"gain"`` (DN/e⁻), ``"read"``, ``"row"``, ``"scale"``, ``"black"``, ``"white"`` (DN), or ``"shape"``.
        """
        iso, camera = cond.iso.double().cpu(), cond.camera.cpu()
        # Without a loop over the batch, which an exported graph could not have.
        of_all = torch.stack([self._parameter(table, name, iso) for table in self._tables], 1)
        picked = of_all.gather(1, camera[:, None, None].expand_as(of_all))[:, 0]
        return picked.to(cond.clean)[:, :, None, None]

    def _parameter(self, table: dict[str, Tensor], name: str, iso: Tensor) -> Tensor:
        """Value of a parameter of one camera at each ISO, (B,) → (B, C)."""
        if name == "white":
            return table["white"].expand(iso.shape[0], self.planes)
        # A row for each element and plane.
        knots, isos = table["log_isos"], iso[:, None].expand(-1, self.planes).reshape(-1)
        values = table[name].T.expand(iso.shape[0], -1, -1).reshape(-1, len(knots))
        if name in self.noises:
            switched = falls(_log_read_variance(table))
            found = (0.5 * read_at_iso(2 * values.clamp(min=1e-9).log(), knots, isos, switched)).exp()
        elif name == "gain":
            found = at_iso(values.clamp(min=1e-9).log(), knots, isos, SHOT_SLOPE).exp()
        else:
            found = at_iso(values, knots, isos, 0.0)
        return found.reshape(-1, self.planes)

    def _read_variances(self) -> Sequence[tuple[Tensor, Sequence[float]]]:
        """For each camera, ln of the read variance at the measured ISOs, averaged over planes, and these ISOs."""
        return [(_log_read_variance(table), table["log_isos"].exp().tolist()) for table in self._tables]

    def span(self, cond: Resolved) -> Tensor:
        """White − black, DN, (B, C, 1, 1)."""
        return self.parameter_at(cond, "white") - self.parameter_at(cond, "black")

    def linear_variance(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Coefficients β₁ = K/(white − black) and β₂ = `dark_variance`/(white − black)², each (B, C, 1, 1)."""
        span = self.span(cond)
        return self.parameter_at(cond, "gain") / span, self.dark_variance(cond) / span.square()

    def dark_variance(self, cond: Resolved) -> Tensor:
        """Noise variance in the dark, including quantisation, DN², (B, C, 1, 1)."""
        return self.parameter_at(cond, "read").square()

    @abstractmethod
    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor: ...


def _log_read_variance(table: dict[str, Tensor]) -> Tensor:
    """Natural log of the read variance (DN²) at the measured ISOs, averaged over planes, (K,)."""
    return 2 * table["read"].clamp(min=1e-9).log().mean(1)


@register("poisson_gaussian", PROFILE_OPTION)
class PoissonGaussian(GaussianModel, PhysicsModel):
    """Heteroscedastic Gaussian N(0, (K·s + σ_read²)/(white − black)²), with s the signal above black in DN.

    Shot noise enters only through its variance.
    """

    def variance(self, cond: Resolved) -> Tensor:
        """Noise variance, normalised, (B, C, H, W); signals below black have no shot noise."""
        span, read = self.span(cond), self.parameter_at(cond, "read")
        return self.parameter_at(cond, "gain") * cond.clean.clamp(min=0) / span + (read / span).square()


class _Counting(PhysicsModel):
    """Base class of models with Poisson photon counts plus read noise, rounded and clipped to codes 0 … white."""

    samples_codes = True

    def scale_variance(self, cond: Resolved) -> Tensor:
        """Approximate variance, normalised, (B, C, H, W): no clipping at black, clipped normal noise at white."""
        slope, offset = self.linear_variance(cond)
        variance = slope * cond.clean.clamp(min=0) + offset
        to_white = (1 - cond.clean) / variance.sqrt()
        return variance * clipped_variance(torch.full_like(to_white, -math.inf), to_white).to(variance)

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        if temperature != 1.0:
            raise ModelError(f"{self.spec.model}: photon counts have no temperature; expected 1, got {temperature}")
        gain, black, white = (self.parameter_at(cond, name) for name in ("gain", "black", "white"))
        electrons = sampling.poisson(cond.clean.clamp(min=0) * (white - black) / gain, generator)
        codes = black + gain * electrons + self._dark(cond, generator)
        codes = torch.minimum(codes.round().clamp(min=0), white)
        return (codes - black) / (white - black) - cond.clean

    @abstractmethod
    def _dark(self, cond: Resolved, generator: Source) -> Tensor:
        """Draw read noise in DN, (B, C, H, W)."""


@register("poisson_gaussian_exact", PROFILE_OPTION)
class PoissonGaussianExact(CodesModel, _Counting):
    """Photon counts convolved with Gaussian read noise, rounded and clipped: exact for integer codes.

    `log_prob` is log P(code) + log(white − black) for each value, a density that is constant over each code; noise
    that does not correspond to whole codes is rounded first.
    """

    def _dark(self, cond: Resolved, generator: Source) -> Tensor:
        return self._read(cond) * sampling.normal(cond.clean, generator, Stream.READ)

    def _read(self, cond: Resolved) -> Tensor:
        # A measured read noise includes the variance of rounding, which rounding will add again.
        return (self.parameter_at(cond, "read").square() - QUANTISATION).clamp(min=1e-4).sqrt()

    def levels(self, cond: Resolved) -> Levels:
        """Black and white levels of the profile for each element."""
        exact = replace(cond, clean=cond.clean.double(), observed=None)
        return Levels(self.parameter_at(exact, "black")[:, :, 0, 0], self.parameter_at(exact, "white")[:, 0, 0, 0])

    def _log_prob_of_codes(self, codes: Tensor, cond: Resolved) -> Tensor:
        exact = replace(cond, clean=cond.clean.double(), observed=None)
        clean = exact.clean.cpu().numpy()
        gain, black, white = (self.parameter_at(exact, name).cpu().numpy() for name in ("gain", "black", "white"))
        sigma = self._read(exact).cpu().numpy()
        result = codes.cpu().numpy().copy()
        for b, c in np.ndindex(clean.shape[:2]):
            k, dark, top, read = (float(values[b, c, 0, 0]) for values in (gain, black, white, sigma))
            signal, code = np.maximum(clean[b, c], 0.0) * (top - dark), result[b, c]
            logs = oracle_log_prob(code, signal, gain=k, read_sigma=read, black=dark, white=top)
            for end, edge, upper in ((code <= 0, 0.5 - dark, False), (code >= top, top - 0.5 - dark, True)):
                logs[end] = log_clipped(signal[end] / k, gain=k, sigma=read, edge_dn=edge, upper=upper)
            result[b, c] = logs
        return torch.from_numpy(result).to(codes.device)


@register("eld", PROFILE_OPTION)
class Eld(_Counting):
    """Poisson shot noise, Tukey-lambda read noise, Gaussian row noise and quantisation; samples only.

    All planes of a sensor row share one offset.  Row noise correlates the pixels of a row, so the density has no
    closed form, and `log_prob` raises a `ModelError`.

    References
    ----------
    Wei, Fu, Yang, Huang: A physics-based noise formation model for extreme low-light raw
    denoising, CVPR 2020.
    """

    def dark_variance(self, cond: Resolved) -> Tensor:
        """Variance of Tukey-lambda read noise, row noise and rounding, DN²."""
        shapes = self.parameter_at(cond, "shape")
        unit = shapes.new_tensor([tukey_lambda_variance(shape) for shape in shapes.flatten().tolist()])
        read = self.parameter_at(cond, "scale").square() * unit.reshape(shapes.shape)
        return read + self.parameter_at(cond, "row").square() + QUANTISATION

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        raise ModelError("eld: has no density in closed form, samples only; use poisson_gaussian_exact for likelihoods")

    def _dark(self, cond: Resolved, generator: Source) -> Tensor:
        clean = cond.clean
        p = sampling.uniform(clean, generator, Stream.READ).clamp(1e-15, 1 - 1e-15)
        shape = self.parameter_at(cond, "shape").double()
        shape = torch.where(shape.abs() < 1e-6, torch.full_like(shape, 1e-6), shape)
        noise = ((shape * p.log()).expm1() - (shape * (-p).log1p()).expm1()) / shape
        rows = rows_of_cell(clean.shape[1])
        offsets = sampling.row_normal(clean, rows, generator).repeat_interleave(clean.shape[1] // rows, 1)
        return (self.parameter_at(cond, "scale") * noise).to(clean) + self.parameter_at(cond, "row") * offsets
