"""Shot and read noise of a pixel from its clean signal: variance, read-noise share, moments, and scaling by σ.

In all functions `clean` is the normalised clean signal y, (B, C, H, W), and `beta1` and `beta2` are β₁ and β₂ of each
element's planes, (B, C, 1, 1).  The noise variance is s² = max(β₁·y + β₂, β₂/10).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, Operation, Source, contiguous

__all__ = [
    "FLOOR",
    "divide_by_std",
    "moments",
    "multiply_by_std",
    "net_inputs",
    "per_pixel",
    "read_share",
    "shot_moments",
    "variance_of",
    "with_memory",
]

FLOOR = 0.1
"""Smallest variance as a fraction of β₂, for clean estimates below black."""

SIGNAL = "const float *clean[B, C, H, W], const float *beta1[B, C, 1, 1], const float *beta2[B, C, 1, 1]"

SOURCE = Source(
    ("shot_read_noise",),
    {
        "features": f"{SIGNAL}, float *to[B, 2 * C, H, W], "
        "long batch=B, long planes=C, long pixels=H * W, long threads",
        "scale_forward": f"const float *x[B, C, H, W], {SIGNAL}, float *z[B, C, H, W], double *logs[B, C], "
        "long rows=B * C, long pixels=H * W, long threads",
        "scale_inverse": f"const float *z[B, C, H, W], {SIGNAL}, float *x[B, C, H, W], "
        "long rows=B * C, long pixels=H * W, long threads",
        "scale_backward": f"const float *of_z[B, C, H, W], const float *of_logs[B, C], const float *z[B, C, H, W], "
        f"{SIGNAL}, float *of_x[B, C, H, W]?, float *of_beta1[B, C, 1, 1], float *of_beta2[B, C, 1, 1], "
        "long rows=B * C, long pixels=H * W, long threads",
        "remember": "const float *x[B, C, H, W], const float *clean[B, C, H, W], const float *variance[B, C, H, W], "
        "const float *offsets[B, C, H, W]?, const float *gains[B, C, H, W]?, const float *terms[B, 5], "
        "float *to[B, C, H, W], float least, float most_traps, long latent, "
        "long batch=B, long planes=C, long pixels=H * W, long threads",
    },
    {"FLOOR": FLOOR},
)


def variance_of(clean: Tensor, beta1: Tensor, beta2: Tensor) -> Tensor:
    """Noise variance s², shape (B, C, H, W), in units of the normalised signal squared."""
    return torch.maximum(beta1 * clean + beta2, FLOOR * beta2)


def read_share(clean: Tensor, beta1: Tensor, beta2: Tensor) -> Tensor:
    """Read noise's share β₂ / s² of the variance, shape (B, C, H, W); 1 in the dark."""
    return beta2 / variance_of(clean, beta1, beta2)


def shot_moments(clean: Tensor, beta1: Tensor, beta2: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness γ and excess kurtosis κ of the total noise that come from its shot noise, each (B, C, H, W).

    All cumulants of a Poisson variable are equal, so the third and fourth cumulants of K·Poisson(y/K) are K²y and
    K³y.  Normal read noise adds none.  Hence γ = β₁²y/s³ and κ = β₁³y/s⁴.
    """
    variance = variance_of(clean, beta1, beta2)
    # The shot noise's share, and the variance of one electron in units of s².
    share, electron = (beta1 * clean / variance).clamp(min=0), beta1.square() / variance
    return share * electron.sqrt(), share * electron


def moments(clean: Tensor, beta1: Tensor, beta2: Tensor, read_excess: Tensor | None) -> tuple[Tensor, Tensor]:
    """Skewness γ and excess kurtosis κ to apply for shot noise, if read noise has the excess `read_excess`, (B,).

    Skewing a heavy-tailed value changes its moments more than skewing a normal one.  A factor on each makes the
    cumulants of shot and read noise add up to within 2 %.  Negative read-noise kurtosis, which
    `noiseflow.ops.tails_and_skew.tails` does not apply, is added here.
    """
    skew, excess = shot_moments(clean, beta1, beta2)
    if read_excess is None:
        return skew, excess
    of_read = read_excess[:, None, None, None] * read_share(clean, beta1, beta2).clamp(max=1).square()
    heavy = of_read.clamp(min=0)
    return skew / (1 + heavy / 3), excess / (1 + 4 * heavy / 3) + of_read.clamp(max=0)


def per_pixel(x: Tensor, clean: Tensor, *_: Any) -> Mapping[str, int] | None:
    """Empty macros if x and the clean signal have the same shape; None (no kernel) otherwise."""
    return {} if x.shape == clean.shape else None


def _net_inputs(clean: Tensor, beta1: Tensor, beta2: Tensor) -> Tensor:
    """Inputs of nets: read-noise share, then skewness of the shot noise, (B, 2C, H, W)."""
    return torch.cat([read_share(clean, beta1, beta2), shot_moments(clean, beta1, beta2)[0]], 1)


def _net_inputs_by_kernel(kernels: Kernels, *signal: Tensor) -> Tensor:
    clean, beta1, beta2 = contiguous(*signal)
    to = clean.new_empty(clean.shape[0], 2 * clean.shape[1], *clean.shape[2:])
    kernels("features", clean=clean, beta1=beta1, beta2=beta2, to=to)
    return to


def _divide_by_std(x: Tensor, clean: Tensor, beta1: Tensor, beta2: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the noise standard deviation: return z = x / s and log-det −Σ log s, (B,)."""
    variance = variance_of(clean, beta1, beta2)
    logs = variance.log()
    return x * variance.rsqrt(), -0.5 * logs.flatten(1).sum(1, dtype=torch.promote_types(logs.dtype, torch.float32))


def _divide_by_kernel(kernels: Kernels, *given: Tensor) -> tuple[Tensor, Tensor]:
    z, logs = _Divided.apply(kernels, *given)  # type: ignore[no-untyped-call]
    return z, -0.5 * logs.sum(1)


class _Divided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, *given: Tensor) -> tuple[Tensor, Tensor]:
        x, clean, beta1, beta2 = contiguous(*given)
        z, logs = torch.empty_like(x), x.new_empty(x.shape[:2], dtype=torch.float64)
        kernels("scale_forward", x=x, clean=clean, beta1=beta1, beta2=beta2, z=z, logs=logs)
        ctx.save_for_backward(z, clean, beta1, beta2)
        ctx.kernels = kernels
        return z, logs.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_logs: Tensor) -> tuple[Tensor | None, ...]:
        z, clean, beta1, beta2 = ctx.saved_tensors
        of_z, of_logs = contiguous(of_z, of_logs)
        of_x = torch.empty_like(z) if ctx.needs_input_grad[1] else None
        found = {"of_beta1": torch.empty_like(beta1), "of_beta2": torch.empty_like(beta2)}
        given = {"of_z": of_z, "of_logs": of_logs, "z": z, "clean": clean, "beta1": beta1, "beta2": beta2}
        ctx.kernels("scale_backward", **given, of_x=of_x, **found)
        return None, of_x, None, *found.values()


