"""The density of simulated data with Tukey-lambda read noise or row noise, by numerical integration."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.model import ModelSpec
from noiseflow.models.oracle.noise_table import NoiseTable, tukey_quantile_of_logit
from noiseflow.models.oracle.poisson_gaussian import Oracle, settings_of
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source, Stream
from noiseflow.raw.bayer import rows_of_cell

__all__ = ["LineOracle"]

NODES = np.linspace(-5.25, 5.25, 15)
"""Offsets of a row around the most probable one, in standard deviations, for numerical integration.

With this step the error of the rectangle rule for a normal density is 1e-15; 1.5e-7 of it lies beyond the ends.
"""


class LineOracle(Oracle):
    """The true density of simulated data with Tukey-lambda read noise or row noise, as a noise model.

    `log_prob` is the log of the probability of the codes per unit of normalised signal.  For a row it is
    ∫ N(b; 0, σ_row²) Πᵢ P(codeᵢ | b) db with P from a `NoiseTable`.  The row offset b is integrated numerically.
    The error is about 1e-6 nats/dim.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.table = cache(self._table)

    def _physics(self, camera: int, iso: float) -> dict[str, Any]:
        truth = self.truth[self.cameras[camera]]
        at = truth["isos"].index(iso)
        names = ("gain_dn_per_e", "read_scale_dn", "read_lambda", "row_sigma_dn")
        return {**{name: truth[name][at] for name in names}, "black": truth["black_dn"], "white": truth["white_dn"]}

    def _shape(self, camera: int, iso: float) -> float | None:
        shape = self.truth[self.cameras[camera]]["read_shape"]
        return None if shape == "gaussian" else float(self._physics(camera, iso)["read_lambda"])

    def _table(self, camera: int, iso: float) -> NoiseTable:
        at = self._physics(camera, iso)
        most = 1.5 * (at["white"] - at["black"])
        return NoiseTable(at["gain_dn_per_e"], at["read_scale_dn"], self._shape(camera, iso), most)

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        total = torch.empty(noise.shape[0], dtype=torch.float64)
        for (camera, iso), rows in settings_of(cond).items():
            at, table = self._physics(camera, iso), self.table(camera, iso)
            span = at["white"] - at["black"]
            signal = np.maximum(cond.clean[rows].double().cpu().numpy() * span, 0)
            code = np.rint(at["black"] + signal + noise[rows].double().cpu().numpy() * span)
            code = np.clip(code, 0, np.ceil(at["white"]))
            observed = np.ones(code.shape, bool) if cond.observed is None else cond.observed[rows].cpu().numpy()
            log_prob = _of_rows(table, code, signal, at, observed)
            total[rows] = torch.from_numpy(log_prob + np.log(span) * observed.sum((1, 2, 3)))
        return total.to(noise.device, torch.promote_types(noise.dtype, torch.float32))

    def _log_prob_of_observed(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self._log_prob(noise, cond)

    def log_prob_of_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> Tensor:
        """Log-probability of the codes of each element, nats, (B,); `levels` must be those of the simulation."""
        noise = (codes - levels.black.double()[:, :, None, None]) / levels.span() - cond.clean.double()
        exact = replace(cond, clean=cond.clean.double())
        observed = codes.new_ones(codes.shape) if cond.observed is None else cond.observed
        return self.log_prob(noise, exact) + (levels.log_code() * observed.sum((2, 3))).sum(1)

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        self._check_temperature(temperature)
        noise = torch.empty_like(cond.clean)
        for (camera, iso), rows in settings_of(cond).items():
            at, shape, own = self._physics(camera, iso), self._shape(camera, iso), sampling.of_elements(generator, rows)
            clean, span = cond.clean[rows], at["white"] - at["black"]
            electrons = sampling.poisson((clean * span).clamp(min=0) / at["gain_dn_per_e"], own)
            if shape is None:
                read = sampling.normal(clean, own, Stream.READ)
            else:
                logit = sampling.uniform(clean, own, Stream.READ).clamp(1e-15, 1 - 1e-15).logit()
                read = torch.from_numpy(tukey_quantile_of_logit(logit.cpu().numpy(), shape)).to(clean)
            lines = rows_of_cell(self.planes)
            offset = sampling.row_normal(clean, lines, own).repeat_interleave(self.planes // lines, 1)
            codes = at["black"] + at["gain_dn_per_e"] * electrons + at["read_scale_dn"] * read
            codes = (codes + at["row_sigma_dn"] * offset).round().clamp(0, at["white"])
            noise[rows] = (codes - at["black"]) / span - clean
        return noise


def _of_rows(
    table: NoiseTable,
    code: np.ndarray[Any, Any],
    signal: np.ndarray[Any, Any],
    at: Mapping[str, Any],
    observed: np.ndarray[Any, Any],
) -> Any:
    """Log-probability of each patch's observed codes, nats, (B,), with row offsets integrated out."""
    batch, planes, height, width = code.shape
    # A sensor row spans several planes: R and G1, or G2 and B.
    rows = rows_of_cell(planes)
    split = (batch, rows, planes // rows, height, width)
    code, signal, observed = code.reshape(split), signal.reshape(split), observed.reshape(split)
    edges = {"below": 0.5 - at["black"] - signal, "above": at["white"] - 0.5 - at["black"] - signal}
    middle = code - at["black"] - signal
    black, white = code <= 0, code >= at["white"]

    def log_prob(offset: np.ndarray[Any, Any] | float) -> Any:
        each = table.log_prob(middle - offset, signal)
        if black.any():
            each = np.where(black, table.log_below(edges["below"] - offset, signal), each)
        if white.any():
            each = np.where(white, table.log_above(edges["above"] - offset, signal), each)
        return (each * observed).sum((2, 4), keepdims=True)

    row = at["row_sigma_dn"]
    if row == 0:
        return log_prob(0.0).sum((1, 2, 3, 4))
    precision = table.deviation(signal) ** -2.0 * observed
    deviation = (precision.sum((2, 4), keepdims=True) + row**-2.0) ** -0.5
    mean = (precision * middle).sum((2, 4), keepdims=True) * deviation**2
    terms = []
    for node in NODES:
        offset = mean + node * deviation
        terms.append(log_prob(offset) - 0.5 * (offset / row) ** 2 - 0.5 * np.log(2 * np.pi) - np.log(row))
    integral = np.logaddexp.reduce(terms, 0) + np.log(deviation * (NODES[1] - NODES[0]))
    return integral.sum((1, 2, 3, 4))
