"""A small denoiser on noise of unit variance, trained on noisy pairs together with a noise model."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn
from torch.nn import functional as F

from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.output.listed import write_listed
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.schema import ListOf, Number, Table, Text, checked
from noiseflow.core.reading.text import read_json
from noiseflow.core.text import counted
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.io.weights import building, fill, read_tensors, within_means
from noiseflow.models.model import ModelSpec
from noiseflow.models.noise_statistics import BOX, local_mean

__all__ = ["DENOISER", "Denoiser", "DenoiserSpec", "load_denoiser", "save_denoiser"]

DENOISER = "denoiser"
"""Name of the denoiser's folder in a run folder, and of its weights file."""

DILATIONS = (1, 2, 4, 4, 2, 1)
"""Dilations of the 3×3 convolutions, repeated in this order; six of them reach 14 pixels to each side."""

NEAR = 3.0
"""Before training, deviations from the local mean up to about this many σ are removed as noise."""


DENOISER_SCHEMA = Table(
    {},
    {
        "layout": Text(100, 1),
        "cameras": ListOf(Text(1000, 1), 1, 10_000),
        "isos": ListOf(Number(0, 1e9, above=True), 1, 10_000),
        "width": Number(1, 10_000, whole=True),
        "depth": Number(2, 1000, whole=True),
        "seed": Number(0, 2**63, whole=True),
    },
)
"""The file ``spec.json`` of a denoiser."""


