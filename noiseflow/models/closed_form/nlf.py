"""The camera noise level function: a heteroscedastic Gaussian."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import ONE_ISO_LAW, READ_SLOPE, SHOT_SLOPE, at_iso, read_at_iso
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.gaussian import GaussianModel
from noiseflow.models.closed_form.variance_line import FLOOR, fit_line, line_errors
from noiseflow.models.model import ModelSpec, checked_conditions, register
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["LineEstimate", "NoiseLevelFunction"]

LEAST_LEFT = 0.1
"""Smallest share of a read variance that is left when rounding is subtracted from it."""

LIFT = 0.01
"""Smallest initial share of shot and of read noise in the mean variance; at 0, the gradient by the log would be 0."""


@register("nlf")
class NoiseLevelFunction(GaussianModel):
    """N(0, β₁·clean + β₂) with β₁, β₂ per camera and ISO.

    β₁ = K / (white − black) for a conversion gain K in DN/e⁻, and β₂ is the read-noise variance in units of the
    normalised signal squared.  Between the fitted ISOs log β is linear in log ISO, except at switches of the
    conversion gain (see `read_at_iso`).  With a single fitted ISO, β₁ is proportional to the ISO and β₂ to
    ISO^`READ_SLOPE`.

    References
    ----------
    Foi, Trimeche, Katkovnik, Egiazarian: Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data, IEEE TIP 2008; DNG specification, NoiseProfile.
    """

    _one_iso_rule = ONE_ISO_LAW
    log_isos: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        shape = (len(spec.cameras), len(spec.isos))
        self.log_beta1 = nn.Parameter(torch.full(shape, math.log(1e-3)))
        self.log_beta2 = nn.Parameter(torch.full(shape, math.log(1e-6)))
        self._constant("log_isos", log_of(spec.isos))

    def betas(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """Shot-noise slope β₁ and read-noise variance β₂ of each element, each (B, 1, 1, 1), normalised."""
        camera, knots = cond.camera, self.log_isos.to(self.log_beta1.dtype)
        beta1 = at_iso(self.log_beta1[camera], knots, cond.iso, SHOT_SLOPE)
        beta2 = read_at_iso(self.log_beta2[camera], knots, cond.iso)
        return beta1.exp()[:, None, None, None], beta2.exp()[:, None, None, None]

    def _read_variances(self) -> Sequence[tuple[Tensor, Sequence[float]]]:
        """For each camera, ln β₂ at the fitted ISOs, and these ISOs."""
        return [(table, self.spec.isos) for table in self.log_beta2]

    def linear_variance(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """The `betas`."""
        return self.betas(cond)

    def variance(self, cond: Resolved) -> Tensor:
        """Noise variance max(β₁·clean + β₂, `FLOOR`·β₂), (B, C, H, W)."""
        beta1, beta2 = self.betas(cond)
        return torch.maximum(beta1 * cond.clean + beta2, FLOOR * beta2)

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Maximise the likelihood, per camera and ISO.

        Where a camera has no data at an ISO, its β are interpolated in log ISO from its other ISOs, or from a single
        other ISO by `SHOT_SLOPE` and `READ_SLOPE`.

        Raises
        ------
        DataError
            There is no data of a camera.
        """
        index_of = {iso: index for index, iso in enumerate(statistics.isos)}
        for camera, name in enumerate(self.cameras):
            source = statistics.cameras.index(name)
            knots, betas = [], []
            for iso in self.spec.isos:
                cells = statistics.of(source, index_of[iso])
                if len(cells.count):
                    knots.append(math.log(iso))
                    betas.append(fit_line(cells).log())
            if not knots:
                raise DataError(f"camera {name!r}: expected patches of it in the training data; found none")
            filled = torch.stack(betas, 1).to(torch.float64)
            isos = torch.tensor(self.spec.isos, dtype=torch.float64)
            log_knots = torch.tensor(knots, dtype=torch.float64)
            with torch.no_grad():
                self.log_beta1[camera] = at_iso(filled[0], log_knots, isos, SHOT_SLOPE).to(self.log_beta1.dtype)
                self.log_beta2[camera] = at_iso(filled[1], log_knots, isos, READ_SLOPE).to(self.log_beta2.dtype)

    @torch.no_grad()
    def estimates(
        self, statistics: NoiseStatistics, spans: Sequence[float], clean_variance: float
    ) -> list["LineEstimate"]:
        """Gain and read noise of each camera and ISO in DN, with their standard errors.

        Parameters
        ----------
        statistics : NoiseStatistics
            Statistics of the training data.
        spans : sequence of float
            Range from black to white of each of their cameras, DN.
        clean_variance : float
            Variance of the clean signal's error, as a fraction of the noise variance: so much frames have in common.
        """
        found = []
        for source, name in enumerate(statistics.cameras):
            for index, iso in enumerate(statistics.isos):
                cells = statistics.of(source, index)
                if not len(cells.count):
                    continue
                at = self.cameras.index(name), self.spec.isos.index(iso)
                betas = torch.stack([self.log_beta1[at], self.log_beta2[at]]).double().exp()
                errors = line_errors(betas, cells) * math.sqrt(1 + clean_variance)
                gain, gain_error = (float(each[0]) * spans[source] for each in (betas, errors))
                read = float(betas[1].sqrt()) * spans[source]
                # Where the variance is not known to be more than 0, σ may be anything up to the root of its error.
                doubt = min(float(errors[1] / (2 * betas[1].sqrt())), float(errors[1].sqrt())) * spans[source]
                found.append(LineEstimate(name, iso, gain, gain_error, read, doubt))
        return found

    @torch.no_grad()
    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Maximise the likelihood of the integer codes, starting with both shot and read noise.

        A clean signal that is a mean of other frames has a share of their rounding, which is no read noise.
        """
        known = checked_conditions(self, cond)
        variance, signal = self.variance(known).mean(), known.clean.mean().clamp(min=1e-6)
        self.log_beta1.clamp_(min=float((LIFT * variance / signal).log()))
        self.log_beta2.clamp_(min=float((LIFT * variance).log()))
        super().start_from_codes(codes, cond, levels)
        if levels.spread is None:
            return
        rounding = (levels.spread.double().square() - 1) / 12 * levels.span()[:, :, 0, 0].square().reciprocal().mean(1)
        for camera in set(known.camera.tolist()):
            read = self.log_beta2[camera].exp()
            left = read - rounding[known.camera == camera].mean().to(read.dtype)
            self.log_beta2[camera] = torch.maximum(left, LEAST_LEFT * read).log()


@dataclass(frozen=True)
class LineEstimate:
    """Gain and read noise of a camera at an ISO.

    Parameters
    ----------
    camera : str
        Name.
    iso : float
        ISO.
    gain_dn_per_e, gain_error : float
        Conversion gain K and its standard error, DN/e⁻; the error is infinite if all light is the same.
    read_noise_dn, read_noise_error : float
        Read noise and its standard error, DN.
    """

    camera: str
    iso: float
    gain_dn_per_e: float
    gain_error: float
    read_noise_dn: float
    read_noise_error: float

    def __str__(self) -> str:
        return (
            f"camera {self.camera!r}, ISO {self.iso:g}: K {_with_error(self.gain_dn_per_e, self.gain_error, 'DN/e⁻')}, "
            f"read noise {_with_error(self.read_noise_dn, self.read_noise_error, 'DN')}"
        )

    def record(self) -> dict[str, str | float | None]:
        """The fields, for JSON; an error that is not known is None."""
        return {name: None if value == math.inf else value for name, value in asdict(self).items()}


def _with_error(value: float, error: float, unit: str) -> str:
    """A value to the second digit of its error, as 8.51 ± 0.20; words if the error is infinite."""
    if error == math.inf:
        return "not known"
    if not error > 0:
        return f"{value:.4g} ± {error:.2g} {unit}"
    digits = min(max(1 - math.floor(math.log10(error)), 0), 8)
    return f"{value:.{digits}f} ± {error:.{digits}f} {unit}"
