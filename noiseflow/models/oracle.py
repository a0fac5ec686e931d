"""The density that simulated Poisson–Gaussian data was drawn from, exactly."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from noiseflow.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import NoiseModel
from noiseflow.models.spec import ModelSpec

__all__ = ["PoissonGaussianOracle", "oracle_from_truth", "oracle_log_prob"]

TERMS = 20
"""Terms of the sum on each side of its peak."""

STEP = 0.8
"""Distance of the terms in standard deviations of the summand, where that is above one electron."""

CHUNK = 1 << 15


def oracle_log_prob(
    code: NDArray[Any], signal_dn: NDArray[Any], *, gain: float, read_sigma: float, black: float, white: float
) -> NDArray[np.float64]:
    """Log-probability of integer codes under Poisson–Gaussian noise, rounded and clipped.

    P(code) = Σₖ Poisson(k; λ) · [Φ((code + ½ − black − Kk)/σ) − Φ((code − ½ − black − Kk)/σ)]
    with λ = signal/K; code 0 takes the whole lower tail and code white the whole upper one.

    The summand is close to a Gaussian in k of variance 1/(1/λ + K²/σ²).  Where that is wide,
    every m-th term times m is the sum: by Poisson's summation formula the error is
    2·exp(−2π²/0.8²) < 1e-13 of it.

    Parameters
    ----------
    code : ndarray
        DN, whole numbers from 0 to white.
    signal_dn : ndarray of the same shape
        Expected signal above black in DN, 0 or more.
    gain : float
        Conversion gain K in DN/e⁻.
    read_sigma : float
        σ of the Gaussian read noise in DN.
    black, white : float
        Levels in DN.

    Returns
    -------
    ndarray of float64
        Natural log; −inf for a code that has no probability in float64.
    """
    code, signal_dn = np.broadcast_arrays(np.asarray(code, np.float64), np.asarray(signal_dn, np.float64))
    flat_code, flat_signal = code.ravel(), signal_dn.ravel()
    result = np.empty(flat_code.shape)
    for start in range(0, len(result), CHUNK):
        part = slice(start, start + CHUNK)
        result[part] = _log_prob(flat_code[part], flat_signal[part] / gain, gain, read_sigma, black, white)
    return result.reshape(code.shape)


def _log_prob(
    code: NDArray[np.float64], rate: NDArray[np.float64], gain: float, sigma: float, black: float, white: float
) -> NDArray[np.float64]:
    electrons = (code - black) / gain
    at_end = (code <= 0) | (code >= white)
    # At an end the read noise says only that the count is beyond it.
    precision_read = np.where(at_end, 0.0, (gain / sigma) ** 2)
    variance = 1 / (1 / np.maximum(rate, 1e-9) + precision_read)
    peak = variance * (1 + electrons * precision_read)
    beyond = np.where(code <= 0, np.minimum(rate, np.maximum(electrons, 0)), np.maximum(rate, electrons))
    peak = np.where(at_end, beyond, peak)
    step = np.maximum(np.floor(STEP * np.sqrt(variance)), 1.0)
    centre = np.maximum(np.rint(peak), 0.0)
    counts = centre[:, None] + step[:, None] * np.arange(-TERMS, TERMS + 1)
    inside = counts >= 0
    counts = np.where(inside, counts, 0.0)
    log_poisson = special.xlogy(counts, rate[:, None]) - rate[:, None] - special.gammaln(counts + 1)
    middle = code[:, None] - black - gain * counts
    # Φ(b) − Φ(a) from the side of the smaller tails, where the difference loses nothing.
    side = np.where(middle > 0, -1.0, 1.0)
    near, far = side * middle + 0.5, side * middle - 0.5
    upper, lower = special.ndtr(near / sigma), special.ndtr(far / sigma)
    mass = upper - lower
    if at_end.any():
        low, high = code <= 0, code >= white
        mass[low] = special.ndtr((middle[low] + 0.5) / sigma)
        mass[high] = special.ndtr(-(middle[high] - 0.5) / sigma)
    with np.errstate(divide="ignore"):
        terms = np.where(inside, log_poisson + np.log(mass), -np.inf)
        total: NDArray[np.float64] = special.logsumexp(terms, axis=1) + np.log(step)
    return total


class PoissonGaussianOracle(NoiseModel):
    """The truth about simulated Poisson–Gaussian data, behind the contract of a noise model.

    `log_prob` is the log of the codes' exact probability (`oracle_log_prob`) per unit of
    normalised signal: log P(code) + log(white − black) per dimension.  Its mean is what no
    density can exceed on this data.  Nothing in it is fitted, and it knows the simulated
    ISOs only.

    Parameters
    ----------
    spec : ModelSpec
        With ``options["truth"]`` as `noiseflow.simulate.truth_of` gives it.
    """

    closed_form = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.truth: Mapping[str, Any] = spec.options["truth"]

    def checked(self, cond: Conditions) -> Conditions:
        """Conditions resolved; refused at an ISO that was not simulated."""
        cond = super().checked(cond)
        for camera, iso in _settings(cond):
            known = self.truth[self.cameras[camera]]["isos"]
            if iso not in known:
                raise ModelError(f"oracle: ISO {iso:g} was not simulated; expected one of {known}")
        return cond

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        total = torch.empty(noise.shape[0], dtype=torch.float64)
        for (camera, iso), rows in _settings(cond).items():
            gain, sigma, black, white = self._physics(camera, iso)
            span = white - black
            signal = np.maximum(cond.clean[rows].double().cpu().numpy() * span, 0.0)
            code = np.clip(np.rint(black + signal + noise[rows].double().cpu().numpy() * span), 0, white)
            log_prob = oracle_log_prob(code, signal, gain=gain, read_sigma=sigma, black=black, white=white)
            total[rows] = torch.from_numpy((log_prob + np.log(span)).sum((1, 2, 3)))
        return total.to(noise.device, torch.promote_types(noise.dtype, torch.float32))

    def _sample(self, cond: Conditions, generator: torch.Generator | None, temperature: float) -> Tensor:
        if temperature != 1.0:
            raise ModelError(f"oracle: the truth has no temperature; expected 1, got {temperature}")
        clean = cond.clean
        noise = torch.empty_like(clean)
        for (camera, iso), rows in _settings(cond).items():
            gain, sigma, black, white = self._physics(camera, iso)
            signal = (clean[rows] * (white - black)).clamp(min=0)
            electrons = torch.poisson(signal / gain, generator=generator)
            read = torch.randn(signal.shape, generator=generator, dtype=signal.dtype, device=signal.device)
            codes = (black + gain * electrons + sigma * read).round().clamp(0, white)
            noise[rows] = (codes - black) / (white - black) - clean[rows]
        return noise

    def _physics(self, camera: int, iso: float) -> tuple[float, float, float, float]:
        """K, σ, black, white in DN."""
        truth = self.truth[self.cameras[camera]]
        at = truth["isos"].index(iso)
        return truth["gain_dn_per_e"][at], truth["read_scale_dn"][at], truth["black_dn"], truth["white_dn"]


def _settings(cond: Conditions) -> dict[tuple[int, float], list[int]]:
    """Rows of a batch by camera and ISO."""
    rows: dict[tuple[int, float], list[int]] = {}
    for row, key in enumerate(zip(cond.camera_indices.tolist(), cond.isos.tolist(), strict=True)):
        rows.setdefault(key, []).append(row)
    return rows


def oracle_from_truth(
    truth: Mapping[str, Any], layout: str, cameras: Sequence[str], isos: Sequence[float]
) -> PoissonGaussianOracle | None:
    """The oracle of simulated data; None where its density has no closed form.

    That is so with Tukey-lambda read noise, with row noise, and with a camera whose truth
    is not told.
    """
    for camera in cameras:
        told = truth.get(camera)
        if told is None or told["read_shape"] != "gaussian" or any(told["row_sigma_dn"]):
            return None
    return PoissonGaussianOracle(ModelSpec("oracle", layout, tuple(cameras), tuple(isos), {"truth": dict(truth)}))
