"""Initialisation of the default model on integer codes, by their exact likelihood instead of moments."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.flow import Flow
from noiseflow.models.adc_levels import Levels, log_cells
from noiseflow.models.flow.flow_model import start_head_from_codes
from noiseflow.models.model import ModelSpec

__all__ = [
    "hold_offsets",
    "keep_offsets",
    "offsets_in_codes",
    "seen_in_codes",
    "start_read_noise_of_few_electrons",
    "start_read_noise_on_codes",
    "start_tails_on_codes",
    "subtract_rounding",
]

EXCESSES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Candidate excess kurtoses of the read noise."""

MOST_VALUES = 2**20
"""Values that decide between them: an excess of 0.1 is known to 0.02 where all noise is read noise."""

SURE = 3.0
"""Standard errors of an excess from which it is taken; the log-likelihood gains half of their square."""

DARK = 2.0
"""Ratio of shot to read variance up to which a non-linear response counts as linear."""

FEWEST_DARK = 20_000
"""Fewest dark values for a fit of the read noise to their codes; σ is then known to 1 %."""

FEW_ELECTRONS, BLACK = 8.0, 0.1
"""Electrons, (σ/K)², up to which their counts are far from normal, and ratio of shot to read variance of black."""

LEAST_LEFT = 0.1
"""Smallest share of the read variance that is neither line noise nor rounding."""

REACH = 8
"""Number of code edges on each side that are summed."""

SMOOTH = 2.0
"""σ in codes above which rounding passes an offset unchanged, to 10⁻³⁰."""

LEAST_PASSED = 0.05
"""Smallest share of an offset's variance assumed to pass the rounding; below it codes do not show the offset."""


@torch.no_grad()
def subtract_rounding(head: ShotReadScale, cond: Resolved, levels: Levels) -> None:
    """Subtract the variance of rounding, 1/12 code², from a read variance found by moments; keep at least `LEAST_LEFT`.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted to the variance of codes.
    cond : Resolved
        Conditions of some codes; only their cameras are used.
    levels : Levels
        Black and white levels of these codes.
    """
    rounding = levels.span().square().reciprocal().flatten(1).mean(1) / 12
    for camera in set(cond.camera.tolist()):
        own = head.log_beta2[camera].exp()
        left = own - rounding[cond.camera == camera].mean().to(own.dtype)
        head.log_beta2[camera] = torch.maximum(left, LEAST_LEFT * own).log()


@torch.no_grad()
def start_read_noise_on_codes(
    head: ShotReadScale, spec: ModelSpec, codes: Tensor, cond: Resolved, levels: Levels
) -> None:
    """Fit the read noise of a camera with a non-linear response to dark codes, where the response is linear.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted to the variance of codes; β₁ is kept.
    spec : ModelSpec
        Spec of its model.
    codes : Tensor, shape (B, C, H, W)
        Codes, DN.
    cond : Resolved
        Clean signal, ISO and camera of the codes.
    levels : Levels
        Black and white levels.
    """
    beta1, beta2 = head.betas(cond)
    dark = beta1 * cond.clean < DARK * beta2
    dark = dark if cond.observed is None else dark & cond.observed
    if int(dark.sum()) < FEWEST_DARK:
        subtract_rounding(head, cond, levels)
        return
    shot = head.log_beta1.clone()
    start_head_from_codes(head, spec, codes, replace(cond, observed=dark), levels)
    head.log_beta1.copy_(shot)


@torch.no_grad()
def start_read_noise_of_few_electrons(
    head: ShotReadScale, spec: ModelSpec, codes: Tensor, cond: Resolved, levels: Levels
) -> None:
    """Fit the read noise to the codes of black alone, where shot noise is as strong at very few electrons.

    The counts of very few electrons are not normal, and a normal distribution that is fitted to them and to black has
    too much read noise (2.3 % for σ = K).

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise, fitted to the codes; β₁ is kept, and β₂ where black has fewer than `FEWEST_DARK` values.
    spec : ModelSpec
        Spec of its model.
    codes : Tensor, shape (B, C, H, W)
        Codes, DN.
    cond : Resolved
        Clean signal, ISO and camera of the codes.
    levels : Levels
        Black and white levels.
    """
    beta1, beta2 = head.betas(cond)
    black = (beta1 * cond.clean < BLACK * beta2) & (beta2 < FEW_ELECTRONS * beta1.square())
    black = black if cond.observed is None else black & cond.observed
    if int(black.sum()) < FEWEST_DARK:
        return
    shot, read = head.log_beta1.clone(), head.log_beta2.clone()
    start_head_from_codes(head, spec, codes, replace(cond, observed=black), levels)
    knot = (cond.iso.log()[:, None] - head.log_isos.to(cond.iso.dtype)).abs().argmin(1)
    values = torch.zeros_like(read).index_put((cond.camera, knot), black.sum((1, 2, 3)).to(read), accumulate=True)
    head.log_beta1.copy_(shot)
    head.log_beta2.copy_(torch.where(values < FEWEST_DARK, read, head.log_beta2))


