"""A chain of transforms over a base distribution."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.fusion import FUSIONS, Fusion
from noiseflow.flows.observed import MaskedPixels
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.random import sampling
from noiseflow.ops.random.sampling import Source

__all__ = ["Flow", "StandardNormal", "back_through"]


def back_through(
    transforms: Sequence[Transform],
    z: Tensor,
    cond: Resolved,
    noise: NoiseParameters | None = None,
    *,
    own: bool = False,
) -> Tensor:
    """Latent to data by the inverses of transforms, one after the other, in as few passes as kernels allow.

    If z is the caller's `own`, the data may take its place.
    """
    rest = list(transforms)
    while rest:
        z, done = _run_back(rest, z, cond, noise, own=own)
        rest = rest[done:]
    return z


class StandardNormal(nn.Module):
    """Independent standard normal per pixel: log p(z) = −½ Σ (z² + log 2π)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats, shape (B,)."""
        return sum_per_sample(-0.5 * (z.square() + math.log(2 * math.pi)))

    def sample(self, like: Tensor, generator: Source = None) -> Tensor:
        """A draw with the shape, dtype and device of `like`."""
        return sampling.normal(like, generator)


class Flow(nn.Module):
    """Normalizing flow: z = fₙ(… f₁(x)), log p(x) = log p_base(z) + Σ log|det dfᵢ/dfᵢ₋₁|.

    Parameters
    ----------
    transforms : iterable of Transform
        In the order data → latent.
    base : nn.Module, optional
        With ``log_prob(z)`` and ``sample(like, generator)``; standard normal by default.

    References
    ----------
    Rezende, Mohamed: Variational inference with normalizing flows, ICML 2015, eq. 5–7.
    """

    def __init__(self, transforms: Iterable[Transform], base: StandardNormal | None = None) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)
        self.base = base or StandardNormal()

    @property
    def reach(self) -> int:
        """Receptive radius of the whole chain, in pixels of a plane."""
        return sum(transform.reach for transform in self._chain())

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse` alone, in pixels of a plane."""
        return sum(transform.sampling_reach for transform in self._chain())

    @property
    def cell(self) -> int:
        """Side of the squares of pixels that its transforms take as one."""
        return math.lcm(*(transform.cell for transform in self._chain()))

    @property
    def period(self) -> int:
        """Tiles of a frame must start at a multiple of it, in pixels of a plane."""
        return math.lcm(*(transform.period for transform in self._chain()))

    @property
    def sequential_forward(self) -> bool:
        """Whether `forward` goes step by step over the frame."""
        return any(transform.sequential_forward for transform in self._chain())

    @property
    def sequential_inverse(self) -> bool:
        """Whether `inverse` goes step by step over the frame."""
        return any(transform.sequential_inverse for transform in self._chain())

    @property
    def elementwise(self) -> bool:
        """Whether every value goes by a rising function to its own standard normal, so that Φ of that is its CDF."""
        return isinstance(self.base, StandardNormal) and all(transform.elementwise for transform in self._chain())

    def shared_features(self, cond: Resolved, noise: NoiseParameters | None = None) -> NoiseParameters | None:
        """The noise parameters that its transforms share, computed once for all of them; None if none does."""
        for transform in self._chain():
            noise = transform.shared_features(cond, noise)
        return noise

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent: z and the summed log-det, shape (B,)."""
        noise = self.shared_features(cond, noise)
        log_det = x.new_zeros(x.shape[0], dtype=torch.promote_types(x.dtype, torch.float32))
        rest = self._chain()
        while rest:
            x, term, done = _run(rest, x, cond, noise)
            log_det, rest = log_det + term, rest[done:]
        return x, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        return back_through(self._chain()[::-1], z, cond, self.shared_features(cond, noise))

    def sample(self, cond: Resolved, generator: Source = None, temperature: float = 1.0) -> Tensor:
        """A draw, (B, C, H, W), its base distribution's scale times `temperature`."""
        z = self.base.sample(cond.clean, generator)
        if temperature != 1:
            z = temperature * z
        return back_through(self._chain()[::-1], z, cond, self.shared_features(cond), own=True)

    def inverse_and_log_det(
        self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent to data, with log|det dx/dz| in nats, shape (B,)."""
        noise = self.shared_features(cond, noise)
        log_det = z.new_zeros(z.shape[0], dtype=torch.promote_types(z.dtype, torch.float32))
        for transform in reversed(self._chain()):
            z, term = transform.inverse_and_log_det(z, cond, noise)
            log_det = log_det + term
        return z, log_det

    def log_prob(self, x: Tensor, cond: Resolved) -> Tensor:
        """Log-density of x in nats, shape (B,)."""
        z, log_det = self.forward(x, cond)
        return self.base.log_prob(z) + log_det

    @property
    def factorises(self) -> bool:
        """Whether its pixels are independent given the offsets of their lines, so that some can be left out exactly."""
        apart = (each.leaves_out or (each.elementwise and not each.reach) for each in self._chain())
        return isinstance(self.base, StandardNormal) and all(apart)

    def log_prob_of_observed(self, x: Tensor, cond: Resolved) -> Tensor:
        """Log-density of the values of x that ``cond.observed`` has, nats, (B,), for a flow that `factorises`.

        x is set to 0 at the other pixels before each transform.  A line then has no part of them, and what an
        elementwise transform adds there is subtracted again: the log of its slope at 0, from the gradient of the
        transform on the masked pixels alone.  For whitened rows of normal noise this is the marginal density of
        the observed pixels; the noise that enters the whitening is normal but for its tails and skew.  Columns
        beside rows cost about 0.01 nats for each masked pixel, where an offset has half a pixel's σ.
        """
        noise = self.shared_features(cond)
        masked = MaskedPixels(cond)
        of_masked = self.shared_features(masked.cond)
        log_prob = x.new_zeros(x.shape[0], dtype=torch.promote_types(x.dtype, torch.float32))
        x = masked.without(x)
        for transform in self._chain():
            z, log_det = transform(x, cond, noise)
            log_prob = log_prob + log_det
            if transform.elementwise:
                log_prob = log_prob - masked.log_slopes(transform, of_masked)
            x = masked.without(z)
        return log_prob + self.base.log_prob(x) + 0.5 * math.log(2 * math.pi) * masked.counts

    def _chain(self) -> list[Transform]:
        return [transform for transform in self.transforms if isinstance(transform, Transform)]


def _run(
    transforms: Sequence[Transform], x: Tensor, cond: Resolved, noise: NoiseParameters | None
) -> tuple[Tensor, Tensor, int]:
    """Data through the first of some transforms: z, log-det (B,), and how many they were, one or more."""
    fusion, layers = _leading(transforms)
    found = fusion.forward(layers, x, cond, noise) if fusion else None
    if found is not None:
        return *found, len(layers)
    return *transforms[0](x, cond, noise), 1


def _run_back(
    transforms: Sequence[Transform], z: Tensor, cond: Resolved, noise: NoiseParameters | None, *, own: bool = False
) -> tuple[Tensor, int]:
    """Latent through the inverses of the first of some transforms: x, and how many they were, one or more."""
    fusion, layers = _leading(transforms)
    after = transforms[len(layers)] if len(layers) < len(transforms) else None
    found = fusion.inverse(layers, after, z, cond, noise, own=own) if fusion else None
    return (transforms[0].inverse(z, cond, noise), 1) if found is None else found


def _leading(transforms: Sequence[Transform]) -> tuple[Fusion | None, Sequence[Transform]]:
    """The pass that the first transforms join, and these transforms."""
    name = transforms[0].joins
    fusion = None if name is None else FUSIONS.get(name)
    if fusion is None:
        return None, transforms[:1]
    count = 1
    while count < len(transforms) and transforms[count].joins == name:
        count += 1
    return fusion, transforms[:count]