@dataclass(frozen=True)
class DenoiserSpec:
    """Description of a denoiser and of its training data.

    Parameters
    ----------
    layout : str
        Plane layout, as in `ModelSpec`.
    cameras : tuple of str
        Camera names, in index order.
    isos : tuple of float
        ISOs in rising order: the knots of its noise level function.
    width : int
        Number of hidden planes.
    depth : int
        Number of convolutions, 2 or more.
    seed : int
        Seed of the initial weights.
    """

    layout: str = "bayer"
    cameras: tuple[str, ...] = ("camera",)
    isos: tuple[float, ...] = (100.0,)
    width: int = 24
    depth: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that a denoiser can be built from the spec."""
        object.__setattr__(self, "cameras", tuple(str(name) for name in self.cameras))
        object.__setattr__(self, "isos", tuple(float(iso) for iso in self.isos))
        if self.width < 1 or self.depth < 2:
            raise ModelError(
                f"denoiser: expected a width of 1 and a depth of 2 or more; got {self.width}, {self.depth}"
            )

    @property
    def level(self) -> ModelSpec:
        """Spec of its noise level function."""
        return ModelSpec("nlf", self.layout, self.cameras, self.isos)


class Denoiser(nn.Module):
    """A residual convolutional network on noise of unit variance.

    With m the 5×5 mean of the noisy signal x, v = β₁·m + β₂ its noise variance and w = (x − m)/√v,

        D(x) = x − √v · [w·exp(−w²/18) + net(asinh w)],

    so that one small network serves all ISOs and cameras, and edges of hundreds of σ do not dominate.  There are
    no batch statistics, and any height and width works.  The net's output starts at 0: before training, D(x) is the
    local mean where x is within a few σ of it, and x elsewhere.

    Parameters
    ----------
    spec : DenoiserSpec
        Description of the denoiser.

    References
    ----------
    Zhang, Zuo, Chen, Meng, Zhang: Beyond a Gaussian denoiser: residual learning of deep CNN
    for image denoising, IEEE TIP 2017 (DnCNN); the dilations are those of Zhang, Zuo, Gu,
    Zhang: Learning deep CNN denoiser prior for image restoration, CVPR 2017, but for one.

    Examples
    --------
    >>> denoiser = Denoiser(DenoiserSpec())
    >>> denoiser(torch.full((2, 4, 8, 8), 0.2), iso=100.0).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        self.level = NoiseLevelFunction(spec.level).requires_grad_(False)
        generator = torch.Generator().manual_seed(spec.seed)
        planes = spec.level.planes
        widths = (planes, *(spec.width for _ in range(spec.depth - 1)), planes)
        self.layers = nn.ModuleList()
        for index, (inside, outside) in enumerate(pairwise(widths)):
            dilation = DILATIONS[index % len(DILATIONS)]
            layer = nn.Conv2d(inside, outside, 3, padding=dilation, dilation=dilation)
            scale = 0.0 if index == spec.depth - 1 else (2 / (9 * inside)) ** 0.5
            with torch.no_grad():
                layer.weight.normal_(0.0, 1.0, generator=generator).mul_(scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            self.layers.append(layer)

    @property
    def reach(self) -> int:
        """Receptive radius in pixels of a plane."""
        return BOX + sum(DILATIONS[index % len(DILATIONS)] for index in range(self.spec.depth))

    def forward(self, noisy: Tensor, iso: Tensor | float, camera: Tensor | int | str | Sequence[str] = 0) -> Tensor:
        """Denoise a batch.

        Parameters
        ----------
        noisy : Tensor, shape (B, C, H, W)
            Noisy signal, normalised and not clipped.
        iso : Tensor of shape (B,), or float
            ISO of each element, or one for all.
        camera : Tensor of long, shape (B,), or int, str, or sequence of str
            Camera of each element, or one for all, by index or name.

        Returns
        -------
        Tensor, shape (B, C, H, W)
            Estimate of the clean signal, normalised.

        Raises
        ------
        DataError
            A wrong number of planes, NaN or infinite values.
        ModelError
            A camera that the denoiser was not trained for.
        """
        cond = Conditions(noisy, iso, camera).resolve(self.spec.cameras)
        planes = self.level.planes
        if noisy.shape[1] != planes:
            raise DataError(
                f"noisy: expected {counted(planes, 'plane')} ({self.spec.layout}); got shape {tuple(noisy.shape)}"
            )
        mean = local_mean(noisy)
        sigma = self.level.variance(Resolved(mean, cond.iso, cond.camera)).sqrt()
        off = (noisy - mean) / sigma
        hidden = off.asinh()
        for layer in self.layers[:-1]:
            hidden = F.relu(layer(hidden))
        found: Tensor = self.layers[-1](hidden)
        return noisy - sigma * (off * (-off.square() / (2 * NEAR**2)).exp() + found)


def save_denoiser(denoiser: Denoiser, run: str | Path) -> None:
    """Write a denoiser into the folder ``denoiser`` of a run folder, as safetensors and JSON."""
    weights = {name: value.detach().cpu().contiguous() for name, value in denoiser.state_dict().items()}
    write_listed(Path(run), f"{DENOISER}/{DENOISER}.safetensors", serialise(weights))
    spec = json.dumps(asdict(denoiser.spec), indent=2) + "\n"
    write_listed(Path(run), f"{DENOISER}/spec.json", spec.encode())


def load_denoiser(run: str | Path) -> Denoiser:
    """Load a denoiser, in evaluation mode.

    Parameters
    ----------
    run : path
        Run folder that `noiseflow fit` wrote from noisy pairs, or the folder ``denoiser`` in it.

    Raises
    ------
    ModelError
        There is no denoiser, or its weights do not match its spec.
    """
    run = Path(run)
    folder = run / DENOISER if (run / DENOISER).is_dir() else run
    weights, spec = folder / f"{DENOISER}.safetensors", folder / "spec.json"
    if not weights.is_file() or not spec.is_file():
        raise ModelError(f"{run}: contains no denoiser; `noiseflow fit` trains one on a store of noisy pairs")
    check_file(spec, ModelError)
    what = "the spec of a denoiser"
    table = checked(read_json(spec, what, ModelError), DENOISER_SCHEMA, str(spec), ModelError, f"expected {what}")
    tensors = read_tensors(weights)
    within_means(table, tensors, spec)
    with building(spec):
        denoiser = Denoiser(DenoiserSpec(**table))
    fill(denoiser, tensors, weights, spec.name)
    return denoiser.eval()