@torch.no_grad()
def keep_offsets(head: ShotReadScale, lines: list[LineNoise], log_beta2: Tensor) -> None:
    """Subtract line noise from a read variance fitted to the codes, and keep the line noise's size in DN.

    r is in units of the read-noise variance, which no longer includes rounding, so r must be rescaled.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise; the read variance, fitted to the codes, includes line noise.
    lines : list of LineNoise
        Line noise in units of the earlier read variance.
    log_beta2 : Tensor, shape (cameras, isos)
        Log of that earlier read variance, without line noise, divided by the fraction from `offsets_in_codes`.
    """
    if not lines:
        return
    offsets = torch.stack([each.offset_variance() for each in lines]).sum(0) * log_beta2.exp()
    total = head.log_beta2.exp()
    left = torch.maximum(total - offsets, LEAST_LEFT * total).log()
    for each in lines:
        each.scale_offsets(log_beta2 - left)
    head.log_beta2.copy_(left)


@torch.no_grad()
def offsets_in_codes(head: ShotReadScale, codes: Tensor, cond: Resolved, levels: Levels) -> Tensor:
    """Fraction of a line offset's variance that survives in the mean of its codes, per camera and ISO.

    An offset δ shifts the mean of a pixel's codes by δ·Σ p(b), with p the noise density and b the edges between
    codes, all in codes.  That is less than δ if the signal lies in the middle of a code and σ is a fraction of a
    code.  The fraction is averaged over patches, weighted by the squared share of read noise.

    Parameters
    ----------
    head : ShotReadScale
        Shot and read noise before rounding.
    codes : Tensor, shape (B, C, H, W)
        Codes, DN.
    cond : Resolved
        Clean signal, ISO and camera of the codes.
    levels : Levels
        Black and white levels.

    Returns
    -------
    Tensor, shape (cameras, isos)
        The fraction, at least `LEAST_PASSED`; 1 where there are no patches.
    """
    # Where the signal lies between the codes, not where the frame does from which the noise was subtracted.
    edge = replace(levels, origin=None).cells(codes, cond.clean).low * levels.span()
    edge = edge - edge.round()
    sigma = (head.variance(cond).double().sqrt() * levels.span()).clamp(0.01, SMOOTH)
    densities = [(-0.5 * ((edge + step) / sigma).square()).exp() for step in range(-REACH, REACH + 1)]
    passed = torch.stack(densities).sum(0) / (math.sqrt(2 * math.pi) * sigma)
    share = head.read_share(cond).double().expand_as(passed)
    seen = torch.ones_like(passed) if cond.observed is None else cond.observed.double()
    count = cond.counts().clamp(min=1)
    passed, share = ((each * seen).sum((1, 2, 3)) / count for each in (passed, share))
    return _of_knots(head, cond, passed.square(), share.square() * count).clamp(min=LEAST_PASSED)


