"""A conditional flow for block means of the innovations: the coarse level of a multi-scale latent."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from noiseflow.models.temporal.innovations.conditional_flow import ConditionalFlow

__all__ = ["BLOCK", "BlockFlow"]

BLOCK = 8
"""Side of a block in pixels of a plane."""


class BlockFlow(ConditionalFlow):
    """The law of `ConditionalFlow` for the means of blocks of 8×8 pixels, √n times the mean of n pixels.

    A block's mean has 1/√n of the noise of a pixel, so it shows slow changes of whole regions, such as a glow that
    drifts, which a single pixel hides in its noise.  This is VideoFlow's coarse level: it is factored out first, and
    the pixels, with their block's prediction removed, have their own law (`ConditionalFlow`).

    The blocks' values and the remaining differences within blocks are an orthonormal transform of the pixels, so that
    only the law's own scales enter the log-determinant.  A block at a border or with masked pixels has fewer pixels.

    Parameters of the part: ``strength``, a factor by camera and ISO.

    References
    ----------
    Kumar et al.: VideoFlow: A conditional flow-based model for stochastic video generation, ICLR 2020, eq. 3–6.
    """

    of_pixels = False

    def coefficients(self, w: Tensor, observed: Tensor | None) -> Tensor:
        """Sum of a block's observed pixels over the root of their number; 0 without any, (B, C, ⌈H/8⌉, ⌈W/8⌉)."""
        if observed is not None:
            w = w * observed
        return _sum_of_blocks(w) * _per_root(w, observed)

    def put_back(self, w: Tensor, change: Tensor, observed: Tensor | None) -> Tensor:
        """Add a change of the blocks' values to their observed pixels, (B, C, H, W)."""
        each = change * _per_root(w, observed)
        added = each.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)[..., : w.shape[-2], : w.shape[-1]]
        return w + added if observed is None else w + added * observed

    def known(self, w: Tensor, observed: Tensor | None) -> Tensor | None:
        """Blocks with at least one observed pixel; None if no pixel is masked."""
        return None if observed is None else _sum_of_blocks(observed.to(w.dtype)) > 0


def _sum_of_blocks(values: Tensor) -> Tensor:
    """Sum of each block, (B, C, H, W) to (B, C, ⌈H/8⌉, ⌈W/8⌉)."""
    height, width = values.shape[-2:]
    whole = pad(values, (0, -width % BLOCK, 0, -height % BLOCK))
    split = whole.unflatten(-1, (-1, BLOCK)).sum(-1).unflatten(-2, (-1, BLOCK))  # type: ignore[no-untyped-call]
    found: Tensor = split.sum(-2)
    return found


def _per_root(w: Tensor, observed: Tensor | None) -> Tensor:
    """1/√n for the n observed pixels of each block, 0 for none."""
    count = _sum_of_blocks(torch.ones_like(w[:1, :1]) if observed is None else observed.to(w.dtype))
    return torch.where(count > 0, count.clamp(min=1).rsqrt(), 0.0)
