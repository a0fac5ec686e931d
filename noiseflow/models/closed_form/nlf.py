"""The camera noise level function: a heteroscedastic Gaussian."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import ONE_ISO_LAW, READ_SLOPE, SHOT_SLOPE, at_iso, read_at_iso
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.gaussian import GaussianModel
from noiseflow.models.closed_form.variance_line import FLOOR, fit_line
from noiseflow.models.model import ModelSpec, checked_conditions, register
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["NoiseLevelFunction"]

LIFT = 0.01
"""Least part of the mean variance that each of shot and read noise starts with: at 0 the gradient by its log is 0."""


@register("nlf")
class NoiseLevelFunction(GaussianModel):
    """N(0, β₁·clean + β₂) with β₁, β₂ per camera and ISO.

    β₁ = K / (white − black) for a conversion gain K in DN/e⁻, and β₂ the read-noise
    variance, both of the normalised signal.  Between the fitted ISOs log β is linear in
    log ISO; fitted at one ISO, β₁ goes with the ISO and β₂ by `READ_SLOPE`.

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
        """β₁ and β₂ per element, each (B, 1, 1, 1)."""
        camera, knots = cond.camera, self.log_isos.to(self.log_beta1.dtype)
        beta1 = at_iso(self.log_beta1[camera], knots, cond.iso, SHOT_SLOPE)
        beta2 = read_at_iso(self.log_beta2[camera], knots, cond.iso)
        return beta1.exp()[:, None, None, None], beta2.exp()[:, None, None, None]

    def _read_variances(self) -> Sequence[tuple[Tensor, Sequence[float]]]:
        """Ln β₂ at the fitted ISOs, of each camera."""
        return [(table, self.spec.isos) for table in self.log_beta2]

    def linear_variance(self, cond: Resolved) -> tuple[Tensor, Tensor]:
        """β₁ and β₂."""
        return self.betas(cond)

    def variance(self, cond: Resolved) -> Tensor:
        """Noise variance, shape (B, C, H, W)."""
        beta1, beta2 = self.betas(cond)
        return torch.maximum(beta1 * cond.clean + beta2, FLOOR * beta2)

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Maximise the likelihood, for each camera at each of its ISOs.

        At an ISO without data of a camera, its β are interpolated from its other ISOs in log ISO; from a single
        ISO they follow `SHOT_SLOPE` and `READ_SLOPE`.
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
                raise DataError(f"camera {name!r}: the training data has no patch of it")
            filled = torch.stack(betas, 1).to(torch.float64)
            isos = torch.tensor(self.spec.isos, dtype=torch.float64)
            log_knots = torch.tensor(knots, dtype=torch.float64)
            with torch.no_grad():
                self.log_beta1[camera] = at_iso(filled[0], log_knots, isos, SHOT_SLOPE).to(self.log_beta1.dtype)
                self.log_beta2[camera] = at_iso(filled[1], log_knots, isos, READ_SLOPE).to(self.log_beta2.dtype)

    @torch.no_grad()
    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Maximise the likelihood of the integers, from a start with both shot and read noise."""
        known = checked_conditions(self, cond)
        variance, signal = self.variance(known).mean(), known.clean.mean().clamp(min=1e-6)
        self.log_beta1.clamp_(min=float((LIFT * variance / signal).log()))
        self.log_beta2.clamp_(min=float((LIFT * variance).log()))
        super().start_from_codes(codes, cond, levels)
