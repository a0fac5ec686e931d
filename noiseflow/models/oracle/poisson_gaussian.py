"""The exact density of simulated Poisson–Gaussian data."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.integer_model import CodesModel
from noiseflow.models.model import ModelSpec, NoiseModel
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source, Stream

__all__ = ["Oracle", "PoissonGaussianOracle", "oracle_log_prob", "settings_of"]

REACH = 7.0
"""Half-width of the sum over photo-electrons in standard deviations; a probability of 3e-12 is truncated."""

STRIDE = 0.85
"""Step of that sum in standard deviations; the error of the rectangle rule is 2 exp(−2π²/0.85²) = 3e-12."""

TERMS_AT_ONCE = 1 << 16
"""Number of terms of the sums in memory at a time."""

LogBin = Callable[[Tensor, float], Tensor]


def oracle_log_prob(
    code: NDArray[Any], signal_dn: NDArray[Any], *, gain: float, read_sigma: float, black: float, white: float
) -> NDArray[np.float64]:
    """Log-probability of integer codes under Poisson–Gaussian noise, rounded and clipped.

    P(code) = Σₖ Poisson(k; λ) · [Φ((code + ½ − black − Kk)/σ) − Φ((code − ½ − black − Kk)/σ)]
    with λ = signal/K.  Because of clipping, code 0 has the whole lower tail and the white level the whole upper one.

    The sum runs over a window around the most probable k, the solution of log(λ/k) = K (Kk + black − code)/σ²:
    k = (σ/K)² ω(log(λK²/σ²) + K (code − black)/σ²) with Wright's omega function.  Where the terms change slowly,
    only every m-th term is summed and multiplied by m (Poisson's summation formula).  The relative error of P is
    below 1e-9.

    Parameters
    ----------
    code : ndarray
        Whole numbers in DN; codes outside 0 … white have probability 0.
    signal_dn : ndarray of the same shape
        Expected signal above black in DN; negative values count as 0.
    gain : float
        Conversion gain K in DN/e⁻.
    read_sigma : float
        σ of the Gaussian read noise in DN.
    black, white : float
        Black and white level in DN.

    Returns
    -------
    ndarray of float64
        Natural logarithm of P, in the shape of `code`.

    Raises
    ------
    DataError
        Codes that are not whole numbers, a signal that is not finite, or a gain or σ that is not positive.
    """
    if not (gain > 0 and read_sigma > 0):
        raise DataError(f"expected a positive gain and read noise; got {gain} DN/e⁻ and {read_sigma} DN")
    codes, signals = np.broadcast_arrays(np.asarray(code, np.float64), np.asarray(signal_dn, np.float64))
    if not (np.isfinite(signals).all() and (codes == np.rint(codes)).all()):
        raise DataError("expected whole raw codes and a finite signal; round to DN and mask NaN first")
    flat = torch.from_numpy(codes.ravel())
    rate = torch.from_numpy(signals.ravel()).div(gain).clamp(min=0)
    result = torch.full_like(flat, -math.inf)
    inside = (flat > 0) & (flat < white)
    result[inside] = _between(flat[inside] - black, rate[inside], gain, read_sigma)
    for end, edge, sign in ((0.0, 0.5 - black, 1.0), (white, white - 0.5 - black, -1.0)):
        there = flat == end
        # The code is the same for all, so one sum per light level suffices.
        levels, which = torch.unique(rate[there], return_inverse=True)
        result[there] = _beyond(levels, edge, sign, gain, read_sigma)[which]
    log_prob: NDArray[np.float64] = result.numpy().reshape(codes.shape)
    return log_prob


def _between(above_black: Tensor, rate: Tensor, gain: float, sigma: float) -> Tensor:
    """Log-probability of codes that are not clipped, given as DN above black."""
    peak = _most_probable(above_black, rate, gain, sigma)
    # Away from the peak, the summand falls at least as fast as either of its factors.
    half = (REACH * (peak + 1).sqrt() + 8).clamp(max=REACH * sigma / gain + 1) + 0.5 / gain
    # The integer count nearest to the peak is up to half a count away from it.
    far = (above_black - gain * peak).abs() + gain / 2 > 30 * sigma
    result = torch.empty_like(rate)
    for rows, log_bin in ((~far, _log_bin), (far, _log_bin_far)):
        middle = above_black[rows]

        def weight(counts: Tensor, part: Tensor, middle: Tensor = middle, log_bin: LogBin = log_bin) -> Tensor:
            return log_bin((middle[part, None] - gain * counts) / sigma, 0.5 / sigma)

        around = peak[rows]
        step = _step(around, gain, sigma)
        result[rows] = _sum_over_counts(rate[rows], around - half[rows], around + half[rows], step, weight)
    return result


def _beyond(rate: Tensor, edge: float, sign: float, gain: float, sigma: float) -> Tensor:
    """Log-probability of values below (sign 1) or above (sign −1) an edge in DN above black."""

    def weight(counts: Tensor, part: Tensor) -> Tensor:
        below: Tensor = torch.special.log_ndtr(sign * (edge - gain * counts) / sigma)
        return below

    peak = _most_probable(torch.full_like(rate, edge), rate, gain, sigma)
    low, high = torch.minimum(peak, rate), torch.maximum(peak, rate)
    first, last = low - REACH * (low + 1).sqrt() - 8, high + REACH * (high + 1).sqrt() + 8
    return _sum_over_counts(rate, first, last, _step(low, gain, sigma), weight)


def _most_probable(above_black: Tensor, rate: Tensor, gain: float, sigma: float) -> Tensor:
    """The count k that maximises Poisson(k; λ) · N(above_black; Kk, σ²)."""
    ratio = gain / sigma
    omega = special.wrightomega((rate.log() + 2 * math.log(ratio) + above_black * (ratio / sigma)).numpy())
    peak: Tensor = torch.from_numpy(omega) / ratio**2
    return peak


def _step(counts: Tensor, gain: float, sigma: float) -> Tensor:
    """Largest step between terms of the sum, 1 or more."""
    # Half of the Poisson factor's variance: its spectrum falls as exp(−λ(1 − cos ω)), slower than a Gaussian's.
    deviation = ((gain / sigma) ** 2 + 2 / counts).rsqrt()
    return (STRIDE * deviation).floor().clamp(min=1)


def _sum_over_counts(
    rate: Tensor, first: Tensor, last: Tensor, step: Tensor, log_weight: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Log of Σₖ Poisson(k; λ)·weight(k) over k from first to last."""
    result = torch.empty_like(rate)
    if not len(rate):
        return result
    first = first.floor().clamp(min=0)
    terms = ((last - first) / step).ceil().long() + 1
    positions = torch.arange(int(terms.max()), dtype=torch.float64)
    largest = int((first + step * len(positions)).max())
    log_factorial = torch.lgamma(torch.arange(1, largest + 2, dtype=torch.float64))
    # A very low number instead of log 0, so that 0 · log 0 = 0.
    log_rate = rate.log().clamp(min=-1e300)
    for part, count in _parts(terms):
        counts = torch.addcmul(first[part, None], step[part, None], positions[:count])
        log_terms = log_weight(counts, part)
        log_terms -= log_factorial[counts.long()]
        log_terms += counts.mul_(log_rate[part, None])
        result[part] = log_terms.logsumexp(1)
    return result + step.log() - rate


def _parts(terms: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Group rows with similar numbers of terms into parts that fit into memory; yield each with its largest number."""
    order = terms.argsort()
    rising, end = terms[order], len(terms)
    while end > 0:
        count = int(rising[end - 1])
        start = max(0, end - max(1, TERMS_AT_ONCE // count))
        yield order[start:end], count
        end = start


def _log_bin(z: Tensor, half: float) -> Tensor:
    """log[Φ(z + h) − Φ(z − h)] for |z| up to 37; overwrites z."""
    x, shift = z.abs_().mul_(math.sqrt(0.5)), half * math.sqrt(0.5)
    above = torch.erfc(x + shift)
    below: Tensor = x.sub_(shift).erfc_()
    return below.sub_(above).mul_(0.5).log_()


def _log_bin_far(z: Tensor, half: float) -> Tensor:
    """Like `_log_bin` for any z, but slower."""
    z = z.abs()
    near: Tensor = torch.special.log_ndtr(half - z)
    beyond: Tensor = torch.special.log_ndtr(-half - z)
    return near + torch.log1p(-(beyond - near).exp())


class Oracle(NoiseModel):
    """Base class of true densities of simulated data; nothing is fitted, and only simulated ISOs are known.

    Parameters
    ----------
    spec : ModelSpec
        Spec with ``options["truth"]`` from `noiseflow.simulate.truth_of`.
    """

    closed_form = True
    samples_codes = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.truth: Mapping[str, Any] = spec.options["truth"]

    def _check_isos(self, cond: Resolved) -> None:
        for camera, iso in settings_of(cond):
            known = self.truth[self.cameras[camera]]["isos"]
            if iso not in known:
                raise ModelError(f"oracle: ISO {iso:g} was not simulated; expected one of {known}")

    def _check_temperature(self, temperature: float) -> None:
        if temperature != 1.0:
            raise ModelError(f"oracle: the true density has no temperature; expected 1, got {temperature}")


class PoissonGaussianOracle(CodesModel, Oracle):
    """The true density of simulated Poisson–Gaussian data as a noise model.

    `log_prob` is the log of the exact probability of the codes (`oracle_log_prob`) per unit of normalised signal:
    log P(code) + log(white − black) per value.  No density can have a higher expected value on this data.
    """

    def levels(self, cond: Resolved) -> Levels:
        """Black and white levels of the simulation for each element."""
        rows = [self._physics(*key)[2:] for key in zip(cond.camera.tolist(), cond.iso.tolist(), strict=True)]
        black, white = torch.tensor(rows, dtype=torch.float64, device=cond.clean.device).T
        return Levels(black[:, None].expand(-1, self.planes), white)

    def _log_prob_of_codes(self, codes: Tensor, cond: Resolved) -> Tensor:
        result = torch.empty_like(codes)
        for (camera, iso), rows in settings_of(cond).items():
            gain, sigma, black, white = self._physics(camera, iso)
            signal = np.maximum(cond.clean[rows].double().cpu().numpy() * (white - black), 0.0)
            code = codes[rows].cpu().numpy()
            log_prob = oracle_log_prob(code, signal, gain=gain, read_sigma=sigma, black=black, white=white)
            result[rows] = torch.from_numpy(log_prob).to(codes.device)
        return result

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        self._check_temperature(temperature)
        clean = cond.clean
        noise = torch.empty_like(clean)
        for (camera, iso), rows in settings_of(cond).items():
            gain, sigma, black, white = self._physics(camera, iso)
            signal = (clean[rows] * (white - black)).clamp(min=0)
            own = sampling.of_elements(generator, rows)
            electrons = sampling.poisson(signal / gain, own)
            read = sampling.normal(signal, own, Stream.READ)
            codes = (black + gain * electrons + sigma * read).round().clamp(0, white)
            noise[rows] = (codes - black) / (white - black) - clean[rows]
        return noise

    def _physics(self, camera: int, iso: float) -> tuple[float, float, float, float]:
        """K, σ, black, white in DN."""
        truth = self.truth[self.cameras[camera]]
        at = truth["isos"].index(iso)
        return truth["gain_dn_per_e"][at], truth["read_scale_dn"][at], truth["black_dn"], truth["white_dn"]


def settings_of(cond: Resolved) -> dict[tuple[int, float], list[int]]:
    """Group the elements of a batch by camera and ISO: (camera index, ISO) → list of element indices."""
    rows: dict[tuple[int, float], list[int]] = {}
    for row, key in enumerate(zip(cond.camera.tolist(), cond.iso.tolist(), strict=True)):
        rows.setdefault(key, []).append(row)
    return rows
