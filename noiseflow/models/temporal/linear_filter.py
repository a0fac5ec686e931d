"""Exact prediction of a frame from the frames before, if everything remembered is Gaussian.

The latent of pixel p in frame t is

    z_t(p) = Σ_i h_i,t(p)·u_i(p) + Σ_j g_j,t(p)·x_j,t + N(0, r_t(p))

with u_i(p) ~ N(0, 1) specific to the pixel and constant over frames, and x_j,t an autoregression common to all pixels.
Given all x, pixels are independent, and the posterior mean of a pixel's u is linear in the earlier x.  That linear
function needs only the sums of x over frames with the same h and g.  So a static scene needs the same memory however
long it is; each new signal adds a column.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FrameState", "PixelState", "Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Prediction of a frame's latents, given the past and the shared state y: independent N(mean + slopes·y, variance).

    Parameters
    ----------
    mean, variance : Tensor, shape (B, N)
        Mean (at y = 0) and variance of each pixel.
    slopes : Tensor, shape (B, K, N)
        Derivatives of the means with respect to the state y of `FrameState`.
    """

    mean: Tensor
    variance: Tensor
    slopes: Tensor


class PixelState:
    """Posterior N(m + M·y, V) of each pixel's constant values u, given the frames so far.

    Parameters
    ----------
    shape : (int, int, int)
        Numbers of elements, of values u per pixel, and of pixels.
    device : torch.device
        Device of the state.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        batch, own, pixels = shape
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        eye = torch.eye(own, dtype=torch.float64, device=device)
        self.covariance = eye[None, :, :, None].expand(batch, own, own, pixels)
        self.by_sums = self.mean.new_zeros(batch, own, 0, pixels)

    def predict(self, h: Tensor, g: Tensor, rest: Tensor) -> Prediction:
        """Predict a frame, given the strengths h of u, (B, I, N), and g of x, (B, J, N), and the variance r, (B, N)."""
        spread = torch.einsum("bikn,bkn->bin", self.covariance, h)
        return Prediction(
            (h * self.mean).sum(1),
            rest + (h * spread).sum(1),
            torch.cat([g, torch.einsum("bin,bikn->bkn", h, self.by_sums)], 1),
        )

    def update(self, h: Tensor, predicted: Prediction, z: Tensor, shared: int, new: bool) -> None:
        """Condition the posterior on a frame.

        Parameters
        ----------
        h, predicted : Tensor, Prediction
            Argument and result of `predict`.
        z : Tensor, shape (B, N)
            The frame's latents.
        shared : int
            Number of shared processes x.
        new : bool
            Whether this is the first frame with these h and g.
        """
        spread = torch.einsum("bikn,bkn->bin", self.covariance, h)
        gain = spread / predicted.variance[:, None]
        self.mean = self.mean + gain * (z - predicted.mean)[:, None]
        self.covariance = self.covariance - gain[:, :, None] * spread[:, None]
        change = -gain[:, :, None] * predicted.slopes[:, None]
        by_sums = self.by_sums + change[:, :, shared:]
        # The slope with respect to this frame's x becomes that with respect to the sum x is added to.
        self.by_sums = torch.cat([by_sums, change[:, :, :shared]], 2) if new else by_sums


class FrameState:
    """Posterior N(mean, covariance) of the state shared by all pixels of a frame, y = (x_t, sums of earlier x).

    Parameters
    ----------
    memory : Tensor of float64, shape (B, J)
        Autoregression coefficient φ of each x.
    """

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory
        self.mean = torch.zeros_like(memory)
        self.covariance = torch.eye(memory.shape[1], dtype=memory.dtype, device=memory.device).repeat(len(memory), 1, 1)

    def alone(self, predicted: Prediction, z: Tensor) -> Tensor:
        """The frame without its shared part, S^(−½)(z − E z), (B, N); S is the covariance for pixels of variance 1."""
        rest = z - predicted.mean - torch.einsum("bkn,bk->bn", predicted.slopes, self.mean)
        return _whitened(rest, predicted.slopes, self.covariance)

    def take_in(self, predicted: Prediction, z: Tensor) -> Tensor:
        """Condition on a frame and return its log-density given the past, nats without −N/2·log 2π, (B,)."""
        slopes, variance = predicted.slopes, predicted.variance
        rest = z - predicted.mean - torch.einsum("bkn,bk->bn", slopes, self.mean)
        weighted = slopes / variance[:, None]
        information = torch.einsum("bkn,bln->bkl", weighted, slopes)
        score = torch.einsum("bkn,bn->bk", weighted, rest)
        eye = torch.eye(slopes.shape[1], dtype=z.dtype, device=z.device)
        inner = eye + self.covariance @ information
        after = torch.linalg.solve(inner, self.covariance)
        step = torch.einsum("bkl,bl->bk", after, score)
        square = (rest.square() / variance).sum(1) - (score * step).sum(1)
        self.mean, self.covariance = self.mean + step, after
        log_prob: Tensor = -0.5 * (variance.log().sum(1) + torch.linalg.slogdet(inner)[1] + square)
        return log_prob

    def advance(self, place: int, new: bool) -> None:
        """Advance to the next frame; x is added to the sum with index `place`, which may be `new`."""
        shared, known = self.memory.shape[1], self.mean.shape[1]
        size = known + shared if new else known
        move = self.mean.new_zeros(len(self.mean), size, known)
        move[:, :shared, :shared] = torch.diag_embed(self.memory)
        for row in range(shared, known):
            move[:, row, row] = 1
        for number in range(shared):
            move[:, shared * (1 + place) + number, number] = 1
        self.mean = torch.einsum("bkl,bl->bk", move, self.mean)
        fresh = self.mean.new_zeros(len(self.mean), size, size)
        fresh[:, :shared, :shared] = torch.diag_embed(1 - self.memory.square())
        self.covariance = move @ self.covariance @ move.mT + fresh

    def skip_sums(self) -> None:
        """Advance to the next frame without sums, for models whose pixels have no constant values u."""
        self.mean = self.memory * self.mean
        outer = self.memory[:, :, None] * self.memory[:, None]
        self.covariance = outer * self.covariance + torch.diag_embed(1 - self.memory.square())


def _whitened(rest: Tensor, slopes: Tensor, covariance: Tensor) -> Tensor:
    """Apply the symmetric root (I + G P Gᵀ)^(−½) to `rest`, with slopes G and covariance P, via small matrices only."""
    root = torch.einsum("bkn,bkl->bln", slopes, torch.linalg.cholesky(covariance))
    values, vectors = torch.linalg.eigh(torch.einsum("bkn,bln->bkl", root, root))
    roots = (1 + values.clamp(min=0)).sqrt()
    # ((1 + λ)^(−½) − 1)/λ, which is −½ at λ = 0.
    factor = -1 / (roots * (1 + roots))
    along = torch.einsum("bkl,bkn,bn->bl", vectors, root, rest)
    return rest + torch.einsum("bkn,bkl,bl->bn", root, vectors, factor * along)