def _multiply_by_std(z: Tensor, clean: Tensor, beta1: Tensor, beta2: Tensor) -> Tensor:
    """Multiply by the noise standard deviation: x = z · s."""
    return z * variance_of(clean, beta1, beta2).sqrt()


def _multiply_by_kernel(kernels: Kernels, *given: Tensor) -> Tensor:
    z, clean, beta1, beta2 = contiguous(*given)
    x = torch.empty_like(z)
    kernels("scale_inverse", z=z, clean=clean, beta1=beta1, beta2=beta2, x=x)
    return x


def _with_memory(
    x: Tensor,
    clean: Tensor,
    variance: Tensor,
    offsets: Tensor | None,
    gains: Tensor | None,
    terms: Tensor,
    least: float,
    most_traps: float,
    latent: bool,
) -> Tensor:
    """Noise of a frame of a sequence: independent N(0, 1) numbers x, scaled to what a fixed pattern leaves, plus it.

    n = x·√(s² − τ − a − b·y²) + offset(p) + gain(p)·y + o + g·y  for a signal y ≥ 0.  If pattern and telegraph pixels
    would leave less than their bounds say, the pattern is made weaker.

    Parameters
    ----------
    x, clean, variance : Tensor, shape (B, C, H, W)
        Numbers x; clean signal y; variance s² of the noise of a single frame.
    offsets, gains : Tensor, shape (B, C, H, W), optional
        Fixed pattern of each pixel.
    terms : Tensor, shape (B, 5)
        Variances a and b of the pattern within s², mean variance τ of telegraph pixels, and the offset o and gain g of
        the whole frame.
    least : float
        Smallest share of s² that pattern and telegraph pixels leave.
    most_traps : float
        Largest share of s² that τ takes.
    latent : bool
        Whether to divide the result by s.
    """
    dark, lit, traps, offset, gain = terms[:, :, None, None, None].unbind(1)
    light = clean.clamp(min=0)
    jumping = torch.maximum(variance - traps, (1 - most_traps) * variance)
    most, taken = jumping - least * variance, dark + lit * light.square()
    pattern = torch.zeros_like(x)
    if offsets is not None:
        pattern = pattern + offsets
    if gains is not None:
        pattern = pattern + gains * light
    weaker = torch.where(taken > most, (most / taken).clamp(max=1).sqrt(), 1.0)
    noise = x * (jumping - torch.minimum(taken, most)).sqrt() + pattern * weaker + offset + gain * light
    return noise * variance.rsqrt() if latent else noise


def _with_memory_by_kernel(
    kernels: Kernels,
    x: Tensor,
    clean: Tensor,
    variance: Tensor,
    offsets: Tensor | None,
    gains: Tensor | None,
    terms: Tensor,
    least: float,
    most_traps: float,
    latent: bool,
) -> Tensor:
    x, clean, variance, terms = contiguous(x, clean, variance, terms)
    maps = {"offsets": offsets, "gains": gains}
    given = {name: each if each is None else contiguous(each)[0] for name, each in maps.items()}
    to = torch.empty_like(x)
    bounds = {"least": least, "most_traps": most_traps, "latent": int(latent)}
    kernels("remember", x=x, clean=clean, variance=variance, **given, terms=terms, to=to, **bounds)
    return to


net_inputs = Operation(_net_inputs, _net_inputs_by_kernel, SOURCE, lambda clean, *_: {}, differentiable=False)
divide_by_std = Operation(_divide_by_std, _divide_by_kernel, SOURCE, per_pixel, constant=("clean",))
multiply_by_std = Operation(_multiply_by_std, _multiply_by_kernel, SOURCE, per_pixel, differentiable=False)
with_memory = Operation(_with_memory, _with_memory_by_kernel, SOURCE, per_pixel, differentiable=False)
