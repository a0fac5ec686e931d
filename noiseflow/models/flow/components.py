"""Optional components of a camera's noise besides row noise; each is kept if it improves held-out patches.

To add one, write its transform and a function that yields initialised candidates, and add a line to `COMPONENTS`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.flows.camera.column_noise import ColumnNoise
from noiseflow.flows.camera.line_noise import NONE, LineNoise
from noiseflow.flows.camera.neighbour_filter import FILTERED_PLANES, GRIDS, NeighbourFilter
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["COMPONENTS", "MOST", "Component", "Kept", "Seen", "Sizes", "choose"]

SURE = 3.0
"""A component is kept if its held-out gain exceeds this many standard errors; if the true gain is 0, 1 in 700 does."""

HELD_OUT = 4
"""One patch in this many is held out for the decision; the others are fitted."""

MOST = 2048
"""Most patches on which components are fitted and tried: 2 million values of a plane."""

Value = bool | str


@dataclass(frozen=True, eq=False)
class Seen:
    """Patches as they enter a component: noise of unit variance with whitened rows.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        Noise values.
    cond : Resolved
        Clean signal, ISO and camera of the patches.
    noise : NoiseParameters
        Their noise parameters.
    rows : LineNoise, optional
        The transform that whitened the rows.
    """

    x: Tensor
    cond: Resolved
    noise: NoiseParameters
    rows: LineNoise | None = None

    def at(self, rows: Tensor) -> "Seen":
        """Select some of the patches."""
        cond, noise, observed = self.cond, self.noise, self.cond.observed
        observed = None if observed is None else observed[rows]
        given = Resolved(cond.clean[rows], cond.iso[rows], cond.camera[rows], observed)
        parts = NoiseParameters(noise.clean[rows], noise.beta1[rows], noise.beta2[rows], observed=observed)
        return Seen(self.x[rows], given, parts, self.rows)


@dataclass(frozen=True)
class Sizes:
    """Planes, number of cameras and fitted ISOs for which a transform is built."""

    planes: int
    cameras: int
    isos: tuple[float, ...]


Candidates = Iterator[tuple[Value, Transform]]


@dataclass(frozen=True)
class Component:
    """An optional component of a camera's noise.

    Parameters
    ----------
    option : str
        Option of the spec that builds it.
    candidates : callable
        Function of sizes and training patches that yields values of the option with initialised transforms.
    worth : float
        Smallest held-out gain for which it is kept, nats/dim, because it costs time or a pass over the frame.
    most : int
        Most patches on which it is fitted and tried.
    """

    option: str
    candidates: Callable[[Sizes, Seen], Candidates]
    worth: float
    most: int


@dataclass(frozen=True, eq=False)
class Kept:
    """Result of trying a component.

    Parameters
    ----------
    option : str
        Option of the spec.
    value : bool or str
        Value of that option.
    transform : Transform, or None
        The initialised transform; None if it is not kept.
    note : str
        The finding in words, for users.
    """

    option: str
    value: Value
    transform: Transform | None
    note: str


def _columns(sizes: Sizes, seen: Seen) -> Candidates:
    found = LineNoise(sizes.planes, sizes.cameras, sizes.isos, "column", in_read_noise=True).to(seen.x)
    found.start_from(seen.x, seen.cond, seen.noise)
    if bool((found.log_variance.exp() > 2 * NONE).any()):
        columns = ColumnNoise(sizes.planes, sizes.cameras, sizes.isos).to(seen.x)
        columns.log_variance.copy_(found.log_variance)
        if seen.rows is not None:
            columns.follow(seen.rows)
        yield True, columns


def _neighbours(sizes: Sizes, seen: Seen) -> Candidates:
    if sizes.planes not in FILTERED_PLANES:
        # The filter does not know the pixel grid of cells larger than 2×2.
        return
    for grid in GRIDS if sizes.planes > 1 else GRIDS[:1]:
        neighbours = NeighbourFilter(sizes.planes, sizes.cameras, sizes.isos, grid).to(seen.x)
        neighbours.start_from(seen.x, seen.cond)
        yield grid, neighbours


COMPONENTS: Mapping[str, Component] = {
    "columns": Component("column_noise", _columns, worth=1e-5, most=MOST),
    "neighbours": Component("neighbours", _neighbours, worth=3e-4, most=1024),
}
"""Name → component, in the order data → latent, after row noise."""


@torch.no_grad()
def choose(name: str, sizes: Sizes, seen: Seen) -> Kept:
    """Fit a component to three quarters of the patches, try it on the others, and decide whether to keep it.

    It is kept if its mean gain in log-density on the held-out patches exceeds `SURE` standard errors and
    `Component.worth`.

    Parameters
    ----------
    name : str
        A name in `COMPONENTS`.
    sizes : Sizes
        Planes, cameras and ISOs to build it for.
    seen : Seen
        Patches that enter it.

    Returns
    -------
    Kept
        The best candidate, and whether it is kept.
    """
    component = COMPONENTS[name]
    count = len(seen.x)
    some = torch.arange(0, count, max(1, -(-count // component.most)))
    out = torch.arange(len(some)) % HELD_OUT == 0
    train, held_out = seen.at(some[~out]), seen.at(some[out])
    best: tuple[float, float, Value, Transform] | None = None
    if int(out.sum()) >= HELD_OUT:
        for value, transform in component.candidates(sizes, train):
            gain = _gain(transform, held_out, float(train.x.square().mean()))
            mean, error = float(gain.mean()), float(gain.std() / len(gain) ** 0.5)
            if best is None or mean > best[0]:
                best = mean, error, value, transform
    if best is None:
        return Kept(component.option, False, None, f"{name}: none")
    mean, error, value, transform = best
    kept = mean > SURE * error and mean > component.worth
    which = f" of the {value}" if isinstance(value, str) else ""
    worth = f"worth {mean:.5f} ± {2 * error:.5f} nats/dim on held-out patches"
    if not kept:
        return Kept(component.option, value, None, f"{name}: none ({worth})")
    return Kept(component.option, value, transform, f"{name}{which}: {worth}")


def _gain(transform: Transform, seen: Seen, variance: float) -> Tensor:
    """Gain in log-density of each patch over independent values of this variance, nats/dim, (B,)."""
    z, log_det = transform(seen.x, seen.cond, seen.noise)
    without, within = (each.square().mean((1, 2, 3), dtype=torch.float64) for each in (seen.x, z))
    gain: Tensor = log_det.double() / seen.x[0].numel() + 0.5 * (without / variance + math.log(variance) - within)
    return gain