def _of_knots(head: ShotReadScale, cond: Resolved, values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the patches of each camera at its nearest fitted ISO, (cameras, isos); 1 without patches."""
    found = torch.ones_like(head.log_beta2)
    knots = head.log_isos.to(cond.iso.dtype)
    index = (cond.iso.log()[:, None] - knots).abs().argmin(1)
    for camera in set(cond.camera.tolist()):
        for knot in set(index[cond.camera == camera].tolist()):
            rows = (cond.camera == camera) & (index == knot)
            found[camera, knot] = (weight * values)[rows].sum() / weight[rows].sum()
    return found


@torch.no_grad()
def seen_in_codes(
    head: ShotReadScale, lines: list[LineNoise], codes: Tensor, cond: Resolved, levels: Levels
) -> tuple[Tensor, Tensor]:
    """What is to stay as it is while shot and read noise are trained; parameters as of `offsets_in_codes`.

    Returns
    -------
    offsets : Tensor, shape (cameras, isos)
        Variance of all line offsets in the means of codes, normalised: r·β₂ times the fraction that passes.
    light : Tensor, shape (cameras, isos)
        Mean square of the effective signal, of which changes of the light are a fraction.
    """
    passed = offsets_in_codes(head, codes, cond, levels)
    offsets = torch.stack([each.offset_variance() for each in lines]).sum(0) * head.log_beta2.exp() * passed
    signal = head.noise_parameters(cond).clean.double().square()
    seen = torch.ones_like(signal) if cond.observed is None else cond.observed.double()
    light = (signal * seen).sum((1, 2, 3)) / cond.counts().clamp(min=1)
    return offsets, _of_knots(head, cond, light, cond.counts().double())


@torch.no_grad()
def hold_offsets(
    head: ShotReadScale,
    lines: list[LineNoise],
    seen: tuple[Tensor, Tensor],
    codes: Tensor,
    cond: Resolved,
    levels: Levels,
) -> None:
    """Scale line noise that was not trained to its variance in codes, with the trained shot and read noise.

    r is in units of the read-noise variance, and rounding passes more of an offset the larger σ is: as σ grows in
    training, so would the line noise.  Changes of the light are in units of the effective signal, which a bend that is
    trained changes.  The sum of read and line variance is kept.

    Parameters
    ----------
    head : ShotReadScale
        The trained shot and read noise.
    lines : list of LineNoise
        The line noise, as before training.
    seen : two Tensors, shape (cameras, isos)
        `seen_in_codes` before training.
    codes, cond, levels
        Codes with their conditions and levels, the same as before training.
    """
    before = torch.stack([each.offset_variance() for each in lines]).sum(0)
    # Frames without light do not show changes of it.
    factor, of_light = (
        torch.where((old > 0) & (new > 0), old / new, 1.0)
        for old, new in zip(seen, seen_in_codes(head, lines, codes, cond, levels), strict=True)
    )
    for each in lines:
        each.scale_offsets(factor.log().to(each.log_variance))
        if isinstance(each, RowNoise):
            each.scale_light(of_light.log().to(each.log_variance))
    head.log_beta2.add_(torch.log((1 + before) / (1 + before * factor)))


@torch.no_grad()
def start_tails_on_codes(flow: Flow, tails: CubicTails, codes: Tensor, cond: Resolved, levels: Levels) -> None:
    """Take the excess kurtosis with the highest likelihood of the integers, if one is `SURE`, for each camera and ISO.

    Moments would not do: if codes are coarse compared with σ, rounding changes the fourth moment.

    Parameters
    ----------
    flow : Flow
        The model's elementwise transforms up to the tails, with the head fitted to the codes.
    tails : CubicTails
        The last of these transforms.
    codes : Tensor, shape (B, C, H, W)
        Codes, DN.
    cond : Resolved
        Clean signal, ISO and camera of the codes.
    levels : Levels
        Black and white levels.
    """
    observed = cond.observed
    most = max(1, MOST_VALUES // codes[0].numel())
    codes, levels = codes[:most], levels.first(most)
    cond = Resolved(cond.clean[:most], cond.iso[:most], cond.camera[:most])
    cells = levels.cells(codes, cond.clean)
    before = tails.kurtosis.clone()
    scores = []
    for excess in EXCESSES:
        tails.kurtosis.fill_(excess)
        low, high = (flow(end, cond)[0] for end in (cells.low, cells.high))
        each = log_cells(low, high, cells)
        scores.append((each if observed is None else each * observed[:most]).sum((1, 2, 3)))
    tails.kurtosis.copy_(before)
    knots = tails.log_isos.to(cond.clean.dtype)
    index = (cond.iso.log()[:, None] - knots).abs().argmin(1)
    for camera in set(cond.camera.tolist()):
        for knot in set(index[cond.camera == camera].tolist()):
            rows = (cond.camera == camera) & (index == knot)
            gains = torch.stack([(score - scores[0])[rows].sum() for score in scores])
            best = int(gains.argmax())
            tails.kurtosis[camera, knot] = EXCESSES[best] if float(gains[best]) > 0.5 * SURE**2 else 0.0
